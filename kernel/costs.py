"""What trading costs: charged once against the annual return, inside every objective, ratios included.

    cost(w) = rates'|d| + sale_rates'(-d)+ + impact'|d|^(3/2) + fixed'1{d != 0},    d = w - w0

References: Almgren, Thum, Hauptmann & Li (2005) for the power of the impact; Boyd et al. (2017), section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Vector
from kernel.errors import ProblemError

_UNTOUCHED = 1e-9
# Room below which it makes no good coefficient.
_LEAST_ROOM = 1e-6


class Deduction(Protocol):
    """What is taken off the expected return, convex in the weights: costs of trading, doubts about the means."""

    @property
    def offset(self) -> float:
        """The constant beside the linear form of `form`."""

    def of(self, w: Vector) -> float:
        """The deduction at w, measured from w alone."""

    def form(self, builder: ProgramBuilder) -> Form:
        """The deduction less its offset as a linear form, >= the true one; add the rows that make it so."""


@dataclass(frozen=True, slots=True)
class Deductions:
    """Several deductions together."""

    parts: tuple[Deduction, ...]

    @property
    def offset(self) -> float:
        """The sum of the parts' constants."""
        return sum(part.offset for part in self.parts)

    def of(self, w: Vector) -> float:
        """The sum."""
        return sum(part.of(w) for part in self.parts)

    def form(self, builder: ProgramBuilder) -> Form:
        """The sum of the parts' forms."""
        return [term for part in self.parts for term in part.form(builder)]


@dataclass(frozen=True, slots=True)
class TradingCost:
    """The cost of going from w0 to w. Every coefficient is >= 0, so that all but the fixed part is convex.

    Attributes:
        rates: (n,) cost of buying or selling, as a fraction of what is traded.
        w0: (n,) current weights.
        sale_rates: (n,) what sales cost beyond that (tax on realised gains); None = nothing.
        impact: (n,) coefficients of |w - w0|^(3/2), as fractions of the portfolio's value; None = no market impact.
        fixed: (n,) charge for trading an asset at all, as a fraction of the portfolio's value; None = none.
        largest: (n,) no trade of an asset is larger than this, the tighter the better; needed with `fixed`.
    """

    rates: Vector
    w0: Vector
    sale_rates: Vector | None = None
    impact: Vector | None = None
    fixed: Vector | None = None
    largest: Vector | None = None

    def __post_init__(self) -> None:
        for field in ("rates", "sale_rates", "impact", "fixed"):
            values = getattr(self, field)
            if values is not None and not (np.isfinite(values).all() and (values >= 0.0).all()):
                raise ProblemError(f"cost.{field}", "must be finite and not negative")
        if self.fixed is None:
            return
        if self.largest is None:
            raise ProblemError("cost.largest", "is needed for a fixed charge")
        for i in np.flatnonzero((self.fixed > 0.0) & ~((self.largest > 0.0) & np.isfinite(self.largest))).tolist():
            reason = f"must be positive and finite for asset {i}, which has a fixed charge, not {self.largest[i]:g}"
            raise ProblemError("cost.largest", reason)

    @property
    def offset(self) -> float:
        """The constant of the cost beside the linear form of `form`."""
        return 0.0 if self.sale_rates is None or self._has_charges else 0.5 * float(self.sale_rates @ self.w0)

    @property
    def _has_charges(self) -> bool:
        return self.fixed is not None and bool(self.fixed.any())

    def of(self, w: Vector) -> float:
        """The cost of moving from w0 to w."""
        change = w - self.w0
        size = np.abs(change)
        cost = float(self.rates @ size)
        if self.sale_rates is not None:
            cost += float(self.sale_rates @ np.maximum(-change, 0.0))
        if self.impact is not None:
            cost += float(self.impact @ size**1.5)
        if self.fixed is not None:
            cost += float(self.fixed[size > _UNTOUCHED].sum())
        return cost

    def form(self, builder: ProgramBuilder) -> Form:
        """The cost less its offset as a linear form, >= the true one; sales are ``(w0 - w)+ = (|d| - w + w0)/2``."""
        form = self._form_with_charges(builder) if self._has_charges else self._form_without(builder)
        if self.impact is not None and self.impact.any():
            t, priced = builder.absolute_change(self.w0), int(np.flatnonzero(self.impact)[-1]) + 1
            # Cash, last, has none: cones without a price would only be in the way.
            form.append((add_impacts(builder, slice(t.start, t.start + priced)), self.impact[:priced]))
        return form

    def _form_without(self, builder: ProgramBuilder) -> list[tuple[slice, Vector]]:
        """All that is proportional."""
        t = builder.absolute_change(self.w0)
        if self.sale_rates is None:
            return [(t, self.rates)]
        return [(t, self.rates + 0.5 * self.sale_rates), (builder.weights, -0.5 * self.sale_rates)]

    def _form_with_charges(self, builder: ProgramBuilder) -> list[tuple[slice, Vector]]:
        """What is proportional to buys p and sales s, and switches z with ``p / up + s / down <= z``.

        At most one of p and s is needed, and neither is larger than the room `up` above or `down` below w0. No linear
        rows are tighter: relaxed, z is the convex envelope of "is traded" over the weight's bounds.
        """
        assert self.fixed is not None
        assert self.largest is not None
        p, s = builder.trades(self.w0)
        charged = np.flatnonzero(self.fixed)
        z = builder.add_switches("trades", len(charged))
        lower, upper = builder.box
        terms: list[tuple[slice, sp.csr_array]] = [(z, sp.csr_array(-sp.eye_array(len(charged), format="csr")))]
        for place, room in ((p, upper - self.w0), (s, self.w0 - lower)):
            reach = np.minimum(np.where(room > _LEAST_ROOM, room, np.inf), self.largest)
            shares = sp.diags_array(1.0 / reach[charged], format="csr")
            terms.append((place, sp.csr_array(shares @ sp.eye_array(builder.n, format="csr")[charged])))
        builder.add_rows((DEFINITION,) * len(charged), Cone.NONNEGATIVE, terms, np.zeros(len(charged)))
        sale_rates = self.rates if self.sale_rates is None else self.rates + self.sale_rates
        return [(p, self.rates), (s, sale_rates), (z, self.fixed[charged])]


def add_impacts(builder: ProgramBuilder, t: slice) -> slice:
    """Variables ``e >= t^(3/2)`` for t >= 0 by two rotated cones each: ``t^2 <= e s`` and ``s^2 <= t``."""
    count = t.stop - t.start
    s = builder.add_variables(count, lower=0.0)
    roots = builder.add_squares(s, 1.0)
    e = builder.add_squares(t, s)
    eye = np.eye(count)
    builder.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, [(roots, eye), (t, -eye)], np.zeros(count))
    return e
