"""Random requests small enough to enumerate, all features mixed."""

from datetime import date, timedelta
from decimal import Decimal
from random import Random

import numpy as np

from kernel.rebalancing.costs import CostModel, PowerImpact
from kernel.rebalancing.lots import GainRates, LotMethod, TaxLot
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, TradeRequest, TradeTax, WeightLimit
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.wash_exposure import OpenLoss, WashExposure
from tests.unit.kernel.rebalancing.trade_requests import EXACT

TODAY, SOON = date(2026, 6, 1), date(2026, 6, 10)
METHODS = [LotMethod.LEAST_TAX] * 3 + [LotMethod.FIFO, LotMethod.LIFO, LotMethod.HIFO, LotMethod.AVOID_SHORT_TERM]


def maybe(rng, chance, value):
    return value if rng.random() < chance else None


def random_lots(rng, name, shares, price):
    """Whole-share lots, long ones and short ones, gains and losses."""
    lots, left = [], shares
    while left:
        quantity = rng.randint(1, left) if len(lots) < 2 else left
        age = rng.choice([10, 25, 100, 200, 500, 900])
        cost = max(1, price + rng.randint(-price // 2, price // 2))
        lots.append(TaxLot(f"{name}-{len(lots)}", Decimal(quantity), Decimal(cost), TODAY - timedelta(days=age)))
        left -= quantity
    return tuple(lots)


def random_wash(rng, names, lots):
    wash = {}
    for name in names:
        if rng.random() < 0.5:
            continue
        own = tuple((lot.lot_id, lot.quantity) for lot in lots.get(name, ()) if (TODAY - lot.acquired_on).days <= 30)
        elsewhere = Decimal(rng.choice([0, 0, 1, 2]))
        losses = tuple(
            OpenLoss(
                Decimal(rng.randint(1, 2)), Decimal(rng.randint(1, 6)), rng.random() < 0.5, TODAY + timedelta(days=9)
            )
            for _ in range(rng.choice([0, 0, 1, 2]))
        )
        others = frozenset(other for other in names if other != name and rng.random() < 0.2)
        total = elsewhere + sum((quantity for _, quantity in own), Decimal(0))
        wash[name] = WashExposure(total, own, Decimal(0), losses, others, literal=rng.random() < 0.3)
    # An exposure that meets no loss of its own keeps the losses of identical instruments out: those are tested apart.
    identical = set().union(*(exposure.identical for exposure in wash.values())) if wash else set()
    return {
        n: e for n, e in wash.items() if not (e.identical and e.open_losses) and not (n in identical and e.open_losses)
    }


def random_tax(rng, names, holdings, prices):
    lots = {n: random_lots(rng, n, int(holdings[n]), int(prices[n])) for n in names if holdings[n]}
    rules = TaxRules(
        GainRates(Decimal("0.4"), Decimal("0.2")),
        Decimal(rng.choice([0, 5, 30])),
        Decimal("0.35"),
        Decimal(rng.choice(["0", "0.1", "0.3"])),
    )
    return TradeTax(
        lots,
        rules,
        NetGains(Decimal(rng.randint(-40, 40)), Decimal(rng.randint(-40, 40))),
        TODAY,
        rng.choice(METHODS),
        Decimal(rng.choice(["0", "1", "1", "2.5"])),
        random_wash(rng, names, lots) if rng.random() < 0.5 else {},
        price_wash_sales=rng.random() < 0.5,
        avoid_short_term_gains=rng.random() < 0.2,
        harvest_losses=rng.random() < 0.4,
    )


def random_risk(rng, names):
    numbers = np.random.default_rng(rng.randrange(10**6))
    n = len(names)
    reference = numbers.dirichlet(np.ones(n + 1))[:n]
    return TrackingRisk(
        tuple(names),
        numbers.normal(0.0, 0.2, (n, 2)),
        numbers.uniform(0.0, 0.05, n),
        reference,
        rng.choice([2.0, 20.0]),
    )


def random_limits(rng, names, total, *, risk, tax):
    weights = tuple(
        WeightLimit(f"max_position[{name}]", {name: Decimal(1)}, maximum=Decimal(rng.randint(3, 8)) / 10)
        for name in names
        if rng.random() < 0.15
    )
    return TradeLimits(
        min_trade_value=Decimal(rng.choice([0, 0, 15])),
        max_trades=maybe(rng, 0.3, rng.randint(1, len(names))),
        max_turnover=maybe(rng, 0.3, Decimal(rng.randint(5, 60)) / 100),
        min_cash=Decimal(rng.choice([0, 0, 5, -10])),
        do_not_buy=frozenset(n for n in names if rng.random() < 0.1),
        do_not_sell=frozenset(n for n in names if rng.random() < 0.1),
        weights=weights,
        max_tracking_error=maybe(rng, 0.4, Decimal(rng.randint(2, 12)) / 100) if risk else None,
        max_tax=maybe(rng, 0.2, Decimal(rng.randint(0, 8))) if tax else None,
        max_realized_gain=maybe(rng, 0.2, Decimal(rng.randint(0, 15))) if tax else None,
    )


def random_case(seed):
    """A request with up to three instruments and nine lots."""
    rng = Random(seed)
    names = [f"N{i}" for i in range(rng.randint(2, 3))]
    prices = {n: Decimal(rng.randint(6, 30)) for n in names}
    holdings = {n: Decimal(rng.randint(0, 5)) for n in names}
    cash = Decimal(rng.randint(-4, 40))
    total = sum((holdings[n] * prices[n] for n in names), cash)
    if total <= 20:
        holdings = {**holdings, names[0]: Decimal(4)}
        total = sum((holdings[n] * prices[n] for n in names), cash)
    parts = [rng.randint(0, 4) for _ in names]
    whole = sum(parts) + rng.randint(0, 2) or 1
    targets = {n: Decimal(part) / whole for n, part in zip(names, parts, strict=True)}
    tax = random_tax(rng, names, holdings, prices) if rng.random() < 0.8 else None
    risk = random_risk(rng, names) if rng.random() < 0.5 else None
    distance = TradeDistance.TRACKING_RISK if risk and rng.random() < 0.6 else TradeDistance.TARGET_VALUE
    power = {n: PowerImpact(Decimal("0.05"), Decimal(200)) for n in names} if rng.random() < 0.25 else {}
    costs = CostModel(Decimal(rng.choice([0, 1])), Decimal(rng.choice([0, 100])), power)
    limits = random_limits(rng, names, total, risk=risk, tax=tax)
    return TradeRequest(holdings, cash, prices, targets, {}, limits, costs, EXACT, distance, risk, tax)
