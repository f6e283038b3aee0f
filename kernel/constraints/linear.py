"""Linear limits: budget, sectors, asset classes, and whatever else is a sum over weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class LinearLimit:
    """lower <= coefficients'w <= upper; equal limits make an equality, an infinite one is absent.

    Attributes:
        coefficients: (n,).
        lower_name: The limit that `lower` comes from; `upper_name` likewise (the same for an equality).
        unit: What the sum is measured in.
    """

    coefficients: Vector
    lower: float
    upper: float
    lower_name: str
    upper_name: str
    unit: str = "weight"

    def __post_init__(self) -> None:
        if self.lower > self.upper:
            reason = f"the minimum {self.lower:g} ({self.lower_name}) is above the maximum {self.upper:g}"
            raise ProblemError(self.upper_name, reason)

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row a limit."""
        row = sp.csr_array(self.coefficients[None, :])
        for measured, sign in self._limits():
            cone = Cone.ZERO if measured.sense == "=" else Cone.NONNEGATIVE
            b = np.array([sign * measured.limit])
            builder.add_rows((measured.name,), cone, [(builder.weights, sign * row)], b)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The sum against each limit."""
        value = float(self.coefficients @ w)
        return [Measurement(m.name, m.unit, m.sense, m.limit, value) for m, _ in self._limits()]

    def _limits(self) -> Iterator[tuple[Measurement, float]]:
        if self.lower == self.upper:
            yield Measurement(self.upper_name, self.unit, "=", self.upper, np.nan), 1.0
            return
        if np.isfinite(self.upper):
            yield Measurement(self.upper_name, self.unit, "<=", self.upper, np.nan), 1.0
        if np.isfinite(self.lower):
            yield Measurement(self.lower_name, self.unit, ">=", self.lower, np.nan), -1.0


def budget(n: int, total: float = 1.0) -> LinearLimit:
    """Weights, cash included, add up to `total`."""
    return LinearLimit(np.ones(n), total, total, "budget", "budget")
