"""Scheduled looks at portfolios: found when a session has opened, done once each, whatever is killed on the way."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime

import structlog
from portfolio_optimization.v1 import drift_pb2, plan_workflow_pb2, policies_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.errors import ProblemError
from server.jobs.attempts import reason_of
from server.jobs.drift import DriftTeller
from server.jobs.queue import JobQueue
from server.policies import stored_preferences
from server.schedules import Calendars, missed_sessions, newest_session
from storage.database import Connection, Database
from storage.looks import (
    LOOK_DONE,
    LOOK_FAILED,
    LOOK_PENDING,
    LOOK_SKIPPED,
    DriftStateRepository,
    LookRepository,
    ScheduledLook,
    ScheduleGroup,
    WaitingPortfolio,
)
from storage.portfolios import PortfolioRepository
from storage.records import utc_now

_log = structlog.get_logger()
SCHEDULE_ACTOR = "schedule"
# Portfolios whose looks begin in one transaction.
_PAGE = 200
# Requests of looks have ids of their own name space, so that a look that is tried again makes the same plan.
_LOOKS = uuid.UUID("6f0f0c1e-6d0e-4a55-9a53-0d9b7a2f6c11")
_P = policies_pb2
_STATUS = "REBALANCE_PLAN_STATUS_"


@dataclass(frozen=True, slots=True)
class LookActions:
    """What a look does.

    Attributes:
        measure: The drift of a portfolio from the target of its preferences.
        plan: Makes a plan; the same request makes the same plan.
        submit: Submits a plan, by id and with a comment; twice is as once.
    """

    measure: Callable[[str], Awaitable[drift_pb2.GetDriftResponse]]
    plan: Callable[[pb.RebalancePlanRequest], Awaitable[pb.RebalancePlanResponse]]
    submit: Callable[[str, str], Awaitable[plan_workflow_pb2.PlanWorkflow]]


class ScheduleJob:
    """Finds looks that are due, and does them.

    Args:
        database: Where they are kept.
        queue: Takes the looks as jobs.
        calendars: Calendars by exchange.
        actions: What a look does.
        clock: Gives the present moment.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        calendars: Calendars,
        actions: LookActions,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database, self._queue, self._calendars = database, queue, calendars
        self._actions, self._clock = actions, clock
        self._teller = DriftTeller(database, clock)
        self._unknown: set[str] = set()

    async def scan(self) -> None:
        """Begin every look that is due by now.

        After a stop of several sessions the newest is looked at, which answers the earlier ones too; those are noted as
        skipped. Any number of workers may do this at the same time.
        """
        async with self._database.transaction() as connection:
            groups = await LookRepository(connection).groups()
        for group in groups:
            await self._scan_group(group)

    async def _scan_group(self, group: ScheduleGroup) -> None:
        now = self._clock()
        try:
            calendar = await self._calendars(group.exchange)
            newest = newest_session(calendar, group.schedule, now)
        except ProblemError as error:
            if group.exchange not in self._unknown:
                self._unknown.add(group.exchange)
                _log.warning("schedules cannot be followed", exchange=group.exchange, reason=str(error))
            return
        if newest is None:
            return
        opened_at, found = calendar.opens_at(newest), _PAGE
        while found == _PAGE:
            async with self._database.transaction() as connection:
                waiting = await LookRepository(connection).waiting(group, newest, opened_at, _PAGE)
                missed = {
                    row.portfolio_id: missed_sessions(calendar, group.schedule, row.since, row.last_session, newest)
                    for row in waiting
                }
                await self._begin(connection, waiting, missed, newest)
            found = len(waiting)

    async def _begin(
        self,
        connection: Connection,
        waiting: tuple[WaitingPortfolio, ...],
        missed: dict[str, tuple[date, ...]],
        newest: date,
    ) -> None:
        """Looks and their jobs in one transaction; who has begun a look before keeps it."""
        looks, moment = LookRepository(connection), self._clock()
        names = await looks.insert_pending([row.portfolio_id for row in waiting], newest, moment)
        answered = f"nobody looked in time; the look of {newest.isoformat()} answers this session too"
        await looks.insert_skipped({name: missed[name] for name in names}, answered, moment)
        if names:
            await self._queue.enqueue_looks(connection, names, newest)
            _log.info("scheduled looks begun", session=newest.isoformat(), looks=len(names))

    async def run(self, portfolio_id: str, session: date, attempt: int) -> None:
        """Do a look. One that has ended is left alone, so a job may run twice without harm.

        Args:
            portfolio_id: The portfolio.
            session: The trading day.
            attempt: 0 at first; counts how often a solver process died over it.

        Raises:
            WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
        """
        async with self._database.transaction() as connection:
            looks = LookRepository(connection)
            look = await looks.find(portfolio_id, session)
            scheduled = await looks.find_schedule(portfolio_id) is not None
        if look.status != LOOK_PENDING:
            return
        try:
            # One that has begun to act goes on: its plan may be there already.
            ended = (
                await self._looked(look) if scheduled or look.reached else _ended(look, "the schedule was taken away")
            )
        except Exception as error:
            name = f"{portfolio_id} {session.isoformat()}"
            ended = replace(look, status=LOOK_FAILED, note=reason_of(error, "look", name, attempt))
        async with self._database.transaction() as connection:
            first = await LookRepository(connection).finish(replace(ended, ended_at=self._clock()))
        if first:
            day = session.isoformat()
            _log.info(
                "scheduled look ended", portfolio_id=portfolio_id, session=day, status=ended.status, note=ended.note
            )

    async def _looked(self, look: ScheduledLook) -> ScheduledLook:
        """Measure once, then act on what was measured: a retry does not measure again what it has told."""
        reached = look.reached
        if reached is None:
            reached = await self._measure(look)
        if not reached:
            return replace(look, status=LOOK_DONE, note="the drift is below its threshold")
        action = await self._action(look.portfolio_id)
        if action == _P.SCHEDULED_ACTION_ALERT:
            return replace(look, status=LOOK_DONE, note="the drift has reached its threshold")
        return await self._act(look, submit=action == _P.SCHEDULED_ACTION_SUBMIT)

    async def _measure(self, look: ScheduledLook) -> bool:
        async with self._database.transaction() as connection:
            measured = await DriftStateRepository(connection).place(look.portfolio_id)
        drift = await self._actions.measure(look.portfolio_id)
        async with self._database.transaction() as connection:
            looks = LookRepository(connection)
            if await looks.set_reached(look.portfolio_id, look.session, reached=drift.rebalance_needed):
                await self._teller.note(connection, drift, measured, again=True)
            return bool((await looks.find(look.portfolio_id, look.session)).reached)

    async def _act(self, look: ScheduledLook, *, submit: bool) -> ScheduledLook:
        day = look.session.isoformat()
        plan = await self._actions.plan(
            pb.RebalancePlanRequest(
                portfolio_id=look.portfolio_id,
                request_id=str(uuid.uuid5(_LOOKS, f"{day} {look.portfolio_id}")),
                reason=f"scheduled look of {day}",
            )
        )
        planned = replace(look, status=LOOK_DONE, rebalance_id=plan.rebalance_id or None)
        if not plan.trades:
            return replace(planned, note=f"there is nothing to trade: {plan.outcome.message}".rstrip(": "))
        if not submit:
            return replace(planned, note="a plan was proposed")
        workflow = await self._actions.submit(plan.rebalance_id, f"scheduled look of {day}")
        status = plan_workflow_pb2.RebalancePlanStatus.Name(workflow.status).removeprefix(_STATUS).lower()
        return replace(planned, note=f"a plan was proposed and submitted: {status.replace('_', ' ')}")

    async def _action(self, portfolio_id: str) -> int:
        async with self._database.transaction() as connection:
            portfolio = await PortfolioRepository(connection).find(portfolio_id)
        return stored_preferences(portfolio).scheduled_action or _P.SCHEDULED_ACTION_PROPOSE


def _ended(look: ScheduledLook, note: str) -> ScheduledLook:
    return replace(look, status=LOOK_SKIPPED, note=note)
