"""The wash-sale engine against the shared known answers."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel.rebalancing.household import Account, Household, SamePurchase, WashPolicies
from kernel.rebalancing.lots import Term
from kernel.rebalancing.wash_ledger import settle_ledger
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale
from tests.unit.kernel.rebalancing.golden_cases import load_cases
from tests.unit.kernel.rebalancing.ledgers import DEFAULT, RULES

CASES = load_cases("wash_sale_irs")
STATED = {
    "realized_loss",
    "disallowed_loss",
    "allowed_loss",
    "permanently_lost",
    "basis",
    "basis_per_share",
    "basis_increase_in_ira",
    "recognized_gain",
    "net_recognized",
    "days_tacked",
    "effective_acquired",
    "term_of_final_sale",
    "final_gain",
    "policy_single_purchase_is_not_its_own_replacement",
    "policy_literal",
    "remaining_basis",
}


def events_of(trades):
    """Purchases and sales; a sale that names no lot takes the oldest first."""
    events, held = [], {}
    for at, trade in enumerate(trades):
        day, shares = dt.date.fromisoformat(trade["date"]), Decimal(trade["shares"])
        account = trade.get("account", "taxable")
        if trade["type"] == "buy":
            held[trade["lot"]] = shares
            cost = Decimal(trade["total_cost"]) / shares
            events.append(AccountPurchase(account, trade["lot"], "XYZ", shares, cost, day))
            continue
        lots, wanted = [], shares
        for lot in [trade["from_lot"]] if "from_lot" in trade else list(held):
            taken = min(wanted, held[lot])
            held[lot] -= taken
            wanted -= taken
            lots.append((lot, taken))
        assert not wanted
        events.append(AccountSale(account, f"sale-{at}", "XYZ", tuple(lots), trade["total_proceeds"] / shares, day))
    return events


def settle(case, policies=DEFAULT):
    accounts = (Account("taxable"), Account("ira", retirement=True))
    events = events_of(CASES[case]["inputs"]["trades"])
    return settle_ledger(events, [RULES], policies, start=Household(accounts)), events


def found(report, events):
    """What a case may state, computed from the report."""
    loss_sales = [sale for sale in report.sales if sale.gain < 0]
    realized = -sum(sale.gain for sale in loss_sales)
    bought = {event.lot_id: event for event in events if isinstance(event, AccountPurchase)}
    basis, start = {}, {}
    for held in report.lots:
        lot = held.lot_id.partition("~")[0]
        basis[lot] = basis.get(lot, 0) + held.lot.basis
        start[lot] = held.held_from
    for match in (match for sale in report.sales for match in sale.matches):
        start.setdefault(match.lot_id.partition("~")[0], match.holding_from)
    retirement = [held for held in report.lots if held.account_id == "ira"]
    cost_in_ira = sum(held.quantity * bought[held.lot_id.partition("~")[0]].unit_cost for held in retirement)
    days = [
        (bought[match.lot_id.partition("~")[0]].acquired_on - match.holding_from).days
        for sale in report.sales
        for match in sale.matches
        if match.holding_from
    ]
    return {
        "realized_loss": realized,
        "disallowed_loss": report.disallowed,
        "allowed_loss": realized - report.disallowed,
        "permanently_lost": report.lost,
        "basis": basis,
        "basis_per_share": basis.get("B", 0) / bought["B"].quantity if "B" in bought else None,
        "basis_increase_in_ira": sum(held.lot.basis for held in retirement) - cost_in_ira,
        "recognized_gain": sum(sale.gain for sale in report.sales if sale.gain > 0),
        "net_recognized": sum(sale.recognised for sale in report.sales),
        "days_tacked": days[0] if days else 0,
        "effective_acquired": {lot: day.isoformat() for lot, day in start.items()},
        "term_of_final_sale": report.sales[-1].term,
        "final_gain": report.sales[-1].gain,
        "remaining_basis": sum(held.lot.basis for held in report.lots),
    }


def plain(case):
    return not any(name.startswith("policy") for name in CASES[case]["expected"])


def test_every_stated_figure_is_known():
    named = {name for case in CASES.values() for name in case["expected"]}
    assert named <= STATED


@pytest.mark.parametrize("policies", [DEFAULT, WashPolicies(same_purchase=SamePurchase.LITERAL)])
@pytest.mark.parametrize("case", [case for case in CASES if plain(case)])
def test_published_example(case, policies):
    figures = found(*settle(case, policies))
    for name, value in CASES[case]["expected"].items():
        if isinstance(value, dict):
            assert {lot: figures[name].get(lot) for lot in value} == value
        else:
            assert figures[name] == value


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("policy_single_purchase_is_not_its_own_replacement", SamePurchase.EXEMPT),
        ("policy_literal", SamePurchase.LITERAL),
    ],
)
def test_conflicting_readings_are_policies(name, policy):
    for case in (case for case in CASES if not plain(case)):
        figures = found(*settle(case, WashPolicies(same_purchase=policy)))
        expected = CASES[case]["expected"][name]
        assert {figure: figures[figure] for figure in expected} == expected


def test_the_tacked_sale_is_long_and_its_own_period_is_not():
    report, events = settle("ws-tack")
    assert report.sales[-1].term is Term.LONG
    assert (report.sales[-1].sold_on - events[2].acquired_on).days == 215
