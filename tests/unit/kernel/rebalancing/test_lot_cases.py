"""Holding periods and lot selection against the shared known answers."""

import datetime as dt
import itertools
from decimal import Decimal

import pytest

from kernel.rebalancing.household import WashPolicies
from kernel.rebalancing.lot_advice import wait_or_sell
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
from kernel.rebalancing.request import TradeLimits, TradeRequest, TradeTax
from kernel.rebalancing.tax import NetGains, TaxRules, net_gains, tax_on
from kernel.rebalancing.trades import plan_trades
from kernel.rebalancing.wash_ledger import settle_ledger
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale
from tests.unit.kernel.rebalancing.golden_cases import load_cases
from tests.unit.kernel.rebalancing.ledgers import RULES

PERIODS = load_cases("holding_period")
CASES = load_cases("lot_selection")
SOLD_ON = dt.date(2026, 3, 20)
ACQUIRED_FOR_TERM = {"short": dt.date(2026, 1, 2), "long": dt.date(2020, 1, 2)}


@pytest.mark.parametrize("case", [case for case, body in PERIODS.items() if "term" in body["expected"]])
def test_term(case):
    inputs = {key: dt.date.fromisoformat(value) for key, value in PERIODS[case]["inputs"].items()}
    term = holding_term(inputs["acquired"], inputs["sold"], RULES.long_term_months)
    assert term == PERIODS[case]["expected"]["term"]


def test_six_months_and_days_to_wait():
    caspe = PERIODS["hp-14"]["inputs"]
    first = first_date_beyond(dt.date.fromisoformat(caspe["acquired"]), caspe["threshold_months"])
    beyond = dt.date.fromisoformat(caspe["sold"]) >= first
    assert beyond is PERIODS["hp-14"]["expected"]["more_than_threshold"]
    wait, expected = PERIODS["hp-15"]["inputs"], PERIODS["hp-15"]["expected"]
    lot = TaxLot("A", Decimal(10), Decimal(50), dt.date.fromisoformat(wait["acquired"]))
    today, rates = dt.date.fromisoformat(wait["today"]), GainRates(Decimal("0.408"), Decimal("0.238"))
    advice = wait_or_sell(lot, Decimal(60), today, rates, RULES.long_term_months)
    assert advice.long_term_from == dt.date.fromisoformat(expected["first_long_term_date"])
    assert advice.days_to_wait == expected["calendar_days_to_wait"]
    assert advice.tax_saved == 100 * (rates.short_term - rates.long_term)


def lots_of(case):
    return [
        TaxLot(
            entry["lot"],
            Decimal(entry.get("shares", 1)),
            Decimal(entry["unit_cost"]),
            dt.date.fromisoformat(entry["acquired"]) if "acquired" in entry else ACQUIRED_FOR_TERM[entry["term"]],
        )
        for entry in CASES[case]["inputs"]["lots"]
    ]


def sell(case, method, lots=None):
    inputs = CASES[case]["inputs"]
    lots = lots_of(case) if lots is None else lots
    quantity = Decimal(inputs.get("sell_shares", len(lots)))
    rates = GainRates(inputs.get("rate_st", Decimal("0.408")), inputs.get("rate_lt", Decimal("0.238")))
    return select_lots(
        lots, Sale(quantity, Decimal(inputs["price"]), SOLD_ON, RULES.long_term_months), method, rates
    ), rates


def sold_by_lot(sales):
    return {sale.lot.lot_id: sale.quantity for sale in sales}


def test_the_named_lot_is_sold():
    inputs = CASES["lot-01"]["inputs"]
    sale = Sale(Decimal(inputs["sell_shares"]), Decimal(inputs["price"]), SOLD_ON, RULES.long_term_months)
    sales = select_specific(lots_of("lot-01"), sale, {inputs["lot"]: None})
    assert sum(sale.gain for sale in sales) == CASES["lot-01"]["expected"]["gain"]


@pytest.mark.parametrize("case", ["lot-02", "lot-03", "lot-05"])
def test_fifo_and_hifo(case):
    sales, _ = sell(case, LotMethod(CASES[case]["inputs"]["method"].lower()))
    assert sold_by_lot(sales) == CASES[case]["expected"]["sold"]
    assert sum(sale.gain for sale in sales) == CASES[case]["expected"]["gain"]


@pytest.mark.parametrize(("name", "method"), [("HIFO", LotMethod.HIFO), ("MIN_TAX", LotMethod.LEAST_TAX)])
def test_least_tax_differs_from_hifo(name, method):
    sales, rates = sell("lot-04", method)
    expected = CASES["lot-04"]["expected"][name]
    assert sold_by_lot(sales) == expected["sold"]
    assert sum(sale.gain * rates.of(sale.term) for sale in sales) == expected["tax"]


