"""Polishing of programs with costs c t^(3/2), which cones hold and which are smooth where something is traded.

The cones ``t^2 <= e s`` and ``s^2 <= p``, p <= t, of a cost c e lie near their tips where little is traded: interior
points stall there. Without e, s and p the program is one of linear rows (or few cones) and the cost itself, whose
quadratic model at t_k

    c (t_k^(3/2) + 3/2 t_k^(1/2) (t - t_k) + 3/8 t_k^(-1/2) (t - t_k)^2)

is solved on its active set, again and again (Newton). The multipliers of the cones and of p <= t follow from t alone,

    c ((1 + t)/2, -t^(1/2), (1 - t)/2),   c/4 t^(1/2) (1 + t, -2 t^(1/2), 1 - t),   c/2 t^(1/2)

and are finite at t = 0, too. References: Nocedal & Wright (2006), section 18.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Mask, Program, Quadratic, RowBlock, Vector
from kernel.certificate import assess
from kernel.quadratic import Indices
from kernel.solvers.conic_polish import polish_conic

_STEPS = 12
_EXACT = 1e-12
_CONVERGED = 1e-14
# A smaller trade counts as none: its model is flat there, and bends as that of one so small.
_SMALLEST = 1e-14


@dataclass(frozen=True, slots=True)
class PowerCosts:
    """Where a program holds costs of that form.

    Attributes:
        t: (k,) variables; `s`, `p` and `e` of each likewise.
        outer: (k,) first rows of the cones ``t^2 <= e s``; `inner` of ``s^2 <= p``, and `links` the rows ``p <= t``.
    """

    program: Program
    t: Indices
    s: Indices
    p: Indices
    e: Indices
    outer: Indices
    inner: Indices
    links: Indices

    @classmethod
    def of(cls, program: Program) -> PowerCosts | None:
        """None when there are none, or when they enter elsewhere than in the objective."""
        A, lengths = program.A, np.diff(program.A.indptr)
        three = [b.start for b in program.blocks if b.cone is Cone.SECOND_ORDER and b.stop - b.start == 3]
        if not three or program.kappa is not None:
            return None
        starts = np.array(three, dtype=np.intp)
        shape = lengths[starts[:, None] + np.arange(3)]
        outer = starts[(shape == [2, 1, 2]).all(axis=1)]
        inner, links = _inner_cones(program, starts[(shape == 1).all(axis=1)]), _links(program)
        if not len(outer):
            return None
        pair = A.indptr[outer + 2][:, None] + np.arange(2)
        order = np.argsort(A.data[pair], axis=1)
        e, s = np.take_along_axis(A.indices[pair], order, axis=1).T.astype(np.intp)
        p = np.where(inner[s] >= 0, A.indices[A.indptr[inner[s]]], -1).astype(np.intp)
        if (p < 0).any() or (links[p] < 0).any() or (np.bincount(A.indices)[e] != 2).any() or (program.q[e] <= 0).any():
            return None
        return cls(program, A.indices[A.indptr[outer + 1]].astype(np.intp), s, p, e, outer, inner[s], links[p])

    def polished(self, x: Vector, z: Vector) -> tuple[Vector, Vector]:
        """Newton's steps from an approximate solution (N,) and its row multipliers (m,)."""
        columns, kept = np.flatnonzero(self._kept_columns), self._kept_rows
        rows, at = np.flatnonzero(kept), np.searchsorted(columns, self.t)
        smooth, c = self._without_cones(columns, kept), self.program.q[self.e]
        y, v = x[columns], z[rows]
        for _ in range(_STEPS):
            t = np.where(y[at] > _SMALLEST, y[at], 0.0)
            y, v = polish_conic(_modelled(smooth, at, c, t), y, v)
            if np.abs(y[at] - t).max() <= _CONVERGED:
                break
        return self._expanded(columns, rows, y, v)

    def _without_cones(self, columns: Indices, kept: Mask) -> Program:
        blocks: list[RowBlock] = []
        start = 0
        for block in self.program.blocks:
            count = int(kept[block.rows].sum())
            if count:
                names = block.names if len(block.names) == count else block.names[:1] * count
                blocks.append(RowBlock(names, block.cone, start, start + count))
                start += count
        return replace(
            self.program,
            q=self.program.q[columns],
            A=sp.csr_array(self.program.A[kept][:, columns]),
            b=self.program.b[kept],
            lower=self.program.lower[columns],
            upper=self.program.upper[columns],
            blocks=tuple(blocks),
            lower_names={},
            upper_names={},
            hinges=(),
        )

    def _expanded(self, columns: Indices, rows: Indices, y: Vector, v: Vector) -> tuple[Vector, Vector]:
        x, z = np.zeros(self.program.size), np.zeros(len(self.program.b))
        x[columns], z[rows] = y, v
        c, t = self.program.q[self.e], np.maximum(x[self.t], 0.0)
        root = np.sqrt(t)
        x[self.s], x[self.p], x[self.e] = root, t, root * t
        for k, part in enumerate((0.5 * (1.0 + t), -root, 0.5 * (1.0 - t))):
            z[self.outer + k] = c * part
        for k, part in enumerate((1.0 + t, -2.0 * root, 1.0 - t)):
            z[self.inner + k] = 0.25 * c * root * part
        z[self.links] = 0.5 * c * root
        return x, z

    @property
    def _kept_columns(self) -> Mask:
        kept = np.ones(self.program.size, dtype=bool)
        kept[np.concatenate([self.s, self.p, self.e])] = False
        return kept

    @property
    def _kept_rows(self) -> Mask:
        kept = np.ones(len(self.program.b), dtype=bool)
        kept[self.links] = False
        for k in range(3):
            kept[self.outer + k] = kept[self.inner + k] = False
        return kept


