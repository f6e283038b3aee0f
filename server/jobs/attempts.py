"""What jobs of every kind share: they stop when their row is cancelled, and know which failures are worth a retry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from kernel.errors import ProblemError
from server.errors import Busy, CallError, WorkerLost
from storage.change_feed import ChangeFeed
from storage.errors import Conflict, NotFound, Retryable, Unavailable

_log = structlog.get_logger()
_LOOK_SECONDS = 1.0
# Restarts count too, so a few deaths of a solver are needed before it is the work that is to blame.
_ATTEMPTS = 5


async def unless_cancelled(
    work: Coroutine[Any, Any, None], changes: ChangeFeed, identifier: str, was_cancelled: Callable[[], Awaitable[bool]]
) -> bool:
    """Work, and stop when the row is cancelled meanwhile.

    Args:
        work: What to do; cancelling it kills its solver process.
        changes: Tells of changes of the row.
        identifier: Of the row.
        was_cancelled: Whether the row is cancelled by now.

    Returns:
        Whether the work came to its end.
    """
    working = asyncio.create_task(work)
    try:
        async with changes.subscribe(identifier) as change:
            while not working.done():
                look = asyncio.create_task(change.wait(_LOOK_SECONDS))
                await asyncio.wait({working, look}, return_when=asyncio.FIRST_COMPLETED)
                look.cancel()
                if not working.done() and await was_cancelled():
                    return False
        await working
        return True
    finally:
        # Also when the worker is stopped: what is cancelled here kills its solver process.
        working.cancel()
        await asyncio.wait({working})


def reason_of(error: Exception, noun: str, identifier: str, attempt: int) -> str:
    """Why a job has failed for good, for the caller.

    Args:
        error: What it failed with.
        noun: What the job works on.
        identifier: Of that.
        attempt: 0 at first; counts how often a solver process died over it.

    Raises:
        WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
    """
    if isinstance(error, WorkerLost) and attempt >= _ATTEMPTS - 1:
        return f"the solver process died over this {noun}, also in attempt {attempt + 1}"
    if isinstance(error, WorkerLost | Busy | Retryable | Unavailable):
        raise error
    if isinstance(error, CallError | ProblemError | NotFound | Conflict):
        # Found only now, by the data: the caller is told what is wrong, and no more is tried.
        return str(error)
    _log.error(f"{noun} failed", exc_info=error, **{f"{noun}_id": identifier})
    return f"internal error; quote {noun} id {identifier}"
