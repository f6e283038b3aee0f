"""Exposures held at given values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Matrix, Vector
from kernel.constraints.base import Measurement


@dataclass(frozen=True, slots=True)
class FixedExposures:
    """B'w = values.

    Attributes:
        B: (n, k) exposures of the assets.
        values: (k,) exposures of the portfolio.
    """

    name: str
    B: Matrix
    values: Vector

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row an exposure."""
        builder.add_rows((self.name,) * len(self.values), Cone.ZERO, [(builder.weights, self.B.T)], self.values)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """Every exposure against its value."""
        exposures = (self.B.T @ w).tolist()
        return [
            Measurement(self.name, "exposure", "=", wanted, value)
            for wanted, value in zip(self.values.tolist(), exposures, strict=True)
        ]
