"""Targets of rebalance plans that are known before the portfolio's universe is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from server.compute.weights import exact_weights, rounded_weight
from server.errors import NotReady
from server.loading import Holdings, MarketLoader
from server.specs import CASH
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.optimizations import OptimizationRepository
from storage.records import COMPLETED

Target = Mapping[str, Decimal]


class TargetChoice(Protocol):
    """What names a target, in requests of every kind."""

    @property
    def portfolio_id(self) -> str:
        """Whose target it is."""

    @property
    def target_type(self) -> str:
        """A word of the vocabulary."""

    @property
    def custom_target(self) -> Mapping[str, Decimal]:
        """For custom: its weights, without cash."""

    @property
    def benchmark_id(self) -> str:
        """For benchmark: empty = the portfolio's own."""

    @property
    def optimization_id(self) -> str:
        """For optimization: empty = the one that was completed last."""


def equal_weights(holdings: Holdings) -> Target:
    """The same weight for everything that is held, short positions left out."""
    held = sorted(name for name, quantity in holdings.quantities.items() if quantity > 0)
    return {name: rounded_weight(Decimal(1) / len(held)) for name in held}


class TargetFinder:
    """Finds target weights in storage."""

    def __init__(self, database: Database, loader: MarketLoader) -> None:
        self._database, self._loader = database, loader

    async def find(self, spec: TargetChoice) -> Target | None:
        """The target weights; None where they come from the portfolio itself (optimal, equal_weight, policy).

        Raises:
            NotFound: There is no such benchmark or optimization.
            NotReady: It has no weights.
            Conflict: The optimization is of another portfolio.
        """
        match spec.target_type:
            case "custom":
                return spec.custom_target
            case "benchmark":
                return await self._benchmark_weights(spec)
            case "optimization":
                return await self._optimized_weights(spec)
            case _:
                return None

    async def benchmark(self, benchmark_id: str) -> Target:
        """The weights of a benchmark, without cash.

        Raises:
            NotFound: There is none of this id.
            NotReady: It has no weights.
        """
        async with self._database.transaction() as connection:
            benchmark = await BenchmarkRepository(connection).find(benchmark_id)
        if not benchmark.weights:
            raise NotReady(f"benchmark {benchmark_id} has no weights, only a price series")
        return {name: weight for name, weight in benchmark.weights.items() if name != CASH}

    async def _benchmark_weights(self, spec: TargetChoice) -> Target:
        benchmark_id = spec.benchmark_id or (await self._loader.portfolio(spec.portfolio_id)).benchmark_id
        if not benchmark_id:
            raise NotReady(f"portfolio {spec.portfolio_id} has no benchmark, and the request names none")
        return await self.benchmark(benchmark_id)

    async def _optimized_weights(self, spec: TargetChoice) -> Target:
        async with self._database.transaction() as connection:
            repository = OptimizationRepository(connection)
            if not spec.optimization_id:
                return exact_weights(await _latest_weights(repository, spec.portfolio_id))
            stored = await repository.find(spec.optimization_id)
        if stored.request.portfolio_id != spec.portfolio_id:
            raise Conflict(f"optimization {spec.optimization_id} is of portfolio {stored.request.portfolio_id}")
        if stored.request.status != COMPLETED or stored.result is None:
            raise NotReady(f"optimization {spec.optimization_id} is {stored.request.status}, not completed")
        return exact_weights(dict(stored.result.target_allocation))


async def _latest_weights(repository: OptimizationRepository, portfolio_id: str) -> dict[str, float]:
    try:
        stored = await repository.latest(portfolio_id)
    except NotFound:
        raise NotReady(f"portfolio {portfolio_id} has no completed optimization whose target could be used") from None
    assert stored.result is not None
    return dict(stored.result.target_allocation)
