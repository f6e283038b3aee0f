"""Turnover."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Vector
from kernel.constraints.base import Measurement


@dataclass(frozen=True, slots=True)
class TurnoverLimit:
    """factor * sum |w - w0| <= limit, cash included.

    Attributes:
        w0: (n,) current, drifted weights.
        factor: 1/2 for the one-way definition, 1 for the two-way.
    """

    name: str
    limit: float
    w0: Vector
    factor: float = 0.5

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row over the shared variables t >= |w - w0|."""
        t = builder.absolute_change(self.w0)
        row = np.full((1, builder.n), self.factor)
        builder.add_rows((self.name,), Cone.NONNEGATIVE, [(t, row)], np.array([self.limit]))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The turnover of going from w0 to w."""
        return [Measurement(self.name, "turnover", "<=", self.limit, self.factor * float(np.abs(w - self.w0).sum()))]
