"""Taxable accounts of any size: drifted holdings with lots at gains and losses, a risk model, a target."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.lots import GainRates, LotMethod, TaxLot
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, TradeRequest, TradeTax
from kernel.rebalancing.tax import NetGains, TaxRules

TODAY = date(2026, 6, 1)
LOTS, FACTORS, VALUE_PER_NAME = 10, 10, 40_000


def lots_of(name: str, shares: int, price: Decimal, rng: np.random.Generator) -> tuple[TaxLot, ...]:
    """Ten lots from half to one and a third of the price, up to two and a half years old."""
    sizes = np.bincount(rng.integers(0, LOTS, shares), minlength=LOTS)
    return tuple(
        TaxLot(
            f"{name}-{k}",
            Decimal(int(size)),
            (price * Decimal(f"{rng.uniform(0.5, 1.35):.4f}")).quantize(Decimal("0.01")),
            TODAY - timedelta(days=int(rng.integers(1, 900))),
        )
        for k, size in enumerate(sizes)
        if size
    )


def taxable_account(count: int) -> TradeRequest:
    """A request for `count` names with ten lots each: tracking risk, costs and netted tax, proven within 1%."""
    rng = np.random.default_rng(count)
    names = [f"N{k:03d}" for k in range(count)]
    prices = {name: Decimal(int(rng.integers(1_000, 40_000))) / 100 for name in names}
    weights = rng.dirichlet(np.full(count, 3.0))
    value = VALUE_PER_NAME * count
    holdings = {
        name: Decimal(int(value * weight / float(prices[name])) + 1)
        for name, weight in zip(names, weights, strict=True)
    }
    factors = rng.normal(0.0, 0.05, (count, FACTORS))
    factors[:, 0] = 0.15 + 0.03 * rng.normal(size=count)
    rules = TaxRules(GainRates(Decimal("0.408"), Decimal("0.238")), Decimal(3_000), carried_loss_value=Decimal("0.2"))
    return TradeRequest(
        holdings,
        Decimal(value) / 100,
        prices,
        dict.fromkeys(names, Decimal(1) / count),
        limits=TradeLimits(Decimal(100)),
        costs=CostModel(Decimal(1), Decimal(5)),
        search=SearchSettings(relative_gap=0.01, time_limit_seconds=20.0),
        distance=TradeDistance.TRACKING_RISK,
        risk=TrackingRisk(
            tuple(names), factors, rng.uniform(0.1, 0.3, count) ** 2, np.full(count, 1.0 / count), aversion=10.0
        ),
        tax=TradeTax(
            {name: lots_of(name, int(holdings[name]), prices[name], rng) for name in names},
            rules,
            NetGains(Decimal(5_000), Decimal(-2_000)),
            TODAY,
            LotMethod.LEAST_TAX,
            Decimal(1),
        ),
    )
