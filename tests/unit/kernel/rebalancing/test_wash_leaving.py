"""Shares that leave on the day of a loss replace nothing; shares that stay after all do."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kernel.rebalancing.household import Household, HouseholdLot, SamePurchase, WashPolicies
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.wash_sales import AccountSale, record_replacements, record_sale
from tests.unit.kernel.rebalancing.ledgers import DEFAULT, RULES, household

DAY = date(2026, 11, 20)


def held(name: str, quantity: str, cost: str, days: int, account: str = "taxable", what: str = "XYZ") -> HouseholdLot:
    return HouseholdLot(account, what, TaxLot(name, Decimal(quantity), Decimal(cost), DAY - timedelta(days=days)))


def sale(*lots: tuple[str, str], what: str = "XYZ", price: str = "10") -> AccountSale:
    taken = tuple((name, Decimal(quantity)) for name, quantity in lots)
    return AccountSale("taxable", f"s-{lots[0][0]}", what, taken, Decimal(price), DAY)


def start(*lots: HouseholdLot, pairs: tuple[tuple[str, str], ...] = ()) -> Household:
    return replace(household("ira", pairs=pairs), lots=lots)


def basis(state: Household) -> Decimal:
    return sum((lot.lot.basis for lot in state.lots), Decimal(0))


@pytest.mark.parametrize(("leaving", "matched"), [("0", "10"), ("4", "8"), ("11.5", "0.5"), ("12", "0"), ("99", "0")])
def test_what_leaves_is_no_replacement(leaving: str, matched: str) -> None:
    before = start(held("old", "10", "12", 400), held("new", "12", "11.111", 5))
    after, (part,) = record_sale(
        before, sale(("old", "10")), RULES, DEFAULT, leaving={("XYZ", "new"): Decimal(leaving)}
    )
    assert sum(match.quantity for match in part.matches) == Decimal(matched)
    assert part.disallowed == 2 * Decimal(matched)
    # No cent is lost: what the lots cost is what they did and what they took over.
    assert basis(after) == Decimal("133.33") + part.disallowed
    assert sum(lot.quantity for lot in after.lots) == 12


def test_shares_of_other_lots_and_accounts_still_replace() -> None:
    before = start(held("old", "10", "12", 400), held("new", "4", "11", 5), held("new", "3", "11", 4, account="ira"))
    _, (part,) = record_sale(before, sale(("old", "10")), RULES, DEFAULT, leaving={("XYZ", "new"): Decimal(4)})
    assert [(match.account_id, match.quantity, match.lost) for match in part.matches] == [("ira", 3, True)]


def test_identical_shares_that_leave_do_not_replace() -> None:
    before = start(held("old", "10", "12", 400), held("like", "6", "11", 5, what="ABC"), pairs=(("XYZ", "ABC"),))
    for leaving, matched in (({}, 6), ({("ABC", "like"): Decimal(6)}, 0), ({("XYZ", "like"): Decimal(6)}, 6)):
        _, (part,) = record_sale(before, sale(("old", "10")), RULES, DEFAULT, leaving=leaving)
        assert sum(match.quantity for match in part.matches) == matched


@pytest.mark.parametrize("seed", range(60))
def test_a_day_in_fills_is_a_day_at_once(seed: int) -> None:
    """Any cut of a day's sale into fills, in any order of lots, realises what one sale of the same shares does."""
    chance = random.Random(seed)
    lots = [
        held(f"{k}", f"{chance.randint(1, 9)}", f"{chance.randint(5, 15)}", 10 * chance.randint(0, 6)) for k in range(5)
    ]
    sold = {lot.lot_id: Decimal(chance.randint(0, int(lot.quantity))) for lot in lots}
    sold = {name: quantity for name, quantity in sold.items() if quantity}
    if not sold:
        return
    _, whole = record_sale(start(*lots), sale(*((name, f"{q}") for name, q in sold.items())), RULES, DEFAULT)
    state, parts, left = start(*lots), [], dict(sold)
    names = list(sold)
    chance.shuffle(names)
    for name in names:
        quantity = left.pop(name)
        leaving = {("XYZ", other): still for other, still in left.items()}
        state, settled = record_sale(state, sale((name, f"{quantity}")), RULES, DEFAULT, leaving=leaving)
        parts += settled
    assert sum(part.disallowed for part in parts) == sum(part.disallowed for part in whole)
    assert sum(part.gain for part in parts) == sum(part.gain for part in whole)


def test_shares_that_stay_after_all_replace_what_was_sold() -> None:
    before = start(held("old", "10", "12", 400), held("new", "6", "11", 5))
    leaving = {("XYZ", "new"): Decimal(6)}
    between, (part,) = record_sale(before, sale(("old", "10")), RULES, DEFAULT, leaving=leaving)
    assert part.disallowed == 0
    after, (match,) = record_replacements(between, RULES, DEFAULT)
    at_once, (settled,) = record_sale(before, sale(("old", "10")), RULES, DEFAULT)
    assert (match,) == settled.matches
    assert (after.lots, after.losses) == (at_once.lots, at_once.losses)
    assert record_replacements(after, RULES, DEFAULT) == (after, ())


@pytest.mark.parametrize(("reading", "matched"), [(SamePurchase.EXEMPT, 0), (SamePurchase.LITERAL, 5)])
def test_what_is_left_of_the_lot_sold_counts_by_the_letter_alone(reading: SamePurchase, matched: int) -> None:
    policies = WashPolicies(same_purchase=reading)
    between, _ = record_sale(
        start(held("new", "10", "12", 5)), sale(("new", "5")), RULES, policies, leaving={("XYZ", "new"): Decimal(5)}
    )
    _, matches = record_replacements(between, RULES, policies)
    assert sum(match.quantity for match in matches) == matched