def test_losses_then_long_gains_then_short_gains():
    sales, _ = sell("lot-07", LotMethod.AVOID_SHORT_TERM)
    order = [sale.lot.lot_id for sale in sales]
    assert set(order[:2]) == {"loss", "st_loss"}
    assert order[2:] == ["lt_gain_small", "lt_gain_big", "st_gain"]
    assert [sale.term for sale in sales[2:]] == [Term.LONG, Term.LONG, Term.SHORT]


def plan_within_budget(increment):
    inputs = CASES["lot-06"]["inputs"]
    lots, shares = lots_of("lot-06"), Decimal(inputs["sell_shares"])
    budget = Decimal(inputs["max_realized_gains"])
    tax = TradeTax(
        {"X": tuple(lots)}, TaxRules(GainRates(Decimal("0.408"), Decimal("0.238"))), NetGains(), SOLD_ON, LotMethod.HIFO
    )
    return plan_trades(
        TradeRequest(
            {"X": shares},
            Decimal(0),
            {"X": Decimal(inputs["price"])},
            {},
            increments={"X": increment},
            limits=TradeLimits(max_realized_gain=budget),
            tax=tax,
            price_limits=True,
        )
    )


def test_a_gains_budget_stops_within_a_lot():
    expected, plan = CASES["lot-06"]["expected"], plan_within_budget(Decimal(1))
    (trade,) = plan.trades
    assert sold_by_lot(plan.lot_sales["X"]) == expected["sold"]
    assert plan.tax.gains.total == expected["gain"]
    assert 100 - trade.quantity == expected["unsold"]
    assert [limit.name for limit in plan.limits if limit.binding] == ["max_realized_gain_amount"]


def test_fractions_use_the_whole_budget():
    plan = plan_within_budget(Decimal("0.001"))
    (trade,) = plan.trades
    assert 100 - trade.quantity == Decimal("48.889")
    assert plan.tax.gains.total == Decimal("99.99")


def test_least_tax_per_money_raised_comes_first():
    expected, rules = CASES["lot-08"]["expected"], TaxRules(GainRates(Decimal("0.408"), Decimal("0.238")))
    raised = []
    for entry in CASES["lot-08"]["inputs"]["lots"]:
        lot = TaxLot(entry["symbol"], Decimal(entry["shares"]), Decimal(entry["unit_cost"]), dt.date(2020, 1, 2))
        sale = Sale(lot.quantity, Decimal(entry["price"]), SOLD_ON, RULES.long_term_months)
        (part,) = select_lots([lot], sale, LotMethod.LEAST_TAX, rules.rates)
        raised.append((tax_on(net_gains([part]), rules).tax / part.proceeds, part))
    parts = [part for _, part in sorted(raised, key=lambda entry: entry[0])]
    assert [part.lot.lot_id for part in parts] == expected["order"]
    assert list(itertools.accumulate(part.proceeds for part in parts)) == expected["cumulative_proceeds"]
    assert list(itertools.accumulate(part.gain for part in parts)) == expected["cumulative_gain"]


@pytest.mark.parametrize("sells_both", [False, True])
def test_a_lot_bought_within_the_window_takes_over_a_loss(sells_both):
    inputs, expected = CASES["lot-09"]["inputs"], CASES["lot-09"]["expected"]
    bought = [
        AccountPurchase("taxable", lot.lot_id, "XYZ", lot.quantity, lot.unit_cost, lot.acquired_on)
        for lot in lots_of("lot-09")
    ]
    lots = [("old", Decimal(inputs["sell_shares"])), *([("new", Decimal(40))] if sells_both else [])]
    today = dt.date.fromisoformat(inputs["today"])
    sale = AccountSale("taxable", "sale", "XYZ", tuple(lots), Decimal(inputs["price"]), today)
    report = settle_ledger([*bought, sale], [RULES], WashPolicies())
    assert -report.sales[0].gain == expected["realized_loss"]
    assert report.disallowed == (0 if sells_both else expected["disallowed"])
    assert -report.sales[0].recognised == (expected["realized_loss"] if sells_both else expected["allowed"])
    assert sum(held.lot.basis for held in report.lots) == (0 if sells_both else expected["new_lot_basis"])


def test_every_case_is_posed():
    posed = {f"lot-{number:02}" for number in range(1, 10)}
    assert set(CASES) == posed
