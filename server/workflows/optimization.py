"""Creating, following and cancelling optimizations."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from portfolio_optimization.v1 import optimization_pb2 as pb

from server.convert.answers import to_json
from server.convert.faults import Faults, checked
from server.convert.optimization import read_optimization
from server.errors import Fault, InvalidRequest, OutOfTime
from server.jobs.queue import JobQueue
from server.loading import MarketLoader, Universe
from server.preparing import accept
from server.settings import Settings
from server.specs import OptimizationSpec
from server.workflows.specifications import content_of, fixed_data, with_preferences
from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.errors import Conflict, StorageError
from storage.optimizations import OptimizationRepository
from storage.records import (
    OPEN_STATUSES,
    Cursor,
    OptimizationRequest,
    OptimizationResult,
    OptimizationSummary,
    Stored,
    utc_now,
)

# Without a notification the row is looked at once in this time.
_LOOK_SECONDS = 1.0
_LARGEST_BATCH = 1000
# Reading the inputs, handing the work over and storing the answer, beside the solve itself.
_OVERHEAD_SECONDS = 0.05

StoredOptimization = Stored[OptimizationRequest, OptimizationResult]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was accepted; `stored` is None when it was only to be checked."""

    portfolio_id: str
    status: str
    pricing_pack_id: str
    stored: OptimizationRequest | None = None
    expected_at: datetime | None = None


