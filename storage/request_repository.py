"""The life of a request, the same for every kind: created once, answered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic

from storage.errors import NotFound
from storage.events import EventRepository
from storage.records import TERMINAL_STATUSES, Cursor, Event, RequestT, ResultT, Stored
from storage.repository import Repository, as_parameters, from_row, page_parameters
from storage.statements import Statements


class RequestRepository(Repository, Generic[RequestT, ResultT]):
    """Keeps the requests of one kind with their results.

    A kind brings its statements; those in ``_on_create`` and ``_on_complete`` keep the tables that answer queries,
    within the transaction of the change.
    """

    _noun: ClassVar[str]
    _sql: ClassVar[Statements]
    _request_type: type[RequestT]
    _result_type: type[ResultT]
    _on_create: ClassVar[Sequence[str]] = ()
    _on_complete: ClassVar[Sequence[str]] = ("publish",)

    async def create(self, request: RequestT) -> tuple[RequestT, bool]:
        """Stores the request, unless its portfolio has one under the same ``request_id`` already.

        Returns:
            The stored request, and whether it is new. An earlier one comes back as it was, whatever the new one says.

        Raises:
            NotFound: The portfolio or the pricing pack does not exist (when the transaction is left).
            Conflict: Another request has this id (likewise).
        """
        parameters = as_parameters(request)
        if await self._run(self._sql["insert"], parameters) == 0:
            earlier = await self._scalars(self._sql["find_id"], parameters)
            return (await self.find(earlier[0])).request, False
        for statement in self._on_create:
            await self._run(self._sql[statement], parameters)
        return request, True

    async def find(self, identifier: str) -> Stored[RequestT, ResultT]:
        """The request with its result, once there is one.

        Raises:
            NotFound: There is none of this id.
        """
        rows = await self._rows(self._sql["find"], {"id": identifier})
        if not rows:
            raise NotFound(self._noun, identifier)
        return self._stored(rows[0])

    async def find_by_request_id(self, portfolio_id: str, request_id: str) -> Stored[RequestT, ResultT] | None:
        """The request that the portfolio has under the caller's own key, or None."""
        parameters = {"portfolio_id": portfolio_id, "request_id": request_id}
        found = await self._scalars(self._sql["find_id"], parameters)
        return await self.find(found[0]) if found else None

    async def page(
        self, portfolio_id: str, limit: int, before: Cursor | None = None
    ) -> tuple[Stored[RequestT, ResultT], ...]:
        """At most ``limit`` requests of a portfolio, newest first, beginning behind the place ``before``."""
        parameters = {"portfolio_id": portfolio_id, **page_parameters(limit, before)}
        return tuple(self._stored(row) for row in await self._rows(self._sql["page"], parameters))

    async def complete(self, identifier: str, status: str, result: ResultT | None, event: Event | None) -> bool:
        """Ends the request: status, result, the tables that answer queries, and the event, all or nothing.

        Args:
            identifier: The request.
            status: One of TERMINAL_STATUSES.
            result: None where there is nothing to keep (cancelled, failed).
            event: What to tell about it, if anything.

        Returns:
            Whether this call has ended it. False: it had ended before, and nothing was written.

        Raises:
            ValueError: The status is not a terminal one.
            NotFound: There is no such request.
        """
        if status not in TERMINAL_STATUSES:
            raise ValueError(f"{status} does not end a request")
        # The row stays locked until commit: of concurrent callers one gets on, the others find it ended.
        if not await self._change("finish", {"id": identifier, "status": status}):
            return False
        if result is not None:
            await self._run(self._sql["insert_result"], as_parameters(result))
        for statement in self._on_complete:
            await self._run(self._sql[statement], {"id": identifier})
        if event is not None:
            await EventRepository(self._connection).append(event)
        return True

    async def _change(self, statement: str, parameters: Mapping[str, Any]) -> bool:
        """Runs an update that touches open requests only, and returns whether it touched this one."""
        if await self._run(self._sql[statement], parameters) == 1:
            return True
        await self.find(parameters["id"])
        return False

    def _stored(self, row: Mapping[str, Any]) -> Stored[RequestT, ResultT]:
        result = None if row["completed_at"] is None else from_row(self._result_type, row)
        return Stored(from_row(self._request_type, row), result)
