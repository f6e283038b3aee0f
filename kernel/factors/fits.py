"""What every estimator of exposures hands back, and the parts of it that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import BoolArray, FloatArray, centred, checked_returns
from kernel.factors.window import FactorDesign

# Of the norm of the centred returns: a residual below this is the rounding of an exact fit.
_EXACT_FIT = 1e-13
# A series that moves less than this fraction of its size is constant up to rounding.
_CONSTANT = 1e-12
# And so is one that moves less than this: returns are ratios of prices less 1, and round like 1.
_STILL = 4.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """Regressions of m series on k factors, per period.

    Attributes:
        alpha: (m,) intercepts.
        betas: (m, k) exposures.
        errors: (m, 1 + k) standard errors, the intercept's first; 0 for an exact fit.
        r_squared: (m,) share of the variance explained; 0 for a series that never moves.
        residuals: (T, m); exactly 0 for an exact fit.
        residual_variances: (m,).
        degrees_of_freedom: Of the residual variances.
        divisor: By which the sum of squared residuals is an unbiased variance.
        diagnostics: Further numbers by name.
    """

    alpha: FloatArray
    betas: FloatArray
    errors: FloatArray
    r_squared: FloatArray
    residuals: FloatArray
    residual_variances: FloatArray
    degrees_of_freedom: float
    divisor: float
    diagnostics: Mapping[str, float] = field(default_factory=dict)


def centred_series(R: FloatArray, design: FactorDesign) -> tuple[FloatArray, FloatArray]:
    """(m,) means, and (T, m) the returns less them, weighted as in the design; 0 for a series that never moves.

    Raises:
        ProblemError: The returns do not fit the window or are not finite.
    """
    returns = checked_returns(R, minimum_periods=1)
    if len(returns) != len(design.weights):
        raise ProblemError("returns", f"have shape {returns.shape}, the factors have {len(design.weights)} periods")
    weights = design.weights / len(returns)
    X = centred(returns, weights)
    X[:, np.abs(X).max(axis=0) <= np.maximum(_CONSTANT * np.abs(returns).max(axis=0), _STILL)] = 0.0
    return weights @ returns, X


def is_exact(residual_squares: FloatArray, total_squares: FloatArray) -> BoolArray:
    """(m,) whether nothing but rounding is left of a series."""
    return np.asarray(np.sqrt(residual_squares) <= _EXACT_FIT * np.sqrt(total_squares))


def explained_share(residual_squares: FloatArray, total_squares: FloatArray) -> FloatArray:
    """(m,) 1 - residual / total squares; 0 where there is nothing to explain."""
    moving = total_squares > 0.0
    share = np.zeros(len(total_squares))
    share[moving] = 1.0 - residual_squares[moving] / total_squares[moving]
    return share


def sums_of_squares(X: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """(m,) of the columns, weighted by period."""
    return np.asarray(np.einsum("tm,tm->m", X, X) if weights is None else weights @ np.square(X))
