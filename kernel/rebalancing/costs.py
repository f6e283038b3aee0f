"""What a trade costs: a commission, impact in basis points, and the 3/2-power law of market impact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.money import ZERO, require_amount, to_cents

_BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class PowerImpact:
    """What the 3/2-power law knows of an instrument.

    Attributes:
        daily_volatility: Of its return, per day, >= 0.
        daily_value: Average daily traded value, money, > 0.
        coefficient: b, >= 0, of the order of 1.
    """

    daily_volatility: Decimal
    daily_value: Decimal
    coefficient: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        require_amount("costs.daily_volatility", self.daily_volatility)
        require_amount("costs.daily_value", self.daily_value, positive=True)
        require_amount("costs.coefficient", self.coefficient)


@dataclass(frozen=True, slots=True)
class CostModel:
    """A commission per trade, a proportional impact and an impact that grows with the 3/2 power of the trade.

    Attributes:
        commission: Money per trade, >= 0.
        impact_bps: Basis points of the traded value, in [0, 10000).
        power: By instrument; instruments not named have no such impact.
    """

    commission: Decimal = ZERO
    impact_bps: Decimal = ZERO
    power: Mapping[str, PowerImpact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_amount("costs.commission", self.commission)
        require_amount("costs.impact_bps", self.impact_bps)
        if self.impact_bps >= _BPS:
            raise ProblemError("costs.impact_bps", f"must be below 10000, got {self.impact_bps}")

    @property
    def impact_rate(self) -> Decimal:
        """Impact as a fraction of the traded value."""
        return self.impact_bps / _BPS


@dataclass(frozen=True, slots=True)
class TradeCost:
    """The cost of one trade.

    Attributes:
        commission: Money.
        impact: Money, unrounded.
        total: Commission + impact, rounded once, to the cent.
        fraction: total / traded value, zero for an empty trade.
    """

    commission: Decimal
    impact: Decimal
    total: Decimal
    fraction: Decimal


def trade_cost(quantity: Decimal, price: Decimal, model: CostModel, power: PowerImpact | None = None) -> TradeCost:
    """Cost of trading a quantity at a price.

        commission + impact_bps / 10000 x + b sigma x^(3/2) / V^(1/2),   x = quantity * price

    100 shares at 232.50 with a commission of 5.00 and 15 bps cost 5.00 + 34.875, reported 39.88: 0.17% of the trade.

    Args:
        quantity: Shares, >= 0.
        price: Money per share, > 0.
        model: Commission and impact.
        power: What the power law knows of the instrument; None leaves that term out.

    Returns:
        The cost; all zero for a quantity of zero.

    Raises:
        ProblemError: The quantity is negative or the price is not positive.
    """
    require_amount("quantity", quantity)
    require_amount("price", price, positive=True)
    value = quantity * price
    if not value:
        return TradeCost(ZERO, ZERO, ZERO, ZERO)
    impact = value * model.impact_rate
    if power is not None:
        impact += power_law_impact(value, power.daily_volatility, power.daily_value, power.coefficient)
    total = to_cents(model.commission + impact)
    return TradeCost(model.commission, impact, total, total / value)


def power_law_impact(
    value: Decimal, daily_volatility: Decimal, daily_value: Decimal, coefficient: Decimal = Decimal(1)
) -> Decimal:
    """Market impact by the 3/2-power law.

        b sigma |x|^(3/2) / V^(1/2)

    Args:
        value: Traded value x, money.
        daily_volatility: sigma of the instrument, per day.
        daily_value: Average daily traded value V, money, > 0.
        coefficient: b, of the order of 1.

    Returns:
        The impact in money, unrounded.

    Raises:
        ProblemError: The daily value is not positive.

    References:
        Boyd et al. (2017), Multi-Period Trading via Convex Optimization, equation 2.2; Almgren et al. (2005).
    """
    require_amount("daily_value", daily_value, positive=True)
    size = abs(value)
    return coefficient * daily_volatility * size * (size / daily_value).sqrt()
