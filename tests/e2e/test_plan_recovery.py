"""A service killed between the steps of a plan and in the middle of each: what was answered stays, and is done once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import grpc
import psycopg
from conftest import Launcher
from portfolio_optimization.v1 import plan_workflow_pb2 as pb
from portfolio_optimization.v1 import portfolio_data_pb2, rebalancing_pb2
from portfolio_optimization.v1 import rebalancing_calls_pb2 as calls
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub
from running_service import PATIENCE_SECONDS, RunningService, await_that
from sample_calls import DEFENSIVE

REQUEST = rebalancing_pb2.RebalancePlanRequest(
    portfolio_id=DEFENSIVE,
    target_type="custom",
    custom_target={"JNJ": 0.4, "KO": 0.3, "PG": 0.25},
    constraints=rebalancing_pb2.RebalanceConstraints(max_trades=2),
    request_id="killed",
)
Call = Callable[[RunningService], Any]


def rebalancing(service: RunningService) -> Any:
    return RebalancingServiceStub(service.channel)


def find(service: RunningService, rebalance_id: str) -> Any:
    request = calls.GetRebalancePlanRequest(rebalance_id=rebalance_id)
    return rebalancing(service).GetRebalancePlan(request, timeout=PATIENCE_SECONDS).plan


def portfolio(service: RunningService) -> Any:
    request = portfolio_data_pb2.GetPortfolioRequest(portfolio_id=DEFENSIVE)
    stub: Any = PortfolioDataServiceStub(service.channel)
    return stub.GetPortfolio(request, timeout=PATIENCE_SECONDS).portfolio


def counted(service: RunningService) -> dict[str, int]:
    """Rows that a step may add."""
    tables = {
        "plans": "rebalance_plans",
        "transitions": "plan_transitions",
        "executions": "plan_executions",
        "transactions": "portfolio_transactions",
        "events": "events",
    }
    return {name: service.count(f"SELECT COUNT(*) FROM {table}") for name, table in tables.items()}


@contextmanager
def no_event_is_appended(url: str) -> Iterator[Callable[[], bool]]:
    """Transactions wait at their last statement; gives whether one does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('events', 0))")

        def one_waits() -> bool:
            query = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            row = connection.execute(query).fetchone()
            return row is not None and row[0] > 0

        yield one_waits


class Killing:
    """A service on a database that outlives it, killed in the middle of every step, and so after the one before."""

    def __init__(self, launcher: Launcher, directory: Path, url: str) -> None:
        self._launcher, self._directory, self._url = launcher, directory, url
        self.service = self._serve()

    def _serve(self) -> RunningService:
        return self._launcher.serve(self._directory, database_url=self._url, workers=1)

    def kill(self) -> None:
        """Kill it between two steps, and start another."""
        self.service.stop(signal.SIGKILL)
        self.service = self._serve()

    def kill_in(self, call: Call) -> None:
        """Kill it in the middle of a call, before anything is committed, and start another."""
        with ThreadPoolExecutor(1) as pool:
            with no_event_is_appended(self._url) as one_waits:
                pending = pool.submit(call, self.service)
                await_that(lambda: one_waits() or pending.done(), f"the call waits:\n{self.service.output}")
                assert not pending.done(), pending.result()
                self.service.stop(signal.SIGKILL)
            error = pending.exception(PATIENCE_SECONDS)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        self.service = self._serve()

    def step(self, call: Call) -> Any:
        """A step: killed in its middle it has done nothing, and when it has answered it is not done again."""
        before = self.look()
        self.kill_in(call)
        assert self.look() == before
        answer = call(self.service)
        after = self.look()
        assert after != before
        assert call(self.service) == answer
        assert self.look() == after
        return answer

    def look(self) -> tuple[dict[str, int], Any]:
        """All that steps change."""
        return counted(self.service), portfolio(self.service)


