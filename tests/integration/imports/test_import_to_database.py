"""Loads into a real database: what is kept, what is refused, and that nothing of a refused load stays."""

from __future__ import annotations

import argparse
import io
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from kernel.estimation.data_checks import Code
from server.imports.benchmarks import BenchmarkOptions, import_benchmark
from server.imports.commands import add_import_commands, run_import
from server.imports.exposures import ExposureOptions, import_exposures
from server.imports.factors import FactorOptions, import_factors
from server.imports.holdings import HoldingsOptions, import_holdings
from server.imports.instruments import import_instruments
from server.imports.portfolios import import_portfolio
from server.imports.prices import PriceOptions, import_prices
from server.imports.problems import ImportRefusedError
from server.imports.rows import TableOptions
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.errors import NotFound
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.model_data import ModelDataRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.tax_rules import TaxRuleRepository

INSTRUMENTS = "ticker,sector,cap\nKO,Consumer Staples,190\nAAPL,Information Technology,810\nXOM,Energy,326\n"
COLUMNS = {"id": "ticker", "market_cap": "cap"}
PRICES = "date,KO,AAPL\n2020-01-03,54,300\n2020-01-02,55,\n"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, max_connections=2) as database:
        yield database


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


async def with_instruments(database: Database, directory: Path) -> None:
    await import_instruments(database, written(directory, "universe.csv", INSTRUMENTS), TableOptions(COLUMNS))


async def is_empty(database: Database) -> bool:
    async with database.transaction() as connection:
        instruments = await InstrumentRepository(connection).page(1)
        return not instruments and not await PricingPackRepository(connection).page(1)


