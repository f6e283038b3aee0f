"""Drift monitoring: portfolios are measured when prices or holdings are new, and crossings are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

import structlog
from portfolio_optimization.v1 import drift_pb2

from server.convert.events import drift_detected
from server.jobs.attempts import reason_of
from server.jobs.queue import JobQueue
from storage.database import Connection, Database
from storage.events import EventRepository
from storage.looks import DriftState, DriftStateRepository, MeasuredState
from storage.records import utc_now

_log = structlog.get_logger()
_PAGE = 200


class DriftTeller:
    """Writes down measurements of drift, and tells of a crossing once.

    A drift that has reached its threshold is told again only after it was below. A scheduled look tells it on new
    prices also while it lasts: the owner has asked to hear of it on that day.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    async def note(
        self, connection: Connection, drift: drift_pb2.GetDriftResponse, measured: MeasuredState, *, again: bool
    ) -> bool:
        """Note a measurement; returns whether it was told. Last in its transaction.

        Args:
            connection: Of the transaction.
            drift: What was measured.
            measured: What it was measured on.
            again: Whether a drift that lasts is told on new prices.
        """
        states, pack_id = DriftStateRepository(connection), drift.pricing_pack_id
        before = await states.lock(measured.portfolio_id)
        if before.packs > measured.packs:  # measured on newer prices meanwhile
            return False
        reached = drift.rebalance_needed
        is_new = not before.reached or (again and before.told_pack_id != pack_id)
        tells = reached and is_new
        told_pack_id = pack_id if tells else before.told_pack_id
        state = DriftState(measured.portfolio_id, reached, told_pack_id, measured.packs)
        await states.put(state, measured.portfolio_updated_at, self._clock())
        if tells:
            await EventRepository(connection).append(drift_detected(drift))
        return tells


class DriftMonitor:
    """Measures the drift of all portfolios.

    Args:
        database: Where they are.
        queue: Takes passes as jobs, one at a time.
        measure: The drift of a portfolio from the target of its preferences.
        clock: Gives the present moment.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        measure: Callable[[str], Awaitable[drift_pb2.GetDriftResponse]],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database, self._queue, self._measure, self._clock = database, queue, measure, clock
        self._teller = DriftTeller(database, clock)

    async def begin(self) -> None:
        """Enqueue a pass, unless one waits already, or there is nothing new to measure."""
        async with self._database.transaction() as connection:
            if await DriftStateRepository(connection).unmeasured(1):
                await self._queue.enqueue_drift_pass(connection)

    async def run(self, attempt: int) -> None:
        """One pass over all portfolios that are not measured as they and prices stand now.

        Interrupted it goes on later with those that are left. A portfolio that cannot be measured is left alone until
        something is new about it.

        Args:
            attempt: 0 at first; counts how often a solver process died over it.

        Raises:
            WorkerLost, Busy, Unavailable, Retryable: The queue is to try again.
        """
        after, told, count = "", 0, 0
        while True:
            async with self._database.transaction() as connection:
                page = await DriftStateRepository(connection).unmeasured(_PAGE, after)
            for measured in page:
                told += await self._look(measured, attempt)
            count += len(page)
            if len(page) < _PAGE:
                break
            after = page[-1].portfolio_id
        _log.info("drift measured", portfolios=count, told=told)

    async def _look(self, measured: MeasuredState, attempt: int) -> bool:
        try:
            drift = await self._measure(measured.portfolio_id)
        except Exception as error:
            reason = reason_of(error, "portfolio", measured.portfolio_id, attempt)
            async with self._database.transaction() as connection:
                states = DriftStateRepository(connection)
                state = replace(await states.lock(measured.portfolio_id), packs=measured.packs)
                await states.put(state, measured.portfolio_updated_at, self._clock(), reason)
            return False
        async with self._database.transaction() as connection:
            return await self._teller.note(connection, drift, measured, again=False)