def fill(execution_id: str, trade: Any, quantity: Decimal, *, last: bool) -> pb.ExecutionReport:
    return pb.ExecutionReport(
        execution_id=execution_id,
        instrument_id=trade.instrument_id,
        action=trade.action,
        status=pb.EXECUTION_STATUS_FILLED if last else pb.EXECUTION_STATUS_PARTIALLY_FILLED,
        quantity=f"{quantity:f}",
        price_amount=trade.price_amount,
        cost_amount="1.25",
    )


def steps(plan: Any) -> Iterator[tuple[int, Call]]:
    """The steps of a plan of two trades after its proposal, with the status that each leads to."""
    one = {"rebalance_id": plan.rebalance_id}
    yield (
        pb.REBALANCE_PLAN_STATUS_PENDING_APPROVAL,
        lambda service: rebalancing(service).SubmitRebalancePlan(calls.SubmitRebalancePlanRequest(**one)),
    )
    yield (
        pb.REBALANCE_PLAN_STATUS_APPROVED,
        lambda service: rebalancing(service).ApproveRebalancePlan(calls.ApproveRebalancePlanRequest(**one)),
    )
    first, second = plan.trades
    share = Decimal(1)
    reports = (
        fill("a", first, Decimal(first.exact_quantity) - share, last=False),
        fill("b", first, share, last=True),
        fill("c", second, Decimal(second.exact_quantity), last=True),
    )
    for report in reports:
        request = calls.RecordExecutionRequest(**one, reports=[report])
        ends = report is reports[-1]
        yield (
            pb.REBALANCE_PLAN_STATUS_EXECUTED if ends else pb.REBALANCE_PLAN_STATUS_APPROVED,
            lambda service, request=request: rebalancing(service).RecordExecution(request),
        )


def test_a_service_killed_at_every_step_of_a_plan(launcher: Launcher, open_directory: Path, database_url: str) -> None:
    killing = Killing(launcher, open_directory / "unused", database_url)
    plan = killing.step(lambda service: service.optimization.GenerateRebalancePlan(REQUEST, timeout=PATIENCE_SECONDS))
    assert len(plan.trades) == 2
    before = portfolio(killing.service)
    for status, call in steps(plan):
        answer = killing.step(call)
        assert answer.workflow.status == status
    looked = killing.look()
    killing.kill()
    assert killing.look() == looked
    assert call(killing.service) == answer
    found = find(killing.service, plan.rebalance_id).workflow
    assert found == answer.workflow
    after = portfolio(killing.service)
    check_books(plan, before, after)
    assert dict(found.after.quantities) == {held.instrument_id: held.quantity for held in after.holdings}
    assert len(found.transitions) == 4
    assert len(found.executions) == 3


def check_books(plan: Any, before: Any, after: Any) -> None:
    """Shares and cash moved by exactly the trades of the plan at their prices, and three costs."""
    held = {holding.instrument_id: Decimal(holding.quantity) for holding in before.holdings}
    cash = Decimal(before.cash_amount) - 3 * Decimal("1.25")
    for trade in plan.trades:
        sign = 1 if trade.action == "buy" else -1
        quantity, price = Decimal(trade.exact_quantity), Decimal(trade.price_amount)
        held[trade.instrument_id] = held.get(trade.instrument_id, Decimal(0)) + sign * quantity
        parts = (quantity - 1, Decimal(1)) if trade is plan.trades[0] else (quantity,)
        cash -= sum(sign * (part * price).quantize(Decimal("0.01"), ROUND_HALF_UP) for part in parts)
    assert {holding.instrument_id: Decimal(holding.quantity) for holding in after.holdings} == {
        name: quantity for name, quantity in held.items() if quantity
    }
    assert Decimal(after.cash_amount) == cash
    lots: dict[str, Decimal] = {}
    for lot in after.lots:
        lots[lot.instrument_id] = lots.get(lot.instrument_id, Decimal(0)) + Decimal(lot.quantity)
    assert lots == {name: quantity for name, quantity in held.items() if quantity}
