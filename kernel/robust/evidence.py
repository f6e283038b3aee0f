"""The worst case at given weights, measured on the members of the sets that give it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernel.canonical import Matrix, Vector
from kernel.measures.base import RiskMeasure
from kernel.measures.tails import ConditionalValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.problem import Moments, Problem
from kernel.robust.counterpart import UncertaintySets


@dataclass(frozen=True, slots=True)
class WorstCase:
    """What a portfolio earns and risks at the worst of the sets, beside the nominal numbers.

    Attributes:
        worst_return: mu'w of the worst means, annual, before costs.
        worst_risk: The measure at the worst member, in its unit.
        nominal_return: Annual, before costs.
        nominal_risk: In the measure's unit.
        mu: (n,) the worst means, None where they are certain.
        Sigma: (n, n) the worst covariance, None where it is certain.
    """

    worst_return: float
    worst_risk: float
    nominal_return: float
    nominal_risk: float
    mu: Vector | None = None
    Sigma: Matrix | None = None


def worst_case(problem: Problem, sets: UncertaintySets, w: Vector) -> WorstCase:
    """The worst case at w.

    Args:
        problem: The nominal problem.
        sets: Around its moments and scenarios.
        w: (n,) weights.
    """
    mu, moments = problem.moments.mu, problem.moments
    worst_mu = mu + sum((part.shift(w) for part in sets.shortfalls), start=0.0 * mu)
    Sigma = None if sets.covariance is None else sets.covariance.worst(w)
    measure = problem.measure if Sigma is None else _under(problem.measure, replace(moments, covariance=Sigma))
    if isinstance(measure, ConditionalValueAtRisk) and sets.distribution is not None:
        level = measure.confidence_level
        measure = replace(measure, scenarios=sets.distribution.worst(measure.scenarios, level, w))
    return WorstCase(
        worst_return=float(worst_mu @ w),
        worst_risk=measure.of(w),
        nominal_return=float(mu @ w),
        nominal_risk=problem.measure.of(w),
        mu=worst_mu if sets.shortfalls else None,
        Sigma=Sigma,
    )


def _under(measure: RiskMeasure, moments: Moments) -> RiskMeasure:
    """Volatility or variance under another covariance."""
    return replace(measure, moments=moments) if isinstance(measure, Volatility | Variance) else measure
