"""The discrete rules of a program: where a point breaks them, and the choices that exclude it.

A switch z that is linked to a variable, ``x <= r z``, speaks for it: it is on exactly when x is not zero. A smallest
position of x then means ``x = 0 and z = 0, or x >= t and z = 1``, so that one choice settles both rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kernel.canonical import Program, SemiContinuous, Vector
from kernel.solvers.fixing import Choice
from kernel.solvers.switches import Box, Switches

Choices = tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Levels:
    """How a point stands to every rule, first the integral variables and then the semicontinuous ones.

    Attributes:
        down: (r,) distance to the value below: the next multiple, or zero; in steps or thresholds.
        up: (r,) distance to the value above.
    """

    down: Vector
    up: Vector

    @property
    def broken(self) -> Vector:
        """(r,) distance to the nearer of the two, 0 where the rule is met."""
        return np.minimum(self.down, self.up)


class Rules:
    """The rules of one program."""

    def __init__(self, program: Program, switches: Switches, box: Box) -> None:
        self.switches = switches
        self.integral = np.array([v.index for v in program.integral], dtype=np.intp)
        self.steps = np.array([v.step for v in program.integral])
        self.semicontinuous = program.semicontinuous
        self._positions = np.array([v.index for v in program.semicontinuous], dtype=np.intp)
        self._thresholds = np.array([v.threshold for v in program.semicontinuous])
        self._speaks_for = {z: x for x, z in switches.links.items()}
        self._long_at = {v.index: v for v in program.semicontinuous if box.lower[v.index] >= 0.0}

    def levels(self, y: Vector) -> Levels:
        """How y (N,), relative, stands to the rules."""
        multiples = y[self.integral] / self.steps
        below = multiples - np.floor(multiples)
        sizes = np.abs(y[self._positions]) / self._thresholds
        held = sizes >= 1.0
        return Levels(
            np.concatenate([below, np.where(held, 0.0, sizes)]),
            np.concatenate([np.where(below > 0.0, 1.0 - below, 0.0), np.where(held, 0.0, 1.0 - sizes)]),
        )

    def branches(self, rule: int, y: Vector, box: Box) -> Iterator[tuple[bool, Choices]]:
        """The choices that take the place of y's broken rule, and whether each goes up."""
        if rule < len(self.integral):
            index, step = int(self.integral[rule]), float(self.steps[rule])
            below = step * float(np.floor(y[index] / step))
            yield False, (Choice(index, upper=below),)
            yield True, self._with_threshold(Choice(index, lower=below + step))
            return
        position = self.semicontinuous[rule - len(self.integral)]
        yield False, self.dropped(position)
        if box.lower[position.index] < 0.0:
            yield True, (Choice(position.index, upper=-position.threshold),)
        yield True, self.held(position)

    def dropped(self, position: SemiContinuous) -> Choices:
        """Nothing is held."""
        choice, link = Choice(position.index, 0.0, 0.0), self.switches.links.get(position.index)
        return (choice,) if link is None else (choice, Choice(link, upper=0.0))

    def held(self, position: SemiContinuous) -> Choices:
        """At least the threshold is held long."""
        return (Choice(position.index, lower=position.threshold),)

    def switch(self, index: int, *, on: bool) -> Choices:
        """A switch is on or off."""
        return self._with_threshold(Choice(index, lower=1.0)) if on else (Choice(index, upper=0.0),)

    def _with_threshold(self, choice: Choice) -> Choices:
        position = self._long_at.get(self._speaks_for.get(choice.index, -1))
        return (choice,) if position is None else (choice, *self.held(position))
