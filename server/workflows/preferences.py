"""How portfolios are rebalanced: given with defaults, and replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from portfolio_optimization.v1 import policies_pb2 as pb

from kernel.errors import ProblemError
from server.convert.faults import Faults
from server.convert.preferences import read_rebalancing, with_defaults
from server.errors import Fault, InvalidRequest
from server.imports.known import is_stored
from server.policies import stored_preferences
from server.schedules import CalendarShelf, LookDates, next_look
from server.settings import Settings
from server.specs import CASH
from server.workflows.reference_data import unknown_instruments
from storage.benchmarks import BenchmarkRepository
from storage.database import Connection, Database
from storage.optimizations import OptimizationRepository
from storage.policies import PolicyRepository
from storage.portfolios import PortfolioRepository
from storage.records import Json, Portfolio, utc_now

_REBALANCING = "rebalancing"


@dataclass(frozen=True, slots=True)
class Preferred:
    """The preferences of a portfolio, defaults filled in, and when its schedule looks at it."""

    preferences: pb.RebalancingPreferences
    looks: LookDates


class PreferencesWorkflow:
    """The preferences of portfolios."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._calendars = CalendarShelf(settings)

    async def find(self, portfolio_id: str) -> Preferred:
        """The preferences of a portfolio.

        Raises:
            NotFound: There is no portfolio of this id.
        """
        async with self._database.transaction() as connection:
            portfolio = await PortfolioRepository(connection).find(portfolio_id)
            looks = await next_look(connection, portfolio_id, datetime.now(UTC), self._calendars)
        return Preferred(with_defaults(stored_preferences(portfolio), self._settings), looks)

    async def replace(self, message: pb.SetRebalancingPreferencesRequest) -> pb.RebalancingPreferences:
        """Check and store the preferences; those of optimizations stay.

        Returns:
            The preferences with their defaults.

        Raises:
            InvalidRequest: With every fault.
            NotFound: There is no portfolio of this id.
        """
        content = self._checked(message)
        faults = await self._exchange_faults(message.preferences)
        async with self._database.transaction() as connection:
            repository = PortfolioRepository(connection)
            await repository.lock(message.portfolio_id)
            portfolio = await repository.find(message.portfolio_id)
            faults += await _unknown(connection, portfolio, message.preferences)
            if faults:
                raise InvalidRequest(faults)
            kept = {name: value for name, value in portfolio.preferences.items() if name != _REBALANCING}
            stored = {**kept, **({_REBALANCING: content} if content else {})}
            await repository.set_preferences(portfolio.id, stored, utc_now())
        return with_defaults(stored_preferences(replace(portfolio, preferences=stored)), self._settings)

    def _checked(self, message: pb.SetRebalancingPreferencesRequest) -> Json:
        faults = Faults()
        faults.identifier("portfolio_id", message.portfolio_id)
        if not message.HasField("preferences"):
            faults.add("preferences", "is required; empty ones set every default")
        content = read_rebalancing("preferences", message.preferences, self._settings, faults)
        faults.check()
        return content

    async def _exchange_faults(self, preferences: pb.RebalancingPreferences) -> list[Fault]:
        if not preferences.exchange:
            return []
        try:
            await self._calendars(preferences.exchange)
        except ProblemError as error:
            return [Fault("preferences.exchange", error.reason)]
        return []


async def _unknown(connection: Connection, portfolio: Portfolio, preferences: pb.RebalancingPreferences) -> list[Fault]:
    """What the preferences refer to and is not stored."""
    at, limits = "preferences", preferences.constraints
    faults = await unknown_instruments(connection, f"{at}.custom_target", set(preferences.custom_target) - {CASH})
    for name in ("do_not_buy", "do_not_sell", "do_not_trade"):
        faults += await unknown_instruments(connection, f"{at}.constraints.{name}", getattr(limits, name))
    policy_id, benchmark_id = preferences.policy_id, limits.tracking_benchmark_id
    if policy_id and not await is_stored(PolicyRepository(connection).find, policy_id):
        faults.append(Fault(f"{at}.policy_id", f"names {policy_id}, not known as a policy"))
    if benchmark_id and not await is_stored(BenchmarkRepository(connection).find, benchmark_id):
        field = f"{at}.constraints.tracking_benchmark_id"
        faults.append(Fault(field, f"names {benchmark_id}, not known as a benchmark"))
    if preferences.optimization_id:
        faults += await _optimization_faults(connection, portfolio, preferences.optimization_id)
    return faults


async def _optimization_faults(connection: Connection, portfolio: Portfolio, optimization_id: str) -> list[Fault]:
    field, repository = "preferences.optimization_id", OptimizationRepository(connection)
    if not await is_stored(repository.find, optimization_id):
        return [Fault(field, f"names {optimization_id}, not known as an optimization")]
    owner = (await repository.find(optimization_id)).request.portfolio_id
    return [] if owner == portfolio.id else [Fault(field, f"names an optimization of portfolio {owner}")]
