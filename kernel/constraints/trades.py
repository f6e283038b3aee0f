"""The largest change of single weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.constraints.base import Measurement
from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class TradeLimits:
    """|w_i - w0_i| <= limit_i. Assets may share a name: the one with the least room then speaks for all.

    Attributes:
        names: (n,) the limit of each asset in the caller's words.
        limits: (n,) largest changes, >= 0; +inf where there is none.
        w0: (n,) current, drifted weights.

    Raises:
        ProblemError: Shapes differ, or a limit is negative.
    """

    names: tuple[str, ...]
    limits: Vector
    w0: Vector

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.limits.shape != (n,) or self.w0.shape != (n,):
            reason = f"{n} names, but limits {self.limits.shape} and current weights {self.w0.shape}"
            raise ProblemError("trade_limits", reason)
        for i in np.flatnonzero(~(self.limits >= 0.0)).tolist():
            raise ProblemError(self.names[i], f"must not be negative, not {self.limits[i]:g}")

    def add_to(self, builder: ProgramBuilder) -> None:
        """Bounds around the current weights."""
        builder.add_bounds(self.w0 - self.limits, self.w0 + self.limits, (self.names, self.names))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """For each name the trade with the least room."""
        sizes = np.abs(w - self.w0)
        tightest: dict[str, int] = {}
        for i in np.flatnonzero(np.isfinite(self.limits)).tolist():
            best = tightest.setdefault(self.names[i], i)
            if self.limits[i] - sizes[i] < self.limits[best] - sizes[best]:
                tightest[self.names[i]] = i
        return [
            Measurement(name, "weight", "<=", float(self.limits[i]), float(sizes[i])) for name, i in tightest.items()
        ]
