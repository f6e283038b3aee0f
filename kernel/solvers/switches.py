"""Rows and bounds in relative coordinates x / scale, and the switches among a program's variables.

A ratio program's homogeneous rows ``a'x + c kappa <= 0`` read ``a'y <= -c`` in relative coordinates, like any other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Mask, Program, Vector
from kernel.quadratic import Indices


@dataclass(frozen=True, slots=True)
class Box:
    """Bounds (N,) of all variables in relative coordinates."""

    lower: Vector
    upper: Vector

    @property
    def fixed(self) -> Mask:
        """(N,) True where both bounds meet."""
        return np.asarray(self.lower == self.upper)


@dataclass(frozen=True)
class RelativeRows:
    """Linear rows ``A y <= b`` in relative coordinates; an equation stands as two of them.

    Attributes:
        A: (r, N), the column of kappa empty.
        source: (r,) the program's row.
        doubled: (r,) True for the halves of equations.
    """

    A: sp.csr_array
    b: Vector
    source: Indices
    doubled: Mask

    @classmethod
    def of(cls, program: Program) -> RelativeRows:
        """All linear rows that mean something in relative coordinates."""
        A, b = program.A, program.b
        equal, linear = program.mask(Cone.ZERO), program.mask(Cone.ZERO, Cone.NONNEGATIVE)
        if program.kappa is not None:
            kept = np.ones(program.size)
            kept[program.kappa] = 0.0
            linear = linear & (b == 0.0)
            b = b - A[:, [program.kappa]].toarray().ravel()
            A = sp.csr_array(A @ sp.diags_array(kept, format="csr"))
            A.eliminate_zeros()
        rows, twice = np.flatnonzero(linear), np.flatnonzero(linear & equal)
        stacked = sp.csr_array(sp.vstack([A[rows], -A[twice]], format="csr"))
        stacked.eliminate_zeros()
        return cls(
            stacked,
            np.concatenate([b[rows], -b[twice]]),
            np.concatenate([rows, twice]),
            np.concatenate([equal[rows], np.ones(len(twice), dtype=bool)]),
        )

    def chosen(self, kept: Mask) -> RelativeRows:
        """Some of the rows."""
        return RelativeRows(sp.csr_array(self.A[kept]), self.b[kept], self.source[kept], self.doubled[kept])

    def touching(self, columns: Mask) -> Mask:
        """(r,) True for rows with an entry in `columns`."""
        return np.asarray((abs(self.A) @ columns.astype(float)) > 0.0, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Switches:
    """Integral variables that are 0 or 1, and what keeps them on.

    A *falling* switch costs, takes room, and is needed only in rows that hold no other discrete variable: turned down
    as far as these let it, a point stays feasible and becomes no worse.

    Attributes:
        mask: (N,) True for switches.
        falling: (N,) True for the falling ones.
        links: Of every variable x with a row ``x <= r z`` for a falling z, that switch.
        implied: Falling switches whose only need is one row ``sum_k c_k x_k <= r z`` with c, x >= 0, so that relaxed
            they are ``z = sum_k c_k x_k / r``; each as often as it has terms.
        implying: The x of each term, `shares` the c / r, and `implied_rows` the program's rows that say so.
    """

    mask: Mask
    falling: Mask
    links: Mapping[int, int]
    implied: Indices
    implying: Indices
    shares: Vector
    implied_rows: Indices
    _needs: RelativeRows
    _needed: Indices
    _sizes: Vector

    @classmethod
    def of(cls, program: Program, rows: RelativeRows, box: Box) -> Switches:
        """The switches of a program."""
        whole = np.zeros(program.size, dtype=bool)
        whole[[v.index for v in program.integral]] = True
        mask = _switches(program, rows, box)
        falling = _falling(program, rows, whole, mask)
        row, column = np.repeat(np.arange(len(rows.b)), np.diff(rows.A.indptr)), rows.A.indices
        entries = (rows.A.data < 0.0) & falling[column]
        # Rows and their entries come in the same order, and every such row has one such entry.
        needs, needed = rows.chosen(np.isin(np.arange(len(rows.b)), row[entries])), column[entries].astype(np.intp)
        sizes = -rows.A.data[entries]
        linked = np.array(list(_links(needs, mask)), dtype=float).reshape(-1, 4)
        at, x, z = linked[:, :3].astype(np.intp).T
        negative = np.bincount(z, box.lower[x] < 0.0, minlength=program.size)
        alone = (np.bincount(needed, minlength=program.size)[z] == 1) & (negative[z] == 0)
        links = dict(zip(x[::-1].tolist(), z[::-1].tolist(), strict=True))
        return cls(mask, falling, links, z[alone], x[alone], linked[alone, 3], at[alone], needs, needed, sizes)

    def settle(self, y: Vector) -> Vector:
        """Y with every falling switch turned down as far as the rows let it."""
        if not len(self._needed):
            return y
        room = (self._needs.b - self._needs.A @ y) / self._sizes
        least = np.full(len(y), np.inf)
        np.minimum.at(least, self._needed, room)
        fall = np.where(np.isfinite(least), np.maximum(least, 0.0), 0.0)
        return np.where(self.falling, np.maximum(y - fall, 0.0), y)


def _switches(program: Program, rows: RelativeRows, box: Box) -> Mask:
    """Integral variables of step one between zero and one; a ratio program's upper bound is a row of its own."""
    upper = box.upper.copy()
    alone = np.flatnonzero(np.diff(rows.A.indptr) == 1)
    first = rows.A.indptr[alone]
    column, value = rows.A.indices[first], rows.A.data[first]
    above = value > 0.0
    np.minimum.at(upper, column[above], rows.b[alone][above] / value[above])
    switches = np.zeros(program.size, dtype=bool)
    for v in program.integral:
        switches[v.index] = v.step == 1.0 and box.lower[v.index] == 0.0 and upper[v.index] == 1.0
    return switches


def _falling(program: Program, rows: RelativeRows, whole: Mask, switches: Mask) -> Mask:
    row, column = np.repeat(np.arange(len(rows.b)), np.diff(rows.A.indptr)), rows.A.indices
    wholes = np.bincount(row, whole[column], minlength=len(rows.b))
    needed = (rows.A.data < 0.0) & whole[column]
    falling = switches & (program.q >= 0.0)
    falling[: program.P.size] = False
    falling[column[needed & ((wholes[row] > 1) | rows.doubled[row])]] = False
    elsewhere = np.ones(len(program.b), dtype=bool)
    elsewhere[rows.source] = False
    outside = program.A[np.flatnonzero(elsewhere)]
    falling[outside.indices[outside.data != 0.0]] = False
    return np.asarray(falling)


def _links(needs: RelativeRows, switches: Mask) -> Iterator[tuple[int, int, int, float]]:
    """The program's row, x, z and c / r of every term of rows ``sum_k c_k x_k <= r z`` with c > 0."""
    for k in np.flatnonzero(needs.b == 0.0).tolist():
        part = slice(needs.A.indptr[k], needs.A.indptr[k + 1])
        columns, values = needs.A.indices[part], needs.A.data[part]
        at_switch = switches[columns]
        if (values[~at_switch] > 0.0).all():
            (z,), (r,) = columns[at_switch].tolist(), values[at_switch].tolist()
            for x, c in zip(columns[~at_switch].tolist(), values[~at_switch].tolist(), strict=True):
                yield int(needs.source[k]), x, z, -c / r
