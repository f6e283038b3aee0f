"""EventService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1.event_service_pb2_grpc import EventServiceServicer

from server.convert.event_messages import EventFilter, read_filter, write_event
from server.convert.faults import Faults
from server.services.calls import Context, page_size
from server.workflows.events import EventWorkflow
from storage.change_feed import ChangeFeed
from storage.database import Database


class EventService(EventServiceServicer):
    """What happened, in order."""

    def __init__(self, database: Database, changes: ChangeFeed) -> None:
        self._events = EventWorkflow(database, changes)

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


def _wanted(request: pb.ListEventsRequest | pb.StreamEventsRequest) -> EventFilter:
    faults = Faults()
    wanted = read_filter(request, faults)
    faults.check()
    return wanted
