"""Which execution reports fit a plan, how far its trades are, and what is held after them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from portfolio_optimization.v1 import trade_pb2

from server.convert.faults import Faults
from server.errors import InvalidRequest
from server.plans.positions import Position, after_execution, from_stored, replay, to_stored, weights
from server.plans.progress import advanced, all_closed, check_fits, progress_of, summary
from storage.plan_records import PlanExecution

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
TRADES = (
    trade_pb2.Trade(instrument_id="XOM", action="sell", exact_quantity="100"),
    trade_pb2.Trade(instrument_id="KO", action="buy", exact_quantity="12.5"),
)


def execution(**changes: Any) -> PlanExecution:
    plain = {
        "rebalance_id": "p",
        "execution_id": "e",
        "number": 1,
        "instrument_id": "XOM",
        "action": "sell",
        "status": "partially_filled",
        "quantity": Decimal(40),
        "price": Decimal("110.255"),
        "cost": Decimal("1.50"),
        "executed_at": None,
        "traded_on": date(2026, 11, 20),
        "comment": "",
        "recorded_at": NOW,
        "actor": "oms",
    }
    return PlanExecution(**{**plain, **changes})


def ended(status: str, **changes: Any) -> PlanExecution:
    return execution(**{"status": status, "quantity": Decimal(0), "price": None, "cost": Decimal(0), **changes})


def faults_of(*reports: PlanExecution) -> dict[str, str]:
    """What is wrong with the last report after the others."""
    faults = Faults()
    check_fits("reports[0]", progress_of(TRADES, reports[:-1]), reports[-1], faults)
    try:
        faults.check()
    except InvalidRequest as error:
        return {fault.field: fault.description for fault in error.faults}
    return {}


def test_partial_fills_add_up() -> None:
    sale = progress_of(TRADES, [execution(), execution(quantity=Decimal(60), price=Decimal(100), status="filled")])[
        "XOM", "sell"
    ]
    assert (sale.planned, sale.filled, sale.cost, sale.closed) == (100, 100, 3, True)
    assert sale.value == Decimal(40) * Decimal("110.255") + 6000


@pytest.mark.parametrize(
    ("reports", "closed"),
    [
        ([], False),
        ([execution()], False),
        ([execution(quantity=Decimal(100))], True),
        ([ended("rejected")], True),
        ([execution(), ended("cancelled")], True),
        ([execution(status="cancelled")], True),
    ],
)
def test_a_trade_is_closed_when_all_is_filled_or_the_order_has_ended(
    reports: list[PlanExecution], *, closed: bool
) -> None:
    progress = progress_of(TRADES, reports)
    assert progress["XOM", "sell"].closed == closed
    assert not all_closed(progress)
    bought = execution(instrument_id="KO", action="buy", quantity=Decimal("12.5"), status="filled")
    progress["KO", "buy"] = advanced(progress["KO", "buy"], bought)
    assert all_closed(progress) == closed


def test_what_fits_has_no_fault() -> None:
    assert faults_of(execution()) == {}
    assert faults_of(execution(), execution(quantity=Decimal(60), status="filled")) == {}
    assert faults_of(execution(), ended("rejected")) == {}


@pytest.mark.parametrize(
    ("reports", "field", "words"),
    [
        ([execution(quantity=Decimal(101))], "quantity", ("101", "sell of 100 XOM", "0 are filled")),
        ([execution(), execution(quantity=Decimal("60.000001"))], "quantity", ("60.000001", "40 are filled")),
        ([execution(status="filled")], "quantity", ("FILLED means that all", "40 is less")),
        (
            [execution(quantity=Decimal(100)), execution(quantity=Decimal(1))],
            "instrument_id",
            ("nothing more is open",),
        ),
        ([ended("cancelled"), execution()], "instrument_id", ("nothing more is open",)),
        ([execution(action="buy")], "instrument_id", ("no buy of XOM", "sell XOM", "buy KO")),
        ([execution(instrument_id="PEP")], "instrument_id", ("no sell of PEP",)),
    ],
)
def test_what_does_not_fit_is_named(reports: list[PlanExecution], field: str, words: tuple[str, ...]) -> None:
    found = faults_of(*reports)
    assert list(found) == [f"reports[0].{field}"]
    assert all(word in found[f"reports[0].{field}"] for word in words)


def test_the_summary_counts_trades() -> None:
    progress = progress_of(TRADES, [execution(), ended("cancelled", instrument_id="KO", action="buy")])
    assert summary(progress) == "of 2 trades 0 filled, 1 filled in part, 1 not filled"


def test_cash_changes_by_rounded_values_and_costs() -> None:
    before = Position({"XOM": Decimal(100)}, Decimal("10.00"))
    # 40 * 110.255 = 4410.20; 0.001 * 110.255 = 0.110255, rounded to 0.11.
    assert after_execution(before, execution()).cash == Decimal("10.00") + Decimal("4410.20") - Decimal("1.50")
    odd = execution(quantity=Decimal("0.001"), action="buy", instrument_id="KO")
    after = after_execution(before, odd)
    assert after.cash == Decimal("10.00") - Decimal("0.11") - Decimal("1.50")
    assert after.quantities == {"XOM": 100, "KO": Decimal("0.001")}


def test_what_is_sold_out_is_gone_and_the_order_does_not_matter() -> None:
    reports = [
        execution(),
        execution(quantity=Decimal(60)),
        execution(instrument_id="KO", action="buy", quantity=Decimal(3), price=Decimal("60.01")),
        ended("rejected", cost=Decimal("0.25")),
    ]
    before = Position({"XOM": Decimal(100)}, Decimal(0))
    after = replay(before, reports)
    assert after == replay(before, reversed(reports))
    assert after.quantities == {"KO": 3}
    assert after.cash == Decimal("4410.20") + Decimal("6615.30") - Decimal("180.03") - Decimal("4.75")


def test_positions_survive_storage() -> None:
    position = Position({"KO": Decimal("1.250"), "XOM": Decimal(-3)}, Decimal("-0.10"))
    assert from_stored(to_stored(position)) == position
    assert from_stored({}) == Position({}, Decimal(0))


def test_weights_add_to_one_and_need_every_price() -> None:
    position = Position({"KO": Decimal(10)}, Decimal(60))
    assert weights(position, {"KO": Decimal(14)}) == {"CASH": 0.3, "KO": 0.7}
    assert weights(position, {}) == {}
    assert weights(Position({}, Decimal(-1)), {}) == {}
