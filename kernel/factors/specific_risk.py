"""Specific variances from residuals, drawn to their common middle as far as their sampling error asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, checked_positive, checked_returns, decay_weights, read_only
from kernel.factors.model import RiskSettings

# Of the largest variance: one below this is the rounding of an exact fit.
_EXACT_FIT = 1e-20
# Newton's steps converge monotonously from the start used here; ten would do.
_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class SpecificRisk:
    """Specific variances, annual; arrays are read-only.

    Attributes:
        variances: (n,) after shrinkage.
        unshrunk: (n,) as the residuals have them.
        shrinkage: Weight of the common middle, 0 to 1.
    """

    variances: FloatArray
    unshrunk: FloatArray
    shrinkage: float


@dataclass(frozen=True, slots=True)
class _Prior:
    """What the variances together say of each.

    Attributes:
        middle: Geometric mean of the true variances.
        location: s0^2, the value to which variances are drawn.
        freedom: d0, the degrees of freedom that this is worth; inf = they differ by no more than chance.
    """

    middle: float
    location: float
    freedom: float


def specific_risk(residuals: FloatArray, degrees_of_freedom: float, settings: RiskSettings) -> SpecificRisk:
    """Variances of residuals, moderated by what all of them have in common.

    s_i^2 = T/d sum_t w_t u_it^2, weights w that add up to 1 and halve every half-life (equal ones: sum u^2 / d).
    Without a shrinkage given, true variances are taken as scaled inverse chi-squared with d0 degrees of freedom around
    s0^2, both estimated from the logarithms of the s_i^2, and
        variance_i = (d0 s0^2 + d s_i^2) / (d0 + d),  shrinkage = d0 / (d0 + d).
    With a shrinkage z given, variance_i = z m + (1 - z) s_i^2, where m is the geometric mean of the s_i^2, freed from
    the bias of the logarithm.
    Weights leave d / (T sum w^2) degrees of freedom. Residuals are taken about zero and as independent over time: what
    depends on the day before (bid and ask, stale prices) is not corrected. Exact fits stay at 0 and say nothing of the
    others; fewer than two others have no middle to be drawn to.

    Args:
        residuals: (T, n) per period, the oldest first; exactly 0 where a fit is exact.
        degrees_of_freedom: d > 0, of the unweighted residuals of one asset.
        settings: Half-life, shrinkage and periods per year.

    Returns:
        The variances, annual.

    Raises:
        ProblemError: A residual is not finite, or there are no degrees of freedom.

    References:
        Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
        experiments, SAGMB 3(1), sections 3 and 6.2; Kish (1965), section 11.7, for the degrees of freedom of weights.
    """
    u = checked_returns(residuals, minimum_periods=1)
    d = checked_positive(degrees_of_freedom, "degrees_of_freedom")
    weights = _weights(len(u), settings.specific_half_life)
    unshrunk = settings.periods_per_year * (len(u) / d) * (weights @ np.square(u))
    moving = unshrunk > _EXACT_FIT * unshrunk.max()
    unshrunk[~moving] = 0.0
    if moving.sum() < 2:
        return SpecificRisk(read_only(unshrunk.copy()), read_only(unshrunk), 0.0)
    effective = d / (len(u) * float(weights @ weights))
    prior = _prior(unshrunk[moving], effective)
    target, shrinkage = prior.location, 1.0
    if settings.specific_shrinkage is not None:
        target, shrinkage = prior.middle, _checked_share(settings.specific_shrinkage)
    elif math.isfinite(prior.freedom):
        shrinkage = prior.freedom / (prior.freedom + effective)
    variances = unshrunk.copy()
    variances[moving] = shrinkage * target + (1.0 - shrinkage) * unshrunk[moving]
    return SpecificRisk(read_only(variances), read_only(unshrunk), shrinkage)


def _weights(periods: int, half_life: float | None) -> FloatArray:
    return np.full(periods, 1.0 / periods) if half_life is None else decay_weights(periods, half_life)


def _checked_share(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ProblemError("specific_shrinkage", f"is {value:g}; it must be within 0 and 1")
    return value


def _prior(variances: FloatArray, freedom: float) -> _Prior:
    """The distribution of true variances by the first two moments of the logarithms of n >= 2 estimates."""
    half = freedom / 2.0
    logarithms = np.log(variances) - float(digamma(half)) + math.log(half)
    mean = float(logarithms.mean())
    excess = float(np.var(logarithms, ddof=1)) - float(polygamma(1, half))
    if excess <= 0.0:
        return _Prior(math.exp(mean), math.exp(mean), math.inf)
    half_prior = _inverse_trigamma(excess)
    location = math.exp(mean + float(digamma(half_prior)) - math.log(half_prior))
    return _Prior(math.exp(mean), location, 2.0 * half_prior)


def _inverse_trigamma(value: float) -> float:
    """The y > 0 with trigamma(y) = value, by Newton's method on 1/trigamma, which is convex and nearly linear.

    References:
        Smyth (2004), appendix.
    """
    y = 0.5 + 1.0 / value
    for _ in range(_NEWTON_STEPS):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1.0 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) < _NEWTON_TOLERANCE * y:
            break
    return y
