"""A mixed-integer program of linear rows and convex curves, put together piece by piece and solved by HiGHS.

The curves are kept by tangents (outer approximation): first at the solutions of the relaxation, until it hardly moves,
then at those of the whole program, until what it lacks at its answer is within the gap. Every solve is a relaxation of
the program, so that every bound is one of the program.

References: Duran & Grossmann (1986); Huangfu & Hall (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kernel.rebalancing.curves import Bowl, Curve, CurveTable, Row, Terms

Vector = NDArray[np.float64]

# Rounds of tangents in the relaxation and in the whole program, at most.
_RELAXED_ROUNDS, _WHOLE_ROUNDS = 40, 30
# Tangents are added where a curve lacks more than this, in units of the objective.
_DEEP = 1e-7
# Rounds of tangents after each decision of a dive.
_FIXED_ROUNDS = 8
# A dive fixes what is so near to a whole number, or else this share of what is left and no less than that of all.
_SETTLED, _SHARE, _LEAST = 1e-6, 0.3, 0.1
# The local search around what a dive finds.
_IMPROVE_ROUNDS, _IMPROVE_NODES, _AGREES = 3, 50, 0.1
# The relaxation is done when all curves together lack this fraction of the objective.
_RELAXED_LACK = 1e-4
# Its share of the time limit.
_RELAXED_TIME = 0.3
# Rows of curves may be broken by this much, relatively: rounding decides further on.
_KEPT = 1e-7


class SearchEnd(Enum):
    """Why the solver stopped."""

    SOLVED = "solved"
    LIMIT = "limit"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


_ENDS = {
    highspy.HighsModelStatus.kOptimal: SearchEnd.SOLVED,
    highspy.HighsModelStatus.kInfeasible: SearchEnd.INFEASIBLE,
    highspy.HighsModelStatus.kUnboundedOrInfeasible: SearchEnd.INFEASIBLE,
    highspy.HighsModelStatus.kTimeLimit: SearchEnd.LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: SearchEnd.LIMIT,
    highspy.HighsModelStatus.kIterationLimit: SearchEnd.LIMIT,
}


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """When the search stops. An answer is reproducible unless the time limit ended it.

    Attributes:
        relative_gap: (objective - bound) / objective that is good enough.
        node_limit: Largest number of branch-and-bound nodes.
        time_limit_seconds: Longest time in the solver.
    """

    relative_gap: float = 1e-4
    node_limit: int = 5_000
    time_limit_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What the search found.

    Attributes:
        end: Why it stopped.
        x: Values of the columns, None without an incumbent.
        bound: No solution has a smaller objective; minus infinity if nothing is known.
        nodes: Branch-and-bound nodes.
        relaxation: Bound of the continuous relaxation.
        seconds: Time in the solver.
    """

    end: SearchEnd
    x: Vector | None
    bound: float
    nodes: int
    relaxation: float = -math.inf
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """A flag that is set where a quantity passes a level.

    Attributes:
        flag: Its column.
        quantity: Terms of the quantity.
        level: The level.
    """

    flag: int
    quantity: Terms
    level: float


@dataclass(slots=True)
class Assembly:
    """Columns, rows and curves of a minimisation, as they are added.

    Attributes:
        cost: Of each column; likewise its bounds, and whether it is whole.
        rows: terms >= lower.
        curves: Convex functions that columns must not be less than; likewise the squares of bowls.
        directions: Flags that a dive decides first.
        orders: Flags that follow from quantities.
    """

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    bowls: list[Bowl] = field(default_factory=list)
    directions: list[int] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    def column(self, upper: float, *, lower: float = 0.0, whole: bool = False, cost: float = 0.0) -> int:
        """Adds a variable in [lower, upper] and returns its index."""
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def flag(self) -> int:
        """Adds a variable that is 0 or 1 and returns its index."""
        return self.column(1.0, whole=True)

    def at_least(self, terms: Terms, lower: float) -> None:
        """Adds the row: terms >= lower."""
        self.rows.append((terms, lower))

    def at_most(self, terms: Terms, upper: float) -> None:
        """Adds the row: terms <= upper."""
        self.at_least({column: -factor for column, factor in terms.items()}, -upper)

    def equal(self, terms: Terms, value: float) -> None:
        """Adds two rows: terms = value."""
        self.at_least(terms, value)
        self.at_most(terms, value)

    def minimise(self, cost: Sequence[float], constant: float, search: SearchSettings) -> RawAnswer:
        """Solves  min constant + cost'x  over the columns, rows and curves.

        Args:
            cost: One per column.
            constant: Part of the objective that gaps and bounds count in.
            search: When to stop.

        Returns:
            The answer; deterministic for given inputs unless the time limit ended it.
        """
        if not self.cost:
            return _without_columns(self.rows, constant)
        return _Search(self, np.array(cost), constant, search).run()


