"""Whole lots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class WholeLots:
    """w_i is a whole multiple of steps_i, the weight of one lot at today's price and value; cash takes the rest.

    Attributes:
        steps: (n,) weight of one lot, > 0 at the indices.
        indices: The assets that trade in lots.

    Raises:
        ProblemError: A lot has no weight.
    """

    name: str
    steps: Vector
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        for i in self.indices:
            if not (np.isfinite(self.steps[i]) and self.steps[i] > 0.0):
                raise ProblemError(
                    self.name, f"the lot of asset {i} must have a positive weight, not {self.steps[i]:g}"
                )

    def add_to(self, builder: ProgramBuilder) -> None:
        """One integral weight an asset."""
        for i in self.indices:
            builder.add_integral(self.name, i, float(self.steps[i]))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The largest distance to a whole number of lots, in weight."""
        if not self.indices:
            return []
        held, steps = w[list(self.indices)], self.steps[list(self.indices)]
        distance = np.abs(held - steps * np.round(held / steps))
        return [Measurement(self.name, "weight", "<=", 0.0, float(distance.max()))]
