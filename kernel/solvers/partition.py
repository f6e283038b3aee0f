"""Hinges in groups: scenarios that lie on the same side of their kinks need one row between them.

With the weights c_t that u_t carries wherever it enters, the rows of a group g are replaced by their mean

    abar_g'x - U_g <= bbar_g,   abar_g = sum_{t in g} c_t a_t / c_g,   c_g = sum_{t in g} c_t

and U_g stands for every u_t of the group. By Jensen's inequality that is a relaxation, exact as soon as no group has
members on both sides of zero. Multipliers ``z_t = z_g c_t / c_g`` are feasible in the full program, so that every
partition proves a bound there.

References: Espinoza & Moreno (2014), A primal-dual aggregation algorithm for minimizing conditional value-at-risk in
linear programs, Computational Optimization and Applications 59.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Hinge, Program, RowBlock, Vector
from kernel.quadratic import Indices
from kernel.solvers.restriction import Hinges

_PROPORTIONAL = 1e-12
_MOST_ROWS = 8
_ROUNDING = 1e-16


@dataclass(frozen=True)
class Partition:
    """A program, the group of each hinge, and the smaller program with one hinge a group.

    Attributes:
        groups: (H,) labels 0, 1, ..., each of which occurs; no group has members of two families.
        shares: (H,) c_t / c_g; or 1 for one member of each group that is to speak for all, which is a sample and no
            relaxation.
    """

    full: Program
    hinges: Hinges
    groups: Indices
    shares: Vector

    @classmethod
    def by_means(cls, program: Program, hinges: Hinges, groups: Indices, weights: Vector) -> Partition:
        """Every group by its mean row."""
        return cls(program, hinges, groups, weights / np.bincount(groups, weights)[groups])

    @classmethod
    def by_sample(cls, program: Program, hinges: Hinges, groups: Indices) -> Partition:
        """Every group by its first member."""
        shares = np.zeros(hinges.count)
        shares[np.unique(groups, return_index=True)[1]] = 1.0
        return cls(program, hinges, groups, shares)

    @cached_property
    def program(self) -> Program:
        """The other variables and rows as they were, then the groups'; its blocks carry no names."""
        full, columns, rest = self.full, self._other_columns, self._other_rows
        count = int(self.groups.max()) + 1
        above = full.A[rest]
        member = sp.csr_array((np.ones(self.hinges.count), (np.arange(self.hinges.count), self.groups)))
        entering = sp.csr_array(above[:, self.hinges.variables]) @ member
        mean = sp.csr_array((self.shares, (self.groups, self.hinges.rows)), shape=(count, len(full.b)))
        means = sp.csr_array(sp.csr_array(mean @ full.A)[:, columns])
        eye = sp.eye_array(count, format="csr")
        A = sp.vstack([sp.hstack([above[:, columns], entering]), sp.hstack([means, -eye])], format="csr")
        return replace(
            full,
            q=np.append(full.q[columns], np.bincount(self.groups, full.q[self.hinges.variables])),
            A=sp.csr_array(A),
            b=np.append(full.b[rest], np.asarray(mean @ full.b)),
            lower=np.append(full.lower[columns], np.zeros(count)),
            upper=np.append(full.upper[columns], np.full(count, np.inf)),
            blocks=self._blocks(count),
            lower_names={i: full.lower_names[j] for i, j in enumerate(columns.tolist()) if j in full.lower_names},
            upper_names={},
            hinges=(Hinge(slice(len(rest), len(rest) + count), slice(len(columns), len(columns) + count)),),
        )

    def expand(self, x: Vector, z: Vector) -> tuple[Vector, Vector]:
        """A solution of the smaller program in the terms of the full one, every hinge at its positive part."""
        full_x = np.zeros(self.full.size)
        full_x[self._other_columns] = x[: len(self._other_columns)]
        full_x[self.hinges.variables] = np.maximum(self.hinges.kinks(self.full, full_x), 0.0)
        full_z = np.zeros(len(self.full.b))
        full_z[self._other_rows] = z[: len(self._other_rows)]
        full_z[self.hinges.rows] = z[len(self._other_rows) :][self.groups] * self.shares
        return full_x, full_z

    @cached_property
    def _other_columns(self) -> Indices:
        return np.setdiff1d(np.arange(self.full.size), self.hinges.variables, assume_unique=True)

    @cached_property
    def _other_rows(self) -> Indices:
        return np.setdiff1d(np.arange(len(self.full.b)), self.hinges.rows, assume_unique=True)

    def _blocks(self, count: int) -> tuple[RowBlock, ...]:
        blocks: list[RowBlock] = []
        start = 0
        grouped = {hinge.rows.start for hinge in self.full.hinges}
        for block in self.full.blocks:
            if block.start not in grouped:
                stop = start + block.stop - block.start
                blocks.append(RowBlock((), block.cone, start, stop))
                start = stop
        return (*blocks, RowBlock((), Cone.NONNEGATIVE, start, start + count))


