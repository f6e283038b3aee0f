"""A program on a working set: some variables at a fixed value, some hinges replaced by one of their two pieces.

    excluded variables   x_i = lower_i
    outside hinges       u_t = 0                without the row a_t'x - u_t <= b_t
    inside hinges        u_t = a_t'x - b_t      without the bound u_t >= 0

Rows that the bounds of the remaining variables imply fall away, and a second-order cone with more rows than variables
is compressed by an orthogonal factorisation, which leaves its norm as it is. Solutions come back in the terms of the
full program, with the multipliers that weak duality needs there: of an outside hinge zero, of an inside one
``z_t = q_u + (A'z)_u``, which makes the reduced cost of u_t vanish.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from kernel.canonical import Cone, Hinge, Mask, Matrix, Program, RowBlock, Vector
from kernel.certificate import reduced_costs
from kernel.quadratic import Indices

# Smaller cones cost less than their compression.
_WORTH_COMPRESSING = 40
# Of cones with more zeros than this leaves only empty rows are dropped: the factorisation would fill up the others.
_SPARSE = 0.25


@dataclass(frozen=True)
class Hinges:
    """All hinges of a program, one entry each.

    Attributes:
        rows: (H,) their rows.
        variables: (H,) their own variables.
        families: (H,) which of the program's hinges each belongs to.
    """

    rows: Indices
    variables: Indices
    families: Indices

    @classmethod
    def of(cls, program: Program) -> Hinges:
        """The hinges of `program`; none when they depend on each other."""
        rows = [np.arange(h.rows.start, h.rows.stop) for h in program.hinges]
        variables = [np.arange(h.variables.start, h.variables.stop) for h in program.hinges]
        families = [np.full(len(place), k) for k, place in enumerate(rows)]
        none = np.zeros(0, dtype=np.intp)
        if _are_nested(program):
            return cls(none, none, none)
        return cls(*(np.concatenate([none, *parts]) for parts in (rows, variables, families)))

    @property
    def count(self) -> int:
        """Number of hinges."""
        return len(self.rows)

    def kinks(self, program: Program, x: Vector) -> Vector:
        """(H,) a_t'x - b_t, whose positive part u_t stands for."""
        without = x.copy()
        without[self.variables] = 0.0
        return np.asarray(program.A @ without - program.b)[self.rows]


def _are_nested(program: Program) -> bool:
    own = np.zeros(program.size, dtype=bool)
    for hinge in program.hinges:
        own[hinge.variables] = True
    places = [slice(program.A.indptr[h.rows.start], program.A.indptr[h.rows.stop]) for h in program.hinges]
    return any(
        np.count_nonzero(own[program.A.indices[place]]) > hinge.rows.stop - hinge.rows.start
        for place, hinge in zip(places, program.hinges, strict=True)
    )


@dataclass(frozen=True, slots=True)
class WorkingSet:
    """What of a program is looked at.

    Attributes:
        excluded: (N,) True for variables that stay at their lower bound.
        outside: (H,) True for hinges whose variable is zero.
        inside: (H,) True for hinges whose variable is replaced.
    """

    excluded: Mask
    outside: Mask
    inside: Mask


@dataclass(frozen=True, slots=True)
class _Compression:
    """Rows of a second-order cone's tail, and the orthogonal matrix that brings multipliers back to them."""

    rows: Indices
    Q: Matrix | sp.csr_array


@dataclass(frozen=True)
class Restriction:
    """A program, a working set, and the smaller program on it."""

    full: Program
    hinges: Hinges
    working: WorkingSet

    @cached_property
    def columns(self) -> Indices:
        """The variables of the smaller program."""
        kept = ~self.working.excluded
        kept[self.hinges.variables[self.working.outside | self.working.inside]] = False
        return np.flatnonzero(kept)

    @cached_property
    def program(self) -> Program:
        """The smaller program; its blocks carry no names."""
        return self._made[0]

    def expand(self, x: Vector, z: Vector) -> tuple[Vector, Vector]:
        """A solution of the smaller program in the terms of the full one, every hinge at its positive part."""
        _, rows, compressions = self._made
        full_x = np.where(self.working.excluded, self.full.lower, 0.0)
        full_x[self.columns] = x
        full_x[self.hinges.variables] = np.maximum(self.hinges.kinks(self.full, full_x), 0.0)
        full_z = np.zeros(len(self.full.b))
        linear = rows >= 0
        full_z[rows[linear]] = z[linear]
        at = np.flatnonzero(~linear)
        for compression in compressions:
            mine, at = at[: compression.Q.shape[1]], at[compression.Q.shape[1] :]
            full_z[compression.rows] = compression.Q @ z[mine]
        inside = self.working.inside
        if inside.any():
            r = reduced_costs(self.full, full_x, full_z)
            full_z[self.hinges.rows[inside]] = np.maximum(r[self.hinges.variables[inside]], 0.0)
        return full_x, full_z

    @cached_property
    def _made(self) -> tuple[Program, Indices, list[_Compression]]:
        """The smaller program, the full row of each of its rows (-1: compressed), and the compressions."""
        full, columns = self.full, self.columns
        A, b, q, offset, rows = self._substitute()
        removable = full.mask(Cone.NONNEGATIVE)
        removable[self.hinges.rows] = False
        candidates = np.flatnonzero(removable[rows])
        kept = np.ones(len(rows), dtype=bool)
        kept[candidates] = ~_implied(
            sp.csr_array(A[candidates]), b[candidates], full.lower[columns], full.upper[columns]
        )
        A, b, rows = _rows_of(A, kept), b[kept], rows[kept]
        A, b, rows, blocks, compressions = _compress(full, A, b, rows)
        inner = columns[columns < full.P.size]
        smaller = replace(
            full,
            P=full.P.restricted(inner),
            q=q,
            A=A,
            b=b,
            lower=full.lower[columns],
            upper=full.upper[columns],
            blocks=tuple(blocks),
            lower_names={},
            upper_names={},
            hinges=self._kept_hinges(rows),
            kappa=None,
            offset=offset,
        )
        return smaller, rows, compressions

    def _kept_hinges(self, rows: Indices) -> tuple[Hinge, ...]:
        """Where the hinges are now; none when some of them were replaced."""
        if (self.working.outside | self.working.inside).any():
            return ()
        kept = []
        for hinge in self.full.hinges:
            row, column = (
                np.flatnonzero(rows == hinge.rows.start)[0],
                np.searchsorted(self.columns, hinge.variables.start),
            )
            count = hinge.rows.stop - hinge.rows.start
            kept.append(Hinge(slice(row, row + count), slice(column, column + count)))
        return tuple(kept)

    def _substitute(self) -> tuple[sp.csr_array, Vector, Vector, float, Indices]:
        """Rows, right sides and objective with fixed variables and inside hinges eliminated, and the rows' places."""
        full, hinges, inside = self.full, self.hinges, self.working.inside
        base = np.where(self.working.excluded, full.lower, 0.0)
        inner = hinges.variables[inside]
        if inside.any():
            base[inner] = hinges.kinks(full, base)[inside]
        kept = np.ones(len(full.b), dtype=bool)
        kept[hinges.rows[self.working.outside | inside]] = False
        rows = np.flatnonzero(kept)
        all_columns = _rows_of(full.A, kept)
        A = all_columns if len(self.columns) == full.size else sp.csr_array(all_columns[:, self.columns])
        gradient = full.q + (full.quadratic(base) if base[: full.P.size].any() else 0.0)
        if inside.any():
            weights = np.zeros(len(full.b))
            weights[hinges.rows[inside]] = full.q[inner]
            gradient = gradient + full.A.T @ weights
            coupling = sp.csr_array(all_columns[:, inner])
            if coupling.nnz:
                A = sp.csr_array(A + coupling @ full.A[hinges.rows[inside]][:, self.columns])
        b = full.b[rows] - all_columns @ base if base.any() else full.b[rows]
        return A, b, gradient[self.columns], full.objective(base), rows


