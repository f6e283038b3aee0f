"""What services read beside whole records: filtered lists, newest first, last prices, places in the order of events."""

import asyncio

import numpy as np
import psycopg
import pytest
from psycopg import sql
from storage_examples import INSTRUMENTS, PORTFOLIO, prices

from storage.change_feed import EVENT_APPENDED, EVERY, ChangeFeed
from storage.database import Database
from storage.embedded import EmbeddedServer
from storage.events import EventRepository
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.migrate import load_migrations, migrate
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Cursor, Event, FactorTable, PriceTable
from tests.conftest import in_database

LONG, SHORT = 20.0, 0.05


def factors(level: float) -> FactorTable:
    return FactorTable(("value",), np.datetime64("2022-12-26") + np.arange(2), np.array([[level], [0.0]]))


async def test_instruments_are_filtered(filled: Database) -> None:
    bond, stock = INSTRUMENTS
    async with filled.transaction() as connection:
        instruments = InstrumentRepository(connection)
        assert await instruments.page(5, asset_class="bond") == (bond,)
        assert await instruments.page(5, sector="Energy") == (stock,)
        assert await instruments.page(5, asset_class="bond", sector="Energy") == ()
        assert await instruments.page(5, "BOND", sector="Energy") == (stock,)


async def test_packs_come_newest_first(filled: Database) -> None:
    tables = [prices(), PriceTable(("BOND",), prices().dates, [[1.0], [2.0], [3.0]])]
    packs = []
    for table in tables:
        async with filled.transaction() as connection:
            packs.append(await PricingPackRepository(connection).store(table, "by hand"))
    older, newer = packs
    async with filled.transaction() as connection:
        repository = PricingPackRepository(connection)
        assert await repository.newest(5) == (newer, older)
        assert await repository.newest(1) == (newer,)
        assert await repository.newest(5, Cursor(newer.created_at, newer.id)) == (older,)
        assert await repository.newest(5, instrument_id="STOCK") == (older,)


async def test_factor_sets_come_newest_first(database: Database) -> None:
    sets = []
    for level in (0.1, 0.2):
        async with database.transaction() as connection:
            sets.append(await FactorRepository(connection).store(factors(level), "by hand"))
    async with database.transaction() as connection:
        repository = FactorRepository(connection)
        assert await repository.newest(5) == tuple(sets[::-1])
        assert await repository.newest(5, Cursor(sets[1].created_at, sets[1].id)) == (sets[0],)


async def test_only_the_transaction_that_stores_has_something_new(filled: Database) -> None:
    for expected in (True, False):
        async with filled.transaction() as connection:
            packs, sets = PricingPackRepository(connection), FactorRepository(connection)
            pack, factor_set = await packs.store(prices(), "by hand"), await sets.store(factors(0.1), "by hand")
            assert await packs.is_new(pack.id) is expected
            assert await sets.is_new(factor_set.id) is expected


async def test_days_are_counted(filled: Database) -> None:
    async with filled.transaction() as connection:
        pack = await PricingPackRepository(connection).store(prices(4), "by hand")
        factor_set = await FactorRepository(connection).store(factors(0.1), "by hand")
    assert (pack.observations, pack.days) == (7, 4)
    assert (factor_set.observations, factor_set.days) == (2, 2)


async def test_days_of_what_was_stored_before_are_counted(postgres_server: EmbeddedServer, database_url: str) -> None:
    name = f"earlier_{database_url.rpartition('_')[2]}"
    steps = load_migrations()
    before = next(place for place, step in enumerate(steps) if step.name == "table_days")
    with psycopg.connect(postgres_server.connection_string, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        url = in_database(postgres_server.connection_string, name)
        await migrate(url, steps[:before])
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO pricing_packs (id, source, first_date, as_of, instrument_ids, observations) "
                "VALUES ('pp-1', '', '2022-12-27', '2022-12-28', '{A,B}', 3)"
            )
            connection.execute(
                "INSERT INTO prices (pack_number, instrument_number, day, close) "
                "VALUES (1, 1, '2022-12-27', 1), (1, 2, '2022-12-27', 1), (1, 1, '2022-12-28', 2)"
            )
        await migrate(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT days FROM pricing_packs").fetchone() == (2,)
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute("UPDATE pricing_packs SET days = 3")
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_last_prices(filled: Database) -> None:
    closes = [[1.0, 10.0], [2.0, np.nan]]
    table = PriceTable(("BOND", "STOCK"), np.datetime64("2022-12-26") + np.arange(2), closes)
    async with filled.transaction() as connection:
        packs = PricingPackRepository(connection)
        pack = await packs.store(table, "by hand")
        assert await packs.last_closes(pack.id, ["STOCK", "BOND", "NEW"]) == {"BOND": 2.0, "STOCK": 10.0}
        assert await packs.last_closes("pp-0", ["STOCK"]) == {}


async def test_events_of_some_types(filled: Database) -> None:
    async with filled.transaction() as connection:
        events = EventRepository(connection)
        assert await events.last_sequence() == 0
        first, second = [await events.append(Event(portfolio_id=PORTFOLIO.id, type=name)) for name in "ab"]
        assert await events.after(0, 5, types=["b", "c"]) == (second,)
        assert await events.after(0, 5, PORTFOLIO.id, ["a"]) == (first,)
        assert await events.after(0, 5, "other", ["a"]) == ()
        assert await events.last_sequence() == second.sequence


async def test_whoever_follows_every_portfolio_is_woken(filled: Database, database_url: str) -> None:
    async with ChangeFeed(database_url, EVENT_APPENDED) as feed, feed.subscribe(EVERY) as subscription:
        await subscription.wait(SHORT)
        async with filled.transaction() as connection:
            await EventRepository(connection).append(Event(portfolio_id=PORTFOLIO.id, type="drifted"))
        assert await subscription.wait(LONG)


async def test_a_locked_portfolio_waits_for_its_change(filled: Database) -> None:
    async def change() -> None:
        async with filled.transaction() as other:
            assert await PortfolioRepository(other).lock(PORTFOLIO.id)

    async with filled.transaction() as connection:
        assert await PortfolioRepository(connection).lock(PORTFOLIO.id)
        assert not await PortfolioRepository(connection).lock("nobody")
        waiting = asyncio.create_task(change())
        await asyncio.sleep(SHORT)
        assert not waiting.done()
    await waiting
