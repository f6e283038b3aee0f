"""Reading events on from a place, and following them as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.convert.event_messages import EventFilter, EventPage
from storage.change_feed import EVERY, ChangeFeed
from storage.database import Database
from storage.events import EventRepository
from storage.records import Event

# Without a notification new events are looked for once in this time.
_LOOK_SECONDS = 1.0
_PAGE = 500


class EventWorkflow:
    """Events in order; whoever goes on from the last place it saw misses none and sees none twice."""

    def __init__(self, database: Database, changes: ChangeFeed) -> None:
        self._database, self._changes = database, changes

    async def page(self, after: int, limit: int, wanted: EventFilter) -> EventPage:
        """At most `limit` events behind the place `after`."""
        async with self._database.transaction() as connection:
            repository = EventRepository(connection)
            # Read before the events: what is appended in between comes with the next page.
            newest = await repository.last_sequence()
            events = await repository.after(after, limit, wanted.portfolio_id, wanted.types)
        if len(events) == limit:
            return EventPage(events, events[-1].sequence)
        return EventPage(events, max(after, newest, *(event.sequence for event in events[-1:])))

    async def follow(self, after: int, wanted: EventFilter) -> AsyncIterator[Event]:
        """The events behind the place `after`, then new ones, without end."""
        async with self._changes.subscribe(wanted.portfolio_id or EVERY) as change:
            while True:
                page = await self.page(after, _PAGE, wanted)
                for event in page.events:
                    yield event
                after = page.last_sequence
                if len(page.events) < _PAGE:
                    await change.wait(_LOOK_SECONDS)
