"""Open losses of recorded transactions against a matching of single shares."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kernel.rebalancing.household import (
    Account,
    Household,
    HouseholdLot,
    IdenticalInstruments,
    SamePurchase,
    WashPolicies,
)
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import part_id
from server.tax_history import History, window_of, with_history
from storage.records import Transaction, WashSaleRecord

RULES = TaxRuleSet("US", date(1989, 1, 1), 12, 30, Decimal(3000), Decimal(1500))
DAY = date(2026, 3, 20)
ACCOUNTS = (Account("a"), Account("b"), Account("ira", retirement=True))
PAIRS = IdenticalInstruments.of_pairs([("AAPL", "KO")])
EXEMPT, LITERAL = WashPolicies(), WashPolicies(same_purchase=SamePurchase.LITERAL)


def lot(lot_id: str, day: date, quantity: int, *, account: str = "a", name: str = "AAPL") -> HouseholdLot:
    return HouseholdLot(account, name, TaxLot(lot_id, Decimal(quantity), Decimal(10), day))


def trade(identifier: str, day: date, quantity: int, **changes: object) -> Transaction:
    plain = {
        "portfolio_id": "a",
        "id": identifier,
        "instrument_id": "AAPL",
        "action": "sell",
        "quantity": Decimal(quantity),
        "price": Decimal(8),
        "traded_on": day,
        "gain": Decimal(-2 * quantity),
        "acquired_on": date(2025, 1, 2),
    }
    return Transaction(**{**plain, **changes})


def purchase(identifier: str, day: date, quantity: int, **changes: object) -> Transaction:
    plain = {"action": "buy", "gain": None, "acquired_on": None}
    return trade(identifier, day, quantity, **{**plain, **changes})


def household(*lots: HouseholdLot) -> Household:
    return Household(ACCOUNTS, tuple(sorted(lots, key=lambda held: held.acquired_on)), identical=PAIRS)


def open_shares(found: Household) -> dict[str, Decimal]:
    return {loss.sale_id: loss.quantity for loss in found.losses}


def days(count: int) -> date:
    return DAY - timedelta(days=count)


@dataclass
class Shares:
    """Single shares bought: where, of what, when, and whether they have replaced another."""

    account: str
    name: str
    lot_id: str
    day: date
    used: bool = False
    gone: bool = False


@dataclass
class Case:
    held: list[HouseholdLot] = field(default_factory=list)
    rows: list[Transaction] = field(default_factory=list)


def by_single_shares(case: Case) -> dict[str, int]:
    """How many shares of every loss nothing replaces: each share looks for the first free one bought within 30 days."""
    pool = [
        Shares(h.account_id, h.instrument_id, h.lot_id, h.acquired_on)
        for h in case.held
        for _ in range(int(h.quantity))
    ]
    held = Counter((share.account, share.name, share.day) for share in pool)
    for row in case.rows:
        if row.action == "buy":
            key = (row.portfolio_id, row.instrument_id, row.traded_on)
            for _ in range(int(row.quantity)):
                if held[key]:
                    held[key] -= 1
                else:
                    pool.append(Shares(*key[:2], row.lot_id or "", row.traded_on, gone=True))
    pool.sort(key=lambda share: (share.day, share.gone))
    left: Counter[str] = Counter()
    for row in case.rows:
        if row.action == "buy" or row.portfolio_id == "ira" or row.gain is None or row.gain >= 0:
            continue
        for _ in range(int(row.quantity)):
            for share in pool:
                near = abs((share.day - row.traded_on).days) <= 30
                same_name = share.name == row.instrument_id or {share.name, row.instrument_id} == {"AAPL", "KO"}
                own = (share.account, share.name, share.lot_id, share.day) == (
                    row.portfolio_id,
                    row.instrument_id,
                    row.lot_id,
                    row.acquired_on,
                )
                if (
                    near
                    and same_name
                    and not own
                    and not share.used
                    and not (share.gone and share.day <= row.traded_on)
                ):
                    share.used = True
                    break
            else:
                left[row.id] += 1
    return dict(left)


def random_case(seed: int) -> Case:
    chance = random.Random(seed)
    names, accounts = ("AAPL", "KO", "XOM"), ("a", "b", "ira")
    case = Case()
    for k in range(chance.randint(0, 5)):
        bought = days(chance.randint(-20, 80))
        case.held.append(
            lot(f"L{k}", bought, chance.randint(1, 6), account=chance.choice(accounts), name=chance.choice(names))
        )
    case.held.sort(key=lambda held: held.acquired_on)
    for k in range(chance.randint(1, 8)):
        common = {"portfolio_id": chance.choice(accounts), "instrument_id": chance.choice(names)}
        day, quantity = days(chance.randint(0, 70)), chance.randint(1, 6)
        if chance.random() < 0.35:
            case.rows.append(purchase(f"t{k}", day, quantity, **common))
        elif case.held and chance.random() < 0.4:
            source = chance.choice(case.held)
            own = {"portfolio_id": source.account_id, "instrument_id": source.instrument_id, "lot_id": source.lot_id}
            case.rows.append(trade(f"t{k}", day, quantity, acquired_on=source.acquired_on, **own))
        else:
            gain = chance.choice([Decimal(-2 * quantity), Decimal(5), None])
            case.rows.append(trade(f"t{k}", day, quantity, gain=gain, **common))
    case.rows.sort(key=lambda row: row.traded_on)
    return case


@pytest.mark.parametrize("block", range(10))
def test_open_losses_are_those_of_single_shares(block: int) -> None:
    compared = 0
    for seed in range(100 * block, 100 * block + 100):
        case = random_case(seed)
        found = with_history(household(*case.held), History(tuple(case.rows)), RULES, EXEMPT)
        assert open_shares(found) == by_single_shares(case), seed
        compared += len(found.losses)
    assert compared > 20


def test_losses_are_split_to_the_cent() -> None:
    sale = trade("s", days(10), 3, gain=Decimal("-10.00"))
    found = with_history(household(lot("new", days(5), 1)), History((sale,)), RULES, EXEMPT)
    (loss,) = found.losses
    assert (loss.quantity, loss.loss) == (2, Decimal("6.67"))
    assert (loss.acquired_on, loss.sold_on) == (date(2025, 1, 2), days(10))


def test_a_lot_that_was_used_up_replaces_no_more() -> None:
    lots = (lot("all", days(5), 3), lot("part", days(4), 3))
    found = with_history(household(*lots), History((trade("s", days(10), 4),)), RULES, EXEMPT)
    assert [held.lot.replaced_loss for held in found.lots] == [True, False]
    assert not found.losses


def test_settled_wash_sales_are_not_settled_again() -> None:
    """Of 5 shares sold, 3 were matched when they were bought again; those are sold since, and 2 are open."""
    match = WashSaleRecord(
        portfolio_id="a", sale_id="s", replacement_portfolio_id="a", replacement_lot_id="r", quantity=Decimal(3)
    )
    rows = (trade("s", days(10), 5), purchase("b", days(8), 3, lot_id="r", rebalance_id="plan"))
    found = with_history(household(), History(rows, (match,)), RULES, EXEMPT)
    assert open_shares(found) == {"s": 2}
    still = with_history(household(lot("r", days(8), 3)), History(rows, (match,)), RULES, EXEMPT)
    assert open_shares(still) == {"s": 2}
    assert [held.lot.replaced_loss for held in still.lots] == [True]


def test_a_lot_of_unknown_day_is_no_evidence() -> None:
    history = History((trade("s", days(10), 4),), undated=frozenset({("a", "x")}))
    found = with_history(household(lot("x", DAY, 4)), history, RULES, EXEMPT)
    assert open_shares(found) == {"s": 4}


@pytest.mark.parametrize(("policies", "left"), [(EXEMPT, 4), (LITERAL, 1)])
def test_what_is_left_of_the_lot_sold(policies: WashPolicies, left: int) -> None:
    sale = trade("s", days(10), 4, lot_id="x", acquired_on=days(20))
    found = with_history(household(lot("x", days(20), 3)), History((sale,)), RULES, policies)
    assert open_shares(found) == {"s": left}


def test_shares_bought_and_sold_again_count_where_the_policy_says_so() -> None:
    sale = trade("s", days(3), 4, gain=Decimal(7), acquired_on=days(9), lot_id="x")
    counted = WashPolicies(count_sold_replacements=True)
    assert not with_history(household(), History((sale,)), RULES, EXEMPT).sold
    (sold,) = with_history(household(), History((sale,)), RULES, counted).sold
    assert (sold.sale_id, sold.quantity, sold.acquired_on, sold.sold_on) == ("s", 4, days(9), days(3))


def test_a_sale_of_unknown_shares_is_short_term() -> None:
    (loss,) = with_history(household(), History((trade("s", days(3), 4, acquired_on=None),)), RULES, EXEMPT).losses
    assert (loss.term, loss.acquired_on) == ("short", days(3))


def test_the_window_holds_what_a_day_can_see() -> None:
    assert window_of(DAY, RULES) == (days(60), days(-30))


def test_a_loss_of_an_unknown_lot_stays_open_beside_what_may_be_left_of_it() -> None:
    """The lot held was bought on the day of the shares sold: they may be what is left of it. Another's are not."""
    sale = trade("s", days(10), 4, acquired_on=days(20))
    own = with_history(household(lot("x", days(20), 6)), History((sale,)), RULES, EXEMPT)
    assert open_shares(own) == {"s": 4}
    other = with_history(household(lot("x", days(20), 6, account="b")), History((sale,)), RULES, EXEMPT)
    assert open_shares(other) == {}
    assert open_shares(with_history(household(lot("x", days(20), 6)), History((sale,)), RULES, LITERAL)) == {}


def test_parts_of_a_lot_with_a_long_id_keep_its_place() -> None:
    """Of two purchases of one day the first recorded comes first, whether or not a wash sale has split it."""
    first, second = ("00000000-0000-4000-8000-00000000000" + end for end in "ab")
    rows = tuple(
        replace(purchase(name[-6:], days(40), 2, lot_id=name), sequence=k) for k, name in enumerate((first, second), 1)
    )
    part = part_id(first, set())
    held = household(lot(second, days(40), 2), lot(part, days(40), 1), lot(first, days(40), 1))
    found = with_history(held, History(rows), RULES, EXEMPT)
    assert [each.lot_id for each in found.lots] == [part, first, second]
