"""Standard errors of coefficients that are, or behave like, weighted sums of the returns."""

from __future__ import annotations

import numpy as np

from kernel.estimation.arrays import FloatArray

# Series in one block: its tables stay in the cache.
_BLOCK = 32


def usual_lags(periods: int) -> int:
    """The number of lags that grows slowly enough with the sample.

    L = floor(4 (T / 100)^(2/9)), less than T

    References:
        Newey & West (1994), Automatic lag selection in covariance matrix estimation, table II.
    """
    return min(int(4.0 * (periods / 100.0) ** (2.0 / 9.0)), periods - 1)


def classical_errors(influence: FloatArray, variances: FloatArray) -> FloatArray:
    """Errors for residuals of one variance that do not depend on each other.

    c_j = sum_t a_t r_tj,  se(c_ji)^2 = s_j^2 sum_t a_ti^2

    Args:
        influence: (T, p) a, the weight of each return in each of the p coefficients.
        variances: (m,) s^2, residual variances of the series.

    Returns:
        (m, p) standard errors.
    """
    return np.asarray(np.sqrt(np.outer(variances, np.einsum("tp,tp->p", influence, influence))))


def newey_west_errors(influence: FloatArray, residuals: FloatArray, lags: int) -> FloatArray:
    """Errors for residuals of changing variance that depend on each other over some periods.

    With the scores g_t = a_ti u_tj:  se(c_ji)^2 = T / (T - p) sum_{|l| <= L} (1 - |l| / (L + 1)) sum_t g_t g_{t-l}

    Args:
        influence: (T, p) weight of each return in each coefficient.
        residuals: (T, m) u.
        lags: L >= 0; 0 = changing variance only.

    Returns:
        (m, p) standard errors.

    References:
        Newey & West (1987), A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
        covariance matrix, equations 5 and 6; MacKinnon & White (1985) for T / (T - p).
    """
    T, p = influence.shape
    sums = np.empty((residuals.shape[1], p))
    for first in range(0, len(sums), _BLOCK):
        u = residuals[:, first : first + _BLOCK]
        for i in range(p):
            sums[first : first + _BLOCK, i] = bartlett_sums(influence[:, i, None] * u, lags)
    return np.asarray(np.sqrt(sums * (T / (T - p))))


def bartlett_sums(scores: FloatArray, lags: int) -> FloatArray:
    """Long-run sums of squares with the Bartlett kernel, as the mean square of moving sums, so never negative.

    sum_{|l| <= L} (1 - |l| / (L + 1)) sum_t g_t g_{t-l} = sum_s (g_s + ... + g_{s+L})^2 / (L + 1), zeros around g

    Args:
        scores: (T, m) g.
        lags: L >= 0.

    Returns:
        (m,) sums, of the same cost for any L.
    """
    if lags == 0:
        return np.asarray(np.einsum("tm,tm->m", scores, scores))
    T = len(scores)
    cumulative = np.zeros((T + 1, scores.shape[1]))
    np.cumsum(scores, axis=0, out=cumulative[1:])
    ends = np.arange(1, T + lags + 1)
    sums = cumulative[np.minimum(ends, T)] - cumulative[np.maximum(ends - lags - 1, 0)]
    return np.asarray(np.einsum("tm,tm->m", sums, sums) / (lags + 1.0))
