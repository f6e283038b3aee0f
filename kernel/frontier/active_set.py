"""Active sets of a parametric program: the line along which the optimum moves, and how far.

With free variables F and rows W that hold with equality the optimum is linear in lambda:

    [ P_FF  A_WF' ] [ y_F ]   [ lambda c_F - q_F - P_FB y_B ]        B: variables on a bound
    [ A_WF    0   ] [ z_W ] = [        b_W - A_WB y_B       ]

The set holds as long as free variables keep their bounds, reduced costs and multipliers their signs, and other rows
their slack. The matrix stays regular: whatever takes a variable or row out takes its own pivot with it, and what comes
in without curvature (cash, copies of an asset, fewer observations than assets) is moved until something else gives way.

References: Best (1996), an algorithm for the solution of the parametric quadratic programming problem;
Niedermayer & Niedermayer (2010).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import scipy.linalg

from kernel.canonical import Mask, Matrix, Vector
from kernel.frontier.reduction import Reduced
from kernel.quadratic import Indices

# Slopes of this size, where those that matter are of size one, are rounding.
_NO_SLOPE = 1e-13
# Curvature relative to the largest that the same step could have.
_NO_CURVATURE = 1e-11
_SINGULAR = 1e-15
_TIE = 1e-12


class Side(Enum):
    """What happens at an event."""

    LEAVES = "a free variable meets a bound"
    ENTERS = "a reduced cost reaches zero"
    RELEASES = "a multiplier reaches zero"
    BINDS = "a slack reaches zero"


@dataclass(frozen=True, slots=True)
class Event:
    """What ends a line: `distance` in lambda from where it starts, or along a direction."""

    distance: float
    side: Side
    index: int


@dataclass(frozen=True, slots=True)
class ActiveSet:
    """Which variables are free, on which bound the others are, and which rows hold with equality."""

    free: Mask
    at_upper: Mask
    rows: Mask

    def key(self) -> bytes:
        """The same for the same set."""
        return self.free.tobytes() + self.at_upper.tobytes() + self.rows.tobytes()

    def leave(self, j: int, *, upper: bool) -> ActiveSet:
        """The variable j goes to a bound."""
        return replace(self, free=_with(self.free, j, value=False), at_upper=_with(self.at_upper, j, value=upper))

    def enter(self, j: int) -> ActiveSet:
        """The variable j becomes free."""
        return replace(self, free=_with(self.free, j, value=True), at_upper=_with(self.at_upper, j, value=False))

    def bind(self, row: int, *, held: bool) -> ActiveSet:
        """The row holds with equality, or no longer."""
        return replace(self, rows=_with(self.rows, row, value=held))


@dataclass(frozen=True, slots=True)
class Line:
    """The optimum from `lam` on while the active set holds: values there, and slopes by lambda.

    Attributes:
        lam: lambda where it starts.
        y: (N',) variables and their slopes `dy`; likewise
        z: (m',) multipliers,
        r: (N',) reduced costs, positive at a lower bound,
        s: (m',) slacks.
    """

    problem: Reduced
    active: ActiveSet
    lam: float
    y: Vector
    dy: Vector
    z: Vector
    dz: Vector
    r: Vector
    dr: Vector
    s: Vector
    ds: Vector
    system: System

    @classmethod
    def of(cls, problem: Reduced, active: ActiveSet, lam: float) -> Line | None:
        """Solve for the line; None where the active set has none."""
        system = System.of(problem, active)
        if system is None:
            return None
        F, W = system.F, system.W
        y, z = np.zeros((2, problem.size)), np.zeros((2, len(problem.b)))
        y[0] = np.where(active.free, 0.0, np.where(active.at_upper, problem.upper, problem.lower))
        pull = problem.times(y[:1])[0] + problem.q
        right = np.zeros((len(F) + len(W), 2))
        right[: len(F), 0], right[: len(F), 1] = lam * problem.c[F] - pull[F], problem.c[F]
        right[len(F) :, 0] = problem.b[W] - problem.A[W] @ y[0]
        solved = system.solve(right).T
        y[:, F], z[:, W] = solved[:, : len(F)], solved[:, len(F) :]
        bent = problem.times(y)
        if np.abs(bent[1, F]).max(initial=0.0) <= _NO_SLOPE:
            # Free assets with tied returns: what is left is rounding, which a large lambda would magnify.
            y[1], bent[1] = 0.0, 0.0
        r = bent + z @ problem.A
        r[0] += problem.q - lam * problem.c
        r[1] -= problem.c
        r[1, np.abs(r[1]) <= _NO_SLOPE * (1.0 + np.abs(z[1]).max(initial=0.0))] = 0.0
        held = y @ problem.A.T
        ds = -held[1]
        ds[np.abs(ds) <= _NO_SLOPE * np.abs(y[1]).max(initial=0.0)] = 0.0
        r[:, F], ds[W] = 0.0, 0.0
        return cls(problem, active, lam, y[0], y[1], z[0], z[1], r[0], r[1], problem.b - held[0], ds, system)

    def next_event(self, sign: float, *, lowest: bool) -> Event | None:
        """The first event as lambda rises (sign 1) or falls (-1); of several the fastest, or the one listed first."""
        problem, active = self.problem, self.active
        F, W = self.system.F, self.system.W
        resting = ~active.free & (problem.lower < problem.upper)
        dr = sign * np.where(active.at_upper, -self.dr, self.dr)
        room = np.where(active.at_upper, -self.r, self.r)
        loose = ~active.rows
        rates = [
            (Side.LEAVES, F, *_towards_bounds(problem, F, self.y, sign * self.dy)),
            (Side.ENTERS, *_falling(np.flatnonzero(resting), room, dr)),
            (Side.RELEASES, *_falling(W[~problem.equal[W]], self.z, sign * self.dz)),
            (Side.BINDS, *_falling(np.flatnonzero(loose & ~problem.equal), self.s, sign * self.ds)),
            (Side.BINDS, *_falling(np.flatnonzero(loose & problem.equal), np.zeros_like(self.s), -np.abs(self.ds))),
        ]
        return _first(rates, lowest=lowest)

    def at(self, lam: float) -> tuple[Vector, Vector]:
        """Y and z at another lambda on the line."""
        step = lam - self.lam
        return self.y + step * self.dy, self.z + step * self.dz

    def pivot(self, event: Event, sign: float, lam: float) -> ActiveSet | None:
        """The active set after an event at `lam`; None where the optimum leaves along a ray without curvature."""
        active, j = self.active, event.index
        if event.side is Side.LEAVES:
            return active.leave(j, upper=sign * self.dy[j] > 0)
        if event.side is Side.BINDS:
            return active.bind(j, held=True)
        if event.side is Side.ENTERS:
            direction, bent = self.system.entering(self.problem, j, upper=bool(active.at_upper[j]))
            changed = active.enter(j)
        else:
            direction, bent = self.system.releasing(self.problem, j)
            changed = active.bind(j, held=False)
        reach = float(self.problem.deviation @ np.abs(direction)) ** 2
        if bent > _NO_CURVATURE * reach:
            return changed
        return self._give_way(changed, direction, lam)

    def _give_way(self, changed: ActiveSet, direction: Vector, lam: float) -> ActiveSet | None:
        """Move along a direction without curvature until a bound or row stops it."""
        y, _ = self.at(lam)
        stop = first_stop(self.problem, changed.rows, y, direction)
        if stop is None:
            return None
        if stop.side is Side.BINDS:
            return changed.bind(stop.index, held=True)
        return changed.leave(stop.index, upper=bool(direction[stop.index] > 0))


@dataclass(frozen=True, slots=True)
class System:
    """The matrix of an active set, factored."""

    F: Indices
    W: Indices
    factor: Matrix
    pivots: Indices

    @classmethod
    def of(cls, problem: Reduced, active: ActiveSet) -> System | None:
        """Factor it; None when it is singular."""
        F, W = np.flatnonzero(active.free), np.flatnonzero(active.rows)
        n, size = len(F), len(F) + len(W)
        K = np.zeros((size, size), order="F")
        K[:n, :n] = problem.block(F)
        K[n:, :n] = problem.A[np.ix_(W, F)]
        K[:n, n:] = K[n:, :n].T
        if size == 0:
            return cls(F, W, K, np.zeros(0, dtype=np.intp))
        factor, pivots, failed = scipy.linalg.lapack.dgetrf(K, overwrite_a=True)
        diagonal = np.abs(np.diag(factor))
        if failed or diagonal.min() < _SINGULAR * diagonal.max():
            return None
        return cls(F, W, factor, pivots)

    def solve(self, right: Matrix) -> Matrix:
        """The solutions for the columns of `right`."""
        if len(right) == 0:
            return right
        # Column by column: libraries split several of these small ones over threads, which costs more than it saves.
        columns = [scipy.linalg.lapack.dgetrs(self.factor, self.pivots, column)[0] for column in right.T]
        return np.column_stack(columns)

    def entering(self, problem: Reduced, j: int, *, upper: bool) -> tuple[Vector, float]:
        """The direction in which the free variables follow when j leaves its bound, and its curvature."""
        n = len(self.F)
        unit = np.zeros((1, problem.size))
        unit[0, j] = 1.0
        column = problem.times(unit)[0]
        right = np.concatenate([column[self.F], problem.A[self.W, j]])
        solved = self.solve(-right[:, None])[:, 0]
        direction = unit[0]
        direction[self.F] = solved[:n]
        bent = float(column[j] + right @ solved)
        return (-direction if upper else direction), bent

    def releasing(self, problem: Reduced, row: int) -> tuple[Vector, float]:
        """The direction in which the free variables move when a row gets slack, and its curvature."""
        n = len(self.F)
        right = np.zeros((n + len(self.W), 1))
        place = n + int(np.searchsorted(self.W, row))
        right[place] = -1.0
        solved = self.solve(right)[:, 0]
        direction = np.zeros(problem.size)
        direction[self.F] = solved[:n]
        return direction, float(solved[place])


def first_stop(problem: Reduced, rows: Mask, y: Vector, direction: Vector) -> Event | None:
    """The bound or row, other than the `rows` that hold, which y meets first along `direction`; None for a ray."""
    moving, loose = np.flatnonzero(direction), np.flatnonzero(~rows)
    slope = -(problem.A @ direction)
    slope[np.abs(slope) <= _NO_SLOPE * np.abs(direction).max()] = 0.0
    slope[problem.equal] = -np.abs(slope[problem.equal])
    rates = [
        (Side.LEAVES, moving, *_towards_bounds(problem, moving, y, direction)),
        (Side.BINDS, *_falling(loose, problem.b - problem.A @ y, slope)),
    ]
    return _first(rates, lowest=False)


def _with(mask: Mask, place: int, *, value: bool) -> Mask:
    changed = mask.copy()
    changed[place] = value
    return changed


_Rates = tuple[Side, Indices, Vector, Vector]


def _towards_bounds(problem: Reduced, places: Indices, y: Vector, rate: Vector) -> tuple[Vector, Vector]:
    """Distances of the variables at `places` to the bounds that they move to, and how fast they do."""
    rate, value = rate[places], y[places]
    rate = np.where(np.abs(rate) <= _NO_SLOPE * np.abs(rate).max(initial=0.0), 0.0, rate)
    return np.where(rate > 0.0, problem.upper[places] - value, value - problem.lower[places]), np.abs(rate)


def _falling(places: Indices, value: Vector, slope: Vector) -> tuple[Indices, Vector, Vector]:
    """Those of the values at `places` that fall, and how fast."""
    chosen = places[slope[places] < 0.0]
    return chosen, value[chosen], -slope[chosen]


def _first(rates: list[_Rates], *, lowest: bool) -> Event | None:
    """The event that comes first; of those at the same distance the fastest, or the one listed first."""
    places = np.concatenate([places for _, places, _, _ in rates])
    room = np.concatenate([room for *_, room, _ in rates])
    rate = np.concatenate([rate for *_, rate in rates])
    sides = np.repeat(np.arange(len(rates)), [len(places) for _, places, _, _ in rates])
    distance = np.full(len(places), np.inf)
    np.divide(np.maximum(room, 0.0), rate, out=distance, where=rate > 0.0)
    if not np.isfinite(distance).any():
        return None
    least = float(distance.min())
    tied = np.flatnonzero(distance <= least * (1.0 + _TIE))
    chosen = int(tied[0] if lowest else tied[np.argmax(rate[tied])])
    return Event(least, rates[int(sides[chosen])][0], int(places[chosen]))
