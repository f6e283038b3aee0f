"""What every constraint can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector

# Limits on weights are missed in fractions of the portfolio; risks and returns may be of any size.
_OF_WEIGHTS = frozenset({"weight", "turnover", "leverage", "exposure", "positions", "score"})


@dataclass(frozen=True, slots=True)
class Measurement:
    """One limit, measured on weights.

    Attributes:
        name: The caller's name; rows and multipliers of the program carry the same.
        unit: ``weight``, ``turnover``, ``volatility`` ...
        sense: ``<=``, ``>=`` or ``=``.
        limit: The caller's number.
        value: What the weights have.
    """

    name: str
    unit: str
    sense: str
    limit: float
    value: float

    @property
    def slack(self) -> float:
        """Room left: negative when broken; for an equality minus the distance."""
        if self.sense == "=":
            return -abs(self.value - self.limit)
        return self.limit - self.value if self.sense == "<=" else self.value - self.limit

    @property
    def shortfall(self) -> float:
        """By how much the limit is missed: of weights in weights, of all else relative to the limit."""
        missed = max(-self.slack, 0.0)
        return missed if self.unit in _OF_WEIGHTS or self.limit == 0.0 else missed / abs(self.limit)


class Constraint(Protocol):
    """A named limit on weights, convex or semicontinuous."""

    def add_to(self, builder: ProgramBuilder) -> None:
        """Write the rows, each with its name."""

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The limits as the weights meet them, from the weights alone."""
