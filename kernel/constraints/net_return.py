"""A floor under the expected return that is left after costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Vector
from kernel.constraints.base import Measurement
from kernel.costs import Deduction


@dataclass(frozen=True, slots=True)
class NetReturnFloor:
    """mu'w - cost(w) >= floor, annual.

    Attributes:
        mu: (n,) expected returns.
        cost: None where trading is free.
    """

    name: str
    mu: Vector
    floor: float
    cost: Deduction | None = None

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row ``-mu'w + cost <= -floor``."""
        costs = [] if self.cost is None else self.cost.form(builder)
        offset = 0.0 if self.cost is None else self.cost.offset
        terms = [(builder.weights, -self.mu[None, :]), *((place, c[None, :]) for place, c in costs)]
        builder.add_rows((self.name,), Cone.NONNEGATIVE, terms, np.array([-self.floor - offset]))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """What is left of the return."""
        left = float(self.mu @ w) - (0.0 if self.cost is None else self.cost.of(w))
        return [Measurement(self.name, "return", ">=", self.floor, left)]