def polish_power_costs(program: Program, x: Vector, z: Vector) -> tuple[Vector, Vector]:
    """The better certified of (x, z) and Newton's steps on the smooth costs of `program`; (x, z) without such costs."""
    costs = PowerCosts.of(program)
    if costs is None:
        return x, z
    least = _error(program, x, z)
    if least <= _EXACT:
        return x, z
    found = costs.polished(x, z)
    return found if _error(program, *found) < least else (x, z)


def _error(program: Program, x: Vector, z: Vector) -> float:
    assessment = assess(program, x, z)
    return max(assessment.gap, assessment.violation)


def _inner_cones(program: Program, starts: Indices) -> Indices:
    """(N,) first row of the cone ``s^2 <= p`` by its s; -1 = none."""
    found = np.full(program.size, -1, dtype=np.intp)
    found[program.A.indices[program.A.indptr[starts + 1]]] = starts
    return found


def _links(program: Program) -> Indices:
    """(N,) a row of two variables by either of them; -1 = none."""
    rows = np.flatnonzero((np.diff(program.A.indptr) == 2) & program.mask(Cone.NONNEGATIVE))
    found = np.full(program.size, -1, dtype=np.intp)
    for k in range(2):
        found[program.A.indices[program.A.indptr[rows] + k]] = rows
    return found


def _modelled(smooth: Program, at: Indices, c: Vector, t: Vector) -> Program:
    """The program with the quadratic models of the costs at t in its objective."""
    root, q = np.sqrt(np.maximum(t, _SMALLEST)), smooth.q.copy()
    bend = np.zeros(smooth.size - smooth.P.size)
    bend[at - smooth.P.size] = 0.75 * c / root
    q[at] += np.where(t > 0.0, 0.75 * c * root, 0.0)
    added = Quadratic(factor=np.zeros((0, len(bend))), diagonal=bend)
    return replace(smooth, P=Quadratic.along_diagonal({0: smooth.P, smooth.P.size: added}), q=q)