def common_weights(program: Program, hinges: Hinges) -> Vector | None:
    """(H,) the weights with which the hinges enter; None where those of one family enter in different proportions."""
    rows = np.ones(len(program.b), dtype=bool)
    rows[hinges.rows] = False
    others = sp.csr_array(program.A[rows])
    weights = np.zeros(hinges.count)
    start = 0
    for hinge in program.hinges:
        count = hinge.variables.stop - hinge.variables.start
        entering = sp.csr_array(others[:, hinge.variables])
        entering = sp.csr_array(entering[np.diff(entering.indptr) > 0])
        family = _weights_of_family(program.q[hinge.variables], entering)
        if family is None:
            return None
        weights[start : start + count] = family
        start += count
    return weights


def _weights_of_family(q: Vector, entering: sp.csr_array) -> Vector | None:
    """What is common to the objective's coefficients and the rows of others in which the hinges occur."""
    if entering.shape[0] > _MOST_ROWS:
        return None
    dense = np.vstack([q, entering.toarray()])
    strongest = dense[np.argmax(np.abs(dense).sum(axis=1))]
    if not (strongest > 0.0).all():
        return None
    factors = dense @ strongest / (strongest @ strongest)
    deviation = np.abs(dense - factors[:, None] * strongest).max(axis=1)
    return strongest if (deviation <= _PROPORTIONAL * np.abs(dense).max(axis=1)).all() else None


def grouped(kinks: Vector, family: Indices, coarse: int) -> Indices:
    """(H,) labels: `coarse` groups on each side of the kink of each family, the larger the farther off."""
    labels = np.zeros(len(kinks), dtype=np.intp)
    used = 0
    for member in np.unique(family).tolist():
        for side in (kinks > 0.0, kinks <= 0.0):
            chosen = np.flatnonzero(side & (family == member))
            if len(chosen):
                ordered = chosen[np.argsort(np.abs(kinks[chosen]), kind="stable")]
                ends = np.unique(np.round(np.geomspace(1.0, len(chosen), min(coarse, len(chosen)))))
                labels[ordered] = used + np.searchsorted(ends, np.arange(len(chosen)), side="right")
                used += len(ends)
    return labels


def refined(groups: Indices, weighted: Vector, most: int) -> tuple[Indices, float]:
    """The labels with the worst `most` groups split by the sign of their `weighted` kinks, and the shortfall so far.

    The shortfall is that of the groups' positive parts against their members', relative to the sum of the kinks' sizes.
    """
    short = np.bincount(groups, np.maximum(weighted, 0.0)) - np.maximum(np.bincount(groups, weighted), 0.0)
    size = float(np.abs(weighted).sum())
    worst = np.argsort(-short, kind="stable")[:most]
    torn = np.zeros(len(short), dtype=bool)
    torn[worst] = short[worst] > _ROUNDING * size
    labels = np.unique(2 * groups + (torn[groups] & (weighted > 0.0)), return_inverse=True)[1]
    return labels, float(short.sum()) / size if size > 0.0 else 0.0
