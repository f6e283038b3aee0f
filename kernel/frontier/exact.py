"""The exact frontier as an answer: points at equal steps of return, turning points, the portfolios that stand out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernel.frontier.path import FrontierPath
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, Judge, outside
from kernel.problem import Settings
from kernel.status import Status

_SAME_WEIGHTS = 1e-10


def read_off(
    path: FrontierPath, request: FrontierRequest, settings: Settings, found: Callable[[FrontierPoint], None]
) -> EfficientFrontier | None:
    """Points of the traced path; None where one of them is not confirmed, or where the return has no end."""
    endless = path.is_endless
    if endless and request.max_risk is None:
        return None
    turns = _distinct(path)
    if request.max_risk is not None:
        path = path.until(request.max_risk)
    low = path.returns[0] if request.min_return is None else max(request.min_return, path.returns[0])
    risk = request.max_risk
    high = path.returns[-1] if risk is None else path.return_at_risk(risk * (1 + settings.tolerance))
    if high is None or low > high + settings.tolerance:
        return outside(request, float(path.risks[0]), None if endless else float(path.returns[-1]))
    judge = Judge(path.problem, path.program, request.risk_free)

    def points_at(places: list[float]) -> list[FrontierPoint]:
        X, Z = zip(*(path.at(place) for place in places), strict=True)
        return judge.points(np.array(X), np.array(Z))

    points = points_at([path.place_of_return(r) for r in np.linspace(min(low, high), high, request.points).tolist()])
    corners = points_at([float(k) for k in turns])
    status = _status([*points, *corners], path, settings)
    if status is None:
        return None
    for one in points:
        found(one)
    best = path.place_of_highest_ratio(request.risk_free)
    return EfficientFrontier(
        status,
        f"exact: {len(corners)} turning points",
        points=tuple(points),
        turning_points=tuple(corners),
        minimum_risk=corners[0],
        maximum_return=None if endless else corners[-1],
        optimal=None if best is None else points_at([best])[0],
        resolution=0.0,
    )


def _distinct(path: FrontierPath) -> list[int]:
    """The corners that are turning points, without those where only multipliers change."""
    turns = np.flatnonzero(path.corners.turns)
    W = path.corners.X[turns, : path.problem.moments.n]
    moved = np.abs(np.diff(W, axis=0)).max(axis=1, initial=0.0) > _SAME_WEIGHTS
    return [0, *turns[1:][moved].tolist()]


def _status(points: list[FrontierPoint], path: FrontierPath, settings: Settings) -> Status | None:
    """What may be said of the points together; of one without risk only that its risk is rounding."""
    worst = max(max(p.gap if p.risk > path.riskless else 0.0, p.violation) for p in points)
    if max(worst, *(p.gap for p in points)) <= settings.tolerance:
        return Status.OPTIMAL
    return Status.OPTIMAL_TO_TOLERANCE if worst <= settings.loose_tolerance else None
