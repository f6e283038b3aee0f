"""Migrations: forward from every earlier version, once, whoever runs them, and never over a stranger's schema."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from procrastinate.schema import SchemaManager
from psycopg import sql

from storage.embedded import EmbeddedServer
from storage.errors import SchemaMismatch, Unavailable
from storage.migrate import load_migrations, migrate

MIGRATIONS = load_migrations()
NAMES = tuple(step.name for step in MIGRATIONS)
BASELINE = Path(__file__).with_name("schema_baseline.sql").read_text()

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision, numeric_scale,
        is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = %s ORDER BY table_name, column_name
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s ORDER BY indexname"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = %s::regnamespace AND contype IN ('p', 'f', 'u', 'c') ORDER BY 1, 2
"""
FUNCTIONS = "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = %s::regnamespace ORDER BY 1, 2"
TRIGGERS = """
    SELECT tgname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = %s::regnamespace AND NOT tgisinternal ORDER BY 1, 2
"""


def look_up(url: str, query: str, schema: str = "public") -> list[tuple]:
    """Rows about a schema, without its name in them."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(query, [schema]).fetchall()
    return [tuple(cell.replace(f"{schema}.", "") if isinstance(cell, str) else cell for cell in row) for row in rows]


def describe(url: str) -> list[list[tuple]]:
    return [look_up(url, query) for query in (COLUMNS, INDEXES, CONSTRAINTS, FUNCTIONS, TRIGGERS)]


@pytest.fixture
def empty_database(postgres_server: EmbeddedServer) -> Iterator[str]:
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.connection_string, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        yield urlsplit(postgres_server.connection_string)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_all_steps_are_applied_once(empty_database: str):
    assert await migrate(empty_database) == NAMES
    assert await migrate(empty_database) == ()


@pytest.mark.parametrize("earlier", range(1, len(MIGRATIONS)))
async def test_every_earlier_version_reaches_the_same_schema(empty_database: str, database_url: str, earlier: int):
    assert await migrate(empty_database, MIGRATIONS[:earlier]) == NAMES[:earlier]
    assert await migrate(empty_database) == NAMES[earlier:]
    assert describe(empty_database) == describe(database_url)


async def test_concurrent_migrators_share_the_work(empty_database: str):
    outcomes = await asyncio.gather(*(migrate(empty_database) for _ in range(4)))
    assert sorted(outcomes) == [(), (), (), NAMES]


async def test_a_changed_step_is_refused(empty_database: str):
    await migrate(empty_database)
    edited = (*MIGRATIONS[:-1], replace(MIGRATIONS[-1], statements=b"SELECT 1"))
    with pytest.raises(SchemaMismatch, match=f"migration {len(MIGRATIONS)}"):
        await migrate(empty_database, edited)


async def test_a_newer_database_is_refused(empty_database: str):
    await migrate(empty_database)
    with pytest.raises(SchemaMismatch, match="newer release"):
        await migrate(empty_database, MIGRATIONS[:-1])


async def test_an_old_server_is_refused(empty_database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storage.migrate._OLDEST_SERVER", 99)
    with pytest.raises(SchemaMismatch, match="99 or newer is needed"):
        await migrate(empty_database)


async def test_a_failed_step_leaves_nothing(empty_database: str):
    broken = replace(MIGRATIONS[1], statements=b"CREATE TABLE half (id INTEGER); SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(empty_database, (MIGRATIONS[0], broken))
    assert await migrate(empty_database) == NAMES[1:]
    assert not [row for row in look_up(empty_database, COLUMNS) if row[0] == "half"]


async def test_no_server_is_unavailable():
    with pytest.raises(Unavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/nothing")


def test_the_schema_keeps_the_baseline(database_url: str):
    """Every column, constraint and index of the baseline is there under its name and as it was."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE SCHEMA baseline")
        connection.execute("SET search_path = baseline")
        connection.execute("CREATE TABLE portfolios (id VARCHAR(36) PRIMARY KEY)")
        connection.execute(BASELINE)
    for query in (COLUMNS, INDEXES, CONSTRAINTS):
        wanted = look_up(database_url, query, "baseline")
        assert len(wanted) > 20
        assert set(wanted) <= set(look_up(database_url, query))


def test_the_job_queue_is_the_one_of_the_installed_package():
    """Fails when procrastinate is upgraded with a new schema: its own migrations are then to be added as steps."""
    step = next(step for step in MIGRATIONS if step.name == "job_queue")
    assert step.statements.decode().endswith(SchemaManager.get_schema())


def test_history_is_partitioned_by_time(database_url: str):
    with psycopg.connect(database_url) as connection:
        kind = "SELECT relkind FROM pg_class WHERE relname = 'portfolio_optimization_history'"
        assert connection.execute(kind).fetchone() == ("p",)


FAKE_TIMESCALEDB = """
    CREATE TABLE hypertables (relation REGCLASS, time_column NAME);
    CREATE FUNCTION create_hypertable(relation REGCLASS, time_column NAME) RETURNS void
        LANGUAGE sql AS 'INSERT INTO hypertables VALUES (relation, time_column)';
"""


async def test_history_is_a_hypertable_where_timescaledb_is_installed(
    postgres_server: EmbeddedServer, empty_database: str, open_directory: Path
):
    """A stand-in of the extension shows which way the migration takes."""
    directory = open_directory / uuid.uuid4().hex / "extension"
    directory.mkdir(parents=True)
    (directory / "timescaledb.control").write_text("default_version = '1'\n")
    (directory / "timescaledb--1.sql").write_text(FAKE_TIMESCALEDB)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("before PostgreSQL 18 extensions can only be put into the installation")
        connection.execute(sql.SQL("SET extension_control_path = {}").format(f"{directory.parent}:$system"))
        connection.execute("CREATE EXTENSION timescaledb")
        await migrate(empty_database)
        rows = connection.execute("SELECT relation::text, time_column FROM hypertables").fetchall()
        assert rows == [("portfolio_optimization_history", "completed_at")]
        assert connection.execute("SELECT ensure_history_partition(NOW())").fetchone() == ("",)
        kinds = "SELECT relkind FROM pg_class WHERE relname LIKE 'portfolio_optimization_history%' AND relkind <> 'i'"
        assert connection.execute(kinds).fetchall() == [("r",)]
