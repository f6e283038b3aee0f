"""What the driver raises reaches callers as what they should do next."""

import asyncio

import pytest

from storage.database import Database
from storage.errors import Conflict, NotFound, Retryable, Unavailable
from storage.events import EventRepository
from storage.records import Event


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 'x'::varchar::integer", Conflict),
        ("INSERT INTO schema_migrations SELECT * FROM schema_migrations", Conflict),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", Retryable),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", Retryable),
        ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", Retryable),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", Unavailable),
    ],
)
async def test_errors_are_translated(database: Database, statement: str, expected: type[Exception]):
    with pytest.raises(expected):
        async with database.transaction() as connection:
            await connection.execute(statement)


async def test_a_missing_reference_is_not_found(database: Database):
    with pytest.raises(NotFound, match="row that events refers to"):
        async with database.transaction() as connection:
            await EventRepository(connection).append(Event(portfolio_id="none", type="a"))


async def test_the_callers_own_errors_pass_and_roll_back(database: Database):
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE scratch (id INTEGER)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.transaction() as connection:
        assert await (await connection.execute("SELECT to_regclass('scratch')")).fetchone() == (None,)


async def test_lost_connections_cost_the_next_caller_nothing(database: Database):
    with pytest.raises(Unavailable):
        async with database.transaction() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() ORDER BY pid = pg_backend_pid()"
            )
    await database.ping()


async def test_a_full_pool_is_unavailable(database_url: str):
    async with Database(database_url, max_connections=1, patience_seconds=0.1) as narrow, narrow.transaction():
        with pytest.raises(Unavailable):
            await narrow.ping()


async def test_no_server_is_unavailable():
    with pytest.raises(Unavailable):
        await Database("postgresql://nobody@127.0.0.1:1/nothing", patience_seconds=0.1).open()


async def test_moments_are_in_utc(database: Database):
    async with database.transaction() as connection:
        row = await (await connection.execute("SHOW timezone")).fetchone()
    assert row == ("UTC",)


async def test_concurrent_transactions_share_the_pool(database: Database):
    await asyncio.gather(*(database.ping() for _ in range(30)))
