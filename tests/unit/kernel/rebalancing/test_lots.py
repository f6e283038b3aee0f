"""Tax lots: order, partial sales, terms and exact sums."""

import datetime as dt
from dataclasses import replace
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
    first_date_beyond,
    holding_term,
    select_lots,
    select_specific,
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
        sold.lot.lot_id
        for sold in select_lots(LOTS, Sale(Decimal(quantity), Decimal(price), SOLD_ON, 12), method, RATES)
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
    first, second = select_lots(LOTS, Sale(Decimal("12.5"), Decimal(100), SOLD_ON, 12), LotMethod.FIFO, RATES)
    assert (first.quantity, first.gain, first.term) == (10, Decimal(200), Term.LONG)
    assert (second.quantity, second.proceeds, second.cost_basis, second.gain) == (Decimal("2.5"), 250, 325, -75)


def test_ties_go_to_the_older_lot():
    twins = (lot("b", 1, 50, "2024-01-02"), lot("a", 1, 50, "2024-01-02"), lot("c", 1, 50, "2023-01-03"))
    for method in (LotMethod.FIFO, LotMethod.HIFO, LotMethod.LEAST_TAX):
        sold = select_lots(
            twins, Sale(Decimal(3), Decimal(60), dt.date(2024, 2, 1), 12), method, GainRates(Decimal(0), Decimal(0))
        )
        assert [part.lot.lot_id for part in sold] == ["c", "a", "b"]


@given(
    st.lists(
        st.tuples(st.decimals("0.0001", "100", places=4), st.decimals("0", "500", places=2)), min_size=1, max_size=8
    ),
    st.decimals("0.01", "500", places=2),
    st.sampled_from([method for method in LotMethod if method is not LotMethod.SPECIFIC]),
    st.integers(1, 10_000),
)
def test_parts_add_up_to_the_sale_exactly(parts, price, method, share):
    lots = [TaxLot(str(i), q, c, dt.date(2024, 1, 2) + dt.timedelta(days=60 * i)) for i, (q, c) in enumerate(parts)]
    quantity = sum(part.quantity for part in lots) * Decimal(share) / 10_000
    sold = select_lots(lots, Sale(quantity, price, dt.date(2025, 12, 1), 12), method, RATES)
    assert sum(part.quantity for part in sold) == quantity
    assert sum(part.proceeds for part in sold) == to_cents(quantity * price)
    assert all(0 < part.quantity <= part.lot.quantity for part in sold)


@given(st.dates(dt.date(1990, 1, 1), dt.date(2040, 12, 31)))
def test_the_first_long_term_day_follows_the_anniversary(acquired):
    first = first_date_beyond(acquired, 12)
    assert holding_term(acquired, first, 12) is Term.LONG
    assert holding_term(acquired, first - dt.timedelta(days=1), 12) is Term.SHORT
    assert dt.timedelta(days=366) <= first - acquired <= dt.timedelta(days=367)


def test_a_leap_day_inside_or_at_the_end_of_the_period():
    assert first_date_beyond(dt.date(2023, 6, 15), 12) == dt.date(2024, 6, 16)
    assert first_date_beyond(dt.date(2011, 2, 28), 12) == dt.date(2012, 3, 1)
    assert first_date_beyond(dt.date(2024, 2, 28), 12) == dt.date(2025, 3, 1)
    assert first_date_beyond(dt.date(2024, 12, 31), 12) == dt.date(2026, 1, 1)


def test_malformed_sales_are_refused():
    with pytest.raises(ProblemError, match="hold 30 shares, fewer than the 31"):
        names(LotMethod.FIFO, quantity=31)
    with pytest.raises(ProblemError, match=r"sale\.quantity"):
        names(LotMethod.FIFO, quantity=0)
    with pytest.raises(ProblemError, match="is after the sale"):
        select_lots(LOTS, Sale(Decimal(1), Decimal(1), dt.date(2024, 1, 1), 12), LotMethod.FIFO, RATES)
    with pytest.raises(ProblemError, match="given twice"):
        select_lots((LOTS[0], LOTS[0]), Sale(Decimal(1), Decimal(1), SOLD_ON, 12), LotMethod.FIFO, RATES)
    with pytest.raises(ProblemError, match=r"lots\[x\]\.quantity"):
        lot("x", 0, 1, "2024-01-02")
    with pytest.raises(ProblemError, match=r"rates\.long_term"):
        GainRates(Decimal("0.4"), Decimal("1.1"))


