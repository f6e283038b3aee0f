"""Means of history, shrunk to one common mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, at, checked_returns, first_true, read_only
from kernel.estimation.covariance import oas, sample
from kernel.estimation.expected_returns import historical_mean
from kernel.estimation.psd import is_psd, repair

# Of a correlation matrix: below this smallest eigenvalue its inverse would be made of rounding.
_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class ShrunkMean:
    """Shrunk expected returns.

    Attributes:
        mu: (n,) annual expected returns, read-only.
        intensity: Weight of the grand mean in [0, 1].
        grand_mean: The annual return that all are drawn to.
    """

    mu: FloatArray
    intensity: float
    grand_mean: float


def james_stein(R: FloatArray, periods_per_year: float = 252.0, *, Sigma: FloatArray | None = None) -> ShrunkMean:
    """Bayes-Stein means: history drawn to the mean return of the minimum-variance portfolio.

    mu = (1 - w) y + w y0 1,  y = mean r,  y0 = 1'Sigma^-1 y / 1'Sigma^-1 1,
    w = (n + 2) / ((n + 2) + T (y - y0 1)' Sigma^-1 (y - y0 1)), all per period; mu and y0 are annualised after.
    Sigma = S (T - 1) / (T - n - 2) with the sample covariance S; where that has no inverse (few periods, assets
    without risk or combined of others) the OAS covariance, which has one.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.
        Sigma: (n, n) annual covariance with an inverse, in place of the one above.

    Returns:
        The means with the intensity w; history itself with w = 0 when nothing has any risk.

    Raises:
        ProblemError: R has fewer than two periods or is not finite, or the Sigma given is no covariance or singular.

    References:
        Jorion (1986), Bayes-Stein estimation for portfolio analysis, JFQA 21, equations 14 and 17.
    """
    table = checked_returns(R, minimum_periods=2)
    y = historical_mean(table, periods_per_year)
    T, n = table.shape
    chosen = _default(table, periods_per_year) if Sigma is None else _checked(Sigma, n)
    if not chosen.any():
        return ShrunkMean(y, 0.0, float(y.mean()))
    factor = cho_factor(chosen, lower=True)
    minimum = cho_solve(factor, np.ones(n))
    grand_mean = float(minimum @ y / minimum.sum())
    gaps = y - grand_mean
    years = T / periods_per_year  # annual gaps and an annual Sigma make the quadratic form one of a year
    intensity = (n + 2) / (n + 2 + years * float(gaps @ cho_solve(factor, gaps)))
    return ShrunkMean(read_only(grand_mean + (1.0 - intensity) * gaps), intensity, grand_mean)


def _default(R: FloatArray, periods_per_year: float) -> FloatArray:
    T, n = R.shape
    freedom = T - n - 2
    if freedom > 0:
        S = sample(R, periods_per_year).Sigma
        if _has_inverse(S):
            return np.asarray(S * ((T - 1) / freedom))
    return oas(R, periods_per_year).Sigma


def _checked(Sigma: FloatArray, n: int) -> FloatArray:
    if np.shape(Sigma) != (n, n):
        raise ProblemError("covariance", f"must be {n} x {n}, as there are {n} assets; the shape is {np.shape(Sigma)}")
    S = repair(Sigma, field="covariance").Sigma
    riskless = first_true(S.diagonal() <= 0)
    if riskless is not None:
        raise ProblemError(at("covariance", (*riskless, *riskless)), "is 0; shrunk means need a variance above 0")
    if not _has_inverse(S):
        raise ProblemError("covariance", "is singular; shrunk means need its inverse, so give a shrunk one")
    return S


def _has_inverse(S: FloatArray) -> bool:
    deviations = np.sqrt(S.diagonal())
    return bool(deviations.all()) and is_psd(S / np.outer(deviations, deviations), -_SINGULAR)
