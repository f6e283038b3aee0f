"""Semicontinuous weights: branch and bound over any convex relaxation (Land & Doig 1960; Beale & Forrest 1976).

The relaxation lets a semicontinuous x_i take any value in [0, u_i]; that is exactly the continuous relaxation of its
binary formulation, without the binaries. A violated x_i is branched on: x_i = 0, or x_i >= t_i. Nodes are taken
best bound first; their bounds come from the certificate, so that the reported bound is proven, not claimed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Program, RowBlock, Vector
from kernel.certificate import lower_bound
from kernel.errors import ProblemError
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

Relaxation = Callable[[Program, Settings], RawSolution]
_MET = 1e-9


@dataclass(frozen=True, slots=True)
class _Node:
    """A choice for some of the semicontinuous variables: True held, False zero."""

    choices: tuple[tuple[int, bool], ...]
    bound: float


@dataclass(slots=True)
class _Search:
    """The state of one search."""

    incumbent: RawSolution | None = None
    value: float = np.inf
    unsettled: float = np.inf  # least bound of the nodes that no solver could settle
    nodes: int = 0
    iterations: int = 0
    heap: list[tuple[float, int, _Node]] = field(default_factory=list)

    def push(self, node: _Node) -> None:
        heapq.heappush(self.heap, (node.bound, self.nodes * 2 + len(self.heap), node))

    @property
    def bound(self) -> float:
        open_nodes = self.heap[0][0] if self.heap else np.inf
        return min(self.value, open_nodes, self.unsettled)


class BranchAndBound:
    """Best-first search with a rounding heuristic at every node."""

    name = "branch and bound"

    def __init__(self, relaxation: Relaxation) -> None:
        self._relaxation = relaxation

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Search until the gap is closed, the limit is reached, or nothing is left."""
        _require_long_only(program)
        relaxed = replace(program, semicontinuous=(), integral=())
        root = self._relaxation(relaxed, settings)
        if root.status is not RawStatus.SOLVED:
            return root
        search = _Search()
        search.push(_Node((), -np.inf))
        while search.heap and not self._closed(search, settings):
            # The root is always looked at: it may already hold an answer.
            if search.nodes and (search.nodes >= settings.node_limit or settings.clock() > settings.deadline):
                return self._conclude(search, program, root, RawStatus.LIMIT)
            self._expand(search, program, heapq.heappop(search.heap)[2], settings)
        proven = self._closed(search, settings) or search.unsettled == np.inf
        return self._conclude(search, program, root, RawStatus.SOLVED if proven else RawStatus.LIMIT)

    def _closed(self, search: _Search, settings: Settings) -> bool:
        return search.incumbent is not None and search.value - search.bound <= 0.1 * settings.tolerance * max(
            abs(search.value), 1e-9
        )

    def _expand(self, search: _Search, program: Program, node: _Node, settings: Settings) -> None:
        restricted = _restrict(program, node.choices)
        raw = self._relaxation(restricted, settings)
        search.nodes += 1
        search.iterations += raw.iterations
        if raw.status is not RawStatus.SOLVED:
            if raw.status is not RawStatus.INFEASIBLE:
                search.unsettled = min(search.unsettled, node.bound)
            return
        bound = max(node.bound, lower_bound(restricted, raw.x, raw.z))
        if bound >= search.value:
            return
        violated = _violated(program, raw.x)
        if not violated:
            self._offer(search, raw, restricted)
            return
        self._round(search, program, raw.x, settings)
        branch = max(violated, key=lambda k: (violated[k], -k))
        for held in (True, False):
            search.push(_Node((*node.choices, (branch, held)), bound))

    def _round(self, search: _Search, program: Program, x: Vector, settings: Settings) -> None:
        scale = _scale(program, x)
        choices = tuple(
            (k, bool(x[v.index] >= 0.5 * v.threshold * scale)) for k, v in enumerate(program.semicontinuous)
        )
        restricted = _restrict(program, choices)
        raw = self._relaxation(restricted, settings)
        search.iterations += raw.iterations
        if raw.status is RawStatus.SOLVED:
            self._offer(search, raw, restricted)

    def _offer(self, search: _Search, raw: RawSolution, restricted: Program) -> None:
        value = restricted.objective(raw.x)
        if value < search.value:
            search.value, search.incumbent = value, raw

    def _conclude(self, search: _Search, program: Program, root: RawSolution, status: RawStatus) -> RawSolution:
        name = f"{self.name} over {root.solver}"
        if search.incumbent is None:
            unfinished = RawStatus.LIMIT if search.unsettled == np.inf else RawStatus.FAILED
            ended = RawStatus.INFEASIBLE if status is RawStatus.SOLVED else unfinished
            empty = np.full(program.size, np.nan)
            return RawSolution(ended, empty, np.zeros(len(program.b)), search.iterations, name, search.bound)
        x, z = search.incumbent.x, search.incumbent.z[: len(program.b)]
        return RawSolution(status, x, z, search.iterations, name, search.bound)


def _require_long_only(program: Program) -> None:
    for v in program.semicontinuous:
        if program.lower[v.index] < 0:
            raise ProblemError(v.name, "a smallest position needs long-only weights")


def _scale(program: Program, x: Vector) -> float:
    return 1.0 if program.kappa is None else float(x[program.kappa])


def _violated(program: Program, x: Vector) -> dict[int, float]:
    """Semicontinuous variables strictly between zero and their threshold, with the relative distance to either."""
    scale = _scale(program, x)
    distances = {
        k: min(x[v.index] / scale, v.threshold - x[v.index] / scale) / v.threshold
        for k, v in enumerate(program.semicontinuous)
    }
    return {k: d for k, d in distances.items() if d > _MET}


def _restrict(program: Program, choices: tuple[tuple[int, bool], ...]) -> Program:
    """The convex program in which every choice is made."""
    lower, upper = program.lower.copy(), program.upper.copy()
    rows: list[tuple[int, float]] = []
    for k, held in choices:
        v = program.semicontinuous[k]
        if not held:
            upper[v.index] = min(upper[v.index], 0.0)
        elif program.kappa is None:
            lower[v.index] = max(lower[v.index], v.threshold)
        else:
            rows.append((v.index, v.threshold))
    restricted = replace(program, lower=lower, upper=upper, semicontinuous=(), integral=())
    return restricted if program.kappa is None else _append_rows(restricted, rows, program.kappa)


def _append_rows(program: Program, rows: list[tuple[int, float]], kappa: int) -> Program:
    """Rows ``t kappa - x_i <= 0`` below the program's own."""
    m, start = len(rows), len(program.b)
    A = sp.lil_array((m, program.size))
    for j, (index, threshold) in enumerate(rows):
        A[j, index], A[j, kappa] = -1.0, threshold
    block = RowBlock(("held",) * m, Cone.NONNEGATIVE, start, start + m)
    stacked = sp.csr_array(sp.vstack([program.A, sp.csr_array(A)], format="csr"))
    return replace(program, A=stacked, b=np.append(program.b, np.zeros(m)), blocks=(*program.blocks, block))
