"""Netting of gains and losses: closed form, conservation and monotonicity."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotSale, TaxLot, Term
from kernel.rebalancing.tax import (
    NetGains,
    TaxRules,
    net_gains,
    recognised_gains,
    tax_of_settled,
    tax_on,
)
from tests.unit.kernel.rebalancing.ledgers import buy, household, sell, settle

RATES = GainRates(Decimal("0.40"), Decimal("0.20"))
LIMITED = TaxRules(RATES, loss_limit=Decimal(3000), ordinary_rate=Decimal("0.37"), carried_loss_value=Decimal("0.10"))
MONEY = st.decimals("-50000", "50000", places=2)


def sale(gain, term):
    lot = TaxLot("lot", Decimal(1), Decimal(0), dt.date(2024, 1, 2))
    return LotSale(lot, Decimal(1), Decimal(gain), Decimal(0), Decimal(gain), term)


@pytest.mark.parametrize(
    ("short", "long", "tax"),
    [
        (1000, 2000, 800),
        (1000, -400, 240),
        (-400, 1000, 120),
        (1000, -1000, 0),
        (-1000, 0, -370),
        (-5000, 0, -1310),
        (2000, -9000, -1510),
    ],
)
def test_tax_of_each_mixture_of_signs(short, long, tax):
    assert tax_on(NetGains(Decimal(short), Decimal(long)), LIMITED).tax == tax


def test_without_a_limit_a_loss_saves_nothing_now():
    bill = tax_on(NetGains(Decimal(-700), Decimal(-300)), TaxRules(RATES))
    assert (bill.tax, bill.deduction, bill.carried_short_term, bill.carried_long_term) == (0, 0, 700, 300)


@given(MONEY, MONEY)
def test_a_loss_is_deducted_or_carried_and_never_both(short, long):
    bill = tax_on(NetGains(short, long), LIMITED)
    assert bill.deduction + bill.carried_short_term + bill.carried_long_term == max(Decimal(0), -(short + long))
    assert bill.carried_short_term >= 0
    assert bill.carried_long_term >= 0


@given(MONEY, MONEY)
def test_carry_overs_by_the_words_of_the_law(short, long):
    """26 USC 1212(b)(2)(A): what is deducted counts as a short-term gain when the excess losses are determined."""
    bill = tax_on(NetGains(short, long), LIMITED)
    zero = Decimal(0)
    treated = short + min(LIMITED.loss_limit, max(zero, -short - long))
    assert bill.carried_short_term == max(zero, -treated - max(zero, long))
    assert bill.carried_long_term == max(zero, -long - max(zero, treated))


@given(MONEY, MONEY, st.decimals("0", "1000", places=2))
def test_a_larger_gain_is_never_taxed_less(short, long, more):
    base = tax_on(NetGains(short, long), LIMITED).tax
    assert tax_on(NetGains(short + more, long), LIMITED).tax >= base
    assert tax_on(NetGains(short, long + more), LIMITED).tax >= base


def test_sales_are_taxed_on_top_of_the_year():
    sales = [sale(-5000, Term.SHORT), sale(200, Term.LONG), sale(100, Term.LONG)]
    assert net_gains(sales) == NetGains(Decimal(-5000), Decimal(300))
    year = NetGains(Decimal(0), Decimal(10_000))
    assert tax_on(year, TaxRules(RATES)).tax == 2000
    assert tax_on(year.plus(net_gains(sales)), TaxRules(RATES)).tax == 1060


def test_no_sales_add_no_tax():
    assert tax_of_settled([], NetGains(Decimal(5), Decimal(5)), LIMITED).additional_tax == 0


def test_malformed_rules_are_refused():
    with pytest.raises(ProblemError, match=r"tax\.loss_limit"):
        TaxRules(RATES, loss_limit=Decimal(-1))
    with pytest.raises(ProblemError, match=r"tax\.ordinary_rate"):
        TaxRules(RATES, ordinary_rate=Decimal(2))


WASHED = settle(
    buy("A", "2024-01-02", 10, 50),
    buy("B", "2024-01-02", 10, 50, account="ira"),
    sell("a", "2025-06-02", 40, ("A", 10)),
    buy("C", "2025-06-10", 4, 41),
    buy("D", "2025-06-11", 2, 41, account="ira"),
    sell("b", "2025-06-20", 90, ("B", 10), account="ira"),
    sell("c", "2025-06-25", 61, ("C", 4)),
    start=household("ira"),
)


def test_what_is_disallowed_or_in_a_retirement_account_does_not_count():
    """A: loss 100 long, 40 of it into C, 20 lost; C: (61 - 51) * 4 = 40, long by A's days."""
    assert recognised_gains(WASHED.sales) == NetGains(Decimal(0), Decimal(-40) + 40)
    assert net_gains([]) == recognised_gains([]) == NetGains()


def test_the_tax_of_settled_sales_says_what_is_disallowed():
    outcome = tax_of_settled(WASHED.sales[:1], NetGains(Decimal(0), Decimal(1000)), LIMITED)
    assert (outcome.gains, outcome.disallowed, outcome.lost) == (NetGains(Decimal(0), Decimal(-40)), 60, 20)
    assert (outcome.before.tax, outcome.after.tax, outcome.additional_tax) == (200, 192, -8)


def test_the_next_year_starts_from_what_is_carried():
    """9000 long-term and 4000 short-term loss: 3000 of the short-term one is used, the rest keeps its character."""
    first = tax_on(NetGains(Decimal(-4000), Decimal(-9000)), LIMITED)
    assert (first.carried, first.carried_total) == (NetGains(Decimal(-1000), Decimal(-9000)), 10_000)
    second = tax_on(first.carried.plus(NetGains(Decimal(2500), Decimal(0))), LIMITED)
    assert (second.deduction, second.carried) == (3000, NetGains(Decimal(0), Decimal(-4500)))


@given(st.lists(st.tuples(MONEY, MONEY), min_size=1, max_size=6))
def test_over_the_years_every_loss_is_used_once(years):
    carried, deducted, gains = NetGains(), Decimal(0), Decimal(0)
    for short, long in years:
        bill = tax_on(carried.plus(NetGains(short, long)), LIMITED)
        carried, deducted = bill.carried, deducted + bill.deduction
        gains += max(Decimal(0), bill.gains.total)
    assert sum(short + long for short, long in years) == gains - deducted + carried.total
