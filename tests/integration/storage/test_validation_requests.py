"""Validations: created once, followed step by step, ended once."""

import asyncio
from uuid import uuid4

import pytest
from storage_examples import PORTFOLIO, prices

from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.pricing_packs import PricingPackRepository
from storage.records import Cursor, Stored, ValidationRequest, ValidationResult
from storage.validations import ValidationRepository

LONG, SHORT = 20.0, 0.05


def validation(**changes: object) -> ValidationRequest:
    plain = {"id": str(uuid4()), "portfolio_id": PORTFOLIO.id, "specification": {"as": "sent"}, "windows": 12}
    return ValidationRequest(**plain | changes)


def result(identifier: str) -> ValidationResult:
    report = {"wealth": [1.0, 0.1 + 0.2], "outcomes": {"optimal": 2}}
    return ValidationResult(validation_id=identifier, report=report, details={"message": "done"}, solve_seconds=0.5)


async def create(database: Database, **changes: object) -> ValidationRequest:
    request = validation(**changes)
    async with database.transaction() as connection:
        assert await ValidationRepository(connection).create(request) == (request, True)
    return request


async def test_a_validation_comes_back_as_it_was(filled: Database):
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "test")
    request = await create(filled, request_id="mine", pricing_pack_id=pack.id)
    async with filled.transaction() as connection:
        repository = ValidationRepository(connection)
        await repository.set_job(request.id, 7)
        assert (await repository.find_request(request.id)).job_id == 7
        assert await repository.complete(request.id, "completed", result(request.id), None)
        stored = await repository.find(request.id)
    assert (stored.request.status, stored.request.windows) == ("completed", 12)
    assert stored.result is not None
    assert (stored.result.report, stored.result.details) == (result("").report, result("").details)
    assert stored.result.solve_seconds == 0.5


async def test_the_same_key_gives_the_first_one(filled: Database):
    first = await create(filled, request_id="mine")
    async with filled.transaction() as connection:
        repository = ValidationRepository(connection)
        assert await repository.create(validation(request_id="mine")) == (first, False)
        assert await repository.find_by_request_id(PORTFOLIO.id, "mine") == Stored(first, None)


async def test_progress_is_kept_while_it_runs_and_begins_anew_with_a_new_worker(filled: Database):
    request = await create(filled)
    async with filled.transaction() as connection:
        repository = ValidationRepository(connection)
        await repository.progress(request.id, 3, 12)
        assert (await repository.find_request(request.id)).windows_done == 0
        assert await repository.start(request.id)
        await repository.progress(request.id, 5, 13)
        found = await repository.find_request(request.id)
        assert (found.status, found.windows_done, found.windows) == ("running", 5, 13)
        assert await repository.start(request.id)
        assert (await repository.find_request(request.id)).windows_done == 0
        assert await repository.complete(request.id, "failed", result(request.id), None)
        await repository.progress(request.id, 6, 13)
        assert (await repository.find_request(request.id)).windows_done == 0


async def test_more_windows_than_there_are_cannot_be_done(filled: Database):
    request = await create(filled)
    async with filled.transaction() as connection:
        await ValidationRepository(connection).start(request.id)
    with pytest.raises(Exception, match="validation_requests_progress"):
        async with filled.transaction() as connection:
            await ValidationRepository(connection).progress(request.id, 13, 12)


@pytest.mark.parametrize("started", [False, True])
async def test_what_is_cancelled_stays_so(filled: Database, started: bool):
    request = await create(filled)
    async with filled.transaction() as connection:
        repository = ValidationRepository(connection)
        if started:
            await repository.start(request.id)
        assert await repository.cancel(request.id) == ("running" if started else "pending")
        assert await repository.cancel(request.id) == "cancelled"
        assert not await repository.start(request.id)
        assert not await repository.complete(request.id, "completed", result(request.id), None)
        assert await repository.find(request.id) == Stored(await repository.find_request(request.id), None)


async def test_of_concurrent_ends_one_counts(filled: Database):
    request = await create(filled)

    async def complete() -> bool:
        async with filled.transaction() as connection:
            return await ValidationRepository(connection).complete(request.id, "completed", result(request.id), None)

    assert sorted(await asyncio.gather(*(complete() for _ in range(4)))) == [False, False, False, True]


async def test_every_step_wakes(filled: Database, database_url: str):
    request = await create(filled)
    async with ChangeFeed(database_url) as feed, feed.subscribe(request.id) as subscription:
        await subscription.wait(SHORT)
        for step in ("start", "progress", "cancel"):
            async with filled.transaction() as connection:
                repository = ValidationRepository(connection)
                if step == "progress":
                    await repository.progress(request.id, 1, 12)
                else:
                    await getattr(repository, step)(request.id)
            assert await subscription.wait(LONG)
        assert not await subscription.wait(SHORT)


async def test_pages_are_newest_first(filled: Database):
    requests = [await create(filled) for _ in range(3)]
    async with filled.transaction() as connection:
        repository = ValidationRepository(connection)
        first = await repository.page(PORTFOLIO.id, 2)
        place = first[-1].request
        rest = await repository.page(PORTFOLIO.id, 2, Cursor(place.created_at, place.id))
    assert [stored.request.id for stored in (*first, *rest)] == [request.id for request in reversed(requests)]


async def test_what_is_not_there_is_said(filled: Database):
    for action in ("find", "find_request", "start", "cancel"):
        with pytest.raises(NotFound, match="validation"):
            async with filled.transaction() as connection:
                await getattr(ValidationRepository(connection), action)("none")
    with pytest.raises(NotFound):
        await create(filled, portfolio_id="none")
    request = await create(filled)
    with pytest.raises(Conflict):
        await create(filled, id=request.id)
