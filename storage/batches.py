"""Batches of rebalances: many portfolios under one request, worked on in chunks, each portfolio stored once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.types.json import Jsonb

from storage.errors import Conflict, NotFound
from storage.records import PENDING, Json, utc_now
from storage.repository import Repository, as_parameters, from_row
from storage.statements import load_statements


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceBatch:
    """A batch with its progress.

    Attributes:
        request_id: The caller's key for safe retries, unique among all batches.
        content_hash: Of all that the caller has asked for: the same key must come with the same.
        template: The plan to make for every portfolio.
        actor: Who has asked.
        status: ``pending``, ``running``, ``completed``, ``cancelled`` or ``failed``.
        failed_count: How many of those that are done have no plan.
        processor_seconds: Of all plans so far.
    """

    id: str
    request_id: str | None
    content_hash: str
    template: Json
    summary_only: bool
    pricing_pack_id: str
    actor: str
    status: str = PENDING
    portfolio_count: int
    done_count: int = 0
    failed_count: int = 0
    chunk_count: int
    done_chunk_count: int = 0
    processor_seconds: float = 0.0
    created_at: datetime = field(default_factory=utc_now)
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChunk:
    """The part of a batch that one job works on: portfolios from ``first_position`` on, counted from 0."""

    batch_id: str
    number: int
    first_position: int
    portfolio_ids: Sequence[str]
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One portfolio that is done. ``error`` says why there is no plan; ``content`` are its trades and measures."""

    position: int
    portfolio_id: str
    rebalance_id: str | None = None
    error: str = ""
    content: Json = field(default_factory=dict)


class BatchRepository(Repository):
    """Keeps batches. Every change of status and progress notifies ``optimization_changed`` with the id."""

    _sql = load_statements("batches")

    async def create(
        self, batch: RebalanceBatch, portfolio_ids: Sequence[str], chunk_size: int
    ) -> tuple[RebalanceBatch, bool]:
        """Stores a batch with its chunks, unless there is one under its ``request_id`` already.

        Returns:
            The stored batch, and whether it is new. An earlier one comes back as it is, whatever the new one says.

        Raises:
            NotFound: The pricing pack does not exist (when the transaction is left).
        """
        parameters = as_parameters(batch)
        if await self._run(self._sql["insert"], parameters) == 0:
            rows = await self._rows(self._sql["find_by_request_id"], parameters)
            return from_row(RebalanceBatch, rows[0]), False
        chunks = {"id": batch.id, "size": chunk_size, "portfolio_ids": list(portfolio_ids)}
        await self._run(self._sql["insert_chunks"], chunks)
        return batch, True

    async def find(self, identifier: str) -> RebalanceBatch:
        """One batch.

        Raises:
            NotFound: There is none of this id.
        """
        rows = await self._rows(self._sql["find"], {"id": identifier})
        if not rows:
            raise NotFound("rebalance batch", identifier)
        return from_row(RebalanceBatch, rows[0])

    async def find_by_request_id(self, request_id: str) -> RebalanceBatch | None:
        """The batch under the caller's own key, or None."""
        rows = await self._rows(self._sql["find_by_request_id"], {"request_id": request_id})
        return from_row(RebalanceBatch, rows[0]) if rows else None

    async def start(self, identifier: str) -> None:
        """Marks a pending batch as running."""
        await self._run(self._sql["start"], {"id": identifier})

    async def cancel(self, identifier: str) -> str:
        """Ends the batch as cancelled if it is open; what is done stays done.

        Returns:
            The status it had before.

        Raises:
            NotFound: There is none of this id.
        """
        statuses: list[str] = await self._scalars(self._sql["cancel"], {"id": identifier})
        if not statuses:
            raise NotFound("rebalance batch", identifier)
        return statuses[0]

    async def fail(self, identifier: str) -> bool:
        """Ends the batch as failed if it is open, and returns whether this call has."""
        return await self._run(self._sql["fail"], {"id": identifier}) == 1

    async def find_chunk(self, batch_id: str, number: int) -> BatchChunk:
        """One chunk.

        Raises:
            NotFound: There is none of this number.
        """
        rows = await self._rows(self._sql["find_chunk"], {"batch_id": batch_id, "number": number})
        if not rows:
            raise NotFound("chunk of a rebalance batch", f"{batch_id}/{number}")
        return from_row(BatchChunk, rows[0])

    async def lock_chunk(self, chunk: BatchChunk) -> None:
        """Keeps others from storing portfolios of the chunk until the transaction ends."""
        await self._rows(self._sql["lock_chunk"], {"batch_id": chunk.batch_id, "number": chunk.number})

    async def done_positions(self, chunk: BatchChunk) -> frozenset[int]:
        """The positions of the chunk's portfolios that are stored."""
        end = chunk.first_position + len(chunk.portfolio_ids)
        parameters = {"batch_id": chunk.batch_id, "first": chunk.first_position, "end": end}
        return frozenset(await self._scalars(self._sql["positions"], parameters))

    async def store(self, chunk: BatchChunk, items: Sequence[BatchItem], processor_seconds: float) -> str:
        """Stores portfolios of a chunk and advances chunk and batch. Call it last, with the chunk locked.

        Returns:
            The status of the batch then: ``completed`` with the last portfolio.

        Raises:
            Conflict: The batch has ended meanwhile, or a portfolio is stored already; roll back.
        """
        columns = {
            "positions": [item.position for item in items],
            "portfolio_ids": [item.portfolio_id for item in items],
            "rebalance_ids": [item.rebalance_id for item in items],
            "errors": [item.error for item in items],
            "contents": [Jsonb(item.content) for item in items],
        }
        await self._run(self._sql["insert_items"], {"batch_id": chunk.batch_id, **columns})
        place = {"batch_id": chunk.batch_id, "number": chunk.number}
        advanced = {
            "batch_id": chunk.batch_id,
            "done": len(items),
            "failed": sum(item.error != "" for item in items),
            "chunks": await self._run(self._sql["end_chunk"], place),
            "processor_seconds": processor_seconds,
            "moment": utc_now(),
        }
        statuses: list[str] = await self._scalars(self._sql["advance"], advanced)
        if not statuses:
            raise Conflict(f"rebalance batch {chunk.batch_id} has ended")
        return statuses[0]

    async def pack_for(self, portfolio_ids: Sequence[str], wanted: Collection[str]) -> str | None:
        """The pack to look at all the portfolios by, or None where no pack has prices of all that is wanted.

        Of those that have it leaves out least of what the portfolios hold, and of equals is the newest.
        """
        parameters = {"portfolio_ids": list(portfolio_ids), "wanted": list(wanted)}
        found: list[str] = await self._scalars(self._sql["pack"], parameters)
        return found[0] if found else None

    async def items(
        self, batch_id: str, limit: int, after: int = -1, *, only_failed: bool = False
    ) -> tuple[BatchItem, ...]:
        """At most ``limit`` portfolios that are done, in the order of the request, behind the position ``after``."""
        parameters = {"batch_id": batch_id, "limit": limit, "after": after, "only_failed": only_failed}
        return await self._records(BatchItem, self._sql["items"], parameters)
