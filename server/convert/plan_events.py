"""Events of rebalance plans, for storage; their payload is the contract's message as JSON."""

from __future__ import annotations

from datetime import datetime

from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2

from server.convert.answers import timestamp, to_json
from server.convert.plan_workflow import status_number, write_execution, write_transition
from server.convert.text_values import write_decimal
from storage.plan_records import PlanExecution, PlanState, PlanTransition
from storage.records import Event

PLAN_PROPOSED = "rebalance_plan_proposed"
PLAN_STATUS_CHANGED = "rebalance_plan_status_changed"
EXECUTION_RECORDED = "rebalance_execution_recorded"


def rebalance_plan_proposed(
    response: rebalancing_pb2.RebalancePlanResponse, *, approval_required: bool, expires_at: datetime | None
) -> Event:
    """A plan was made; it lapses at `expires_at` unless it is approved before."""
    payload = pb.RebalancePlanProposed(
        rebalance_id=response.rebalance_id,
        trade_count=len(response.trades),
        gross_trade_amount=response.metrics.gross_trade_amount or "0",
        approval_required=approval_required,
        expires_at=None if expires_at is None else timestamp(expires_at),
    )
    return Event(portfolio_id=response.portfolio_id, type=PLAN_PROPOSED, payload=to_json(payload))


def rebalance_plan_status_changed(state: PlanState, transition: PlanTransition, expires_at: datetime | None) -> Event:
    """A plan took another status.

    Args:
        state: The plan before the change.
        transition: The change.
        expires_at: When the plan or its approval lapses after the change; None = it does not.
    """
    payload = pb.RebalancePlanStatusChanged(
        rebalance_id=state.rebalance_id,
        previous_status=status_number(state.status),
        transition=write_transition(transition),
        gross_trade_amount=write_decimal(state.gross_amount),
        expires_at=None if expires_at is None else timestamp(expires_at),
    )
    return Event(portfolio_id=state.portfolio_id, type=PLAN_STATUS_CHANGED, payload=to_json(payload))


def rebalance_execution_recorded(state: PlanState, execution: PlanExecution) -> Event:
    """An execution was reported."""
    payload = pb.RebalanceExecutionRecorded(rebalance_id=state.rebalance_id, report=write_execution(execution))
    return Event(portfolio_id=state.portfolio_id, type=EXECUTION_RECORDED, payload=to_json(payload))
