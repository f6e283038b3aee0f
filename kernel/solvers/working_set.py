"""Large programs by small ones: only promising weights, and only groups of scenarios, until nothing else pays.

Most weights of a large universe end at zero, and most scenarios far from their kink. So the program is solved on some
of the weights (the others at their lower bound) with the scenarios in groups. The reduced costs of the full program
then tell which excluded weights would improve the answer, and the returns which groups lie on both sides of their
kink: those come in and are split. The answer of the last round is the full program's own, with its multipliers.

References: Dantzig & Wolfe (1960) for the pricing of columns; `kernel.solvers.partition` for the scenarios.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import DEFINITION, Cone, Mask, Program, Vector
from kernel.certificate import reduced_costs
from kernel.problem import Settings
from kernel.quadratic import Indices
from kernel.solvers.base import RawSolution, RawStatus
from kernel.solvers.hinge_sets import GroupedHinges, HingeSet, ReplacedHinges, WholeHinges
from kernel.solvers.lifting import is_lean
from kernel.solvers.partition import Partition, common_weights
from kernel.solvers.restriction import Hinges
from kernel.solvers.short_rows import charged, entangled

SolveWhole = Callable[[Program, Settings], RawSolution]

_ROUNDS = 40
# Below these sizes the program itself is as quick as its parts.
_FEWEST_WEIGHTS = 150
_FEWEST_HINGES = 300
_MANY_HINGES = 4_000
# The same where the quadratic part is of low rank, of which the whole costs little more than its parts.
_FEWEST_LEAN = 800
# If more than this share of the excluded weights of such a program would pay, most are held: then it is solved whole.
_MANY_PAYING = 0.5
_SHORTEST_ROWS = 8
# Of n weights 4 sqrt(n) are looked at first, and up to half as many come in a round.
_FIRST = 4.0
_LARGEST_PART = 0.6
_MOST_EQUATIONS = 50
# What a working set may leave of the relative gap.
_SHARE_OF_TOLERANCE = 1e-4
_SMALLEST_SIZE = 1e-9
# The first look is at a sample of the scenarios, in which one stands for so many.
_SAMPLED = 8
_ROUGH = 1e-2
_HELD = 1e-9


@dataclass(slots=True)
class _Search:
    """A program and what of it is looked at.

    Attributes:
        hinges: How its hinges are looked at.
        ranked: The variables that may be excluded, most promising first.
        excluded: (N,) those that are.
        tangled: Whether weights come with rows of their own.
        lean: Whether the whole is solved at the first sign that parts do not pay.
    """

    program: Program
    hinges: HingeSet
    ranked: Indices
    excluded: Mask
    tangled: bool
    lean: bool

    def admit(self, chosen: Indices) -> None:
        """Let `chosen`, the best first, into the part; not all at once, but for those of a lean program."""
        left = int(self.excluded.sum())
        if self.lean and len(chosen) > _MANY_PAYING * left:
            self.excluded[:] = False
        batch = len(self.ranked) - left if self.lean else int(0.5 * _FIRST * np.sqrt(len(self.ranked))) + 1
        self.excluded[chosen[:batch]] = False


def solve_on_working_set(
    program: Program, settings: Settings, start: Vector | None, solve: SolveWhole
) -> RawSolution | None:
    """The full program's solution by way of `solve` on parts of it; None where that does not pay or did not end."""
    search = _begin(program, settings, start, solve)
    if search is None:
        return None
    iterations = failures = 0
    for _ in range(_ROUNDS):
        raw, complete = _look(search, settings, solve)
        iterations += raw.iterations
        if complete:
            return replace(raw, iterations=iterations)
        left = int(search.excluded.sum())
        if raw.status is not RawStatus.SOLVED:
            failures += 1
            if failures > 1 or not left or search.lean:
                return None
            search.excluded[search.ranked[: 2 * (len(search.ranked) - left)]] = False
        if left < (1.0 - _LARGEST_PART) * len(search.ranked):
            search.excluded[:] = False
    return None


def _look(search: _Search, settings: Settings, solve: SolveWhole) -> tuple[RawSolution, bool]:
    """One round: the part's solution in the terms of the full program, and whether it solves that."""
    part = search.hinges.part(search.excluded)
    raw = solve(part.program, settings)
    if raw.status is not RawStatus.SOLVED:
        return raw, False
    x, z = part.expand(raw.x, raw.z)
    if search.tangled:
        z = charged(search.program, x, z, search.excluded)
    right = search.hinges.refine(x, settings)
    least = max(abs(part.program.objective(raw.x)), _SMALLEST_SIZE) * _SHARE_OF_TOLERANCE * settings.tolerance
    paying = _price(search, x, z, least)
    return replace(raw, x=x, z=z), right and not paying


def _price(search: _Search, x: Vector, z: Vector, least: float) -> bool:
    """Let in the excluded variables whose reduced costs promise a gain of more than `least`; whether there are any."""
    program = search.program
    excluded = np.flatnonzero(search.excluded)
    r = reduced_costs(program, x, z)[excluded]
    reach = 10.0 * max(1.0, float(np.abs(x[search.ranked]).max(initial=0.0)))
    gain = -r * np.minimum(program.upper[excluded] - program.lower[excluded], reach)
    paying = np.flatnonzero(gain > least)
    search.admit(excluded[paying[np.argsort(r[paying], kind="stable")]])
    return bool(len(paying))


