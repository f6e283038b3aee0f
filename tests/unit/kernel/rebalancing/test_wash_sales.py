"""The edges of the wash-sale window, chains, splits, ties and refusals."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.household import HoldingPeriod, SamePurchase, WashPolicies
from kernel.rebalancing.lots import Term
from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_sales import record_purchase, record_sale
from tests.unit.kernel.rebalancing.ledgers import DEFAULT, RULES, buy, day, household, lots_of, sell, settle

LITERAL = WashPolicies(same_purchase=SamePurchase.LITERAL)
COPY = WashPolicies(holding_period=HoldingPeriod.COPY_DATE)
SOLD_COUNT = WashPolicies(count_sold_replacements=True)


def parts(report):
    return [(sale.lot_id, sale.gain, sale.disallowed, sale.term) for sale in report.sales]


@pytest.mark.parametrize(
    ("bought", "disallowed"),
    [
        ("2025-05-01", 0),  # 31 days before
        ("2025-05-02", 100),  # 30 days before
        ("2025-06-01", 100),  # the same day
        ("2025-07-01", 100),  # 30 days after
        ("2025-07-02", 0),  # 31 days after
    ],
)
def test_both_ends_of_the_window_are_in(bought, disallowed):
    report = settle(buy("A", "2024-01-02", 10, 50), buy("B", bought, 10, 45), sell("s", "2025-06-01", 40, ("A", 10)))
    assert report.disallowed == disallowed
    assert sum(held.lot.basis for held in report.lots) == 450 + disallowed


def test_the_window_is_the_rules():
    short = TaxRuleSet("T", dt.date(2000, 1, 1), 12, 5, Decimal(0), Decimal(0))
    events = buy("A", "2024-01-02", 10, 50), sell("s", "2025-06-01", 40, ("A", 10)), buy("B", "2025-06-07", 10, 45)
    assert settle(*events, rules=[short]).disallowed == 0
    assert settle(*events).disallowed == 100


def test_the_rules_of_the_day_hold():
    long = TaxRuleSet("US", dt.date(2025, 6, 5), 12, 60, Decimal(0), Decimal(0))
    events = buy("A", "2024-01-02", 10, 50), sell("s", "2025-06-01", 40, ("A", 10)), buy("B", "2025-07-20", 10, 45)
    assert settle(*events).disallowed == 0
    assert settle(*events, rules=[RULES, long]).disallowed == 100


def test_a_chain_carries_the_loss_and_the_days_on():
    """A loses 100, B takes them over and loses 150 itself, C takes over 150 and the days of both."""
    report = settle(
        buy("A", "2025-01-02", 10, 50),
        sell("a", "2025-02-03", 40, ("A", 10)),
        buy("B", "2025-02-10", 10, 42),
        sell("b", "2025-03-03", 37, ("B", 10)),
        buy("C", "2025-03-10", 10, 36),
    )
    assert parts(report) == [("A", -100, 100, Term.SHORT), ("B", -150, 150, Term.SHORT)]
    days = (day("2025-02-03") - day("2025-01-02")) + (day("2025-03-03") - day("2025-02-10"))
    assert lots_of(report) == {"C": (10, 51, day("2025-03-10") - days)}
    assert report.gains_by_year == {2025: NetGains()}


def test_a_share_replaces_only_once():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        buy("B", "2024-01-03", 10, 50),
        buy("C", "2025-06-01", 10, 45),
        sell("a", "2025-06-02", 40, ("A", 10)),
        sell("b", "2025-06-03", 40, ("B", 10)),
    )
    assert [sale.disallowed for sale in report.sales] == [100, 0]
    assert lots_of(report)["C"][1] == 55
    assert [loss.sale_id for loss in report.household.losses] == ["b"]


def test_a_smaller_replacement_splits_the_sale():
    report = settle(
        buy("A", "2024-01-02", 10, 50), sell("a", "2025-06-02", 40, ("A", 10)), buy("B", "2025-06-10", 4, 41)
    )
    assert report.disallowed == 40
    assert [(loss.quantity, loss.loss) for loss in report.household.losses] == [(6, 60)]
    assert lots_of(report)["B"][:2] == (4, 51)
    assert report.sales[0].recognised == -60


def test_a_larger_replacement_is_split():
    report = settle(
        buy("A", "2024-01-02", 10, 50), sell("a", "2025-06-02", 40, ("A", 10)), buy("B", "2025-06-10", 25, 41)
    )
    held = [(held.lot_id, held.quantity, held.lot.unit_cost, held.lot.replaced_loss) for held in report.lots]
    assert held == [("B~1", 10, 51, True), ("B", 15, 41, False)]
    assert lots_of(report)["B"][2] == day("2025-06-10")
    assert [match.lot_id for match in report.sales[0].matches] == ["B~1"]


def test_one_purchase_replaces_several_losses_in_the_order_of_disposition():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        buy("B", "2024-01-03", 10, 60),
        sell("b", "2025-06-02", 40, ("B", 10)),
        sell("a", "2025-06-03", 40, ("A", 10)),
        buy("C", "2025-06-10", 15, 41),
    )
    assert [(sale.sale_id, sale.disallowed) for sale in report.sales] == [("b", 200), ("a", 50)]
    assert {lot: cost for lot, (_, cost, _) in lots_of(report).items()} == {"C~1": 61, "C": 51}


def test_losses_of_one_day_are_taken_in_the_order_of_original_acquisition():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        buy("B", "2024-01-03", 10, 60),
        sell("b", "2025-06-02", 40, ("B", 10)),
        sell("a", "2025-06-02", 40, ("A", 10)),
        buy("C", "2025-06-10", 10, 41),
    )
    assert {sale.sale_id: sale.disallowed for sale in report.sales} == {"a": 100, "b": 0}


def test_lots_of_one_sale_are_taken_in_the_order_of_original_acquisition():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        buy("B", "2024-01-03", 10, 60),
        buy("C", "2025-06-01", 10, 41),
        sell("s", "2025-06-02", 40, ("B", 10), ("A", 10)),
    )
    assert {sale.lot_id: sale.disallowed for sale in report.sales} == {"A": 100, "B": 0}


def test_purchases_replace_in_their_order_and_those_of_one_day_in_the_order_given():
    bought = [buy("late", "2025-06-01", 4, 41), buy("first", "2025-05-20", 4, 41), buy("next", "2025-05-20", 4, 41)]
    report = settle(buy("A", "2024-01-02", 10, 50), *bought, sell("s", "2025-06-02", 40, ("A", 10)))
    assert [(match.lot_id, match.quantity) for match in report.sales[0].matches] == [
        ("first", 4),
        ("next", 4),
        ("late~1", 2),
    ]


def test_what_was_sold_before_the_loss_counts_by_policy_only():
    events = (
        buy("A", "2012-05-20", 10, 20),
        buy("B", "2012-05-25", 10, 100),
        sell("b", "2012-05-29", 120, ("B", 10)),
        sell("a", "2012-06-01", 10, ("A", 10)),
    )
    assert parts(settle(*events)) == [("B", 200, 0, Term.SHORT), ("A", -100, 0, Term.SHORT)]
    counted = settle(*events, policies=SOLD_COUNT)
    assert parts(counted) == [("B", 200, 0, Term.SHORT), ("A", -100, 100, Term.SHORT), ("B", -100, 0, Term.SHORT)]
    assert counted.sales[2].quantity == 0
    assert counted.sales[1].matches[0].replacement_sale_id == "b"
    assert counted.gains_by_year == settle(*events).gains_by_year == {2012: NetGains(Decimal(100), Decimal(0))}


def test_a_loss_taken_over_before_the_turn_of_the_year_counts_in_the_year_of_that_sale():
    events = (
        buy("A", "2011-01-03", 10, 20),
        buy("B", "2012-12-20", 10, 10),
        sell("b", "2012-12-21", 11, ("B", 10)),
        sell("a", "2013-01-16", 18, ("A", 10)),
    )
    counted = settle(*events, policies=SOLD_COUNT).gains_by_year
    assert counted == {2012: NetGains(Decimal(10), Decimal(-20)), 2013: NetGains()}


def test_a_day_trade_replaces_the_one_before_it_on_the_same_day():
    """Fairmark: bought and sold at a loss, bought again and sold at a gain: the loss reduces the gain."""
    report = settle(
        buy("A", "2014-05-01", 100, 10),
        sell("a", "2014-05-01", 9, ("A", 100)),
        buy("B", "2014-05-01", 100, 8),
        sell("b", "2014-05-01", 9, ("B", 100)),
    )
    assert parts(report) == [("A", -100, 100, Term.SHORT), ("B", 0, 0, Term.SHORT)]


def sold(report):
    """Basis, start of the holding period and disallowed loss of every part sold."""
    return [
        (sale.lot_id, sale.cost_basis, (sale.held_since or sale.acquired_on).isoformat(), sale.disallowed)
        for sale in report.sales
    ]


def test_overlapping_losses_of_the_open_tracker():
    """bbreslauer/wash-sale-tracker, overlapping_losses and overlapping_losses_with_a_used_gain."""
    a, b, c = buy("A", "2012-05-20", 10, 20), buy("B", "2012-05-25", 10, 100), buy("C", "2012-07-20", 10, 180)
    sales = sell("a", "2012-06-01", 10, ("A", 10)), sell("b", "2012-08-01", 70, ("B", 10))
    last = sell("c", "2012-08-20", 170, ("C", 10))
    assert sold(settle(a, b, c, *sales, last)) == [
        ("A", 200, "2012-05-20", 100),
        ("B", 1100, "2012-05-13", 400),
        ("C", 2200, "2012-05-01", 0),
    ]
    d = buy("D", "2012-05-24", 10, 110), sell("d", "2012-09-10", 130, ("D", 10))
    assert sold(settle(a, b, c, *d, *sales, last)) == [
        ("A", 200, "2012-05-20", 100),
        ("B", 1000, "2012-05-25", 300),
        ("C", 2100, "2012-05-13", 0),
        ("D", 1200, "2012-05-12", 0),
    ]


def test_the_long_chain_of_the_open_tracker():
    """bbreslauer/wash-sale-tracker, long_chain_with_different_num_shares."""
    report = settle(
        buy("1", "2015-02-01", 3, 600),
        sell("a", "2015-02-02", 500, ("1", 3)),
        *(buy(lot, "2015-03-01", shares, 600) for lot, shares in (("2", 5), ("3", 5), ("4", 4))),
        sell("b", "2015-03-02", 500, ("2~1", 3), ("2", 2)),
        sell("c", "2015-03-02", 500, ("3~1", 3), ("3", 2)),
        sell("d", "2015-03-02", 500, ("4~1", 3), ("4", 1)),
    )
    assert sold(report) == [
        ("1", 1800, "2015-02-01", 300),
        ("2~1", 2100, "2015-02-28", 600),
        ("2", 1200, "2015-03-01", 200),
        ("3~1", 2400, "2015-02-27", 900),
        ("3", 1400, "2015-02-28", 200),
        ("4~1", 2700, "2015-02-26", 0),
        ("4", 800, "2015-02-27", 0),
    ]


def test_shares_of_one_sale_do_not_replace_each_other():
    report = settle(
        buy("A", "2025-05-20", 10, 50),
        buy("B", "2025-05-21", 10, 60),
        sell("s", "2025-06-02", 40, ("A", 10), ("B", 10)),
    )
    assert report.disallowed == 0


def test_a_gain_is_never_washed_and_does_not_hide_a_loss():
    report = settle(
        buy("A", "2025-05-20", 10, 50),
        buy("B", "2024-05-21", 10, 30),
        sell("s", "2025-06-02", 40, ("A", 10), ("B", 10)),
        buy("C", "2025-06-10", 20, 41),
    )
    assert parts(report) == [("A", -100, 100, Term.SHORT), ("B", 100, 0, Term.LONG)]
    assert report.gains_by_year == {2025: NetGains(Decimal(0), Decimal(100))}


def test_parts_of_a_purchase_are_still_one_purchase():
    """B is split by A's loss; selling one part does not wash against the other, unless the letter is read."""
    events = (
        buy("A", "2024-01-02", 10, 50),
        sell("a", "2025-06-02", 40, ("A", 10)),
        buy("B", "2025-06-10", 25, 41),
    )
    sale = sell("b", "2025-06-20", 35, ("B~1", 10))
    assert settle(*events, sale).sales[1].disallowed == 0
    assert settle(*events, sale, policies=LITERAL).sales[1].disallowed == 160


