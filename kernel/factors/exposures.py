"""Factor exposures by time-series regression on given factor returns.

r_t = alpha + sum_k beta_k f_kt + u_t, ordinary least squares over T periods, solved by QR of the centred factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from kernel.errors import ProblemError

FloatArray = NDArray[np.float64]

# A factor that moves less than this fraction of its size is constant up to rounding.
_CONSTANT_TOLERANCE = 1e-12
# Standardised factors whose independent part is smaller than this are combinations of the others up to rounding.
_COLLINEAR_TOLERANCE = 1e-9
# A fit whose residual norm is below this fraction of the series is exact; its standard errors are zero.
_EXACT_FIT_TOLERANCE = 1e-13
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
        if not np.isfinite(self.F[:, position]).all():
            raise ProblemError(f"factors[{name}]", "contains a return that is not finite")


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One estimated coefficient.

    Attributes:
        factor: The factor's name; empty for the intercept.
        value: The exposure (beta); for the intercept the return per period.
        standard_error: Of the estimate, same unit, >= 0.
        t_statistic: value / standard_error, None when the fit is exact.
    """

    factor: str
    value: float
    standard_error: float
    t_statistic: float | None


@dataclass(frozen=True, slots=True)
class FactorFit:
    """The regression of one return series on the factors.

    Attributes:
        intercept: Specific mean return per period (alpha).
        exposures: One coefficient per factor, in the order of the history.
        r_squared: Share of the variance explained, in [0, 1]; None for a series that never moves.
        residual_volatility: Annual standard deviation of the residual, with T - k - 1 degrees of freedom.
        observations: T.
    """

    intercept: Coefficient
    exposures: tuple[Coefficient, ...]
    r_squared: float | None
    residual_volatility: float
    observations: int

    @property
    def betas(self) -> FloatArray:
        """(k,) exposures as an array."""
        return np.array([coefficient.value for coefficient in self.exposures])


@dataclass(frozen=True, slots=True)
class ActiveExposures:
    """A portfolio beside its benchmark.

    Attributes:
        portfolio: Fit of the portfolio's returns.
        benchmark: Fit of the benchmark's returns.
        active: (k,) portfolio minus benchmark exposure, exactly.
        active_fit: Fit of the return difference, for standard errors of the active exposures.
    """

    portfolio: FactorFit
    benchmark: FactorFit
    active: FloatArray
    active_fit: FactorFit


@dataclass(frozen=True, slots=True)
class FactorDesign:
    """A factor window, checked and factorised once for any number of regressions.

    Attributes:
        factors: The window.
        means: (k,) factor means per period.
        Q: (T, k) orthonormal basis of the centred factors.
        R_inverse: (k, k), with centred F = Q R in the order of the history.
        condition_number: Of the centred factors scaled to unit variance; 1 for uncorrelated factors.
    """

    factors: FactorHistory
    means: FloatArray
    Q: FloatArray
    R_inverse: FloatArray
    condition_number: float

    def fit(self, returns: FloatArray, field: str = "returns") -> FactorFit:
        """Regresses one return series on the factors.

            beta = R^-1 Q'(r - mean r),  alpha = mean r - beta'mean f,  s^2 = |u|^2 / (T - k - 1)
            se(beta_k)^2 = s^2 (R^-1 R^-T)_kk,  se(alpha)^2 = s^2 (1/T + |R^-T mean f|^2)

        Args:
            returns: (T,) simple returns per period on the factors' dates.
            field: What the series is called in an error.

        Returns:
            The fit with its standard errors.

        Raises:
            ProblemError: The series does not fit the window or is not finite.

        References:
            Greene (2012), Econometric Analysis, sections 3.2 and 4.3; Golub & Van Loan (2013), section 5.3.
        """
        _check_series(returns, self.Q.shape[0], field)
        centred = returns - returns.mean()
        projections = self.Q.T @ centred
        betas = self.R_inverse @ projections
        residual = centred - self.Q @ projections
        deviation = self._residual_deviation(centred, residual)
        alpha = float(returns.mean() - betas @ self.means)
        errors = deviation * np.sqrt(np.sum(self.R_inverse**2, axis=1))
        alpha_error = deviation * math.sqrt(1.0 / returns.size + float(np.sum((self.R_inverse.T @ self.means) ** 2)))
        return FactorFit(
            intercept=_coefficient("", alpha, alpha_error),
            exposures=tuple(map(_coefficient, self.factors.names, betas.tolist(), errors.tolist())),
            r_squared=_r_squared(centred, residual, float(np.abs(returns).max())),
            residual_volatility=deviation * math.sqrt(self.factors.periods_per_year),
            observations=returns.size,
        )

    def _residual_deviation(self, centred: FloatArray, residual: FloatArray) -> float:
        """Standard deviation s of the residual per period; zero when the fit is exact up to rounding."""
        norm = float(np.linalg.norm(residual))
        if norm <= _EXACT_FIT_TOLERANCE * float(np.linalg.norm(centred)):
            return 0.0
        periods, k = self.Q.shape
        return norm / math.sqrt(periods - k - 1)

    def compare(self, portfolio: FloatArray, benchmark: FloatArray) -> ActiveExposures:
        """Fits a portfolio and its benchmark on the same window.

            active = beta_portfolio - beta_benchmark

        Args:
            portfolio: (T,) simple returns per period.
            benchmark: (T,) simple returns per period on the same dates.

        Returns:
            Both fits and their exact difference.

        Raises:
            ProblemError: A series does not fit the window or is not finite.
        """
        held, reference = self.fit(portfolio, "portfolio"), self.fit(benchmark, "benchmark")
        return ActiveExposures(held, reference, held.betas - reference.betas, self.fit(portfolio - benchmark, "active"))


