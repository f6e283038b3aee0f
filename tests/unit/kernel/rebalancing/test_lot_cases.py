"""Holding periods and lot selection against the shared known answers."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel.rebalancing.lots import (
    GainRates,
    LotMethod,
    Sale,
    TaxLot,
    Term,
    first_date_beyond,
    first_long_term_date,
    holding_term,
    select_lots,
)
from tests.unit.kernel.rebalancing.golden_cases import load_cases

PERIODS = load_cases("holding_period")
CASES = load_cases("lot_selection")
SOLD_ON = dt.date(2026, 3, 20)
ACQUIRED_FOR_TERM = {"short": dt.date(2026, 1, 2), "long": dt.date(2020, 1, 2)}


@pytest.mark.parametrize("case", [case for case, body in PERIODS.items() if "term" in body["expected"]])
def test_term(case):
    inputs = {key: dt.date.fromisoformat(value) for key, value in PERIODS[case]["inputs"].items()}
    assert holding_term(inputs["acquired"], inputs["sold"]) == PERIODS[case]["expected"]["term"]


def test_six_months_and_days_to_wait():
    caspe = PERIODS["hp-14"]["inputs"]
    first = first_date_beyond(dt.date.fromisoformat(caspe["acquired"]), caspe["threshold_months"])
    beyond = dt.date.fromisoformat(caspe["sold"]) >= first
    assert beyond is PERIODS["hp-14"]["expected"]["more_than_threshold"]
    wait, expected = PERIODS["hp-15"]["inputs"], PERIODS["hp-15"]["expected"]
    first = first_long_term_date(dt.date.fromisoformat(wait["acquired"]))
    assert first == dt.date.fromisoformat(expected["first_long_term_date"])
    assert (first - dt.date.fromisoformat(wait["today"])).days == expected["calendar_days_to_wait"]


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
    return select_lots(lots, Sale(quantity, Decimal(inputs["price"]), SOLD_ON), method, rates), rates


def sold_by_lot(sales):
    return {sale.lot.lot_id: sale.quantity for sale in sales}


def test_a_named_lot_is_the_only_one_offered():
    sales, _ = sell("lot-01", LotMethod.FIFO, [lot for lot in lots_of("lot-01") if lot.lot_id == "2000"])
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
