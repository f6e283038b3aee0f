"""Streams of a caller that are read to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from server.errors import InvalidRequest

_PATIENCE_SECONDS = 5.0


@asynccontextmanager
async def to_its_end(parts: AsyncIterator[object]) -> AsyncIterator[None]:
    """Let a refused caller finish sending, unread and for a bounded time.

    A refusal in the middle of a stream finds some clients writing, and they then report the write that failed in place
    of the refusal.
    """
    try:
        yield
    except InvalidRequest:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                async for _ in parts:
                    pass
        raise
