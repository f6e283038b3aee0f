"""Mixed-integer programs by branch and bound over any convex relaxation (Land & Doig 1960; Beale & Forrest 1976).

The relaxation lets integral variables take any value and semicontinuous ones any value in [0, u]; that is exactly the
continuous relaxation of their binary formulation, without the binaries. A broken rule is branched on. Nodes are taken
best bound first; their bounds come from the certificate, so that the reported bound is proven, not claimed. Rules are
chosen by pseudo-costs: what excluding a value has cost so far (Benichou et al. 1971). Linear programs go to HiGHS.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from kernel.canonical import Program, Vector
from kernel.certificate import lower_bound, reduced_costs, violation
from kernel.problem import Settings
from kernel.quadratic import Indices
from kernel.solvers import highs_mip
from kernel.solvers.base import RawSolution, RawStatus
from kernel.solvers.branching import Choices, Levels, Rules
from kernel.solvers.fixing import Choice, Fixing
from kernel.solvers.rounding import Rounding
from kernel.solvers.switches import Box

Relaxation = Callable[[Program, Settings], RawSolution]
NAME = "branch and bound"
# Distances, in steps or thresholds, up to which a rule is met but for the solver's rounding; and but for arithmetic.
_MET, _EXACT = 1e-7, 1e-11
_FEASIBLE = 1e-9
_ROUND_EVERY = 8
_DIVE_PART = 3
_SWAPS, _SWAPPED = 40, 5


@dataclass(frozen=True, slots=True)
class _Node:
    """Choices that are made, and what is known before they are solved.

    Attributes:
        bound: Of the node above.
        rule: The rule that was branched on, -1 at the root.
        up: To which side, and `distance` how far the point above was from it.
    """

    choices: Choices = ()
    bound: float = -np.inf
    rule: int = -1
    up: bool = False
    distance: float = 1.0


@dataclass(frozen=True, slots=True)
class _Point:
    """A solved node: x and z in the terms of the full program, y relative, and the node's bound."""

    raw: RawSolution
    y: Vector
    bound: float
    box: Box


@dataclass(slots=True)
class _PseudoCosts:
    """Mean rise of the bound per unit of distance, by rule and side."""

    sums: Vector
    counts: Vector

    @classmethod
    def of(cls, rules: int) -> _PseudoCosts:
        """Nothing is known yet."""
        return cls(np.zeros((2, rules)), np.zeros((2, rules)))

    def learn(self, node: _Node, bound: float) -> None:
        """A child's bound has become known."""
        if node.rule >= 0 and np.isfinite(node.bound):
            self.sums[int(node.up), node.rule] += max(bound - node.bound, 0.0) / max(node.distance, _MET)
            self.counts[int(node.up), node.rule] += 1

    def choose(self, levels: Levels, least: float) -> int | None:
        """The broken rule whose sides promise most, by the product of both; None when none is broken by `least`."""
        broken = np.flatnonzero(levels.broken > least)
        if not len(broken):
            return None
        known = self.counts > 0
        average = self.sums[known].sum() / self.counts[known].sum() if known.any() else 1.0
        cost = np.where(known, self.sums / np.maximum(self.counts, 1.0), average)[:, broken]
        floor = _MET * max(average, np.finfo(float).tiny)
        gains = np.maximum(cost * np.stack([levels.down[broken], levels.up[broken]]), floor)
        return int(broken[np.argmax(gains[0] * gains[1])])


@dataclass(slots=True)
class _Search:
    """The state of one search."""

    program: Program
    settings: Settings
    fixing: Fixing
    rules: Rules
    rounding: Rounding
    costs: _PseudoCosts
    incumbent: RawSolution | None = None
    value: float = np.inf
    set_aside: float = np.inf  # least bound of the nodes that were closed without being beaten
    failed: bool = False  # whether some node could not be settled by any solver
    nodes: int = 0
    pushed: int = 0
    iterations: int = 0
    tried: set[int] = field(default_factory=set)  # hashes: the choices themselves would fill the memory
    heap: list[tuple[float, int, _Node]] = field(default_factory=list)

    @classmethod
    def of(cls, program: Program, settings: Settings) -> _Search:
        fixing = Fixing(program)
        rules = Rules(program, fixing.switches, fixing.box)
        count = len(program.integral) + len(program.semicontinuous)
        return cls(program, settings, fixing, rules, Rounding(rules, fixing.rows, program.q), _PseudoCosts.of(count))

    def push(self, node: _Node) -> None:
        """Of nodes with the same bound the youngest is taken first."""
        self.pushed += 1
        heapq.heappush(self.heap, (node.bound, -self.pushed, node))

    def set_bound_aside(self, bound: float) -> None:
        """A closed node's bound still counts."""
        self.set_aside = min(self.set_aside, bound)

    @property
    def bound(self) -> float:
        return min(self.value, self.heap[0][0] if self.heap else np.inf, self.set_aside)

    @property
    def cutoff(self) -> float:
        """A bound from which on a node cannot improve the incumbent by more than the tolerance."""
        return self.value - 0.1 * self.settings.tolerance * max(abs(self.value), 1e-9) if self.incumbent else np.inf

    @property
    def closed(self) -> bool:
        return self.bound >= self.cutoff

    @property
    def late(self) -> bool:
        return self.nodes >= self.settings.node_limit or self.settings.clock() > self.settings.deadline


