"""Webhooks and deliveries over the wire: made, listed, ended, and every wrong request told all that is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC

import grpc
import pytest
from delivery_examples import KEY, QUICK, deliveries, ended, event, happen, store_portfolios
from google.protobuf import json_format
from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceStub
from receivers import HttpReceiver, answer
from refusals import not_found, refused

from server.application import Application, open_application
from server.settings import Settings
from server.workflows.webhooks import WebhookWorkflow
from storage.errors import Conflict

URL = "https://example.org/events"


@pytest.fixture
async def application(database_url: str) -> AsyncIterator[Application]:
    """Without leave to post to this machine, and without a worker."""
    settings = Settings(database_url=database_url, **{**QUICK, "webhook_allow_loopback": False})
    async with open_application(settings) as application:
        await store_portfolios(application.database)
        yield application


def wanted(url: str = URL, key: str = KEY, **changes: object) -> pb.CreateWebhookRequest:
    return pb.CreateWebhookRequest(webhook=pb.Webhook(url=url, **changes), signing_key=key)


async def listed(events: EventServiceStub, **request: object) -> list[pb.Webhook]:
    return list((await events.ListWebhooks(pb.ListWebhooksRequest(**request))).webhooks)


async def told(events: EventServiceStub, **request: object) -> list[pb.Delivery]:
    return list((await events.ListDeliveries(pb.ListDeliveriesRequest(**request))).deliveries)


async def test_a_webhook_comes_back_without_its_key(events: EventServiceStub) -> None:
    asked = wanted(portfolio_id="one", types=["drift_detected", "optimization_ended"])
    made = (await events.CreateWebhook(asked)).webhook
    assert made.webhook_id
    assert (made.url, made.portfolio_id, list(made.types)) == (URL, "one", ["drift_detected", "optimization_ended"])
    assert made.HasField("created_at")
    assert made.delivered_sequence == 0
    assert await listed(events) == [made]
    assert KEY not in json_format.MessageToJson(made)


async def test_what_the_service_sets_is_ignored_in_requests(events: EventServiceStub) -> None:
    made = (await events.CreateWebhook(wanted(webhook_id="mine", delivered_sequence=7))).webhook
    assert made.webhook_id != "mine"
    assert made.delivered_sequence == 0


WRONG = {
    "nothing": (pb.CreateWebhookRequest(), {"webhook": "is required", "signing_key": "is required"}),
    "no address": (wanted(""), {"webhook.url": "is required"}),
    "plain text": (wanted("http://example.org"), {"webhook.url": "must be https"}),
    "credentials": (wanted("https://me:pw@example.org"), {"webhook.url": "user name or password"}),
    "this machine": (wanted("https://localhost/"), {"webhook.url": "does not allow"}),
    "a short key": (wanted(key="x" * 15), {"signing_key": "16 to 256 characters, not 15"}),
    "a long key": (wanted(key="x" * 257), {"signing_key": "16 to 256 characters, not 257"}),
    "a key with a line": (wanted(key="x" * 16 + "\n"), {"signing_key": "control characters"}),
    "an unknown portfolio": (wanted(portfolio_id="three"), {"webhook.portfolio_id": "names three, not known"}),
    "everything": (
        wanted("ftp://x", "short", portfolio_id="x" * 37, types=["drift_detected", "sunrise", "drift_detected"]),
        {
            "webhook.url": "must be https",
            "signing_key": "not 5",
            "webhook.portfolio_id": "at most 36 characters",
            "webhook.types[1]": "rebalance_plan_proposed",
            "webhook.types": "repeats drift_detected",
        },
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_webhook_is_told_all_that_is_wrong(events: EventServiceStub, name: str) -> None:
    request, expected = WRONG[name]
    faults = await refused(events.CreateWebhook(request))
    assert set(faults) == set(expected)
    for field, words in expected.items():
        assert words in faults[field]
    assert request.signing_key == "" or not any(request.signing_key in fault for fault in faults.values())
    assert await listed(events) == []


async def test_the_same_webhook_is_refused_a_second_time_and_named(events: EventServiceStub) -> None:
    types = ["drift_detected", "optimization_ended"]
    made = (await events.CreateWebhook(wanted(types=types))).webhook
    with pytest.raises(grpc.aio.AioRpcError, match=made.webhook_id) as caught:
        await events.CreateWebhook(wanted(types=types[::-1], key="another key of the same webhook"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await events.CreateWebhook(wanted(types=types, portfolio_id="one"))
    assert len(await listed(events)) == 2


async def test_there_are_not_more_webhooks_than_the_service_allows(application: Application) -> None:
    few = WebhookWorkflow(application.database, application.settings.model_copy(update={"max_webhooks": 2}))
    first, second = [await few.create(wanted(f"{URL}/{k}")) for k in range(2)]
    with pytest.raises(Conflict, match="there are 2 webhooks"):
        await few.create(wanted())
    assert list(await few.page(10, None)) == [first, second]
    await few.delete(first.id)
    await few.create(wanted())


async def test_webhooks_are_listed_in_pages_and_deleted_once(events: EventServiceStub) -> None:
    made = [(await events.CreateWebhook(wanted(f"{URL}/{k}"))).webhook for k in range(3)]
    first = await events.ListWebhooks(pb.ListWebhooksRequest(page_size=2))
    assert list(first.webhooks) == made[:2]
    rest = await events.ListWebhooks(pb.ListWebhooksRequest(page_size=2, page_token=first.next_page_token))
    assert (list(rest.webhooks), rest.next_page_token) == (made[2:], "")
    gone = pb.DeleteWebhookRequest(webhook_id=made[1].webhook_id)
    await events.DeleteWebhook(gone)
    assert await listed(events) == [made[0], made[2]]
    assert made[1].webhook_id in await not_found(events.DeleteWebhook(gone))
    await not_found(events.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id="nobody")))
    assert list(await refused(events.DeleteWebhook(pb.DeleteWebhookRequest()))) == ["webhook_id"]
    assert list(await refused(events.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id="a\0b")))) == ["webhook_id"]


@pytest.mark.parametrize(
    ("request_fields", "fields"),
    [
        ({"page_size": -1}, {"page_size"}),
        ({"page_token": "?"}, {"page_token"}),
        ({"portfolio_id": "x" * 37, "status": "lost"}, {"portfolio_id", "status"}),
        ({"status": "Pending"}, {"status"}),
    ],
)
async def test_a_wrong_question_for_deliveries_is_refused(
    events: EventServiceStub, request_fields: dict, fields: set
) -> None:
    assert set(await refused(events.ListDeliveries(pb.ListDeliveriesRequest(**request_fields)))) == fields


@pytest.mark.parametrize("request_fields", [{"page_size": -1}, {"page_token": "?"}])
async def test_a_wrong_question_for_webhooks_is_refused(events: EventServiceStub, request_fields: dict) -> None:
    assert set(await refused(events.ListWebhooks(pb.ListWebhooksRequest(**request_fields)))) == set(request_fields)


async def test_deliveries_are_listed_with_what_became_of_them(
    events: EventServiceStub, application: Application
) -> None:
    assert await told(events) == []
    await events.CreateWebhook(wanted())
    stored = await happen(application.database, event("one"), event("two"), event("one"))
    rows = await told(events)
    assert [row.sequence for row in rows] == [3, 2, 1]
    newest = rows[0]
    assert (newest.event_id, newest.event_type, newest.portfolio_id) == (
        str(stored[2].id),
        "optimization_ended",
        "one",
    )
    assert (newest.channel, newest.address, newest.status, newest.attempts) == ("webhook", URL, "pending", 0)
    assert newest.HasField("next_attempt_at")
    assert not newest.HasField("delivered_at")
    assert newest.created_at.ToDatetime(UTC) >= stored[2].created_at
    assert [row.sequence for row in await told(events, portfolio_id="two")] == [2]
    assert await told(events, status="delivered") == []
    first = await events.ListDeliveries(pb.ListDeliveriesRequest(page_size=2))
    rest = await events.ListDeliveries(pb.ListDeliveriesRequest(page_size=2, page_token=first.next_page_token))
    assert [*first.deliveries, *rest.deliveries] == rows
    assert rest.next_page_token == ""


async def test_the_end_of_a_webhook_is_seen_in_its_deliveries(
    events: EventServiceStub, application: Application
) -> None:
    made = (await events.CreateWebhook(wanted())).webhook
    await happen(application.database, event())
    await events.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=made.webhook_id))
    await happen(application.database, event())
    (row,) = await told(events, status="abandoned")
    assert (row.last_error, row.HasField("next_attempt_at")) == ("the webhook was deleted", False)
    assert len(await deliveries(application.database)) == 1


class TestWithAWorker:
    """The whole way, with the worker of the application."""

    @pytest.fixture
    async def application(self, database_url: str) -> AsyncIterator[Application]:
        async with open_application(Settings(database_url=database_url, **QUICK)) as application:
            await store_portfolios(application.database)
            worker = application.worker()
            worker.start()
            yield application
            await worker.stop()

    async def test_what_happens_is_posted(self, events: EventServiceStub, application: Application) -> None:
        async with HttpReceiver(answers=[answer(500)]) as receiver:
            made = (await events.CreateWebhook(wanted(receiver.url, portfolio_id="two"))).webhook
            await happen(application.database, event("one"), event("two"))
            await ended(application.database)
            first, second = receiver.posted
        assert (first.place, second.place, first.delivery_id) == (2, 2, second.delivery_id)
        (row,) = await told(events, status="delivered")
        assert (row.delivery_id, row.attempts, row.HasField("delivered_at")) == (first.delivery_id, 2, True)
        assert await listed(events) == [pb.Webhook(**fields_of(made), delivered_sequence=2)]


def fields_of(webhook: pb.Webhook) -> dict[str, object]:
    return {descriptor.name: value for descriptor, value in webhook.ListFields()}