def _begin(program: Program, settings: Settings, start: Vector | None, solve: SolveWhole) -> _Search | None:
    """The first working set; None for a program that is small enough, or of another shape than helps."""
    hinges = Hinges.of(program)
    eligible = np.array(sorted(i for i in program.lower_names if program.lower[i] >= 0.0), dtype=np.intp)
    lean = is_lean(program.P) and not program.hinges
    if len(eligible) < (_FEWEST_LEAN if lean else _FEWEST_WEIGHTS):
        eligible = eligible[:0]
    many = _many(program, hinges)
    if not len(eligible) and not many:
        return None
    weights = common_weights(program, hinges) if many else None
    if start is not None and start.shape != (program.size,):
        start = None
    x = _reference(program) if start is None else start
    if start is None and weights is not None and hinges.count >= _MANY_HINGES:
        start = _coarse(program, settings, x, hinges, solve)
        x = x if start is None else start
    wanted, tangled = entangled(program, eligible)
    ranked, first = _rank(program, hinges, eligible, x, wanted, given=start is not None)
    excluded = np.zeros(program.size, dtype=bool)
    excluded[ranked[first:]] = True
    looked_at = _hinge_set(program, hinges, weights, x, many=many)
    return _Search(program, looked_at, ranked, excluded, tangled, lean)


def _hinge_set(program: Program, hinges: Hinges, weights: Vector | None, x: Vector, *, many: bool) -> HingeSet:
    if weights is not None:
        return GroupedHinges.around(program, hinges, weights, x)
    return ReplacedHinges.around(program, hinges, x) if many else WholeHinges(program, hinges)


def _many(program: Program, hinges: Hinges) -> bool:
    """Whether the hinges are many and their rows long."""
    entries = sum(int(program.A.indptr[h.rows.stop] - program.A.indptr[h.rows.start]) for h in program.hinges)
    return hinges.count >= _FEWEST_HINGES and entries >= _SHORTEST_ROWS * hinges.count


def _coarse(program: Program, settings: Settings, x: Vector, hinges: Hinges, solve: SolveWhole) -> Vector | None:
    """A solution for a sample of the scenarios, evenly spread over their order at x; None where there is none."""
    order = np.lexsort((hinges.kinks(program, x), hinges.families))
    groups = np.empty(hinges.count, dtype=np.intp)
    another = np.diff(hinges.families[order], prepend=0) > 0
    groups[order] = np.cumsum((np.arange(hinges.count) % _SAMPLED == 0) | another) - 1
    sample = Partition.by_sample(program, hinges, groups)
    rough = replace(settings, tolerance=_ROUGH)
    raw = solve_on_working_set(sample.program, rough, None, solve) or solve(sample.program, rough)
    return sample.expand(raw.x, raw.z)[0] if raw.status is RawStatus.SOLVED else None


def _rank(
    program: Program, hinges: Hinges, eligible: Indices, x: Vector, wanted: Mask, *, given: bool
) -> tuple[Indices, int]:
    """The eligible variables, most promising first and `wanted` ones before them, and how many to begin with."""
    gradient = _gradient(program, hinges, x, given=given)
    held = given & (x[eligible] > program.lower[eligible] + _HELD)
    price = _priced(program, gradient, eligible[held] if held.any() else eligible)
    held |= wanted[eligible]
    first = int(_FIRST * np.sqrt(len(eligible)))
    return eligible[np.lexsort((price[eligible], ~held))], max(first, int(held.sum()) + first // 2)


def _equations(program: Program) -> Indices:
    """The equations that somebody posed."""
    rows = [
        np.arange(block.start, block.stop)
        for block in program.blocks
        if block.cone is Cone.ZERO and DEFINITION not in block.names
    ]
    return np.concatenate([np.zeros(0, dtype=np.intp), *rows])[:_MOST_EQUATIONS]


def _reference(program: Program) -> Vector:
    """The smallest solution of the equations, moved within the bounds."""
    rows = _equations(program)
    A = program.A[rows].toarray()
    x = np.linalg.lstsq(A, program.b[rows])[0]
    return np.asarray(np.clip(x, program.lower, program.upper))


def _gradient(program: Program, hinges: Hinges, x: Vector, *, given: bool) -> Vector:
    """The objective's gradient, hinges included: those beyond their kink, or where x is a guess, the worst tenth."""
    gradient = program.q + program.quadratic(x)
    if hinges.count:
        z, kinks = np.zeros(len(program.b)), hinges.kinks(program, x)
        beyond = kinks > (0.0 if given else np.quantile(kinks, 0.9))
        z[hinges.rows] = np.where(beyond, program.q[hinges.variables], 0.0)
        gradient = gradient + program.A.T @ z
    return np.asarray(gradient)


def _priced(program: Program, gradient: Vector, over: Indices) -> Vector:
    """Reduced costs, with the multipliers of the equations that make those `over` some variables smallest."""
    A = program.A[_equations(program)]
    multipliers = np.linalg.lstsq(A[:, over].toarray().T, -gradient[over])[0]
    return np.asarray(gradient + A.T @ multipliers)
