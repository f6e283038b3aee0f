"""An upper limit on a risk measure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure

# Losses of which a gain is a negative one.
_SIGNED = frozenset({"var", "cvar", "evar", "worst_realization"})


@dataclass(frozen=True, slots=True)
class RiskLimit:
    """risk(w) <= limit, in the measure's own unit.

    Raises:
        ProblemError: The limit is not finite, or not positive for a measure that never is negative.
    """

    name: str
    measure_of_risk: RiskMeasure
    limit: float

    def __post_init__(self) -> None:
        if not (self.limit > 0 or self.measure_of_risk.name in _SIGNED):
            raise ProblemError(self.name, f"must be positive, not {self.limit:g}")
        if not np.isfinite(self.limit):
            raise ProblemError(self.name, f"must be finite, not {self.limit:g}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """The measure writes its own rows."""
        self.measure_of_risk.limit(builder, self.name, self.limit)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The measure, taken from the weights."""
        return [Measurement(self.name, self.measure_of_risk.unit, "<=", self.limit, self.measure_of_risk.of(w))]
