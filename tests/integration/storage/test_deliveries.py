"""The outbox: an event and its deliveries come together, each is claimed by one, in order, and noted once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from storage_examples import PORTFOLIO

from storage.database import Database
from storage.deliveries import Claim, Delivery, DeliveryRepository, Failure, Lease
from storage.errors import Conflict, NotFound
from storage.events import EventRepository
from storage.portfolios import PortfolioRepository
from storage.records import Cursor, Event
from storage.webhooks import Webhook, WebhookRepository

KEY = "a key of sixteen characters or more"
LEASE = Lease(timedelta(hours=1), timedelta(hours=1))
NO_LEASE = Lease(timedelta(0), timedelta(0))
DRIFT = "drift_detected"
STATUS = "rebalance_plan_status_changed"
AT_ONCE = Failure("no answer", timedelta(0), final=False, most_attempts=100, longest=timedelta(days=3))


@pytest.fixture(autouse=True)
async def other(filled: Database) -> None:
    """A second portfolio beside the example."""
    async with filled.transaction() as connection:
        await PortfolioRepository(connection).put(replace(PORTFOLIO, id="other", holdings=(), lots=()))


async def subscribe(database: Database, **changes: object) -> Webhook:
    webhook = Webhook(**{"id": str(uuid4()), "url": f"https://example.org/{uuid4()}", **changes})
    async with database.transaction() as connection:
        await WebhookRepository(connection).create(webhook, KEY)
    return webhook


async def tell(database: Database, *addresses: object, portfolio_id: str = PORTFOLIO.id) -> None:
    """The people of a portfolio who are told."""
    async with database.transaction() as connection:
        repository = PortfolioRepository(connection)
        known = await repository.find(portfolio_id)
        await repository.put(replace(known, preferences={"rebalancing": {"alert_emails": list(addresses)}}))


async def append(database: Database, *events: Event) -> list[Event]:
    stored = []
    for event in events:
        async with database.transaction() as connection:
            stored.append(await EventRepository(connection).append(event))
    return stored


def happened(portfolio_id: str = PORTFOLIO.id, kind: str = DRIFT, **payload: object) -> Event:
    return Event(portfolio_id=portfolio_id, type=kind, payload=payload)


async def claim(
    database: Database, limit: int = 100, each: int = 100, busy: tuple[str, ...] = (), lease: Lease = LEASE
):
    async with database.transaction() as connection:
        return await DeliveryRepository(connection).claim(limit, each, busy, lease)


async def deliver(database: Database, claim: Claim) -> bool:
    async with database.transaction() as connection:
        return await DeliveryRepository(connection).deliver(claim.id)


async def fail(database: Database, claim: Claim, failure: Failure = AT_ONCE) -> str | None:
    async with database.transaction() as connection:
        return await DeliveryRepository(connection).fail(claim.id, claim.attempts, failure)


async def listed(database: Database, **wanted: object) -> tuple[Delivery, ...]:
    async with database.transaction() as connection:
        return await DeliveryRepository(connection).page(100, **wanted)


async def delete(database: Database, webhook: Webhook) -> None:
    async with database.transaction() as connection:
        await WebhookRepository(connection).delete(webhook.id)


def places(claims: tuple[Claim, ...]) -> list[int]:
    return [claim.event.sequence for claim in claims]


async def test_every_webhook_that_wants_an_event_gets_it_once(filled: Database) -> None:
    every = await subscribe(filled)
    drifts = await subscribe(filled, types=(DRIFT, "portfolio_optimized"))
    others = await subscribe(filled, portfolio_id="other")
    neither = await subscribe(filled, portfolio_id="other", types=(STATUS,))
    await append(filled, happened(), happened("other"), happened(kind="optimization_ended"))
    rows = {(row.address, row.sequence) for row in await listed(filled)}
    assert rows == {(every.url, 1), (every.url, 2), (every.url, 3), (drifts.url, 1), (drifts.url, 2), (others.url, 2)}
    assert all(row.address != neither.url for row in await listed(filled))


async def test_a_webhook_gets_nothing_that_happened_before_it(filled: Database) -> None:
    await append(filled, happened())
    await subscribe(filled)
    assert await listed(filled) == ()
    await append(filled, happened())
    assert [row.sequence for row in await listed(filled)] == [2]


ALERTS = {
    "drift": (DRIFT, {}, True),
    "a plan that needs an approval": ("rebalance_plan_proposed", {"approval_required": True}, True),
    "a plan that needs none": ("rebalance_plan_proposed", {"approval_required": False}, False),
    "a plan that says nothing of it": ("rebalance_plan_proposed", {}, False),
    "pending": (STATUS, {"transition": {"status": "REBALANCE_PLAN_STATUS_PENDING_APPROVAL"}}, True),
    "approved": (STATUS, {"transition": {"status": "REBALANCE_PLAN_STATUS_APPROVED"}}, True),
    "rejected": (STATUS, {"transition": {"status": "REBALANCE_PLAN_STATUS_REJECTED"}}, False),
    "no status": (STATUS, {}, False),
    "something else": ("portfolio_optimized", {"approval_required": True}, False),
}


@pytest.mark.parametrize("name", ALERTS)
async def test_people_are_told_before_execution(filled: Database, name: str) -> None:
    kind, payload, told = ALERTS[name]
    await tell(filled, "a@example.org", "b@example.org", "a@example.org")
    await append(filled, happened(kind=kind, **payload), happened("other", kind, **payload))
    rows = {(row.channel, row.address, row.portfolio_id) for row in await listed(filled)}
    people = {("email", "a@example.org", "savings"), ("email", "b@example.org", "savings")}
    assert rows == (people if told else set())


NO_ADDRESSES = [{}, {"alert_emails": "a@b"}, {"alert_emails": [None, ""]}, 1]


@pytest.mark.parametrize("preferences", [{}, *({"rebalancing": each} for each in NO_ADDRESSES)])
async def test_preferences_without_addresses_stop_no_event(filled: Database, preferences: dict) -> None:
    async with filled.transaction() as connection:
        await PortfolioRepository(connection).put(replace(PORTFOLIO, preferences=preferences))
    await append(filled, happened())
    assert await listed(filled) == ()


async def test_a_person_whose_address_is_the_id_of_a_webhook_is_another_receiver(filled: Database) -> None:
    webhook = await subscribe(filled)
    await tell(filled, webhook.id)
    await append(filled, happened())
    assert sorted(row.channel for row in await listed(filled)) == ["email", "webhook"]


async def test_an_event_that_is_rolled_back_is_told_to_nobody(filled: Database) -> None:
    await subscribe(filled)

    async def give_up() -> None:
        async with filled.transaction() as connection:
            await EventRepository(connection).append(happened())
            raise KeyError

    with pytest.raises(KeyError):
        await give_up()
    assert await listed(filled) == ()


async def test_a_claim_has_all_that_an_attempt_needs(filled: Database) -> None:
    webhook = await subscribe(filled)
    await tell(filled, "owner@example.org")
    (event,) = await append(filled, happened(pricing_pack_id="pp-1"))
    by_channel = {found.channel: found for found in await claim(filled)}
    posted, mailed = by_channel["webhook"], by_channel["email"]
    assert posted.event == mailed.event == event
    assert (posted.webhook_id, posted.address, posted.signing_key) == (webhook.id, webhook.url, KEY)
    assert (mailed.webhook_id, mailed.address, mailed.signing_key) == (None, "owner@example.org", None)
    assert {(found.attempts, found.portfolio_name, found.currency) for found in (posted, mailed)} == {
        (1, "Savings", "USD")
    }
    assert KEY not in repr(posted)
    assert UUID(posted.id) != UUID(mailed.id)


async def test_what_is_claimed_is_left_alone_until_its_lease_ends(filled: Database) -> None:
    await subscribe(filled)
    await append(filled, happened())
    (first,) = await claim(filled, lease=NO_LEASE)
    (second,) = await claim(filled)
    assert await claim(filled) == ()
    assert second == replace(first, attempts=2)
    (row,) = await listed(filled)
    assert (row.status, row.attempts) == ("pending", 2)
    assert timedelta(minutes=59) < row.next_attempt_at - row.created_at < timedelta(minutes=61)


async def test_each_receiver_is_told_in_order_per_portfolio(filled: Database) -> None:
    one, two = await subscribe(filled), await subscribe(filled)
    await append(filled, happened(), happened(), happened("other"), happened())
    first = await claim(filled)
    assert sorted((found.receiver, found.event.sequence) for found in first) == sorted(
        (webhook.id, place) for webhook in (one, two) for place in (1, 3)
    )
    assert await claim(filled) == ()
    ones = {found.event.sequence: found for found in first if found.receiver == one.id}
    assert await deliver(filled, ones[3])
    assert await claim(filled) == ()
    assert await fail(filled, ones[1]) == "pending"
    (again,) = await claim(filled)
    assert (again.receiver, again.event.sequence, again.id) == (one.id, 1, ones[1].id)
    assert await deliver(filled, again)
    assert places(await claim(filled)) == [2]


async def test_one_that_is_abandoned_makes_way_for_the_next(filled: Database) -> None:
    await subscribe(filled)
    await append(filled, happened(), happened())
    (first,) = await claim(filled)
    assert await fail(filled, first, replace(AT_ONCE, final=True, error="gone")) == "abandoned"
    assert places(await claim(filled)) == [2]
    row = (await listed(filled, status="abandoned"))[0]
    assert (row.sequence, row.last_error, row.next_attempt_at, row.delivered_at) == (1, "gone", None, None)


async def test_no_receiver_gets_more_than_its_share(filled: Database) -> None:
    one, two = await subscribe(filled), await subscribe(filled, portfolio_id="other")
    await append(filled, happened(), happened("other"))
    assert await claim(filled, busy=(one.id, two.id)) == ()
    assert [found.receiver for found in await claim(filled, busy=(one.id,))] == [two.id]
    assert len(await claim(filled, each=1)) == 1
    assert len(await claim(filled, limit=0)) == 0
    assert len(await claim(filled, each=1)) == 1


async def test_workers_at_once_claim_each_delivery_once(filled: Database) -> None:
    for _ in range(5):
        await subscribe(filled)
    await append(filled, *(happened(name) for name in (PORTFOLIO.id, "other") for _ in range(3)))
    claims: list[str] = []
    for _ in range(3):
        rounds = await asyncio.gather(*(claim(filled, limit=4, each=2) for _ in range(8)))
        found = [one for round_ in rounds for one in round_]
        assert len({one.id for one in found}) == len(found) == 10
        assert len({(one.receiver, one.event.portfolio_id) for one in found}) == 10
        claims += [one.id for one in found]
        assert all(await asyncio.gather(*(deliver(filled, one) for one in found)))
    assert len(set(claims)) == len(claims) == 30


async def test_a_delivery_is_noted_once(filled: Database) -> None:
    webhook = await subscribe(filled)
    await append(filled, happened())
    (found,) = await claim(filled)
    assert sum(await asyncio.gather(*(deliver(filled, found) for _ in range(5)))) == 1
    assert await fail(filled, found) is None
    (row,) = await listed(filled)
    assert (row.status, row.attempts, row.last_error, row.next_attempt_at) == ("delivered", 1, "", None)
    assert row.delivered_at >= row.created_at
    async with filled.transaction() as connection:
        (stored,) = await WebhookRepository(connection).page(10)
    assert stored == replace(webhook, delivered_sequence=1)


async def test_an_attempt_whose_lease_was_lost_may_succeed_but_not_fail(filled: Database) -> None:
    await subscribe(filled)
    await append(filled, happened())
    (late,) = await claim(filled, lease=NO_LEASE)
    (newest,) = await claim(filled)
    assert await fail(filled, late) is None
    assert await deliver(filled, late)
    assert await fail(filled, newest) is None
    assert not await deliver(filled, newest)


async def test_attempts_end_by_number_and_by_age(filled: Database, database_url: str) -> None:
    await subscribe(filled)
    await append(filled, happened(), happened())
    few = replace(AT_ONCE, most_attempts=2)
    assert await fail(filled, (await claim(filled))[0], few) == "pending"
    assert await fail(filled, (await claim(filled))[0], few) == "abandoned"
    (second,) = await claim(filled)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE deliveries SET created_at = created_at - INTERVAL '3 days' WHERE sequence = 2")
    assert await fail(filled, second) == "abandoned"


async def test_the_wait_until_the_next_attempt_is_known(filled: Database) -> None:
    async def seconds(*busy: str) -> float | None:
        async with filled.transaction() as connection:
            return await DeliveryRepository(connection).seconds_until_due(busy)

    assert await seconds() is None
    webhook = await subscribe(filled)
    await append(filled, happened(), happened())
    assert await seconds() <= 0
    assert await seconds(webhook.id) is None
    (found,) = await claim(filled)
    # The second is due, but waits for the first.
    assert 3500 < await seconds() <= 3600
    await fail(filled, found, replace(AT_ONCE, wait=timedelta(seconds=100)))
    assert 90 < await seconds() <= 100


async def test_a_webhook_is_there_once(filled: Database) -> None:
    first = await subscribe(filled, types=(DRIFT,), portfolio_id="other")
    for changes in ({"types": ()}, {"portfolio_id": None}, {"url": "https://example.org"}):
        await subscribe(filled, **{"url": first.url, "types": first.types, "portfolio_id": "other", **changes})
    same = Webhook(id="another", url=first.url, types=first.types, portfolio_id="other")

    async def again() -> None:
        async with filled.transaction() as connection:
            await WebhookRepository(connection).create(same, KEY)

    with pytest.raises(Conflict, match=first.id):
        await again()
    await delete(filled, first)
    await again()


async def test_webhooks_are_listed_oldest_first(filled: Database) -> None:
    made = [await subscribe(filled) for _ in range(3)]
    async with filled.transaction() as connection:
        repository = WebhookRepository(connection)
        first = await repository.page(2)
        assert list(first) == made[:2]
        assert list(await repository.page(2, Cursor(first[-1].created_at, first[-1].id))) == made[2:]


async def test_a_deleted_webhook_gets_nothing_more(filled: Database, database_url: str) -> None:
    webhook = await subscribe(filled)
    await append(filled, happened(), happened())
    (under_way,) = await claim(filled)
    await delete(filled, webhook)
    await append(filled, happened())
    assert await claim(filled, lease=NO_LEASE) == ()
    rows = await listed(filled)
    assert [(row.sequence, row.status, row.last_error) for row in rows] == [
        (2, "abandoned", "the webhook was deleted"),
        (1, "abandoned", "the webhook was deleted"),
    ]
    # What was under way and taken is said to be delivered all the same.
    assert await deliver(filled, under_way)
    with pytest.raises(NotFound, match=webhook.id):
        await delete(filled, webhook)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT * FROM webhook_keys").fetchall() == []


async def test_a_deletion_waits_for_events_that_are_being_appended(filled: Database) -> None:
    webhook = await subscribe(filled)
    async with filled.transaction() as connection:
        await EventRepository(connection).append(happened())
        deleting = asyncio.create_task(delete(filled, webhook))
        done, _ = await asyncio.wait({deleting}, timeout=0.1)
        assert not done
    await deleting
    assert [row.status for row in await listed(filled)] == ["abandoned"]


async def test_an_event_passes_by_a_webhook_that_is_being_deleted(filled: Database) -> None:
    webhook = await subscribe(filled)
    async with filled.transaction() as connection:
        await WebhookRepository(connection).delete(webhook.id)
        appending = asyncio.create_task(append(filled, happened()))
        done, _ = await asyncio.wait({appending}, timeout=0.1)
        assert not done
    assert len(await appending) == 1
    assert await listed(filled) == ()


@pytest.mark.parametrize("key", ["x" * 15, "x" * 257])
async def test_no_key_of_another_length_is_kept(filled: Database, key: str) -> None:
    async def create() -> None:
        async with filled.transaction() as connection:
            await WebhookRepository(connection).create(Webhook(id="w", url="https://example.org"), key)

    with pytest.raises(Conflict):
        await create()


async def test_deliveries_are_listed_newest_first_by_portfolio_and_status(filled: Database) -> None:
    await subscribe(filled)
    await append(filled, happened(), happened("other"), happened())
    (first, _) = await claim(filled)
    await deliver(filled, first)
    assert [row.sequence for row in await listed(filled)] == [3, 2, 1]
    assert [row.sequence for row in await listed(filled, portfolio_id="savings")] == [3, 1]
    assert [row.sequence for row in await listed(filled, portfolio_id="savings", status="delivered")] == [1]
    assert await listed(filled, portfolio_id="nobody") == ()
    async with filled.transaction() as connection:
        repository = DeliveryRepository(connection)
        (newest,) = await repository.page(1)
        rest = await repository.page(5, Cursor(newest.created_at, newest.id))
    assert [row.sequence for row in (newest, *rest)] == [3, 2, 1]
