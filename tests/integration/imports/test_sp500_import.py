"""The 505 names of the S&P 500, 2013 to 2018, as their files are: loaded, with what is wrong named by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from kernel.estimation.data_checks import Code, usable
from server.imports.benchmarks import BenchmarkOptions, import_benchmark
from server.imports.prices import import_prices
from server.imports.rows import TableOptions
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from tests.sp500 import FOLDER, OPTIONS, WITH_HOLES, needs_prices

pytestmark = needs_prices


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, max_connections=2) as database:
        yield database


async def test_all_names_are_loaded_and_the_doubtful_ones_named(database: Database) -> None:
    report = await import_prices(database, FOLDER / "close.parquet", OPTIONS)
    assert report.counts == {"instruments": 505, "days": 1259, "prices": 619_040, "instruments created": 505}
    by_code: dict[Code, set[str]] = {}
    for finding in report.findings:
        by_code.setdefault(finding.code, set()).add(finding.instrument_id or "")
    assert by_code[Code.MISSING] == WITH_HOLES
    assert len(by_code[Code.LATE_START]) == 29
    assert "LNT" in by_code[Code.WRONG_SPLIT]
    assert {"EBAY", "NI", "BAX"} <= by_code[Code.JUMP]
    split = next(f for f in report.findings if (f.instrument_id, f.code) == ("LNT", Code.WRONG_SPLIT))
    assert split.date == date(2016, 5, 19)
    assert any("DHR lacks 16 prices inside its history" in line for line in report.lines())
    async with database.transaction() as connection:
        pack = await PricingPackRepository(connection).find(report.identifier)
        table = await PricingPackRepository(connection).read(report.identifier)
        (apple,) = await InstrumentRepository(connection).find(["AAPL"])
    assert (pack.first_date, pack.as_of) == (date(2013, 2, 8), date(2018, 2, 7))
    assert (apple.name, apple.sector, apple.market_cap) == (
        "Apple Inc.",
        "Information Technology",
        Decimal(809508034020),
    )
    complete = ~np.isnan(table.closes).any(axis=0)
    assert complete.sum() == 470
    assert len(usable(table.instrument_ids, report.findings)) == 470


async def test_a_benchmark_of_all_names_by_capitalisation(database: Database) -> None:
    await import_prices(database, FOLDER / "close.parquet", OPTIONS)
    table = TableOptions({"instrument_id": "ticker", "weight": "market_cap_usd"})
    options = BenchmarkOptions(id="sp500", normalize=True, table=table)
    await import_benchmark(database, FOLDER / "universe.csv", options)
    async with database.transaction() as connection:
        benchmark = await BenchmarkRepository(connection).find("sp500")
    assert len(benchmark.weights) == 505
    assert sum(benchmark.weights.values()) == 1
