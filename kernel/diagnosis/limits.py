"""A problem's limits as rows, each under the caller's name, and the elastic program over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import DEFINITION, HARD, Cone, Mask, Program, Quadratic, RowBlock, SemiContinuous, Vector, widen
from kernel.constraints import Constraint, Measurement, NumberOfPositions
from kernel.diagnosis.elastic import Elastic, Places
from kernel.problem import Problem

_POSITION_POINTS = 0.01


class _LimitsAsRows(ProgramBuilder):
    """Writes every limit as rows of its name: bounds, the looser ones too, smallest positions and lots.

    A row can give way; what a solver treats apart from the rows cannot.
    """

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._bounds: list[tuple[_LimitsAsRows, Vector, Vector, tuple[Sequence[str], Sequence[str]]]] = []
        self._positions: list[SemiContinuous] = []

    def add_bounds(self, lower: Vector, upper: Vector, names: tuple[Sequence[str], Sequence[str]]) -> None:
        """Bound the weights, and remember every bound: a constraint may want to know the box."""
        super().add_bounds(lower, upper, names)
        self._bounds.append((self, lower, upper, names))

    def add_semicontinuous(self, name: str, index: int, threshold: float) -> None:
        """Remember it until all bounds are known."""
        self._positions.append(SemiContinuous(name, index, threshold))

    def add_integral(self, name: str, index: int, step: float) -> None:
        """Of a weight, the distance to a multiple that is a variable of its own; else as ever."""
        if index >= self.n:
            super().add_integral(name, index, step)
            return
        multiple = self.add_variables(1)
        super().add_integral(DEFINITION, multiple.start, step)
        one = np.ones((1, 1))
        self.add_rows((name,), Cone.ZERO, [(slice(index, index + 1), one), (multiple, -one)], np.zeros(1))

    def build(self) -> Program:
        """The program whose variables keep only the bounds that nobody may move."""
        self._add_positions()
        lower, upper = np.full(self.n, -np.inf), np.full(self.n, np.inf)
        for part, low, high, names in self._bounds:
            place = part.weights
            fixed_low, fixed_high = _fixed(names[0]), _fixed(names[1])
            # A floor above zero that gives way altogether leaves a weight that may not be sold short. A range around
            # the current weight, of one name, is no floor.
            floor = (low > 0.0) & np.array([a != b for a, b in zip(*names, strict=True)], dtype=bool)
            lower[place] = np.maximum(lower[place], np.where(fixed_low, low, np.where(floor, 0.0, -np.inf)))
            upper[place] = np.minimum(upper[place], np.where(fixed_high, high, np.inf))
            part._add_bound_rows(-1.0, low, np.isfinite(low) & ~fixed_low, names[0])
            part._add_bound_rows(1.0, high, np.isfinite(high) & ~fixed_high, names[1])
        program = super().build()
        return replace(
            program,
            lower=np.append(lower, program.lower[self.n :]),
            upper=np.append(upper, program.upper[self.n :]),
            lower_names={},
            upper_names={},
            semicontinuous=(),
        )

    def _add_positions(self) -> None:
        """Smallest positions by switches p and s of long and short ones, not both on; only the size is a limit.

        ``threshold p - reach s <= w <= reach p`` and ``threshold s - reach p <= -w <= reach s``
        """
        if not self._positions:
            return
        indices = [position.index for position in self._positions]
        box = [np.abs(bound[np.isfinite(bound)]).max(initial=0.0) for _, *both, _ in self._bounds for bound in both]
        reach, count = max([1.0, *box]), len(indices)
        p = self._switches(np.ones(count))
        s = self._switches((self.box[0][indices] < 0.0).astype(float))
        chosen = sp.csr_array(sp.eye_array(self.n, format="csr")[indices])
        thresholds = sp.csr_array(sp.diags_array([position.threshold for position in self._positions], format="csr"))
        far = sp.csr_array(-reach * sp.eye_array(count, format="csr"))
        names = [position.name for position in self._positions]
        for sign, own, other in ((1.0, p, s), (-1.0, s, p)):
            held = [(self.weights, -sign * chosen), (own, thresholds), (other, far)]
            self.add_rows(names, Cone.NONNEGATIVE, held, np.zeros(count))
            meaning = [(self.weights, sign * chosen), (own, far)]
            self.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, meaning, np.zeros(count))
        eye = sp.csr_array(sp.eye_array(count, format="csr"))
        self.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, [(p, eye), (s, eye)], np.ones(count))

    def _switches(self, upper: Vector) -> slice:
        """Variables that are 0 or 1, and 0 where `upper` is."""
        place = self.add_variables(len(upper), lower=0.0, upper=1.0)
        self._collected.upper[place] = upper
        for index in np.flatnonzero(upper).tolist():
            super().add_integral(DEFINITION, place.start + index, 1.0)
        return place


def make_elastic(problem: Problem) -> Elastic:
    """The elastic program of a problem's limits; its objective plays no part."""
    n = problem.moments.n
    builder = _LimitsAsRows(n)
    for constraint in problem.constraints:
        _without_tight_reach(constraint).add_to(builder)
    program = builder.build()
    units = {m.name: m.unit for m in measured_anywhere(problem) if m.name not in HARD}
    return _with_columns(program, units, n)


