"""The worker: takes work off the queues, as many optimizations at a time as there are solver processes.

Validations are long: only half as many are worked on at a time, so that optimizations find a process that is free.
Batches give their process back after some portfolios, for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import structlog
from procrastinate import JobContext, RetryStrategy

from server.jobs.batches import BatchJob
from server.jobs.drift import DriftMonitor
from server.jobs.optimization import OptimizationJob
from server.jobs.queue import (
    BATCHES,
    DRIFT,
    LOOK,
    LOOKS,
    MEASURE_DRIFT,
    OPTIMIZATIONS,
    OPTIMIZE,
    REBALANCE_CHUNK,
    VALIDATE,
    VALIDATIONS,
    JobQueue,
)
from server.jobs.schedules import ScheduleJob
from server.jobs.validation import ValidationJob

_log = structlog.get_logger()

# Retries and lock-blocked jobs wait for the poll, new ones are notified.
_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 1.0
_SILENT_SECONDS = 5.0
# Whatever interrupts a job, a shutdown too, it is tried again: what was accepted is answered.
_RETRY = RetryStrategy(wait=1)
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Jobs:
    """What works on each kind of job."""

    optimizations: OptimizationJob
    validations: ValidationJob
    schedules: ScheduleJob
    drift: DriftMonitor
    batches: BatchJob


class Runs(Protocol):
    """Work that goes on until it is cancelled."""

    async def run(self) -> None:
        """Work."""
        ...


class Worker:
    """Runs jobs until it is stopped; a lost database only makes it wait."""

    def __init__(
        self, queue: JobQueue, jobs: Jobs, concurrency: int, drain_seconds: float, periodic: Sequence[Runs] = ()
    ) -> None:
        self._queue, self._concurrency, self._drain_seconds = queue, concurrency, drain_seconds
        self._periodic = periodic

        @queue.app.task(name=OPTIMIZE, queue=OPTIMIZATIONS, retry=_RETRY, pass_context=True)
        async def optimize(context: JobContext, optimization_id: str) -> None:
            await jobs.optimizations.run(optimization_id, context.job.attempts)

        @queue.app.task(name=VALIDATE, queue=VALIDATIONS, retry=_RETRY, pass_context=True)
        async def validate(context: JobContext, validation_id: str) -> None:
            await jobs.validations.run(validation_id, context.job.attempts)

        @queue.app.task(name=LOOK, queue=LOOKS, retry=_RETRY, pass_context=True)
        async def look(context: JobContext, portfolio_id: str, session: str) -> None:
            await jobs.schedules.run(portfolio_id, date.fromisoformat(session), context.job.attempts)

        @queue.app.task(name=MEASURE_DRIFT, queue=DRIFT, retry=_RETRY, pass_context=True)
        async def measure_drift(context: JobContext) -> None:
            await jobs.drift.run(context.job.attempts)

        @queue.app.task(name=REBALANCE_CHUNK, queue=BATCHES, retry=_RETRY, pass_context=True)
        async def rebalance_chunk(context: JobContext, batch_id: str, number: int) -> None:
            await jobs.batches.run(batch_id, number, context.job.attempts)

        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take jobs."""
        self._tasks = [
            asyncio.create_task(self._work((OPTIMIZATIONS,), self._concurrency)),
            asyncio.create_task(self._work((VALIDATIONS,), max(1, self._concurrency // 2))),
            # A pass over the drift of all portfolios takes one place, however long it is.
            asyncio.create_task(self._work((LOOKS, DRIFT), self._concurrency + 1)),
            asyncio.create_task(self._work((BATCHES,), self._concurrency)),
            asyncio.create_task(self._recover()),
            *(asyncio.create_task(each.run()) for each in self._periodic),
        ]

    async def stop(self) -> None:
        """Take no more jobs, and give those under way the time to drain; the rest is taken up by the next worker."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_seconds + _SILENT_SECONDS)

    async def _work(self, queues: Sequence[str], concurrency: int) -> None:
        while True:
            try:
                await self._queue.app.run_worker_async(
                    queues=list(queues),
                    concurrency=concurrency,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=_POLL_SECONDS,
                    update_heartbeat_interval=_HEARTBEAT_SECONDS,
                    stalled_worker_timeout=_SILENT_SECONDS,
                    shutdown_graceful_timeout=self._drain_seconds,
                    delete_jobs="successful",
                )
            except Exception as error:  # whatever ended it, the queue must be served
                _log.warning("worker interrupted", reason=type(error).__name__)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _recover(self) -> None:
        """Bring back jobs of workers that died, every second."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            try:
                count = await self._queue.take_up_stalled(_SILENT_SECONDS)
            except Exception as error:  # a lost database is tried again in a second
                _log.warning("stalled jobs not looked at", reason=type(error).__name__)
                continue
            if count:
                _log.warning("stalled jobs taken up again", jobs=count)
