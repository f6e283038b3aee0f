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

from kernel.rebalancing.curves import Curve, Row, Terms

Vector = NDArray[np.float64]

# Rounds of tangents in the relaxation and in the whole program, at most.
_RELAXED_ROUNDS, _WHOLE_ROUNDS = 40, 30
# Tangents are added where a curve lacks more than this, in units of the objective.
_DEEP = 1e-7
# A dive fixes what is so near to a whole number, or else this share of what is left.
_SETTLED, _SHARE = 1e-6, 0.25
_DIVE_ROUNDS = 2
# The relaxation is done when all curves together lack this fraction of the objective.
_RELAXED_LACK = 1e-4
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


@dataclass(slots=True)
class Assembly:
    """Columns, rows and curves of a minimisation, as they are added."""

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

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
        self._curves, self._rows = assembly.curves, list(assembly.rows)
        self._rows += [curve.tangent(seed) for curve in self._curves for seed in curve.seeds]
        self._held = [row for row in assembly.rows if row[0].keys() & {curve.value for curve in self._curves}]
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
            if end is SearchEnd.SOLVED and relaxed is not None and self._curves:
                self._dive(relaxed)
            for _ in range(_WHOLE_ROUNDS if end is SearchEnd.SOLVED and not self._close_enough() else 0):
                end = self._branch()
                if end is not SearchEnd.SOLVED or self._close_enough() or not self._cut(self._nearest, _DEEP):
                    break
        x = self._nearest if self._best is None else self._best
        bound = self._relaxation if end is SearchEnd.FAILED else self._bound
        return RawAnswer(end, x, bound, self._nodes, self._relaxation, self._seconds)

    def _relax(self) -> SearchEnd:
        """Tangents at the solutions of the linear relaxation, until it hardly moves."""
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
            lack = sum(self._lack(curve, x) for curve in self._curves)
            enough = max(_RELAXED_LACK, self._settings.relative_gap / 10.0) * max(1.0, abs(self._relaxation))
            before = len(self._rows)
            if lack <= enough or not self._cut(x, max(_DEEP, enough / (4 * len(self._curves)))):
                break
            _add_rows(highs, self._rows[before:])
        return SearchEnd.SOLVED if self._nearest is not None and end is SearchEnd.FAILED else end

    def _dive(self, x: Vector) -> None:
        """Fixes flags, then steps, at what the relaxation says, a part of them at a time, and solves it again."""
        highs = self._solver(whole=False)
        upper = np.array(self._assembly.upper)
        whole = np.array(self._assembly.whole)
        for columns in (np.flatnonzero(whole & (upper == 1.0)), np.flatnonzero(whole & (upper != 1.0))):
            open_ = columns
            while len(open_):
                away = np.abs(x[open_] - np.round(x[open_]))
                order = np.argsort(away, kind="stable")
                count = max(int((away <= _SETTLED).sum()), math.ceil(_SHARE * len(open_)))
                fixed, open_ = open_[order[:count]], open_[order[count:]]
                found = self._fixed(highs, fixed, np.round(x[fixed])) or self._fixed(highs, fixed, np.floor(x[fixed]))
                if not found:
                    return
                x = np.array(highs.getSolution().col_value)
        self._note(x)

    def _fixed(self, highs: highspy.Highs, columns: NDArray[np.intp], values: Vector) -> bool:
        """Fixes columns and adds the tangents that the solution lacks; whether there is one."""
        for column, value in zip(columns, values, strict=True):
            highs.changeColBounds(int(column), float(value), float(value))
        for _ in range(_DIVE_ROUNDS):
            if self._solve(highs) is not SearchEnd.SOLVED:
                return False
            before = len(self._rows)
            if not self._cut(np.array(highs.getSolution().col_value), _DEEP):
                break
            _add_rows(highs, self._rows[before:])
        return self._solve(highs) is SearchEnd.SOLVED

    def _branch(self) -> SearchEnd:
        highs = self._solver(whole=True)
        if self._best is not None:
            start = highspy.HighsSolution()
            start.col_value = self._best.tolist()
            highs.setSolution(start)
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
            self._note(np.array(highs.getSolution().col_value))
        return end

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
        for curve in self._curves:
            lifted[curve.value] = max(lifted[curve.value], curve.height(x))
        self._nearest = x
        objective = self._constant + float(self._cost @ lifted)
        if objective < self._best_objective and all(_keeps(row, lifted) for row in self._held):
            self._best, self._best_objective = lifted, objective

    def _lack(self, curve: Curve, x: Vector) -> float:
        return max(0.0, curve.height(x) - float(x[curve.value])) * curve.weight

    def _cut(self, x: Vector | None, depth: float) -> bool:
        """Adds the tangents that a point lacks; whether there were any."""
        if x is None:
            return False
        before = len(self._rows)
        for curve in self._curves:
            if self._lack(curve, x) > depth:
                self._rows.append(curve.tangent(curve.argument(x)))
        return len(self._rows) > before

    def _close_enough(self) -> bool:
        apart = self._best_objective - self._bound
        return self._best is not None and apart <= max(self._settings.relative_gap * abs(self._best_objective), _DEEP)


def _keeps(row: Row, x: Vector) -> bool:
    terms, lower = row
    reached = sum(factor * float(x[column]) for column, factor in terms.items())
    return reached >= lower - _KEPT * max(1.0, abs(lower))


def _without_columns(rows: Sequence[Row], constant: float) -> RawAnswer:
    """HiGHS takes no program without columns."""
    if any(lower > 0.0 for _, lower in rows):
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
