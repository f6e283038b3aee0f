"""Deliveries: the outbox of events, one row for each event and receiver, made by the transaction of the event."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from storage.records import Cursor, Event
from storage.repository import Repository, from_row, page_parameters
from storage.statements import load_statements

PENDING_DELIVERY = "pending"
DELIVERED = "delivered"
ABANDONED = "abandoned"
DELIVERY_STATUSES = (PENDING_DELIVERY, DELIVERED, ABANDONED)

WEBHOOK = "webhook"
EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of telling one receiver about one event.

    Attributes:
        channel: WEBHOOK or EMAIL.
        address: URL of the webhook when the event happened, or the e-mail address.
        status: One of DELIVERY_STATUSES.
        attempts: Number of attempts that have begun.
        next_attempt_at: None unless it is pending.
        delivered_at: None unless it is delivered.
    """

    id: str
    event_id: str
    event_type: str
    sequence: int
    portfolio_id: str
    channel: str
    address: str
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery that one worker has taken for one attempt.

    Attributes:
        id: Of the delivery, the same in every attempt.
        receiver: The webhook's id, or ``mailto:`` and the e-mail address.
        attempts: Number of this attempt, from 1.
        signing_key: None for an e-mail.
        portfolio_name: For people.
        currency: Of the amounts in the event.
    """

    id: str
    webhook_id: str | None
    channel: str
    receiver: str
    address: str
    attempts: int
    signing_key: str | None = field(repr=False)
    portfolio_name: str
    currency: str
    event: Event


@dataclass(frozen=True, slots=True)
class Lease:
    """For how long a claim keeps others away: as long as an attempt can take, and more.

    A worker that dies within an attempt delays the next one by this.
    """

    webhook: timedelta
    email: timedelta


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that did not deliver.

    Attributes:
        error: What went wrong, without secrets.
        wait: Until the next attempt.
        final: Whether no other attempt can do better.
        most_attempts: The attempt of this number was the last.
        longest: A delivery of this age is not tried again.
    """

    error: str
    wait: timedelta
    final: bool
    most_attempts: int
    longest: timedelta


class DeliveryRepository(Repository):
    """Keeps deliveries. Moments are those of the database, so that workers need not agree on the time."""

    _sql = load_statements("deliveries")

    async def claim(self, limit: int, each: int, busy: Collection[str], lease: Lease) -> tuple[Claim, ...]:
        """Takes deliveries that are due, each for one attempt, none that another has taken.

        Args:
            limit: Largest number.
            each: Largest number for one receiver; they are of different portfolios.
            busy: Receivers that get none.
            lease: How long they are kept from others.
        """
        parameters = {
            "limit": limit,
            "each": each,
            "busy": list(busy),
            "webhook_lease": lease.webhook,
            "email_lease": lease.email,
        }
        rows = await self._rows(self._sql["claim"], parameters)
        return tuple(from_row(Claim, {**row, "event": from_row(Event, {**row, "id": row["event_id"]})}) for row in rows)

    async def seconds_until_due(self, busy: Collection[str]) -> float | None:
        """Seconds until the next attempt for a receiver that is not busy, perhaps negative; None without any."""
        found: list[float | None] = await self._scalars(self._sql["seconds_until_due"], {"busy": list(busy)})
        return found[0]

    async def deliver(self, identifier: str) -> bool:
        """Notes that it was delivered; returns whether this call is the first to say so."""
        return bool(await self._run(self._sql["deliver"], {"id": identifier}))

    async def fail(self, identifier: str, attempt: int, failure: Failure) -> str | None:
        """Notes an attempt that did not deliver.

        Returns:
            The status now: PENDING_DELIVERY when it is tried again, or ABANDONED. None: the attempt is not the newest
            one, or the delivery has ended, and nothing was noted.
        """
        parameters = {
            "id": identifier,
            "attempt": attempt,
            "error": failure.error,
            "wait": failure.wait,
            "final": failure.final,
            "most_attempts": failure.most_attempts,
            "longest": failure.longest,
        }
        found: list[str] = await self._scalars(self._sql["fail"], parameters)
        return found[0] if found else None

    async def page(
        self, limit: int, before: Cursor | None = None, *, portfolio_id: str | None = None, status: str | None = None
    ) -> tuple[Delivery, ...]:
        """At most ``limit`` deliveries, newest first, beginning behind the place ``before``.

        Args:
            limit: Largest number.
            before: None = from the newest.
            portfolio_id: Only those of this portfolio; None = all.
            status: Only those with this status; None = all.
        """
        parameters = {"portfolio_id": portfolio_id, "status": status, **page_parameters(limit, before)}
        return await self._records(Delivery, self._sql["page"], parameters)
