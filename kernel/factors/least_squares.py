"""Ordinary, exponentially weighted and ridge regressions: coefficients that are weighted sums of the returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray
from kernel.factors.fits import Fits, centred_series, explained_share, is_exact, sums_of_squares
from kernel.factors.standard_errors import classical_errors, newey_west_errors
from kernel.factors.window import FactorDesign


@dataclass(frozen=True, slots=True, eq=False)
class _Projection:
    """From the coordinates p = Q' diag(weights) X of a series in the design's basis to its regression.

    Attributes:
        coefficients: (k, k) C; betas = C p.
        kept: (k, k) G; fitted values = Q G p. None = all, the identity.
        trace: Of G, the degrees of freedom that the factors take.
        trace_of_square: Of G'G; the trace without a penalty.
    """

    coefficients: FloatArray
    kept: FloatArray | None
    trace: float
    trace_of_square: float


@dataclass(frozen=True, slots=True)
class _Freedom:
    """Degrees of freedom of residuals of one variance s^2.

    Attributes:
        weighted: The weighted sum of squared residuals has the mean s^2 times this; under a penalty the usual
            T - 1 - tr G, which is a little more.
        plain: The unweighted sum has the mean s^2 times this, but for what a penalty leaves of the exposures.
        effective: Of the chi-squared distribution that is closest to the weighted sum; under a penalty as `weighted`.
    """

    weighted: float
    plain: float
    effective: float


def least_squares(R: FloatArray, design: FactorDesign, *, ridge_penalty: float, lags: int | None) -> Fits:
    """Regressions by the QR decomposition of the centred factors, for weights and penalty alike.

    alpha, beta minimise  sum_t w_t (r_t - alpha - beta'f_t)^2 / T + penalty |b|^2,  b = beta times the factors' root
    mean square deviations; the intercept is not penalised. R2 and residual variance are weighted alike.

    Args:
        R: (T, m) returns per period.
        design: The factorised window, with its weights.
        ridge_penalty: >= 0; only with equal weights.
        lags: Of Newey and West's standard errors; None = classical ones.

    Returns:
        The fits. Under a penalty they have T - 1 - tr G degrees of freedom, G the map from returns to fitted returns.

    References:
        Golub & Van Loan (2013), section 5.3; Hoerl & Kennard (1970), Ridge regression, equation 2.3; Hastie,
        Tibshirani & Friedman (2009), section 3.4.1.
    """
    means, X = centred_series(R, design)
    projection = _ridge(design, ridge_penalty) if ridge_penalty > 0.0 else _whole(design)
    coordinates = design.Q.T @ (design.weights[:, None] * X)
    fitted = coordinates if projection.kept is None else projection.kept @ coordinates
    betas = (projection.coefficients @ coordinates).T
    residuals = X - design.Q @ fitted
    squares, total = sums_of_squares(residuals, design.weights), sums_of_squares(X, design.weights)
    exact = is_exact(squares, total)
    residuals[:, exact], squares[exact] = 0.0, 0.0
    freedom = _freedom(design, projection)
    variances = squares / freedom.weighted
    influence = _influence(design, projection.coefficients)
    errors = classical_errors(influence, variances) if lags is None else newey_west_errors(influence, residuals, lags)
    return Fits(
        alpha=means - betas @ design.means,
        betas=betas,
        errors=errors,
        r_squared=np.maximum(explained_share(squares, total), 0.0),
        residuals=residuals,
        residual_variances=variances,
        degrees_of_freedom=freedom.effective,
        divisor=freedom.plain,
    )


def _whole(design: FactorDesign) -> _Projection:
    k = float(len(design.factors.names))
    return _Projection(design.R_inverse, None, k, k)


def _ridge(design: FactorDesign, penalty: float) -> _Projection:
    """With Z = Q L S V' the centred factors over their deviations: b = V S / (S^2 + T penalty) L' p."""
    T = len(design.Q)
    centred = design.factors.F - design.means
    deviations = np.linalg.norm(centred, axis=0) / np.sqrt(T)
    L, S, Vt = np.linalg.svd(design.Q.T @ (centred / deviations))
    kept = np.square(S) / (np.square(S) + T * penalty)
    coefficients = (Vt.T * (kept / S)) @ L.T / deviations[:, None]
    return _Projection(coefficients, (L * kept) @ L.T, float(kept.sum()), float(kept @ kept))


def _influence(design: FactorDesign, coefficients: FloatArray) -> FloatArray:
    """(T, 1 + k) weight of each return in the intercept and in the betas."""
    betas = design.weights[:, None] * (design.Q @ coefficients.T)
    return np.column_stack([design.weights / len(betas) - betas @ design.means, betas])


def _freedom(design: FactorDesign, projection: _Projection) -> _Freedom:
    """Degrees of freedom of the residuals u = (I - H) e, H the hat matrix, e of one variance.

    weighted = tr (I - H)'W(I - H), plain = tr (I - H)'(I - H), effective = (tr A)^2 / tr A^2 with A = W(I - H); all are
    T - k - 1 for equal weights without a penalty.

    References:
        Cleveland & Devlin (1988), Locally weighted regression, section 3; Hastie & Tibshirani (1990), section 3.5.
    """
    w = design.weights
    T, trace = len(w), projection.trace
    if np.ptp(w) == 0.0:
        return _Freedom(T - 1 - trace, T - 1 - 2.0 * trace + projection.trace_of_square, T - 1 - trace)
    E = np.column_stack([np.full(T, T**-0.5), design.Q])
    once, twice = E.T @ (w[:, None] * E * w[:, None]), np.einsum("t,tp,tp->", w**3, E, E)
    weighted = float(T - np.trace(once))
    squared = float(w @ w - 2.0 * twice + np.sum(once**2))
    plain = float(T - 2.0 * (1.0 + trace) + np.sum(once * (E.T @ E)))
    return _Freedom(weighted, plain, weighted**2 / squared)
