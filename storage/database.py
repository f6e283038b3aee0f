"""The way to PostgreSQL: a pool of connections, one transaction at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from storage.errors import translated

Connection: TypeAlias = AsyncConnection[TupleRow]


class Database:
    """A pool of connections to one database.

    Repositories are made on the connection of a transaction, so that several of them share it::

        async with database.transaction() as connection:
            await OptimizationRepository(connection).create(request)
            await EventRepository(connection).append(event)

    A connection is tried before it is lent, so a restart of the server costs callers no error of its own.
    """

    def __init__(self, connection_string: str, *, max_connections: int = 10, patience_seconds: float = 10.0) -> None:
        self.connection_string = connection_string
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            connection_string,
            # Moments come back in UTC wherever the server stands.
            kwargs={"options": "-c timezone=UTC"},
            min_size=1,
            max_size=max_connections,
            timeout=patience_seconds,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def open(self) -> None:
        """Connects.

        Raises:
            Unavailable: The server does not answer within the patience.
        """
        with translated():
            try:
                await self._pool.open(wait=True, timeout=self._pool.timeout)
            except BaseException:
                await self._pool.close()
                raise

    async def close(self) -> None:
        """Closes all connections; what is not committed is rolled back."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises:
            NotFound, Conflict, Retryable, Unavailable: See :func:`storage.errors.translated`.
        """
        with translated():
            async with self._pool.connection() as connection:
                yield connection

    async def ping(self) -> None:
        """Returns when the database answers, for health checks.

        Raises:
            Unavailable: It does not.
        """
        async with self.transaction() as connection:
            await connection.execute(b"SELECT 1")
