"""Gains budgets against trying every quantity, and what waiting saves."""

import datetime as dt
import random
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.lot_advice import GainsBudget, select_within_budget, wait_or_sell
from kernel.rebalancing.lots import GainRates, LotMethod, Sale, TaxLot, select_lots

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


def test_no_larger_sale_is_within_the_budget():
    generator = random.Random(11)
    stopped = 0
    for _ in range(400):
        lots, method = random_lots(generator), generator.choice(METHODS)
        quantity = generator.randint(1, int(sum(lot.quantity for lot in lots)))
        sale = Sale(Decimal(quantity), Decimal(generator.randint(500, 1500)) / 100, SOLD_ON, 12)
        budget = GainsBudget(Decimal(generator.randint(0, 3000)) / 100)
        allowed = [
            shares
            for shares in range(1, quantity + 1)
            if gain_of(select_lots(lots, Sale(Decimal(shares), sale.price, SOLD_ON, 12), method, RATES))
            <= budget.max_realized_gains
        ]
        result = select_within_budget(lots, sale, method, RATES, budget)
        best = max(allowed, default=0)
        assert sum(part.quantity for part in result.sales) == best
        assert result.unsold == quantity - best
        assert result.gain == gain_of(result.sales) <= budget.max_realized_gains
        assert (result.reason == "TAX_BUDGET") == (best < quantity)
        stopped += best < quantity
    assert stopped > 50


def test_a_loss_further_on_pays_for_the_gain_before_it():
    lots = [
        TaxLot("gain", Decimal(10), Decimal(5), dt.date(2020, 1, 2)),
        TaxLot("loss", Decimal(10), Decimal(15), dt.date(2021, 1, 4)),
    ]
    result = select_within_budget(
        lots, Sale(Decimal(20), Decimal(10), SOLD_ON, 12), LotMethod.FIFO, RATES, GainsBudget(Decimal(0))
    )
    assert (result.unsold, result.reason) == (0, None)
    result = select_within_budget(
        lots, Sale(Decimal(19), Decimal(10), SOLD_ON, 12), LotMethod.FIFO, RATES, GainsBudget(Decimal(0))
    )
    assert (result.sales, result.unsold) == ((), 19)


def test_a_tiny_increment_takes_few_steps_and_uses_the_budget():
    lots = [TaxLot("A", Decimal(1_000_000), Decimal("9.999999"), dt.date(2020, 1, 2))]
    budget = GainsBudget(Decimal("0.5"), Decimal("0.000001"))
    sale = Sale(Decimal(1_000_000), Decimal(10), SOLD_ON, 12)
    result = select_within_budget(lots, sale, LotMethod.FIFO, RATES, budget)
    assert abs(sale.quantity - result.unsold - 500_000) <= 10_000
    assert result.gain <= budget.max_realized_gains


@pytest.mark.parametrize(("limit", "increment"), [("-1", 1), ("NaN", 1), (1, 0), (1, "-1")])
def test_malformed_budgets_are_refused(limit, increment):
    with pytest.raises(ProblemError, match=r"budget\."):
        GainsBudget(Decimal(limit), Decimal(increment))


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