async def test_instruments_are_stored_and_replaced(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    text = "id,sector\nKO,Beverages\n"
    report = await import_instruments(database, written(tmp_path, "again.csv", text), TableOptions())
    assert report.lines()[0] == "instruments KO to KO: stored; again.csv, 1 rows, 1 sectors"
    async with database.transaction() as connection:
        coke, apple = await InstrumentRepository(connection).find(["KO", "AAPL"])
    assert (coke.sector, coke.source) == ("Beverages", "again.csv")
    assert (apple.market_cap, apple.source) == (Decimal(810), "universe.csv")


async def test_prices_become_a_pack_and_the_same_prices_the_same_pack(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    first = await import_prices(database, written(tmp_path, "wide.csv", PRICES), PriceOptions(source="the exchange"))
    text = "date,instrument_id,close\n2020-01-02,KO,55\n2020-01-03,AAPL,300\n2020-01-03,KO,54\n"
    again = await import_prices(database, written(tmp_path, "long.csv", text), PriceOptions())
    assert (first.created, again.created) == (True, False)
    assert first.identifier == again.identifier
    assert first.counts == {"instruments": 2, "days": 2, "prices": 3, "instruments created": 0}
    assert {(finding.instrument_id, finding.code) for finding in first.findings} >= {("AAPL", Code.LATE_START)}
    async with database.transaction() as connection:
        packs = PricingPackRepository(connection)
        assert (await packs.find(first.identifier)).source == "the exchange"
        table = await packs.read(first.identifier)
    assert table.instrument_ids == ("AAPL", "KO")
    np.testing.assert_array_equal(table.closes, [[np.nan, 55], [300, 54]])


async def test_prices_with_the_instruments_they_need(database: Database, tmp_path: Path) -> None:
    universe = written(tmp_path, "universe.csv", INSTRUMENTS)
    options = PriceOptions(columns=COLUMNS, create_instruments=universe, defaults={"country": "US"})
    report = await import_prices(database, written(tmp_path, "prices.csv", PRICES), options)
    assert report.counts["instruments created"] == 2
    async with database.transaction() as connection:
        stored = await InstrumentRepository(connection).page(10)
    assert [(instrument.id, instrument.country) for instrument in stored] == [("AAPL", "US"), ("KO", "US")]


async def test_nothing_is_kept_of_a_load_with_a_bad_row(database: Database, tmp_path: Path) -> None:
    universe = written(tmp_path, "universe.csv", INSTRUMENTS)
    options = PriceOptions(columns=COLUMNS, create_instruments=universe)
    with pytest.raises(ImportRefusedError, match="row 4, column AAPL: '-1' is not above 0"):
        await import_prices(database, written(tmp_path, "bad.csv", PRICES + "2020-01-06,54,-1\n"), options)
    with pytest.raises(ImportRefusedError, match="row 3, column id: 'KO' appears twice"):
        await import_instruments(database, written(tmp_path, "twice.csv", "id\nKO\nKO\n"), TableOptions())
    assert await is_empty(database)


async def test_nothing_is_kept_when_storing_fails(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: object) -> None:
        raise NotFound("pricing pack", "?")

    monkeypatch.setattr(PricingPackRepository, "store", fail)
    universe = written(tmp_path, "universe.csv", INSTRUMENTS)
    with pytest.raises(NotFound):
        await import_prices(
            database,
            written(tmp_path, "prices.csv", PRICES),
            PriceOptions(columns=COLUMNS, create_instruments=universe),
        )
    assert await is_empty(database)


async def test_prices_of_unknown_instruments(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match=r"row 1, column KO: is an unknown instrument\n.*AAPL"):
        await import_prices(database, written(tmp_path, "prices.csv", PRICES), PriceOptions())


async def test_a_portfolio_and_its_later_holdings(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    text = '{"id": "p", "name": "Mine", "cash": 10, "holdings": [{"instrument_id": "KO", "quantity": 5}]}'
    assert (await import_portfolio(database, written(tmp_path, "p.json", text))).identifier == "p"
    rows = "instrument_id,quantity,acquired_on,cost_per_share\nAAPL,3,2020-01-02,300.25\nCASH,7.5,,\n"
    await import_holdings(database, written(tmp_path, "h.csv", rows), HoldingsOptions(portfolio_id="p"))
    async with database.transaction() as connection:
        portfolio = await PortfolioRepository(connection).find("p")
    assert (portfolio.name, portfolio.cash) == ("Mine", Decimal("7.5"))
    assert [(holding.instrument_id, holding.quantity) for holding in portfolio.holdings] == [("AAPL", Decimal(3))]
    assert portfolio.lots[0].cost_per_share == Decimal("300.25")


async def test_holdings_of_a_portfolio_that_is_not_there(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    path = written(tmp_path, "h.csv", "instrument_id,quantity\nKO,5\n")
    with pytest.raises(NotFound, match="portfolio not found: new"):
        await import_holdings(database, path, HoldingsOptions(portfolio_id="new"))
    report = await import_holdings(database, path, HoldingsOptions(portfolio_id="new", create=True))
    assert report.counts == {"holdings": 1, "lots": 0}


async def test_a_benchmark_by_capitalisation(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    table = TableOptions({"instrument_id": "ticker", "weight": "cap"})
    options = BenchmarkOptions(id="b", index_instrument_id="XOM", normalize=True, table=table)
    await import_benchmark(database, tmp_path / "universe.csv", options)
    async with database.transaction() as connection:
        benchmark = await BenchmarkRepository(connection).find("b")
    assert float(benchmark.weights["KO"]) == pytest.approx(190 / 1326, abs=1e-10)
    assert benchmark.index_instrument_id == "XOM"
    options = BenchmarkOptions(id="c", index_instrument_id="XYZ", normalize=True, table=table)
    with pytest.raises(NotFound, match="XYZ"):
        await import_benchmark(database, tmp_path / "universe.csv", options)


async def test_factor_returns_become_a_set(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path, "factors.csv", "date,size,value\n2020-01-02,0.01,0\n2020-01-03,-0.02,0.005\n")
    first = await import_factors(database, path, FactorOptions())
    again = await import_factors(database, path, FactorOptions())
    assert (first.created, again.created, first.identifier) == (True, False, again.identifier)
    async with database.transaction() as connection:
        table = await FactorRepository(connection).read(first.identifier)
    assert table.factors == ("size", "value")
    assert table.returns.tolist() == [[0.01, 0], [-0.02, 0.005]]


async def test_exposures_become_a_set(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    path = written(tmp_path, "exposures.csv", "instrument_id,specific_volatility,size,value\nXOM,,0.5,-1\nKO,0.2,0,2\n")
    first = await import_exposures(database, path, ExposureOptions(date(2022, 12, 28)))
    again = await import_exposures(database, path, ExposureOptions(date(2022, 12, 28), source="another"))
    assert (first.created, again.created, first.identifier) == (True, False, again.identifier)
    assert first.lines() == (
        f"factor exposures {first.identifier}: stored; exposures.csv, 2 rows, 2 instruments, 2 factors",
    )
    async with database.transaction() as connection:
        found = await ModelDataRepository(connection).exposures(first.identifier)
    assert (found.factors, found.instrument_ids) == (("size", "value"), ("KO", "XOM"))
    assert found.B.tolist() == [[0.0, 2.0], [0.5, -1.0]]
    np.testing.assert_array_equal(found.specific, [0.2, np.nan])


async def test_exposures_of_an_unknown_instrument_leave_nothing(database: Database, tmp_path: Path) -> None:
    await with_instruments(database, tmp_path)
    path = written(tmp_path, "exposures.csv", "instrument_id,size\nKO,1\nGOLD,2\n")
    with pytest.raises(ImportRefusedError, match="row 3, column instrument_id: 'GOLD' is an unknown instrument"):
        await import_exposures(database, path, ExposureOptions(date(2022, 12, 28)))
    async with database.transaction() as connection:
        count = await (await connection.execute("SELECT count(*) FROM model_data")).fetchone()
    assert count == (0,)


async def test_the_commands_load_a_whole_account(database: Database, tmp_path: Path) -> None:
    files = {
        "universe.csv": INSTRUMENTS,
        "prices.csv": PRICES,
        "weights.csv": "instrument_id,weight\nKO,0.5\nAAPL,0.5\n",
        "p.json": '{"id": "p", "benchmark_id": "b"}',
        "h.csv": "instrument_id,quantity\nKO,5\n",
        "factors.csv": "date,size\n2020-01-02,0.01\n",
        "exposures.csv": "ticker,size\nKO,0.5\n",
    }
    for name, text in files.items():
        written(tmp_path, name, text)
    commands = (
        "instruments universe.csv --column id=ticker",
        "prices prices.csv",
        "benchmark weights.csv --id b",
        "portfolio p.json",
        "holdings h.csv --portfolio p",
        "factors factors.csv",
        "factor-exposures exposures.csv --as-of 2020-01-03 --column instrument_id=ticker --source desk",
    )
    parser = argparse.ArgumentParser()
    add_import_commands(parser.add_subparsers())
    output, errors = io.StringIO(), io.StringIO()
    for command in commands:
        noun, name, *options = command.split()
        arguments = parser.parse_args([noun, str(tmp_path / name), *options])
        assert await run_import(database, arguments, output, errors) == 0
    assert errors.getvalue() == ""
    assert "portfolio p: stored; h.csv, 1 rows, 1 holdings, 0 lots" in output.getvalue()


async def test_the_command_loads_tax_rules(database: Database, tmp_path: Path) -> None:
    header = "valid_from,long_term_months,wash_sale_days,yearly_loss_limit,separate_loss_limit"
    path = written(tmp_path, "rules.csv", f"{header}\n1978-01-01,12,30,3000,1500\n2030-01-01,24,60,5000,2500\n")
    parser = argparse.ArgumentParser()
    add_import_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["tax-rules", str(path), "--default", "jurisdiction=US"])
    output, errors = io.StringIO(), io.StringIO()
    assert await run_import(database, arguments, output, errors) == 0
    assert output.getvalue() == "tax rules US: stored; rules.csv, 2 rows\n"
    async with database.transaction() as connection:
        rules = await TaxRuleRepository(connection).find("US")
    assert [(rule.valid_from.year, rule.wash_sale_days) for rule in rules] == [(1978, 30), (1989, 30), (2030, 60)]
