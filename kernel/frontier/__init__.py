"""The efficient frontier: least risk for every attainable return, after costs where there are any.

For volatility under linear limits and costs the whole frontier is traced exactly (`parametric`) and points are read off
it; elsewhere points are solved one by one (`resolve`), where the frontier bends. Either way each point carries its
certified gap, and none lies below the return of the minimum-risk portfolio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kernel.constraints import FixedExposures
from kernel.frontier.exact import read_off
from kernel.frontier.path import FrontierPath
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, failed
from kernel.frontier.resolve import resolve
from kernel.measures.volatility import covariance_root
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Solution

__all__ = ["EfficientFrontier", "FrontierPath", "FrontierPoint", "FrontierRequest", "efficient_frontier"]


def efficient_frontier(
    problem: Problem,
    request: FrontierRequest,
    settings: Settings,
    found: Callable[[FrontierPoint], None] | None = None,
) -> EfficientFrontier:
    """The efficient frontier of `problem`, whose objective is ignored.

    Args:
        problem: What is asked.
        request: Which part, and how many points.
        settings: How far to go.
        found: Called with each point as soon as it is certified.

    Raises:
        ProblemError: The problem or the request cannot be posed.
    """
    report = found or _unheard
    path = FrontierPath.of(problem, settings)
    frontier = None if path is None else read_off(path, request, settings, report)
    if frontier is not None:
        return frontier
    least = _least_risk(problem, next(settings.shares(request.points + 5)))
    if least.weights is None:
        return failed(least)
    return resolve(problem, request, least, settings)


def _unheard(point: FrontierPoint) -> None:
    """Nobody waits for single points."""


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
