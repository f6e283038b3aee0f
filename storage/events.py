"""Events: what happened to portfolios, in an order that readers can follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.records import Event
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


class EventRepository(Repository):
    """Appends events and reads them on from a place.

    Numbers become visible in their order: a reader that has seen number n has missed no event before it. For this,
    transactions that have appended an event commit one after the other; append last.
    """

    _sql = load_statements("events")

    async def append(self, event: Event) -> Event:
        """Adds the event to the end, and returns it with its sequence number.

        Raises:
            Conflict: An event of this id is there already (when the transaction is left).
            NotFound: The portfolio does not exist (likewise).
        """
        return (await self._records(Event, self._sql["append"], as_parameters(event)))[0]

    async def append_all(self, events: Iterable[Event]) -> None:
        """Adds events to the end, in their order.

        Raises:
            Conflict, NotFound: See `append`.
        """
        for event in events:
            await self.append(event)

    async def after(
        self, sequence: int, limit: int, portfolio_id: str | None = None, types: Sequence[str] = ()
    ) -> tuple[Event, ...]:
        """At most ``limit`` events behind the number ``sequence``, in order.

        Args:
            sequence: The place to begin behind.
            limit: Largest number of events.
            portfolio_id: Only events of this portfolio; None means all.
            types: Only events of these types; none means all.
        """
        parameters = {"after": sequence, "limit": limit, "portfolio_id": portfolio_id, "types": list(types) or None}
        statement = self._sql["after" if portfolio_id is None else "after_in_portfolio"]
        return await self._records(Event, statement, parameters)

    async def last_sequence(self) -> int:
        """The number of the newest event, 0 when there is none. No event up to it becomes visible later."""
        number: int = (await self._scalars(self._sql["last_sequence"], {}))[0]
        return number
