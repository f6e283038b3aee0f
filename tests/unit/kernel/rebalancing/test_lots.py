"""Tax lots: order, partial sales, terms and exact sums."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.rebalancing.lots import (
    GainRates,
    LotMethod,
    Sale,
    TaxLot,
    Term,
    first_long_term_date,
    holding_term,
    select_lots,
)
from kernel.rebalancing.money import to_cents

RATES = GainRates(Decimal("0.408"), Decimal("0.238"))
SOLD_ON = dt.date(2025, 6, 30)


def lot(name, quantity, cost, acquired):
    return TaxLot(name, Decimal(quantity), Decimal(cost), dt.date.fromisoformat(acquired))


LOTS = (
    lot("old", 10, 80, "2020-01-02"),
    lot("middle", 10, 130, "2022-01-03"),
    lot("new", 10, 95, "2025-03-03"),
)


def names(method, quantity=30, price=100):
    return [
        sold.lot.lot_id for sold in select_lots(LOTS, Sale(Decimal(quantity), Decimal(price), SOLD_ON), method, RATES)
    ]


@pytest.mark.parametrize(
    ("method", "order"),
    [
        (LotMethod.FIFO, ["old", "middle", "new"]),
        (LotMethod.LIFO, ["new", "middle", "old"]),
        (LotMethod.HIFO, ["middle", "new", "old"]),
        (LotMethod.LEAST_TAX, ["middle", "new", "old"]),
        (LotMethod.AVOID_SHORT_TERM, ["middle", "old", "new"]),
    ],
)
def test_order_of_each_method(method, order):
    assert names(method) == order


def test_the_last_lot_is_sold_in_part():
    first, second = select_lots(LOTS, Sale(Decimal("12.5"), Decimal(100), SOLD_ON), LotMethod.FIFO, RATES)
    assert (first.quantity, first.gain, first.term) == (10, Decimal(200), Term.LONG)
    assert (second.quantity, second.proceeds, second.cost_basis, second.gain) == (Decimal("2.5"), 250, 325, -75)


def test_ties_go_to_the_older_lot():
    twins = (lot("b", 1, 50, "2024-01-02"), lot("a", 1, 50, "2024-01-02"), lot("c", 1, 50, "2023-01-03"))
    for method in (LotMethod.FIFO, LotMethod.HIFO, LotMethod.LEAST_TAX):
        sold = select_lots(
            twins, Sale(Decimal(3), Decimal(60), dt.date(2024, 2, 1)), method, GainRates(Decimal(0), Decimal(0))
        )
        assert [part.lot.lot_id for part in sold] == ["c", "a", "b"]


@given(
    st.lists(
        st.tuples(st.decimals("0.0001", "100", places=4), st.decimals("0", "500", places=2)), min_size=1, max_size=8
    ),
    st.decimals("0.01", "500", places=2),
    st.sampled_from(LotMethod),
    st.integers(1, 10_000),
)
def test_parts_add_up_to_the_sale_exactly(parts, price, method, share):
    lots = [TaxLot(str(i), q, c, dt.date(2024, 1, 2) + dt.timedelta(days=60 * i)) for i, (q, c) in enumerate(parts)]
    quantity = sum(part.quantity for part in lots) * Decimal(share) / 10_000
    sold = select_lots(lots, Sale(quantity, price, dt.date(2025, 12, 1)), method, RATES)
    assert sum(part.quantity for part in sold) == quantity
    assert sum(part.proceeds for part in sold) == to_cents(quantity * price)
    assert all(0 < part.quantity <= part.lot.quantity for part in sold)


@given(st.dates(dt.date(1990, 1, 1), dt.date(2040, 12, 31)))
def test_the_first_long_term_day_follows_the_anniversary(acquired):
    first = first_long_term_date(acquired)
    assert holding_term(acquired, first) is Term.LONG
    assert holding_term(acquired, first - dt.timedelta(days=1)) is Term.SHORT
    assert dt.timedelta(days=366) <= first - acquired <= dt.timedelta(days=367)


def test_a_leap_day_inside_or_at_the_end_of_the_period():
    assert first_long_term_date(dt.date(2023, 6, 15)) == dt.date(2024, 6, 16)
    assert first_long_term_date(dt.date(2011, 2, 28)) == dt.date(2012, 3, 1)
    assert first_long_term_date(dt.date(2024, 2, 28)) == dt.date(2025, 3, 1)
    assert first_long_term_date(dt.date(2024, 12, 31)) == dt.date(2026, 1, 1)


def test_malformed_sales_are_refused():
    with pytest.raises(ProblemError, match="hold 30 shares, fewer than the 31"):
        names(LotMethod.FIFO, quantity=31)
    with pytest.raises(ProblemError, match=r"sale\.quantity"):
        names(LotMethod.FIFO, quantity=0)
    with pytest.raises(ProblemError, match="is after the sale"):
        select_lots(LOTS, Sale(Decimal(1), Decimal(1), dt.date(2024, 1, 1)), LotMethod.FIFO, RATES)
    with pytest.raises(ProblemError, match="given twice"):
        select_lots((LOTS[0], LOTS[0]), Sale(Decimal(1), Decimal(1), SOLD_ON), LotMethod.FIFO, RATES)
    with pytest.raises(ProblemError, match=r"lots\[x\]\.quantity"):
        lot("x", 0, 1, "2024-01-02")
    with pytest.raises(ProblemError, match=r"rates\.long_term"):
        GainRates(Decimal("0.4"), Decimal("1.1"))
