"""Leverage: how much is held long, short, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Mask, Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError

Side = Literal["gross", "long", "short"]


@dataclass(frozen=True, slots=True)
class ExposureBudget:
    """A limit on one side of the book.

        gross  sum |w_i| <= limit
        long   sum (w_i)+ <= limit
        short  sum (-w_i)+ <= limit

    Attributes:
        limit: As a fraction of the portfolio's value, >= 0.
        members: (n,) True for the assets that count; cash does not.

    Raises:
        ProblemError: The limit is negative or not a number, or nothing counts.
    """

    name: str
    side: Side
    limit: float
    members: Mask

    def __post_init__(self) -> None:
        if not self.limit >= 0.0:
            raise ProblemError(self.name, f"must not be negative, not {self.limit:g}")
        if not self.members.any():
            raise ProblemError(self.name, "has no assets")

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row over the weights and the shared short parts: ``(w)+ = w + (-w)+`` and ``|w| = w + 2 (-w)+``."""
        counted = self.members.astype(float)
        shorts = {"gross": 2.0, "long": 1.0, "short": 1.0}[self.side]
        form = [(builder.short_parts(), shorts * counted)]
        if self.side != "short":
            form.append((builder.weights, counted))
        builder.add_limit(self.name, form, self.limit)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The side's sum."""
        held = w[self.members]
        size = {"gross": np.abs(held), "long": np.maximum(held, 0.0), "short": np.maximum(-held, 0.0)}[self.side]
        return [Measurement(self.name, "leverage", "<=", self.limit, float(size.sum()))]