class _Search:
    """One minimisation with its tangents, its best answer and the time spent."""

    def __init__(self, assembly: Assembly, cost: Vector, constant: float, search: SearchSettings) -> None:
        self._assembly, self._cost, self._constant, self._settings = assembly, cost, constant, search
        self._curves, self._rows = CurveTable(assembly.curves, len(cost)), list(assembly.rows)
        self._rows += [curve.tangent(seed) for curve in assembly.curves for seed in curve.seeds]
        lifted = {*self._curves.values.tolist(), *(bowl.value for bowl in assembly.bowls)}
        self._held = [row for row in assembly.rows if row[0].keys() & lifted]
        self._seconds, self._nodes = 0.0, 0
        self._bound = self._relaxation = -math.inf
        self._best: Vector | None = None
        self._best_objective = math.inf
        self._nearest: Vector | None = None

    def run(self) -> RawAnswer:
        """The relaxation, then the whole program, round by round."""
        end = self._relax()
        if any(self._assembly.whole):
            relaxed = self._nearest
            self._best, self._best_objective, self._nearest = None, math.inf, None
            if end is SearchEnd.SOLVED and relaxed is not None and self._assembly.curves:
                self._dive(relaxed)
                self._improve(relaxed)
            for _ in range(_WHOLE_ROUNDS if end is SearchEnd.SOLVED and not self._close_enough() else 0):
                end = self._branch()
                if end is not SearchEnd.SOLVED or self._close_enough() or not self._cut(self._nearest, _DEEP):
                    break
        x = self._nearest if self._best is None else self._best
        bound = self._relaxation if end is SearchEnd.FAILED else self._bound
        return RawAnswer(end, x, bound, self._nodes, self._relaxation, self._seconds)

    def _relax(self) -> SearchEnd:
        """Tangents at the solutions of the linear relaxation, until it hardly moves or takes too much of the time."""
        highs = self._solver(whole=False)
        end = SearchEnd.FAILED
        for _ in range(_RELAXED_ROUNDS):
            end = self._solve(highs)
            if end is SearchEnd.FAILED:
                # A start from the last solution can go astray where a new one does not.
                highs = self._solver(whole=False)
                end = self._solve(highs)
            if end is not SearchEnd.SOLVED:
                break
            x = np.array(highs.getSolution().col_value)
            self._relaxation = self._bound = max(self._bound, float(highs.getInfo().objective_function_value))
            self._note(x)
            lack = float(self._lacks(x).sum())
            before, late = len(self._rows), self._seconds > _RELAXED_TIME * self._settings.time_limit_seconds
            if late or lack <= self._enough or not self._cut(x, self._worth_cutting):
                break
            _add_rows(highs, self._rows[before:])
        return SearchEnd.SOLVED if self._nearest is not None and end is SearchEnd.FAILED else end

    def _dive(self, x: Vector) -> None:
        """Decides flags, then steps, by what the relaxation says, some at a time, and solves it again in between.

        First the directions, as Moehle et al. do; the order of the lots follows from what is sold then.
        """
        highs = self._solver(whole=False)
        upper, whole = np.array(self._assembly.upper), np.array(self._assembly.whole)
        directions = np.array(self._assembly.directions, dtype=np.intp)
        point = self._decided(highs, x, directions)
        if point is not None and self._assembly.orders:
            flags = np.array([order.flag for order in self._assembly.orders], dtype=np.intp)
            ordered = self._fixed(highs, flags, np.array([_passes(order, point) for order in self._assembly.orders]))
            if ordered is None:
                self._released(highs, flags)
            point = point if ordered is None else ordered
        steps = np.flatnonzero(whole & (upper != 1.0))
        for columns in (np.setdiff1d(np.flatnonzero(whole), steps), steps):
            point = None if point is None else self._decided(highs, point, columns)
        if point is not None:
            self._note(point)

    def _decided(self, highs: highspy.Highs, x: Vector, columns: NDArray[np.intp]) -> Vector | None:
        """Rounds columns part by part, those next to a whole number first; None where that leads nowhere."""
        point: Vector | None = x
        least = math.ceil(_LEAST * len(columns))
        while len(columns) and point is not None:
            away = np.abs(point[columns] - np.round(point[columns]))
            order = np.argsort(away, kind="stable")
            count = max(int((away <= _SETTLED).sum()), math.ceil(_SHARE * len(columns)), min(least, len(columns)))
            point = None
            while point is None and count:
                part = columns[order[:count]]
                for values in (np.round(x[part]), np.floor(x[part] + _SETTLED)):
                    point = self._fixed(highs, part, values) if point is None else point
                if point is None:
                    self._released(highs, part)
                    count //= 4
            if point is not None:
                x, columns = point, columns[order[count:]]
        return point

    def _fixed(self, highs: highspy.Highs, columns: NDArray[np.intp], values: Vector) -> Vector | None:
        """Fixes columns and adds the tangents that the solution lacks until it hardly moves; None without one.

        What is decided next rests on this solution: one that the curves do not hold yet would mislead it.
        """
        for column, value in zip(columns, values, strict=True):
            highs.changeColBounds(int(column), float(value), float(value))
        x: Vector | None = None
        for _ in range(_FIXED_ROUNDS):
            if self._solve(highs) is not SearchEnd.SOLVED:
                return None
            x = np.array(highs.getSolution().col_value)
            before = len(self._rows)
            if self._lacks(x).sum() <= self._enough or not self._cut(x, self._worth_cutting):
                break
            _add_rows(highs, self._rows[before:])
        return x

    def _released(self, highs: highspy.Highs, columns: NDArray[np.intp]) -> None:
        for column in columns:
            highs.changeColBounds(int(column), self._assembly.lower[column], self._assembly.upper[column])

    def _improve(self, relaxed: Vector) -> None:
        """Local search: flags that the relaxation agrees with stay and steps move by one each, all of them together."""
        upper, lower = np.array(self._assembly.upper), np.array(self._assembly.lower)
        for _ in range(_IMPROVE_ROUNDS):
            best, before = self._best, self._best_objective
            if best is None or self._close_enough():
                return
            highs = self._solver(whole=True)
            for column in np.flatnonzero(self._assembly.whole):
                agrees = upper[column] > 1.0 or abs(relaxed[column] - best[column]) <= _AGREES
                reach = 1.0 if upper[column] > 1.0 or not agrees else 0.0
                middle = round(best[column])
                low, high = max(lower[column], middle - reach), min(upper[column], middle + reach)
                highs.changeColBounds(int(column), float(low), float(high))
            highs.setOptionValue("mip_max_nodes", _IMPROVE_NODES)
            self._from_best(highs)
            self._solve(highs)
            if highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
                return
            x = self._whole_point(highs)
            self._note(x)
            if not self._cut(x, _DEEP) and self._best_objective >= before:
                return

    def _from_best(self, highs: highspy.Highs) -> None:
        """Starts a solver from the incumbent, whose neighbourhoods have been searched already."""
        if self._best is None:
            return
        start = highspy.HighsSolution()
        start.col_value = self._best.tolist()
        highs.setSolution(start)
        for name in ("rins", "rens", "root_reduced_cost", "feasibility_jump"):
            highs.setOptionValue(f"mip_heuristic_run_{name}", False)  # noqa: FBT003  # HiGHS has no keywords

    def _branch(self) -> SearchEnd:
        highs = self._solver(whole=True)
        self._from_best(highs)
        end = self._solve(highs)
        if end is SearchEnd.FAILED:
            # Rounding in the presolve can end in a "solve error" on programs that are solvable as they stand.
            highs = self._solver(whole=True)
            highs.setOptionValue("presolve", "off")
            end = self._solve(highs)
        info = highs.getInfo()
        self._nodes += max(0, int(info.mip_node_count))
        if end in (SearchEnd.SOLVED, SearchEnd.LIMIT):
            self._bound = max(self._bound, float(info.mip_dual_bound))
        if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            self._note(self._whole_point(highs))
        return end

    def _whole_point(self, highs: highspy.Highs) -> Vector:
        """The solution with its whole columns made so: a flag near zero would divide noise by noise."""
        x = np.array(highs.getSolution().col_value)
        return np.where(self._assembly.whole, np.round(x), x)

    def _solver(self, *, whole: bool) -> highspy.Highs:
        highs = highspy.Highs()  # type: ignore[no-untyped-call]  # its stubs leave it out
        options: dict[str, bool | int | float | str] = {
            "output_flag": False,
            "threads": 1,
            "random_seed": 0,
            "mip_rel_gap": self._settings.relative_gap,
            "mip_max_nodes": max(0, self._settings.node_limit - self._nodes),
        }
        for name, value in options.items():
            highs.setOptionValue(name, value)
        lp = _model(self._assembly, self._cost, self._rows, whole=whole)
        lp.offset_ = self._constant
        highs.passModel(lp)
        return highs

    def _solve(self, highs: highspy.Highs) -> SearchEnd:
        before = highs.getRunTime()
        left = self._settings.time_limit_seconds - self._seconds
        highs.setOptionValue("time_limit", before + max(0.0, left))
        highs.run()
        self._seconds += highs.getRunTime() - before
        return _ENDS.get(highs.getModelStatus(), SearchEnd.FAILED)

    def _note(self, x: Vector) -> None:
        """Lifts the curves' columns to their functions; the best point that keeps the rows is the incumbent."""
        lifted = x.copy()
        if self._curves.curves:
            lifted[self._curves.values] = np.maximum(x[self._curves.values], self._curves.heights(x)[1])
        for bowl in self._assembly.bowls:
            lifted[bowl.value] = max(x[bowl.value], bowl.height(x))
        self._nearest = x
        objective = self._constant + float(self._cost @ lifted)
        if objective < self._best_objective and all(_keeps(row, lifted) for row in self._held):
            self._best, self._best_objective = lifted, objective

    @property
    def _enough(self) -> float:
        """What all curves together may lack at a solution of the relaxation."""
        return max(_RELAXED_LACK, self._settings.relative_gap / 10.0) * max(1.0, abs(self._relaxation))

    @property
    def _worth_cutting(self) -> float:
        """Depth of a tangent worth adding: with less in every curve all together lack little enough."""
        return max(_DEEP, self._enough / (4 * max(1, len(self._curves.curves))))

    def _lacks(self, x: Vector) -> Vector:
        """By how much the curves' columns are too small."""
        if not self._curves.curves:
            return np.zeros(0)
        bowls = [max(0.0, bowl.height(x) - float(x[bowl.value])) for bowl in self._assembly.bowls]
        lacks: Vector = np.maximum(0.0, self._curves.heights(x)[1] - x[self._curves.values]) * self._curves.weights
        return np.append(lacks, bowls)

    def _cut(self, x: Vector | None, depth: float) -> bool:
        """Adds the tangents that a point lacks; whether there were any."""
        if x is None or not self._curves.curves:
            return False
        arguments, heights = self._curves.heights(x)
        lacks = (heights - x[self._curves.values]) * self._curves.weights
        for k in np.flatnonzero(lacks > depth):
            self._rows.append(self._curves.curves[k].tangent(float(arguments[k])))
        deep = [bowl for bowl in self._assembly.bowls if bowl.height(x) - x[bowl.value] > depth]
        self._rows += [bowl.tangent(x) for bowl in deep]
        return bool((lacks > depth).any() or deep)

    def _close_enough(self) -> bool:
        apart = self._best_objective - self._bound
        return self._best is not None and apart <= max(self._settings.relative_gap * abs(self._best_objective), _DEEP)


