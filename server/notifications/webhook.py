"""Posting events to webhooks, signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable

import httpx

from server.convert.answers import to_json
from server.convert.event_messages import write_event
from server.notifications.addresses import url_fault
from server.notifications.outcome import DELIVERED, Outcome
from storage.deliveries import Claim
from storage.records import Event

_AGENT = "portfolio-optimization"
# Only these words: the text of a library's exception may quote what an unknown server has sent.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectError, "could not connect"),
    (httpx.ProtocolError, "no answer in HTTP came"),
    (httpx.NetworkError, "the connection was lost"),
)


def event_body(event: Event) -> bytes:
    """The event as JSON, the same bytes in every attempt."""
    return json.dumps(to_json(write_event(event)), separators=(",", ":"), sort_keys=True).encode()


def signature(key: str, moment: int, body: bytes) -> str:
    """Proof that the holder of the key has sent this body at this moment.

    HMAC-SHA256(key, "<moment>.<body>")

    Args:
        key: What both sides know.
        moment: Seconds since 1970, signed too, so that an old message cannot be sent again as a new one.
        body: What is sent.

    Returns:
        64 hex digits.

    References:
        RFC 2104; FIPS 180-4.
    """
    return hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


class WebhookChannel:
    """Posts events over connections of their own: nothing is left over from one receiver to the next."""

    def __init__(self, timeout_seconds: float, *, allow_loopback: bool, clock: Callable[[], float] = time.time) -> None:
        self._seconds, self._allow_loopback, self._clock = timeout_seconds, allow_loopback, clock
        self._tls = ssl.create_default_context()

    async def send(self, claim: Claim) -> Outcome:
        """Post an event once. Redirects are not followed, and of the answer only the status is read."""
        if claim.signing_key is None:
            return Outcome("the webhook was deleted", final=True)
        if fault := url_fault(claim.address, allow_loopback=self._allow_loopback):
            return Outcome(f"the address {fault}", final=True)
        body = event_body(claim.event)
        headers = self._headers(claim, claim.signing_key, body)
        try:
            async with asyncio.timeout(self._seconds):
                code = await self._post(claim.address, headers, body)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(f"no answer within {self._seconds:g} seconds")
        except (httpx.HTTPError, OSError) as error:
            return Outcome(next((words for kind, words in _REASONS if isinstance(error, kind)), "could not be posted"))
        return DELIVERED if 200 <= code < 300 else Outcome(f"the answer was HTTP {code}")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        async with self._client() as client, client.stream("POST", url, content=body, headers=headers) as response:
            return response.status_code

    def _client(self) -> httpx.AsyncClient:
        # Proxies and passwords in the environment are for others.
        return httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=self._seconds)

    def _headers(self, claim: Claim, key: str, body: bytes) -> dict[str, str]:
        moment = int(self._clock())
        return {
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            "X-Portfolio-Delivery": claim.id,
            "X-Portfolio-Event": claim.event.type,
            "X-Portfolio-Timestamp": str(moment),
            "X-Portfolio-Signature": f"t={moment},v1={signature(key, moment, body)}",
        }
