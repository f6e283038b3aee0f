"""The signature of deliveries, and the waits between attempts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.notifications.outcome import DELIVERED, Outcome, printable
from server.notifications.sender import Retries, Sender
from server.notifications.webhook import WebhookChannel, event_body, signature
from storage.deliveries import Claim, Lease
from storage.records import Event

EVENT = Event(
    portfolio_id="one",
    type="optimization_ended",
    payload={"optimization_id": "o-1", "status": "failed", "message": "Zürich"},
    id=UUID(int=7),
    sequence=3,
    created_at=datetime(2022, 12, 28, 21, 0, 0, 500000, tzinfo=UTC),
)


def hmac_by_hand(key: bytes, message: bytes) -> str:
    """RFC 2104: H((K xor opad) || H((K xor ipad) || message)), K padded with zeros to the block of 64 bytes."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        # printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac '...'
        (
            "a key of sixteen characters or more",
            b'{"a":1}',
            "11aca1976f11242fd4699f8596ef69b2d5799f4cd34bb44d3bbe496125741cbe",
        ),
        ("schlüssel-mit-ümlaut", b"", "7769734fc9b95222b3ab9dbf6c7e2125ddc745609dc494f00a267d1f6f5ccc63"),
    ],
)
def test_the_signature_is_what_openssl_computes(key: str, body: bytes, expected: str) -> None:
    assert signature(key, 1_700_000_000, body) == expected


@pytest.mark.parametrize("length", [16, 64, 65, 256])
def test_the_signature_is_that_of_the_standard_for_keys_of_any_length(length: int) -> None:
    key, body = "k" * length, bytes(range(256))
    assert signature(key, 5, body) == hmac_by_hand(key.encode(), b"5." + body)


def test_the_body_is_the_event_with_the_names_of_the_contract() -> None:
    body = event_body(EVENT)
    assert json.loads(body) == {
        "event_id": str(UUID(int=7)),
        "timestamp": "2022-12-28T21:00:00.500Z",
        "sequence": "3",
        "portfolio_id": "one",
        "optimization_ended": {"optimization_id": "o-1", "status": "failed", "message": "Zürich"},
    }
    assert body.isascii()
    assert event_body(EVENT) == body


RETRIES = Retries(first_seconds=1.0, longest_seconds=3600.0, most_attempts=50, longest_age=timedelta(hours=72))


def test_waits_double_up_to_the_longest() -> None:
    waits = [RETRIES.wait(attempt).total_seconds() for attempt in range(1, 15)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    assert RETRIES.wait(10**6).total_seconds() == 3600


def test_a_failure_keeps_the_reason_and_the_limits() -> None:
    failure = RETRIES.failure(Outcome("no", final=True), 3)
    assert (failure.error, failure.wait, failure.final) == ("no", timedelta(seconds=4), True)
    assert (failure.most_attempts, failure.longest) == (50, timedelta(hours=72))


class Broken:
    async def send(self, claim: Claim) -> Outcome:
        raise RuntimeError("secret")


class Kind:
    async def send(self, claim: Claim) -> Outcome:
        return DELIVERED


CLAIM = Claim(
    id="d-1",
    webhook_id=None,
    channel="email",
    receiver="mailto:a@b",
    address="a@b",
    attempts=1,
    signing_key=None,
    portfolio_name="One",
    currency="USD",
    event=EVENT,
)


async def test_nothing_is_posted_unsigned_or_to_an_address_that_is_refused() -> None:
    channel = WebhookChannel(1.0, allow_loopback=False)
    posted = replace(CLAIM, webhook_id="w-1", channel="webhook", receiver="w-1", address="https://localhost/")
    assert await channel.send(posted) == Outcome("the webhook was deleted", final=True)
    refusal = await channel.send(replace(posted, signing_key="x" * 16))
    assert refusal.final
    assert refusal.error.startswith("the address leads to localhost")


async def test_an_error_of_our_own_is_an_outcome_and_shows_no_inner_text() -> None:
    lease = Lease(timedelta(1), timedelta(1))
    assert await Sender({"email": Broken()}, RETRIES, lease).send(CLAIM) == Outcome(
        "internal error RuntimeError; quote delivery d-1"
    )
    assert (await Sender({"email": Kind()}, RETRIES, lease).send(CLAIM)).delivered


def test_texts_of_others_become_one_line_of_bounded_length() -> None:
    assert printable("a\r\nb\0c\u2028d") == "a  b c d"
    assert printable("x" * 300) == "x" * 197 + "..."
