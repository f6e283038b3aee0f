"""The life of one chunk of a batch in the worker: some portfolios at a turn, each turn stored as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from server.compute.batches import PlanFailure, PlansAnswer, with_shared_prices
from server.compute.pool import SolverPool
from server.compute.rebalance import RebalanceAnswer
from server.compute.tasks import run_plans
from server.convert.batches import item_content, plan_request
from server.convert.plans import life_of_plan, write_plan
from server.errors import Busy, OutOfTime, WorkerLost
from server.jobs.attempts import reason_of, unless_cancelled
from server.plans.preparing import PreparedPlan
from server.workflows.rebalance import RebalanceWorkflow
from storage.batches import BatchChunk, BatchItem, BatchRepository, RebalanceBatch
from storage.change_feed import ChangeFeed
from storage.database import Connection, Database
from storage.errors import Conflict, translated
from storage.events import EventRepository
from storage.records import COMPLETED, OPEN_STATUSES, RUNNING, Event

_log = structlog.get_logger()
# Few enough that other solves find a process soon, and that little is lost when one is killed.
_TURN = 25
# The process is killed this long after all its searches should have stopped by themselves.
_GRACE_SECONDS = 10.0
_OVERHEAD = 3.0
# A portfolio whose process dies again so often when it is alone has no plan.
_DEATHS = 2
# Where too many solves wait, a turn is asked for again after this.
_BUSY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A portfolio of a chunk."""

    position: int
    portfolio_id: str


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a portfolio: its plan, still to be kept, or the reason why there is none."""

    place: _Place
    prepared: PreparedPlan | None = None
    answer: RebalanceAnswer | None = None
    error: str = ""


class BatchJob:
    """Works on chunks of batches. What a turn has stored stays; what is interrupted is done again."""

    def __init__(
        self, database: Database, pool: SolverPool, rebalances: RebalanceWorkflow, changes: ChangeFeed
    ) -> None:
        self._database, self._pool, self._rebalances, self._changes = database, pool, rebalances, changes

    async def run(self, batch_id: str, number: int, attempt: int) -> None:
        """Take up a chunk. Portfolios that are stored are left alone, so a job may run twice without harm.

        Args:
            batch_id: The batch.
            number: Of the chunk.
            attempt: 0 at first.

        Raises:
            WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
        """
        async with self._database.transaction() as connection:
            batches = BatchRepository(connection)
            await batches.start(batch_id)
            batch, chunk = await batches.find(batch_id), await batches.find_chunk(batch_id, number)
            done = await batches.done_positions(chunk)
        if batch.status not in OPEN_STATUSES or chunk.done:
            return
        places = [_Place(chunk.first_position + k, name) for k, name in enumerate(chunk.portfolio_ids)]
        work = self._work(batch, chunk, [place for place in places if place.position not in done], attempt)
        await unless_cancelled(work, self._changes, batch_id, lambda: self._has_ended(batch_id))

    async def _has_ended(self, batch_id: str) -> bool:
        async with self._database.transaction() as connection:
            return (await BatchRepository(connection).find(batch_id)).status not in OPEN_STATUSES

    async def _work(self, batch: RebalanceBatch, chunk: BatchChunk, places: Sequence[_Place], attempt: int) -> None:
        try:
            for first in range(0, len(places), _TURN):
                await self._turn(batch, chunk, places[first : first + _TURN])
        except Exception as error:
            if isinstance(error, Conflict) and await self._has_ended(batch.id):
                return
            reason = reason_of(error, "batch", batch.id, attempt)
            async with self._database.transaction() as connection:
                await BatchRepository(connection).fail(batch.id)
            _log.error("rebalance batch failed", batch_id=batch.id, chunk=chunk.number, reason=reason)

    async def _turn(self, batch: RebalanceBatch, chunk: BatchChunk, places: Sequence[_Place]) -> None:
        """Prepare, compute and store some portfolios."""
        prepared = [await self._prepared(batch, place) for place in places]
        ready = [(done.place, done.prepared) for done in prepared if done.prepared is not None]
        computed, seconds = await self._computed(batch, ready)
        failed = [done for done in prepared if done.prepared is None]
        await self._store(batch, chunk, [*failed, *computed], seconds)

    async def _prepared(self, batch: RebalanceBatch, place: _Place) -> _Done:
        message = plan_request(batch.template, place.portfolio_id)
        try:
            # What each limit costs takes a search of its own per limit: left to whoever asks for one plan.
            return _Done(place, await self._rebalances.prepare(message, price_limits=False))
        except Exception as error:
            return _Done(place, error=reason_of(error, "portfolio", place.portfolio_id, 0))

    async def _computed(
        self, batch: RebalanceBatch, ready: Sequence[tuple[_Place, PreparedPlan]], deaths: int = 0
    ) -> tuple[list[_Done], float]:
        """The answers, and their processor time. Where the process dies each portfolio gets one of its own.

        So the portfolio that kills its process is found, and costs the others nothing.
        """
        if not ready:
            return [], 0.0
        try:
            answer = await self._solved([plan for _, plan in ready])
        except (WorkerLost, OutOfTime) as error:
            died = isinstance(error, WorkerLost)
            if len(ready) == 1 and died and deaths < _DEATHS:
                # One death may be anybody's: a process that is killed costs a retry, not an answer.
                return await self._computed(batch, ready, deaths + 1)
            if len(ready) == 1:
                reason = "the solver process died over this portfolio" if died else str(error)
                return [_Done(ready[0][0], error=reason)], 0.0
            parts = [await self._computed(batch, [one]) for one in ready]
            return [done for part, _ in parts for done in part], sum(seconds for _, seconds in parts)
        pairs = zip(ready, answer.answers, strict=True)
        return [self._done(batch, *one, found) for one, found in pairs], answer.processor_seconds

    async def _solved(self, plans: Sequence[PreparedPlan]) -> PlansAnswer:
        inputs = with_shared_prices([plan.inputs for plan in plans])
        limit = sum(plan.spec.search.time_limit_seconds for plan in plans)
        while True:
            try:
                return await self._pool.run(run_plans, inputs, timeout=_OVERHEAD * limit + _GRACE_SECONDS)
            except Busy:
                await asyncio.sleep(_BUSY_SECONDS)

    def _done(
        self, batch: RebalanceBatch, place: _Place, prepared: PreparedPlan, found: RebalanceAnswer | PlanFailure
    ) -> _Done:
        if isinstance(found, PlanFailure):
            if found.trace:
                _log.error("plan failed", batch_id=batch.id, portfolio_id=place.portfolio_id, trace=found.trace)
            return _Done(place, error=found.reason or f"internal error; quote batch id {batch.id}")
        return _Done(place, prepared, found)

    async def _store(
        self, batch: RebalanceBatch, chunk: BatchChunk, done: Sequence[_Done], processor_seconds: float
    ) -> None:
        """A turn in one transaction: plans, items, progress. Who comes second with a portfolio stores nothing."""
        async with self._database.transaction() as connection:
            batches = BatchRepository(connection)
            await batches.lock_chunk(chunk)
            stored = await batches.done_positions(chunk)
            ordered = sorted(done, key=lambda one: one.place.position)
            new = [one for one in ordered if one.place.position not in stored]
            found = [await self._item(connection, batch, one) for one in new]
            items = [item for item, _ in found]
            status = await batches.store(chunk, items, processor_seconds) if items else RUNNING
            # Who tells of events makes others wait until the transaction ends.
            await EventRepository(connection).append_all(event for _, events in found for event in events)
        if status == COMPLETED:
            _log.info("rebalance batch completed", batch_id=batch.id, portfolios=batch.portfolio_count)

    async def _item(
        self, connection: Connection, batch: RebalanceBatch, one: _Done
    ) -> tuple[BatchItem, tuple[Event, ...]]:
        """What is stored of a portfolio, and what is to be told.

        Its plan is proposed on the way, unless only the summary is wanted.
        """
        events: tuple[Event, ...] = ()
        item = BatchItem(position=one.place.position, portfolio_id=one.place.portfolio_id, error=one.error)
        if one.prepared is None or one.answer is None:
            return item, events
        try:
            response = write_plan(one.answer, one.prepared)
            if life_of_plan(one.answer) != COMPLETED:
                return replace(item, error=response.outcome.message or "no plan meets all limits"), events
            if not batch.summary_only:
                # What goes wrong with one is rolled back alone.
                with translated():
                    async with connection.transaction():
                        keep = self._rebalances.keep
                        kept = await keep(connection, one.prepared, response, one.answer, batch.actor)
                events = kept.events
        except Exception as error:
            return replace(item, error=reason_of(error, "portfolio", item.portfolio_id, 0)), ()
        return replace(item, rebalance_id=response.rebalance_id or None, content=item_content(response)), events
