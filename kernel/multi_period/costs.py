"""What a period of a plan costs: its trades, and holding what is held.

    cost_h = rates'|z_h| + sale_rates'(-z_h)+ + impact'|z_h|^(3/2) + held_h
    held_h = tau_h V_h (holding sum |w_hi| + borrow sum (-w_hi)+)

in fractions of the present value; cash costs nothing to hold.

References: Boyd et al. (2017), sections 2.3 and 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Vector
from kernel.costs import TradingCost, add_impacts
from kernel.errors import ProblemError
from kernel.multi_period.timeline import Timeline


@dataclass(frozen=True, slots=True)
class HoldingRates:
    """Annual costs of positions, and of short ones beyond that, as fractions of their value."""

    holding: float = 0.0
    borrow: float = 0.0

    def __post_init__(self) -> None:
        for field in ("holding", "borrow"):
            rate = getattr(self, field)
            if not (np.isfinite(rate) and rate >= 0.0):
                raise ProblemError(f"{field}_cost", f"must be finite and not negative, not {rate}")

    def of(self, w: Vector) -> float:
        """The annual cost of weights with cash last."""
        held = w[:-1]
        return self.holding * float(np.abs(held).sum()) + self.borrow * float(np.maximum(-held, 0.0).sum())

    def form(self, builder: ProgramBuilder) -> list[tuple[slice, Vector]]:
        """The same as a linear form: ``|w| = w + 2 (-w)+``."""
        if self.holding == self.borrow == 0.0:
            return []
        held = np.append(np.ones(builder.n - 1), 0.0)
        form = [(builder.weights, self.holding * held)]
        if (builder.box[0][:-1] < 0.0).any():
            form.append((builder.short_parts(), (2.0 * self.holding + self.borrow) * held))
        return form


NO_RATES = HoldingRates()


@dataclass(frozen=True, slots=True)
class PeriodCost:
    """The cost of period h, times `scale`.

    Attributes:
        trading: Whose rates count in every period; its tax on sales counts in the first alone, its current weights
            are the timeline's. None = trading is free.
    """

    timeline: Timeline
    h: int
    trading: TradingCost | None = None
    holding: HoldingRates = NO_RATES
    scale: float = 1.0

    @property
    def offset(self) -> float:
        """The constant of ``(-z)+ = (|z| - z)/2`` in the first period."""
        if self._taxes is None:
            return 0.0
        return 0.5 * self.scale * float(self._taxes @ self._held)

    def of(self, W: Vector) -> float:
        """The cost at the weights of all periods."""
        return self.scale * (self.trading_of(W) + self.holding_of(W))

    def trading_of(self, W: Vector) -> float:
        """What trading costs, unscaled."""
        if self.trading is None:
            return 0.0
        z = self.timeline.trades(W, self.h)
        taxes = None if self.h else self.trading.sale_rates
        return TradingCost(self.trading.rates, np.zeros(len(z)), taxes, self.trading.impact).of(z)

    def holding_of(self, W: Vector) -> float:
        """What holding costs, unscaled."""
        return float(self.timeline.shares[self.h]) * self.holding.of(W[self.timeline.place(self.h)])

    def form(self, builder: ProgramBuilder) -> Form:
        """The cost less its offset as a linear form; add the rows that make it so."""
        part = self.timeline.part(builder, self.h)
        share = float(self.timeline.shares[self.h])
        form = [(place, share * rates) for place, rates in self.holding.form(part)]
        if self.trading is not None:
            form += self._trading_form(builder, part, self.trading)
        return [(place, self.scale * coefficients) for place, coefficients in form]

    def _trading_form(
        self, builder: ProgramBuilder, part: ProgramBuilder, trading: TradingCost
    ) -> list[tuple[slice, Vector]]:
        t = self.timeline.add_trade_sizes(builder, self.h)
        form = [(t, trading.rates)]
        if self._taxes is not None:
            form += [(t, 0.5 * self._taxes), (part.weights, -0.5 * self.timeline.values[0] * self._taxes)]
        if trading.impact is not None and trading.impact.any():
            # Cash, last, has none.
            priced = slice(t.start, t.stop - 1)
            form.append((part.shared(("impact",), lambda: add_impacts(part, priced)), trading.impact[:-1]))
        return form

    @property
    def _taxes(self) -> Vector | None:
        return None if self.h or self.trading is None else self.trading.sale_rates

    @property
    def _held(self) -> Vector:
        """(n,) what is there before the first trades, the flow included."""
        held = self.timeline.w0.copy()
        held[-1] += self.timeline.flows[0]
        return held
