"""Lots whose date or cost nobody knows: no choice of what they may have been is taxed more."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.rebalancing.household import Account, Household, HouseholdLot, SamePurchase, WashPolicies
from kernel.rebalancing.lots import GainRates, LotMethod, Sale, TaxLot, Term, select_lots
from kernel.rebalancing.tax import NetGains, TaxRules, net_gains, tax_on
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_exposure import wash_exposure
from kernel.rebalancing.wash_sales import AccountSale, record_sale

DAY = date(2024, 7, 5)
RATES = GainRates(Decimal("0.4"), Decimal("0.2"))
RULES = TaxRules(RATES, loss_limit=Decimal(3000))
SALE = Sale(Decimal(10), Decimal(100), DAY, 12)


def lot(cost, *, days=0, dated=True):
    return TaxLot("1", Decimal(10), Decimal(cost), DAY - timedelta(days=days), dated=dated)


@pytest.mark.parametrize(("cost", "term"), [(60, Term.SHORT), (100, Term.SHORT), (150, Term.LONG)])
def test_the_term_without_a_date_is_the_worse_one(cost, term):
    assert lot(cost, dated=False).term(SALE.price, DAY, 12) is term
    (sold,) = select_lots([lot(cost, dated=False)], SALE, LotMethod.FIFO, RATES)
    assert sold.term is term


def added_tax(sold, earlier):
    before = tax_on(earlier, RULES).tax
    return tax_on(net_gains([sold]).plus(earlier), RULES).tax - before


@given(
    cost=st.integers(0, 2000),
    days=st.integers(0, 3000),
    short=st.integers(-6000, 6000),
    long=st.integers(-6000, 6000),
)
def test_no_date_that_it_may_have_had_is_taxed_more(cost, days, short, long):
    """Whatever else the year has brought, gains, losses or both."""
    earlier = NetGains(Decimal(short), Decimal(long))
    (unknown,) = select_lots([lot(cost, dated=False)], SALE, LotMethod.FIFO, RATES)
    (known,) = select_lots([lot(cost, days=days)], SALE, LotMethod.FIFO, RATES)
    assert added_tax(unknown, earlier) >= added_tax(known, earlier)


def test_the_least_tax_knows_the_worse_term():
    """A gain of 400 without a date costs 160; one of 700 that is long-term costs 140 and goes first."""
    undated = TaxLot("1", Decimal(10), Decimal(60), DAY, dated=False)
    old = TaxLot("2", Decimal(10), Decimal(30), DAY - timedelta(days=900))
    (sold,) = select_lots([undated, old], SALE, LotMethod.LEAST_TAX, RATES)
    assert sold.lot is old


@pytest.mark.parametrize("same_purchase", list(SamePurchase))
@pytest.mark.parametrize("dated", [True, False])
def test_shares_of_an_unknown_day_are_no_evidence_of_a_replacement(same_purchase, dated):
    """A lot bought on the day replaces the old one that is sold at a loss; one that only counts as bought does not."""
    old = TaxLot("old", Decimal(10), Decimal(120), DAY - timedelta(days=900))
    other = TaxLot("other", Decimal(10), Decimal(30), DAY, dated=dated)
    household = Household((Account("a"),), tuple(HouseholdLot("a", "XYZ", each) for each in (old, other)))
    rules, policies = TaxRuleSet("US", date.min, 12, 30, Decimal(3000), Decimal(1500)), WashPolicies(same_purchase)
    sale = AccountSale("a", "s", "XYZ", (("old", Decimal(10)),), Decimal(100), DAY)
    after, (part,) = record_sale(household, sale, rules, policies)
    assert part.disallowed == (200 if dated else 0)
    assert sum(loss.loss for loss in after.losses) == (0 if dated else 200)
    met = wash_exposure(household, "a", DAY, ["XYZ"], rules, policies=policies)
    assert {name: found.replacements for name, found in met.items()} == ({"XYZ": 10} if dated else {})


@pytest.mark.parametrize("dated", [True, False])
def test_shares_of_an_unknown_day_that_were_sold_replace_nothing_later(dated):
    sold = TaxLot("sold", Decimal(10), Decimal(30), DAY, dated=dated)
    household = Household((Account("a"),), (HouseholdLot("a", "XYZ", sold),))
    rules = TaxRuleSet("US", date.min, 12, 30, Decimal(3000), Decimal(1500))
    sale = AccountSale("a", "s", "XYZ", (("sold", Decimal(10)),), Decimal(100), DAY)
    after, _ = record_sale(household, sale, rules, WashPolicies(count_sold_replacements=True))
    assert len(after.sold) == int(dated)
