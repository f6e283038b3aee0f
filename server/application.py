"""The wiring: everything a process of the service holds, opened and closed in one order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from server.compute.pool import SolverPool
from server.jobs.batches import BatchJob
from server.jobs.deliveries import DeliveryLoop
from server.jobs.drift import DriftMonitor
from server.jobs.optimization import OptimizationJob
from server.jobs.periodic import Periodic
from server.jobs.plans import lapse_plans
from server.jobs.queue import JobQueue
from server.jobs.schedules import SCHEDULE_ACTOR, LookActions, ScheduleJob
from server.jobs.validation import ValidationJob
from server.jobs.worker import Jobs, Runs, Worker
from server.loading import MarketLoader
from server.loading_models import ModelLoader
from server.notifications.sender import make_sender
from server.sample.files import SampleUnavailableError
from server.sample.loading import load_sample_if_empty
from server.schedules import CalendarShelf
from server.settings import Settings
from server.targets import TargetFinder
from server.workflows.batches import BatchWorkflow
from server.workflows.drift import DriftWorkflow
from server.workflows.factor_analyses import FactorAnalysisFinder
from server.workflows.factor_models import FactorModelWorkflow
from server.workflows.factors import FactorWorkflow
from server.workflows.frontier import FrontierWorkflow
from server.workflows.optimization import OptimizationWorkflow
from server.workflows.plans import PlanWorkflow
from server.workflows.policies import PolicyWorkflow
from server.workflows.preferences import PreferencesWorkflow
from server.workflows.rebalance import RebalanceWorkflow
from server.workflows.taxes import TaxWorkflow
from server.workflows.validation import ValidationWorkflow
from server.workflows.webhooks import WebhookWorkflow
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

    def factor_models(self) -> FactorModelWorkflow:
        """Factor models."""
        return FactorModelWorkflow(self.database, self.pool, self.loader, self.settings)

    def factor_analyses(self) -> FactorAnalysisFinder:
        """Factor analyses made before."""
        return FactorAnalysisFinder(self.database)

    def validations(self) -> ValidationWorkflow:
        """Creating and following validations."""
        return ValidationWorkflow(self.database, self.queue, self.loader, self.changes, self.settings)

    def webhooks(self) -> WebhookWorkflow:
        """Webhooks and deliveries."""
        return WebhookWorkflow(self.database, self.settings)

    def deliveries(self) -> DeliveryLoop:
        """What tells receivers about events, not started yet."""
        return DeliveryLoop(self.database, self.events, make_sender(self.settings), self.settings.drain_seconds)

    def plans(self) -> PlanWorkflow:
        """Plans on their way from proposal to execution."""
        return PlanWorkflow(self.database, self.settings)

    def taxes(self) -> TaxWorkflow:
        """Tax previews."""
        return TaxWorkflow(self.database, self.settings)

    def batches(self) -> BatchWorkflow:
        """Creating and following batches of rebalances."""
        targets = TargetFinder(self.database, self.loader)
        return BatchWorkflow(self.database, self.queue, targets, self.changes, self.settings)

    def schedules(self) -> ScheduleJob:
        """Scheduled looks at portfolios."""
        rebalances, plans = self.rebalances(), self.plans()
        actions = LookActions(
            measure=self.drifts().measure,
            plan=lambda message: rebalances.plan(message, rebalances.longest_seconds, SCHEDULE_ACTOR),
            submit=lambda rebalance_id, comment: plans.submit(rebalance_id, comment, SCHEDULE_ACTOR),
        )
        return ScheduleJob(self.database, self.queue, CalendarShelf(self.settings), actions)

    def drift_monitor(self) -> DriftMonitor:
        """Measuring the drift of all portfolios."""
        return DriftMonitor(self.database, self.queue, self.drifts().measure)

    def policies(self) -> PolicyWorkflow:
        """Policies and their versions."""
        return PolicyWorkflow(self.database, self.settings)

    def preferences(self) -> PreferencesWorkflow:
        """How portfolios are rebalanced."""
        return PreferencesWorkflow(self.database, self.settings)

    def drifts(self) -> DriftWorkflow:
        """The drift of portfolios from their targets."""
        return DriftWorkflow(self.database, self.pool, self.loader, self.settings)

    def worker(self) -> Worker:
        """A worker that is not started yet."""
        parts = (self.database, self.pool, self.loader, self.changes, self.settings)
        schedules, drift = self.schedules(), self.drift_monitor()
        batches = BatchJob(self.database, self.pool, self.rebalances(), self.changes)
        jobs = Jobs(OptimizationJob(*parts), ValidationJob(*parts), schedules, drift, batches)
        periodic: list[Runs] = [self.deliveries(), lapse_plans(self.plans())]
        periodic.append(Periodic("scheduled looks", self.settings.schedule_scan_seconds, schedules.scan))
        if self.settings.drift_monitor_minutes:
            periodic.append(Periodic("drift monitor", 60.0 * self.settings.drift_monitor_minutes, drift.begin))
        return Worker(self.queue, jobs, self.settings.workers, self.settings.drain_seconds, periodic)


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