def test_a_lot_whose_id_leaves_no_room_is_split_and_still_one_purchase():
    name = "5f0c1b9e-8d1c-4f0e-9b1a-0123456789ab"
    events = (buy("A", "2024-01-02", 10, 50), sell("a", "2025-06-02", 40, ("A", 10)), buy(name, "2025-06-10", 25, 41))
    report = settle(*events)
    part = report.lots[0].lot_id
    assert len(part) <= 36
    assert part != name
    again = settle(*events, sell("b", "2025-06-20", 35, (part, 10)))
    assert again.sales[1].disallowed == 0


def test_another_purchase_of_the_same_day_replaces():
    report = settle(
        buy("A", "2025-06-01", 10, 50), buy("B", "2025-06-01", 10, 50), sell("s", "2025-06-12", 40, ("A", 10))
    )
    assert report.disallowed == 100
    assert lots_of(report)["B"][1] == 60


@pytest.mark.parametrize(("policies", "since"), [(DEFAULT, "2024-06-23"), (COPY, "2024-06-03")])
def test_the_holding_period_by_policy(policies, since):
    """B is bought 20 days after the sale of A: with A's days added its period starts 20 days after A's own start."""
    report = settle(
        buy("A", "2024-06-03", 10, 50),
        sell("s", "2025-04-02", 40, ("A", 10)),
        buy("B", "2025-04-22", 10, 45),
        policies=policies,
    )
    assert lots_of(report)["B"][2] == day(since)


