"""Webhooks and what became of telling them, and others, about events."""

from __future__ import annotations

from portfolio_optimization.v1 import events_pb2 as pb

from server.convert.faults import checked
from server.convert.webhooks import DeliveryFilter, read_webhook
from server.errors import Fault, InvalidRequest
from server.imports.known import is_stored
from server.settings import Settings
from storage.database import Database
from storage.deliveries import Delivery, DeliveryRepository
from storage.errors import Conflict
from storage.portfolios import PortfolioRepository
from storage.records import Cursor
from storage.webhooks import Webhook, WebhookRepository


class WebhookWorkflow:
    """Makes, lists and ends webhooks, and lists deliveries."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def create(self, message: pb.CreateWebhookRequest) -> Webhook:
        """Check and store a webhook; it gets the events that happen from now on.

        Raises:
            InvalidRequest: With every fault.
            Conflict: Another webhook has the same address, portfolio and types, or there are too many.
        """
        new = checked(read_webhook, message, self._settings)
        portfolio_id = new.webhook.portfolio_id
        async with self._database.transaction() as connection:
            portfolios = PortfolioRepository(connection)
            if portfolio_id is not None and not await is_stored(portfolios.find, portfolio_id):
                fault = f"names {portfolio_id}, not known as a portfolio"
                raise InvalidRequest([Fault("webhook.portfolio_id", fault)])
            webhooks = WebhookRepository(connection)
            await webhooks.create(new.webhook, new.signing_key)
            if (most := self._settings.max_webhooks) < await webhooks.count():
                raise Conflict(f"there are {most} webhooks, the service's limit: delete one that is not needed")
        return new.webhook

    async def page(self, limit: int, after: Cursor | None) -> tuple[Webhook, ...]:
        """At most `limit` webhooks, oldest first, behind the place `after`."""
        async with self._database.transaction() as connection:
            return await WebhookRepository(connection).page(limit, after)

    async def delete(self, webhook_id: str) -> None:
        """End a webhook; its pending deliveries are abandoned.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            await WebhookRepository(connection).delete(webhook_id)

    async def deliveries(self, limit: int, before: Cursor | None, wanted: DeliveryFilter) -> tuple[Delivery, ...]:
        """At most `limit` deliveries, newest first, behind the place `before`."""
        async with self._database.transaction() as connection:
            return await DeliveryRepository(connection).page(
                limit, before, portfolio_id=wanted.portfolio_id, status=wanted.status
            )
