"""The efficient frontier of volatility: least risk for every attainable return, after costs where there are any.

Under bounds and a budget the whole frontier is traced exactly (`critical_line`) and points are read off it; where other
constraints or costs enter, every point is solved exactly at its return (`resolve`). Either way each point carries its
certified gap, and none lies below the return of the minimum-risk portfolio.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.constraints import FixedExposures, LinearLimit, WeightBounds
from kernel.frontier.critical_line import Box, TurningPoints, trace
from kernel.frontier.path import FrontierPath
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, Judge, failed, outside
from kernel.frontier.resolve import resolve
from kernel.measures.volatility import covariance_root
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

__all__ = ["EfficientFrontier", "FrontierPoint", "FrontierRequest", "efficient_frontier"]


def efficient_frontier(problem: Problem, request: FrontierRequest, settings: Settings) -> EfficientFrontier:
    """The efficient frontier of `problem`, whose objective is ignored.

    Raises:
        ProblemError: The problem or the request cannot be posed.
    """
    least = _least_risk(problem, next(settings.shares(request.points + 5)))
    if least.weights is None:
        return failed(least)
    box = _plain_box(problem)
    if box is not None:
        corners = trace(problem.moments, box, np.clip(least.weights, box.lower, box.upper))
        frontier = None if corners is None else _read_off(problem, request, corners, settings)
        if frontier is not None:
            return frontier
    return resolve(problem, request, least, settings)


def _least_risk(problem: Problem, settings: Settings) -> Solution:
    """The portfolio of least risk; where many have it (a singular covariance), the one of them that earns most."""
    least = optimize(replace(problem, objective=MinimizeRisk(), cost=None), settings)
    root = covariance_root(problem.moments.quadratic)
    if least.weights is None or len(root) == problem.moments.n:
        return least
    same_risk = FixedExposures("least risk", root.T, root @ least.weights)
    highest = replace(problem, objective=MaximizeReturn(), constraints=(*problem.constraints, same_risk))
    best = optimize(highest, settings)
    return least if best.weights is None else replace(least, weights=best.weights)


def _plain_box(problem: Problem) -> Box | None:
    """Bounds and budget, when the problem has nothing else."""
    bounds = [c for c in problem.constraints if isinstance(c, WeightBounds)]
    budgets = [c for c in problem.constraints if isinstance(c, LinearLimit) and c.upper_name == "budget"]
    if problem.cost is not None or len(problem.constraints) != 2 or len(bounds) != 1 or len(budgets) != 1:
        return None
    finite = np.isfinite(bounds[0].lower).all() and np.isfinite(bounds[0].upper).all()
    return Box(bounds[0].lower, bounds[0].upper, budgets[0].upper) if finite else None


def _read_off(
    problem: Problem, request: FrontierRequest, corners: TurningPoints, settings: Settings
) -> EfficientFrontier | None:
    """Points of the traced path; None when one of them is not confirmed."""
    path, tolerance = FrontierPath.of(problem.moments, corners), settings.tolerance
    low = path.returns[0] if request.min_return is None else max(request.min_return, path.returns[0])
    high = path.returns[-1] if request.max_risk is None else path.return_at_risk(request.max_risk * (1 + tolerance))
    if high is None or low > high + tolerance:
        return outside(request, float(path.risks[0]), float(path.returns[-1]))
    judge = Judge(problem, request.risk_free)

    def point(place: float) -> FrontierPoint:
        return judge.point(*path.at(place))

    places = [path.place_of_return(r) for r in np.linspace(min(low, high), high, request.points)]
    best = path.place_of_highest_ratio(request.risk_free)
    corner_points = tuple(point(float(k)) for k in range(len(path.returns)))
    frontier = EfficientFrontier(
        Status.OPTIMAL,
        f"exact: {len(path.returns)} turning points",
        points=tuple(point(place) for place in places),
        turning_points=corner_points,
        minimum_risk=corner_points[0],
        maximum_return=corner_points[-1],
        optimal=None if best is None else point(best),
    )
    confirmed = all(max(p.gap, p.violation) <= tolerance for p in (*frontier.points, *corner_points))
    return frontier if confirmed else None
