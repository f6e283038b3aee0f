"""Webhooks: addresses to which events are posted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.errors import Conflict, NotFound
from storage.records import Cursor, utc_now
from storage.repository import Repository, from_row
from storage.statements import load_statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A subscription to events. Its signing key is written once and read only by what signs.

    Attributes:
        portfolio_id: Only events of this portfolio; None = all.
        types: Only events of these types, sorted; none = all.
        delivered_sequence: Place of the last event that was delivered, 0 before the first.
    """

    id: str
    url: str
    portfolio_id: str | None = None
    types: tuple[str, ...] = ()
    created_at: datetime = field(default_factory=utc_now)
    delivered_sequence: int = 0


class WebhookRepository(Repository):
    """Keeps webhooks. One that is deleted stays behind for its deliveries, without its key."""

    _sql = load_statements("webhooks")

    async def create(self, webhook: Webhook, signing_key: str) -> None:
        """Stores the webhook; it gets the events that are appended from now on.

        Raises:
            Conflict: Another webhook has the same address, portfolio and types.
            NotFound: The portfolio does not exist (when the transaction is left).
        """
        parameters = {
            "id": webhook.id,
            "url": webhook.url,
            "portfolio_id": webhook.portfolio_id,
            "types": list(webhook.types),
            "created_at": webhook.created_at,
        }
        if await self._run(self._sql["insert"], parameters) == 0:
            same = await self._scalars(self._sql["find_same"], parameters)
            raise Conflict(f"webhook {', '.join(same)} posts the same events to this address already")
        await self._run(self._sql["insert_key"], {"id": webhook.id, "signing_key": signing_key})

    async def count(self) -> int:
        """How many there are."""
        number: int = (await self._scalars(self._sql["count"], {}))[0]
        return number

    async def page(self, limit: int, after: Cursor | None = None) -> tuple[Webhook, ...]:
        """At most ``limit`` webhooks, oldest first, beginning behind the place ``after``."""
        moment, identifier = (None, None) if after is None else (after.created_at, after.id)
        parameters = {"limit": limit, "after_moment": moment, "after_id": identifier}
        return tuple(_webhook(row) for row in await self._rows(self._sql["page"], parameters))

    async def delete(self, identifier: str) -> None:
        """Ends the webhook: it gets no more events, what is pending is abandoned, and its key is forgotten.

        Raises:
            NotFound: There is none of this id, or it was deleted.
        """
        parameters = {"id": identifier}
        # Waits for transactions that are appending events to it, so that the next statement sees their deliveries.
        if not await self._scalars(self._sql["lock"], parameters):
            raise NotFound("webhook", identifier)
        for statement in ("abandon_deliveries", "delete_key", "delete"):
            await self._run(self._sql[statement], parameters)


def _webhook(row: Mapping[str, Any]) -> Webhook:
    return from_row(Webhook, {**row, "types": tuple(row["types"])})
