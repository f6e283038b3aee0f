"""The exact path of a parametric quadratic program: all its corners, under any linear rows and bounds.

    minimize  1/2 x'Px + q'x - lambda c'x    s.t.  the rows and bounds of a program        for every lambda >= 0

Between corners x and the multipliers are linear in lambda. The path is found from somewhere in its middle, where active
sets are seldom in doubt, down to lambda = 0 and up to where c'x is highest. Where several things happen at once the
fastest comes first; an active set that comes back without progress means a circle, which the lowest index breaks
(Bland 1977). Where all that does not help the path begins elsewhere.

References: Markowitz (1956); Bland (1977); Best (1996); Bailey & Lopez de Prado (2013).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Mask, Matrix, Program, Vector
from kernel.frontier.active_set import Line
from kernel.frontier.reduction import Reduction
from kernel.frontier.start import active_set_at
from kernel.problem import Settings
from kernel.solvers import RawSolution, RawStatus, solve_convex

# Places to begin at, in lambdas of a program whose variances and returns are of size one.
_BEGINNINGS = (0.0831, 0.431, 0.0117, 2.37, 0.00193)
# What happens beyond these is rounding.
_LARGEST_LAMBDA = 1e12
_NO_LAMBDA = 1e-13
_SAME = 1e-12
_JUMP = 1e-10
_STRAIGHT = 1e-10
_STEPS_PER_VARIABLE = 50
# Cubed sizes of all systems together: some ten seconds.
_MOST_WORK = 5e11


@dataclass(frozen=True, slots=True)
class Corners:
    """The corners of a path by rising lambda; at a jump two have the same, and where x waits two have the same x.

    Attributes:
        multipliers: (k,) lambda.
        X: (k, N) variables.
        Z: (k, m) multipliers of the rows.
        turns: (k,) False where weights and multipliers pass straight, up to rounding.
        ray: (N,) and (m,) by which X and Z change per lambda beyond the last corner; None where the path ends.
    """

    multipliers: Vector
    X: Matrix
    Z: Matrix
    turns: Mask
    ray: tuple[Vector, Vector] | None = None


def trace(program: Program, c: Vector, settings: Settings) -> Corners | None:
    """All corners of the path; None where it cannot be followed, and a caller has to solve point by point.

    Args:
        program: With linear rows and no discrete variables.
        c: (N,) the direction in which lambda pushes x.
        settings: How exactly to solve where a path begins.
    """
    reduction = Reduction.of(program, c)
    if reduction is None:
        return None
    walk = _Walk(reduction, settings)
    for beginning in _BEGINNINGS:
        raw = walk.solve(beginning)
        if raw.status is RawStatus.INFEASIBLE or walk.is_spent:
            return None
        line = walk.line_of(raw, beginning)
        if line is None:
            continue
        down, up = walk.follow(line, -1.0), walk.follow(line, 1.0)
        if down.ended and up.ended:
            return _collect(reduction, [*down.points[::-1], *up.points], up.ray)
    return None


@dataclass(slots=True)
class _Point:
    lam: float
    y: Vector
    z: Vector


@dataclass(slots=True)
class _Stretch:
    """Corners in the order in which they were met; `ended` is False where the path was held up at the last of them."""

    points: list[_Point]
    ended: bool = False
    ray: tuple[Vector, Vector] | None = None


@dataclass(slots=True)
class _Walk:
    """Follows the path of one reduced program; `work` counts the operations of its factorisations."""

    reduction: Reduction
    settings: Settings
    work: float = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether points solved one by one would by now be cheaper, or time is out."""
        return self.work > _MOST_WORK or self.settings.clock() > self.settings.deadline

    def solve(self, lam: float) -> RawSolution:
        """The optimum at lambda."""
        program, scaled = self.reduction.program, lam * self.reduction.lambda_size
        return solve_convex(replace(program, q=program.q - scaled * self.reduction.c), self.settings)

    def line_of(self, raw: RawSolution, lam: float) -> Line | None:
        """The line on which the optimum at lambda lies."""
        if raw.status is not RawStatus.SOLVED:
            return None
        y, z = self.reduction.shrink(raw.x, raw.z, lam)
        active = active_set_at(self.reduction.reduced, y, z, lam)
        return None if active is None else Line.of(self.reduction.reduced, active, lam)

    def follow(self, line: Line, sign: float) -> _Stretch:
        """The corners from `line` up (sign 1) or down (-1) to where the path ends, or is held up."""
        stretch, seen, lowest = _Stretch([]), {line.active.key()}, False
        for _ in range(_STEPS_PER_VARIABLE * (line.problem.size + len(line.problem.b) + 1)):
            event = line.next_event(sign, lowest=lowest)
            lam = line.lam + sign * (np.inf if event is None else event.distance)
            if event is None or not _NO_LAMBDA < lam < _LARGEST_LAMBDA:
                return _ended(stretch, line, sign)
            if abs(lam - line.lam) > _SAME * lam:
                seen, lowest = set(), False
            _append(stretch.points, _Point(lam, *line.at(lam)))
            active = line.pivot(event, sign, lam)
            following = None if active is None else Line.of(line.problem, active, lam)
            if active is None or following is None or (active.key() in seen and lowest) or self.is_spent:
                return stretch
            self.work += float(len(following.system.factor)) ** 3
            if active.key() in seen:
                seen, lowest = set(), True
            seen.add(active.key())
            line = following
            _append(stretch.points, _Point(lam, line.y, line.z))
        return stretch


