"""Plans as they were stored, with their way so far."""

from __future__ import annotations

from google.protobuf import json_format
from portfolio_optimization.v1 import plan_workflow_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.answers import timestamp
from server.convert.plan_workflow import WorkflowParts, write_workflow
from storage.database import Connection
from storage.errors import NotFound
from storage.plan_records import PlanState
from storage.plans import PlanRepository
from storage.rebalances import RebalanceRepository
from storage.records import RebalanceRequest, RebalanceResult, Stored

_COLUMNS = ("current_allocation", "target_allocation", "trades", "metrics")


async def read_plan(connection: Connection, rebalance_id: str) -> pb.RebalancePlanResponse:
    """A plan with its state and history; one without trades to carry out has no workflow.

    Raises:
        NotFound: There is no plan of this id.
    """
    return await _with_workflow(connection, await RebalanceRepository(connection).find(rebalance_id))


async def workflow_message(connection: Connection, rebalance_id: str) -> plan_workflow_pb2.PlanWorkflow | None:
    """State and history of a plan; None where it never became a proposal."""
    message = (await read_plan(connection, rebalance_id)).workflow
    return message if message.transitions else None


async def read_parts(connection: Connection, state: PlanState, plan: pb.RebalancePlanResponse) -> WorkflowParts:
    """All of a plan's way, of the moment in which `state` was read or locked."""
    plans = PlanRepository(connection)
    return WorkflowParts(
        state,
        await plans.transitions(state.rebalance_id),
        await plans.executions(state.rebalance_id),
        plan.trades,
    )


def stored_plan(stored: Stored[RebalanceRequest, RebalanceResult]) -> pb.RebalancePlanResponse:
    """A plan as it was made.

    Raises:
        NotFound: It has no result.
    """
    result = stored.result
    if result is None:
        raise NotFound("result of rebalance plan", stored.request.id)
    columns = {name: getattr(result, name) for name in _COLUMNS}
    content = {**result.details, **{name: value for name, value in columns.items() if value}}
    message = json_format.ParseDict(content, pb.RebalancePlanResponse(), ignore_unknown_fields=True)
    message.rebalance_id, message.portfolio_id = stored.request.id, stored.request.portfolio_id
    message.created_at.CopyFrom(timestamp(stored.request.created_at))
    return message


async def _with_workflow(
    connection: Connection, stored: Stored[RebalanceRequest, RebalanceResult]
) -> pb.RebalancePlanResponse:
    message = stored_plan(stored)
    message.ClearField("workflow")
    try:
        state = await PlanRepository(connection).read(message.rebalance_id)
    except NotFound:
        return message
    message.workflow.CopyFrom(write_workflow(await read_parts(connection, state, message)))
    return message
