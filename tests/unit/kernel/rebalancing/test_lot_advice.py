"""Gains budgets against trying every quantity, and what waiting saves."""

import datetime as dt
import random
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.lot_advice import wait_or_sell
from kernel.rebalancing.lots import GainRates, LotMethod, Sale, TaxLot, select_lots
from kernel.rebalancing.request import TradeLimits, TradeRequest, TradeTax
from kernel.rebalancing.tax import NetGains, TaxRules
from kernel.rebalancing.trades import plan_trades

RATES = GainRates(Decimal("0.40"), Decimal("0.20"))
SOLD_ON = dt.date(2025, 6, 30)
METHODS = [method for method in LotMethod if method is not LotMethod.SPECIFIC]


def gain_of(sales):
    return sum(sale.gain for sale in sales)


def random_lots(generator):
    return [
        TaxLot(
            str(number),
            Decimal(generator.randint(1, 8)),
            Decimal(generator.randint(500, 1500)) / 100,
            SOLD_ON - dt.timedelta(days=generator.randint(1, 900)),
        )
        for number in range(generator.randint(1, 4))
    ]


def plan_within(lots, method, quantity, price, budget, increment="1"):
    """The plan that is to sell so many shares, within a budget of gains."""
    held = sum(lot.quantity for lot in lots)
    kept = (held - quantity) / held
    tax = TradeTax({"X": tuple(lots)}, TaxRules(RATES), NetGains(), SOLD_ON, method)
    request = TradeRequest(
        {"X": held},
        Decimal(0),
        {"X": price},
        {"X": kept},
        increments={"X": Decimal(increment)},
        limits=TradeLimits(max_realized_gain=budget),
        tax=tax,
    )
    return plan_trades(request)


def test_no_larger_sale_is_within_the_budget():
    generator = random.Random(11)
    stopped = 0
    for _ in range(150):
        lots, method = random_lots(generator), generator.choice(METHODS)
        quantity = generator.randint(1, int(sum(lot.quantity for lot in lots)))
        price, budget = Decimal(generator.randint(500, 1500)) / 100, Decimal(generator.randint(0, 3000)) / 100
        allowed = [
            shares
            for shares in range(1, quantity + 1)
            if gain_of(select_lots(lots, Sale(Decimal(shares), price, SOLD_ON, 12), method, RATES)) <= budget
        ]
        plan = plan_within(lots, method, quantity, price, budget)
        best = max(allowed, default=0)
        assert sum(trade.quantity for trade in plan.trades) == best
        assert plan.tax.gains.total <= budget
        stopped += best < quantity
    assert stopped > 20


def test_a_loss_further_on_pays_for_the_gain_before_it():
    lots = [
        TaxLot("gain", Decimal(10), Decimal(5), dt.date(2020, 1, 2)),
        TaxLot("loss", Decimal(10), Decimal(15), dt.date(2021, 1, 4)),
    ]
    (trade,) = plan_within(lots, LotMethod.FIFO, 20, Decimal(10), Decimal(0)).trades
    assert trade.quantity == 20
    # A plan may pass its target by a share, not by two.
    assert not plan_within(lots, LotMethod.FIFO, 18, Decimal(10), Decimal(0)).trades


def test_a_tiny_increment_uses_the_budget():
    lots = [TaxLot("A", Decimal(1_000_000), Decimal("9.999999"), dt.date(2020, 1, 2))]
    budget = Decimal("0.5")
    plan = plan_within(lots, LotMethod.FIFO, 1_000_000, Decimal(10), budget, increment="0.000001")
    (trade,) = plan.trades
    assert abs(trade.quantity - 500_000) <= 10_000
    assert plan.tax.gains.total <= budget


@pytest.mark.parametrize("limit", ["-1", "NaN", "Infinity"])
def test_malformed_budgets_are_refused(limit):
    with pytest.raises(ProblemError, match=r"limits\.max_realized_gain"):
        TradeLimits(max_realized_gain=Decimal(limit))


def test_waiting_saves_the_difference_of_the_rates():
    lot = TaxLot("A", Decimal(10), Decimal(50), dt.date(2024, 7, 1))
    advice = wait_or_sell(lot, Decimal(60), SOLD_ON, RATES, 12)
    assert (advice.long_term_from, advice.days_to_wait, advice.tax_saved) == (dt.date(2025, 7, 2), 2, 20)
    assert wait_or_sell(lot, Decimal(40), SOLD_ON, RATES, 12).tax_saved == -20
    assert wait_or_sell(lot, Decimal(60), dt.date(2025, 7, 2), RATES, 12) is None
    assert wait_or_sell(lot, Decimal(60), SOLD_ON, RATES, 6) is None


def test_waiting_counts_from_a_period_that_a_wash_sale_moved():
    lot = TaxLot("A", Decimal(10), Decimal(50), dt.date(2025, 6, 2), held_since=dt.date(2024, 7, 1))
    assert wait_or_sell(lot, Decimal(60), SOLD_ON, RATES, 12).days_to_wait == 2
