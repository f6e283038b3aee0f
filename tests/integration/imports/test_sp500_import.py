"""The 505 names of the S&P 500, 2013 to 2018, as their files are: loaded, with what is wrong named by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from kernel.estimation.data_checks import Code, usable
from server.imports.benchmarks import BenchmarkOptions, import_benchmark
from server.imports.prices import PriceOptions, import_prices
from server.imports.rows import TableOptions
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository

FOLDER = Path(__file__).parents[3].parent / "shared" / "data" / "sp500_5yr"
OPTIONS = PriceOptions(
    columns={"id": "ticker", "sector": "gics_sector", "market_cap": "market_cap_usd"},
    source="S&P 500, five years of closes",
    create_instruments=FOLDER / "universe.csv",
    defaults={"country": "US"},
)
WITH_HOLES = {"DHR", "O", "ES", "ICE", "BMY", "ORCL"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of S&P 500 prices is not beside the project")


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
