"""A limit on a term of an objective: how other objectives enter when one of them is optimised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError
from kernel.terms import Curvature, Term


@dataclass(frozen=True)
class TermLimit:
    """term(w) <= limit, or >= where `at_least`.

    Raises:
        ProblemError: The term bends the other way, so that the limit is not convex.
    """

    name: str
    term: Term
    limit: float
    at_least: bool = False

    def __post_init__(self) -> None:
        wrong = Curvature.CONVEX if self.at_least else Curvature.CONCAVE
        if self.term.curvature is wrong:
            side = "from below" if self.at_least else "from above"
            raise ProblemError(self.name, f"cannot be limited {side}: {self.term.name} is {wrong.value}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """The term's rows and one row for the limit."""
        sign = -1.0 if self.at_least else 1.0
        form, constant = self.term.bounded_by(builder, sign)
        builder.add_limit(self.name, form, sign * self.limit - constant)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The term against its limit."""
        return [Measurement(self.name, self.term.unit, ">=" if self.at_least else "<=", self.limit, self.term.of(w))]
