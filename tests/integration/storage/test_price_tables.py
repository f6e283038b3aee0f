"""Pricing packs and factor sets: addressed by content, immutable, and the same numbers to the bit."""

import asyncio
from datetime import date

import numpy as np
import pytest
from storage_examples import prices

from storage.column_repository import Window
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import FactorTable, Instrument, PriceTable


def returns() -> FactorTable:
    """Two factors in an order of their own, one of which has a gap."""
    values = np.array([[0.01, -0.02], [np.nan, 0.0], [1e-300, 0.1 + 0.2]])
    return FactorTable(("value", "momentum"), np.datetime64("2022-12-26") + np.arange(3), values)


async def test_a_pack_says_what_is_in_it(filled: Database):
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(), "by hand")
    assert pack.id == prices().content_id
    assert (pack.first_date, pack.as_of) == (date(2022, 12, 26), date(2022, 12, 28))
    assert (pack.instrument_ids, pack.observations, pack.source) == (("BOND", "STOCK"), 5, "by hand")


async def test_prices_come_back_to_the_bit(filled: Database):
    async with filled.transaction() as connection:
        packs = PricingPackRepository(connection)
        pack = await packs.store(prices(), "by hand")
        everything = await packs.read(pack.id)
        as_asked = await packs.read(pack.id, ["STOCK", "BOND"])
    assert everything.content_id == pack.id
    np.testing.assert_array_equal(as_asked.closes, prices().closes)
    np.testing.assert_array_equal(as_asked.dates, prices().dates)


async def test_prices_of_a_window(filled: Database):
    async with filled.transaction() as connection:
        packs = PricingPackRepository(connection)
        pack = await packs.store(prices(10), "by hand")
        table = await packs.read(pack.id, ["STOCK"], Window(date(2022, 12, 28), date(2022, 12, 30)))
        with pytest.raises(NotFound, match="STOCK"):
            await packs.read(pack.id, ["STOCK"], Window(last=date(2022, 12, 26)))
    np.testing.assert_array_equal(table.closes[:, 0], [5.0, 7.0, 9.0])


async def test_a_large_table_comes_back_whole(database: Database):
    """More values than one chunk holds, with gaps of all sizes."""
    names = tuple(f"N{place:03d}" for place in range(150))
    closes = np.random.default_rng(1).lognormal(size=(1000, 150))
    closes[np.random.default_rng(2).random(closes.shape) < 0.1] = np.nan
    table = PriceTable(names, np.datetime64("2019-06-01") + np.arange(1000), closes)
    async with database.transaction() as connection:
        instruments = [Instrument(id=name, name=name, asset_class="equity", sector="") for name in names]
        await InstrumentRepository(connection).put(instruments)
        packs = PricingPackRepository(connection)
        pack = await packs.store(table, "random")
        assert pack.observations == table.observations
        np.testing.assert_array_equal((await packs.read(pack.id)).closes, closes)


async def test_the_same_prices_are_the_same_pack(filled: Database):
    turned = PriceTable(("BOND", "STOCK"), prices().dates, prices().closes[:, ::-1])
    async with filled.transaction() as connection:
        first = await PricingPackRepository(connection).store(prices(), "first")
    async with filled.transaction() as connection:
        assert await PricingPackRepository(connection).store(turned, "second") == first
        rows = await (await connection.execute("SELECT count(*) FROM prices")).fetchone()
    assert rows == (5,)


async def test_of_concurrent_loads_one_writes(filled: Database):
    async def store(source: str) -> str:
        async with filled.transaction() as connection:
            return (await PricingPackRepository(connection).store(prices(), source)).source

    assert len(set(await asyncio.gather(*(store(str(place)) for place in range(4))))) == 1


