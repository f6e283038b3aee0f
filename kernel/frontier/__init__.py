"""The efficient frontier: least risk for every attainable return, after costs where there are any.

For volatility under linear limits and costs the whole frontier is traced exactly (`parametric`) and points are read off
it; elsewhere points are solved one by one (`resolve`), where the frontier bends. Either way each point carries its
certified gap, and none lies below the return of the minimum-risk portfolio.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.frontier.exact import read_off
from kernel.frontier.path import FrontierPath
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest
from kernel.frontier.resolve import resolve
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
    frontier = None if path is None else read_off(path, request, settings, report)
    if frontier is not None:
        return frontier
    return resolve(problem, request, settings, report)


def _unheard(point: FrontierPoint) -> None:
    """Nobody waits for single points."""
