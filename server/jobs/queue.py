"""The job queue: procrastinate in the service's own database, so that a job is enqueued with the row it works on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Status
from procrastinate.types import JSONDict

from storage.database import Connection

OPTIMIZATIONS = "optimizations"
OPTIMIZE = "optimize"
VALIDATIONS = "validations"
VALIDATE = "validate"
LOOKS = "looks"
LOOK = "look"
DRIFT = "drift"
MEASURE_DRIFT = "measure_drift"
BATCHES = "batches"
REBALANCE_CHUNK = "rebalance_chunk"
QUEUES = (OPTIMIZATIONS, VALIDATIONS, LOOKS, DRIFT, BATCHES)


class JobQueue:
    """Enqueues work within the caller's transaction."""

    def __init__(self, connection_string: str) -> None:
        self.app = App(connector=PsycopgConnector(conninfo=connection_string, min_size=1, max_size=4))

    async def open(self) -> None:
        """Connect."""
        await self.app.open_async()

    async def close(self) -> None:
        """Disconnect."""
        await self.app.close_async()

    async def enqueue(self, connection: Connection, optimization_id: str) -> int:
        """Add the job that works on an optimization; it exists exactly when the transaction commits.

        Returns:
            The job's number.
        """
        deferrer = self.app.configure_task(OPTIMIZE, queue=OPTIMIZATIONS, connection=connection)
        return await deferrer.defer_async(optimization_id=optimization_id)

    async def enqueue_validation(self, connection: Connection, validation_id: str) -> int:
        """Add the job that works on a validation; it exists exactly when the transaction commits.

        Returns:
            The job's number.
        """
        deferrer = self.app.configure_task(VALIDATE, queue=VALIDATIONS, connection=connection)
        return await deferrer.defer_async(validation_id=validation_id)

    async def enqueue_looks(self, connection: Connection, portfolio_ids: Sequence[str], session: date) -> None:
        """Add the jobs that look at portfolios on a session; they exist exactly when the transaction commits."""
        deferrer = self.app.configure_task(LOOK, queue=LOOKS, connection=connection)
        day = session.isoformat()
        jobs: list[JSONDict] = [{"portfolio_id": name, "session": day} for name in portfolio_ids]
        await deferrer.batch_defer_async(*jobs)

    async def enqueue_drift_pass(self, connection: Connection) -> None:
        """Add a job that measures all that is new, unless one waits; two never run at a time."""
        deferrer = self.app.configure_task(
            MEASURE_DRIFT, queue=DRIFT, lock=DRIFT, queueing_lock=DRIFT, connection=connection
        )
        with suppress(AlreadyEnqueued):
            async with connection.transaction():
                await deferrer.defer_async()

    async def enqueue_chunks(self, connection: Connection, batch_id: str, chunks: int) -> None:
        """Add the jobs that work on the chunks of a batch; they exist exactly when the transaction commits."""
        deferrer = self.app.configure_task(REBALANCE_CHUNK, queue=BATCHES, connection=connection)
        jobs: list[JSONDict] = [{"batch_id": batch_id, "number": number} for number in range(chunks)]
        await deferrer.batch_defer_async(*jobs)

    async def take_up_stalled(self, seconds: float) -> int:
        """Put jobs back whose worker has been silent for `seconds`; returns how many."""
        manager = self.app.job_manager
        stalled = [
            job
            for queue in QUEUES
            for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=seconds)
            if job.status == Status.DOING.value
        ]
        for job in stalled:
            await manager.retry_job(job)
        return len(stalled)