def _ended(stretch: _Stretch, line: Line, sign: float) -> _Stretch:
    """The stretch with its end: at lambda = 0, or where nothing happens any more."""
    stretch.ended = True
    if sign < 0.0:
        stretch.points.append(_Point(0.0, *line.at(0.0)))
    elif line.dy.any():
        stretch.ray = (line.dy, line.dz)
    return stretch


def _append(points: list[_Point], point: _Point) -> None:
    """Add a corner, or let it stand for the last one where both are the same."""
    here = bool(points) and abs(points[-1].lam - point.lam) <= _SAME * point.lam
    if here and float(np.abs(points[-1].y - point.y).max(initial=0.0)) <= _JUMP:
        points.pop()
    points.append(point)


def _collect(reduction: Reduction, points: list[_Point], ray: tuple[Vector, Vector] | None) -> Corners:
    """The corners in x's terms, without those that the path passes straight."""
    if ray is not None:
        last = points[-1]
        points = [*points, _Point(last.lam + 1.0, last.y + ray[0], last.z + ray[1])]
    lam, Y, Z = (np.array([getattr(point, field) for point in points]) for field in ("lam", "y", "z"))
    multipliers, X, multiplied = reduction.expand(lam, Y, Z)
    end = len(lam) if ray is None else len(lam) - 1
    moving = np.unique(reduction.reduced.owner)
    turns = _turns(lam[:end], np.column_stack([X[:end, moving], Z[:end]]))
    corners = Corners(multipliers[:end], X[:end], multiplied[:end], turns)
    if ray is None:
        return corners
    step = multipliers[-1] - multipliers[-2]
    return replace(corners, ray=((X[-1] - X[-2]) / step, (multiplied[-1] - multiplied[-2]) / step))


def _turns(lam: Vector, values: Matrix) -> Mask:
    """(k,) True at the ends and where `values` do not lie on the line from the last turn to the next corner."""
    turns = np.ones(len(lam), dtype=bool)
    last = 0
    for k in range(1, len(lam) - 1):
        width = lam[k + 1] - lam[last]
        share = (lam[k] - lam[last]) / width if width > 0.0 else 0.0
        between = (1.0 - share) * values[last] + share * values[k + 1]
        turns[k] = np.abs(between - values[k]).max() > _STRAIGHT
        last = k if turns[k] else last
    return turns
