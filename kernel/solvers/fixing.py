"""Choices in a mixed-integer program, what follows from them, and the smaller convex program that is left.

Fixed variables, switches that another variable implies, and rows that always hold are taken out: what is left keeps an
interior, which interior-point methods need, and is quicker to solve.

References: Savelsbergh (1994), preprocessing and probing techniques for mixed-integer programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Hinge, Mask, Program, Quadratic, RowBlock, Vector
from kernel.quadratic import Indices
from kernel.solvers.switches import Box, RelativeRows, Switches

_CONTRADICTION = 1e-9
_FIXED = 1e-12
_ROUNDS = 20
_FEW = 3
_SMALLEST_SCALE = 1e-12


@dataclass(frozen=True, slots=True)
class Choice:
    """lower <= x[index] / scale <= upper."""

    index: int
    lower: float = -np.inf
    upper: float = np.inf


@dataclass(frozen=True, slots=True)
class Reduced:
    """The convex program that is left after choices.

    Attributes:
        program: Its first rows are the rows `rows` of the full one.
        spread: (N, kept) T with ``x = T x_kept + values``; in a ratio program T holds the values, as parts of kappa.
        values: (N,) of the fixed variables, relative; 0 elsewhere.
        box: What follows from the choices for all variables of the full one.
        full_rows: Number of rows of the full program.
    """

    program: Program
    rows: Indices
    spread: sp.csr_array
    values: Vector
    box: Box
    full_rows: int

    def expand(self, x: Vector, z: Vector) -> tuple[Vector, Vector]:
        """A solution in the terms of the full program."""
        full_x = self.spread @ x
        if self.program.kappa is None:
            full_x = full_x + self.values
        full_z = np.zeros(self.full_rows)
        full_z[self.rows] = z[: len(self.rows)]
        return full_x, full_z


class Fixing:
    """Draws the consequences of choices in one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.rows = RelativeRows.of(program)
        discrete = np.zeros(program.size, dtype=bool)
        discrete[[v.index for v in program.integral]] = True
        discrete[[v.index for v in program.semicontinuous]] = True
        self._discrete = discrete
        self._telling = self.rows.chosen(self.rows.touching(discrete) | (np.diff(self.rows.A.indptr) <= _FEW))
        self._steps = np.array([v.step for v in program.integral])
        self._integral = np.array([v.index for v in program.integral], dtype=np.intp)
        self._thresholds = np.array([v.threshold for v in program.semicontinuous])
        self._semicontinuous = np.array([v.index for v in program.semicontinuous], dtype=np.intp)
        self.box = self._own_box()
        self.switches = Switches.of(program, self.rows, self.box)
        self._implied_box = self.consequences((), discrete=False) or self.box

    def _own_box(self) -> Box:
        """The program's bounds; of a ratio program's only those at zero mean the same relative to kappa."""
        lower, upper = self.program.lower.copy(), self.program.upper.copy()
        if self.program.kappa is not None:
            lower[lower != 0.0], upper[upper != 0.0] = -np.inf, np.inf
        return Box(lower, upper)

    def consequences(self, choices: Sequence[Choice], *, discrete: bool = True) -> Box | None:
        """The bounds that follow from the choices and the discrete rules; None when they contradict each other."""
        lower, upper = self.box.lower.copy(), self.box.upper.copy()
        for choice in choices:
            lower[choice.index] = max(lower[choice.index], choice.lower)
            upper[choice.index] = min(upper[choice.index], choice.upper)
        for _ in range(_ROUNDS):
            before = (lower.copy(), upper.copy())
            if discrete:
                self._round_discrete(lower, upper)
            if (lower > upper + _CONTRADICTION).any() or not self._tighten(lower, upper):
                return None
            met = upper - lower <= _FIXED
            lower[met] = upper[met] = _tidied(0.5 * (lower[met] + upper[met]))
            if np.array_equal(lower, before[0]) and np.array_equal(upper, before[1]):
                break
        return None if (lower > upper).any() else Box(lower, upper)

    def reduce(self, choices: Sequence[Choice]) -> Reduced | None:
        """The program in which every choice is made; None when that leaves nothing."""
        box = self.consequences(choices)
        if box is None:
            return None
        fixed = box.fixed
        if self.program.kappa is not None:
            fixed[self.program.kappa] = False
        real = self._real(box, fixed)
        needed = self._needed(real, fixed)
        switches = self.switches
        known = np.zeros(self.program.size, dtype=bool)
        known[switches.implied[fixed[switches.implying]]] = True
        implied = ~(fixed | known)[switches.implied]
        z, x, shares = switches.implied[implied], switches.implying[implied], switches.shares[implied]
        needed[switches.implied_rows[implied]] = False
        if self.program.kappa is None:
            np.minimum.at(real.upper, x, real.upper[z] / shares)
        gone = fixed.copy()
        gone[z] = True
        columns = np.flatnonzero(~gone)
        values = np.where(fixed, real.lower, 0.0)
        spread = _spreading(self.program, columns, values, (z, x, shares))
        smaller = _assemble(self.program, spread, columns, needed, values)
        lower, upper = self._bounds(real, columns)
        smaller = replace(smaller, lower=lower, upper=upper, hinges=tuple(_hinges(self.program, gone, needed)))
        if self.program.kappa is not None:
            smaller = _with_rows(smaller, self._tightened(box, gone), columns)
        return Reduced(smaller, np.flatnonzero(needed), spread, values, box, len(self.program.b))

    def relative(self, x: Vector, box: Box) -> Vector:
        """A relaxed point in relative coordinates, discrete variables within the box and switches settled there."""
        kappa = self.program.kappa
        y = x if kappa is None else x / max(float(x[kappa]), _SMALLEST_SCALE)
        settled = self.switches.settle(np.where(self._discrete, np.clip(y, box.lower, box.upper), y))
        # A switch that was chosen stays on, or its rule would be branched on for ever.
        return np.where(self._discrete, np.maximum(settled, box.lower), settled)

    def _round_discrete(self, lower: Vector, upper: Vector) -> None:
        """Bounds of discrete variables move to the next value that they can take."""
        i, step = self._integral, self._steps
        lower[i] = np.maximum(lower[i], step * np.ceil(lower[i] / step - 1e-6))
        upper[i] = np.minimum(upper[i], step * np.floor(upper[i] / step + 1e-6))
        i, least = self._semicontinuous, self._thresholds
        near = least - _CONTRADICTION
        low, high = lower[i], upper[i]
        lower[i] = np.where((low > 0.0) & (low < near), least, np.where((low > -near) & (low < 0.0), 0.0, low))
        upper[i] = np.where((high < 0.0) & (high > -near), -least, np.where((high < near) & (high > 0.0), 0.0, high))

    def _tighten(self, lower: Vector, upper: Vector) -> bool:
        """Bounds that follow from each telling row on its own; False when one cannot hold."""
        A, b = self._telling.A, self._telling.b
        row, column = np.repeat(np.arange(len(b)), np.diff(A.indptr)), A.indices
        least = np.where(A.data > 0.0, A.data * lower[column], A.data * upper[column])
        unbounded = ~np.isfinite(least)
        finite = np.where(unbounded, 0.0, least)
        sums = np.bincount(row, finite, minlength=len(b))
        open_ends = np.bincount(row, unbounded, minlength=len(b))
        if ((open_ends == 0) & (sums > b + _CONTRADICTION * (1.0 + np.abs(b)))).any():
            return False
        known = open_ends[row] == unbounded
        limit = (b[row] - (sums[row] - finite)) / A.data
        above, below = known & (A.data > 0.0), known & (A.data < 0.0)
        np.minimum.at(upper, column[above], limit[above])
        np.maximum.at(lower, column[below], limit[below])
        crossed = (lower > upper) & (lower <= upper + _CONTRADICTION)
        lower[crossed] = upper[crossed]
        return bool((lower <= upper).all())

    def _real(self, box: Box, fixed: Mask) -> Box:
        """The bounds that the smaller program will have: the program's own, tightened for discrete variables."""
        tightened = self._discrete | fixed
        lower = np.where(tightened, box.lower, self.box.lower)
        upper = np.where(tightened, box.upper, self.box.upper)
        if self.program.kappa is not None:
            lower = np.where(fixed, lower, np.where(lower >= 0.0, 0.0, -np.inf))
            upper = np.where(fixed, upper, np.where(upper <= 0.0, 0.0, np.inf))
        return Box(lower, upper)

    def _tightened(self, box: Box, gone: Mask) -> list[Choice]:
        """Bounds of discrete variables that the rows of the program do not imply."""
        own = self._implied_box
        lower = np.where(box.lower > own.lower + _CONTRADICTION, box.lower, -np.inf)
        upper = np.where(box.upper < own.upper - _CONTRADICTION, box.upper, np.inf)
        wanted = self._discrete & ~gone & (np.isfinite(lower) | np.isfinite(upper))
        return [Choice(i, float(lower[i]), float(upper[i])) for i in np.flatnonzero(wanted).tolist()]

    def _bounds(self, real: Box, columns: Indices) -> tuple[Vector, Vector]:
        """The smaller program's own bounds; in a ratio program none that is not its own or zero."""
        lower, upper = real.lower[columns], real.upper[columns]
        if self.program.kappa is not None:
            lower = np.where(lower == 0.0, 0.0, self.program.lower[columns])
            upper = np.where(upper == 0.0, 0.0, self.program.upper[columns])
        return lower, upper

    def _needed(self, real: Box, fixed: Mask) -> Mask:
        """(m,) rows that the bounds do not imply."""
        rows = self._telling
        A = rows.A
        row = np.repeat(np.arange(len(rows.b)), np.diff(A.indptr))
        most = np.where(A.data > 0.0, A.data * real.upper[A.indices], A.data * real.lower[A.indices])
        implied = np.bincount(row, most, minlength=len(rows.b)) <= rows.b + _FIXED * (1.0 + np.abs(rows.b))
        idle = np.bincount(row, ~fixed[A.indices], minlength=len(rows.b)) == 0
        needed = np.ones(len(self.program.b), dtype=bool)
        needed[rows.source[np.where(rows.doubled, idle, implied)]] = False
        return needed


