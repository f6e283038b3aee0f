"""A PostgreSQL server for the session, and a migrated database of its own for every test that asks for one."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from storage.database import Database
from storage.embedded import EmbeddedServer
from storage.migrate import migrate

# A busy machine is no fault of the code: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

TEMPLATE = "portfolio_optimization_template"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30


def in_database(connection_string: str, database: str) -> str:
    """The same server, another database."""
    return urlsplit(connection_string)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A temporary directory that other users may enter: as root, PostgreSQL runs as one. In memory if there is room."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    directory = Path(tempfile.mkdtemp(prefix="portfolio-", dir=MEMORY if has_room else None))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_server(open_directory: Path) -> Iterator[EmbeddedServer]:
    """The embedded server. Its data need not outlive the power, so it does not wait for the disk."""
    with EmbeddedServer.start(open_directory / "embedded", settings={"fsync": "off"}) as server:
        yield server


def make_template(server: EmbeddedServer) -> str:
    """The name of a new migrated database, to be copied for every test."""
    with psycopg.connect(server.connection_string, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    asyncio.run(migrate(in_database(server.connection_string, TEMPLATE)))
    return TEMPLATE


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedServer) -> str:
    """The name of a migrated database that is copied for every test."""
    return make_template(postgres_server)


@pytest.fixture
def database_url(postgres_server: EmbeddedServer, template_database: str) -> Iterator[str]:
    """The connection string of a fresh, migrated database."""
    name = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with psycopg.connect(postgres_server.connection_string, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template_database)))
        yield in_database(postgres_server.connection_string, name.as_string(None).strip('"'))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool of connections to the fresh database."""
    async with Database(database_url) as pool:
        yield pool
