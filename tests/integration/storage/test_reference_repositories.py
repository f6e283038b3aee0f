"""Instruments, benchmarks and portfolios: what goes in comes out, and what contradicts itself stays out."""

from dataclasses import replace
from decimal import Decimal

import pytest
from storage_examples import BENCHMARK, INSTRUMENTS, PORTFOLIO

from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import Holding, Portfolio, TaxLot


async def test_instruments_come_back_as_they_were_in_the_order_asked_for(filled: Database):
    async with filled.transaction() as connection:
        assert await InstrumentRepository(connection).find(["STOCK", "BOND"]) == INSTRUMENTS[::-1]


async def test_an_instrument_is_replaced_and_keeps_its_number(filled: Database):
    renamed = replace(INSTRUMENTS[0], name="Renamed", status="delisted")
    async with filled.transaction() as connection:
        instruments = InstrumentRepository(connection)
        before = await instruments.numbers(["BOND", "STOCK"])
        await instruments.put([renamed])
        assert await instruments.find(["BOND"]) == (renamed,)
        assert await instruments.numbers(["BOND", "STOCK"]) == before


async def test_all_missing_instruments_are_named(filled: Database):
    async with filled.transaction() as connection:
        instruments = InstrumentRepository(connection)
        assert await instruments.missing(["B", "STOCK", "A"]) == ("B", "A")
        for ask in (instruments.find, instruments.numbers, instruments.require):
            with pytest.raises(NotFound) as caught:
                await ask(["B", "STOCK", "A"])
            assert (caught.value.noun, caught.value.identifiers) == ("instrument", ("B", "A"))


async def test_instruments_are_listed_page_by_page(filled: Database):
    async with filled.transaction() as connection:
        instruments = InstrumentRepository(connection)
        assert await instruments.page(1) == INSTRUMENTS[:1]
        assert await instruments.page(5, after="BOND") == INSTRUMENTS[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"lot_size": Decimal(0)},
        {"market_cap": Decimal("NaN")},
        {"quality_score": Decimal("Infinity")},
        {"status": "unknown"},
        {"id": "x" * 37},
        {"name": "a\0b"},
    ],
)
async def test_an_impossible_instrument_is_a_conflict(database: Database, change: dict[str, object]):
    with pytest.raises(Conflict):
        async with database.transaction() as connection:
            await InstrumentRepository(connection).put([replace(INSTRUMENTS[0], **change)])


async def test_a_benchmark_is_replaced_with_its_weights(filled: Database):
    smaller = replace(BENCHMARK, weights={"STOCK": Decimal(1)}, index_instrument_id=None)
    async with filled.transaction() as connection:
        benchmarks = BenchmarkRepository(connection)
        assert await benchmarks.find(BENCHMARK.id) == BENCHMARK
        await benchmarks.put(smaller)
        assert await benchmarks.page(10) == (smaller,)


async def test_a_benchmark_of_unknown_instruments_is_refused(filled: Database):
    unknown = replace(BENCHMARK, weights={"X": Decimal(1)}, index_instrument_id="Y")
    with pytest.raises(NotFound, match="instrument not found: X, Y"):
        async with filled.transaction() as connection:
            await BenchmarkRepository(connection).put(unknown)


async def test_a_portfolio_comes_back_as_it_was(filled: Database):
    async with filled.transaction() as connection:
        portfolios = PortfolioRepository(connection)
        assert await portfolios.find(PORTFOLIO.id) == PORTFOLIO
        assert await portfolios.page(1) == (PORTFOLIO,)
        assert await portfolios.page(1, after=PORTFOLIO.id) == ()


async def test_a_portfolio_is_replaced_as_a_whole(filled: Database):
    emptied = Portfolio(id=PORTFOLIO.id, name="Emptied", cash=Decimal("0.01"))
    async with filled.transaction() as connection:
        await PortfolioRepository(connection).put(emptied)
    async with filled.transaction() as connection:
        assert await PortfolioRepository(connection).find(PORTFOLIO.id) == emptied


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"holdings": (Holding("BOND", Decimal(1)),) * 2, "lots": ()}, "holds BOND more than once"),
        ({"lots": PORTFOLIO.lots[:1]}, "STOCK has 30 in holdings and 10 in lots"),
        (
            {"lots": (*PORTFOLIO.lots, TaxLot(id="lot-3", instrument_id="GOLD", quantity=Decimal(1)))},
            "GOLD has 0 in holdings and 1 in lots",
        ),
        ({"lots": PORTFOLIO.lots[:1] * 3}, "duplicate key"),
    ],
)
async def test_a_contradictory_portfolio_is_refused_and_nothing_is_kept(
    filled: Database, change: dict[str, object], complaint: str
):
    with pytest.raises(Conflict, match=complaint):
        async with filled.transaction() as connection:
            await PortfolioRepository(connection).put(replace(PORTFOLIO, **change))
    async with filled.transaction() as connection:
        assert await PortfolioRepository(connection).find(PORTFOLIO.id) == PORTFOLIO


@pytest.mark.parametrize("change", [{"benchmark_id": "none"}, {"holdings": (Holding("GOLD", Decimal(1)),), "lots": ()}])
async def test_a_portfolio_refers_to_what_exists(filled: Database, change: dict[str, object]):
    with pytest.raises(NotFound):
        async with filled.transaction() as connection:
            await PortfolioRepository(connection).put(replace(PORTFOLIO, **change))


@pytest.mark.parametrize("repository", [PortfolioRepository, BenchmarkRepository])
async def test_what_is_not_there_is_named(database: Database, repository: type):
    async with database.transaction() as connection:
        with pytest.raises(NotFound, match="not found: nothing"):
            await repository(connection).find("nothing")
