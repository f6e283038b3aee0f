"""How the hinges of a large program are looked at: as they are, in groups, or each by one of its two pieces.

Each way makes a part of the program that is a relaxation as far as the hinges go, and learns from the part's solution
where it was wrong; a part that is wrong nowhere has the full program's own solution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernel.canonical import Mask, Program, Vector
from kernel.problem import Settings
from kernel.quadratic import Indices
from kernel.solvers.partition import Partition, grouped, refined
from kernel.solvers.restriction import Hinges, Restriction, WorkingSet

# Scenarios begin in so many groups a side; so many groups, or the root of the scenarios' number, are split a round.
_GROUPS = 60
_FEWEST_SPLITS = 60
_SHORT = 1e-5
# A hinge that changed its side so often is looked at whole.
_RESTLESS = 3
_AT_THE_KINK = 1e-4


@dataclass(frozen=True, slots=True)
class Part:
    """A smaller program, and what brings its solutions (x, z) into the terms of the full one."""

    program: Program
    expand: Callable[[Vector, Vector], tuple[Vector, Vector]]


class HingeSet(Protocol):
    """One way of looking at hinges."""

    def part(self, excluded: Mask) -> Part:
        """The part without the `excluded` variables."""

    def refine(self, x: Vector, settings: Settings) -> bool:
        """Learn from the part's solution x (N,) in the full program's terms; whether it was right already."""


@dataclass(slots=True)
class WholeHinges:
    """Hinges as they are."""

    program: Program
    hinges: Hinges

    def part(self, excluded: Mask) -> Part:
        """All of them."""
        none = np.zeros(self.hinges.count, dtype=bool)
        restriction = Restriction(self.program, self.hinges, WorkingSet(excluded, none, none))
        return Part(restriction.program, restriction.expand)

    def refine(self, x: Vector, settings: Settings) -> bool:
        """Nothing to learn."""
        del x, settings
        return True


@dataclass(slots=True)
class GroupedHinges:
    """Hinges in groups that are split until none has members on both sides of zero.

    Attributes:
        weights: (H,) with which the hinges enter.
        groups: (H,) labels.
    """

    program: Program
    hinges: Hinges
    weights: Vector
    groups: Indices

    @classmethod
    def around(cls, program: Program, hinges: Hinges, weights: Vector, x: Vector) -> GroupedHinges:
        """Groups by the hinges' order at x."""
        return cls(program, hinges, weights, grouped(hinges.kinks(program, x), hinges.families, _GROUPS))

    def part(self, excluded: Mask) -> Part:
        """One hinge a group."""
        whole = WholeHinges(self.program, self.hinges).part(excluded)
        partition = Partition.by_means(whole.program, Hinges.of(whole.program), self.groups, self.weights)

        def expand(x: Vector, z: Vector) -> tuple[Vector, Vector]:
            return whole.expand(*partition.expand(x, z))

        return Part(partition.program, expand)

    def refine(self, x: Vector, settings: Settings) -> bool:
        """Split the groups that fall short of their members by most."""
        most = max(_FEWEST_SPLITS, int(np.sqrt(self.hinges.count)))
        weighted = self.weights * self.hinges.kinks(self.program, x)
        self.groups, short = refined(self.groups, weighted, most)
        return short <= _SHORT * settings.tolerance


@dataclass(slots=True)
class ReplacedHinges:
    """Hinges each replaced by the piece on whose side it was last, as Newton's method does for piecewise forms.

    Attributes:
        inside: (H,) True for hinges beyond their kink.
        changes: (H,) how often each changed its side.
    """

    program: Program
    hinges: Hinges
    inside: Mask
    changes: Indices

    @classmethod
    def around(cls, program: Program, hinges: Hinges, x: Vector) -> ReplacedHinges:
        """Pieces by the hinges' sides at x."""
        return cls(program, hinges, hinges.kinks(program, x) > 0.0, np.zeros(hinges.count, dtype=np.intp))

    def part(self, excluded: Mask) -> Part:
        """The pieces, and whole those that cannot settle."""
        settled = self.changes < _RESTLESS
        working = WorkingSet(excluded, settled & ~self.inside, settled & self.inside)
        restriction = Restriction(self.program, self.hinges, working)
        return Part(restriction.program, restriction.expand)

    def refine(self, x: Vector, settings: Settings) -> bool:
        """Change the sides of those that are on the wrong one."""
        kinks = self.hinges.kinks(self.program, x)
        rounding = _AT_THE_KINK * settings.tolerance * float(np.abs(kinks).max(initial=0.0))
        wrong = np.where(self.inside, kinks < -rounding, kinks > rounding)
        self.inside[wrong] = ~self.inside[wrong]
        settled = self.changes < _RESTLESS
        self.changes[wrong] += 1
        return not (wrong & settled).any()
