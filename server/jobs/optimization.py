"""The life of one optimization in the worker: load, compute, store in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from google.protobuf import json_format
from portfolio_optimization.v1 import optimization_pb2

from server.compute.optimization import OptimizationAnswer
from server.compute.pool import SolverPool
from server.compute.tasks import run_optimization
from server.convert.answers import write_optimization
from server.convert.events import optimization_ended, portfolio_optimized
from server.convert.faults import checked
from server.convert.optimization import read_optimization
from server.convert.solution import request_status
from server.convert.stored import to_result
from server.errors import OutOfTime
from server.jobs.attempts import reason_of, unless_cancelled
from server.loading import MarketLoader
from server.metrics import JOBS
from server.preparing import prepare
from server.settings import Settings
from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.optimizations import OptimizationRepository
from storage.records import CANCELLED, FAILED, Event, OptimizationRequest, OptimizationResult

_log = structlog.get_logger()
# The process is killed this long after the solver should have stopped by itself.
_GRACE_SECONDS = 10.0


class OptimizationJob:
    """Works on optimizations, each exactly once."""

    def __init__(
        self, database: Database, pool: SolverPool, loader: MarketLoader, changes: ChangeFeed, settings: Settings
    ) -> None:
        self._database, self._pool, self._loader = database, pool, loader
        self._changes, self._settings = changes, settings

    async def run(self, optimization_id: str, attempt: int) -> None:
        """Take up an optimization. One that has ended is left alone, so a job may run twice without harm.

        Args:
            optimization_id: The optimization.
            attempt: 0 at first; counts how often a solver process died over it.

        Raises:
            WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
        """
        async with self._database.transaction() as connection:
            repository = OptimizationRepository(connection)
            if not await repository.start(optimization_id):
                return
            request = (await repository.find(optimization_id)).request
        solve = self._solve(request, attempt)
        if not await unless_cancelled(solve, self._changes, request.id, lambda: self._was_cancelled(request.id)):
            JOBS.labels(CANCELLED).inc()

    async def _was_cancelled(self, optimization_id: str) -> bool:
        async with self._database.transaction() as connection:
            return (await OptimizationRepository(connection).find(optimization_id)).request.status == CANCELLED

    async def _solve(self, request: OptimizationRequest, attempt: int) -> None:
        try:
            ended = await self._outcome(request)
        except OutOfTime as error:
            ended = _failed(request, str(error), "OUTCOME_STATUS_LIMIT_REACHED")
        except Exception as error:
            ended = _failed(request, reason_of(error, "optimization", request.id, attempt))
        await self._store(request, ended)

    async def _outcome(self, request: OptimizationRequest) -> _Ended:
        message = json_format.ParseDict(request.specification, optimization_pb2.CreateOptimizationRequest())
        spec = checked(read_optimization, message, self._settings)
        prepared = await prepare(self._loader, spec)
        answer: OptimizationAnswer = await self._pool.run(
            run_optimization, prepared.inputs, prepared.spec, timeout=spec.time_limit_seconds + _GRACE_SECONDS
        )
        status = request_status(answer.solution)
        response = write_optimization(answer, prepared)
        event = (
            portfolio_optimized(request, response)
            if status == "completed"
            else optimization_ended(request, status, answer.solution.message)
        )
        return _Ended(status, to_result(request.id, response, answer.solve_seconds), event)

    async def _store(self, request: OptimizationRequest, ended: _Ended) -> None:
        async with self._database.transaction() as connection:
            first = await OptimizationRepository(connection).complete(
                request.id, ended.status, ended.result, ended.event
            )
        if first:
            JOBS.labels(ended.status).inc()
            seconds = ended.result.solve_seconds
            _log.info("optimization ended", optimization_id=request.id, status=ended.status, solve_seconds=seconds)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How an optimization ended: all that one transaction stores."""

    status: str
    result: OptimizationResult
    event: Event


def _failed(request: OptimizationRequest, reason: str, outcome: str = "OUTCOME_STATUS_FAILED") -> _Ended:
    result = OptimizationResult(
        optimization_id=request.id,
        metrics={},
        current_allocation={},
        target_allocation={},
        trades=[],
        details={"outcome": {"status": outcome, "message": reason}},
    )
    return _Ended(FAILED, result, optimization_ended(request, FAILED, reason))
