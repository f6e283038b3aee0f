"""The sample data set into a database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from server.sample.data import FACTORS_SOURCE, PRICES_SOURCE, SampleData, build_sample
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository


@dataclass(frozen=True, slots=True)
class SampleLoaded:
    """The names under which the sample is stored."""

    pack_id: str
    factor_set_id: str
    benchmark_id: str
    portfolio_ids: tuple[str, ...]


async def load_sample_if_empty(database: Database) -> SampleLoaded | None:
    """Loads the sample into a database that has no instruments yet.

    Returns:
        What was loaded, or None where there were instruments already.

    Raises:
        SampleUnavailableError: The database is empty and the extra `sample` is not installed.
    """
    async with database.transaction() as connection:
        if await InstrumentRepository(connection).page(1):
            return None
    return await load_sample(database)


async def load_sample(database: Database) -> SampleLoaded:
    """Stores the sample in one transaction; doing so again restores it.

    Raises:
        SampleUnavailableError: The extra `sample` is not installed.
    """
    sample = await asyncio.to_thread(build_sample)
    return await _store(database, sample)


async def _store(database: Database, sample: SampleData) -> SampleLoaded:
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(sample.instruments)
        pack = await PricingPackRepository(connection).store(sample.prices, PRICES_SOURCE)
        factor_set = await FactorRepository(connection).store(sample.factors, FACTORS_SOURCE)
        await BenchmarkRepository(connection).put(sample.benchmark)
        for portfolio in sample.portfolios:
            await PortfolioRepository(connection).put(portfolio)
    return SampleLoaded(
        pack.id, factor_set.id, sample.benchmark.id, tuple(portfolio.id for portfolio in sample.portfolios)
    )
