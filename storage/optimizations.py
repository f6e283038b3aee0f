"""Optimizations: requests that a worker takes up, their results, and the history of a portfolio."""

from __future__ import annotations

from datetime import datetime

from storage.errors import NotFound
from storage.records import (
    OPEN_STATUSES,
    Cursor,
    OptimizationHistoryPoint,
    OptimizationRequest,
    OptimizationResult,
    OptimizationSummary,
    QueueEstimate,
    Stored,
)
from storage.repository import page_parameters
from storage.request_repository import RequestRepository
from storage.statements import load_statements


class OptimizationRepository(RequestRepository[OptimizationRequest, OptimizationResult]):
    """Keeps optimizations. Every change of status notifies the channel ``optimization_changed`` with the id."""

    _noun = "optimization"
    _sql = load_statements("optimizations")
    _request_type = OptimizationRequest
    _result_type = OptimizationResult
    _on_create = ("insert_summary",)
    _on_complete = ("publish_summary", "publish_partition", "publish_history")

    async def start(self, identifier: str) -> bool:
        """Marks the request as running, also when a worker that died had begun it.

        Returns:
            False when it has ended already, so that there is nothing to do.

        Raises:
            NotFound: There is no such request.
        """
        started = await self._change("start", {"id": identifier})
        if started:
            await self._run(self._sql["publish_summary"], {"id": identifier})
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
            await self._run(self._sql["publish_summary"], {"id": identifier})
        return statuses[0]

    async def queue_estimate(self) -> QueueEstimate:
        """How many optimizations are open, and how long the last ones took to solve."""
        return (await self._records(QueueEstimate, self._sql["queue_estimate"], {}))[0]

    async def set_job(self, identifier: str, job_id: int) -> None:
        """Notes the job that does the work."""
        await self._run(self._sql["set_job"], {"id": identifier, "job_id": job_id})

    async def summaries(
        self, portfolio_id: str | None, status: str | None, limit: int, before: Cursor | None = None
    ) -> tuple[OptimizationSummary, ...]:
        """At most ``limit`` rows, newest first, beginning behind ``before``; of one portfolio and status, or of all."""
        parameters = {"portfolio_id": portfolio_id, "status": status, **page_parameters(limit, before)}
        return await self._records(OptimizationSummary, self._sql["summaries"], parameters)

    async def latest(self, portfolio_id: str) -> Stored[OptimizationRequest, OptimizationResult]:
        """The optimization of the portfolio that was completed last.

        Raises:
            NotFound: None has been completed.
        """
        rows = await self._rows(self._sql["latest"], {"portfolio_id": portfolio_id})
        if not rows:
            raise NotFound("completed optimization of portfolio", portfolio_id)
        return self._stored(rows[0])

    async def history(self, portfolio_id: str, first: datetime, end: datetime) -> tuple[OptimizationHistoryPoint, ...]:
        """The optimizations of the portfolio that ended with a result in [first, end), oldest first."""
        parameters = {"portfolio_id": portfolio_id, "first": first, "end": end}
        return await self._records(OptimizationHistoryPoint, self._sql["history"], parameters)
