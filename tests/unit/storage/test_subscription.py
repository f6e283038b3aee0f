"""Waiting for a change: neither a change nor a cancellation is lost, also when they come together."""

from __future__ import annotations

import asyncio

import pytest

from storage.change_feed import Subscription

LONG = 20.0


async def test_a_change_before_and_during_the_wait_is_seen_once() -> None:
    subscription = Subscription()
    subscription.wake()
    assert await subscription.wait(LONG)
    asyncio.get_running_loop().call_soon(subscription.wake)
    assert await subscription.wait(LONG)
    assert not await subscription.wait(0.0)


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancellation_is_not_lost_to_a_change(steps: int) -> None:
    """Whatever number of steps of the event loop lies between the two."""
    subscription = Subscription()

    async def follow() -> None:
        while True:
            await subscription.wait(LONG)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.01)
    subscription.wake()
    for _ in range(steps):
        await asyncio.sleep(0)
    following.cancel()
    done, _ = await asyncio.wait({following}, timeout=1.0)
    if not done:
        following.cancel()
    assert done
    assert following.cancelled()
