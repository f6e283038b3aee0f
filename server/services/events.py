"""EventService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceServicer

from server.convert.event_messages import EventFilter, read_filter, write_event
from server.convert.faults import Faults
from server.convert.webhooks import read_delivery_filter, write_delivery, write_webhook
from server.services.calls import Context, page_size, read_cursor, write_cursor
from server.services.pages import cut
from server.workflows.events import EventWorkflow
from server.workflows.webhooks import WebhookWorkflow
from storage.change_feed import ChangeFeed
from storage.database import Database


class EventService(EventServiceServicer):
    """What happened, in order, and who was told."""

    def __init__(self, database: Database, changes: ChangeFeed, webhooks: WebhookWorkflow) -> None:
        self._events, self._webhooks = EventWorkflow(database, changes), webhooks

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """Events behind a place."""
        wanted = _wanted(request)
        page = await self._events.page(request.after_sequence, page_size(request.page_size), wanted)
        return pb.ListEventsResponse(events=map(write_event, page.events), last_sequence=page.last_sequence)

    async def StreamEvents(
        self, request: pb.StreamEventsRequest, context: Context
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Events behind a place, then new ones as they happen."""
        wanted = _wanted(request)
        async for event in self._events.follow(request.after_sequence, wanted):
            yield pb.StreamEventsResponse(event=write_event(event))

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Context) -> pb.CreateWebhookResponse:
        """Subscribe an address."""
        return pb.CreateWebhookResponse(webhook=write_webhook(await self._webhooks.create(request)))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        """Webhooks, oldest first."""
        size, after = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._webhooks.page(size + 1, after)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.id))
        return pb.ListWebhooksResponse(webhooks=map(write_webhook, page.rows), next_page_token=page.next_token)

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> pb.DeleteWebhookResponse:
        """End a subscription."""
        faults = Faults()
        faults.identifier("webhook_id", request.webhook_id)
        faults.check()
        await self._webhooks.delete(request.webhook_id)
        return pb.DeleteWebhookResponse()

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:
        """Deliveries, newest first."""
        size, before = page_size(request.page_size), read_cursor(request.page_token)
        faults = Faults()
        wanted = read_delivery_filter(request, faults)
        faults.check()
        rows = await self._webhooks.deliveries(size + 1, before, wanted)
        page = cut(rows, size, lambda row: write_cursor(row.created_at, row.id))
        return pb.ListDeliveriesResponse(deliveries=map(write_delivery, page.rows), next_page_token=page.next_token)


def _wanted(request: pb.ListEventsRequest | pb.StreamEventsRequest) -> EventFilter:
    faults = Faults()
    wanted = read_filter(request, faults)
    faults.check()
    return wanted
