"""Limits of a plan: those of a single period written for each, and those on trades between two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Vector, in_part
from kernel.constraints import Constraint, Measurement
from kernel.multi_period.timeline import Timeline


@dataclass(frozen=True, slots=True)
class InPeriod:
    """A limit on the weights of period h, its name followed by the period's."""

    constraint: Constraint
    timeline: Timeline
    h: int

    def add_to(self, builder: ProgramBuilder) -> None:
        """The rows of the limit, over the period's weights."""
        self.constraint.add_to(self.timeline.part(builder, self.h))

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The limit, measured on the period's weights."""
        suffix = self.timeline.suffix(self.h)
        for measured in self.constraint.measure(w[self.timeline.place(self.h)]):
            yield replace(measured, name=in_part(measured.name, suffix))


@dataclass(frozen=True, slots=True)
class PeriodTurnover:
    """factor * sum |z_h| <= limit * V_h, cash included.

    Attributes:
        factor: 1/2 for the one-way definition, 1 for the two-way.
    """

    name: str
    limit: float
    timeline: Timeline
    h: int
    factor: float = 0.5

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row over the shared variables t >= |z_h|."""
        t = self.timeline.add_trade_sizes(builder, self.h)
        per_trade = self.factor / float(self.timeline.values[self.h])
        builder.add_limit(self._full_name, [(t, np.full(self.timeline.n, per_trade))], self.limit)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """The turnover of the period."""
        return [Measurement(self._full_name, "turnover", "<=", self.limit, turnover(self, w))]

    @property
    def _full_name(self) -> str:
        return in_part(self.name, self.timeline.suffix(self.h))


def turnover(limit: PeriodTurnover, W: Vector) -> float:
    """The turnover as the limit counts it, a fraction of the value in the period."""
    size = float(np.abs(limit.timeline.trades(W, limit.h)).sum())
    return limit.factor * size / float(limit.timeline.values[limit.h])


@dataclass(frozen=True, slots=True)
class PeriodTradeLimits:
    """|z_hi| <= limit_i V_h. Assets may share a name: the one with the least room then speaks for all.

    Attributes:
        names: (n,) the limit of each asset in the caller's words.
        limits: (n,) largest trades, >= 0; +inf where there is none.
    """

    names: tuple[str, ...]
    limits: Vector
    timeline: Timeline
    h: int

    def add_to(self, builder: ProgramBuilder) -> None:
        """One row an asset over the shared variables t >= |z_h|."""
        chosen = np.flatnonzero(np.isfinite(self.limits))
        t = self.timeline.add_trade_sizes(builder, self.h)
        rows = sp.eye_array(self.timeline.n, format="csr")[chosen] / float(self.timeline.values[self.h])
        names = [self.names[i] for i in chosen.tolist()]
        part = self.timeline.part(builder, self.h)
        part.add_rows(names, Cone.NONNEGATIVE, [(t, sp.csr_array(rows))], self.limits[chosen])

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """For each name the trade with the least room."""
        sizes = np.abs(self.timeline.trades(w, self.h)) / float(self.timeline.values[self.h])
        suffix = self.timeline.suffix(self.h)
        tightest: dict[str, int] = {}
        for i in np.argsort(self.limits - sizes, kind="stable").tolist():
            if np.isfinite(self.limits[i]):
                tightest.setdefault(self.names[i], i)
        return [
            Measurement(in_part(name, suffix), "weight", "<=", float(self.limits[i]), float(sizes[i]))
            for name, i in tightest.items()
        ]


@dataclass(frozen=True, slots=True)
class TerminalWeights:
    """w_H = values.

    Attributes:
        names: (n,) of the rows, in the caller's words.
        values: (n,) weights that add up to 1.
    """

    names: tuple[str, ...]
    values: Vector
    timeline: Timeline

    def add_to(self, builder: ProgramBuilder) -> None:
        """One equation an asset."""
        eye = sp.eye_array(self.timeline.n, format="csr")
        builder.add_rows(self.names, Cone.ZERO, [(self._place, sp.csr_array(eye))], self.values)

    def measure(self, w: Vector) -> Iterable[Measurement]:
        """Every last weight against its value."""
        last = w[self._place].tolist()
        return [
            Measurement(name, "weight", "=", wanted, value)
            for name, wanted, value in zip(self.names, self.values.tolist(), last, strict=True)
        ]

    @property
    def _place(self) -> slice:
        return self.timeline.place(self.timeline.count - 1)
