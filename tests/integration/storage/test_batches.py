"""Batches: created once with their chunks, advanced portfolio by portfolio, ended once."""

import asyncio
from uuid import uuid4

import pytest
from storage_examples import PORTFOLIO, prices

from storage.batches import BatchChunk, BatchItem, BatchRepository, RebalanceBatch
from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.pricing_packs import PricingPackRepository
from storage.records import PriceTable

LONG, SHORT = 20.0, 0.05
NAMES = tuple(f"p{k}" for k in range(7))


async def create(database: Database, names: tuple[str, ...] = NAMES, **changes: object) -> RebalanceBatch:
    """A batch of chunks of three."""
    async with database.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "test")
        plain = {
            "id": str(uuid4()),
            "request_id": None,
            "content_hash": "0" * 64,
            "template": {"target_type": "equal_weight"},
            "summary_only": True,
            "pricing_pack_id": pack.id,
            "actor": "a person",
            "portfolio_count": len(names),
            "chunk_count": -(-len(names) // 3),
        }
        batch = RebalanceBatch(**plain | changes)
        assert await BatchRepository(connection).create(batch, names, 3) == (batch, True)
    return batch


def item(position: int, **changes: object) -> BatchItem:
    return BatchItem(**{"position": position, "portfolio_id": NAMES[position], "content": {"gap": 0.5}} | changes)


async def store(database: Database, batch_id: str, number: int, *items: BatchItem, seconds: float = 0.25) -> None:
    async with database.transaction() as connection:
        batches = BatchRepository(connection)
        chunk = await batches.find_chunk(batch_id, number)
        await batches.lock_chunk(chunk)
        await batches.store(chunk, items, seconds)


async def find(database: Database, batch_id: str) -> RebalanceBatch:
    async with database.transaction() as connection:
        return await BatchRepository(connection).find(batch_id)


async def test_a_batch_comes_back_as_it_was_in_chunks(filled: Database):
    batch = await create(filled)
    async with filled.transaction() as connection:
        batches = BatchRepository(connection)
        assert await batches.find(batch.id) == batch
        chunks = [await batches.find_chunk(batch.id, number) for number in range(3)]
    assert [(chunk.first_position, tuple(chunk.portfolio_ids)) for chunk in chunks] == [
        (0, NAMES[:3]),
        (3, NAMES[3:6]),
        (6, NAMES[6:]),
    ]
    assert not any(chunk.done for chunk in chunks)


async def test_the_same_key_gives_the_first_one(filled: Database):
    first = await create(filled, request_id="mine")
    second = RebalanceBatch(**{**_fields(first), "id": str(uuid4()), "content_hash": "1" * 64})
    async with filled.transaction() as connection:
        batches = BatchRepository(connection)
        assert await batches.create(second, NAMES[:1], 3) == (first, False)
        assert await batches.find_by_request_id("mine") == first
        assert await batches.find_by_request_id("other") is None
        with pytest.raises(NotFound):
            await batches.find_chunk(second.id, 0)
    await create(filled)
    await create(filled)


def _fields(batch: RebalanceBatch) -> dict[str, object]:
    return {name: getattr(batch, name) for name in RebalanceBatch.__slots__}


async def test_progress_counts_to_the_end(filled: Database):
    batch = await create(filled)
    await store(filled, batch.id, 0, item(0), item(2, error="no prices"))
    running = await find(filled, batch.id)
    assert (running.status, running.done_count, running.failed_count, running.done_chunk_count) == ("running", 2, 1, 0)
    await store(filled, batch.id, 0, item(1))
    await store(filled, batch.id, 2, item(6))
    await store(filled, batch.id, 1, item(3), item(4), item(5, error="none"))
    done = await find(filled, batch.id)
    assert (done.status, done.done_count, done.failed_count, done.done_chunk_count) == ("completed", 7, 2, 3)
    assert done.processor_seconds == 1.0
    assert done.completed_at is not None
    async with filled.transaction() as connection:
        batches = BatchRepository(connection)
        every = await batches.items(batch.id, 10)
        assert [one.position for one in every] == list(range(7))
        assert await batches.items(batch.id, 2, 3) == every[4:6]
        assert await batches.items(batch.id, 10, only_failed=True) == (every[2], every[5])
        assert (await batches.find_chunk(batch.id, 1)).done


async def test_no_portfolio_is_stored_twice(filled: Database):
    batch = await create(filled)
    await store(filled, batch.id, 0, item(0))
    with pytest.raises(Conflict):
        await store(filled, batch.id, 0, item(0), item(1))
    found = await find(filled, batch.id)
    assert (found.done_count, found.processor_seconds) == (1, 0.25)
    async with filled.transaction() as connection:
        batches = BatchRepository(connection)
        assert await batches.done_positions(await batches.find_chunk(batch.id, 0)) == {0}


async def test_of_two_workers_on_a_chunk_one_waits_for_the_other(filled: Database):
    batch = await create(filled)

    async def work() -> int:
        async with filled.transaction() as connection:
            batches = BatchRepository(connection)
            chunk: BatchChunk = await batches.find_chunk(batch.id, 0)
            await batches.lock_chunk(chunk)
            new = [item(k) for k in range(3) if k not in await batches.done_positions(chunk)]
            await asyncio.sleep(SHORT)
            if new:
                await batches.store(chunk, new, 0.0)
            return len(new)

    assert sorted(await asyncio.gather(*(work() for _ in range(3)))) == [0, 0, 3]
    assert (await find(filled, batch.id)).done_chunk_count == 1


@pytest.mark.parametrize("started", [False, True])
async def test_what_is_cancelled_keeps_what_is_done_and_takes_no_more(filled: Database, started: bool):
    batch = await create(filled)
    if started:
        await store(filled, batch.id, 0, item(0))
    async with filled.transaction() as connection:
        batches = BatchRepository(connection)
        assert await batches.cancel(batch.id) == ("running" if started else "pending")
        assert await batches.cancel(batch.id) == "cancelled"
        await batches.start(batch.id)
        assert not await batches.fail(batch.id)
    with pytest.raises(Conflict, match="has ended"):
        await store(filled, batch.id, 0, item(1))
    found = await find(filled, batch.id)
    assert (found.status, found.done_count) == ("cancelled", int(started))
    async with filled.transaction() as connection:
        assert len(await BatchRepository(connection).items(batch.id, 10)) == int(started)


async def test_every_step_wakes(filled: Database, database_url: str):
    batch = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(batch.id) as subscription:
        await subscription.wait(SHORT)
        for step in ("start", "store", "cancel"):
            if step == "store":
                await store(filled, batch.id, 0, item(0))
            else:
                async with filled.transaction() as connection:
                    await getattr(BatchRepository(connection), step)(batch.id)
            assert await subscription.wait(LONG)
        assert not await subscription.wait(SHORT)


async def test_what_is_not_there_is_said(filled: Database):
    for action in ("find", "cancel"):
        with pytest.raises(NotFound, match="rebalance batch"):
            async with filled.transaction() as connection:
                await getattr(BatchRepository(connection), action)("none")
    with pytest.raises(NotFound):
        await create(filled, pricing_pack_id="none")


async def test_the_pack_leaves_out_least_of_what_is_held(filled: Database):
    """The example portfolio holds both instruments; of packs that serve it as well the one that reaches further."""
    table = prices()
    stock = PriceTable(("STOCK",), table.dates + 30, table.closes[:, [table.instrument_ids.index("STOCK")]])
    later = PriceTable(table.instrument_ids, table.dates + 1, table.closes)
    async with filled.transaction() as connection:
        batches, packs = BatchRepository(connection), PricingPackRepository(connection)
        assert await batches.pack_for([PORTFOLIO.id], []) is None
        both, alone = (await packs.store(table, "test")).id, (await packs.store(stock, "test")).id
        assert await batches.pack_for([PORTFOLIO.id, "nobody"], []) == both
        assert await batches.pack_for([PORTFOLIO.id], ["STOCK"]) == both
        assert await batches.pack_for(["nobody"], []) == alone
        assert await batches.pack_for([PORTFOLIO.id], ["GONE"]) is None
        assert await batches.pack_for([PORTFOLIO.id], ["BOND"]) == both
        newest = (await packs.store(later, "test")).id
        assert await batches.pack_for([PORTFOLIO.id], []) == newest