class BranchAndBound:
    """Best-first search with rounding heuristics."""

    name = NAME

    def __init__(self, relaxation: Relaxation) -> None:
        self._relaxation = relaxation

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Search until the gap is closed, the limit is reached, or nothing is left."""
        search = _Search.of(program, settings)
        root = self._point(search, ())
        if root.raw.status is not RawStatus.SOLVED:
            return root.raw
        # The root is always looked at: it may already hold an answer.
        self._branch(search, _Node(), root)
        self._dive(search, root)
        if not search.closed and not search.late and highs_mip.accepts(program):
            answer = self._by_cuts(search, root)
            if answer is not None:
                return answer
        self._improve(search)
        solver = f"{self.name} over {root.raw.solver}"
        while search.heap and not search.closed:
            if search.late:
                return self._conclude(search, solver, RawStatus.LIMIT)
            self._expand(search, heapq.heappop(search.heap)[2])
        proven = search.closed or not search.failed
        return self._conclude(search, solver, RawStatus.SOLVED if proven else RawStatus.LIMIT)

    def _point(self, search: _Search, choices: Choices) -> _Point:
        """The relaxation with the choices made, in the full program's terms."""
        program = search.program
        empty = np.full(program.size, np.nan)
        reduced = search.fixing.reduce(choices)
        if reduced is None:
            nothing = RawSolution(RawStatus.INFEASIBLE, empty, np.zeros(len(program.b)), 0, "choices")
            return _Point(nothing, empty, np.inf, search.fixing.box)
        raw = self._solved(reduced.program, search.settings)
        search.iterations += raw.iterations
        if raw.status is not RawStatus.SOLVED:
            failed = RawSolution(raw.status, empty, np.zeros(len(program.b)), raw.iterations, raw.solver)
            return _Point(failed, empty, np.inf if raw.status is RawStatus.INFEASIBLE else -np.inf, reduced.box)
        bound = lower_bound(reduced.program, raw.x, raw.z)
        x, z = reduced.expand(raw.x, raw.z)
        y = search.fixing.relative(x, reduced.box)
        return _Point(RawSolution(raw.status, x, z, raw.iterations, raw.solver), y, bound, reduced.box)

    def _solved(self, program: Program, settings: Settings) -> RawSolution:
        if program.size:
            return self._relaxation(program, settings)
        nothing = np.zeros(0)
        held = violation(program, nothing) <= _FEASIBLE
        status = RawStatus.SOLVED if held else RawStatus.INFEASIBLE
        return RawSolution(status, nothing, np.zeros(len(program.b)), 0, "choices")

    def _expand(self, search: _Search, node: _Node) -> None:
        point = self._point(search, node.choices)
        search.nodes += 1
        if point.raw.status is RawStatus.INFEASIBLE:
            return
        if point.raw.status is not RawStatus.SOLVED:
            search.failed = True
            search.set_bound_aside(node.bound)
            return
        search.costs.learn(node, point.bound)
        self._branch(search, node, point)

    def _branch(self, search: _Search, node: _Node, point: _Point) -> None:
        """Close a solved node, or push its children."""
        bound = max(node.bound, point.bound)
        if bound >= search.cutoff:
            search.set_bound_aside(bound)
            return
        levels = search.rules.levels(point.y)
        rule = search.costs.choose(levels, _MET)
        if rule is None or search.nodes % _ROUND_EVERY == 0:
            self._round(search, point)
            if bound >= search.cutoff:
                search.set_bound_aside(bound)
                return
        rule = search.costs.choose(levels, _EXACT) if rule is None else rule
        if rule is None:
            search.set_bound_aside(bound)
            return
        for up, choices in search.rules.branches(rule, point.y, point.box):
            distance = float((levels.up if up else levels.down)[rule])
            search.push(_Node((*node.choices, *choices), bound, rule, up, distance))

    def _round(self, search: _Search, point: _Point) -> None:
        for choices in search.rounding.proposals(point.y):
            self._try(search, choices)

    def _try(self, search: _Search, choices: Choices) -> bool:
        """Whether a complete choice, not tried before, gives a better incumbent."""
        key = hash(choices)
        if key in search.tried:
            return False
        search.tried.add(key)
        point = self._point(search, choices)
        if point.raw.status is not RawStatus.SOLVED or not self._offer(search, point.raw):
            return False
        # What this choice leaves unused need not stay on.
        self._try(search, search.rounding.kept(point.y))
        return True

    def _offer(self, search: _Search, raw: RawSolution) -> bool:
        value = search.program.objective(raw.x)
        if not value < search.value:
            return False
        search.value, search.incumbent = value, raw
        return True

    def _dive(self, search: _Search, root: _Point) -> None:
        """Lots: fix the third that is nearest to whole lots, solve for the rest, and so on (Berthold 2006)."""
        rules = search.rules
        lots = np.flatnonzero(~rules.switches.mask[rules.integral])
        point: _Point | None = root
        choices: Choices = ()
        while len(lots) and point is not None and not search.late:
            multiples = point.y[rules.integral[lots]] / rules.steps[lots]
            order = np.argsort(np.abs(multiples - np.round(multiples)), kind="stable")
            chosen = order[: max(1, len(lots) // _DIVE_PART)]
            made = (choices, rules.integral[lots[chosen]], rules.steps[lots[chosen]], multiples[chosen])
            point, choices = self._fix_lots(search, *made)
            lots = np.delete(lots, chosen)
        if point is not None and point is not root:
            self._round(search, point)

    def _fix_lots(
        self, search: _Search, choices: Choices, indices: Indices, steps: Vector, multiples: Vector
    ) -> tuple[_Point | None, Choices]:
        """Fix lots at the nearest whole numbers, or else at those on the other side; None when neither works."""
        nearest = np.round(multiples)
        for counts in (nearest, np.where(multiples >= nearest, nearest + 1.0, nearest - 1.0)):
            fixed = tuple(Choice(i, v, v) for i, v in zip(indices.tolist(), (steps * counts).tolist(), strict=True))
            point = self._point(search, (*choices, *fixed))
            if point.raw.status is RawStatus.SOLVED:
                return point, (*choices, *fixed)
        return None, choices

    def _improve(self, search: _Search) -> None:
        """Swap positions as long as that helps."""
        for _ in range(_SWAPS):
            if search.incumbent is None or search.late or search.closed or not self._swap(search, search.incumbent):
                return

    def _swap(self, search: _Search, incumbent: RawSolution) -> bool:
        """Whether one of the least positions gave way to one of those that the multipliers praise most."""
        links = search.fixing.switches.links
        y = search.fixing.relative(incumbent.x, search.fixing.box)
        r = reduced_costs(search.program, incumbent.x, incumbent.z)
        lower = search.fixing.box.lower
        on = {switch for x, switch in links.items() if y[x] != 0.0}
        held = sorted((x for x, z in links.items() if z in on), key=lambda x: abs(y[x]))
        praised = sorted(
            (x for x, z in links.items() if z not in on), key=lambda x: r[x] if lower[x] >= 0.0 else -abs(r[x])
        )
        for entering in praised[:_SWAPPED]:
            for leaving in held[:_SWAPPED]:
                changed = (on - {links[leaving]}) | {links[entering]}
                if search.rounding.allows(changed) and self._try(search, search.rounding.around(y, changed)):
                    return True
        return False

    def _by_cuts(self, search: _Search, root: _Point) -> RawSolution | None:
        """HiGHS' answer, its discrete variables fixed and the rest solved once more; None when it has none."""
        start = None if search.incumbent is None else search.incumbent.x
        answer = highs_mip.solve_mixed(search.program, search.settings, start)
        if answer.status is RawStatus.FAILED:
            return None
        search.nodes += answer.nodes
        if answer.x is not None:
            self._round(search, replace(root, y=search.fixing.switches.settle(answer.x)))
        search.heap.clear()
        ended = answer.status
        if ended is RawStatus.INFEASIBLE:
            ended = RawStatus.SOLVED
        else:
            search.set_bound_aside(max(root.bound, answer.bound))
        return self._conclude(search, highs_mip.NAME, ended)

    def _conclude(self, search: _Search, solver: str, status: RawStatus) -> RawSolution:
        if search.incumbent is not None:
            x, z = search.incumbent.x, search.incumbent.z
            return RawSolution(status, x, z, search.iterations, solver, search.bound)
        empty, zeros = np.full(search.program.size, np.nan), np.zeros(len(search.program.b))
        unfinished = RawStatus.FAILED if search.failed else RawStatus.LIMIT
        proven = status is RawStatus.SOLVED and search.set_aside == np.inf
        ended = RawStatus.INFEASIBLE if proven else unfinished
        return RawSolution(ended, empty, zeros, search.iterations, solver, search.bound)
