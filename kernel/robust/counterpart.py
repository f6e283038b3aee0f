"""The robust counterpart of a mean-risk problem: every number that is uncertain at its worst, for objective and limits.

The same program with other terms: shortfalls of the return are deductions from it, as costs are, and worst risks are
measures of their own. So all that holds of a mean-risk problem (certificates, explanations, integer search, frontiers)
holds of its counterpart. Limits on volatility, variance and conditional value at risk, and floors under the return, are
kept by every member of the sets.

References: Ben-Tal & Nemirovski (1998); Goldfarb & Iyengar (2003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernel.canonical import Mask
from kernel.constraints import Constraint, NetReturnFloor, WeightBounds
from kernel.costs import Deduction, Deductions
from kernel.measures.base import RiskMeasure
from kernel.measures.tails import ConditionalValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.methods.mean_risk import optimize
from kernel.methods.swapping import with_measures
from kernel.objectives import MaximizeRatio, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.robust.covariances import CovarianceSet
from kernel.robust.distributions import WassersteinBall, WorstConditionalValueAtRisk
from kernel.robust.means import MeanSet
from kernel.solution import Solution
from kernel.status import Status


@dataclass(frozen=True, slots=True)
class UncertaintySets:
    """What is uncertain; None = certain.

    Attributes:
        uncertain: (n,) assets that may be held and whose returns are not certain.
        mean: Not beside `distribution`, whose members have means of their own.
    """

    uncertain: Mask
    mean: MeanSet | None = None
    covariance: CovarianceSet | None = None
    distribution: WassersteinBall | None = None

    @property
    def shortfalls(self) -> tuple[MeanSet | WassersteinBall, ...]:
        """What lowers the return."""
        return tuple(part for part in (self.mean, self.distribution) if part is not None)


def counterpart(problem: Problem, sets: UncertaintySets) -> Problem:
    """The problem with every uncertain number at its worst.

    Args:
        problem: The nominal problem.
        sets: Around its moments and scenarios.
    """
    long_only = _long_only(problem, sets.uncertain)

    def worst(measure: RiskMeasure) -> RiskMeasure:
        match measure:
            case Volatility() | Variance() if sets.covariance is not None:
                return sets.covariance.measure(measure.name, long_only=long_only)
            case ConditionalValueAtRisk() if sets.distribution is not None:
                return WorstConditionalValueAtRisk(measure, sets.distribution)
            case _:
                return measure

    robust = with_measures(problem, worst)
    return replace(
        robust,
        cost=_with_shortfalls(problem.cost, sets),
        constraints=tuple(_worst_floor(constraint, sets) for constraint in robust.constraints),
    )


def optimize_robust(problem: Problem, sets: UncertaintySets, settings: Settings) -> Solution:
    """Solve the counterpart of a problem.

    Least risk is about the worst risk alone: the means count in its limits only. A ratio without a positive excess
    return in the worst case is ill-posed, or its fallback is solved, robust as well.

    Args:
        problem: The nominal problem.
        sets: Around its moments and scenarios.
        settings: How far to go.

    Raises:
        ProblemError: The problem cannot be posed.
    """
    robust, objective = counterpart(problem, sets), problem.objective
    if isinstance(objective, MinimizeRisk):
        return optimize(replace(robust, cost=problem.cost), settings)
    if not isinstance(objective, MaximizeRatio):
        return optimize(robust, settings)
    best = optimize(replace(robust, objective=replace(objective, fallback=None)), settings)
    if best.status is not Status.ILL_POSED:
        return best
    best = replace(best, message=_no_excess(best))
    if objective.fallback is None:
        return best
    found = optimize_robust(replace(problem, objective=objective.fallback), sets, settings)
    message = f"{best.message}; the fallback instead: {found.message}"
    return replace(found, message=message, numbers={**found.numbers, **best.numbers})


def _no_excess(best: Solution) -> str:
    highest, reference = best.numbers["best_expected_return"], best.numbers["reference_return"]
    return (
        f"no feasible portfolio has a positive excess return in the worst case: the highest worst-case return is "
        f"{highest:.4%}, the reference {reference:.4%}, so a worst-case ratio has no meaning"
    )


def _with_shortfalls(cost: Deduction | None, sets: UncertaintySets) -> Deduction | None:
    parts: tuple[Deduction, ...] = (*(() if cost is None else (cost,)), *sets.shortfalls)
    return Deductions(parts) if sets.shortfalls else cost


def _worst_floor(constraint: Constraint, sets: UncertaintySets) -> Constraint:
    if not isinstance(constraint, NetReturnFloor):
        return constraint
    return replace(constraint, cost=_with_shortfalls(constraint.cost, sets))


def _long_only(problem: Problem, uncertain: Mask) -> bool:
    """Whether bounds keep every uncertain asset from being short."""
    bounds = [constraint for constraint in problem.constraints if isinstance(constraint, WeightBounds)]
    return any(bool((bound.lower[uncertain] >= 0.0).all()) for bound in bounds)
