"""Plans over the wire: made, submitted, approved, executed, listed and told about; hostile callers are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from portfolio_optimization.v1 import (
    events_pb2,
    instruments_pb2,
    market_data_pb2,
    policies_pb2,
    portfolio_data_pb2,
    rebalancing_calls_pb2,
    rebalancing_pb2,
    trade_pb2,
)
from portfolio_optimization.v1 import plan_workflow_pb2 as pb
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

from tests.integration.server.data_examples import instrument, price_block, price_header
from tests.integration.server.open_service import OpenService, copied_database, open_service, violations

DAYS = ("2026-11-17", "2026-11-18", "2026-11-19")
PRICES = {"AAPL": [200.0, 201.0, 202.5], "KO": [60.0, 60.5, 61.0], "XOM": [110.0, 111.0, 112.0]}
calls = rebalancing_calls_pb2
PROPOSED, PENDING, APPROVED = (
    pb.REBALANCE_PLAN_STATUS_PROPOSED,
    pb.REBALANCE_PLAN_STATUS_PENDING_APPROVAL,
    pb.REBALANCE_PLAN_STATUS_APPROVED,
)
EXPIRED, EXECUTED = pb.REBALANCE_PLAN_STATUS_EXPIRED, pb.REBALANCE_PLAN_STATUS_EXECUTED


class Desk:
    """The calls of a service about plans."""

    def __init__(self, service: OpenService) -> None:
        self.service = service
        self.rebalancing: Any = RebalancingServiceStub(service.channel)
        self.data: Any = PortfolioDataServiceStub(service.channel)
        self.events: Any = EventServiceStub(service.channel)

    def call(self, stub: Any, method: str, request: Message, actor: str = "") -> Any:
        return self.service.run(self._call(stub, method, request, actor))

    async def _call(self, stub: Any, method: str, request: Any, actor: str) -> Any:
        metadata = (("x-actor", actor),) if actor else ()
        return await getattr(stub, method)(request, metadata=metadata, timeout=60.0)

    def put(self, portfolio_id: str, **changes: Any) -> None:
        """A portfolio of KO and XOM, with lots."""
        lots = [
            portfolio_data_pb2.TaxLot(
                lot_id=name,
                instrument_id=name,
                quantity="100",
                acquired_on="2024-01-16",
                cost_per_share_amount="50",
            )
            for name in ("KO", "XOM")
        ]
        holdings = [portfolio_data_pb2.Holding(instrument_id=name, quantity="100") for name in ("KO", "XOM")]
        plain = {
            "portfolio_id": portfolio_id,
            "base_currency": "USD",
            "cash_amount": "1000.00",
            "holdings": holdings,
            "lots": lots,
            "tax": portfolio_data_pb2.TaxSettings(short_term_rate=0.4, long_term_rate=0.2),
        }
        portfolio = portfolio_data_pb2.Portfolio(**{**plain, **changes})
        self.call(self.data, "PutPortfolio", portfolio_data_pb2.PutPortfolioRequest(portfolio=portfolio))

    def load(self, closes: dict[str, list[float]], days: tuple[str, ...] = DAYS) -> None:
        parts = [price_header(days), price_block(**closes)]
        self.service.run(self._load(parts))

    async def _load(self, parts: list[market_data_pb2.LoadPricingPackRequest]) -> None:
        await self.data.LoadPricingPack(iter(parts))

    def plan(self, portfolio_id: str, **changes: Any) -> Any:
        """A plan that moves the portfolio to half AAPL and half KO."""
        target = {"AAPL": 0.5, "KO": 0.45}
        plain = {"portfolio_id": portfolio_id, "target_type": "custom", "custom_target": target, "reason": "quarterly"}
        request = rebalancing_pb2.RebalancePlanRequest(**{**plain, **changes})
        return self.service.call("GenerateRebalancePlan", request)

    def find(self, rebalance_id: str) -> Any:
        request = calls.GetRebalancePlanRequest(rebalance_id=rebalance_id)
        return self.call(self.rebalancing, "GetRebalancePlan", request).plan

    def submit(self, rebalance_id: str, actor: str = "") -> Any:
        request = calls.SubmitRebalancePlanRequest(rebalance_id=rebalance_id, comment="please")
        return self.call(self.rebalancing, "SubmitRebalancePlan", request, actor).workflow

    def approve(self, rebalance_id: str, actor: str = "") -> Any:
        request = calls.ApproveRebalancePlanRequest(rebalance_id=rebalance_id, comment="fine")
        return self.call(self.rebalancing, "ApproveRebalancePlan", request, actor).workflow

    def record(self, rebalance_id: str, *items: pb.ExecutionReport, actor: str = "") -> Any:
        request = calls.RecordExecutionRequest(rebalance_id=rebalance_id, reports=items)
        return self.call(self.rebalancing, "RecordExecution", request, actor).workflow

    def portfolio(self, portfolio_id: str) -> Any:
        request = portfolio_data_pb2.GetPortfolioRequest(portfolio_id=portfolio_id)
        return self.call(self.data, "GetPortfolio", request).portfolio

    def told(self, portfolio_id: str) -> list[events_pb2.Event]:
        request = events_pb2.ListEventsRequest(portfolio_id=portfolio_id, page_size=1000)
        return list(self.call(self.events, "ListEvents", request).events)


@pytest.fixture(scope="module")
def desk(postgres_server: Any, template_database: str) -> Iterator[Desk]:
    with copied_database(postgres_server, template_database) as url, open_service(url, load_sample=False) as service:
        desk = Desk(service)
        active = instruments_pb2.INSTRUMENT_STATUS_ACTIVE
        instruments = [instrument(name, lot_size="1", status=active) for name in PRICES]
        request = instruments_pb2.UpsertInstrumentsRequest(instruments=instruments)
        desk.call(desk.data, "UpsertInstruments", request)
        desk.load(PRICES)
        yield desk


def refusal(desk: Desk, method: str, request: Message) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        desk.call(desk.rebalancing, method, request)
    return caught.value


def whole(plan: Any) -> list[pb.ExecutionReport]:
    """Every trade of a plan, filled at its price."""
    return [
        pb.ExecutionReport(
            execution_id=f"fill-{trade.priority}",
            instrument_id=trade.instrument_id,
            action=trade.action,
            status=pb.EXECUTION_STATUS_FILLED,
            quantity=trade.exact_quantity,
            price_amount=trade.price_amount,
            cost_amount=trade.transaction_cost_amount,
        )
        for trade in plan.trades
    ]


def tax_lot(lot_id: str, name: str, quantity: str, cost: str, acquired_on: str, **changes: Any) -> Any:
    return portfolio_data_pb2.TaxLot(
        lot_id=lot_id,
        instrument_id=name,
        quantity=quantity,
        cost_per_share_amount=cost,
        acquired_on=acquired_on,
        **changes,
    )


def test_a_plan_filled_as_planned_books_its_gains(desk: Desk) -> None:
    """Fees of trades lower gains in the plan, in its preview and in the books, to the cent."""
    lots = [
        tax_lot("old", "KO", "33", "20.0333", "2024-01-16"),
        tax_lot("new", "KO", "67", "31.0777", "2026-09-01"),
        tax_lot("x", "XOM", "100", "50", "2024-01-16"),
    ]
    desk.put("fees", lots=lots)
    costs = rebalancing_pb2.RebalanceConstraints(commission_per_trade_amount="7.01", market_impact_bps=3.0)
    plan = desk.plan("fees", custom_target={"AAPL": 0.6, "KO": 0.1}, constraints=costs)
    summary = plan.tax.summary
    preview = desk.call(desk.rebalancing, "PreviewTax", calls.PreviewTaxRequest(rebalance_id=plan.rebalance_id))
    assert preview.chosen == plan.tax
    sold = [trade for trade in plan.trades if trade.action == "sell"]
    net = sum(
        round(Decimal(trade.exact_quantity) * Decimal(trade.price_amount), 2) - Decimal(trade.transaction_cost_amount)
        for trade in sold
    )
    assert len(sold) == 2
    assert sum(Decimal(part.proceeds_amount) for part in plan.tax.sales) == net
    desk.submit(plan.rebalance_id)
    desk.approve(plan.rebalance_id)
    assert desk.record(plan.rebalance_id, *whole(plan)).status == EXECUTED
    tax = desk.portfolio("fees").tax
    assert tax.realized_short_term_amount == summary.short_term_gain_amount
    assert tax.realized_long_term_amount == summary.long_term_gain_amount
    assert tax.realized_year == int(plan.tax.sale_date[:4])


def test_a_sale_takes_the_lot_of_a_purchase_that_was_named(desk: Desk) -> None:
    """A wash sale has split A~1 off A, whose day it shares: the plan, its preview and the books sell A."""
    part = tax_lot("A~1", "KO", "60", "90", "2024-05-03", held_since="2024-01-03", replaced_loss=True)
    lots = [tax_lot("A", "KO", "60", "40", "2024-05-03"), part]
    desk.put("named", lots=lots, holdings=[portfolio_data_pb2.Holding(instrument_id="KO", quantity="120")])
    constraints = rebalancing_pb2.RebalanceConstraints(
        lot_method=trade_pb2.LOT_METHOD_SPECIFIC, specific_lots=[rebalancing_pb2.LotSelection(lot_id="A")]
    )
    plan = desk.plan("named", custom_target={"KO": 0.5}, constraints=constraints)
    (sale,) = plan.tax.sales
    assert sale.lot_id == "A"
    preview = desk.call(desk.rebalancing, "PreviewTax", calls.PreviewTaxRequest(rebalance_id=plan.rebalance_id))
    assert preview.chosen == plan.tax
    desk.submit(plan.rebalance_id)
    desk.approve(plan.rebalance_id)
    desk.record(plan.rebalance_id, *whole(plan))
    left = {lot.lot_id: Decimal(lot.quantity) for lot in desk.portfolio("named").lots}
    assert left == {"A": 60 - Decimal(sale.quantity), "A~1": 60}


def test_a_plan_from_proposal_to_execution(desk: Desk) -> None:
    desk.put("whole")
    plan = desk.plan("whole")
    assert plan.workflow.status == PROPOSED
    assert plan.workflow.approval_required
    assert plan.workflow.input_hash == plan.input_hash
    assert desk.find(plan.rebalance_id) == plan
    assert desk.submit(plan.rebalance_id, "anna").status == PENDING
    workflow = desk.approve(plan.rebalance_id, "boss")
    assert workflow.status == APPROVED
    assert [step.actor for step in workflow.transitions] == ["anonymous", "anna", "boss"]
    workflow = desk.record(plan.rebalance_id, *whole(plan), actor="oms")
    assert workflow.status == EXECUTED
    assert workflow.after.cash_amount == plan.cash_after_amount
    after = desk.portfolio("whole")
    assert Decimal(after.cash_amount) == Decimal(plan.cash_after_amount)
    assert {held.instrument_id: held.quantity for held in after.holdings} == dict(workflow.after.quantities)
    planned = {name: weight for name, weight in plan.planned_allocation.items() if weight}
    assert dict(workflow.after.weights) == pytest.approx(planned, abs=1e-9)
    kinds = [event.WhichOneof("payload") for event in desk.told("whole")]
    changes = ["rebalance_plan_status_changed"]
    assert kinds == [
        "rebalance_plan_proposed",
        *changes * 2,
        *["rebalance_execution_recorded"] * len(plan.trades),
        *changes,
    ]
    assert desk.find(plan.rebalance_id).workflow == workflow
    assert desk.record(plan.rebalance_id, *whole(plan), actor="oms") == workflow


def test_the_portfolio_after_fills_can_be_put_back_as_it_is(desk: Desk) -> None:
    desk.put("again")
    plan = desk.plan("again")
    desk.submit(plan.rebalance_id)
    desk.approve(plan.rebalance_id)
    desk.record(plan.rebalance_id, *whole(plan))
    found = desk.portfolio("again")
    request = portfolio_data_pb2.PutPortfolioRequest(portfolio=found)
    assert desk.call(desk.data, "PutPortfolio", request).portfolio.lots == found.lots


def test_a_request_sent_again_gives_the_plan_with_its_way_so_far(desk: Desk) -> None:
    desk.put("retried")
    plan = desk.plan("retried", request_id="r-1")
    desk.submit(plan.rebalance_id)
    again = desk.plan("retried", request_id="r-1")
    assert again.rebalance_id == plan.rebalance_id
    assert again.workflow.status == PENDING
    assert again.trades == plan.trades


def test_a_plan_that_is_only_looked_at_has_no_way(desk: Desk) -> None:
    desk.put("looked")
    plan = desk.plan("looked", validate_only=True)
    assert (plan.rebalance_id, plan.HasField("workflow")) == ("", False)
    assert desk.told("looked") == []


def test_preferences_say_what_needs_an_approval(desk: Desk) -> None:
    terms = policies_pb2.RebalancingPreferences(
        approval_limit_amount="1000000", approval_validity_hours=3.0, max_price_move=0.1, max_weight_move=0.25
    )
    desk.put("free", preferences=portfolio_data_pb2.PortfolioPreferences(rebalancing=terms))
    plan = desk.plan("free")
    workflow = desk.submit(plan.rebalance_id)
    assert (workflow.status, workflow.approval_required) == (APPROVED, False)
    assert (workflow.approval_limit_amount, workflow.max_price_move, workflow.max_weight_move) == ("1000000", 0.1, 0.25)
    approved_at = workflow.transitions[-1].at.ToDatetime()
    assert (workflow.expires_at.ToDatetime() - approved_at).total_seconds() == 3 * 3600


def test_the_service_lapses_plans_by_itself(desk: Desk) -> None:
    desk.put("alone")
    plan = desk.plan("alone")
    desk.put("alone", cash_amount="2000.00")
    desk.service.run(await_event(desk, "alone", "rebalance_plan_status_changed"))
    last = desk.told("alone")[-1].rebalance_plan_status_changed
    assert (last.rebalance_id, last.previous_status, last.transition.status) == (plan.rebalance_id, PROPOSED, EXPIRED)
    assert "cash from 1000.00 to 2000.00" in last.transition.comment
    assert desk.find(plan.rebalance_id).workflow.status == EXPIRED


async def await_event(desk: Desk, portfolio_id: str, kind: str) -> None:
    request = events_pb2.StreamEventsRequest(portfolio_id=portfolio_id, types=[kind])
    stream = desk.events.StreamEvents(request, timeout=60.0)
    await stream.read()
    stream.cancel()


def test_a_deposit_that_a_plan_invests_may_come_before_its_approval(desk: Desk) -> None:
    desk.put("deposit")
    cash_flow = {"strategy": rebalancing_pb2.REBALANCE_STRATEGY_CASH_FLOW, "cash_flow_amount": "2500.00"}
    plan = desk.plan("deposit", custom_target={"KO": 0.5, "XOM": 0.5}, **cash_flow)
    assert plan.cash_before_amount == "3500.00"
    assert {trade.action for trade in plan.trades} == {"buy"}
    desk.put("deposit", cash_amount="3500.00")
    assert desk.submit(plan.rebalance_id).status == APPROVED
    workflow = desk.record(plan.rebalance_id, *whole(plan))
    assert (workflow.status, workflow.after.cash_amount) == (EXECUTED, plan.cash_after_amount)


def test_two_approvals_at_once_give_one(desk: Desk) -> None:
    desk.put("race")
    plan = desk.plan("race")
    desk.submit(plan.rebalance_id)
    request = calls.ApproveRebalancePlanRequest(rebalance_id=plan.rebalance_id)

    async def both() -> list[Any]:
        return await asyncio.gather(*(desk.rebalancing.ApproveRebalancePlan(request, timeout=60.0) for _ in range(2)))

    first, second = desk.service.run(both())
    assert first.workflow.status == APPROVED
    assert first == second
    assert len(desk.told("race")) == 3


def test_lists_by_portfolio_and_status_and_page(desk: Desk) -> None:
    desk.put("listed")
    made = [desk.plan("listed").rebalance_id for _ in range(3)]
    desk.submit(made[0])

    def page(**fields: Any) -> Any:
        request = calls.ListRebalancePlansRequest(portfolio_id="listed", **fields)
        return desk.call(desk.rebalancing, "ListRebalancePlans", request)

    first = page(page_size=2)
    assert [row.rebalance_id for row in first.plans] == made[:0:-1]
    rest = page(page_size=2, page_token=first.next_page_token)
    assert ([row.rebalance_id for row in rest.plans], rest.next_page_token) == (made[:1], "")
    (pending,) = page(status=PENDING).plans
    whole_plan = desk.find(made[0])
    assert (pending.status, pending.target_type, pending.trade_count) == (PENDING, "custom", len(whole_plan.trades))
    assert pending.metrics == whole_plan.metrics
    assert pending.created_at == whole_plan.created_at
    assert not page(status=EXECUTED).plans
    everyone = calls.ListRebalancePlansRequest(page_size=1000)
    listed = desk.call(desk.rebalancing, "ListRebalancePlans", everyone).plans
    assert {row.rebalance_id for row in listed} >= set(made)


HOSTILE: dict[str, tuple[str, Message, tuple[str, ...]]] = {
    "get nothing": ("GetRebalancePlan", calls.GetRebalancePlanRequest(), ("rebalance_id",)),
    "get too long": ("GetRebalancePlan", calls.GetRebalancePlanRequest(rebalance_id="x" * 37), ("rebalance_id",)),
    "submit nothing": ("SubmitRebalancePlan", calls.SubmitRebalancePlanRequest(), ("rebalance_id",)),
    "approve nothing": ("ApproveRebalancePlan", calls.ApproveRebalancePlanRequest(), ("rebalance_id",)),
    "reject without a reason": (
        "RejectRebalancePlan",
        calls.RejectRebalancePlanRequest(rebalance_id="a\nb"),
        ("rebalance_id", "comment"),
    ),
    "cancel with an essay": (
        "CancelRebalancePlan",
        calls.CancelRebalancePlanRequest(rebalance_id="a", comment="x" * 2001),
        ("comment",),
    ),
    "record nothing": ("RecordExecution", calls.RecordExecutionRequest(), ("rebalance_id", "reports")),
    "record emptiness": (
        "RecordExecution",
        calls.RecordExecutionRequest(rebalance_id="a", reports=[pb.ExecutionReport()]),
        ("reports[0].status", "reports[0].execution_id", "reports[0].instrument_id", "reports[0].action"),
    ),
    "list wrongly": (
        "ListRebalancePlans",
        calls.ListRebalancePlansRequest(portfolio_id="x" * 37, status=0),
        ("portfolio_id", "status"),
    ),
    "list an unknown status": ("ListRebalancePlans", calls.ListRebalancePlansRequest(status=99), ("status",)),
    "list less than nothing": ("ListRebalancePlans", calls.ListRebalancePlansRequest(page_size=-1), ("page_size",)),
    "list from nowhere": ("ListRebalancePlans", calls.ListRebalancePlansRequest(page_token="?"), ("page_token",)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_named_at_once(desk: Desk, name: str) -> None:
    method, request, fields = HOSTILE[name]
    error = refusal(desk, method, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(error)) == set(fields)


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("GetRebalancePlan", calls.GetRebalancePlanRequest),
        ("SubmitRebalancePlan", calls.SubmitRebalancePlanRequest),
        ("ApproveRebalancePlan", calls.ApproveRebalancePlanRequest),
        ("CancelRebalancePlan", calls.CancelRebalancePlanRequest),
    ],
)
def test_an_unknown_plan_is_not_found(desk: Desk, method: str, request_type: Any) -> None:
    error = refusal(desk, method, request_type(rebalance_id="nobody-knows-it"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "nobody-knows-it" in (error.details() or "")


def test_an_impossible_step_says_what_is_possible(desk: Desk) -> None:
    desk.put("wrong")
    plan = desk.plan("wrong")
    error = refusal(desk, "ApproveRebalancePlan", calls.ApproveRebalancePlanRequest(rebalance_id=plan.rebalance_id))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "is proposed: approve is not possible; possible: submit, cancel" in (error.details() or "")
    request = calls.RecordExecutionRequest(rebalance_id=plan.rebalance_id, reports=whole(plan))
    error = refusal(desk, "RecordExecution", request)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "is proposed: record executions is not possible" in (error.details() or "")


@pytest.mark.parametrize(
    ("name", "actor"), [("x" * 100, "x" * 100), ("x" * 101, "anonymous"), ("", "anonymous"), ("service", "anonymous")]
)
def test_a_caller_without_a_usable_name_is_anonymous(desk: Desk, name: str, actor: str) -> None:
    portfolio_id = f"caller-{len(name)}"
    desk.put(portfolio_id)
    plan = desk.plan(portfolio_id)
    assert desk.submit(plan.rebalance_id, name).transitions[-1].actor == actor