def test_copying_the_date_never_shortens_a_holding_period():
    report = settle(
        buy("B", "2025-05-20", 10, 45),
        buy("A", "2025-06-01", 10, 50),
        sell("s", "2025-06-02", 40, ("A", 10)),
        policies=COPY,
    )
    assert lots_of(report)["B"][2] == day("2025-05-20")


def test_a_taken_over_period_makes_the_sale_long():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        sell("a", "2024-12-02", 40, ("A", 10)),
        buy("B", "2024-12-10", 10, 40),
        sell("b", "2025-02-03", 60, ("B", 10)),
    )
    assert parts(report)[1] == ("B", 100, 0, Term.LONG)
    assert report.gains_by_year[2025] == NetGains(Decimal(0), Decimal(100))


@pytest.mark.parametrize("ira", ["ira", "spouse-ira"])
def test_a_replacement_in_a_retirement_account_loses_the_loss(ira):
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        sell("a", "2025-06-02", 40, ("A", 10)),
        buy("B", "2025-06-10", 4, 41, account=ira),
        start=household("ira", "spouse-ira"),
    )
    assert (report.disallowed, report.lost) == (40, 40)
    assert lots_of(report)["B"] == (4, 41, day("2025-06-10"))
    assert report.sales[0].matches[0].holding_from is None
    assert report.gains_by_year[2025] == NetGains(Decimal(0), Decimal(-60))