def _tidied(values: Vector) -> Vector:
    return np.where(np.abs(values) <= _FIXED, 0.0, values)


def _assemble(program: Program, spread: sp.csr_array, columns: Indices, needed: Mask, values: Vector) -> Program:
    """The program in the kept variables, its bounds and hinges still the full one's."""
    rows = np.flatnonzero(needed)
    A, b = sp.csr_array(program.A[rows] @ spread), program.b[rows]
    q, offset = program.q, program.offset
    if program.kappa is None and values.any():
        b = b - program.A[rows] @ values
        q, offset = q + program.quadratic(values), program.objective(values)
    A.eliminate_zeros()
    return replace(
        program,
        P=_restricted_quadratic(program, spread, columns, values),
        q=np.asarray(spread.T @ q),
        A=A,
        b=b,
        blocks=_blocks(program, needed),
        lower_names={},
        upper_names={},
        semicontinuous=(),
        integral=(),
        kappa=None if program.kappa is None else int(np.searchsorted(columns, program.kappa)),
        offset=offset,
    )


def _spreading(
    program: Program, columns: Indices, values: Vector, implied: tuple[Indices, Indices, Vector]
) -> sp.csr_array:
    """T (N, kept) with ``x = T x_kept``: implied switches are parts of other variables, fixed ones parts of kappa."""
    switch, implying, shares = implied
    row = np.concatenate([columns, switch])
    source, data = np.concatenate([columns, implying]), np.concatenate([np.ones(len(columns)), shares])
    if program.kappa is not None:
        multiples = np.flatnonzero(values)
        row = np.concatenate([row, multiples])
        source = np.concatenate([source, np.full(len(multiples), program.kappa)])
        data = np.concatenate([data, values[multiples]])
    column = np.searchsorted(columns, source)
    return sp.csr_array(sp.coo_array((data, (row, column)), shape=(program.size, len(columns))))


