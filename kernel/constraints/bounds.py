"""Bounds on single weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement


@dataclass(frozen=True, slots=True)
class WeightBounds:
    """lower <= w <= upper. Assets may share a name: the tightest of them then speaks for all.

    Attributes:
        lower: (n,) fractions; -inf where there is none.
        upper: (n,) fractions; +inf where there is none.
        lower_names: (n,) the limit that each lower bound comes from.
        upper_names: (n,) the same for upper bounds.
    """

    lower: Vector
    upper: Vector
    lower_names: tuple[str, ...]
    upper_names: tuple[str, ...]

    def add_to(self, builder: ProgramBuilder) -> None:
        """Bound the weights."""
        builder.add_bounds(self.lower, self.upper, (self.lower_names, self.upper_names))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """For each name the asset with the least room."""
        yield from _tightest(w, self.lower, self.lower_names, ">=")
        yield from _tightest(w, self.upper, self.upper_names, "<=")


def _tightest(w: Vector, bound: Vector, names: tuple[str, ...], sense: str) -> Iterator[Measurement]:
    room = bound - w if sense == "<=" else w - bound
    tightest: dict[str, int] = {}
    for i in np.flatnonzero(np.isfinite(bound)).tolist():
        best = tightest.get(names[i])
        if best is None or room[i] < room[best]:
            tightest[names[i]] = i
    for name, i in tightest.items():
        yield Measurement(name, "weight", sense, float(bound[i]), float(w[i]))
