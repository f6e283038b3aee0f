"""Time-series regressions of many return series on given factor returns: r_t = alpha + beta'f_t + u_t."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import SMALLEST_HALF_LIFE, FloatArray, decay_weights, read_only
from kernel.factors.fits import Fits
from kernel.factors.huber import huber_regressions
from kernel.factors.kalman import kalman_regressions
from kernel.factors.least_squares import least_squares
from kernel.factors.standard_errors import usual_lags
from kernel.factors.window import FactorDesign, FactorHistory, factor_design

ESTIMATORS = ("ordinary", "exponentially_weighted", "ridge", "huber", "kalman")
STANDARD_ERRORS = ("newey_west", "classical")
# The smallest and largest value of each number.
_RANGES = {
    "half_life": (SMALLEST_HALF_LIFE, 1e5),
    "ridge_penalty": (0.0, 1e6),
    "huber_threshold": (0.1, 10.0),
    "drift": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class TimeSeriesSettings:
    """How exposures are estimated; a number that the estimator does not use is ignored.

    Attributes:
        estimator: One of ESTIMATORS.
        half_life: Periods in which a weight halves, 0.1 to 1e5; of exponentially_weighted.
        ridge_penalty: On squared exposures to standardised factors, per period, 0 to 1e6; of ridge.
        huber_threshold: Residuals beyond this number of standard deviations count less, 0.1 to 10; of huber.
        drift: Variance of an exposure's step over the residual's, for standardised factors, 0 to 1; of kalman; None =
            the likeliest.
        standard_errors: One of STANDARD_ERRORS; kalman has its own.
        lags: Periods over which residuals may depend on each other, of newey_west; None = by the number of periods.

    Raises:
        ProblemError: A word is unknown or a number out of its range.
    """

    estimator: str = "ordinary"
    half_life: float = 126.0
    ridge_penalty: float = 0.01
    huber_threshold: float = 1.345
    drift: float | None = None
    standard_errors: str = "newey_west"
    lags: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("estimator", ESTIMATORS), ("standard_errors", STANDARD_ERRORS)):
            if getattr(self, name) not in known:
                raise ProblemError(name, f"is {getattr(self, name)}; known are {', '.join(known)}")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ProblemError(name, f"is {value:g}; it must be within {least:g} and {most:g}")
        if self.lags is not None and self.lags < 0:
            raise ProblemError("lags", f"is {self.lags}; it must be at least 0")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Regressions:
    """Regressions of m series on k factors, per period; arrays are read-only.

    Attributes:
        alpha: (m,) intercepts.
        betas: (m, k) exposures; of kalman those on the last day.
        alpha_errors: (m,) standard errors of alpha; 0 for an exact fit.
        standard_errors: (m, k) of betas; 0 for an exact fit.
        r_squared: (m,) share of the variance explained; 0 for a series that never moves. Below 0 at most for huber.
        residuals: (T, m); exactly 0 for an exact fit. Of kalman those of the whitened regression.
        residual_variances: (m,).
        degrees_of_freedom: Of the residual variances.
        divisor: By which the sum of squared residuals is an unbiased variance.
        lags: That the standard errors allow for; 0 = none.
        settings: As asked for, with the lags and the drift that were used.
        diagnostics: Further numbers by name.
    """

    alpha: FloatArray
    betas: FloatArray
    alpha_errors: FloatArray
    standard_errors: FloatArray
    r_squared: FloatArray
    residuals: FloatArray
    residual_variances: FloatArray
    degrees_of_freedom: float
    divisor: float
    lags: int
    settings: TimeSeriesSettings
    diagnostics: Mapping[str, float]

    @property
    def t_statistics(self) -> FloatArray:
        """(m, k) betas / standard_errors; not a number where the error is 0."""
        known = self.standard_errors > 0.0
        found = np.divide(self.betas, self.standard_errors, out=np.full_like(self.betas, np.nan), where=known)
        return read_only(found)


def regress(R: FloatArray, factors: FactorHistory, settings: TimeSeriesSettings) -> Regressions:
    """Exposures of m series, with the evidence for them.

    All estimators but huber are linear in the returns, so that w'R has the exposures B'w; kalman where the drift is
    given, since the likeliest one depends on the series.

    Args:
        R: (T, m) simple returns per period, or those above the risk-free return.
        factors: (T, k) factor returns of the same periods, T >= k + 2, and T >= 2k + 3 for huber.
        settings: Estimator and standard errors.

    Returns:
        The regressions.

    Raises:
        ProblemError: The returns do not fit the window or are not finite, the window is too short, a factor is constant
            or a combination of others, or the lags reach beyond the window.

    References:
        See the estimators: kernel.factors.least_squares, huber and kalman.
    """
    design = factor_design(factors, _weights(factors, settings))
    used = replace(settings, lags=_lags(settings, len(factors.F)))
    return _with_evidence(_estimate(R, design, used), used)


def _estimate(R: FloatArray, design: FactorDesign, settings: TimeSeriesSettings) -> Fits:
    lags = settings.lags if settings.standard_errors == "newey_west" else None
    match settings.estimator:
        case "huber":
            return huber_regressions(R, design, settings.huber_threshold, lags)
        case "kalman":
            return kalman_regressions(R, design, settings.drift)
        case _:
            penalty = settings.ridge_penalty if settings.estimator == "ridge" else 0.0
            return least_squares(R, design, ridge_penalty=penalty, lags=lags)


def _weights(factors: FactorHistory, settings: TimeSeriesSettings) -> FloatArray | None:
    periods, k = factors.F.shape
    needed = k + 2
    if settings.estimator != "exponentially_weighted" or periods < needed:
        return None
    weights = decay_weights(periods, settings.half_life)
    counting = 1.0 / float(weights @ weights)
    # Not needed itself: of as many periods a little less counts for any half-life.
    if counting <= k + 1:
        found = f"is {settings.half_life:g} periods, which lets {counting:.1f} of {periods} periods count"
        raise ProblemError("half_life", f"{found}; {k} factors and an intercept need more than {k + 1}")
    return weights


def _lags(settings: TimeSeriesSettings, periods: int) -> int:
    if settings.standard_errors != "newey_west" or settings.estimator == "kalman":
        return 0
    if settings.lags is None:
        return usual_lags(periods)
    if settings.lags >= periods:
        raise ProblemError("lags", f"is {settings.lags}; there are {periods} periods, so at most {periods - 1} are")
    return settings.lags


def _with_evidence(fits: Fits, settings: TimeSeriesSettings) -> Regressions:
    if settings.estimator == "kalman":
        settings = replace(settings, drift=fits.diagnostics["drift"])
    assert settings.lags is not None
    return Regressions(
        alpha=read_only(fits.alpha),
        betas=read_only(fits.betas),
        alpha_errors=read_only(fits.errors[:, 0].copy()),
        standard_errors=read_only(fits.errors[:, 1:].copy()),
        r_squared=read_only(fits.r_squared),
        residuals=read_only(fits.residuals),
        residual_variances=read_only(fits.residual_variances),
        degrees_of_freedom=fits.degrees_of_freedom,
        divisor=fits.divisor,
        lags=settings.lags,
        settings=settings,
        diagnostics=_diagnostics(fits, settings),
    )


def _diagnostics(fits: Fits, settings: TimeSeriesSettings) -> dict[str, float]:
    found = {"degrees_of_freedom": fits.degrees_of_freedom, **fits.diagnostics}
    match settings.estimator:
        case "exponentially_weighted":
            found["half_life"] = settings.half_life
        case "ridge":
            found["ridge_penalty"] = settings.ridge_penalty
        case "huber":
            found["huber_threshold"] = settings.huber_threshold
    if settings.standard_errors == "newey_west" and settings.estimator != "kalman":
        found["lags"] = float(settings.lags or 0)
    if (watson := _durbin_watson(fits.residuals)) is not None:
        found["durbin_watson"] = watson
    return found


def _durbin_watson(residuals: FloatArray) -> float | None:
    """Mean over the series of sum (u_t - u_(t-1))^2 / sum u_t^2: 2 for residuals that do not depend on the last.

    References:
        Durbin & Watson (1950), Testing for serial correlation in least squares regression.
    """
    squares = np.einsum("tm,tm->m", residuals, residuals)
    moving = squares > 0.0
    if not moving.any():
        return None
    steps = np.diff(residuals[:, moving], axis=0)
    return float(np.mean(np.einsum("tm,tm->m", steps, steps) / squares[moving]))