def _keeps(row: Row, x: Vector) -> bool:
    terms, lower = row
    reached = sum(factor * float(x[column]) for column, factor in terms.items())
    return reached >= lower - _KEPT * max(1.0, abs(lower))


def _passes(order: Order, x: Vector) -> float:
    quantity = sum(factor * float(x[column]) for column, factor in order.quantity.items())
    return 1.0 if quantity > order.level + _SETTLED else 0.0


def _without_columns(rows: Sequence[Row], constant: float) -> RawAnswer:
    """HiGHS takes no program without columns."""
    if any(lower > _DEEP for _, lower in rows):
        return RawAnswer(SearchEnd.INFEASIBLE, None, -math.inf, 0)
    return RawAnswer(SearchEnd.SOLVED, np.zeros(0), constant, 0, constant)


def _model(assembly: Assembly, cost: Vector, rows: Sequence[Row], *, whole: bool) -> highspy.HighsLp:
    matrix = _matrix(rows, len(cost))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.array(assembly.lower), np.array(assembly.upper)
    lp.row_lower_ = np.array([lower for _, lower in rows])
    lp.row_upper_ = np.full(len(rows), math.inf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    if whole:
        kind = highspy.HighsVarType
        lp.integrality_ = [kind.kInteger if flag else kind.kContinuous for flag in assembly.whole]
    return lp


def _matrix(rows: Sequence[Row], width: int) -> sp.csr_array:
    row = np.repeat(np.arange(len(rows)), [len(terms) for terms, _ in rows])
    column = np.array([column for terms, _ in rows for column in terms], dtype=int)
    values = np.array([value for terms, _ in rows for value in terms.values()], dtype=float)
    return sp.csr_array((values, (row, column)), shape=(len(rows), width))


def _add_rows(highs: highspy.Highs, rows: Sequence[Row]) -> None:
    for terms, lower in rows:
        columns = np.array(list(terms), dtype=np.int32)
        highs.addRow(lower, math.inf, len(terms), columns, np.array(list(terms.values())))
