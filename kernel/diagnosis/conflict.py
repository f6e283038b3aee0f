"""Smallest sets of limits that cannot hold together.

A deletion filter (Chinneck & Dravnieks 1991) makes a conflict irreducible: without any one of its members the others
can hold. A smallest one is then found by its dual (Ignatiev, Previti, Liffiton & Marques-Silva 2015): every conflict
meets every *correction*, a set of limits without which the others hold, so a least set that meets all corrections found
so far is no larger than the smallest conflict, and is one as soon as it conflicts. The same with the parts exchanged
finds the fewest limits that must give way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from kernel.diagnosis.elastic import NOTHING, Elastic, Outcome
from kernel.problem import Settings
from kernel.solution import Minimality

Names = frozenset[str]

# Rounds of the search for a smallest set, and programs that it may solve; mostly a handful is needed.
_ROUNDS, _PROGRAMS = 40, 200
# Of the time that is left, what one integer search may use.
_SHARE = 0.2
# Multipliers this small beside the largest are rounding.
_NEGLIGIBLE = 1e-7


@dataclass(slots=True)
class Oracle:
    """Answers whether limits can hold together, and remembers whether it ever could not tell.

    Attributes:
        settled: False once a search ended at its limit or a solver without an answer.
        solved: Programs solved so far.
    """

    elastic: Elastic
    settings: Settings
    settled: bool = True
    solved: int = 0
    _holding: dict[Names, bool] = field(default_factory=dict)
    _known: dict[tuple[Names, Names, bool], Outcome | None] = field(default_factory=dict)

    def conflict(self, names: Collection[str]) -> Names | None:
        """Limits among `names` that cannot hold together beside the hard ones; None when all of `names` can."""
        found = self.convex_conflict(names)
        if found is not None or self.elastic.is_convex:
            return found
        asked = frozenset(names)
        if asked not in self._holding:
            self.solved += 1
            holds = self.elastic.holds(self.limited(), free=frozenset(self.elastic.names) - asked)
            self.settled &= holds is not None
            self._holding[asked] = holds is not False
        return None if self._holding[asked] else asked

    def convex_conflict(self, names: Collection[str]) -> Names | None:
        """The same, were switches and lots not whole."""
        others = frozenset(self.elastic.names) - set(names)
        outcome = self.least_change(names, free=others, discrete=False)
        if outcome is None or outcome.bound <= NOTHING:
            # Every limit asked for is elastic, so that there is an answer, and one that needs no change is exact.
            self.settled &= outcome is not None and outcome.total <= self.settings.loose_tolerance
            return None
        weight = outcome.multipliers
        holding = weight > _NEGLIGIBLE * weight.max()
        return frozenset(n for n, holds in zip(self.elastic.names, holding, strict=True) if holds and n in names)

    def correction(self, held: Collection[str]) -> Names | None:
        """Limits, none of them in `held`, without which all others hold; None where there are none."""
        outcome = self.least_change(frozenset(self.elastic.names) - set(held))
        return None if outcome is None else self.changed(outcome)

    def changed(self, outcome: Outcome) -> Names:
        """The limits that give way in an outcome."""
        return frozenset(n for n, e in zip(self.elastic.names, outcome.changes, strict=True) if e > NOTHING)

    def least_change(
        self, elastic: Collection[str], *, free: Names = frozenset(), discrete: bool = True
    ) -> Outcome | None:
        """`Elastic.least_change` within the time of one search, solved once for each question."""
        question = (frozenset(elastic), free, discrete and not self.elastic.is_convex)
        if question not in self._known:
            self.solved += 1
            chosen, left_out, whole = question
            outcome = self.elastic.least_change(self.limited(), elastic=chosen, free=left_out, discrete=whole)
            self._known[question] = outcome
        return self._known[question]

    def limited(self) -> Settings:
        """Settings for one of many integer searches."""
        now = self.settings.clock()
        return replace(self.settings, deadline=now + _SHARE * max(self.settings.deadline - now, 0.0))

    @property
    def has_time(self) -> bool:
        """Whether the deadline lies ahead."""
        return self.settings.clock() < self.settings.deadline


def irreducible(oracle: Oracle, members: Collection[str]) -> Names:
    """A conflict inside the conflict `members` that is none without any one of its limits.

    Limits are left out in growing groups as long as a conflict remains, in shrinking ones when none does. Where every
    question is an integer search, limits alike, such as ``max_weights[A]``, are first left out all at once.
    """
    remaining = sorted(members)
    if not oracle.elastic.is_convex:
        for kind in sorted({family(name) for name in remaining}):
            rest = [name for name in remaining if family(name) != kind]
            found = oracle.conflict(rest) if oracle.has_time else None
            remaining = remaining if found is None else [name for name in rest if name in found]
    return _filtered(oracle, remaining)


def _filtered(oracle: Oracle, members: Sequence[str]) -> Names:
    pending, needed, group = list(members), list[str](), 1
    while pending and oracle.has_time:
        rest = [*needed, *pending[group:]]
        found = oracle.conflict(rest)
        if found is not None:
            pending, group = [name for name in pending[group:] if name in found], 2 * group
        elif group > 1:
            group = max(1, group // 4)
        else:
            needed.append(pending.pop(0))
    return frozenset([*needed, *pending])


def family(name: str) -> str:
    """What limits alike have in common: the name without the asset or group that it is for."""
    return name.split("[", maxsplit=1)[0]


def smallest_conflict(oracle: Oracle, members: Collection[str]) -> tuple[Names, Minimality]:
    """A conflict with as few limits as possible, from a first one, and what is proven of it."""
    first = irreducible(oracle, members)
    confirmed = len(first) < len(members) or oracle.conflict(first) is not None
    if not (confirmed and oracle.has_time and oracle.settled):
        return first, Minimality.UNPROVEN
    corrections: list[Names] = []
    for _ in range(_ROUNDS):
        least = _least_hitting(corrections)
        if len(least) >= len(first):
            return first, Minimality.SMALLEST
        correction = oracle.correction(least)
        if correction is None and oracle.settled and oracle.conflict(least) is not None:
            return least, Minimality.SMALLEST
        if not correction or not oracle.has_time:
            break
        corrections.append(correction)
    return first, Minimality.IRREDUCIBLE


def fewest_changes(oracle: Oracle, conflict: Names) -> tuple[Names, list[Names]] | None:
    """The fewest limits without which all others hold, and the conflicts that every such choice has to meet.

    None where the search was stopped before it knew.
    """
    conflicts, most = [conflict], oracle.solved + _PROGRAMS
    while len(conflicts) <= _ROUNDS and oracle.solved <= most:
        least = _least_hitting(conflicts)
        found = oracle.conflict(set(oracle.elastic.names) - least)
        if not (oracle.has_time and oracle.settled):
            break
        if found is None:
            return least, conflicts
        conflicts.append(irreducible(oracle, found))
    return None


def pruned(oracle: Oracle, correction: Names) -> Names:
    """A part of the correction `correction` that is none without any one of its limits."""
    needed = correction
    for name in sorted(correction):
        if oracle.has_time and oracle.least_change(needed - {name}) is not None:
            needed -= {name}
    return needed


def _least_hitting(sets: Sequence[Names]) -> Names:
    """A least set that has a member in common with each of `sets`."""
    names = sorted(frozenset().union(*sets))
    if not names:
        return frozenset()
    meets = np.array([[float(name in each) for name in names] for each in sets])
    answer = milp(
        np.ones(len(names)),
        integrality=np.ones(len(names), dtype=np.int64),
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(meets, lb=1.0),
    )
    assert answer.x is not None, "taking every name meets every set"
    return frozenset(name for name, chosen in zip(names, answer.x, strict=True) if chosen > 0.5)
