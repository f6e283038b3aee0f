"""What a household meets in the window: exposures of trades, locks of purchases, and malformed households."""

import pickle
from decimal import Decimal

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.household import (
    Account,
    Household,
    HouseholdLot,
    IdenticalInstruments,
    RealizedLoss,
    SamePurchase,
    WashPolicies,
)
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.wash_exposure import OpenLoss, PurchaseLock, WashExposure, purchase_locks, wash_exposure
from kernel.rebalancing.wash_sales import record_purchase, record_sale
from tests.unit.kernel.rebalancing.ledgers import DEFAULT, RULES, buy, day, household, sell, settle

PAIRS = [("FUND", "ETF")]
START = household("ira", taxable=("taxable", "spouse"), pairs=PAIRS)
STATE = settle(
    buy("old", "2023-01-03", 20, 50, instrument="FUND"),
    sell("s", "2025-06-02", 40, ("old", 8), instrument="FUND"),
    buy("new", "2025-05-20", 3, 41, account="spouse", instrument="ETF"),
    buy("own", "2025-05-25", 2, 41, instrument="ETF"),
    buy("later", "2025-06-20", 6, 42, account="ira", instrument="FUND"),
    start=START,
).household


def exposure(account="taxable", when="2025-06-25", instruments=("FUND", "ETF", "XYZ"), policies=DEFAULT):
    return wash_exposure(STATE, account, day(when), instruments, RULES, policies=policies)


def test_replacements_are_what_is_held_and_unused_within_the_window():
    """The 8 shares sold at a loss used up new, own and 3 of later; 3 of later are left."""
    assert exposure()["FUND"] == WashExposure(Decimal(3), (), Decimal(3), (), frozenset({"ETF"}))
    assert exposure()["ETF"] == WashExposure(Decimal(3), (), Decimal(3), (), frozenset({"FUND"}))
    assert "XYZ" not in exposure()


@pytest.mark.parametrize(("when", "quantity"), [("2025-07-20", 3), ("2025-07-21", 0)])
def test_the_thirtieth_day_after_a_purchase_still_counts(when, quantity):
    assert exposure(when=when)["FUND"].replacements == quantity


def test_own_lots_are_named_in_the_order_of_purchase():
    state = settle(
        buy("b", "2025-06-03", 3, 10),
        buy("a", "2025-06-02", 2, 10),
        buy("c", "2025-06-02", 4, 10, account="spouse"),
        start=START,
    ).household
    (found,) = wash_exposure(state, "taxable", day("2025-06-10"), ["XYZ"], RULES, policies=DEFAULT).values()
    assert (found.replacements, found.own, found.retirement) == (9, (("a", 2), ("b", 3)), 0)
    assert not found.literal
    literal = WashPolicies(same_purchase=SamePurchase.LITERAL)
    assert wash_exposure(state, "taxable", day("2025-06-10"), ["XYZ"], RULES, policies=literal)["XYZ"].literal


def test_open_losses_say_until_when():
    state = settle(
        buy("A", "2023-01-03", 4, 50),
        buy("B", "2025-01-03", 4, 44),
        sell("s", "2025-06-02", 40, ("A", 4)),
        sell("t", "2025-06-02", 41, ("B", 4)),
    ).household
    found = wash_exposure(state, "taxable", day("2025-06-20"), ["XYZ"], RULES, policies=DEFAULT)["XYZ"]
    until = day("2025-07-03")
    assert found.open_losses == (
        OpenLoss(Decimal(4), Decimal(10), False, until),
        OpenLoss(Decimal(4), Decimal(3), True, until),
    )
    assert wash_exposure(state, "taxable", until, ["XYZ"], RULES, policies=DEFAULT) == {}


def test_sales_of_a_retirement_account_meet_no_replacements_but_its_purchases_meet_losses():
    state = settle(
        buy("A", "2025-05-25", 4, 50),
        buy("B", "2025-05-26", 9, 50, account="ira"),
        sell("s", "2025-06-02", 40, ("A", 4)),
        start=START,
    ).household
    more = settle(buy("C", "2025-05-26", 4, 50), sell("t", "2025-06-03", 40, ("C", 4)), start=START).household
    assert "XYZ" in wash_exposure(state, "taxable", day("2025-06-10"), ["XYZ"], RULES, policies=DEFAULT)
    assert wash_exposure(state, "ira", day("2025-06-10"), ["XYZ"], RULES, policies=DEFAULT) == {}
    (found,) = wash_exposure(more, "ira", day("2025-06-10"), ["XYZ"], RULES, policies=DEFAULT).values()
    assert [loss.quantity for loss in found.open_losses] == [4]