def _rows_of(A: sp.csr_array, kept: Mask) -> sp.csr_array:
    return A if kept.all() else sp.csr_array(A[kept])


def _implied(A: sp.csr_array, b: Vector, lower: Vector, upper: Vector) -> Mask:
    """Rows ``a'x <= b`` that hold wherever the bounds do."""
    reach = np.where(A.data > 0.0, upper[A.indices], lower[A.indices])
    greatest = np.zeros(len(b))
    filled = np.diff(A.indptr) > 0
    products = np.multiply(A.data, reach, out=np.zeros_like(A.data), where=A.data != 0.0)
    greatest[filled] = np.add.reduceat(products, A.indptr[:-1][filled]) if len(products) else 0.0
    return greatest <= b


def _compress(
    full: Program, A: sp.csr_array, b: Vector, rows: Indices
) -> tuple[sp.csr_array, Vector, Indices, list[RowBlock], list[_Compression]]:
    """The rows with every large second-order cone made small, the place of each in the full program, the blocks."""
    ends = np.searchsorted(rows, [block.stop for block in full.blocks])
    parts: list[tuple[sp.csr_array, Vector, Indices]] = []
    blocks: list[RowBlock] = []
    compressions: list[_Compression] = []
    written = done = start = 0
    for block, end in zip(full.blocks, ends.tolist(), strict=True):
        count = end - start
        if block.cone is Cone.SECOND_ORDER and count > _WORTH_COMPRESSING:
            small = _compress_cone(A[start + 1 : end], b[start + 1 : end])
            if small is not None:
                tail, right, kept, Q = small
                parts += [(A[done : start + 1], b[done : start + 1], rows[done : start + 1])]
                parts += [(tail, right, np.full(len(right), -1))]
                compressions.append(_Compression(rows[start + 1 : end][kept], Q))
                done, count = end, len(right) + 1
        if count:
            blocks.append(RowBlock((), block.cone, written, written + count))
        written, start = written + count, end
    if not parts:
        return A, b, rows, blocks, compressions
    parts.append((A[done:], b[done:], rows[done:]))
    stacked = sp.csr_array(sp.vstack([part for part, _, _ in parts], format="csr"))
    return (
        stacked,
        np.concatenate([p for _, p, _ in parts]),
        np.concatenate([p for *_, p in parts]),
        blocks,
        compressions,
    )


def _compress_cone(A: sp.csr_array, b: Vector) -> tuple[sp.csr_array, Vector, Mask, Matrix | sp.csr_array] | None:
    """Fewer rows (R, r) with ``||r - R x|| = ||b - A x||``, the rows that matter, and Q with ``(A, b) = Q (R, r)``."""
    filled = (np.diff(A.indptr) > 0) | (b != 0.0)
    touched = np.unique(A.indices)
    if A.nnz <= _SPARSE * filled.sum() * len(touched):
        same = sp.eye_array(int(filled.sum()), format="csr")
        return None if filled.all() else (sp.csr_array(A[filled]), b[filled], filled, same)
    dense = sp.csr_array(A[filled])[:, touched].toarray()
    both = np.column_stack([dense, b[filled]])
    if filled.all() and both.shape[0] <= both.shape[1]:
        return None
    Q, R = scipy.linalg.qr(both, mode="economic", check_finite=False)
    tail = sp.coo_array(R[:, :-1])
    small = sp.csr_array(sp.coo_array((tail.data, (tail.row, touched[tail.col])), shape=(len(R), A.shape[1])))
    return small, np.array(R[:, -1]), filled, Q
