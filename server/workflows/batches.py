"""Creating, following and cancelling batches of rebalances."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable

from portfolio_optimization.v1 import rebalance_batches_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2

from server.convert.answers import to_json
from server.convert.batches import BatchSpec, read_batch
from server.convert.faults import Faults, checked
from server.errors import NotReady
from server.jobs.queue import JobQueue
from server.listing import listed
from server.policies import load_policy
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings
from server.targets import TargetFinder
from storage.batches import BatchItem, BatchRepository, RebalanceBatch
from storage.benchmarks import BenchmarkRepository
from storage.change_feed import ChangeFeed
from storage.database import Connection, Database
from storage.errors import Conflict
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import OPEN_STATUSES

# Without a notification the row is looked at once in this time.
_LOOK_SECONDS = 1.0


class BatchWorkflow:
    """The life of batches, seen from the caller's side."""

    def __init__(
        self, database: Database, queue: JobQueue, targets: TargetFinder, changes: ChangeFeed, settings: Settings
    ) -> None:
        self._database, self._queue, self._targets = database, queue, targets
        self._changes, self._settings = changes, settings

    async def create(self, message: pb.CreateRebalanceBatchRequest, actor: str) -> RebalanceBatch:
        """Check what all portfolios share, and enqueue the chunks in the transaction of the batch.

        Portfolios are looked at by the workers: one that does not exist is an item with an error.

        Raises:
            InvalidRequest: The request is wrong.
            NotFound: The template names something that does not exist.
            NotReady: The benchmark that is the target has no weights, or no pack has prices of the target.
            Conflict: The request_id was used before for a different request.
        """
        spec = checked(read_batch, message, self._settings)
        if spec.request_id:
            async with self._database.transaction() as connection:
                earlier = await BatchRepository(connection).find_by_request_id(spec.request_id)
            if earlier is not None:
                return _the_same(earlier, spec)
        pack_id = await self._resolve(spec)
        size = self._settings.batch_chunk_portfolios
        batch = _new_batch(spec, pack_id, size, actor)
        async with self._database.transaction() as connection:
            stored, created = await BatchRepository(connection).create(batch, spec.portfolio_ids, size)
            if created:
                await self._queue.enqueue_chunks(connection, stored.id, stored.chunk_count)
        return stored if created else _the_same(stored, spec)

    async def find(self, batch_id: str) -> RebalanceBatch:
        """One batch.

        Raises:
            NotFound: There is none of this id.
        """
        _check_id(batch_id)
        async with self._database.transaction() as connection:
            return await BatchRepository(connection).find(batch_id)

    async def cancel(self, batch_id: str) -> RebalanceBatch:
        """Cancel if it is open; the batch as it is then.

        Raises:
            NotFound: There is none of this id.
        """
        _check_id(batch_id)
        async with self._database.transaction() as connection:
            batches = BatchRepository(connection)
            await batches.cancel(batch_id)
            return await batches.find(batch_id)

    async def watch(self, batch_id: str) -> AsyncIterator[RebalanceBatch]:
        """Every status and progress that is seen, the present one first, until the end."""
        seen = None
        async with self._changes.subscribe(batch_id) as change:
            while True:
                batch = await self.find(batch_id)
                if (batch.status, batch.done_count) != seen:
                    seen = (batch.status, batch.done_count)
                    yield batch
                if batch.status not in OPEN_STATUSES:
                    return
                await change.wait(_LOOK_SECONDS)

    async def items(self, batch_id: str, limit: int, after: int, *, only_failed: bool) -> tuple[BatchItem, ...]:
        """At most `limit` portfolios that are done, behind the position `after`.

        Raises:
            NotFound: There is no such batch.
        """
        _check_id(batch_id)
        async with self._database.transaction() as connection:
            batches = BatchRepository(connection)
            await batches.find(batch_id)
            return await batches.items(batch_id, limit, after, only_failed=only_failed)

    async def _resolve(self, spec: BatchSpec) -> str:
        """Find what the template names, and the one pack of all plans."""
        plan = spec.plan
        if plan.policy is not None:
            await load_policy(self._database, plan.policy)
        wanted: Iterable[str] = plan.custom_target
        if plan.target_type == "benchmark" and plan.benchmark_id:
            wanted = await self._targets.benchmark(plan.benchmark_id)
        async with self._database.transaction() as connection:
            await _require(connection, plan, wanted)
            if plan.pricing_pack_id:
                return (await PricingPackRepository(connection).find(plan.pricing_pack_id)).id
            pack_id = await BatchRepository(connection).pack_for(spec.portfolio_ids, sorted(wanted))
        if pack_id is None:
            raise NotReady(f"no pricing pack has prices of {listed(sorted(wanted)) or 'anything'}")
        return pack_id


async def _require(connection: Connection, plan: RebalanceSpec, wanted: Iterable[str]) -> None:
    await InstrumentRepository(connection).require(sorted(wanted))
    for benchmark_id in (plan.benchmark_id, plan.tracking_benchmark_id):
        if benchmark_id:
            await BenchmarkRepository(connection).find(benchmark_id)


def _new_batch(spec: BatchSpec, pack_id: str, chunk_size: int, actor: str) -> RebalanceBatch:
    """The row of a batch; the pack that the service chose is written down in it."""
    template = rebalancing_pb2.RebalancePlanRequest()
    template.CopyFrom(spec.template)
    template.pricing_pack_id = pack_id
    count = len(spec.portfolio_ids)
    return RebalanceBatch(
        id=str(uuid.uuid4()),
        request_id=spec.request_id or None,
        content_hash=spec.content_hash,
        template=to_json(template),
        summary_only=spec.summary_only,
        pricing_pack_id=pack_id,
        actor=actor,
        portfolio_count=count,
        chunk_count=-(-count // chunk_size),
    )


def _the_same(stored: RebalanceBatch, spec: BatchSpec) -> RebalanceBatch:
    """The same request_id must come with the same content."""
    if stored.content_hash != spec.content_hash:
        raise Conflict(f"request_id {stored.request_id} was used for a different batch, {stored.id}")
    return stored


def _check_id(batch_id: str) -> None:
    faults = Faults()
    faults.identifier("batch_id", batch_id)
    faults.check()
