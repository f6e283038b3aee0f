"""The life of one validation in the worker: load, run the windows and tell of each, store once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import structlog
from google.protobuf import json_format
from portfolio_optimization.v1 import validation_pb2

from server.compute.pool import Ended, Found, SolverPool
from server.compute.tasks import stream_windows
from server.compute.validation import ValidationAnswer, WindowAnswer, conclude, plan_windows
from server.convert.answers import to_json
from server.convert.faults import checked
from server.convert.validation import read_validation, write_report
from server.errors import Busy, OutOfTime, WorkerLost
from server.jobs.attempts import reason_of, unless_cancelled
from server.loading import MarketLoader
from server.metrics import VALIDATIONS
from server.preparing import prepare
from server.settings import Settings
from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.records import CANCELLED, COMPLETED, FAILED, ValidationRequest, ValidationResult
from storage.validations import ValidationRepository

_log = structlog.get_logger()
# Progress is written down at most so often.
_PROGRESS_SECONDS = 0.25
# Where too many solves wait, a turn is asked for again after this.
_BUSY_SECONDS = 1.0


class ValidationJob:
    """Works on validations. One that is interrupted begins again from the start; its result is written once."""

    def __init__(
        self, database: Database, pool: SolverPool, loader: MarketLoader, changes: ChangeFeed, settings: Settings
    ) -> None:
        self._database, self._pool, self._loader = database, pool, loader
        self._changes, self._settings = changes, settings

    async def run(self, validation_id: str, attempt: int) -> None:
        """Take up a validation. One that has ended is left alone, so a job may run twice without harm.

        Args:
            validation_id: The validation.
            attempt: 0 at first; counts how often a solver process died over it.

        Raises:
            WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
        """
        async with self._database.transaction() as connection:
            repository = ValidationRepository(connection)
            if not await repository.start(validation_id):
                return
            request = await repository.find_request(validation_id)
        work = self._work(request, attempt)
        if not await unless_cancelled(work, self._changes, request.id, lambda: self._was_cancelled(request.id)):
            VALIDATIONS.labels(CANCELLED).inc()

    async def _was_cancelled(self, validation_id: str) -> bool:
        async with self._database.transaction() as connection:
            return (await ValidationRepository(connection).find_request(validation_id)).status == CANCELLED

    async def _work(self, request: ValidationRequest, attempt: int) -> None:
        try:
            answer = await self._answer(request)
        except Exception as error:
            reason = reason_of(error, "validation", request.id, attempt)
            await self._store(request, FAILED, _result(request, reason))
        else:
            done = len(answer.windows)
            await self._note(request, done, done)
            # A large report takes seconds to write, in which the service must go on.
            result = await asyncio.to_thread(_result, request, f"{done} windows were run", answer)
            await self._store(request, COMPLETED, result)

    async def _answer(self, request: ValidationRequest) -> ValidationAnswer:
        message = json_format.ParseDict(request.specification, validation_pb2.CreateValidationRequest())
        spec = checked(read_validation, message, self._settings)
        prepared = await prepare(self._loader, spec.optimization)
        spec = replace(spec, optimization=prepared.spec)
        windows, done = len(plan_windows(prepared.inputs, spec)), list[WindowAnswer]()
        limit = self._settings.validation_limit_seconds
        while len(done) < windows:
            left = limit - sum(window.solve_seconds for window in done)
            if left <= 0.0:
                raise OutOfTime(f"{len(done)} of {windows} windows took {limit:g} seconds, the service's limit")
            turn = self._pool.stream(stream_windows, prepared.inputs, spec, tuple(done), timeout=left)
            try:
                async with aclosing(turn) as parts:
                    done += await self._turn(request, windows, parts)
            except Busy:  # what is done stays done
                await asyncio.sleep(_BUSY_SECONDS)
        return conclude(prepared.inputs, spec, done)

    async def _turn(
        self,
        request: ValidationRequest,
        windows: int,
        parts: AsyncIterator[Found | Ended[tuple[WindowAnswer, ...]]],
    ) -> tuple[WindowAnswer, ...]:
        """The windows that a process runs in its turn; progress is written down on the way."""
        noted = 0.0
        async for part in parts:
            if isinstance(part, Ended):
                return part.value
            if time.monotonic() - noted >= _PROGRESS_SECONDS:
                await self._note(request, part.value, windows)
                noted = time.monotonic()
        raise WorkerLost("the solver process ended without an answer")

    async def _note(self, request: ValidationRequest, done: int, windows: int) -> None:
        async with self._database.transaction() as connection:
            await ValidationRepository(connection).progress(request.id, done, windows)

    async def _store(self, request: ValidationRequest, status: str, result: ValidationResult) -> None:
        async with self._database.transaction() as connection:
            first = await ValidationRepository(connection).complete(request.id, status, result, None)
        if first:
            VALIDATIONS.labels(status).inc()
            seconds = result.solve_seconds
            _log.info("validation ended", validation_id=request.id, status=status, solve_seconds=seconds)


def _result(request: ValidationRequest, message: str, answer: ValidationAnswer | None = None) -> ValidationResult:
    return ValidationResult(
        validation_id=request.id,
        report={} if answer is None else to_json(write_report(answer)),
        details={"message": message},
        solve_seconds=None if answer is None else answer.solve_seconds,
    )
