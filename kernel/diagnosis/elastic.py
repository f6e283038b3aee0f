"""A problem's limits made elastic: one program in which every named limit can hold, give way, or be left out.

    minimise  sum_k e_k   subject to  g_k(x) <= b_k + e_k / c_k,   e >= 0

The least sum is zero exactly when the limits hold together; its multipliers are Farkas' (Chinneck 2008, chapters 6
and 7). Every change e_k is counted in *points*, so that changes of unlike limits compare:

- what is a fraction (weights, turnover, leverage, returns, volatilities, losses, drawdowns) counts as it is: one
  percentage point of a sector limit is as much as one of volatility;
- a limit on the variance counts through its square root, the volatility;
- one position more or less counts as one percentage point;
- an exposure counts by the weight that would have to move for it: its change over its largest coefficient.

The budget, long-only weights and definitions are never relaxed, and a floor above zero falls to zero at most: beyond
that it would mean to sell short.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kernel.canonical import DEFINITION, Cone, Mask, Program, RowBlock, Vector, widen
from kernel.certificate import lower_bound
from kernel.problem import Settings
from kernel.solvers import RawSolution, RawStatus, solve, solve_convex

# Changes below it, in points, are rounding.
NOTHING = 1e-9
_WITNESS_TIDY = 1e-9

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Least total change for some choice of elastic limits.

    Attributes:
        total: The sum of the changes, in points.
        bound: No smaller sum is possible.
        changes: (k,) of each name, in points.
        multipliers: (k,) of each name, >= 0: positive where the limit holds the sum up.
        stretch: (c,) values of all elastic columns.
        w: (n,) weights that the changed limits admit.
        proven: Whether the search for the least sum was finished.
    """

    total: float
    bound: float
    changes: Vector
    multipliers: Vector
    stretch: Vector
    w: Vector
    proven: bool


@dataclass(frozen=True, slots=True)
class Elastic:
    """The feasibility program of a problem with elastic columns behind its own variables.

    Attributes:
        program: Rows of every limit over the variables x and the elastic columns; no objective.
        names: (k,) of the limits that can give way, sorted.
        owners: (c,) place in `names` of each column's limit.
        rows: The rows that have elastic columns, and `row_owners` whose they are.
        n: Number of weights.
    """

    program: Program
    names: tuple[str, ...]
    owners: Places
    rows: Places
    row_owners: Places
    n: int

    @property
    def is_convex(self) -> bool:
        """Whether no rule of the problem is discrete."""
        return self.program.is_convex

    def members(self, names: Collection[str]) -> Mask:
        """(k,) True at `names`."""
        return np.array([name in names for name in self.names], dtype=bool)

    def least_change(
        self,
        settings: Settings,
        *,
        elastic: Collection[str],
        free: Collection[str] = (),
        largest: float = np.inf,
        discrete: bool = True,
    ) -> Outcome | None:
        """The least total change of the limits `elastic` while those in `free` are left out and all others hold.

        Args:
            settings: How far to go.
            elastic: Names of limits that may give way at a price.
            free: Names of limits that may give way for nothing.
            largest: No limit gives way by more, in points.
            discrete: Whether switches and lots stay whole.

        Returns:
            None when the limits that must hold cannot, or the solver does not say.
        """
        paid, loose = self.members(elastic)[self.owners], self.members(free)[self.owners]
        upper = np.where(loose, np.inf, largest)
        program, chosen = self._restricted(paid | loose, paid.astype(float), upper)
        raw = solve(program, settings) if discrete else solve_convex(replace(program, integral=()), settings)
        return self._outcome(program, raw, paid, chosen) if _has_point(raw) else None

    def holds(self, settings: Settings, *, free: Collection[str]) -> bool | None:
        """Whether all limits but those in `free` can hold together, discrete rules included; None = not known."""
        loose = self.members(free)[self.owners]
        program, _ = self._restricted(loose, np.zeros(len(loose)), np.full(len(loose), np.inf))
        raw = solve(program, settings)
        if _has_point(raw):
            return True
        return False if raw.status is RawStatus.INFEASIBLE else None

    def moved(self, stretch: Vector) -> Elastic:
        """The same with every limit moved by the values `stretch` (c,) of its columns."""
        first = self.program.size - len(self.owners)
        b = self.program.b - self.program.A[:, first:] @ stretch
        return replace(self, program=replace(self.program, b=np.asarray(b)))

    def least_largest_change(self, settings: Settings) -> float | None:
        """The least t such that all limits hold together when none of them gives way by more than t points."""
        program, size = self.program, self.program.size
        count, start = len(self.owners), len(self.program.b)
        eye = sp.eye_array(count, format="csr")
        below = sp.hstack([sp.csr_array((count, size - count)), eye, sp.csr_array(-np.ones((count, 1)))], format="csr")
        block = RowBlock((DEFINITION,) * count, Cone.NONNEGATIVE, start, start + count)
        common = replace(
            program,
            offset=1.0,
            q=np.append(np.zeros(size), 1.0),
            A=sp.csr_array(sp.vstack([widen(program.A, size + 1), below], format="csr")),
            b=np.append(program.b, np.zeros(count)),
            lower=np.append(program.lower, 0.0),
            upper=np.append(program.upper, np.inf),
            blocks=(*program.blocks, block),
        )
        raw = solve(common, settings)
        return float(raw.x[size]) if raw.status is RawStatus.SOLVED else None

    def _restricted(self, kept: Mask, cost: Vector, upper: Vector) -> tuple[Program, Mask]:
        """The program without the columns of limits that must hold: bounds of zero would leave it no interior."""
        size = self.program.size - len(self.owners)
        columns = np.append(np.ones(size, dtype=bool), kept)
        q = np.append(np.zeros(size), cost)
        top = np.append(self.program.upper[:size], upper)
        restricted = replace(
            self.program,
            q=q[columns],
            A=sp.csr_array(self.program.A[:, np.flatnonzero(columns)]),
            lower=self.program.lower[columns],
            upper=top[columns],
            # An integer search closes a gap relative to the objective's size, which must not be zero.
            offset=1.0,
        )
        return restricted, kept

    def _outcome(self, program: Program, raw: RawSolution, paid: Mask, chosen: Mask) -> Outcome:
        stretch = np.zeros(len(self.owners))
        stretch[chosen] = np.maximum(raw.x[program.size - int(chosen.sum()) :], 0.0)
        changes, multipliers = np.zeros(len(self.names)), np.zeros(len(self.names))
        np.add.at(changes, self.owners[paid], stretch[paid])
        np.add.at(multipliers, self.row_owners, np.abs(raw.z[self.rows]))
        bound = (lower_bound(program, raw.x, raw.z) if raw.bound is None else raw.bound) - program.offset
        w = np.where(np.abs(raw.x[: self.n]) < _WITNESS_TIDY, 0.0, raw.x[: self.n])
        proven = raw.status is RawStatus.SOLVED
        return Outcome(float(stretch[paid].sum()), bound, changes, multipliers, stretch, w, proven)


def _has_point(raw: RawSolution) -> bool:
    """Whether there is an answer: a solution, or the best found when a search was stopped."""
    return raw.status is RawStatus.SOLVED or (raw.status is RawStatus.LIMIT and bool(np.isfinite(raw.x).all()))
