"""Webhooks and deliveries: from the wire and to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from portfolio_optimization.v1 import events_pb2 as pb

from server.convert.answers import timestamp
from server.convert.event_messages import EVENT_TYPES
from server.convert.faults import Faults
from server.convert.text_values import refuse_repeats
from server.notifications.addresses import url_fault
from server.settings import Settings
from server.vocabulary import Vocabulary
from storage.deliveries import DELIVERY_STATUSES, Delivery
from storage.webhooks import Webhook

SHORTEST_KEY, LONGEST_KEY = 16, 256
_STATUSES = Vocabulary(DELIVERY_STATUSES)


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook with the key that signs its deliveries, which nothing shows."""

    webhook: Webhook
    signing_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries a caller wants; None = all."""

    portfolio_id: str | None
    status: str | None


def read_webhook(message: pb.CreateWebhookRequest, settings: Settings, faults: Faults) -> NewWebhook:
    """The webhook that is asked for, under a new id; what is wrong with it is added to `faults`."""
    asked = message.webhook
    if not message.HasField("webhook"):
        faults.add("webhook", "is required")
    elif not asked.url:
        faults.add("webhook.url", "is required")
    elif fault := url_fault(asked.url, allow_loopback=settings.webhook_allow_loopback):
        faults.add("webhook.url", fault)
    portfolio_id = faults.identifier("webhook.portfolio_id", asked.portfolio_id, required=False)
    types = [faults.word(f"webhook.types[{k}]", name, EVENT_TYPES) for k, name in enumerate(asked.types)]
    refuse_repeats("webhook.types", types, faults)
    _check_key(message.signing_key, faults)
    webhook = Webhook(
        id=str(uuid.uuid4()), url=asked.url, portfolio_id=portfolio_id or None, types=tuple(sorted(types))
    )
    return NewWebhook(webhook, message.signing_key)


def read_delivery_filter(message: pb.ListDeliveriesRequest, faults: Faults) -> DeliveryFilter:
    """Which deliveries a request asks for; what is wrong with it is added to `faults`."""
    portfolio_id = faults.identifier("portfolio_id", message.portfolio_id, required=False)
    if message.status:
        faults.word("status", message.status, _STATUSES)
    return DeliveryFilter(portfolio_id or None, message.status or None)


def write_webhook(webhook: Webhook) -> pb.Webhook:
    """A webhook, without its key."""
    return pb.Webhook(
        webhook_id=webhook.id,
        url=webhook.url,
        portfolio_id=webhook.portfolio_id or "",
        types=webhook.types,
        created_at=timestamp(webhook.created_at),
        delivered_sequence=webhook.delivered_sequence,
    )


def write_delivery(delivery: Delivery) -> pb.Delivery:
    """A delivery."""
    delivered, following = delivery.delivered_at, delivery.next_attempt_at
    return pb.Delivery(
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        portfolio_id=delivery.portfolio_id,
        channel=delivery.channel,
        address=delivery.address,
        status=delivery.status,
        attempts=delivery.attempts,
        delivered_at=None if delivered is None else timestamp(delivered),
        next_attempt_at=None if following is None else timestamp(following),
        last_error=delivery.last_error,
        created_at=timestamp(delivery.created_at),
        sequence=delivery.sequence,
    )


def _check_key(key: str, faults: Faults) -> None:
    """Note what is wrong with a key; the fault shows nothing of it."""
    if not key:
        faults.add("signing_key", "is required")
        return
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        faults.add("signing_key", f"must have {SHORTEST_KEY} to {LONGEST_KEY} characters, not {len(key)}")
    if not key.isprintable():
        faults.add("signing_key", "must not have control characters")
