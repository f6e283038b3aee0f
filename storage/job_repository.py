"""Requests that a job works on: taken up by a worker, cancelled by a caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic

from storage.errors import NotFound
from storage.records import OPEN_STATUSES, RequestT, ResultT
from storage.request_repository import RequestRepository


class JobRepository(RequestRepository[RequestT, ResultT], Generic[RequestT, ResultT]):
    """Keeps requests that are worked on elsewhere. Statements in ``_on_change`` follow changes of the status."""

    _on_change: ClassVar[Sequence[str]] = ()

    async def start(self, identifier: str) -> bool:
        """Marks the request as running, also when a worker that died had begun it.

        Returns:
            False when it has ended already, so that there is nothing to do.

        Raises:
            NotFound: There is no such request.
        """
        started = await self._change("start", {"id": identifier})
        if started:
            await self._publish_change(identifier)
        return started

    async def cancel(self, identifier: str) -> str:
        """Ends the request as cancelled if it is open.

        Returns:
            The status it had before: ``pending`` or ``running`` when this call has cancelled it.

        Raises:
            NotFound: There is no such request.
        """
        statuses: list[str] = await self._scalars(self._sql["cancel"], {"id": identifier})
        if not statuses:
            raise NotFound(self._noun, identifier)
        if statuses[0] in OPEN_STATUSES:
            await self._publish_change(identifier)
        return statuses[0]

    async def set_job(self, identifier: str, job_id: int) -> None:
        """Notes the job that does the work."""
        await self._run(self._sql["set_job"], {"id": identifier, "job_id": job_id})

    async def _publish_change(self, identifier: str) -> None:
        for statement in self._on_change:
            await self._run(self._sql[statement], {"id": identifier})
