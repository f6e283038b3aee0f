"""Waking up when something has changed, without asking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from storage.errors import Unavailable
from storage.statements import load_statements

OPTIMIZATION_CHANGED = "optimization_changed"
EVENT_APPENDED = "event_appended"
# Subscribes to the changes of all rows or portfolios; none has this id.
EVERY = ""

_SQL = load_statements("change_feed")
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0


class Subscription:
    """One listener's memory of whether something has happened since it last looked."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Notes that something may have happened."""
        self._changed.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Waits until something may have happened since the last wait, or since the subscription.

        Returns:
            Whether it may have; False when the time is over. Read the state after True: a wake-up too many is possible.
        """
        # Before Python 3.12 wait_for loses a cancellation that comes together with the change.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        changed = self._changed.is_set()
        self._changed.clear()
        return changed


class ChangeFeed:
    """One connection that listens for all subscribers of this process.

    It connects again by itself, and then wakes everybody, as it cannot know what it has missed.
    """

    def __init__(self, connection_string: str, channel: str = OPTIMIZATION_CHANGED) -> None:
        # A peer that is cut off without a word is noticed within half a minute.
        self._connection_string = make_conninfo(
            connection_string, keepalives_idle=10, keepalives_interval=5, keepalives_count=3
        )
        self._listen = _SQL[channel]
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begins to listen.

        Raises:
            Unavailable: The server does not answer.
        """
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.wait_for(self._listening.wait(), _PATIENCE_SECONDS)
        except TimeoutError as error:
            await self.close()
            raise Unavailable("the database does not answer") from error

    async def close(self) -> None:
        """Ends listening. Subscribers are not woken any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def subscribe(self, identifier: str) -> AsyncIterator[Subscription]:
        """Remembers, while the block lasts, every change of the row or portfolio of this id that is committed in it.

        Args:
            identifier: The row or portfolio, or EVERY.
        """
        subscription = Subscription()
        self._subscriptions.setdefault(identifier, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[identifier].discard(subscription)
            if not self._subscriptions[identifier]:
                del self._subscriptions[identifier]

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._listening.clear()
            with suppress(psycopg.OperationalError):
                await self._follow()
            pause = _FIRST_PAUSE_SECONDS if self._listening.is_set() else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        """Listens until the connection is lost."""
        async with await AsyncConnection.connect(self._connection_string, autocommit=True) as connection:
            await connection.execute(self._listen)
            self._listening.set()
            self._wake(list(self._subscriptions))
            async for notification in connection.notifies():
                self._wake([notification.payload])

    def _wake(self, identifiers: list[str]) -> None:
        for identifier in identifiers:
            for subscription in (*self._subscriptions.get(identifier, ()), *self._subscriptions.get(EVERY, ())):
                subscription.wake()