def test_sales_in_retirement_accounts_have_no_tax_effect():
    report = settle(
        buy("A", "2025-05-20", 10, 50, account="ira"),
        buy("B", "2025-05-25", 10, 50),
        sell("a", "2025-06-02", 40, ("A", 10), account="ira"),
        buy("C", "2025-06-10", 10, 41),
        start=household("ira"),
    )
    assert report.disallowed == 0
    assert report.household.losses == ()
    assert report.gains_by_year == {2025: NetGains()}


def test_a_taxable_account_of_the_household_takes_the_loss_over():
    report = settle(
        buy("A", "2024-01-02", 10, 50),
        buy("B", "2025-05-25", 10, 41, account="spouse"),
        sell("a", "2025-06-02", 40, ("A", 10)),
        start=household(taxable=("taxable", "spouse")),
    )
    assert (report.disallowed, report.lost) == (100, 0)
    assert lots_of(report)["B"][1] == 51


@pytest.mark.parametrize(("sold", "bought"), [("FUND", "ETF"), ("ETF", "FUND")])
def test_identical_instruments_replace_each_other_both_ways(sold, bought):
    start = household(pairs=[("FUND", "ETF"), ("ETF", "OTHER")])
    report = settle(
        buy("A", "2024-01-02", 10, 50, instrument=sold),
        sell("a", "2025-06-02", 40, ("A", 10), instrument=sold),
        buy("B", "2025-06-10", 10, 80, instrument=bought),
        start=start,
    )
    assert report.disallowed == 100
    assert lots_of(report)["B"][1] == 90


def test_the_relation_goes_no_further_than_its_pairs():
    start = household(pairs=[("FUND", "ETF"), ("ETF", "OTHER")])
    report = settle(
        buy("A", "2024-01-02", 10, 50, instrument="FUND"),
        sell("a", "2025-06-02", 40, ("A", 10), instrument="FUND"),
        buy("B", "2025-06-10", 10, 80, instrument="OTHER"),
        start=start,
    )
    assert report.disallowed == 0


