"""How much of each instrument a plan may buy and sell: what the target, the cash and the turnover allow.

The ranges are as tight as they are known to be: they are what ties quantities to their flags.
"""

from __future__ import annotations

import math
from decimal import Decimal

from kernel.rebalancing.book import Position
from kernel.rebalancing.costs import CostModel, PowerImpact
from kernel.rebalancing.money import CENT, ZERO
from kernel.rebalancing.request import TradeDistance
from kernel.rebalancing.sides import Frame, Scale

# Solver noise that may lift a quantity by less than a full increment and still be the increment above.
SNAP = Decimal("0.000001")
# Turnover ends a range at this fraction more: a range must not cut off what the limit allows.
_NO_LESS = 1e-9


class TradeRanges:
    """Ranges of all trades in one program."""

    def __init__(self, frame: Frame) -> None:
        """Adds up what everything sold could pay for, and what rounding may change."""
        book = frame.book
        self._frame, self._book = frame, book
        # Where the minimum cash itself is looked for it does not limit what may be bought.
        unlimited = frame.scope.measure == "min_cash_amount"
        least = min(book.limits.min_cash, ZERO) if unlimited else book.limits.min_cash
        self.margin = self._rounding()
        sold = sum((position.value for position in book.positions if position.can_sell), ZERO)
        flat = book.costs.commission
        self._affordable = frame.units(book.cash + sold - least - flat - min(self.margin, ZERO))
        self._pays_commission = unlimited or self._affordable >= 0.0
        turnover = book.limits.max_turnover
        self._turnover = math.inf
        if turnover is not None:
            self._turnover = frame.units(turnover * book.total_value - min(self.margin, ZERO))
        self._costs = self._most_cost()

    def most_bought(self, position: Position, scale: Scale) -> float:
        """Up to the target, as far as everything sold could pay for it and the turnover allows.

        Where no target ends it, no purchase is larger than twice the portfolio and what is short.
        """
        if not position.can_buy or self._book.bars_purchase(position) or self._affordable < 0.0:
            return 0.0
        largest = 2.0 * self._frame.total + self._frame.units(max(-position.value, ZERO))
        most = min(self._affordable, self._turnover, largest) / scale.step
        if not self._passes_target:
            most = min(most, math.ceil(scale.aim) if scale.whole else scale.aim)
        return math.floor(most + float(SNAP)) if scale.whole else most

    def most_sold(self, position: Position, scale: Scale) -> float:
        """Down to the target and one whole step more, which may pay for costs; all of it only where cash is short."""
        if not position.can_sell or not self._pays_commission:
            return 0.0
        most = scale.everything
        if not (self._passes_target or self._book.is_short_of_cash):
            called = math.floor(-scale.aim) + 1.0 if scale.whole else -scale.aim
            most = min(most, max(called if scale.aim < 0.0 else 0.0, self._harvest(position, scale)))
        allowed = (self._turnover + self._costs / 2.0) / scale.step * (1.0 + _NO_LESS)
        if most <= allowed:
            return most
        return math.floor(allowed + float(SNAP)) if scale.whole else allowed

    def _harvest(self, position: Position, scale: Scale) -> float:
        """Steps that may be sold at a loss beyond the target."""
        tax, lots = self._book.tax, self._book.lots.get(position.instrument_id)
        if tax is None or lots is None or not tax.harvest_losses or not tax.weight:
            return 0.0
        losses = float(sum((lot.available for lot in lots.lots if lot.is_loss), ZERO) / scale.shares)
        return math.ceil(losses) if scale.whole else losses

    @property
    def _passes_target(self) -> bool:
        return self._frame.scope.past_target or self._book.distance is TradeDistance.TRACKING_RISK

    def _most_cost(self) -> float:
        """No less than all costs within the turnover limit in units; infinite where they are as large as the trades."""
        traded, costs = 3.0 * self._turnover, self._book.costs
        if not math.isfinite(traded):
            return 0.0
        power = max((self.power_weight(p.power) for p in self._book.positions if p.power is not None), default=0.0)
        flat = self._frame.units(costs.commission * len(self._book.positions))
        most = flat + float(costs.impact_rate) * traded + power * traded**1.5
        return most if most <= traded / 3.0 else math.inf

    def power_weight(self, power: PowerImpact) -> float:
        """Factor of x^(3/2) in units."""
        return float(power.coefficient * power.daily_volatility) / math.sqrt(self._frame.units(power.daily_value))

    def _rounding(self) -> Decimal:
        """By how much limits on money are tightened, or, for a bound, loosened by what rounding to cents may give."""
        if self._frame.reserve is not None:
            return self._frame.reserve
        rounded = [p for p in self._book.positions if (p.can_buy or p.can_sell) and _is_rounded(p, self._book.costs)]
        return -CENT * min(len(rounded), self._book.limits.max_trades or len(rounded))


def _is_rounded(position: Position, costs: CostModel) -> bool:
    """Whether the value or the cost of a trade may not be whole cents."""
    step = position.price * position.increment
    amounts = (step, position.remainder * position.price, step * costs.impact_rate, costs.commission)
    return position.power is not None or any(amount % CENT for amount in amounts)
