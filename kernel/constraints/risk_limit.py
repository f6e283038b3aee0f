"""An upper limit on a risk measure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError
from kernel.measures import RiskMeasure


@dataclass(frozen=True, slots=True)
class RiskLimit:
    """risk(w) <= limit, annual."""

    name: str
    measure_of_risk: RiskMeasure
    limit: float

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ProblemError(self.name, f"must be positive, not {self.limit:g}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """The measure writes its own rows."""
        self.measure_of_risk.limit(builder, self.name, self.limit)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The measure, taken from the weights."""
        return [Measurement(self.name, self.measure_of_risk.unit, "<=", self.limit, self.measure_of_risk.of(w))]
