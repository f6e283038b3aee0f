"""Events, webhooks and loops that deliver, for tests of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from portfolio_optimization.v1 import events_pb2 as pb

from server.convert.answers import to_json
from server.jobs.deliveries import DeliveryLoop
from server.notifications.sender import make_sender
from server.settings import Settings
from storage.change_feed import EVENT_APPENDED, ChangeFeed
from storage.database import Database
from storage.deliveries import Delivery, DeliveryRepository
from storage.events import EventRepository
from storage.portfolios import PortfolioRepository
from storage.records import Event, Json, Portfolio

KEY = "a key of sixteen characters or more"
SECONDS = 20.0
PORTFOLIOS = ("one", "two")
# Waits that cost a test little; each attempt still waits for the one before.
QUICK: dict[str, Any] = {
    "load_sample": False,
    "metrics_address": "",
    "grpc_address": "127.0.0.1:0",
    "webhook_allow_loopback": True,
    "webhook_timeout_seconds": 5.0,
    "smtp_timeout_seconds": 5.0,
    "delivery_first_wait_seconds": 0.02,
    "delivery_longest_wait_seconds": 0.1,
    "mail_sender": "service@portfolio.example",
}


async def store_portfolios(database: Database, **preferences: Json) -> None:
    """Two portfolios, with preferences for rebalancing by id."""
    async with database.transaction() as connection:
        for name in PORTFOLIOS:
            stored = {"rebalancing": preferences.get(name, {})}
            await PortfolioRepository(connection).put(Portfolio(id=name, name=f"Account {name}", preferences=stored))


async def happen(database: Database, *events: Event) -> list[Event]:
    """Append events, each in a transaction of its own."""
    stored = []
    for event in events:
        async with database.transaction() as connection:
            stored.append(await EventRepository(connection).append(event))
    return stored


def event(portfolio_id: str = "one", **payload: object) -> Event:
    """An event with one field of the contract's payloads."""
    ((kind, message),) = (payload or {"optimization_ended": pb.OptimizationEnded(status="failed")}).items()
    assert message is None or hasattr(message, "DESCRIPTOR")
    return Event(portfolio_id=portfolio_id, type=kind, payload={} if message is None else to_json(message))  # type: ignore[arg-type]


async def deliveries(database: Database) -> tuple[Delivery, ...]:
    """All of them, newest first."""
    async with database.transaction() as connection:
        return await DeliveryRepository(connection).page(1000)


async def until(condition: Callable[[tuple[Delivery, ...]], bool], database: Database) -> tuple[Delivery, ...]:
    """The deliveries, once the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not condition(found := await deliveries(database)):
            await asyncio.sleep(0.01)
    return found


async def ended(database: Database) -> tuple[Delivery, ...]:
    """The deliveries, once none is pending."""
    return await until(lambda rows: bool(rows) and all(row.status != "pending" for row in rows), database)


@asynccontextmanager
async def delivering(
    database: Database, settings: Settings, drain_seconds: float = 5.0
) -> AsyncIterator[asyncio.Task[None]]:
    """A loop that delivers, beside others."""
    async with ChangeFeed(database.connection_string, EVENT_APPENDED) as changes:
        task = asyncio.create_task(DeliveryLoop(database, changes, make_sender(settings), drain_seconds).run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
