"""The frontier point by point: each is solved exactly at its return, under any constraints and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from kernel.constraints import NetReturnFloor, RiskLimit
from kernel.frontier.path import TARGET_RETURN
from kernel.frontier.points import (
    EfficientFrontier,
    FrontierPoint,
    FrontierRequest,
    failed,
    outside,
    sharpe,
)
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status


def resolve(problem: Problem, request: FrontierRequest, least: Solution, settings: Settings) -> EfficientFrontier:
    """Points between the minimum-risk portfolio `least` and the highest return within the largest risk."""
    shares = settings.shares(request.points + 4)
    highest = optimize(replace(problem, objective=MaximizeReturn()), next(shares))
    if highest.weights is None:
        return failed(highest)
    top = highest if request.max_risk is None else _highest_within(problem, request.max_risk, least, next(shares))
    low, high, best_return = (_value(problem, solution) for solution in (least, top, highest))
    assert low is not None
    assert best_return is not None
    start = low if request.min_return is None else max(low, request.min_return)
    if high is None or start > high + settings.tolerance:
        return outside(request, 0.0 if least.certificate is None else least.certificate.objective, best_return)
    targets = np.linspace(min(start, high), high, request.points).tolist()
    solved = [_at_return(problem, target, next(shares)) for target in targets]
    found = [s for s in solved if s.weights is not None]
    # A search that ran out of time before it found anything leaves a hole; any other end without weights is the answer.
    missing = [s for s in solved if s.weights is None]
    if not found or any(s.status is not Status.LIMIT_REACHED for s in missing):
        return failed(missing[0])
    best = optimize(replace(problem, objective=MaximizeRatio(request.risk_free)), next(shares))
    at_top = _at_return(problem, best_return, next(shares))
    return EfficientFrontier(
        _status([least, top, *solved]),
        f"{len(found)} points, each solved at its return" + (f"; {len(missing)} not found in time" if missing else ""),
        points=tuple(_point(problem, s, request.risk_free) for s in found),
        minimum_risk=_point(problem, least, request.risk_free),
        maximum_return=_point(problem, highest if at_top.weights is None else at_top, request.risk_free),
        optimal=None if best.weights is None else _point(problem, best, request.risk_free),
    )


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
