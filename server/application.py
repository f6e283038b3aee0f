"""The wiring: everything a process of the service holds, opened and closed in one order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from server.compute.pool import SolverPool
from server.jobs.optimization import OptimizationJob
from server.jobs.queue import JobQueue
from server.jobs.validation import ValidationJob
from server.jobs.worker import Worker
from server.loading import MarketLoader
from server.loading_models import ModelLoader
from server.sample.files import SampleUnavailableError
from server.sample.loading import load_sample_if_empty
from server.settings import Settings
from server.workflows.factors import FactorWorkflow
from server.workflows.frontier import FrontierWorkflow
from server.workflows.optimization import OptimizationWorkflow
from server.workflows.rebalance import RebalanceWorkflow
from server.workflows.validation import ValidationWorkflow
from storage.change_feed import EVENT_APPENDED, ChangeFeed
from storage.database import Database
from storage.embedded import EmbeddedServer
from storage.migrate import migrate

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Application:
    """The open parts of a process."""

    settings: Settings
    database: Database
    queue: JobQueue
    pool: SolverPool
    loader: MarketLoader
    models: ModelLoader
    changes: ChangeFeed
    events: ChangeFeed

    def optimizations(self) -> OptimizationWorkflow:
        """Creating and following optimizations."""
        return OptimizationWorkflow(self.database, self.queue, self.loader, self.changes, self.settings)

    def frontiers(self) -> FrontierWorkflow:
        """Efficient frontiers."""
        return FrontierWorkflow(self.database, self.pool, self.loader, self.settings)

    def rebalances(self) -> RebalanceWorkflow:
        """Rebalance plans."""
        return RebalanceWorkflow(self.database, self.pool, self.loader, self.settings)

    def factors(self) -> FactorWorkflow:
        """Factor analyses."""
        return FactorWorkflow(self.database, self.pool, self.loader, self.settings)

    def validations(self) -> ValidationWorkflow:
        """Creating and following validations."""
        return ValidationWorkflow(self.database, self.queue, self.loader, self.changes, self.settings)

    def worker(self) -> Worker:
        """A worker that is not started yet."""
        parts = (self.database, self.pool, self.loader, self.changes, self.settings)
        optimizations, validations = OptimizationJob(*parts), ValidationJob(*parts)
        return Worker(self.queue, optimizations, validations, self.settings.workers, self.settings.drain_seconds)


@asynccontextmanager
async def open_database(settings: Settings, *, attach: bool) -> AsyncIterator[Database]:
    """The database, brought to the schema of this code.

    Args:
        settings: Name a server, or the data directory of the embedded one.
        attach: Use the embedded server of another process if one runs.

    Raises:
        AlreadyRunning: Another process runs the embedded server, and `attach` is false.
        ServerNotStarted, Unavailable, SchemaMismatch: The database cannot be used.
    """
    async with AsyncExitStack() as stack:
        url = settings.database_url
        if not url:
            embedded = await asyncio.to_thread(EmbeddedServer.start, settings.data_dir, attach=attach)
            stack.push_async_callback(asyncio.to_thread, embedded.stop)
            url = embedded.connection_string
        await migrate(url)
        yield await stack.enter_async_context(Database(url, max_connections=4 * settings.workers + 8))


@asynccontextmanager
async def open_application(settings: Settings, *, attach: bool = False) -> AsyncIterator[Application]:
    """All parts of a process, closed in the reverse order: calls and jobs first, the database last."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, attach=attach))
        if settings.load_sample:
            await _load_sample(database)
        changes = await stack.enter_async_context(ChangeFeed(database.connection_string))
        events = await stack.enter_async_context(ChangeFeed(database.connection_string, EVENT_APPENDED))
        queue = JobQueue(database.connection_string)
        await queue.open()
        stack.push_async_callback(queue.close)
        pool = SolverPool(settings.workers, settings.max_waiting_solves)
        stack.push_async_callback(asyncio.to_thread, pool.stop)
        models = ModelLoader(database)
        loader = MarketLoader(database, settings.max_assets, models)
        yield Application(settings, database, queue, pool, loader, models, changes, events)


async def _load_sample(database: Database) -> None:
    try:
        loaded = await load_sample_if_empty(database)
    except SampleUnavailableError as error:
        _log.warning("the database is empty, and there is no sample to load", reason=str(error))
        return
    if loaded is not None:
        _log.info("sample data set loaded", portfolios=loaded.portfolio_ids, pricing_pack=loaded.pack_id)
