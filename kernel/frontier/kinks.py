"""Variables that only bound kinked functions of single weights: ``t >= |w - w0|``, ``u >= (-w)+``.

Such a t has no curvature, growing it helps nothing, and each of its defining rows holds one weight beside it:

    x_t >= slope_p x_i + intercept_p       for its pieces p

so at an optimum x_t is the largest of its pieces, a convex function of x_i. A parametric path follows the weights alone
when x_i is cut at the kinks into segments along which every x_t is straight; the multipliers of the defining rows then
share out the price of x_t among the pieces that touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kernel.canonical import Cone, Mask, Matrix, Program, Vector
from kernel.quadratic import Indices

_TOUCHING = 1e-11


@dataclass(frozen=True, slots=True)
class Kinks:
    """The pieces of all such variables, by variable and by rising slope.

    Attributes:
        variable: (p,) t.
        owner: (p,) i, the same for all pieces of one t.
        slope: (p,).
        intercept: (p,).
        row: (p,) the defining row; -1 for the lower bound of x_t.
        scale: (p,) minus the coefficient of x_t in that row.
    """

    variable: Indices
    owner: Indices
    slope: Vector
    intercept: Vector
    row: Indices
    scale: Vector

    @classmethod
    def of(cls, program: Program, c: Vector) -> Kinks:
        """Those of a program whose objective falls along c."""
        kinked = _kinked(program, c)
        entries = program.A.tocoo()
        defining = kinked[entries.col] & (entries.data < 0.0)
        row, variable, scale = entries.row[defining], entries.col[defining], -entries.data[defining]
        beside = ~kinked[entries.col]
        partner, coefficient = np.zeros(len(program.b), dtype=np.intp), np.zeros(len(program.b))
        partner[entries.row[beside]], coefficient[entries.row[beside]] = entries.col[beside], entries.data[beside]
        owner, slope, intercept = partner[row], coefficient[row] / scale, -program.b[row] / scale
        bounded = np.flatnonzero(kinked & np.isfinite(program.lower))
        owner_of = np.zeros(program.size, dtype=np.intp)
        owner_of[variable] = owner
        variable, owner = np.append(variable, bounded), np.append(owner, owner_of[bounded])
        slope, intercept = np.append(slope, np.zeros(len(bounded))), np.append(intercept, program.lower[bounded])
        row, scale = np.append(row, np.full(len(bounded), -1)), np.append(scale, np.ones(len(bounded)))
        order = np.lexsort((slope, variable))
        indices = (variable[order].astype(np.intp), owner[order].astype(np.intp))
        return cls(*indices, slope[order], intercept[order], row[order].astype(np.intp), scale[order])

    @property
    def starts(self) -> Indices:
        """(t,) where the pieces of each variable begin."""
        return np.flatnonzero(np.diff(self.variable, prepend=-1))

    def cuts(self, lower: Vector, upper: Vector) -> dict[int, list[float]]:
        """For each owner the kinks strictly within its bounds, rising."""
        found: dict[int, set[float]] = {int(i): set() for i in self.owner}
        for first, last in self._ranges():
            for p in range(first, last):
                for k in range(p + 1, last):
                    if self.slope[k] > self.slope[p]:
                        kink = float((self.intercept[p] - self.intercept[k]) / (self.slope[k] - self.slope[p]))
                        found[int(self.owner[p])].add(kink)
        return {
            i: sorted(kink for kink in kinks if lower[i] + _TOUCHING < kink < upper[i] - _TOUCHING)
            for i, kinks in found.items()
        }

    def highest(self, place: dict[int, float]) -> Iterator[tuple[int, int, float, float]]:
        """Variable, owner, slope and intercept of the largest piece where an owner is at `place`, if it has one."""
        for first, last in self._ranges():
            if int(self.owner[first]) not in place:
                continue
            values = self.slope[first:last] * place[int(self.owner[first])] + self.intercept[first:last]
            p = first + int(np.argmax(values))
            yield int(self.variable[p]), int(self.owner[p]), float(self.slope[p]), float(self.intercept[p])

    def tighten(self, X: Matrix) -> None:
        """Set every x_t in the points X (k, N) to its largest piece."""
        if len(self.variable):
            values = X[:, self.owner] * self.slope + self.intercept
            X[:, self.variable[self.starts]] = np.maximum.reduceat(values, self.starts, axis=1)

    def price(self, X: Matrix, r: Matrix, Z: Matrix) -> None:
        """Give the defining rows their multipliers.

        Args:
            X: (k, N) points with tight x_t.
            r: (k, N) reduced costs without those rows: at t the price of x_t, at i what the shares have to offset.
            Z: (k, m) multipliers, changed in place.
        """
        if not len(self.variable):
            return
        starts, group = self.starts, np.cumsum(np.diff(self.variable, prepend=-1) != 0) - 1
        values = X[:, self.owner] * self.slope + self.intercept
        touching = values >= X[:, self.variable] - _TOUCHING
        places = np.arange(len(self.variable))
        low = np.minimum.reduceat(np.where(touching, places, len(places)), starts, axis=1)
        high = np.maximum.reduceat(np.where(touching, places, -1), starts, axis=1)
        owners, price = self.owner[starts], np.maximum(r[:, self.variable[starts]], 0.0)
        needed, room = -r.copy(), np.zeros_like(r)
        for t, i in enumerate(owners.tolist()):
            needed[:, i] -= price[:, t] * self.slope[low[:, t]]
            room[:, i] += price[:, t] * (self.slope[high[:, t]] - self.slope[low[:, t]])
        fraction = np.clip(needed / np.where(room > 0.0, room, np.inf), 0.0, 1.0)[:, owners]
        share = np.where(places == high[:, group], (price * fraction)[:, group], 0.0)
        share += np.where(places == low[:, group], (price * (1.0 - fraction))[:, group], 0.0)
        written = self.row >= 0
        Z[:, self.row[written]] = (share / self.scale)[:, written]

    def _ranges(self) -> Iterator[tuple[int, int]]:
        ends = np.append(self.starts, len(self.variable)).tolist()
        return pairwise(ends)


def _kinked(program: Program, c: Vector) -> Mask:
    """(N,) True for the variables of the module's docstring."""
    places = np.arange(program.size)
    free_to_grow = (places >= program.P.size) & (program.upper == np.inf) & (program.q >= 0.0) & (c <= 0.0)
    entries, unequal = program.A.tocoo(), program.mask(Cone.NONNEGATIVE)
    others = ~free_to_grow[entries.col]
    partners = np.bincount(entries.row[others], minlength=len(program.b))
    pairs = unequal & (np.diff(program.A.indptr) == 2) & (partners == 1)
    defining = (entries.data < 0.0) & pairs[entries.row]
    kinked = free_to_grow & (np.bincount(entries.col[defining], minlength=program.size) > 0)
    kinked[entries.col[~(defining | ((entries.data > 0.0) & unequal[entries.row]))]] = False
    partner = np.zeros(len(program.b), dtype=np.intp)
    partner[entries.row[others]] = entries.col[others]
    first, last = np.full(program.size, program.size), np.full(program.size, -1)
    np.minimum.at(first, entries.col[defining], partner[entries.row[defining]])
    np.maximum.at(last, entries.col[defining], partner[entries.row[defining]])
    return np.asarray(kinked & (first == last))
