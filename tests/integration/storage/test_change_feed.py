"""The change feed wakes those who wait, loses nothing after a subscription, and comes back by itself."""

import asyncio

import pytest
from storage_examples import PORTFOLIO, optimization, optimization_result

from storage.change_feed import EVENT_APPENDED, ChangeFeed
from storage.database import Database
from storage.errors import Unavailable
from storage.events import EventRepository
from storage.optimizations import OptimizationRepository
from storage.records import Event, OptimizationRequest

LONG, SHORT = 20.0, 0.05


async def create(database: Database) -> OptimizationRequest:
    request = optimization()
    async with database.transaction() as connection:
        await OptimizationRepository(connection).create(request)
    return request


async def test_every_change_of_status_wakes(filled: Database, database_url: str):
    request = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(request.id) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).start(request.id)
        assert await subscription.wait(LONG)
        async with filled.transaction() as connection:
            result = optimization_result(request.id)
            await OptimizationRepository(connection).complete(request.id, "completed", result, None)
        assert await subscription.wait(LONG)
        assert not await subscription.wait(SHORT)


async def test_a_change_before_the_wait_is_not_missed(filled: Database, database_url: str):
    request = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(request.id) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).cancel(request.id)
        await asyncio.sleep(SHORT)
        assert await subscription.wait(LONG)


async def test_others_sleep_on(filled: Database, database_url: str):
    request, other = await create(filled), await create(filled)
    async with (
        ChangeFeed(database_url) as feed,
        feed.subscribe(request.id) as first,
        feed.subscribe(request.id) as second,
        feed.subscribe(other.id) as sleeper,
    ):
        await asyncio.gather(*(subscription.wait(SHORT) for subscription in (first, second, sleeper)))
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).start(request.id)
        assert await asyncio.gather(first.wait(LONG), second.wait(LONG)) == [True, True]
        assert not await sleeper.wait(SHORT)


async def test_a_change_that_is_rolled_back_wakes_nobody(filled: Database, database_url: str):
    request = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(request.id) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).start(request.id)
            await connection.rollback()
        assert not await subscription.wait(SHORT)


async def test_it_listens_again_after_a_lost_connection(filled: Database, database_url: str):
    request = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(request.id) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        # Whatever happened meanwhile may have been missed: everybody is woken.
        assert await subscription.wait(LONG)
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).start(request.id)
        assert await subscription.wait(LONG)


async def test_events_wake_by_portfolio(filled: Database, database_url: str):
    async with ChangeFeed(database_url, EVENT_APPENDED) as feed, feed.subscribe(PORTFOLIO.id) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await EventRepository(connection).append(Event(portfolio_id=PORTFOLIO.id, type="drifted"))
        assert await subscription.wait(LONG)


async def test_no_server_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storage.change_feed._PATIENCE_SECONDS", SHORT)
    with pytest.raises(Unavailable):
        await ChangeFeed("postgresql://nobody@127.0.0.1:1/nothing").open()
