"""Events reach webhooks: signed, in order, again until they are taken, and noted once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from delivery_examples import (
    KEY,
    PORTFOLIOS,
    QUICK,
    SECONDS,
    deliveries,
    delivering,
    ended,
    event,
    happen,
    store_portfolios,
    until,
)
from google.protobuf import json_format
from portfolio_optimization.v1 import events_pb2 as pb
from receivers import BANNER, DROP, ENDLESS, OK, HttpReceiver, answer, make_certificate

from server.convert.event_messages import write_event
from server.settings import Settings
from storage.database import Database
from storage.deliveries import DeliveryRepository
from storage.errors import Unavailable
from storage.webhooks import Webhook, WebhookRepository


@pytest.fixture(autouse=True)
async def portfolios(database: Database) -> None:
    await store_portfolios(database)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, **QUICK)


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with HttpReceiver() as receiver:
        yield receiver


async def subscribe(database: Database, receiver: HttpReceiver, **changes: object) -> Webhook:
    webhook = Webhook(**{"id": f"w-{receiver.port}", "url": receiver.url, **changes})
    async with database.transaction() as connection:
        await WebhookRepository(connection).create(webhook, KEY)
    return webhook


async def arrive(receiver: HttpReceiver, count: int = 1) -> None:
    async with asyncio.timeout(SECONDS):
        while len(receiver.posted) < count:
            await asyncio.sleep(0.005)


async def test_an_event_is_posted_signed_and_whole(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    webhook = await subscribe(database, receiver)
    (stored,) = await happen(
        database, event(optimization_ended=pb.OptimizationEnded(message="Zürich", status="failed"))
    )
    async with delivering(database, settings):
        (row,) = await ended(database)
    (posted,) = receiver.posted
    assert json_format.Parse(posted.body, pb.Event()) == write_event(stored)
    assert json.loads(posted.body)["optimization_ended"] == {"status": "failed", "message": "Zürich"}
    moment = posted.headers["x-portfolio-timestamp"]
    signed = hmac.new(KEY.encode(), f"{moment}.".encode() + posted.body, hashlib.sha256).hexdigest()
    assert posted.headers["x-portfolio-signature"] == f"t={moment},v1={signed}"
    assert abs(int(moment) - stored.created_at.timestamp()) < SECONDS
    assert posted.headers["x-portfolio-event"] == "optimization_ended"
    assert posted.headers["content-type"] == "application/json"
    assert posted.line == "POST /hook HTTP/1.1"
    assert (row.id, row.status, row.attempts, row.last_error) == (posted.delivery_id, "delivered", 1, "")
    async with database.transaction() as connection:
        (kept,) = await WebhookRepository(connection).page(10)
    assert (kept.id, kept.delivered_sequence) == (webhook.id, 1)


async def test_a_delivery_is_tried_until_it_is_taken(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    async with HttpReceiver() as elsewhere:
        receiver.answers = [
            answer(500),
            answer(302, f"Location: {elsewhere.url}"),
            answer(404),
            DROP,
            BANNER,
            answer(199),
            answer(300),
            answer(204),
        ]
        await subscribe(database, receiver)
        await happen(database, event())
        async with delivering(database, settings):
            (row,) = await ended(database)
        assert elsewhere.posted == []
    assert (row.status, row.attempts, row.last_error) == ("delivered", 8, "")
    assert {(posted.delivery_id, posted.body) for posted in receiver.posted} == {(row.id, receiver.posted[0].body)}
    assert len(receiver.posted) == 8


FAILURES = {
    "an error": (answer(503), "the answer was HTTP 503"),
    "a redirect": (answer(307, "Location: http://localhost:1/"), "the answer was HTTP 307"),
    "a lost connection": (DROP, "no answer in HTTP came"),
    "something else": (BANNER, "no answer in HTTP came"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_the_reason_of_a_failure_is_kept_in_our_own_words(
    database: Database, settings: Settings, receiver: HttpReceiver, name: str
) -> None:
    reply, reason = FAILURES[name]
    receiver.answers = [reply, reply]
    await subscribe(database, receiver)
    await happen(database, event(), event())
    async with delivering(database, settings.model_copy(update={"delivery_attempts": 2})):
        second, first = await ended(database)
    assert (first.status, first.attempts, first.last_error) == ("abandoned", 2, reason)
    assert (second.status, second.attempts) == ("delivered", 1)
    assert [posted.place for posted in receiver.posted] == [1, 1, 2]


async def test_nobody_there_is_a_reason(database: Database, settings: Settings, receiver: HttpReceiver) -> None:
    async with HttpReceiver() as gone:
        await subscribe(database, gone)
    await happen(database, event())
    async with delivering(database, settings.model_copy(update={"delivery_attempts": 3})):
        (row,) = await ended(database)
    assert (row.status, row.attempts, row.last_error) == ("abandoned", 3, "could not connect")


async def test_a_receiver_that_hangs_is_given_up_and_holds_up_no_other(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.hold.clear()
    async with HttpReceiver() as other:
        await subscribe(database, receiver)
        await subscribe(database, other)
        async with delivering(database, settings.model_copy(update={"webhook_timeout_seconds": 0.3})):
            await happen(database, event())
            await arrive(receiver)
            await happen(database, event(), event())
            await arrive(other, 3)
            rows = await until(lambda rows: any(row.last_error for row in rows), database)
            assert {row.last_error for row in rows} == {"", "no answer within 0.3 seconds"}
            receiver.hold.set()
            assert {row.status for row in await ended(database)} == {"delivered"}
    assert [posted.place for posted in other.posted] == [1, 2, 3]


async def test_an_answer_without_end_is_not_read(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.answers = [ENDLESS]
    await subscribe(database, receiver)
    await happen(database, event())
    async with delivering(database, settings):
        (row,) = await ended(database)
    assert (row.status, row.attempts) == ("delivered", 1)


async def test_a_portfolio_waits_for_its_first_event_and_no_other_does(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.answers = [answer(500), answer(500), answer(500)]
    await subscribe(database, receiver)
    await happen(database, event("one"), event("one"), event("one"))
    async with delivering(database, settings):
        await arrive(receiver)
        await happen(database, event("two"), event("two"))
        await ended(database)
    by_portfolio = {name: [p.place for p in receiver.posted if p.portfolio_id == name] for name in PORTFOLIOS}
    distinct = {name: list(dict.fromkeys(places)) for name, places in by_portfolio.items()}
    assert distinct == {"one": [1, 2, 3], "two": [4, 5]}
    assert by_portfolio == {name: sorted(places) for name, places in by_portfolio.items()}
    assert sum(map(len, by_portfolio.values())) == 8


async def test_workers_at_once_deliver_each_event_once_and_in_order(database: Database, settings: Settings) -> None:
    count = 20
    async with HttpReceiver() as first, HttpReceiver() as second:
        for receiver in (first, second):
            await subscribe(database, receiver)
        async with delivering(database, settings), delivering(database, settings), delivering(database, settings):
            await asyncio.gather(*(happen(database, *(event(name) for _ in range(count))) for name in PORTFOLIOS))
            rows = await until(
                lambda rows: len(rows) == 4 * count and all(row.status == "delivered" for row in rows), database
            )
        assert {row.attempts for row in rows} == {1}
        for receiver in (first, second):
            assert sorted(posted.place for posted in receiver.posted) == list(range(1, 2 * count + 1))
            for name in PORTFOLIOS:
                places = [posted.place for posted in receiver.posted if posted.portfolio_id == name]
                assert places == sorted(places)


async def test_events_are_delivered_without_being_told_of(
    database: Database, settings: Settings, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.jobs.deliveries._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("storage.change_feed.ChangeFeed._wake", lambda self, identifiers: None)
    await subscribe(database, receiver)
    async with delivering(database, settings):
        await happen(database, event())
        assert [row.status for row in await ended(database)] == ["delivered"]


async def test_a_worker_that_dies_in_an_attempt_leaves_it_to_the_next(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.hold.clear()
    await subscribe(database, receiver)
    await happen(database, event(), event())
    short = settings.model_copy(update={"webhook_timeout_seconds": 0.3})
    async with delivering(database, short, drain_seconds=0.0):
        await arrive(receiver)
    second, first = await deliveries(database)
    assert (first.status, first.attempts, second.attempts) == ("pending", 1, 0)
    receiver.hold.set()
    async with delivering(database, short):
        second, first = await ended(database)
    assert (first.status, first.attempts) == ("delivered", 2)
    assert [posted.place for posted in receiver.posted] == [1, 1, 2]
    assert receiver.posted[0].delivery_id == receiver.posted[1].delivery_id == first.id


async def test_a_worker_that_stops_ends_what_it_has_begun(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.hold.clear()
    await subscribe(database, receiver)
    await happen(database, event(), event())
    async with delivering(database, settings) as worker:
        await arrive(receiver)
        worker.cancel()
        asyncio.get_running_loop().call_later(0.1, receiver.hold.set)
    second, first = await deliveries(database)
    assert (first.status, first.attempts, second.status, second.attempts) == ("delivered", 1, "pending", 0)


async def test_a_delivery_that_cannot_be_noted_at_once_is_not_posted_again(
    database: Database, settings: Settings, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.jobs.deliveries._PAUSE_SECONDS", 0.01)
    refusals, note = [Unavailable("gone")] * 3, DeliveryRepository.deliver

    async def sometimes(self: DeliveryRepository, identifier: str) -> bool:
        if refusals:
            raise refusals.pop()
        return await note(self, identifier)

    monkeypatch.setattr(DeliveryRepository, "deliver", sometimes)
    await subscribe(database, receiver)
    await happen(database, event())
    async with delivering(database, settings):
        (row,) = await ended(database)
    assert (row.status, row.attempts, len(receiver.posted), refusals) == ("delivered", 1, 1, [])


async def test_a_database_that_is_away_only_delays(
    database: Database, settings: Settings, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.jobs.deliveries._PAUSE_SECONDS", 0.01)
    refusals, claim = [Unavailable("gone"), RuntimeError("a fault of our own")], DeliveryRepository.claim

    async def sometimes(self: DeliveryRepository, *arguments: object) -> object:
        if refusals:
            raise refusals.pop()
        return await claim(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DeliveryRepository, "claim", sometimes)
    await subscribe(database, receiver)
    await happen(database, event())
    async with delivering(database, settings):
        assert [row.status for row in await ended(database)] == ["delivered"]
    assert refusals == []


async def test_an_old_delivery_is_abandoned_with_its_next_failure(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.answers = [answer(500)]
    await subscribe(database, receiver)
    await happen(database, event(), event())
    async with database.transaction() as connection:
        await connection.execute("UPDATE deliveries SET created_at = created_at - %s", [timedelta(hours=72)])
    async with delivering(database, settings):
        second, first = await ended(database)
    assert (first.status, first.attempts, first.last_error) == ("abandoned", 1, "the answer was HTTP 500")
    assert (second.status, second.attempts) == ("delivered", 1)


async def test_a_rule_that_has_become_stricter_ends_deliveries(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    await subscribe(database, receiver)
    await happen(database, event())
    async with delivering(database, settings.model_copy(update={"webhook_allow_loopback": False})):
        (row,) = await ended(database)
    assert (row.status, row.attempts, receiver.posted) == ("abandoned", 1, [])
    assert "this service does not allow" in row.last_error


async def test_a_webhook_that_is_deleted_in_an_attempt_gets_no_other(
    database: Database, settings: Settings, receiver: HttpReceiver
) -> None:
    receiver.hold.clear()
    receiver.answers = [answer(500)]
    webhook = await subscribe(database, receiver)
    await happen(database, event(), event())
    async with delivering(database, settings):
        await arrive(receiver)
        async with database.transaction() as connection:
            await WebhookRepository(connection).delete(webhook.id)
        receiver.hold.set()
    assert [(row.status, row.last_error) for row in await deliveries(database)] == [
        ("abandoned", "the webhook was deleted")
    ] * 2
    assert len(receiver.posted) == 1


async def test_neither_key_nor_address_is_logged(
    database: Database, settings: Settings, receiver: HttpReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.answers = [answer(500), OK]
    await subscribe(database, receiver, url=f"{receiver.url}?token=hidden")
    await happen(database, event())
    async with delivering(database, settings):
        (row,) = await ended(database)
    logged = "".join(capfd.readouterr())
    assert row.id in logged
    assert KEY not in logged
    assert "hidden" not in logged


async def test_a_certificate_must_be_trusted(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate = make_certificate(tmp_path)
    async with HttpReceiver(tls=certificate.context()) as secure:
        await subscribe(database, secure)
        await happen(database, event())
        async with delivering(database, settings):
            await until(lambda rows: rows[0].attempts > 1, database)
        assert secure.posted == []
        assert (await deliveries(database))[0].last_error == "could not connect"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
        async with delivering(database, settings):
            (row,) = await ended(database)
        assert (row.status, len(secure.posted)) == ("delivered", 1)
