"""One attempt over the channel of a delivery, and how long to wait after one that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from server.notifications.mail import MailChannel, MailServer
from server.notifications.outcome import Outcome
from server.notifications.webhook import WebhookChannel
from server.settings import Settings
from storage.deliveries import EMAIL, WEBHOOK, Claim, Failure, Lease

_log = structlog.get_logger()
# An attempt ends by itself; a lease of twice its time is outlived by a dead worker only.
_LEASE_PER_TIMEOUT = 2.0


class Channel(Protocol):
    """A way to tell a receiver."""

    async def send(self, claim: Claim) -> Outcome:
        """Tell once."""


@dataclass(frozen=True, slots=True)
class Retries:
    """When a delivery is tried again.

    wait_k = min(first 2^(k-1), longest)

    Attributes:
        first_seconds: Wait after the first attempt, > 0.
        longest_seconds: No wait is longer.
        most_attempts: After so many it is abandoned.
        longest_age: After this time since the event it is abandoned with the next attempt that fails.
    """

    first_seconds: float
    longest_seconds: float
    most_attempts: int
    longest_age: timedelta

    def wait(self, attempt: int) -> timedelta:
        """The time between an attempt, numbered from 1, and the next."""
        # Beyond this exponent every wait is the longest; without the bound the power overflows.
        doubled = self.first_seconds * 2.0 ** min(attempt - 1, 60)
        return timedelta(seconds=min(doubled, self.longest_seconds))

    def failure(self, outcome: Outcome, attempt: int) -> Failure:
        """What storage keeps of an attempt that failed."""
        return Failure(outcome.error, self.wait(attempt), outcome.final, self.most_attempts, self.longest_age)


class Sender:
    """Tells receivers, whatever goes wrong."""

    def __init__(self, channels: Mapping[str, Channel], retries: Retries, lease: Lease) -> None:
        self._channels, self.retries, self.lease = channels, retries, lease

    async def send(self, claim: Claim) -> Outcome:
        """One attempt. An error of our own is an outcome too, so that it delays this delivery and no other."""
        try:
            return await self._channels[claim.channel].send(claim)
        except Exception as error:
            _log.exception("delivery failed", delivery_id=claim.id)
            return Outcome(f"internal error {type(error).__name__}; quote delivery {claim.id}")


def make_sender(settings: Settings) -> Sender:
    """The sender that the settings describe."""
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        starttls=settings.smtp_starttls,
        sender=settings.mail_sender,
        timeout_seconds=settings.smtp_timeout_seconds,
    )
    webhooks = WebhookChannel(settings.webhook_timeout_seconds, allow_loopback=settings.webhook_allow_loopback)
    retries = Retries(
        first_seconds=settings.delivery_first_wait_seconds,
        longest_seconds=settings.delivery_longest_wait_seconds,
        most_attempts=settings.delivery_attempts,
        longest_age=timedelta(hours=settings.delivery_age_hours),
    )
    lease = Lease(
        webhook=timedelta(seconds=_LEASE_PER_TIMEOUT * settings.webhook_timeout_seconds),
        email=timedelta(seconds=_LEASE_PER_TIMEOUT * settings.smtp_timeout_seconds),
    )
    return Sender({WEBHOOK: webhooks, EMAIL: MailChannel(server)}, retries, lease)
