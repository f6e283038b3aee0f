"""Rebalance plans, computed while the caller waits and kept."""

from __future__ import annotations

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.compute.pool import SolverPool
from server.compute.rebalance import RebalanceAnswer
from server.compute.tasks import run_rebalance
from server.convert.answers import to_json
from server.convert.plans import write_plan
from server.loading import MarketLoader
from server.plans.keeping import Keeping, Kept, finished, keep_plan
from server.plans.preparing import PlanPreparer, PreparedPlan
from server.settings import Settings
from server.workflows.plans import PlanWorkflow
from storage.database import Connection, Database
from storage.errors import Conflict
from storage.events import EventRepository
from storage.rebalances import RebalanceRepository


class RebalanceWorkflow:
    """Makes rebalance plans."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._settings = database, pool, settings
        self._plans = PlanWorkflow(database, settings)
        self._preparer = PlanPreparer(database, loader, settings)

    async def prepare(self, message: pb.RebalancePlanRequest, *, price_limits: bool = True) -> PreparedPlan:
        """Everything that a plan is computed from; see `PlanPreparer.prepare`."""
        return await self._preparer.prepare(message, price_limits=price_limits)

    async def keep(
        self,
        connection: Connection,
        prepared: PreparedPlan,
        response: pb.RebalancePlanResponse,
        answer: RebalanceAnswer,
        actor: str,
    ) -> Kept:
        """Keep a computed plan within the caller's transaction, who appends its events; see `keep_plan`."""
        return await keep_plan(connection, prepared, response, answer, Keeping(self._settings, actor))

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return 2 * self._settings.solve_limit_seconds

    async def plan(self, message: pb.RebalancePlanRequest, seconds: float, actor: str) -> pb.RebalancePlanResponse:
        """Check, load, compute, store. A request_id that was used before gives the plan it gave then, as it is now.

        Raises:
            InvalidRequest, NotFound, NotReady, Conflict, OutOfTime, Busy: See `server.errors`.
        """
        earlier = await self._earlier(message)
        if earlier is not None:
            return earlier
        prepared = await self.prepare(message)
        answer = await self._pool.run(run_rebalance, prepared.inputs, timeout=seconds)
        response = write_plan(answer, prepared)
        if message.validate_only:
            finished(prepared, response)
            return response
        async with self._database.transaction() as connection:
            kept = await self.keep(connection, prepared, response, answer, actor)
            await EventRepository(connection).append_all(kept.events)
        if kept.created:
            return response
        # Another call with the same request_id was quicker: its plan is the plan.
        return await self._earlier(message) or response

    async def _earlier(self, message: pb.RebalancePlanRequest) -> pb.RebalancePlanResponse | None:
        """The plan that was made for this request_id, if there is one."""
        if not message.request_id or message.validate_only:
            return None
        async with self._database.transaction() as connection:
            stored = await RebalanceRepository(connection).find_by_request_id(message.portfolio_id, message.request_id)
            if stored is None or stored.result is None:
                return None
            if stored.request.specification != to_json(message):
                used = f"request_id {message.request_id} was used for a different plan, {stored.request.id}"
                raise Conflict(used)
        return await self._plans.find(stored.request.id)