def _restricted_quadratic(program: Program, spread: sp.csr_array, columns: Indices, values: Vector) -> Quadratic:
    leading = program.P.size
    if program.kappa is None or not values[:leading].any():
        return program.P.restricted(columns[columns < leading])
    # The weights come before kappa, so that kappa leads too.
    wide = max(leading, program.kappa + 1)
    P = np.zeros((wide, wide))
    P[:leading, :leading] = program.P.dense
    T = spread[:wide].toarray()[:, : int(np.searchsorted(columns, wide))]
    return Quadratic(T.T @ P @ T)


def _blocks(program: Program, needed: Mask) -> tuple[RowBlock, ...]:
    blocks, start = [], 0
    for block in program.blocks:
        count = int(needed[block.rows].sum())
        if count:
            blocks.append(RowBlock((), block.cone, start, start + count))
            start += count
    return tuple(blocks)


def _hinges(program: Program, gone: Mask, needed: Mask) -> list[Hinge]:
    """The hinges that are still whole; the rows of the others are rows like any."""
    row, column = np.cumsum(needed) - 1, np.cumsum(~gone) - 1
    kept = []
    for hinge in program.hinges:
        if needed[hinge.rows].all() and not gone[hinge.variables].any():
            first, start = int(row[hinge.rows.start]), int(column[hinge.variables.start])
            count = hinge.rows.stop - hinge.rows.start
            kept.append(Hinge(slice(first, first + count), slice(start, start + count)))
    return kept


def _with_rows(program: Program, bounds: Sequence[Choice], columns: Indices) -> Program:
    """Rows ``x <= upper kappa`` and ``lower kappa <= x`` for what is no bound of a ratio program."""
    assert program.kappa is not None
    sides = [(c.index, 1.0, c.upper) for c in bounds] + [(c.index, -1.0, -c.lower) for c in bounds]
    limits = [(index, sign, bound) for index, sign, bound in sides if np.isfinite(bound) and bound != 0.0]
    if not limits:
        return program
    count, start = len(limits), len(program.b)
    at = np.searchsorted(columns, [index for index, _, _ in limits])
    signs, sizes = np.array([sign for _, sign, _ in limits]), np.array([bound for _, _, bound in limits])
    row = np.arange(count)
    places = (np.concatenate([row, row]), np.concatenate([at, np.full(count, program.kappa)]))
    A = sp.csr_array(sp.coo_array((np.concatenate([signs, -sizes]), places), shape=(count, program.size)))
    block = RowBlock((), Cone.NONNEGATIVE, start, start + count)
    stacked = sp.csr_array(sp.vstack([program.A, A], format="csr"))
    return replace(program, A=stacked, b=np.append(program.b, np.zeros(count)), blocks=(*program.blocks, block))
