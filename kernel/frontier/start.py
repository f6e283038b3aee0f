"""An active set of a parametric program, read off a solution at one lambda and made regular.

What a solver returns may have more free variables than the optimum needs (copies of an asset, no curvature): they are
moved along the directions that change nothing until they meet bounds. And it may have fewer than its rows need (a
vertex): multipliers are then moved until the reduced costs of as many resting variables vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.canonical import Mask, Vector
from kernel.frontier.active_set import ActiveSet, Line, Side, first_stop
from kernel.frontier.reduction import Reduced

_AT_BOUND = 1e-11
_FLAT = 1e-11
_DEPENDENT = 1e-10
_ROUNDING = 1e-7
_CORRECTIONS = 10


@dataclass(slots=True)
class _Point:
    """A solution on its way to a regular active set; its arrays are changed in place."""

    y: Vector
    z: Vector
    r: Vector
    s: Vector
    free: Mask
    rows: Mask


def active_set_at(problem: Reduced, y: Vector, z: Vector, lam: float) -> ActiveSet | None:
    """The active set of the solution (y, z) at lambda; None where no regular one confirms it."""
    point = _read(problem, y, z, lam)
    _fix_flat(problem, point)
    _fill_dependent(problem, point)
    nearer_upper = problem.upper - point.y < point.y - problem.lower
    active: ActiveSet | None = ActiveSet(point.free, ~point.free & nearer_upper, point.rows)
    for _ in range(_CORRECTIONS):
        line = None if active is None else Line.of(problem, active, lam)
        if line is None:
            return None
        active = _corrected(line)
        if active is None:
            return line.active
    return None


def _read(problem: Reduced, y: Vector, z: Vector, lam: float) -> _Point:
    """Which variables are off their bounds and which rows hold, by the smaller of distance and multiplier."""
    r = problem.times(y[None, :])[0] + problem.q - lam * problem.c + problem.A.T @ z
    s = problem.b - problem.A @ y
    lower, upper = y - problem.lower, problem.upper - y
    free = (lower > np.maximum(r, _AT_BOUND)) & (upper > np.maximum(-r, _AT_BOUND))
    return _Point(y.copy(), z.copy(), r, s, free, problem.equal | (s < z))


def _fix_flat(problem: Reduced, point: _Point) -> None:
    """Take free variables to bounds along directions without curvature that keep the rows."""
    while point.free.any():
        F, W = np.flatnonzero(point.free), np.flatnonzero(point.rows)
        A = problem.A[np.ix_(W, F)]
        values, vectors = np.linalg.eigh(problem.block(F) + A.T @ A)
        if values[0] > _FLAT * values[-1]:
            return
        direction = np.zeros(problem.size)
        direction[F] = vectors[:, 0]
        stops = [(first_stop(problem, point.rows, point.y, sign * direction), sign) for sign in (1.0, -1.0)]
        found = [(stop, sign) for stop, sign in stops if stop is not None]
        if not found:
            return
        stop, sign = min(found, key=lambda pair: pair[0].distance)
        point.y += sign * stop.distance * direction
        if stop.side is Side.BINDS:
            point.rows[stop.index] = True
        else:
            j = stop.index
            point.y[j] = problem.upper[j] if sign * direction[j] > 0 else problem.lower[j]
            point.free[j] = False


def _fill_dependent(problem: Reduced, point: _Point) -> None:
    """Give every row that holds a free variable of its own, or let it go."""
    while point.rows.any():
        F, W = np.flatnonzero(point.free), np.flatnonzero(point.rows)
        left, values, _ = np.linalg.svd(problem.A[np.ix_(W, F)])
        rank = int((values > _DEPENDENT).sum())
        if rank == len(W):
            return
        y = np.zeros(len(problem.b))
        y[W] = left[:, -1]
        _move_multipliers(problem, point, y)


def _move_multipliers(problem: Reduced, point: _Point, y: Vector) -> None:
    """Move z along y, which no free variable feels, until a reduced cost or a multiplier vanishes."""
    slope = problem.A.T @ y
    resting = ~point.free & (problem.lower < problem.upper) & (np.abs(slope) > _DEPENDENT)
    above = resting & (problem.upper - point.y < point.y - problem.lower)
    size = np.where(above, -point.r, point.r)
    falling = np.where(above, -slope, slope)
    unequal = point.rows & ~problem.equal & (np.abs(y) > _DEPENDENT)
    steps = [
        (max(float(values[k]), 0.0) / abs(float(rates[k])), float(-np.sign(rates[k])), k, is_variable)
        for chosen, values, rates, is_variable in ((resting, size, falling, True), (unequal, point.z, y, False))
        for k in np.flatnonzero(chosen).tolist()
    ]
    if not steps:
        point.rows[int(np.argmax(np.abs(y)))] = False
        return
    step, sign, index, is_variable = min(steps)
    point.z += sign * step * y
    point.r += sign * step * slope
    if is_variable:
        point.free[index] = True
    else:
        point.rows[index] = False
        point.z[index] = 0.0


def _corrected(line: Line) -> ActiveSet | None:
    """The active set with every wrong sign turned; None when all signs are right up to rounding."""
    problem, active = line.problem, line.active
    size = _ROUNDING
    movable = ~active.free & (problem.lower < problem.upper)
    below, above = line.y < problem.lower - size, line.y > problem.upper + size
    enters = movable & (np.where(active.at_upper, -line.r, line.r) < -size)
    binds = ~active.rows & ((line.s < -size) | (problem.equal & (np.abs(line.s) > size)))
    releases = active.rows & ~problem.equal & (line.z < -size)
    if not (below.any() or above.any() or enters.any() or binds.any() or releases.any()):
        return None
    return ActiveSet(
        (active.free | enters) & ~(below | above),
        (active.at_upper & ~enters & ~below) | above,
        (active.rows | binds) & ~releases,
    )
