"""The frontier point by point, for every measure, limit and cost: each point has the least risk at its return.

Besides its portfolio a solve gives a line below which no portfolio lies, the bound with the price of return as its
slope; and the line through two neighbours lies above the frontier between them. Where the two leave most room the next
point is placed.

References: Rote (1992), the convergence rate of the sandwich algorithm for approximating convex functions.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import NetReturnFloor, RiskLimit
from kernel.frontier.path import PATH_MEASURES, TARGET_RETURN
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, failed, outside, sharpe
from kernel.methods.mean_risk import canonicalize, optimize, relative_gap
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

# By how much of the tolerance a target is lowered, so that the highest return stays feasible; and at a second try.
_LOWERED = (1e-2, 1e1)
# A new point keeps this part of the way to either neighbour.
_APART = 0.1
# Below it two lines leave no room.
_NO_ROOM = 1e-9
# The weight of return against risk that only decides between portfolios of the same least risk,
_DECIDING = 1e-6
# and the part of the frontier's return that is worth deciding for.
_WORTH = 1e-4


def resolve(
    problem: Problem, request: FrontierRequest, settings: Settings, found: Callable[[FrontierPoint], None]
) -> EfficientFrontier:
    """Points between the minimum-risk portfolio and the highest return within the largest risk."""
    shares = settings.shares(request.points + 6)
    least = optimize(replace(problem, objective=MinimizeRisk(), cost=None), next(shares))
    if least.weights is None:
        return failed(least)
    highest = optimize(replace(problem, objective=MaximizeReturn()), next(shares))
    endless = highest.status is Status.UNBOUNDED and request.max_risk is not None
    if highest.weights is None and not endless:
        return failed(highest)
    least = _best_of_least(problem, least, highest, next(shares))
    top = _highest_within(problem, request.max_risk, least, highest, next(shares))
    low, high, best_return = (_value(problem, solution) for solution in (least, top, highest))
    assert low is not None
    start = low if request.min_return is None else max(low, request.min_return)
    if high is None or start > high + settings.tolerance:
        return outside(request, 0.0 if least.certificate is None else least.certificate.objective, best_return)
    convex = canonicalize(replace(problem, objective=MinimizeRisk(), cost=None)).is_convex
    search = _Search(problem, request, shares, found, convex)
    search.run(least if start == low else None, min(start, high), high)
    if search.failure is not None:
        return failed(search.failure)
    best = optimize(replace(problem, objective=MaximizeRatio(request.risk_free)), next(shares))
    return EfficientFrontier(
        _status([least, top, *(place.solution for place in search.places)]),
        search.describe(),
        points=tuple(place.point for place in search.places),
        minimum_risk=_point(problem, least, request.risk_free),
        maximum_return=None if best_return is None else search.highest(highest, best_return),
        optimal=None if best.weights is None else _point(problem, best, request.risk_free),
        resolution=search.resolution(),
    )


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """A point and its line: who earns R has a penalty of risk of at least ``bound + multiplier (R - floor)``."""

    floor: float
    bound: float = field(compare=False)
    point: FrontierPoint = field(compare=False)
    solution: Solution = field(compare=False)

    def line(self, value: float) -> float:
        """The line at a return of `value`."""
        return self.bound + self.point.multiplier * (value - self.floor)


@dataclass(slots=True)
class _Search:
    """Places points, and keeps those found in the order of rising return.

    Attributes:
        convex: Whether lines through points mean anything.
        missing: Points for which an integer search ran out of time before it found any portfolio.
        failure: The first end without weights that is an answer of its own.
    """

    problem: Problem
    request: FrontierRequest
    shares: Iterator[Settings]
    found: Callable[[FrontierPoint], None]
    convex: bool
    places: list[_Place] = field(default_factory=list)
    missing: int = 0
    failure: Solution | None = None

    def run(self, first: Solution | None, low: float, high: float) -> None:
        """Place the points that were asked for between the returns `low` and `high`.

        Args:
            first: The point at `low` where it is known.
            low: Lowest return.
            high: Highest return.
        """
        wanted = self.request.points
        if first is not None:
            self._keep(low, first)
        evenly = self.problem.measure.name in PATH_MEASURES or not self.convex
        for target in np.linspace(low, high, wanted if evenly else 2).tolist()[len(self.places) :]:
            self._place(target)
        while len(self.places) + self.missing < wanted and self.failure is None and len(self.places) > 1:
            self._place(self._next_target())

    def describe(self) -> str:
        """How the points were found."""
        left = f"; {self.missing} not found in time" if self.missing else ""
        return f"{len(self.places)} points, each solved at its return{left}"

    def resolution(self) -> float | None:
        """The most room between neighbours; None for integer problems, where there are no lines."""
        return max((self._room(a, b)[0] for a, b in pairwise(self.places)), default=0.0) if self.convex else None

    def highest(self, solution: Solution, value: float) -> FrontierPoint:
        """The portfolio of the highest return `value`, of least risk among several."""
        last = self.places[-1]
        if last.floor >= value - _NO_ROOM * max(1.0, abs(value)):
            return last.point
        at_top = _at_return(self.problem, value, next(self.shares), last.solution.x)
        return _point(self.problem, solution if at_top.weights is None else at_top, self.request.risk_free)

    def _place(self, target: float) -> None:
        """Solve at `target`, from the nearest point that is known."""
        if self.failure is not None:
            return
        near = min(self.places, key=lambda place: abs(place.floor - target), default=None)
        solution = _at_return(self.problem, target, next(self.shares), None if near is None else near.solution.x)
        if solution.weights is not None:
            self._keep(target, solution)
            return
        self.missing += 1
        if solution.status is not Status.LIMIT_REACHED or self.missing == self.request.points:
            self.failure = solution

    def _keep(self, floor: float, solution: Solution) -> None:
        assert solution.certificate is not None
        point = _point(self.problem, solution, self.request.risk_free)
        insort(self.places, _Place(floor, self.problem.measure.penalty(solution.certificate.bound), point, solution))
        self.found(point)

    def _next_target(self) -> float:
        """Where lines leave most room; where they leave none, in the middle of the widest step."""
        steps = list(pairwise(self.places))
        (room, crossing), a, b = max(((self._room(a, b), a, b) for a, b in steps), key=lambda step: step[0][0])
        if room <= _NO_ROOM:
            a, b = max(steps, key=lambda step: step[1].floor - step[0].floor)
            crossing = 0.5 * (a.floor + b.floor)
        margin = _APART * (b.floor - a.floor)
        return min(max(crossing, a.floor + margin), b.floor - margin)

    def _room(self, a: _Place, b: _Place) -> tuple[float, float]:
        """The largest distance of the chord from the lines, relative to the risk, and where the lines cross."""
        low, high = a.point.expected_return, b.point.expected_return
        turn = b.point.multiplier - a.point.multiplier
        crossing = (a.line(0.0) - b.line(0.0)) / turn if turn > 0.0 else 0.5 * (low + high)
        crossing = min(max(crossing, low), high)
        # Roots of lines are concave, so that the distance is largest at an end or where the lines cross.
        return max(self._distance(a, b, value) for value in (low, crossing, high)), crossing

    def _distance(self, a: _Place, b: _Place, value: float) -> float:
        """The distance at a return of `value`."""
        width = b.point.expected_return - a.point.expected_return
        t = (value - a.point.expected_return) / width if width > 0.0 else 0.0
        chord = (1.0 - t) * a.point.risk + t * b.point.risk
        bound = self.problem.measure.from_program(max(a.line(value), b.line(value)))
        return relative_gap(chord, min(bound, chord))


def _best_of_least(problem: Problem, least: Solution, highest: Solution, settings: Settings) -> Solution:
    """Of several portfolios of least risk the one that earns most."""
    if least.weights is None or least.certificate is None or highest.weights is None:
        return least
    measure, bound = problem.measure, least.certificate.bound
    low = problem.net_return(least.weights)
    spread = problem.net_return(highest.weights) - low
    allowed = max(settings.tolerance, least.certificate.gap)
    better = highest
    if spread > 0.0 and relative_gap(measure.of(highest.weights), bound) > allowed:
        rise = measure.penalty(measure.of(highest.weights)) - measure.penalty(bound)
        objective = MaximizeUtility(spread / (_DECIDING * rise))
        better = optimize(replace(problem, objective=objective), settings, least.x)
    if better.weights is None or better.certificate is None:
        return least
    risk = measure.of(better.weights)
    gap = relative_gap(risk, bound)
    if gap > allowed or problem.net_return(better.weights) <= low + _WORTH * spread:
        return least
    certificate = replace(least.certificate, objective=risk, gap=gap, violation=better.certificate.violation)
    return replace(better, certificate=certificate)


def _highest_within(
    problem: Problem, max_risk: float | None, least: Solution, highest: Solution, settings: Settings
) -> Solution:
    """The highest return within `max_risk`; with no room above the least risk that portfolio itself."""
    assert least.weights is not None
    assert least.certificate is not None
    measure = problem.measure
    if max_risk is None or (highest.weights is not None and measure.of(highest.weights) <= max_risk):
        return highest
    least_risk = measure.of(least.weights)
    if abs(max_risk - least_risk) <= settings.tolerance * abs(least_risk):
        return least
    if max_risk < least.certificate.bound:
        return Solution(Status.INFEASIBLE, "the largest risk is below the least")
    limit = RiskLimit("max_risk", measure, max_risk)
    posed = replace(problem, objective=MaximizeReturn(), constraints=(*problem.constraints, limit))
    return optimize(posed, settings, least.x)


def _at_return(problem: Problem, target: float, settings: Settings, start: Vector | None) -> Solution:
    """Least risk at a return of at least `target`, less a rounding."""
    for part in _LOWERED:
        floor = target - settings.tolerance * part * max(1.0, abs(target))
        limit = NetReturnFloor(TARGET_RETURN, problem.moments.mu, floor, problem.cost)
        posed = replace(problem, objective=MinimizeRisk(), cost=None, constraints=(*problem.constraints, limit))
        solution = optimize(posed, settings, start)
        if solution.weights is not None or solution.status is Status.LIMIT_REACHED:
            break
    return solution


def _status(solutions: Iterable[Solution]) -> Status:
    """The weakest claim among the portfolios of the frontier."""
    found = {solution.status for solution in solutions}
    weaker = (Status.LIMIT_REACHED, Status.OPTIMAL_TO_TOLERANCE)
    return next((status for status in weaker if status in found), Status.OPTIMAL)


def _point(problem: Problem, solution: Solution, risk_free: float) -> FrontierPoint:
    assert solution.weights is not None
    assert solution.certificate is not None
    value, risk = problem.net_return(solution.weights), problem.measure.of(solution.weights)
    price = next((c.shadow_price or 0.0 for c in solution.constraints if c.name == TARGET_RETURN), 0.0)
    slope = problem.measure.slope(risk)
    return FrontierPoint(
        weights=solution.weights,
        expected_return=value,
        risk=risk,
        sharpe=sharpe(value, risk, risk_free),
        multiplier=price / slope if slope > 0.0 else 0.0,
        gap=solution.certificate.gap,
        violation=solution.certificate.violation,
    )


def _value(problem: Problem, solution: Solution) -> float | None:
    return None if solution.weights is None else problem.net_return(solution.weights)
