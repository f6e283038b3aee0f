"""Optimizations: requests that a worker takes up, their results, and the history of a portfolio."""

from __future__ import annotations

from datetime import datetime

from storage.errors import NotFound
from storage.job_repository import JobRepository
from storage.records import (
    Cursor,
    OptimizationHistoryPoint,
    OptimizationRequest,
    OptimizationResult,
    OptimizationSummary,
    QueueEstimate,
    Stored,
)
from storage.repository import page_parameters
from storage.statements import load_statements


class OptimizationRepository(JobRepository[OptimizationRequest, OptimizationResult]):
    """Keeps optimizations. Every change of status notifies the channel ``optimization_changed`` with the id."""

    _noun = "optimization"
    _sql = load_statements("optimizations")
    _request_type = OptimizationRequest
    _result_type = OptimizationResult
    _on_create = ("insert_summary",)
    _on_change = ("publish_summary",)
    _on_complete = ("publish_summary", "publish_partition", "publish_history")

    async def queue_estimate(self) -> QueueEstimate:
        """How many optimizations are open, and how long the last ones took to solve."""
        return (await self._records(QueueEstimate, self._sql["queue_estimate"], {}))[0]

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