def specific(quantity, named):
    sold = select_specific(LOTS, Sale(Decimal(quantity), Decimal(100), SOLD_ON, 12), named)
    return [(part.lot.lot_id, part.quantity, part.gain) for part in sold]


def test_named_lots_are_sold_in_their_order():
    assert specific(12, {"new": Decimal(5), "old": None}) == [("new", 5, 25), ("old", 7, 140)]
    assert specific(5, {"new": Decimal(5), "old": None}) == [("new", 5, 25)]


@pytest.mark.parametrize(
    ("quantity", "named", "message"),
    [
        (5, {"none": None}, r"lots\[none\]: is not a lot"),
        (5, {"new": Decimal(11)}, r"lots\[new\]\.quantity: must not exceed the 10 held, got 11"),
        (5, {"new": Decimal(0)}, r"lots\[new\]\.quantity: must be positive"),
        (5, {"new": Decimal("NaN")}, r"lots\[new\]\.quantity: must be positive"),
        (5, {"new": Decimal(-1), "old": None}, r"lots\[new\]\.quantity: must be positive"),
        (6, {"new": Decimal(5)}, "the lots named hold 5 shares, fewer than the 6"),
        (1, {}, "the lots named hold 0 shares, fewer than the 1"),
    ],
)
def test_what_cannot_be_sold_as_named_is_refused(quantity, named, message):
    with pytest.raises(ProblemError, match=message):
        specific(quantity, named)


def test_specific_needs_names():
    with pytest.raises(ProblemError, match="SPECIFIC needs the lots named"):
        names(LotMethod.SPECIFIC)


@given(st.lists(st.decimals("0.01", "7", places=2), min_size=1, max_size=6), st.decimals("0", "99", places=4))
def test_the_bases_of_the_sales_of_a_lot_add_up_exactly(quantities, cost):
    left = TaxLot("A", sum(quantities), cost, dt.date(2024, 1, 2))
    whole, taken = left.basis, Decimal(0)
    for at, quantity in enumerate(quantities):
        (part,) = select_lots([left], Sale(quantity, Decimal(50), SOLD_ON, 12), LotMethod.FIFO, RATES)
        taken += part.cost_basis
        if at < len(quantities) - 1:
            left = replace(left, quantity=left.quantity - quantity)
            assert taken + left.basis == whole
    assert taken == whole


def test_a_period_that_a_wash_sale_moved_decides_the_term_and_not_the_order():
    moved = TaxLot("moved", Decimal(1), Decimal(50), dt.date(2025, 6, 2), held_since=dt.date(2024, 6, 3))
    plain = TaxLot("plain", Decimal(1), Decimal(50), dt.date(2025, 5, 2))
    sold = select_lots([moved, plain], Sale(Decimal(2), Decimal(60), SOLD_ON, 12), LotMethod.FIFO, RATES)
    assert [(part.lot.lot_id, part.term) for part in sold] == [("plain", Term.SHORT), ("moved", Term.LONG)]
    least = select_lots([moved, plain], Sale(Decimal(1), Decimal(60), SOLD_ON, 12), LotMethod.LEAST_TAX, RATES)
    assert least[0].lot is moved


@pytest.mark.parametrize(("months", "term"), [(6, Term.LONG), (7, Term.SHORT)])
def test_the_months_are_the_rules(months, term):
    half = TaxLot("half", Decimal(1), Decimal(50), dt.date(2024, 12, 15))
    (part,) = select_lots([half], Sale(Decimal(1), Decimal(60), SOLD_ON, months), LotMethod.FIFO, RATES)
    assert part.term is term


def test_the_end_of_the_calendar_does_not_run_over():
    assert first_date_beyond(dt.date(9999, 6, 1), 12) == dt.date.max
    assert first_date_beyond(dt.date(9998, 12, 30), 12) == dt.date(9999, 12, 31)
    assert first_date_beyond(dt.date.max, 12) == dt.date.max
