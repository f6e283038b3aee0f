"""Value at risk, which is not convex: exactly on little data, by a local search with a proven bound on more.

Exact: the mixed-integer program of `kernel.measures.value_at_risk`. Local: from the optimum for the conditional value
at risk, exempt the scenarios beyond the quantile there, solve for the worst loss of the others, and repeat; every step
is feasible and none is worse than the one before. Both are bounded by the convex relaxation of the exact program.

References: Rockafellar & Uryasev (2000) for the start; Larsen, Mausser & Uryasev (2002) for the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import Constraint, LinearLimit, TradeLimits, WeightBounds
from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.measures.tails import ConditionalValueAtRisk
from kernel.measures.value_at_risk import ConvexBound, ValueAtRisk, reach_of_losses
from kernel.methods.swapping import measures_in, with_measures
from kernel.objectives import MaximizeRatio
from kernel.problem import Problem, Settings
from kernel.solution import Certificate, ConstraintReport, Solution
from kernel.status import Status

Optimize = Callable[[Problem, Settings], Solution]
RelativeGap = Callable[[float, float], float]

# Scenarios that may be exempt in an exact search.
_LARGEST_EXACT = 120
_STEPS = 50
# How fast scenarios are exempted: slower walks follow the tail as it moves, and none is always the best.
_PACES = (1.0, 0.5)
_SMALLEST_PART = 0.05
# Returns, over all trials, that exchanges may look at.
_WORK = 500_000
_PROGRESS = 1e-10


def has_value_at_risk(problem: Problem) -> bool:
    """Whether the objective's measure or a limit's is the value at risk."""
    return bool(list(_values_at_risk(problem)))


def optimize_value_at_risk(
    problem: Problem, settings: Settings, optimize: Optimize, relative_gap: RelativeGap
) -> Solution:
    """Solve a problem whose objective or limits hold the value at risk.

    Args:
        problem: What is asked; weights have finite bounds and add up to 1.
        settings: How far to go.
        optimize: Solves the same problem with other measures, integer ones included.
        relative_gap: Of an objective and its bound.

    Returns:
        The best portfolio found, the bound that is proven, and in the message the way it was found. OPTIMAL only where
        the two meet; otherwise LIMIT_REACHED.

    Raises:
        ProblemError: The weights are not bounded.
    """
    lower, upper = _box(problem)
    posed = _swapped(
        problem, lambda m: replace(m, reach=reach_of_losses(m.scenarios, m.confidence_level, lower, upper))
    )
    shares = settings.shares(3)
    relaxed = optimize(_swapped(posed, _convex_bound), next(shares))
    if relaxed.status in (Status.ILL_POSED, Status.INFEASIBLE):
        return relaxed
    search = _Search(posed, optimize, relative_gap, _bound_of(problem, relaxed), _iterations(relaxed))
    search.walk(relaxed.weights, next(shares))
    if search.unbounded is not None:
        return search.unbounded
    if max(int((m.reach > 0.0).sum()) for m in _values_at_risk(posed) if m.reach is not None) <= _LARGEST_EXACT:
        unsolved = search.prove(next(shares))
        if unsolved is not None:
            return unsolved
    return search.conclude(settings)


@dataclass(slots=True)
class _Search:
    """The best portfolio so far and what is proven of all others."""

    problem: Problem
    optimize: Optimize
    relative_gap: RelativeGap
    bound: float
    iterations: int
    weights: Vector | None = None
    value: float = np.nan
    exact: bool = False
    unbounded: Solution | None = None

    def walk(self, relaxed: Vector | None, settings: Settings) -> None:
        """Local steps from the conditional value at risk, or from the relaxation where that has no answer."""
        swapped = _swapped(self.problem, lambda m: ConditionalValueAtRisk(m.scenarios, m.confidence_level, name=m.name))
        start = self.optimize(swapped, settings)
        self._offer(start)
        first = relaxed if start.weights is None else start.weights
        for pace in _PACES:
            if first is not None:
                self._descend(first, pace, settings)
        self._exchange(settings)

    def prove(self, settings: Settings) -> Solution | None:
        """The exact program; its solution where that settles that there is none."""
        found = self.optimize(self.problem, settings)
        if found.status is Status.UNBOUNDED:
            return found
        if found.status in (Status.INFEASIBLE, Status.ILL_POSED) and self.weights is None:
            return found
        self.exact = found.certificate is not None
        if found.certificate is not None:
            self.bound = self._tighter(found.certificate.bound)
        self._offer(found)
        return None

    def conclude(self, settings: Settings) -> Solution:
        """The answer with its certificate, everything measured on the weights."""
        w = self.weights
        if w is None:
            return Solution(Status.LIMIT_REACHED, "no portfolio was found, and none was proven impossible")
        reports = tuple(_reports(self.problem, w))
        gap = self.relative_gap(self.value, self.bound)
        violation = max([0.0, *(m.shortfall for c in self.problem.constraints for m in c.measure(w))])
        how = "exact mixed-integer search" if self.exact else "local search over the scenarios to exempt"
        certificate = Certificate(self.value, self.bound, gap, violation, self.iterations, f"value at risk by {how}")
        status = _status(gap, violation, settings)
        message = f"{how}: found {self.value:.6g}, none is better than {self.bound:.6g} (relative gap {gap:.1e})"
        return Solution(status, message, w, certificate, reports)

    def _descend(self, w: Vector, pace: float, settings: Settings) -> None:
        """Exempt the worst losses, of what may still be exempt `pace` a step, until nothing improves."""
        open_ = 1.0
        for _ in range(_STEPS):
            open_ *= 1.0 - pace
            part = 1.0 - open_ if open_ > _SMALLEST_PART else 1.0
            found = self.optimize(_swapped(self.problem, _exempting(w, part)), settings)
            improved = self._offer(found)
            if found.weights is None or (part == 1.0 and not improved) or settings.clock() > settings.deadline:
                return
            w = found.weights

    def _exchange(self, settings: Settings) -> None:
        """Exempt one of the losses at the quantile, and let the next steps find what comes back in its place."""
        trials, which = self._trials, 0
        while self.weights is not None and which < self.problem.moments.n + 1 and trials > 0:
            w, value = self.weights, self.value
            found = self.optimize(_swapped(self.problem, _exempting_one_more(w, which)), settings)
            if found.weights is not None:
                self._descend(found.weights, 1.0, settings)
            which = which + 1 if value == self.value else 0
            trials = trials - 1 if settings.clock() <= settings.deadline else 0

    @property
    def _trials(self) -> int:
        return int(_WORK / max(m.scenarios.R.size for m in _values_at_risk(self.problem)))

    def _offer(self, found: Solution) -> bool:
        """Keep what is better than the best so far; whether it is."""
        self.iterations += _iterations(found)
        if found.status is Status.UNBOUNDED:
            self.unbounded = found  # what was solved allows less, so this holds of the problem itself
        if found.weights is None:
            return False
        if self._is_riskless(found.weights):
            message = (
                "a portfolio without value at risk earns more than the reference rate, so the ratio has no maximum"
            )
            self.unbounded = Solution(Status.UNBOUNDED, message)
        value = self.problem.objective.value(self.problem, found.weights)
        sign = -1.0 if self.problem.objective.maximizes else 1.0
        if self.weights is not None and sign * (self.value - value) <= _PROGRESS * abs(self.value):
            return False
        self.weights, self.value = found.weights, value
        return True

    def _is_riskless(self, w: Vector) -> bool:
        """Whether a ratio over the value at risk is infinite at w, or beyond."""
        problem = self.problem
        if not isinstance(problem.objective, MaximizeRatio):
            return False
        return problem.measure.of(w) <= 0.0 and problem.net_return(w) > problem.objective.reference

    def _tighter(self, bound: float) -> float:
        return min(self.bound, bound) if self.problem.objective.maximizes else max(self.bound, bound)


def _values_at_risk(problem: Problem) -> Iterator[ValueAtRisk]:
    objective, limits = measures_in(problem)
    return (measure for measure in (*objective, *limits) if isinstance(measure, ValueAtRisk))


def _swapped(problem: Problem, swap: Callable[[ValueAtRisk], RiskMeasure]) -> Problem:
    """The problem with another measure in place of each value at risk."""
    return with_measures(problem, lambda measure: swap(measure) if isinstance(measure, ValueAtRisk) else measure)


def _convex_bound(measure: ValueAtRisk) -> RiskMeasure:
    assert measure.reach is not None
    return ConvexBound(measure.scenarios, measure.confidence_level, measure.reach)


def _exempting(w: Vector, part: float) -> Callable[[ValueAtRisk], RiskMeasure]:
    return lambda measure: measure.exempting(w, part)


def _exempting_one_more(w: Vector, which: int) -> Callable[[ValueAtRisk], RiskMeasure]:
    return lambda measure: measure.exempting_one_more(w, which)


def _box(problem: Problem) -> tuple[Vector, Vector]:
    """(n,) the bounds of the weights."""
    n = problem.moments.n
    lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
    for constraint in problem.constraints:
        if isinstance(constraint, WeightBounds):
            lower, upper = np.maximum(lower, constraint.lower), np.minimum(upper, constraint.upper)
        elif isinstance(constraint, TradeLimits):
            lower = np.maximum(lower, constraint.w0 - constraint.limits)
            upper = np.minimum(upper, constraint.w0 + constraint.limits)
    for i in np.flatnonzero(~np.isfinite(lower)).tolist():
        reason = f"the value at risk needs a lower bound for every weight, {problem.moments.names[i]} has none"
        raise ProblemError("risk_measure", reason)
    if not any(_is_budget(constraint) for constraint in problem.constraints):
        raise ProblemError("risk_measure", "the value at risk needs weights that add up to 1")
    return lower, upper


def _is_budget(constraint: Constraint) -> bool:
    return (
        isinstance(constraint, LinearLimit)
        and constraint.lower == constraint.upper == 1.0
        and bool((constraint.coefficients == 1.0).all())
    )


def _bound_of(problem: Problem, relaxed: Solution) -> float:
    if relaxed.certificate is not None:
        return relaxed.certificate.bound
    return np.inf if problem.objective.maximizes else -np.inf


def _iterations(solution: Solution) -> int:
    return 0 if solution.certificate is None else solution.certificate.iterations


def _reports(problem: Problem, w: Vector) -> Iterator[ConstraintReport]:
    for constraint in problem.constraints:
        for m in constraint.measure(w):
            yield ConstraintReport.of(m, None)


def _status(gap: float, violation: float, settings: Settings) -> Status:
    worst = max(gap, violation)
    if worst <= settings.tolerance:
        return Status.OPTIMAL
    if worst <= settings.loose_tolerance:
        return Status.OPTIMAL_TO_TOLERANCE
    return Status.LIMIT_REACHED if violation <= settings.loose_tolerance else Status.NUMERICAL_FAILURE