class OptimizationWorkflow:
    """The life of optimizations, seen from the caller's side."""

    def __init__(
        self, database: Database, queue: JobQueue, loader: MarketLoader, changes: ChangeFeed, settings: Settings
    ) -> None:
        self._database, self._queue, self._loader = database, queue, loader
        self._changes, self._settings = changes, settings

    @property
    def longest_seconds(self) -> float:
        """The longest that a caller may wait for an end."""
        return 2 * self._settings.solve_limit_seconds

    async def create(self, message: pb.CreateOptimizationRequest) -> Accepted:
        """Check a request, fix the prices it is done on, and enqueue it in the transaction of its row.

        Raises:
            InvalidRequest: The request is wrong.
            NotFound: The portfolio, or something else it names, does not exist.
            NotReady: There is nothing to choose from, or there are no prices of it.
            Conflict: The request_id was used before for a different request.
        """
        checked(read_optimization, message, self._settings)
        message = await with_preferences(self._loader, message)
        spec = checked(read_optimization, message, self._settings)
        universe = await accept(self._loader, spec)
        if message.validate_only:
            return Accepted(spec.portfolio_id, "validated", universe.pack.id)
        request = _new_request(message, spec, universe)
        async with self._database.transaction() as connection:
            repository = OptimizationRepository(connection)
            stored, created = await repository.create(request)
            if created:
                await repository.set_job(stored.id, await self._queue.enqueue(connection, stored.id))
            else:
                _check_same(stored, request, message)
            estimate = await repository.queue_estimate()
        rounds = estimate.open_requests / self._settings.workers
        wait = timedelta(seconds=max(1.0, rounds) * (estimate.mean_solve_seconds + _OVERHEAD_SECONDS))
        expected = utc_now() + wait if stored.status in OPEN_STATUSES else None
        return Accepted(stored.portfolio_id, stored.status, stored.pricing_pack_id or "", stored, expected)

    async def find(self, optimization_id: str) -> StoredOptimization:
        """One optimization.

        Raises:
            NotFound: There is none of this id.
        """
        _check_id("optimization_id", optimization_id)
        async with self._database.transaction() as connection:
            return await OptimizationRepository(connection).find(optimization_id)

    async def latest(self, portfolio_id: str) -> StoredOptimization:
        """The optimization of the portfolio completed last."""
        _check_id("portfolio_id", portfolio_id)
        async with self._database.transaction() as connection:
            return await OptimizationRepository(connection).latest(portfolio_id)

    async def page(
        self, portfolio_id: str, status: str, limit: int, before: Cursor | None
    ) -> tuple[OptimizationSummary, ...]:
        """Optimizations, newest first; empty strings = of all portfolios, of all statuses."""
        async with self._database.transaction() as connection:
            repository = OptimizationRepository(connection)
            return await repository.summaries(portfolio_id or None, status or None, limit, before)

    async def cancel(self, optimization_id: str) -> str:
        """Cancel if it is open; returns its status then."""
        _check_id("optimization_id", optimization_id)
        async with self._database.transaction() as connection:
            before = await OptimizationRepository(connection).cancel(optimization_id)
        return "cancelled" if before in OPEN_STATUSES else before

    async def watch(self, optimization_id: str) -> AsyncIterator[StoredOptimization]:
        """Every status that is seen, the present one first, until the last."""
        seen = None
        async with self._changes.subscribe(optimization_id) as change:
            while True:
                stored = await self.find(optimization_id)
                if stored.request.status != seen:
                    seen = stored.request.status
                    yield stored
                if seen not in OPEN_STATUSES:
                    return
                await change.wait(_LOOK_SECONDS)

    async def optimize(self, message: pb.CreateOptimizationRequest, seconds: float) -> StoredOptimization | None:
        """Create an optimization and wait for its end; None when it was only to be checked.

        It goes with the call, also when that ends while it is being created, unless a request_id lets the caller
        come back.

        Raises:
            OutOfTime: It has not ended within `seconds`.
            InvalidRequest, NotFound, NotReady, Conflict: As for `create`.
        """
        creating = asyncio.create_task(self.create(message))
        try:
            accepted = await asyncio.shield(creating)
            return None if accepted.stored is None else await self.wait(accepted.stored.id, seconds)
        except (asyncio.CancelledError, OutOfTime):
            await self._abandon((await creating).stored)
            raise

    async def _abandon(self, optimization: OptimizationRequest | None) -> None:
        """Cancel an optimization that nobody can come back to."""
        if optimization is not None and optimization.request_id is None:
            with suppress(StorageError):
                await self.cancel(optimization.id)

    async def wait(self, optimization_id: str, seconds: float) -> StoredOptimization:
        """The optimization once it has ended.

        Raises:
            OutOfTime: It has not within `seconds`; it goes on, and can be asked for by its id.
        """
        end = utc_now() + timedelta(seconds=seconds)
        async with self._changes.subscribe(optimization_id) as change:
            while True:
                stored = await self.find(optimization_id)
                if stored.request.status not in OPEN_STATUSES:
                    return stored
                left = (end - utc_now()).total_seconds()
                if left <= 0:
                    raise OutOfTime(f"optimization {optimization_id} has not ended; ask for it by its id")
                await change.wait(min(left, _LOOK_SECONDS))

    def check_batch(self, size: int) -> None:
        """A batch has a bounded size.

        Raises:
            InvalidRequest: It is empty or too large.
        """
        if not 1 <= size <= _LARGEST_BATCH:
            reason = f"must have 1 to {_LARGEST_BATCH} items, not {size}"
            raise InvalidRequest([Fault("optimizations", reason)])


def _new_request(
    message: pb.CreateOptimizationRequest, spec: OptimizationSpec, universe: Universe
) -> OptimizationRequest:
    """The row of a request."""
    return OptimizationRequest(
        id=str(uuid.uuid4()),
        portfolio_id=spec.portfolio_id,
        specification=to_json(fixed_data(message, spec, universe)),
        request_id=message.request_id or None,
        pricing_pack_id=universe.pack.id,
        optimization_type=spec.optimization_type,
        objective=spec.objective,
        risk_measure=spec.risk_measure,
        constraints=to_json(message.constraints),
        preferences=to_json(message.preferences),
    )


def _check_same(
    stored: OptimizationRequest, request: OptimizationRequest, message: pb.CreateOptimizationRequest
) -> None:
    """The same request_id must come with the same content."""
    contents = [content_of(r.specification, message) for r in (stored, request)]
    if contents[0] != contents[1]:
        raise Conflict(f"request_id {stored.request_id} was used for a different optimization, {stored.id}")


def _check_id(field: str, value: str) -> None:
    faults = Faults()
    faults.identifier(field, value)
    faults.check()