def _without_tight_reach(constraint: Constraint) -> Constraint:
    """Switches that do not rely on the bounds of weights, which may give way, but on the whole portfolio."""
    if isinstance(constraint, NumberOfPositions):
        return replace(constraint, reach=np.maximum(constraint.reach, 1.0))
    return constraint


def measured_anywhere(problem: Problem) -> list[Measurement]:
    """Every limit of the problem, for its name, unit and number alone."""
    anywhere = np.full(problem.moments.n, 1.0 / problem.moments.n)
    return [measured for constraint in problem.constraints for measured in constraint.measure(anywhere)]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of an elastic column."""

    row: int
    column: int
    value: float


def _with_columns(program: Program, units: Mapping[str, str], n: int) -> Elastic:
    """Elastic columns: one for all inequalities and cones of a name, a pair for each equality, which has two sides."""
    present = {name for block in program.blocks for name in block.names}
    names = tuple(sorted(units.keys() & present))
    place = {name: k for k, name in enumerate(names)}
    owners = list(range(len(names)))
    entries: list[_Entry] = []
    for block in program.blocks:
        for row, name in zip(_heads(block), block.names, strict=True):
            if name not in place:
                continue
            value = 1.0 / _points(units[name], program, row, n)
            if block.cone is not Cone.ZERO:
                entries.append(_Entry(row, place[name], -value))
                continue
            for side in (-value, value):
                entries.append(_Entry(row, len(owners), side))
                owners.append(place[name])
    return _assemble(program, names, np.array(owners, dtype=np.intp), entries, n)


def _assemble(program: Program, names: tuple[str, ...], owners: Places, entries: Sequence[_Entry], n: int) -> Elastic:
    size, count = program.size, len(owners)
    data = [entry.value for entry in entries]
    places = ([entry.row for entry in entries], [size + entry.column for entry in entries])
    stretch = sp.coo_array((data, places), shape=(len(program.b), size + count))
    elastic = replace(
        program,
        P=Quadratic(),
        q=np.zeros(size + count),
        A=sp.csr_array(widen(program.A, size + count) + sp.csr_array(stretch)),
        lower=np.append(program.lower, np.zeros(count)),
        upper=np.append(program.upper, np.full(count, np.inf)),
    )
    rows = np.array([entry.row for entry in entries], dtype=np.intp)
    row_owners = owners[np.array([entry.column for entry in entries], dtype=np.intp)]
    return Elastic(elastic, names, owners, rows, row_owners, n)


def _heads(block: RowBlock) -> range:
    """The rows whose right-hand side is the limit: every row of linear blocks, one of a cone."""
    if block.cone.is_linear:
        return range(block.start, block.stop)
    head = block.stop - 1 if block.cone is Cone.EXPONENTIAL else block.start
    return range(head, head + 1)


def _points(unit: str, program: Program, row: int, n: int) -> float:
    """What one unit of a row's limit counts."""
    if unit == "positions":
        return _POSITION_POINTS
    if unit == "variance":
        # Rows of a limit v on the variance are those of the volatility times 2 sqrt(v), with 2 v on their right.
        return 1.0 / math.sqrt(2.0 * float(program.b[row])) if program.b[row] > 0.0 else 1.0
    if unit not in ("exposure", "score"):
        return 1.0
    start, stop = program.A.indptr[row], program.A.indptr[row + 1]
    on_weights = program.A.indices[start:stop] < n
    largest = float(np.abs(program.A.data[start:stop][on_weights]).max(initial=0.0))
    return 1.0 / largest if largest > 0.0 else 1.0


def _fixed(names: Sequence[str]) -> Mask:
    return np.array([name in HARD for name in names], dtype=bool)
