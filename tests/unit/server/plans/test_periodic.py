"""Work that is done again and again goes on after a failure."""

from __future__ import annotations

import asyncio

from server.jobs.periodic import Periodic


async def test_a_failure_does_not_end_the_work() -> None:
    turns, enough = [0], asyncio.Event()

    async def work() -> None:
        turns[0] += 1
        if turns[0] == 1:
            raise ConnectionError("lost")
        if turns[0] == 3:
            enough.set()

    task = asyncio.create_task(Periodic("a test", 0.0, work).run())
    async with asyncio.timeout(20.0):
        await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
