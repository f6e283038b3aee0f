"""The storage suite runs on both servers: the embedded one and the one that the system has."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from storage_examples import BENCHMARK, INSTRUMENTS, PORTFOLIO

from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.embedded import EmbeddedServer
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from tests.conftest import make_template

SYSTEM_PROGRAMS = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session", params=["embedded", "system"])
def postgres_server(request: pytest.FixtureRequest, open_directory: Path) -> Iterator[EmbeddedServer]:
    """The servers of the version matrix, without waiting for the disk."""
    programs = SYSTEM_PROGRAMS if request.param == "system" else None
    if programs is not None and not programs.exists():
        pytest.skip(f"no PostgreSQL 15 in {programs}")
    directory = open_directory / f"storage-{request.param}"
    with EmbeddedServer.start(directory, bin_directory=programs, settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedServer) -> str:
    """The template of each of these servers: the one of other tests is on a server of theirs."""
    return make_template(postgres_server)


@pytest.fixture
async def filled(database: Database) -> AsyncIterator[Database]:
    """A database with the example instruments, benchmark and portfolio."""
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(INSTRUMENTS)
        await BenchmarkRepository(connection).put(BENCHMARK)
        await PortfolioRepository(connection).put(PORTFOLIO)
    return database
