"""What a trade plan is asked for: holdings, targets, limits, taxes and risk, in exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.lots import LotMethod, TaxLot
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.money import ZERO, require_amount
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.wash_exposure import WashExposure

CASH = "CASH"


class TradeDistance(StrEnum):
    """What a plan is measured by, beside its costs and its tax."""

    TARGET_VALUE = "target_value"
    """sum_i |value after_i - target value_i|, money; cash is not counted"""
    TRACKING_RISK = "tracking_risk"
    """risk_aversion / 2 * (w - t)' Sigma (w - t) * V, money per year, with the weights w after trading of V"""


@dataclass(frozen=True, slots=True)
class WeightLimit:
    """A linear limit on the values after trading, as fractions of the value V before trading.

        minimum <= sum_i coefficients_i value after_i / V <= maximum

    Attributes:
        name: In the caller's words, e.g. ``max_position[AAPL]`` or ``max_sector[Energy]``.
        coefficients: By instrument; instruments not named count zero.
        minimum, maximum: None for no limit.
        unit: As the contract's reports say it.
    """

    name: str
    coefficients: Mapping[str, Decimal]
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    unit: str = "weight"


@dataclass(frozen=True, slots=True)
class TradeLimits:
    """What a plan must not break.

    Attributes:
        min_trade_value: Smallest trade, money at the trade price; selling all that is held is exempt.
        max_trades: Largest number of trades, None for no limit.
        max_turnover: Largest one-way turnover, 1/2 sum |value changes| / total value, cash included; None for no limit.
        min_cash: Least cash after trades and costs, money; negative where the account may borrow.
        do_not_buy: Instruments that are not bought.
        do_not_sell: Instruments that are not sold.
        weights: Linear limits on the values after trading. One that is broken before trading may stay broken only as
            far as no trades within the other limits can mend it: it is then part of the conflict.
        max_tracking_error: Largest annual tracking error after trading against `TradeRequest.risk.reference`.
        max_tax: Largest tax that the sales may add to the year's, money.
        max_realized_gain: Largest net gain that the sales may realise, money, both terms together.
    """

    min_trade_value: Decimal = ZERO
    max_trades: int | None = None
    max_turnover: Decimal | None = None
    min_cash: Decimal = ZERO
    do_not_buy: frozenset[str] = frozenset()
    do_not_sell: frozenset[str] = frozenset()
    weights: tuple[WeightLimit, ...] = ()
    max_tracking_error: Decimal | None = None
    max_tax: Decimal | None = None
    max_realized_gain: Decimal | None = None

    def __post_init__(self) -> None:
        require_amount("limits.min_trade_value", self.min_trade_value)
        if not self.min_cash.is_finite():
            raise ProblemError("limits.min_cash", f"must be finite, got {self.min_cash}")
        for name in ("max_turnover", "max_tracking_error", "max_tax", "max_realized_gain"):
            if (limit := getattr(self, name)) is not None:
                require_amount(f"limits.{name}", limit)
        if self.max_trades is not None and self.max_trades < 0:
            raise ProblemError("limits.max_trades", f"must be zero or more, got {self.max_trades}")


@dataclass(frozen=True, slots=True)
class TrackingRisk:
    """Annual covariance of returns, and the weights that risk is measured against.

        Sigma = F F' + diag(specific)

    Attributes:
        names: The n instruments, cash left out; it has no risk.
        factors: (n, k) F.
        specific: (n,) variances, >= 0.
        reference: (n,) weights of the benchmark or the target; the rest is cash.
        aversion: Weight of the variance in TRACKING_RISK.
    """

    names: tuple[str, ...]
    factors: NDArray[np.float64]
    specific: NDArray[np.float64]
    reference: NDArray[np.float64]
    aversion: float = 10.0


@dataclass(frozen=True, slots=True)
class TradeTax:
    """How sales are taxed, and what of it the search minimises.

    Attributes:
        lots: By instrument; one that is held and has none is sold without tax.
        rules: Rates, yearly loss limit, value of a carried loss.
        year_to_date: Net gains realised this year, losses carried in included.
        sold_on: Trade date of the sales.
        method: How lots are chosen. LEAST_TAX leaves it to the search, with true netting, where tax has a weight.
        weight: Objective per unit of tax; zero reports the tax and does not minimise it.
        wash: By instrument, what the window before and after the sale holds.
        price_wash_sales: Whether wash sales are allowed and priced; otherwise the plan makes none.
        avoid_short_term_gains: Lots at a short-term gain are sold only where nothing else keeps the limits.
        harvest_losses: Lots at a loss may be sold beyond what the target needs, where the tax saved is worth it.
        specific: For SPECIFIC: the lots of an instrument that are sold, in their order, with the largest quantity of
            each, None for all of it. Instruments not named are sold oldest lot first.
        long_term_months: A gain is long-term when the lot was held for more than this number of months.
    """

    lots: Mapping[str, tuple[TaxLot, ...]]
    rules: TaxRules
    year_to_date: NetGains
    sold_on: date
    method: LotMethod = LotMethod.FIFO
    weight: Decimal = ZERO
    wash: Mapping[str, WashExposure] = field(default_factory=dict)
    price_wash_sales: bool = False
    avoid_short_term_gains: bool = False
    harvest_losses: bool = False
    specific: Mapping[str, Mapping[str, Decimal | None]] = field(default_factory=dict)
    long_term_months: int = 12

    def __post_init__(self) -> None:
        require_amount("tax.weight", self.weight)
        for name in ("short_term", "long_term"):
            if not (amount := getattr(self.year_to_date, name)).is_finite():
                raise ProblemError(f"tax.year_to_date.{name}", f"must be finite, got {amount}")


@dataclass(frozen=True, slots=True)
class TradeRequest:
    """From holdings to target weights.

    Attributes:
        holdings: Shares per instrument; negative for a short position, which can only be bought back.
        cash: Money; negative when overdrawn.
        prices: Money per share.
        target_weights: Fraction of total value per instrument; the rest, or the weight of "CASH", stays cash. Below
            zero only where a position is short now, and no lower than it is; above 1 together only by what is owed now.
        increments: Smallest tradable number of shares per instrument; 1 where absent.
        limits: What the plan must not break.
        costs: Commission and impact.
        search: When the search stops.
        distance: What is minimised beside cost and tax.
        risk: Of TRACKING_RISK and of max_tracking_error.
        tax: None = sales are not taxed.
        price_limits: Whether the price of each binding limit is found, by searching again without it.
    """

    holdings: Mapping[str, Decimal]
    cash: Decimal
    prices: Mapping[str, Decimal]
    target_weights: Mapping[str, Decimal]
    increments: Mapping[str, Decimal] = field(default_factory=dict)
    limits: TradeLimits = field(default_factory=TradeLimits)
    costs: CostModel = field(default_factory=CostModel)
    search: SearchSettings = field(default_factory=SearchSettings)
    distance: TradeDistance = TradeDistance.TARGET_VALUE
    risk: TrackingRisk | None = None
    tax: TradeTax | None = None
    price_limits: bool = False
