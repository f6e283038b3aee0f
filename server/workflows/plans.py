"""Rebalance plans on their way from proposal to execution. Every step is one transaction and can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from portfolio_optimization.v1 import plan_workflow_pb2, rebalancing_calls_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.convert.faults import Faults
from server.convert.plan_workflow import read_comment, read_reports
from server.plans.books import close_books
from server.plans.changes import LockedPlan
from server.plans.executions import record_reports
from server.plans.reading import read_plan
from server.plans.states import PlanAction, PlanStatus
from server.settings import Settings
from storage.database import Database
from storage.plan_records import PlanSummary
from storage.plans import PlanRepository
from storage.records import Cursor, utc_now

_log = structlog.get_logger()
_LOOKS_AT_A_TIME = 100


class PlanWorkflow:
    """What callers do with plans, and what plans do by themselves: they lapse."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._settings, self._clock = database, settings, clock

    async def find(self, rebalance_id: str) -> pb.RebalancePlanResponse:
        """A plan with its state and history.

        Raises:
            InvalidRequest: The id is none.
            NotFound: There is no plan of this id.
        """
        faults = Faults()
        faults.identifier("rebalance_id", rebalance_id)
        faults.check()
        async with self._database.transaction() as connection:
            stale = await PlanRepository(connection).is_stale(rebalance_id, self._clock())
        if stale:
            await self._look_alone(rebalance_id)
        async with self._database.transaction() as connection:
            return await read_plan(connection, rebalance_id)

    async def page(
        self, portfolio_id: str, status: PlanStatus | None, limit: int, before: Cursor | None
    ) -> Sequence[PlanSummary]:
        """Plans, newest first, behind `before`; empty and None = all. Those that hold no more have lapsed."""
        asked = (portfolio_id or None, status)
        looked: set[str] = set()
        while True:
            rows = await self._page(*asked, limit, before)
            # Where plans lapse, others take their places, which are looked at too; each once.
            stale = [row.rebalance_id for row in rows if row.stale and row.rebalance_id not in looked]
            if not stale:
                return rows
            for rebalance_id in stale:
                await self._look_alone(rebalance_id)
            looked.update(stale)

    async def submit(self, rebalance_id: str, comment: str, actor: str) -> plan_workflow_pb2.PlanWorkflow:
        """Submit a proposal; it may be found lapsed.

        Raises:
            InvalidRequest, NotFound, Conflict: See `server.errors`.
        """
        read_comment(rebalance_id, comment)
        return await self._step(rebalance_id, PlanAction.SUBMIT, comment, actor)

    async def approve(self, rebalance_id: str, comment: str, actor: str) -> plan_workflow_pb2.PlanWorkflow:
        """Approve a plan that is pending; it may be found lapsed.

        Raises:
            InvalidRequest, NotFound, Conflict: See `server.errors`.
        """
        read_comment(rebalance_id, comment)
        return await self._step(rebalance_id, PlanAction.APPROVE, comment, actor)

    async def reject(self, rebalance_id: str, comment: str, actor: str) -> plan_workflow_pb2.PlanWorkflow:
        """Reject a plan that is pending.

        Raises:
            InvalidRequest, NotFound, Conflict: See `server.errors`.
        """
        read_comment(rebalance_id, comment, required=True)
        return await self._step(rebalance_id, PlanAction.REJECT, comment, actor)

    async def cancel(self, rebalance_id: str, comment: str, actor: str) -> plan_workflow_pb2.PlanWorkflow:
        """Cancel a plan that is open; what was executed of it stays executed.

        Raises:
            InvalidRequest, NotFound, Conflict: See `server.errors`.
        """
        read_comment(rebalance_id, comment)
        async with self._database.transaction() as connection:
            # What was executed may depend on what is not sold any more.
            plan = await LockedPlan.open(connection, rebalance_id, self._clock, household=True)
            await plan.step(PlanAction.CANCEL, actor, comment, self._settings)
            if plan.state.position_after is not None:
                plan.portfolio = await close_books(connection, plan)
            answer = await plan.message()
            await plan.tell()
        return answer

    async def record(
        self, message: rebalancing_calls_pb2.RecordExecutionRequest, actor: str
    ) -> plan_workflow_pb2.PlanWorkflow:
        """Take in execution reports, all or none; those that are known change nothing.

        Raises:
            InvalidRequest: Reports that are wrong in themselves or do not fit the plan, all at once.
            NotFound, Conflict: See `server.errors`.
        """
        reports = read_reports(message, self._clock())
        async with self._database.transaction() as connection:
            plan = await LockedPlan.open(connection, message.rebalance_id, self._clock, household=True)
            refusal = await record_reports(connection, plan, reports, actor)
            answer = await plan.message()
            await plan.tell()
        if refusal is not None:
            # Only now: that the plan lapsed is to stay.
            raise refusal
        await self._look_at_household(plan.state.portfolio_id)
        return answer

    async def look(self, rebalance_id: str) -> bool:
        """Let a plan lapse if it does not hold any more; returns whether it lapsed now.

        Raises:
            NotFound: There is no plan of this id.
        """
        async with self._database.transaction() as connection:
            plan = await LockedPlan.open(connection, rebalance_id, self._clock)
            lapsed = await plan.look(PlanAction.LAPSE)
            await plan.tell()
        return lapsed

    async def look_at_all(self) -> int:
        """Look at every open plan whose portfolio, prices or time have moved on; returns how many lapsed."""
        lapsed, after = 0, ""
        while True:
            async with self._database.transaction() as connection:
                stale = await PlanRepository(connection).stale(self._clock(), _LOOKS_AT_A_TIME, after)
            for rebalance_id in stale:
                lapsed += await self._look_alone(rebalance_id)
            if len(stale) < _LOOKS_AT_A_TIME:
                return lapsed
            after = stale[-1]

    async def _look_at_household(self, portfolio_id: str) -> None:
        """Executions in one account may be wash sales with what others plan."""
        async with self._database.transaction() as connection:
            others = await PlanRepository(connection).open_in_household(portfolio_id)
        for rebalance_id in others:
            await self._look_alone(rebalance_id)

    async def _look_alone(self, rebalance_id: str) -> bool:
        """A look whose failure keeps nobody from reading the plan or looking at others; steps look again and fail."""
        try:
            return await self.look(rebalance_id)
        except Exception as error:
            _log.warning("plan not looked at", rebalance_id=rebalance_id, reason=str(error))
            return False

    async def _step(
        self, rebalance_id: str, action: PlanAction, comment: str, actor: str
    ) -> plan_workflow_pb2.PlanWorkflow:
        async with self._database.transaction() as connection:
            plan = await LockedPlan.open(connection, rebalance_id, self._clock)
            await plan.step(action, actor, comment, self._settings)
            answer = await plan.message()
            await plan.tell()
        return answer

    async def _page(
        self, portfolio_id: str | None, status: PlanStatus | None, limit: int, before: Cursor | None
    ) -> Sequence[PlanSummary]:
        async with self._database.transaction() as connection:
            return await PlanRepository(connection).page(portfolio_id, status, self._clock(), limit, before)
