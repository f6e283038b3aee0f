"""Figures of tax years: carried on, and amended, against the law's worksheet."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_years import TaxYear

LIMIT = Decimal(3000)
MONEY = st.decimals("-20000", "20000", places=2)
LOSS = st.decimals("-20000", "0", places=2)


def gains(short, long):
    return NetGains(Decimal(short), Decimal(long))


def worksheet(short, long, limit=LIMIT):
    """Capital Loss Carryover Worksheet of Schedule D: the deduction counts as a short-term gain first."""
    deduction = min(limit, max(Decimal(0), -(short + long)))
    carried_short = max(Decimal(0), -short - deduction - max(long, Decimal(0)))
    after_short = max(Decimal(0), deduction + min(short, Decimal(0)))
    carried_long = max(Decimal(0), -long - max(short, Decimal(0)) - after_short)
    return -carried_short, -carried_long


@given(MONEY, MONEY, LOSS, LOSS)
def test_the_next_year_starts_from_the_worksheet(short, long, carried_short, carried_long):
    year = TaxYear(2026, NetGains(short, long), NetGains(carried_short, carried_long)).followed(LIMIT)
    assert (year.year, year.realised) == (2027, NetGains())
    assert (year.carried.short_term, year.carried.long_term) == worksheet(short + carried_short, long + carried_long)


@given(MONEY, MONEY, MONEY, MONEY)
def test_an_amended_year_is_the_year_as_it_should_have_been(short, long, more_short, more_long):
    """Whatever is carried, the sum is that of a year with the gains in it from the start; never more loss than that."""
    before = TaxYear(2026, NetGains(short, long))
    late = before.followed(LIMIT).amended(NetGains(more_short, more_long)).carried.total
    right = before.with_gains(NetGains(more_short, more_long)).followed(LIMIT).carried.total
    if before.followed(LIMIT).carried.total:
        assert late == right
    else:
        assert late == 0 >= right


@pytest.mark.parametrize(
    ("carried", "taken_back", "left"),
    [
        ((-3000, 0), (6000, 0), (0, 0)),
        ((0, -3000), (0, 1000), (0, -2000)),
        ((-500, -500), (0, 700), (-300, 0)),
        ((0, 0), (0, 6000), (0, 0)),
        ((0, 0), (-100, 0), (0, 0)),
        ((0, -10), (-100, 0), (-100, -10)),
    ],
)
def test_a_loss_taken_back_uses_at_most_what_is_carried(carried, taken_back, left):
    year = TaxYear(2026, gains(1, 2), gains(*carried)).amended(gains(*taken_back))
    assert year == TaxYear(2026, gains(1, 2), gains(*left))
