"""Work that a worker does again and again, without being asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work with a pause after it.

    Attributes:
        name: What it is, for the log.
        seconds: The pause.
        work: Does all that there is to do now; any number of workers may do it at the same time.
    """

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]

    async def run(self) -> None:
        """Work for ever; a failure is told and tried again at the next turn."""
        while True:
            try:
                await self.work()
            except Exception as error:  # a lost database only makes it wait
                _log.warning("periodic work interrupted", work=self.name, reason=type(error).__name__)
            await asyncio.sleep(self.seconds)
