"""The life of requests: created once, answered once, whoever tries."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from storage_examples import KINDS, PORTFOLIO, Kind, optimization, optimization_result, prices

from storage.database import Connection, Database
from storage.errors import Conflict, NotFound
from storage.events import EventRepository
from storage.optimizations import OptimizationRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Cursor, Event, Stored

EVENT_TYPE = "portfolio_optimized"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


async def count(connection: Connection, table: str) -> int:
    row = await (await connection.execute(f"SELECT count(*) FROM {table}")).fetchone()
    return row[0]


async def test_a_request_comes_back_as_it_was(filled: Database, kind: Kind):
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "test")
        request = kind.request(request_id="mine", pricing_pack_id=pack.id, job_id=7)
        assert await kind.repository(connection).create(request) == (request, True)
    async with filled.transaction() as connection:
        assert await kind.repository(connection).find(request.id) == Stored(request, None)


async def test_the_same_key_gives_the_first_request(filled: Database, kind: Kind):
    first, second = kind.request(request_id="mine"), kind.request(request_id="mine")
    async with filled.transaction() as connection:
        await kind.repository(connection).create(first)
    async with filled.transaction() as connection:
        assert await kind.repository(connection).create(second) == (first, False)
        with pytest.raises(NotFound):
            await kind.repository(connection).find(second.id)


async def test_of_concurrent_creations_with_one_key_one_is_new(filled: Database, kind: Kind):
    async def create() -> tuple[str, bool]:
        async with filled.transaction() as connection:
            stored, created = await kind.repository(connection).create(kind.request(request_id="mine"))
            return stored.id, created

    outcomes = await asyncio.gather(*(create() for _ in range(8)))
    assert len({identifier for identifier, _ in outcomes}) == 1
    assert sorted(created for _, created in outcomes) == [False] * 7 + [True]


async def test_requests_without_a_key_are_all_new(filled: Database, kind: Kind):
    async with filled.transaction() as connection:
        repository = kind.repository(connection)
        assert [(await repository.create(kind.request()))[1] for _ in range(2)] == [True, True]


async def test_a_request_refers_to_what_exists(filled: Database, kind: Kind):
    for change in ({"portfolio_id": "none"}, {"pricing_pack_id": "pp-none"}):
        with pytest.raises(NotFound):
            async with filled.transaction() as connection:
                await kind.repository(connection).create(kind.request(**change))


async def test_an_id_is_given_once(filled: Database, kind: Kind):
    request = kind.request()
    async with filled.transaction() as connection:
        await kind.repository(connection).create(request)
    with pytest.raises(Conflict):
        async with filled.transaction() as connection:
            await kind.repository(connection).create(request)


async def test_a_result_comes_back_as_it_was_and_is_published(filled: Database, kind: Kind):
    request = kind.request()
    result = kind.result(request.id)
    async with filled.transaction() as connection:
        repository = kind.repository(connection)
        await repository.create(request)
        assert await repository.complete(request.id, "completed", result, None)
    async with filled.transaction() as connection:
        stored = await kind.repository(connection).find(request.id)
        assert (stored.request.status, stored.result) == ("completed", result)
        assert stored.request.updated_at >= request.updated_at
        assert await count(connection, kind.read_table) == 1


async def test_other_results_are_kept_and_not_published_as_plans(filled: Database, kind: Kind):
    request = kind.request()
    result = kind.result(request.id)
    async with filled.transaction() as connection:
        repository = kind.repository(connection)
        await repository.create(request)
        assert await repository.complete(request.id, "infeasible", result, None)
        assert (await repository.find(request.id)).result == result
        # The summary of optimizations has every request; the other tables have what can be acted on.
        assert await count(connection, kind.read_table) == (kind.read_table == "portfolio_optimizations")


async def test_a_request_can_end_without_a_result(filled: Database, kind: Kind):
    request = kind.request()
    async with filled.transaction() as connection:
        repository = kind.repository(connection)
        await repository.create(request)
        assert await repository.complete(request.id, "failed", None, None)
        stored = await repository.find(request.id)
    assert (stored.request.status, stored.result) == ("failed", None)


async def test_of_concurrent_completions_one_counts(filled: Database, kind: Kind):
    request = kind.request()
    async with filled.transaction() as connection:
        await kind.repository(connection).create(request)

    async def complete() -> bool:
        event = Event(portfolio_id=PORTFOLIO.id, type=EVENT_TYPE, payload={"id": request.id})
        async with filled.transaction() as connection:
            return await kind.repository(connection).complete(request.id, "completed", kind.result(request.id), event)

    outcomes = await asyncio.gather(*(complete() for _ in range(8)))
    assert sorted(outcomes) == [False] * 7 + [True]
    async with filled.transaction() as connection:
        assert await count(connection, "events") == 1
        assert await count(connection, kind.read_table) == 1


async def test_a_completion_is_all_or_nothing(filled: Database, kind: Kind):
    request = kind.request()
    async with filled.transaction() as connection:
        await kind.repository(connection).create(request)
    nobody = Event(portfolio_id="none", type=EVENT_TYPE)
    with pytest.raises(NotFound):
        async with filled.transaction() as connection:
            await kind.repository(connection).complete(request.id, "completed", kind.result(request.id), nobody)
    async with filled.transaction() as connection:
        assert await kind.repository(connection).find(request.id) == Stored(request, None)


async def test_what_does_not_exist_or_end_cannot_be_completed(filled: Database, kind: Kind):
    async with filled.transaction() as connection:
        with pytest.raises(NotFound):
            await kind.repository(connection).complete("none", "completed", kind.result("none"), None)
        with pytest.raises(ValueError, match="running"):
            await kind.repository(connection).complete("none", "running", None, None)


async def test_pages_follow_each_other_newest_first(filled: Database, kind: Kind):
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    # Two at the same moment: the id decides.
    requests = [kind.request(id=f"{place}", created_at=moment + timedelta(hours=place // 2)) for place in range(5)]
    async with filled.transaction() as connection:
        repository = kind.repository(connection)
        for request in requests:
            await repository.create(request)
        seen, before = [], None
        while page := await repository.page(PORTFOLIO.id, 2, before):
            seen += [stored.request for stored in page]
            before = Cursor(seen[-1].created_at, seen[-1].id)
    assert seen == requests[::-1]


async def test_start_marks_open_requests_and_leaves_ended_ones(filled: Database):
    request = optimization()
    async with filled.transaction() as connection:
        repository = OptimizationRepository(connection)
        await repository.create(request)
        assert await repository.start(request.id)
        assert await repository.start(request.id)
        assert (await repository.summaries(PORTFOLIO.id, "running", 10))[0].optimization_id == request.id
        assert await repository.cancel(request.id) == "running"
        assert not await repository.start(request.id)
        assert not await repository.complete(request.id, "completed", optimization_result(request.id), None)
        assert (await repository.find(request.id)).request.status == "cancelled"
        with pytest.raises(NotFound):
            await repository.start("none")


async def test_cancel_returns_the_status_before(filled: Database):
    request = optimization()
    async with filled.transaction() as connection:
        repository = OptimizationRepository(connection)
        await repository.create(request)
        assert await repository.cancel(request.id) == "pending"
        assert await repository.cancel(request.id) == "cancelled"
        with pytest.raises(NotFound):
            await repository.cancel("none")


async def test_cancel_and_complete_agree_on_who_came_first(filled: Database):
    async def complete(identifier: str) -> bool:
        async with filled.transaction() as connection:
            result = optimization_result(identifier)
            return await OptimizationRepository(connection).complete(identifier, "completed", result, None)

    async def cancel(identifier: str) -> str:
        async with filled.transaction() as connection:
            return await OptimizationRepository(connection).cancel(identifier)

    for _ in range(10):
        request = optimization()
        async with filled.transaction() as connection:
            await OptimizationRepository(connection).create(request)
        completed, status_before = await asyncio.gather(complete(request.id), cancel(request.id))
        async with filled.transaction() as connection:
            stored = await OptimizationRepository(connection).find(request.id)
        if completed:
            assert (status_before, stored.request.status) == ("completed", "completed")
        else:
            assert (status_before, stored.request.status, stored.result) == ("pending", "cancelled", None)


async def test_job_and_prices_are_noted(filled: Database):
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "test")
        request = optimization(pricing_pack_id=pack.id)
        repository = OptimizationRepository(connection)
        await repository.create(request)
        await repository.set_job(request.id, 12)
        stored = (await repository.find(request.id)).request
    assert (stored.job_id, stored.pricing_pack_id) == (12, pack.id)


async def test_summaries_are_filtered_and_paged(filled: Database):
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    requests = [optimization(id=f"{place}", created_at=moment + timedelta(hours=place)) for place in range(4)]
    async with filled.transaction() as connection:
        repository = OptimizationRepository(connection)
        for request in requests:
            await repository.create(request)
        await repository.complete("2", "completed", optimization_result("2"), None)

        async def ids(*arguments: object) -> list[str]:
            return [row.optimization_id for row in await repository.summaries(*arguments)]

        assert await ids(PORTFOLIO.id, "pending", 10) == ["3", "1", "0"]
        assert await ids(None, None, 2, Cursor(requests[2].created_at, "2")) == ["1", "0"]
        assert await ids("other", None, 10) == []
        completed = (await repository.summaries(None, "completed", 1))[0]
    assert completed.target_allocation == optimization_result("2").target_allocation


async def test_latest_is_the_one_completed_last(filled: Database):
    async with filled.transaction() as connection:
        repository = OptimizationRepository(connection)
        with pytest.raises(NotFound):
            await repository.latest(PORTFOLIO.id)
        for identifier, status in (("a", "completed"), ("b", "completed"), ("c", "infeasible")):
            await repository.create(optimization(id=identifier))
            await repository.complete(identifier, status, optimization_result(identifier), None)
        assert (await repository.latest(PORTFOLIO.id)).request.id == "b"


async def test_history_is_kept_by_month(filled: Database):
    moments = [datetime(2023, 12, 31, 23, 59, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    async with filled.transaction() as connection:
        repository = OptimizationRepository(connection)
        for place, moment in enumerate(moments):
            await repository.create(optimization(id=str(place)))
            result = optimization_result(str(place))
            await repository.complete(str(place), "completed", replace(result, completed_at=moment), None)
        points = await repository.history(PORTFOLIO.id, moments[0], moments[1] + timedelta(seconds=1))
        assert [(point.optimization_id, point.completed_at) for point in points] == list(
            zip("01", moments, strict=True)
        )
        assert len(await repository.history(PORTFOLIO.id, *moments)) == 1
        for month in ("2023_12", "2024_01"):
            assert await count(connection, f"portfolio_optimization_history_{month}") == 1


async def test_concurrent_completions_make_one_partition(filled: Database):
    async def complete(identifier: str) -> bool:
        async with filled.transaction() as connection:
            repository = OptimizationRepository(connection)
            await repository.create(optimization(id=identifier))
            return await repository.complete(identifier, "completed", optimization_result(identifier), None)

    assert all(await asyncio.gather(*(complete(str(place)) for place in range(8))))


async def test_events_are_read_on_from_a_place(filled: Database):
    async with filled.transaction() as connection:
        events = EventRepository(connection)
        first, second = [await events.append(Event(portfolio_id=PORTFOLIO.id, type=name)) for name in "ab"]
        assert first.sequence < second.sequence
        assert await events.after(0, 10) == (first, second)
        assert await events.after(first.sequence, 10, PORTFOLIO.id) == (second,)
        assert await events.after(0, 1) == (first,)
        assert await events.after(0, 10, "other") == ()


async def test_readers_of_events_miss_none(filled: Database):
    """Writers keep their transactions open for different times; whoever reads on from the last number sees all."""

    async def write(writer: int) -> None:
        for step in range(5):
            async with filled.transaction() as connection:
                await EventRepository(connection).append(Event(portfolio_id=PORTFOLIO.id, type=f"{writer}.{step}"))
                await asyncio.sleep(0.001 * (writer + step) % 0.004)

    async def read() -> list[str]:
        seen: list[str] = []
        last = 0
        while len(seen) < 30:
            async with filled.transaction() as connection:
                for event in await EventRepository(connection).after(last, 4):
                    seen.append(event.type)
                    last = event.sequence
        return seen

    async with asyncio.timeout(30):
        seen, *_ = await asyncio.gather(read(), *(write(writer) for writer in range(6)))
    assert len(set(seen)) == 30
    for writer in range(6):
        assert [name for name in seen if name.startswith(f"{writer}.")] == [f"{writer}.{step}" for step in range(5)]


@pytest.mark.parametrize("change", ["UPDATE events SET type = 'x'", "DELETE FROM events", "TRUNCATE events"])
async def test_events_are_never_changed(filled: Database, change: str):
    async with filled.transaction() as connection:
        await EventRepository(connection).append(Event(portfolio_id=PORTFOLIO.id, type="a"))
    with pytest.raises(Conflict, match="events is immutable"):
        async with filled.transaction() as connection:
            await connection.execute(change)