async def test_packs_are_found(filled: Database):
    async with filled.transaction() as connection:
        packs = PricingPackRepository(connection)
        with pytest.raises(NotFound):
            await packs.latest()
        long, short = await packs.store(prices(5), "a"), await packs.store(prices(3), "b")
        only_stock = PriceTable(("STOCK",), prices(9).dates, prices(9).closes[:, :1])
        newest = await packs.store(only_stock, "c")
        assert await packs.latest() == newest
        assert await packs.latest(["STOCK", "BOND"]) == long
        assert set(await packs.page(10)) == {long, short, newest}
        assert await packs.page(1, after=sorted([long.id, short.id, newest.id])[0]) != ()
        for search in (
            packs.find("pp-none"),
            packs.latest(["GOLD"]),
            packs.read("pp-none"),
            packs.read(long.id, ["GOLD"]),
        ):
            with pytest.raises(NotFound):
                await search


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (PriceTable(("STOCK",), np.array(["2022-12-28"], "M8[D]"), np.array([[np.nan]])), Conflict),
        (PriceTable(("STOCK",), np.array(["2022-12-28"], "M8[D]"), np.array([[np.inf]])), Conflict),
        (PriceTable(("GOLD",), np.array(["2022-12-28"], "M8[D]"), np.array([[1.0]])), NotFound),
    ],
)
async def test_a_pack_that_is_refused_leaves_nothing(filled: Database, table: PriceTable, expected: type[Exception]):
    with pytest.raises(expected):
        async with filled.transaction() as connection:
            await PricingPackRepository(connection).store(table, "by hand")
    async with filled.transaction() as connection:
        assert await PricingPackRepository(connection).page(1) == ()


CHANGES = [
    "UPDATE pricing_packs SET source = 'x'",
    "DELETE FROM pricing_packs",
    "UPDATE prices SET close = 1",
    "DELETE FROM prices",
    "TRUNCATE prices",
    "INSERT INTO prices SELECT number, 1, '2000-01-01', 1 FROM pricing_packs",
    "INSERT INTO prices VALUES (1000, 1, '2000-01-01', 1)",
    "UPDATE factor_sets SET source = 'x'",
    "DELETE FROM factor_sets",
    "UPDATE factor_returns SET simple_return = 1",
    "DELETE FROM factor_returns",
    "TRUNCATE factor_returns",
    "INSERT INTO factor_returns SELECT number, 1, '2000-01-01', 1 FROM factor_sets",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_stored_never_changes(filled: Database, change: str):
    async with filled.transaction() as connection:
        await PricingPackRepository(connection).store(prices(), "by hand")
        await FactorRepository(connection).store(returns(), "by hand")
    with pytest.raises(Conflict, match="immutable"):
        async with filled.transaction() as connection:
            await connection.execute(change)


async def test_factor_returns_come_back_to_the_bit(database: Database):
    async with database.transaction() as connection:
        factors = FactorRepository(connection)
        stored = await factors.store(returns(), "by hand")
        assert stored.id == returns().content_id
        assert (stored.factors, stored.observations) == (("value", "momentum"), 5)
        table = await factors.read(stored.id)
        assert (table.factors, table.content_id) == (stored.factors, stored.id)
        np.testing.assert_array_equal(table.returns, returns().returns)
        one = await factors.read(stored.id, ["momentum"], Window(last=date(2022, 12, 27)))
        np.testing.assert_array_equal(one.returns, [[-0.02], [0.0]])


async def test_factor_sets_are_found(database: Database):
    async with database.transaction() as connection:
        factors = FactorRepository(connection)
        stored = await factors.store(returns(), "first")
        assert await factors.store(returns(), "second") == stored
        assert await factors.latest(["momentum"]) == stored
        assert await factors.page(10) == (stored,)
        for search in (factors.find("fs-none"), factors.latest(["size"]), factors.read(stored.id, ["size"])):
            with pytest.raises(NotFound):
                await search


@pytest.mark.parametrize("values", [[[np.nan, 1.0]], [[np.nan, np.nan]], [[np.inf, 1.0]]])
async def test_factors_without_returns_are_refused(database: Database, values: list[list[float]]):
    table = FactorTable(("value", "momentum"), np.array(["2022-12-28"], "M8[D]"), np.array(values))
    with pytest.raises(Conflict):
        async with database.transaction() as connection:
            await FactorRepository(connection).store(table, "by hand")