def factor_design(factors: FactorHistory) -> FactorDesign:
    """Checks and factorises a factor window.

    Args:
        factors: (T, k) factor returns, T >= k + 2.

    Returns:
        The design, ready for any number of regressions.

    Raises:
        ProblemError: The window is too short, a factor is constant, or a factor is a combination of others; the
            message names the factors.
    """
    periods, k = factors.F.shape
    if periods < k + 2:
        raise ProblemError("factors", f"{k} factors and an intercept need at least {k + 2} periods, got {periods}")
    means = factors.F.mean(axis=0)
    centred = factors.F - means
    scales = _scales(factors, centred)
    _check_independent(factors.names, centred / scales)
    Q, upper = np.linalg.qr(centred)
    singular_values = np.linalg.svd(upper / scales, compute_uv=False)
    inverse = linalg.solve_triangular(upper, np.eye(k))
    return FactorDesign(factors, means, Q, inverse, float(singular_values[0] / singular_values[-1]))


def asset_exposures(R: FloatArray, design: FactorDesign) -> FloatArray:
    """Exposures of many assets at once.

        B = (R^-1 Q'(returns - means))'

    Args:
        R: (T, n) simple returns per period on the factors' dates.
        design: The factorised window.

    Returns:
        (n, k) exposures B.

    Raises:
        ProblemError: The returns do not fit the window or are not finite.
    """
    if R.ndim != 2 or R.shape[0] != design.Q.shape[0]:
        raise ProblemError("returns", f"have shape {R.shape}, the factors have {design.Q.shape[0]} periods")
    if not np.isfinite(R).all():
        raise ProblemError("returns", "contain a number that is not finite")
    return np.asarray((design.R_inverse @ (design.Q.T @ (R - R.mean(axis=0)))).T, dtype=np.float64)


def _scales(factors: FactorHistory, centred: FloatArray) -> FloatArray:
    """(k,) norms of the centred factors; refuses a factor that does not move."""
    spread, size = np.abs(centred).max(axis=0), np.abs(factors.F).max(axis=0)
    for name, moves, largest in zip(factors.names, spread.tolist(), size.tolist(), strict=True):
        if moves <= _CONSTANT_TOLERANCE * largest:
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


def _check_series(returns: FloatArray, periods: int, field: str) -> None:
    if returns.shape != (periods,):
        raise ProblemError(field, f"has shape {returns.shape}, the factors have {periods} periods")
    if not np.isfinite(returns).all():
        raise ProblemError(field, "contains a number that is not finite")


def _coefficient(factor: str, value: float, error: float) -> Coefficient:
    return Coefficient(factor, value, error, value / error if error > 0.0 else None)


def _r_squared(centred: FloatArray, residual: FloatArray, size: float) -> float | None:
    if float(np.abs(centred).max()) <= _CONSTANT_TOLERANCE * size:
        return None
    return max(0.0, 1.0 - float(residual @ residual) / float(centred @ centred))
