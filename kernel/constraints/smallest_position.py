"""The smallest position when held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class SmallestPosition:
    """w_i = 0 or |w_i| >= threshold, for the assets in `indices` (cash is not a position)."""

    name: str
    threshold: float
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ProblemError(self.name, f"must be above 0 and at most 1, not {self.threshold:g}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """One semicontinuous variable an asset."""
        for i in self.indices:
            builder.add_semicontinuous(self.name, i, self.threshold)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The smallest weight that is held; with nothing held the limit itself."""
        positions = np.abs(w[list(self.indices)])
        held = positions[positions > 0]
        smallest = float(held.min()) if len(held) else self.threshold
        return [Measurement(self.name, "weight", ">=", self.threshold, smallest)]
