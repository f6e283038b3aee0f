"""The calls of RebalancingService about plans."""

from __future__ import annotations

from google.protobuf import json_format
from portfolio_optimization.v1 import rebalancing_calls_pb2 as pb

from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.convert.plan_workflow import read_status, status_number
from server.services.calls import Context, actor, page_size, read_cursor, write_cursor
from server.services.pages import cut
from server.workflows.plans import PlanWorkflow
from storage.plan_records import PlanSummary


class PlanCalls:
    """Plans from proposal to execution."""

    def __init__(self, plans: PlanWorkflow) -> None:
        self._plans = plans

    async def GetRebalancePlan(
        self, request: pb.GetRebalancePlanRequest, context: Context
    ) -> pb.GetRebalancePlanResponse:
        """A plan with its state and history."""
        return pb.GetRebalancePlanResponse(plan=await self._plans.find(request.rebalance_id))

    async def ListRebalancePlans(
        self, request: pb.ListRebalancePlansRequest, context: Context
    ) -> pb.ListRebalancePlansResponse:
        """Plans, newest first."""
        faults = Faults()
        faults.identifier("portfolio_id", request.portfolio_id, required=False)
        status = read_status(request, faults)
        faults.check()
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._plans.page(request.portfolio_id, status, size + 1, before)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.rebalance_id))
        return pb.ListRebalancePlansResponse(plans=map(_summary, page.rows), next_page_token=page.next_token)

    async def SubmitRebalancePlan(
        self, request: pb.SubmitRebalancePlanRequest, context: Context
    ) -> pb.SubmitRebalancePlanResponse:
        """Submit a proposal."""
        workflow = await self._plans.submit(request.rebalance_id, request.comment, actor(context))
        return pb.SubmitRebalancePlanResponse(workflow=workflow)

    async def ApproveRebalancePlan(
        self, request: pb.ApproveRebalancePlanRequest, context: Context
    ) -> pb.ApproveRebalancePlanResponse:
        """Approve a plan that is pending."""
        workflow = await self._plans.approve(request.rebalance_id, request.comment, actor(context))
        return pb.ApproveRebalancePlanResponse(workflow=workflow)

    async def RejectRebalancePlan(
        self, request: pb.RejectRebalancePlanRequest, context: Context
    ) -> pb.RejectRebalancePlanResponse:
        """Reject a plan that is pending."""
        workflow = await self._plans.reject(request.rebalance_id, request.comment, actor(context))
        return pb.RejectRebalancePlanResponse(workflow=workflow)

    async def CancelRebalancePlan(
        self, request: pb.CancelRebalancePlanRequest, context: Context
    ) -> pb.CancelRebalancePlanResponse:
        """Cancel a plan that is open."""
        workflow = await self._plans.cancel(request.rebalance_id, request.comment, actor(context))
        return pb.CancelRebalancePlanResponse(workflow=workflow)

    async def RecordExecution(self, request: pb.RecordExecutionRequest, context: Context) -> pb.RecordExecutionResponse:
        """Take in execution reports."""
        return pb.RecordExecutionResponse(workflow=await self._plans.record(request, actor(context)))


def _summary(row: PlanSummary) -> pb.RebalancePlanSummary:
    message = pb.RebalancePlanSummary(
        rebalance_id=row.rebalance_id,
        portfolio_id=row.portfolio_id,
        target_type=row.target_type,
        status=status_number(row.status),
        created_at=timestamp(row.created_at),
        trade_count=row.trade_count,
    )
    json_format.ParseDict(row.metrics, message.metrics, ignore_unknown_fields=True)
    return message
