"""Brings a database to the schema of this code: numbered files, forward only, each once and in its own transaction."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources

from psycopg import AsyncConnection
from psycopg.rows import class_row

from storage.database import Connection
from storage.errors import SchemaMismatch, translated
from storage.repository import as_parameters
from storage.statements import load_statements

_SQL = load_statements("migrations")
_OLDEST_SERVER = 14


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. ``version`` counts from 1 without holes."""

    version: int
    name: str
    statements: bytes

    @property
    def applied(self) -> AppliedMigration:
        """The mark that this step leaves in the database."""
        return AppliedMigration(self.version, self.name, hashlib.sha256(self.statements).hexdigest())


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A row of ``schema_migrations``."""

    version: int
    name: str
    checksum: str


def load_migrations() -> tuple[Migration, ...]:
    """The files ``storage/migrations/NNNN_name.sql`` in order.

    Raises:
        ValueError: Their numbers are not 1, 2, 3, ...
    """
    files = sorted(
        (file for file in (resources.files("storage") / "migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    steps = ((file.name.removesuffix(".sql").partition("_"), file) for file in files)
    migrations = tuple(Migration(int(number), name, file.read_bytes()) for (number, _, name), file in steps)
    if [step.version for step in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations are not numbered 1, 2, 3, ...")
    return migrations


async def migrate(connection_string: str, migrations: Sequence[Migration] | None = None) -> tuple[str, ...]:
    """Applies what is missing. Any number of processes may do so at the same time: one works, the others wait.

    Returns:
        The names of the steps applied now; empty when there was nothing to do.

    Raises:
        SchemaMismatch: A step changed after it was applied, the database is newer than this code, or the server older
            than PostgreSQL 14.
        Unavailable: The server does not answer.
    """
    steps = load_migrations() if migrations is None else migrations
    with translated():
        async with await AsyncConnection.connect(connection_string, autocommit=True) as connection, _locked(connection):
            _check_server(connection)
            await connection.execute(_SQL["create_table"])
            missing = _missing(steps, await _applied(connection))
            for step in missing:
                await _apply(connection, step)
    return tuple(step.name for step in missing)


@asynccontextmanager
async def _locked(connection: Connection) -> AsyncIterator[None]:
    """A lock of the session, so that it spans the transactions of all steps."""
    await connection.execute(_SQL["lock"])
    try:
        yield
    finally:
        if not connection.broken:
            await connection.execute(_SQL["unlock"])


def _check_server(connection: Connection) -> None:
    major = connection.info.server_version // 10_000
    if major < _OLDEST_SERVER:
        raise SchemaMismatch(f"the server is PostgreSQL {major}; {_OLDEST_SERVER} or newer is needed")


async def _applied(connection: Connection) -> list[AppliedMigration]:
    async with connection.cursor(row_factory=class_row(AppliedMigration)) as cursor:
        return await (await cursor.execute(_SQL["applied"])).fetchall()


def _missing(steps: Sequence[Migration], applied: Sequence[AppliedMigration]) -> Sequence[Migration]:
    if len(applied) > len(steps):
        raise SchemaMismatch(
            f"the database has schema version {applied[-1].version}, this code knows versions up to {len(steps)}: "
            "run a newer release"
        )
    for step, mark in zip(steps, applied, strict=False):
        if step.applied != mark:
            raise SchemaMismatch(
                f"migration {mark.version} ({mark.name}) was applied in another form than this code has: "
                "applied migrations must not be edited"
            )
    return steps[len(applied) :]


async def _apply(connection: Connection, step: Migration) -> None:
    async with connection.transaction():
        await connection.execute(step.statements)
        await connection.execute(_SQL["record"], as_parameters(step.applied))
