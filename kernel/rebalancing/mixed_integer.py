"""A mixed-integer linear program put together column by column and row by row, and solved by HiGHS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

Terms = dict[int, float]
Row = tuple[Terms, float]

_HIGHS_SOLVED, _HIGHS_LIMIT, _HIGHS_INFEASIBLE, _HIGHS_OTHER = 0, 1, 2, 4


class SearchEnd(Enum):
    """Why the solver stopped."""

    SOLVED = "solved"
    LIMIT = "limit"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """When the search stops. An answer is reproducible unless the time limit ended it.

    Attributes:
        relative_gap: (objective - bound) / objective that is good enough.
        node_limit: Largest number of branch-and-bound nodes.
        time_limit_seconds: Longest search.
    """

    relative_gap: float = 1e-4
    node_limit: int = 5_000
    time_limit_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What HiGHS answered.

    Attributes:
        end: Why it stopped.
        x: Values of the columns, None without an incumbent.
        bound: No solution has a smaller objective; minus infinity if nothing is known.
        nodes: Branch-and-bound nodes.
    """

    end: SearchEnd
    x: NDArray[np.float64] | None
    bound: float
    nodes: int


@dataclass(slots=True)
class Assembly:
    """Columns x >= 0 and rows of a minimisation, as they are added."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def column(self, upper: float, *, whole: bool = False, cost: float = 0.0) -> int:
        """Adds a variable in [0, upper] and returns its index."""
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def flag(self) -> int:
        """Adds a variable that is 0 or 1 and returns its index."""
        return self.column(1.0, whole=True)

    def at_least(self, terms: Terms, lower: float) -> None:
        """Adds the row: terms >= lower."""
        self.rows.append((terms, lower))

    def minimise(self, cost: Sequence[float], rows: Sequence[Row], search: SearchSettings) -> RawAnswer:
        """Solves  min cost'x  over the columns, the assembled rows and some more rows.

        Args:
            cost: One per column.
            rows: Rows that hold for this solve only.
            search: When to stop.

        Returns:
            The answer; deterministic for given inputs unless the time limit ended it.
        """
        everything = [*self.rows, *rows]
        if not self.cost:
            return _without_columns(everything)
        answer = self._run(cost, everything, search, presolve=True)
        if answer.status == _HIGHS_OTHER and answer.x is None and not answer.mip_node_count:
            # Rounding in the presolve can end in a "solve error" on programs that are solvable as they stand.
            answer = self._run(cost, everything, search, presolve=False)
        nodes = int(answer.mip_node_count or 0)
        end = _end(answer.status, nodes, search)
        return RawAnswer(end, answer.x, _bound(end, answer.mip_dual_bound, answer.fun), nodes)

    def _run(
        self, cost: Sequence[float], rows: Sequence[Row], search: SearchSettings, *, presolve: bool
    ) -> optimize.OptimizeResult:
        return optimize.milp(
            np.array(cost),
            integrality=np.array(self.whole, dtype=int),
            bounds=optimize.Bounds(0.0, np.array(self.upper)),
            constraints=_constraints(rows, len(self.cost)),
            options={
                "mip_rel_gap": search.relative_gap,
                "node_limit": search.node_limit,
                "time_limit": search.time_limit_seconds,
                "presolve": presolve,
            },
        )


def _end(status: int, nodes: int, search: SearchSettings) -> SearchEnd:
    """SciPy calls the end by node limit "other": it is told by the count."""
    if status == _HIGHS_SOLVED:
        return SearchEnd.SOLVED
    if status == _HIGHS_INFEASIBLE:
        return SearchEnd.INFEASIBLE
    return SearchEnd.LIMIT if status == _HIGHS_LIMIT or nodes >= search.node_limit else SearchEnd.FAILED


def _bound(end: SearchEnd, dual_bound: float | None, objective: float | None) -> float:
    """A program without whole columns is no tree and has no dual bound of one: solved, it is its own bound."""
    bound = objective if dual_bound is None and end is SearchEnd.SOLVED else dual_bound
    return -math.inf if bound is None or math.isnan(bound) else float(bound)


def _without_columns(rows: Sequence[Row]) -> RawAnswer:
    """HiGHS takes no program without columns."""
    if any(lower > 0.0 for _, lower in rows):
        return RawAnswer(SearchEnd.INFEASIBLE, None, -math.inf, 0)
    return RawAnswer(SearchEnd.SOLVED, np.zeros(0), 0.0, 0)


def _constraints(rows: Sequence[Row], width: int) -> optimize.LinearConstraint:
    """The rows as one sparse block: terms >= lower."""
    row = np.repeat(np.arange(len(rows)), [len(terms) for terms, _ in rows])
    column = np.array([column for terms, _ in rows for column in terms], dtype=int)
    values = np.array([value for terms, _ in rows for value in terms.values()], dtype=float)
    matrix = sparse.csr_array((values, (row, column)), shape=(len(rows), width))
    return optimize.LinearConstraint(matrix, np.array([lower for _, lower in rows]), math.inf)
