"""What every risk measure can do: be minimised, be limited, be measured."""

from __future__ import annotations

from typing import Protocol

from kernel.canonical import ProgramBuilder, Vector


class RiskMeasure(Protocol):
    """A convex, positively homogeneous measure of the risk of weights, in annual units.

    A measure may enter a program through an increasing function of itself (volatility through its half square);
    `from_program` and `slope` translate values and multipliers back.
    """

    @property
    def name(self) -> str:
        """The word of the contract's vocabulary."""

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight * g(risk(w))`` to the objective, g increasing."""

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add rows that mean ``risk(w) <= limit``."""

    def of(self, w: Vector) -> float:
        """The risk of w, measured from w alone."""

    def from_program(self, value: float) -> float:
        """The risk r with g(r) = value."""

    def slope(self, risk: float) -> float:
        """dr/dg at r = `risk`: turns multipliers of the program into marginal risk."""
