"""Windows of factor returns, checked and factorised for regressions on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from kernel.errors import ProblemError
from kernel.estimation.arrays import LARGEST_RETURN, FloatArray

# A factor that moves less than this fraction of its size is constant up to rounding.
_CONSTANT_TOLERANCE = 1e-12
# A factor that moves less than this is constant: the squares of its returns are lost among the smallest numbers.
_SMALLEST_MOVE = 1e-100
# Standardised factors whose independent part is smaller than this are combinations of the others up to rounding.
_COLLINEAR_TOLERANCE = 1e-9
# Other factors with a smaller standardised coefficient are not named in a collinearity report.
_NAMED_COEFFICIENT = 1e-6


@dataclass(frozen=True, slots=True)
class FactorHistory:
    """Factor returns over the window of a regression.

    Attributes:
        names: The k factor names, distinct.
        F: (T, k) simple returns per period.
        periods_per_year: Periods in a year.
    """

    names: tuple[str, ...]
    F: FloatArray
    periods_per_year: int = 252

    def __post_init__(self) -> None:
        if self.F.ndim != 2 or self.F.shape[1] != len(self.names):
            raise ProblemError("factors", f"returns of shape {self.F.shape} do not fit {len(self.names)} factors")
        if not self.names:
            raise ProblemError("factors", "name at least one factor")
        for position, name in enumerate(self.names):
            self._check_factor(name, position)

    def _check_factor(self, name: str, position: int) -> None:
        if name in self.names[:position]:
            raise ProblemError(f"factors[{name}]", "is given twice")
        column = self.F[:, position]
        if not np.isfinite(column).all():
            raise ProblemError(f"factors[{name}]", "contains a return that is not finite")
        if (np.abs(column) > LARGEST_RETURN).any():
            raise ProblemError(f"factors[{name}]", f"contains a return beyond {LARGEST_RETURN:g}")


@dataclass(frozen=True, slots=True)
class FactorDesign:
    """A factor window, checked and factorised once for any number of regressions.

    Attributes:
        factors: The window.
        means: (k,) factor means per period, weighted.
        Q: (T, k) basis of the centred factors, orthonormal under the weights: Q' diag(weights) Q = I.
        R_inverse: (k, k), with centred F = Q R in the order of the history.
        weights: (T,) of the periods, of mean 1.
    """

    factors: FactorHistory
    means: FloatArray
    Q: FloatArray
    R_inverse: FloatArray
    weights: FloatArray


def factor_design(factors: FactorHistory, weights: FloatArray | None = None) -> FactorDesign:
    """Checks and factorises a factor window.

    Args:
        factors: (T, k) factor returns, T >= k + 2.
        weights: (T,) of the periods, >= 0, sum 1; all alike by default.

    Returns:
        The design, ready for any number of regressions.

    Raises:
        ProblemError: The window is too short, a factor is constant, or a factor is a combination of others; the
            message names the factors.
    """
    periods, k = factors.F.shape
    if periods < k + 2:
        raise ProblemError("factors", f"{k} factors and an intercept need at least {k + 2} periods, got {periods}")
    means = factors.F.mean(axis=0) if weights is None else weights @ factors.F
    relative = np.ones(periods) if weights is None else periods * weights
    centred = factors.F - means
    weighted = centred if weights is None else np.sqrt(relative)[:, None] * centred
    scales = _scales(factors, weighted)
    _check_independent(factors.names, weighted / scales)
    Q, upper = np.linalg.qr(weighted / scales)
    inverse = linalg.solve_triangular(upper, np.eye(k)) / scales[:, None]
    basis = Q if weights is None else linalg.solve_triangular(upper, (centred / scales).T, trans="T").T
    return FactorDesign(factors, means, basis, inverse, relative)


def _scales(factors: FactorHistory, centred: FloatArray) -> FloatArray:
    """(k,) norms of the centred factors; refuses a factor that does not move."""
    spread, size = np.abs(centred).max(axis=0), np.abs(factors.F).max(axis=0)
    for name, moves, largest in zip(factors.names, spread.tolist(), size.tolist(), strict=True):
        if moves <= max(_CONSTANT_TOLERANCE * largest, _SMALLEST_MOVE):
            raise ProblemError(f"factors[{name}]", "is constant over the window and cannot be told from the intercept")
    return np.asarray(np.linalg.norm(centred, axis=0), dtype=np.float64)


def _check_independent(names: tuple[str, ...], standardised: FloatArray) -> None:
    """Rank-revealing QR (column pivoting): the first pivot that vanishes is a combination of those before it."""
    upper, pivots = linalg.qr(standardised, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(upper))
    rank = int(np.sum(diagonal > _COLLINEAR_TOLERANCE * diagonal[0]))
    if rank == len(names):
        return
    combination = linalg.solve_triangular(upper[:rank, :rank], upper[:rank, rank])
    others = [names[pivots[i]] for i in range(rank) if abs(combination[i]) > _NAMED_COEFFICIENT]
    raise ProblemError(
        f"factors[{names[pivots[rank]]}]", f"is a linear combination of {', '.join(sorted(others))} over the window"
    )
