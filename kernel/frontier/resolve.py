"""The frontier point by point: each is solved exactly at its return, under any constraints and costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from kernel.constraints import NetReturnFloor, RiskLimit
from kernel.frontier.points import (
    TARGET_RETURN,
    EfficientFrontier,
    FrontierPoint,
    FrontierRequest,
    failed,
    outside,
    sharpe,
)
from kernel.methods.mean_risk import optimize
from kernel.problem import MaximizeRatio, MaximizeReturn, MinimizeRisk, Problem, Settings
from kernel.solution import Solution
from kernel.status import Status


def resolve(problem: Problem, request: FrontierRequest, least: Solution, settings: Settings) -> EfficientFrontier:
    """Points between the minimum-risk portfolio `least` and the highest return within the largest risk."""
    highest = optimize(replace(problem, objective=MaximizeReturn()), settings)
    if highest.weights is None:
        return failed(highest)
    top = highest if request.max_risk is None else _highest_within(problem, request.max_risk, least, settings)
    low, high, best_return = (_value(problem, solution) for solution in (least, top, highest))
    assert low is not None
    assert best_return is not None
    start = low if request.min_return is None else max(low, request.min_return)
    if high is None or start > high + settings.tolerance:
        return outside(request, 0.0 if least.certificate is None else least.certificate.objective, best_return)
    targets = np.linspace(min(start, high), high, request.points).tolist()
    shares = _shares(settings, len(targets) + 2)
    solved = [_at_return(problem, target, next(shares)) for target in targets]
    missing = next((s for s in solved if s.weights is None), None)
    if missing is not None:
        return failed(missing)
    best = optimize(replace(problem, objective=MaximizeRatio(request.risk_free)), next(shares))
    at_top = _at_return(problem, best_return, next(shares))
    return EfficientFrontier(
        _status([least, top, *solved]),
        f"{len(solved)} points, each solved at its return",
        points=tuple(_point(problem, s, request.risk_free) for s in solved),
        minimum_risk=_point(problem, least, request.risk_free),
        maximum_return=_point(problem, highest if at_top.weights is None else at_top, request.risk_free),
        optimal=None if best.weights is None else _point(problem, best, request.risk_free),
    )


def _shares(settings: Settings, solves: int) -> Iterator[Settings]:
    """Settings for each of `solves` solves: the time that is left, in equal parts."""
    for left in range(solves, 0, -1):
        now = settings.clock()
        yield replace(settings, deadline=now + max(settings.deadline - now, 0.0) / left)


def _status(solutions: Iterable[Solution]) -> Status:
    """The weakest claim among the portfolios of the frontier."""
    found = {solution.status for solution in solutions}
    weaker = (Status.LIMIT_REACHED, Status.OPTIMAL_TO_TOLERANCE)
    return next((status for status in weaker if status in found), Status.OPTIMAL)


def _highest_within(problem: Problem, max_risk: float, least: Solution, settings: Settings) -> Solution:
    """The highest return within `max_risk`; with no room above the least risk that portfolio itself."""
    assert least.weights is not None
    least_risk = problem.measure.of(least.weights)
    if abs(max_risk - least_risk) <= settings.tolerance * least_risk:
        return least
    limit = RiskLimit("max_risk", problem.measure, max_risk)
    return optimize(replace(problem, objective=MaximizeReturn(), constraints=(*problem.constraints, limit)), settings)


def _at_return(problem: Problem, target: float, settings: Settings) -> Solution:
    """Least risk at a return of at least `target`, lowered by a rounding so that the highest return stays feasible."""
    floor = target - settings.tolerance * 1e-2 * max(1.0, abs(target))
    limit = NetReturnFloor(TARGET_RETURN, problem.moments.mu, floor, problem.cost)
    posed = replace(problem, objective=MinimizeRisk(), cost=None, constraints=(*problem.constraints, limit))
    return optimize(posed, settings)


def _point(problem: Problem, solution: Solution, risk_free: float) -> FrontierPoint:
    assert solution.weights is not None
    assert solution.certificate is not None
    value, risk = problem.net_return(solution.weights), problem.measure.of(solution.weights)
    price = next((c.shadow_price or 0.0 for c in solution.constraints if c.name == TARGET_RETURN), 0.0)
    return FrontierPoint(
        weights=solution.weights,
        expected_return=value,
        risk=risk,
        sharpe=sharpe(value, risk, risk_free),
        multiplier=price * risk,
        gap=solution.certificate.gap,
        violation=solution.certificate.violation,
    )


def _value(problem: Problem, solution: Solution) -> float | None:
    return None if solution.weights is None else problem.net_return(solution.weights)