def test_an_unknown_account_is_refused():
    with pytest.raises(ProblemError, match=r"accounts\[who\]"):
        exposure(account="who")


@pytest.mark.parametrize(("when", "locked"), [("2025-06-02", True), ("2025-07-02", True), ("2025-07-03", False)])
def test_the_lock_holds_through_the_thirtieth_day(when, locked):
    state = settle(buy("A", "2023-01-03", 4, 50), sell("s", "2025-06-02", 40, ("A", 4))).household
    expected = {"XYZ": PurchaseLock(day("2025-07-03"), Decimal(40))} if locked else {}
    assert purchase_locks(state, day(when), RULES) == expected


def test_a_purchase_washes_exactly_while_it_is_locked():
    state = settle(buy("A", "2023-01-03", 4, 50), sell("s", "2025-06-02", 40, ("A", 4))).household
    for when in ("2025-06-02", "2025-07-02", "2025-07-03", "2025-09-01"):
        _, matches = record_purchase(state, buy("B", when, 4, 41), RULES, DEFAULT)
        assert bool(matches) == bool(purchase_locks(state, day(when), RULES))


def test_locks_add_losses_up_and_cover_identical_instruments():
    state = settle(
        buy("A", "2023-01-03", 4, 50, instrument="FUND"),
        buy("B", "2023-01-03", 4, 50, instrument="ETF"),
        sell("s", "2025-06-02", 40, ("A", 4), instrument="FUND"),
        sell("t", "2025-06-12", 45, ("B", 4), instrument="ETF"),
        start=START,
    ).household
    lock = PurchaseLock(day("2025-07-13"), Decimal(60))
    assert purchase_locks(state, day("2025-06-20"), RULES) == {"ETF": lock, "FUND": lock}
    assert purchase_locks(state, day("2025-07-05"), RULES) == {
        "ETF": PurchaseLock(day("2025-07-13"), Decimal(20)),
        "FUND": PurchaseLock(day("2025-07-13"), Decimal(20)),
    }


def test_the_exposure_foretells_what_the_engine_disallows():
    state = settle(
        buy("A", "2023-01-03", 10, 50),
        buy("B", "2025-06-01", 3, 41, account="spouse"),
        buy("C", "2025-06-05", 2, 41, account="ira"),
        start=START,
    ).household
    found = wash_exposure(state, "taxable", day("2025-06-20"), ["XYZ"], RULES, policies=DEFAULT)["XYZ"]
    _, (part,) = record_sale(state, sell("s", "2025-06-20", 40, ("A", 10)), RULES, DEFAULT)
    assert part.disallowed == 10 * found.replacements
    assert part.lost == 10 * found.retirement


def test_malformed_households_are_refused():
    account, lot = Account("a"), TaxLot("A", Decimal(1), Decimal(1), day("2025-01-02"))
    with pytest.raises(ProblemError, match="an account id is given twice"):
        Household((account, account))
    with pytest.raises(ProblemError, match=r"lots\[A\]: is given twice for XYZ in account a"):
        Household((account,), (HouseholdLot("a", "XYZ", lot),) * 2)
    with pytest.raises(ProblemError, match=r"accounts\[b\]: is not an account"):
        Household((account,), (HouseholdLot("b", "XYZ", lot),))
    with pytest.raises(ProblemError, match=r"losses\[s\]\.loss"):
        RealizedLoss("a", "s", "XYZ", "A", Decimal(1), Decimal(0), day("2025-01-02"), day("2024-01-02"))
    with pytest.raises(ProblemError, match=r"lots\[A\]\.held_since: 2025-01-03 is after the purchase on 2025-01-02"):
        TaxLot("A", Decimal(1), Decimal(1), day("2025-01-02"), held_since=day("2025-01-03"))


def test_the_relation_is_symmetric_and_reads_any_order():
    relation = IdenticalInstruments.of_pairs([("B", "A"), ("A", "B"), ("C", "C")])
    assert relation == IdenticalInstruments.of_pairs([("A", "B")])
    assert relation.to("A") == relation.to("B") == {"A", "B"}
    assert relation.to("C") == {"C"}


def test_a_household_crosses_processes():
    assert pickle.loads(pickle.dumps(STATE)) == STATE
