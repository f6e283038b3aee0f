"""The efficient frontier: least risk for every attainable return, after costs where there are any.

For volatility under linear limits and costs the whole frontier is traced exactly (`parametric`) and points are read off
it; elsewhere points are solved one by one (`resolve`), where the frontier bends. Either way each point carries its
certified gap, and none lies below the return of the minimum-risk portfolio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kernel.diagnosis import explain_unbounded
from kernel.frontier.exact import read_off
from kernel.frontier.path import FrontierPath
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, failed
from kernel.frontier.resolve import resolve
from kernel.methods.mean_risk import canonicalize
from kernel.objectives import MaximizeReturn
from kernel.problem import Problem, Settings

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
    if path is not None:
        frontier = read_off(path, request, settings, report)
        if frontier is None and path.is_endless:
            frontier = _endless(problem, settings)
        if frontier is not None:
            return frontier
    return resolve(problem, request, settings, report)


def _endless(problem: Problem, settings: Settings) -> EfficientFrontier | None:
    """The answer where the return grows for ever; None when no direction of its growth is certain."""
    posed = replace(problem, objective=MaximizeReturn())
    solution = explain_unbounded(posed, canonicalize(posed), settings)
    return failed(solution) if solution.direction else None


def _unheard(point: FrontierPoint) -> None:
    """Nobody waits for single points."""
