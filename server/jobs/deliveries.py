"""Delivering events from the outbox: claim, tell, note, until stopped."""

from __future__ import annotations

import asyncio

import structlog

from server.metrics import DELIVERIES
from server.notifications.outcome import Outcome
from server.notifications.sender import Sender
from storage.change_feed import EVERY, ChangeFeed, Subscription
from storage.database import Database
from storage.deliveries import DELIVERED, Claim, DeliveryRepository

_log = structlog.get_logger()
# Without a notification new events are looked for once in this time.
_LOOK_SECONDS = 1.0
_SHORTEST_LOOK_SECONDS = 0.02
# While the database does not answer.
_PAUSE_SECONDS = 0.5
_AT_A_TIME = 32
# One receiver that hangs holds up no more than these.
_AT_A_TIME_EACH = 8


class DeliveryLoop:
    """Tells receivers about events, beside any number of others of its kind.

    A delivery is claimed before the attempt and noted after it. Whoever dies in between leaves a lease that runs out,
    and another tries again under the same delivery id.
    """

    def __init__(self, database: Database, events: ChangeFeed, sender: Sender, drain_seconds: float) -> None:
        self._database, self._events, self._sender = database, events, sender
        self._drain_seconds = drain_seconds
        # Each attempt with its receiver.
        self._under_way: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Deliver until cancelled; then take no more, and give attempts under way the time to drain."""
        async with self._events.subscribe(EVERY) as change:
            try:
                while True:
                    await change.wait(await self._look(change))
            finally:
                await self._drain()

    async def _look(self, change: Subscription) -> float:
        """Begin what is due, and return for how long nothing more is."""
        try:
            while self._free and await self._begin(change):
                pass
            async with self._database.transaction() as connection:
                seconds = await DeliveryRepository(connection).seconds_until_due(self._busy)
        except Exception as error:  # whatever it is, deliveries must go on
            _log.warning("deliveries not looked at", reason=type(error).__name__)
            return _PAUSE_SECONDS
        if seconds is None or not self._free:
            return _LOOK_SECONDS
        return min(max(seconds, _SHORTEST_LOOK_SECONDS), _LOOK_SECONDS)

    @property
    def _busy(self) -> set[str]:
        return set(self._under_way.values())

    @property
    def _free(self) -> int:
        return _AT_A_TIME - len(self._under_way)

    async def _begin(self, change: Subscription) -> bool:
        """Take what is due, and return whether there was anything."""
        async with self._database.transaction() as connection:
            repository = DeliveryRepository(connection)
            claims = await repository.claim(self._free, _AT_A_TIME_EACH, self._busy, self._sender.lease)

        def ended(task: asyncio.Task[None]) -> None:
            was_full = not self._free
            # What waits behind this one, for its receiver or for a place, may be due now.
            if self._under_way.pop(task) not in self._busy or was_full:
                change.wake()

        for claim in claims:
            task = asyncio.create_task(self._deliver(claim))
            self._under_way[task] = claim.receiver
            task.add_done_callback(ended)
        return bool(claims)

    async def _deliver(self, claim: Claim) -> None:
        outcome = await self._sender.send(claim)
        status = await self._note(claim, outcome)
        if status is None:
            return
        DELIVERIES.labels(claim.channel, status).inc()
        facts = {"delivery_id": claim.id, "channel": claim.channel, "attempt": claim.attempts, "status": status}
        _log.info("delivery attempted", **facts, reason=outcome.error)

    async def _note(self, claim: Claim, outcome: Outcome) -> str | None:
        """Write down what became of an attempt, also when the database is away for a while: not noted, it is repeated.

        Returns:
            The status of the delivery; None when this attempt has not decided it.
        """
        while True:
            try:
                async with self._database.transaction() as connection:
                    repository = DeliveryRepository(connection)
                    if outcome.delivered:
                        return DELIVERED if await repository.deliver(claim.id) else None
                    failure = self._sender.retries.failure(outcome, claim.attempts)
                    return await repository.fail(claim.id, claim.attempts, failure)
            except Exception as error:
                _log.warning("delivery not noted", delivery_id=claim.id, reason=type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _drain(self) -> None:
        if not self._under_way:
            return
        await asyncio.wait(self._under_way, timeout=self._drain_seconds)
        left = tuple(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
