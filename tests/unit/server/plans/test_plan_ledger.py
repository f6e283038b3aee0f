"""Which lots a fill takes, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.household import (
    Account,
    Household,
    HouseholdLot,
    IdenticalInstruments,
    RealizedLoss,
    WashPolicies,
)
from kernel.rebalancing.lots import GainRates, LotMethod, Sale, TaxLot, Term
from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import part_id
from server.plans.ledger import Ledger, LedgerRules, OpenSale, PlannedLot, fill_id, left_of_plan, lots_to_sell, net_of
from storage.plan_records import PlanExecution

DAY = date(2026, 11, 20)
RULES = TaxRuleSet(
    jurisdiction="US",
    valid_from=date(1989, 1, 1),
    long_term_months=12,
    wash_sale_days=30,
    loss_limit=Decimal(3000),
    separate_loss_limit=Decimal(1500),
    source="a test",
)
TERMS = LedgerRules(RULES, WashPolicies(), LotMethod.FIFO, GainRates(Decimal("0.4"), Decimal("0.2")))


def lot(lot_id: str, quantity: str, cost: str = "100", acquired_on: date = date(2020, 1, 2)) -> TaxLot:
    return TaxLot(lot_id, Decimal(quantity), Decimal(cost), acquired_on)


def planned(**lots: str) -> list[PlannedLot]:
    return [PlannedLot(name, Decimal(quantity)) for name, quantity in lots.items()]


def execution(**changes: Any) -> PlanExecution:
    plain = {
        "rebalance_id": "p",
        "execution_id": "e",
        "number": 1,
        "instrument_id": "KO",
        "action": "sell",
        "status": "filled",
        "quantity": Decimal(10),
        "price": Decimal(90),
        "cost": Decimal(0),
        "executed_at": None,
        "traded_on": DAY,
        "comment": "",
        "recorded_at": datetime(2026, 11, 20, tzinfo=UTC),
        "actor": "oms",
    }
    return PlanExecution(**{**plain, **changes})


def taken(lots: list[TaxLot], wanted: str, choice: list[PlannedLot], terms: LedgerRules = TERMS) -> dict[str, Decimal]:
    return dict(lots_to_sell(lots, choice, Sale(Decimal(wanted), Decimal(90), DAY, 12), terms))


LOTS = [lot("a", "10", "50"), lot("b", "20", "120", date(2021, 1, 4)), lot("c", "5", "80", date(2026, 6, 1))]


@pytest.mark.parametrize(
    ("wanted", "choice", "expected"),
    [
        ("5", planned(), {"a": 5}),
        ("15", planned(), {"a": 10, "b": 5}),
        ("5", planned(c="5"), {"c": 5}),
        ("7", planned(c="5", b="10"), {"c": 5, "b": 2}),
        ("12", planned(c="5", b="3"), {"c": 5, "b": 3, "a": 4}),
        ("35", planned(c="1"), {"c": 5, "a": 10, "b": 20}),
        ("6", planned(gone="9"), {"a": 6}),
        ("15", planned(c="50"), {"c": 5, "a": 10}),
    ],
)
def test_the_plan_s_lots_come_first(wanted: str, choice: list[PlannedLot], expected: dict[str, int]) -> None:
    assert taken(LOTS, wanted, choice) == expected


def test_other_lots_follow_the_method_of_the_portfolio() -> None:
    assert taken(LOTS, "8", planned(c="3"), replace(TERMS, method=LotMethod.HIFO)) == {"c": 3, "b": 5}
    assert taken(LOTS, "8", planned(), replace(TERMS, method=LotMethod.LIFO)) == {"c": 5, "b": 3}


def test_a_lot_that_was_split_since_stands_for_its_parts() -> None:
    parts = [lot("a~1", "4", "60"), lot("a", "6", "50"), lot("ab", "9", "10", date(2019, 1, 2))]
    # The shares that have replaced nothing are what the plan meant.
    assert taken(parts, "8", planned(a="10")) == {"a": 6, "a~1": 2}


def test_a_lot_with_a_long_id_that_was_split_since_stands_for_its_parts() -> None:
    whole = "00000000-0000-4000-8000-000000000007"
    parts = [lot(part_id(whole, set()), "4", "60"), lot(whole, "6", "50"), lot("ab", "9", "10", date(2019, 1, 2))]
    taken_of = dict(
        lots_to_sell(parts, [PlannedLot(whole, Decimal(10))], Sale(Decimal(8), Decimal(90), DAY, 12), TERMS)
    )
    assert {lot_id: quantity for lot_id, quantity in taken_of.items() if lot_id != "ab"} == taken_of
    assert sum(taken_of.values()) == 8


def test_lots_bought_after_the_sale_are_not_taken() -> None:
    late = [lot("a", "4"), lot("b", "4", acquired_on=date(2026, 11, 21))]
    assert taken(late, "4", planned(b="4")) == {"a": 4}
    with pytest.raises(ProblemError, match="on or before 2026-11-20 do not hold 1 of the shares sold"):
        taken(late, "5", planned())


@pytest.mark.parametrize(
    ("sold", "expected"),
    [("0", {"c": 5, "b": 3}), ("2", {"c": 3, "b": 3}), ("5", {"b": 3}), ("7.5", {"b": "0.5"}), ("8", {}), ("99", {})],
)
def test_what_earlier_fills_took_is_left_out_of_the_plan(sold: str, expected: dict[str, Any]) -> None:
    left = left_of_plan(planned(c="5", b="3"), Decimal(sold))
    assert {each.lot_id: each.quantity for each in left} == {name: Decimal(value) for name, value in expected.items()}


def household(*lots: TaxLot, retirement: bool = False, losses: tuple[RealizedLoss, ...] = ()) -> Household:
    accounts = (Account("one", retirement=retirement),)
    return Household(accounts, tuple(HouseholdLot("one", "KO", each) for each in lots), losses)


def test_the_cost_of_a_sale_is_shared_by_its_lots_to_the_cent() -> None:
    ledger = Ledger("one", household(lot("a", "1"), lot("b", "1"), lot("c", "1")), TERMS)
    ledger.enter(execution(quantity=Decimal(3), cost=Decimal("1.00")), Decimal(3), ())
    assert [each.cost for each in ledger.transactions] == [Decimal("0.33"), Decimal("0.34"), Decimal("0.33")]
    assert sum(each.gain or 0 for each in ledger.transactions) == 270 - 1 - 300
    assert ledger.gains == {"one": {Term.LONG: Decimal("-31.00")}}
    ids = [each.id for each in ledger.transactions]
    assert len(set(ids)) == 3
    assert all(len(each) <= 36 for each in ids)


def test_the_same_fill_has_the_same_id_and_another_has_another() -> None:
    fills = [execution(), execution(quantity=Decimal(9)), execution(execution_id="f"), execution(rebalance_id="q")]
    assert fill_id(fills[0]) == fill_id(fills[1])
    assert len({fill_id(each) for each in fills}) == 3


def test_losses_of_lots_sold_together_do_not_replace_each_other() -> None:
    # Both lots were bought within the window and both are sold: nothing is left that would replace either.
    young = [lot("a", "5", "100", date(2026, 11, 2)), lot("b", "5", "110", date(2026, 11, 9))]
    ledger = Ledger("one", household(*young), TERMS)
    ledger.enter(execution(), Decimal(10), ())
    assert ledger.matches == []
    assert ledger.gains == {"one": {Term.SHORT: Decimal(-150)}}


def test_matches_name_the_transactions_of_their_sales() -> None:
    old, young = lot("a", "5", "100", date(2026, 1, 5)), lot("b", "5", "90", date(2026, 11, 9))
    ledger = Ledger("one", household(old, young), TERMS)
    ledger.enter(execution(quantity=Decimal(5)), Decimal(10), planned(a="5"))
    (match,) = ledger.matches
    assert match.sale_id == ledger.transactions[0].id
    assert (match.quantity, match.disallowed) == (5, Decimal("50.00"))
    assert ledger.gains == {"one": {Term.SHORT: Decimal(0)}}


def loss(sold_on: date) -> RealizedLoss:
    return RealizedLoss("one", "s", "KO", "a", Decimal(10), Decimal(100), sold_on, date(2020, 1, 2), term=Term.LONG)


def test_a_purchase_takes_back_a_loss_of_the_same_year_alone() -> None:
    bought = execution(action="buy", quantity=Decimal(5))
    ledger = Ledger("one", household(losses=(loss(date(2026, 11, 2)),)), TERMS)
    ledger.enter(bought, Decimal(0), ())
    assert ledger.gains == {"one": {Term.LONG: Decimal(50)}}
    january = replace(bought, traded_on=date(2027, 1, 4))
    ledger = Ledger("one", household(losses=(loss(date(2026, 12, 30)),)), TERMS)
    ledger.enter(january, Decimal(0), ())
    assert len(ledger.matches) == 1
    assert ledger.gains == {}
    assert net_of(ledger.amended, "one") == NetGains(Decimal(0), Decimal(50))
    assert net_of(ledger.amended, "two") == NetGains()


def test_shares_beside_others_without_a_lot_get_none() -> None:
    ledger = Ledger("one", household(), TERMS)
    ledger.enter(execution(action="buy"), Decimal(7), ())
    ledger.enter(execution(), Decimal(17), ())
    assert ledger.household.lots == ()
    assert [(each.action, each.lot_id, each.gain) for each in ledger.transactions] == [
        ("buy", None, None),
        ("sell", None, None),
    ]


def open_sale(quantity: str, price: str = "90", **lots: str) -> OpenSale:
    return OpenSale(Decimal(quantity), Decimal(price), tuple(planned(**lots)))


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_sale_in_two_fills_is_taxed_like_one(first: str) -> None:
    # The young lot is sold on the same day, so it does not replace the old one, whichever goes first.
    old, young = lot("a", "5", "100", date(2024, 5, 3)), lot("b", "5", "95", date(2026, 11, 9))
    once = Ledger("one", household(old, young), TERMS)
    once.enter(execution(), Decimal(10), planned(a="5", b="5"))
    twice = Ledger("one", household(old, young), TERMS)
    second = "b" if first == "a" else "a"
    half = Decimal(5)
    others = {"KO": open_sale("5", **{second: "5"})}
    twice.enter(execution(quantity=half), Decimal(10), planned(**{first: "5", second: "5"}), others)
    twice.enter(execution(execution_id="f", quantity=half), half, planned(**{second: "5"}))
    assert once.gains == twice.gains == {"one": {Term.LONG: Decimal(-50), Term.SHORT: Decimal(-25)}}
    assert once.matches == twice.matches == []


def test_only_what_is_still_sold_replaces_nothing() -> None:
    old, young = lot("a", "5", "100", date(2024, 5, 3)), lot("b", "5", "95", date(2026, 11, 9))
    ledger = Ledger("one", household(old, young), TERMS)
    ledger.enter(execution(quantity=Decimal(5)), Decimal(10), planned(a="5"), {"KO": open_sale("3", b="3")})
    (match,) = ledger.matches
    assert (match.quantity, match.disallowed) == (2, Decimal(20))
    parts = {held.lot_id: (held.quantity, held.lot.basis) for held in ledger.household.lots}
    # Two of the young shares take over 20 of the loss; the three that are sold later stay as they were.
    assert parts == {"b~1": (2, Decimal("210.00")), "b": (3, Decimal("285.00"))}
    ledger.enter(execution(execution_id="f", quantity=Decimal(3)), Decimal(5), planned(b="3"))
    assert ledger.gains == {"one": {Term.LONG: Decimal(-30), Term.SHORT: Decimal(-15)}}


def test_identical_shares_that_are_sold_on_the_same_day_replace_nothing() -> None:
    old, young = lot("a", "5", "100", date(2024, 5, 3)), lot("b", "5", "95", date(2026, 11, 9))
    both = Household(
        (Account("one", retirement=False),),
        (HouseholdLot("one", "KO", old), HouseholdLot("one", "PEP", young)),
        identical=IdenticalInstruments.of_pairs([("KO", "PEP")]),
    )
    for others, disallowed in (({"PEP": open_sale("5", b="5")}, 0), ({"PEP": open_sale("4")}, 10), ({}, 50)):
        ledger = Ledger("one", both, TERMS)
        ledger.enter(execution(quantity=Decimal(5)), Decimal(5), planned(a="5"), others)
        assert sum(match.disallowed for match in ledger.matches) == disallowed


def test_shares_that_are_held_after_all_replace_what_was_sold() -> None:
    old, young = lot("a", "5", "100", date(2024, 5, 3)), lot("b", "5", "95", date(2026, 11, 9))
    ledger = Ledger("one", household(old, young), TERMS)
    ledger.enter(execution(quantity=Decimal(5)), Decimal(10), planned(a="5"), {"KO": open_sale("5", b="5")})
    assert ledger.gains == {"one": {Term.LONG: Decimal(-50)}}
    (held,) = ledger.household.losses
    loss = replace(held, sale_id=ledger.transactions[0].id)
    ledger.replace_losses(DAY, [loss], {"b"})
    (match,) = ledger.matches
    assert (match.sale_id, match.lot_id, match.quantity) == (ledger.transactions[0].id, "b", 5)
    assert ledger.gains == {"one": {Term.LONG: Decimal(0)}}
    (kept,) = ledger.household.lots
    assert (kept.lot.basis, kept.lot.replaced_loss) == (Decimal(525), True)


@pytest.mark.parametrize("dated", [True, False])
def test_the_day_of_a_lot_that_is_not_known_is_not_made_up(*, dated: bool) -> None:
    bought = replace(lot("a", "10", "50", DAY), dated=dated)
    ledger = Ledger("one", household(bought), TERMS)
    ledger.enter(execution(), Decimal(10), ())
    (sold,) = ledger.transactions
    assert (sold.acquired_on, sold.gain) == (DAY if dated else None, Decimal("400.00"))
