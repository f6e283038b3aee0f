"""Plans of accounts that owe money or shares, judged by doing their arithmetic again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from portfolio_optimization.v1 import drift_pb2 as drift
from portfolio_optimization.v1 import plan_workflow_pb2, portfolio_data_pb2
from portfolio_optimization.v1 import rebalancing_calls_pb2 as calls
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from storage.embedded import EmbeddedServer
from tests.integration.server.edge_market import (
    HALF,
    INFEASIBLE,
    MARGIN,
    TWO,
    Account,
    Constraints,
    EdgeDesk,
    Lot,
    after,
    noted,
    notes,
    reconciled,
    worth,
)
from tests.integration.server.open_service import copied_database, open_service


@pytest.fixture(scope="module")
def desk(postgres_server: EmbeddedServer, template_database: str) -> Iterator[EdgeDesk]:
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        yield EdgeDesk(service)


# --- Margin


def test_a_margin_loan_stays_but_never_grows(desk: EdgeDesk) -> None:
    """With no drift to mend nothing is sold for the loan's sake; a plan with costs pays them from sales."""
    shares, settings = {"ALPHA": 60, "BETA": 16}, drift.DriftSettings(measure=drift.DRIFT_MEASURE_MAX_ABSOLUTE)
    portfolio_id = desk.put(shares, "-3000", account=MARGIN)
    settings.threshold = 0.9
    calm = desk.plan(portfolio_id, HALF, strategy=pb.REBALANCE_STRATEGY_THRESHOLD, drift=settings)
    assert not calm.trades
    assert reconciled(calm, shares, "-3000") == -3000
    (note,) = notes(calm, "negative_cash")
    assert "owes 3000.00 on margin" in note.message
    (note,) = notes(calm, "no_trades")
    assert "below its threshold" in note.message
    limits = Constraints(max_turnover=0.1)
    plan = desk.plan(portfolio_id, {"ALPHA": 0.1, "BETA": 0.9}, constraints=limits)
    assert plan.trades
    assert reconciled(plan, shares, "-3000") >= -3000


def test_cash_that_is_asked_for_is_raised_in_a_margin_account_too(desk: EdgeDesk) -> None:
    limits = Constraints(min_cash_amount="200")
    plan = desk.plan(desk.put({"ALPHA": 100}, "-3000", account=MARGIN), HALF, constraints=limits)
    assert reconciled(plan, {"ALPHA": 100}, "-3000") >= 200
    assert "cash must come to 200 or more" in notes(plan, "negative_cash")[0].message


def test_a_margin_account_does_not_borrow_for_a_plan(desk: EdgeDesk) -> None:
    plan = desk.plan(desk.put(TWO, "0", account=MARGIN), {"ALPHA": 0.2, "BETA": 0.8})
    assert plan.trades
    assert reconciled(plan, TWO) >= 0


@pytest.mark.parametrize(("loan", "margin"), [(8000, 0.25), (9000, 0.25), (6000, 0.5), (7000, 0.0)])
def test_a_margin_call_sells_until_equity_is_enough(desk: EdgeDesk, loan: int, margin: float) -> None:
    """A margin of 0 is that of 25%; a threshold far away leaves the call alone as a reason to trade."""
    shares, needed = {"ALPHA": 60, "BETA": 16}, Decimal(repr(margin or 0.25))
    account = Account(margin_enabled=True, maintenance_margin=margin)
    far = drift.DriftSettings(measure=drift.DRIFT_MEASURE_MAX_ABSOLUTE, threshold=100)
    plan = desk.plan(
        desk.put(shares, str(-loan), account=account), HALF, strategy=pb.REBALANCE_STRATEGY_THRESHOLD, drift=far
    )
    cash = reconciled(plan, shares, str(-loan))
    held = worth(after(plan, shares))
    called = (10_000 - loan) < needed * 10_000
    assert bool(notes(plan, "margin_call")) == called
    assert bool(plan.trades) == called
    if called:
        assert all(trade.action == "sell" for trade in plan.trades)
        assert held + cash >= needed * held
        assert held + cash <= (needed + Decimal("0.02")) * held, "no more is sold than the call needs"


def test_a_margin_call_that_cannot_be_met_is_refused(desk: EdgeDesk) -> None:
    account = Account(margin_enabled=True, do_not_sell=["ALPHA"])
    plan = desk.plan(desk.put({"ALPHA": 100}, "-8000", account=account), {"ALPHA": 1.0})
    assert (plan.outcome.status, len(plan.trades)) == (INFEASIBLE, 0)
    assert notes(plan, "margin_call")
    assert set(plan.infeasibility.conflicting_constraints) == {"min_cash_amount", "do_not_sell"}


# --- Short positions


def test_a_short_position_is_bought_back(desk: EdgeDesk) -> None:
    shares = {"ALPHA": 100, "BETA": -4}
    plan = desk.plan(desk.put(shares, "1100", account=Account(shorting_enabled=True)), {"ALPHA": 1.0})
    assert reconciled(plan, shares, "1100") >= 0
    assert after(plan, shares)["BETA"] == 0
    assert plan.trades[0].reason.startswith("Buy back a short position: from -9.90% to 0.00%")
    (note,) = notes(plan, "short_position")
    assert note.message == "BETA is short 4 shares; they can only be bought back"


def test_a_short_position_that_may_not_be_bought_stays(desk: EdgeDesk) -> None:
    shares = {"ALPHA": 100, "BETA": -4}
    limits = Constraints(do_not_buy=["BETA"])
    plan = desk.plan(desk.put(shares, "1000"), {"ALPHA": 1.0}, constraints=limits)
    reconciled(plan, shares, "1000")
    assert after(plan, shares)["BETA"] == -4
    assert ("restricted", "BETA") in noted(plan)
    assert "which the account may not be" in notes(plan, "short_position")[0].message


def test_a_short_position_that_is_bought_back_is_gone_and_leaves_no_lot(desk: EdgeDesk) -> None:
    shares, lot = {"ALPHA": 100, "BETA": -4}, Lot(lot_id="old", instrument_id="ALPHA", quantity="100")
    portfolio_id = desk.put(shares, "1100", lots=[lot], account=Account(shorting_enabled=True))
    plan = desk.plan(portfolio_id, {"ALPHA": 1.0}, validate_only=False)
    (trade,) = plan.trades
    fill = {"status": plan_workflow_pb2.EXECUTION_STATUS_FILLED, "action": "buy", "instrument_id": "BETA"}
    paid = {"price_amount": "250", "cost_amount": trade.transaction_cost_amount, "quantity": trade.exact_quantity}
    named = {"rebalance_id": plan.rebalance_id}
    report = plan_workflow_pb2.ExecutionReport(execution_id="1", **fill, **paid)
    desk.call(desk.rebalancing, "SubmitRebalancePlan", calls.SubmitRebalancePlanRequest(**named))
    desk.call(desk.rebalancing, "RecordExecution", calls.RecordExecutionRequest(reports=[report], **named))
    asked = portfolio_data_pb2.GetPortfolioRequest(portfolio_id=portfolio_id)
    stored = desk.call(desk.data, "GetPortfolio", asked).portfolio
    assert [(holding.instrument_id, holding.quantity) for holding in stored.holdings] == [("ALPHA", "100")]
    assert [held.lot_id for held in stored.lots] == ["old"]
    assert Decimal(stored.cash_amount) == Decimal(plan.cash_after_amount) == Decimal("1100") - 1000 - Decimal("6.50")