def test_cents_of_a_loss_are_shared_without_a_rest():
    """0.10 of loss over three shares, replaced one by one: 0.03 + 0.04 + 0.03."""
    report = settle(
        buy("A", "2024-01-02", 3, Decimal(10) / 3),
        sell("a", "2025-06-02", Decimal("9.90") / 3, ("A", 3)),
        *(buy(f"B{i}", "2025-06-10", 1, 3) for i in range(3)),
    )
    assert report.sales[0].gain == Decimal("-0.10")
    taken = [match.disallowed for match in report.sales[0].matches]
    assert sum(taken) == Decimal("0.10")
    assert max(taken) - min(taken) == Decimal("0.01")
    assert sum(held.lot.basis for held in report.lots) == Decimal("9.10")


def test_a_period_from_the_beginning_of_time_does_not_run_over():
    report = settle(buy("A", "0001-01-02", 1, 50), buy("B", "2025-06-01", 1, 40), sell("a", "2025-06-20", 40, ("A", 1)))
    assert lots_of(report)["B"][2] == dt.date.min


HELD, _ = record_purchase(household("ira"), buy("A", "2025-01-02", 10, 50), RULES, DEFAULT)


@pytest.mark.parametrize(
    ("sale", "message"),
    [
        (sell("s", "2025-06-02", 40, ("A", 11)), r"sale\.lots\[A\]\.quantity: the lot of XYZ holds 10 shares, fewer"),
        (sell("s", "2025-06-02", 40, ("B", 1)), r"sale\.lots\[B\]: is not a lot of XYZ in account taxable"),
        (sell("s", "2025-06-02", 40, ("A", 1), instrument="Q"), r"is not a lot of Q"),
        (sell("s", "2025-06-02", 40, ("A", 1), account="ira"), r"is not a lot of XYZ in account ira"),
        (sell("s", "2025-06-02", 40, ("A", 1), account="who"), r"accounts\[who\]"),
        (sell("s", "2025-06-02", 40, ("A", 0)), r"quantity: must be positive"),
        (sell("s", "2025-06-02", 40, ("A", -1)), r"quantity: must be positive"),
        (sell("s", "2025-06-02", 40, ("A", "NaN")), r"quantity: must be positive"),
        (sell("s", "2025-06-02", "Infinity", ("A", 1)), r"sale\.price"),
        (sell("s", "2025-06-02", -1, ("A", 1)), r"sale\.price"),
        (sell("s", "2025-06-02", 40, ("A", 1), ("A", 1)), r"names a lot twice"),
        (sell("s", "2025-06-02", 40), r"takes from no lot"),
        (sell("s", "2025-01-01", 40, ("A", 1)), r"2025-01-02 is after the sale on 2025-01-01"),
    ],
)
def test_impossible_sales_are_refused(sale, message):
    with pytest.raises(ProblemError, match=message):
        record_sale(HELD, sale, RULES, DEFAULT)


@pytest.mark.parametrize(
    ("purchase", "message"),
    [
        (buy("A", "2025-06-02", 1, 1), r"lots\[A\]: is a lot of account taxable already"),
        (buy("B", "2025-06-02", 1, 1, account="who"), r"accounts\[who\]"),
        (buy("B", "2025-06-02", 0, 1), r"lots\[B\]\.quantity"),
        (buy("B", "2025-06-02", "NaN", 1), r"lots\[B\]\.quantity"),
        (buy("B", "2025-06-02", 1, -1), r"lots\[B\]\.unit_cost"),
    ],
)
def test_impossible_purchases_are_refused(purchase, message):
    with pytest.raises(ProblemError, match=message):
        record_purchase(HELD, purchase, RULES, DEFAULT)


def test_a_sale_is_not_given_twice():
    sale = sell("s", "2025-06-02", 40, ("A", 1))
    with pytest.raises(ProblemError, match=r"sales\[s\]: is given twice in account taxable"):
        settle(buy("A", "2025-01-02", 10, 50), sale, sale)


def test_a_refused_event_leaves_the_household_as_it_was():
    before = HELD
    with pytest.raises(ProblemError):
        record_sale(HELD, sell("s", "2025-06-02", 40, ("A", 4), ("B", 1)), RULES, DEFAULT)
    assert before == HELD
    assert HELD.lots[0].quantity == 10
