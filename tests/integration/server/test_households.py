"""Households in storage: what the engine makes of them comes back as it was, step by step."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kernel.rebalancing.household import Household, IdenticalInstruments, SettledSale
from kernel.rebalancing.tax import NetGains
from kernel.rebalancing.tax_years import TaxYear
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from server.application import Application
from server.convert.accounts import with_figures
from server.errors import NotReady
from server.households import LoadedHousehold, load_household, store_household
from storage.database import Connection, Database
from storage.errors import NotFound
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import Holding, Instrument, Portfolio, TaxLot, Transaction
from storage.transactions import TransactionRepository

NAMES = ("AAPL", "KO", "XOM")
START = date(2026, 1, 5)
HOME = {"household_id": "home"}
RETIREMENT = {"household_id": "home", "account_type": "ACCOUNT_TYPE_TAX_DEFERRED"}


def account(portfolio_id: str, *lots: TaxLot, kind: dict[str, str] | None = None) -> Portfolio:
    sums: dict[str, Decimal] = {}
    for lot in lots:
        sums[lot.instrument_id] = sums.get(lot.instrument_id, Decimal(0)) + lot.quantity
    holdings = tuple(Holding(name, quantity) for name, quantity in sums.items())
    return Portfolio(
        id=portfolio_id, name=portfolio_id, account=HOME if kind is None else kind, holdings=holdings, lots=lots
    )


def lot(lot_id: str, quantity: int, cost: int, day: date = START, name: str = "AAPL") -> TaxLot:
    return TaxLot(
        id=lot_id, instrument_id=name, quantity=Decimal(quantity), acquired_on=day, cost_per_share=Decimal(cost)
    )


@pytest.fixture
async def home(application: Application) -> Database:
    """Three accounts of a household, one for retirement, without anything in them; AAPL and KO are identical."""
    async with application.database.transaction() as connection:
        instruments = [Instrument(id=name, name=name, asset_class="equity", sector="") for name in NAMES]
        await InstrumentRepository(connection).put(instruments)
        await IdenticalInstrumentRepository(connection).replace("KO", ["AAPL"])
        for portfolio in (account("a"), account("b"), account("ira", kind=RETIREMENT), account("z", kind={})):
            await PortfolioRepository(connection).put(portfolio)
    return application.database


class Books:
    """Trades entered into storage one by one, and beside it into a household that never leaves memory."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.memory: Household | None = None
        self.count = self.matched = 0

    async def load(self, connection: Connection, day: date) -> LoadedHousehold:
        await PortfolioRepository(connection).lock_household("a")
        loaded = await load_household(connection, "a", day)
        if self.memory is None:
            identical = IdenticalInstruments.of_pairs([("AAPL", "KO")])
            self.memory = replace(loaded.household, identical=identical)
        return loaded

    async def sell(self, sale: AccountSale) -> None:
        async with self.database.transaction() as connection:
            loaded = await self.load(connection, sale.sold_on)
            assert self.memory is not None
            after, settled = record_sale(loaded.household, sale, loaded.rules, loaded.policies)
            self.memory, wanted = record_sale(self.memory, sale, loaded.rules, loaded.policies)
            assert settled == wanted
            rows = [transaction(part, sale.price) for part in settled]
            await TransactionRepository(connection).append(rows)
            matches = [match for part in settled for match in part.matches]
            await store_household(connection, loaded, after, matches)
            self.matched += len(matches)

    async def buy(self, bought: AccountPurchase) -> None:
        async with self.database.transaction() as connection:
            loaded = await self.load(connection, bought.acquired_on)
            assert self.memory is not None
            after, matches = record_purchase(loaded.household, bought, loaded.rules, loaded.policies)
            self.memory, wanted = record_purchase(self.memory, bought, loaded.rules, loaded.policies)
            assert matches == wanted
            row = Transaction(
                portfolio_id=bought.account_id,
                id=bought.lot_id,
                instrument_id=bought.instrument_id,
                action="buy",
                quantity=bought.quantity,
                price=bought.unit_cost,
                traded_on=bought.acquired_on,
                lot_id=bought.lot_id,
                rebalance_id=None,
            )
            await TransactionRepository(connection).append([row])
            await store_household(connection, loaded, after, matches)
            self.matched += len(matches)

    async def trade(self, chance: random.Random, day: date) -> None:
        self.count += 1
        assert self.memory is not None
        name, where = chance.choice(NAMES), chance.choice(("a", "b", "ira"))
        price = Decimal(chance.randint(800, 1200)) / 10
        lots = self.memory.lots_of(where, name)
        if lots and chance.random() < 0.5:
            source = chance.choice(lots)
            quantity = Decimal(chance.randint(1, int(source.quantity)))
            parts = ((source.lot_id, quantity),)
            await self.sell(AccountSale(where, f"s{self.count}", name, parts, price, day))
        else:
            await self.buy(AccountPurchase(where, f"b{self.count}", name, Decimal(chance.randint(1, 9)), price, day))

    async def compare(self, day: date) -> None:
        """Lots, and the losses that still matter, are those in memory."""
        assert self.memory is not None
        async with self.database.transaction() as connection:
            loaded = await load_household(connection, "a", day)
            portfolios = await PortfolioRepository(connection).find_all(["a", "b", "ira"])
        held = {(h.account_id, h.instrument_id, h.lot) for h in self.memory.lots}
        assert {(h.account_id, h.instrument_id, h.lot) for h in loaded.household.lots} == held
        near = timedelta(days=30)
        open_now = {loss for loss in self.memory.losses if day - loss.sold_on <= near}
        assert {loss for loss in loaded.household.losses if day - loss.sold_on <= near} == open_now
        for portfolio in portfolios:
            sums: dict[str, Decimal] = {}
            for each in portfolio.lots:
                sums[each.instrument_id] = sums.get(each.instrument_id, Decimal(0)) + each.quantity
            assert sums == {holding.instrument_id: holding.quantity for holding in portfolio.holdings}


def transaction(part: SettledSale, price: Decimal) -> Transaction:
    return Transaction(
        portfolio_id=part.account_id,
        id=part.sale_id,
        instrument_id=part.instrument_id,
        action="sell",
        quantity=part.quantity,
        price=price,
        traded_on=part.sold_on,
        lot_id=part.lot_id,
        acquired_on=part.acquired_on,
        held_since=part.held_since,
        gain=part.gain,
        rebalance_id=None,
    )


@pytest.mark.parametrize("seed", range(1, 13))
async def test_storage_changes_nothing_of_what_the_engine_knows(home: Database, seed: int) -> None:
    chance, books, day = random.Random(seed), Books(home), START
    async with home.transaction() as connection:
        await books.load(connection, day)
    for _ in range(25):
        day += timedelta(days=chance.randint(0, 6))
        await books.trade(chance, day)
        await books.compare(day)
    assert books.matched


async def test_a_household_is_all_its_accounts(home: Database) -> None:
    async with home.transaction() as connection:
        loaded = await load_household(connection, "b", START)
        alone = await load_household(connection, "z", START)
        with pytest.raises(NotFound):
            await load_household(connection, "nobody", START)
    accounts = {found.account_id: found.retirement for found in loaded.household.accounts}
    assert accounts == {"a": False, "b": False, "ira": True}
    assert [found.account_id for found in alone.household.accounts] == ["z"]


async def test_what_is_not_known_stays_unknown(home: Database) -> None:
    """Half of a lot without date and cost is sold, and a lot with a cost of zero is none of unknown cost."""
    unknown = TaxLot(id="x", instrument_id="XOM", quantity=Decimal(10))
    free = replace(lot("free", 10, 0, name="XOM"), cost_per_share=Decimal(0))
    books = Books(home)
    async with home.transaction() as connection:
        await PortfolioRepository(connection).put(account("a", unknown, free))
    await books.sell(AccountSale("a", "s", "XOM", (("x", Decimal(4)),), Decimal(5), START))
    await books.sell(AccountSale("a", "t", "XOM", (("free", Decimal(4)),), Decimal(5), START))
    async with home.transaction() as connection:
        stored = await PortfolioRepository(connection).find("a")
    assert {each.id: each for each in stored.lots} == {
        "x": replace(unknown, quantity=Decimal(6)),
        "free": replace(free, quantity=Decimal(6)),
    }


async def test_a_purchase_of_what_is_held_without_lots(home: Database) -> None:
    plain = replace(account("a"), holdings=(Holding("XOM", Decimal(7)), Holding("KO", Decimal(-2))))
    async with home.transaction() as connection:
        await PortfolioRepository(connection).put(plain)
    await Books(home).buy(AccountPurchase("a", "new", "XOM", Decimal(3), Decimal(5), START))
    async with home.transaction() as connection:
        stored = await PortfolioRepository(connection).find("a")
    assert {holding.instrument_id: holding.quantity for holding in stored.holdings} == {"XOM": 10, "KO": -2}
    lots = {each.quantity: (each.acquired_on, each.cost_per_share) for each in stored.lots}
    assert lots == {Decimal(3): (START, Decimal(5)), Decimal(7): (None, None)}


async def test_accounts_that_did_not_change_are_not_written(home: Database) -> None:
    async with home.transaction() as connection:
        before = await PortfolioRepository(connection).find_all(["a", "b", "ira"])
    await Books(home).buy(AccountPurchase("b", "new", "XOM", Decimal(3), Decimal(5), START))
    async with home.transaction() as connection:
        after = await PortfolioRepository(connection).find_all(["a", "b", "ira"])
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


async def test_writers_of_one_household_wait_for_each_other(home: Database) -> None:
    """Each locks the whole household, whichever account it begins with, so that none waits for ever."""

    async def work(portfolio_id: str) -> int:
        async with home.transaction() as connection:
            repository = PortfolioRepository(connection)
            members = await repository.lock_household(portfolio_id)
            stored = await repository.find(portfolio_id)
            await asyncio.sleep(0)
            await repository.put(replace(stored, cash=stored.cash + 1))
            return len(members)

    assert await asyncio.gather(*(work(name) for name in ("a", "b", "ira") * 5)) == [3] * 15
    async with home.transaction() as connection:
        assert [p.cash for p in await PortfolioRepository(connection).find_all(["a", "b", "ira"])] == [5, 5, 5]


def test_figures_of_a_year_take_the_place_of_others() -> None:
    """All other settings stay, and amounts of nothing are left out."""
    rates = {"ordinary_rate": 0.3, "realized_long_term_amount": "9", "carried_short_term_loss_amount": "5"}
    figures = TaxYear(2026, NetGains(Decimal("1.10"), Decimal(-2)), NetGains(Decimal(0), Decimal("-7.5")))
    once = with_figures({"margin_enabled": True, "tax": rates}, figures)
    assert once == {
        "margin_enabled": True,
        "tax": {
            "ordinary_rate": 0.3,
            "realized_short_term_amount": "1.10",
            "realized_long_term_amount": "-2",
            "carried_long_term_loss_amount": "7.5",
            "realized_year": 2026,
        },
    }
    assert with_figures({}, TaxYear(2027)) == {"tax": {"realized_year": 2027}}


async def test_a_household_has_one_currency(home: Database) -> None:
    async with home.transaction() as connection:
        await PortfolioRepository(connection).put(replace(account("b"), base_currency="EUR"))
        with pytest.raises(NotReady) as caught:
            await load_household(connection, "a", START)
        assert "portfolio a is in USD, portfolio b in EUR" in str(caught.value)
        assert (await load_household(connection, "z", START)).portfolios[0].base_currency == "USD"


async def test_what_is_not_known_of_a_lot_with_a_long_id_is_not_known_of_its_parts(home: Database) -> None:
    """A loss of 4 shares splits 4 off a lot of unknown cost whose id has 36 characters."""
    lot_id, books = "00000000-0000-4000-8000-000000000007", Books(home)
    unknown = replace(lot(lot_id, 10, 1, START, "XOM"), cost_per_share=None)
    async with home.transaction() as connection:
        await PortfolioRepository(connection).put(account("a", lot("old", 4, 90, date(2020, 1, 2), "XOM"), unknown))
    await books.sell(AccountSale("a", "s", "XOM", (("old", Decimal(4)),), Decimal(5), START))
    async with home.transaction() as connection:
        stored = await PortfolioRepository(connection).find("a")
    found = {each.quantity: (each.replaced_loss, each.cost_per_share) for each in stored.lots}
    assert found == {Decimal(4): (True, None), Decimal(6): (False, None)}
    assert books.matched == 1


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_purchase_after_the_day_of_the_prices_counts_once(home: Database, *, recorded: bool) -> None:
    """10 shares sold at a loss, 4 bought after the prices of the plan: 6 are open, recorded or not."""
    day, newer = START + timedelta(days=2), START + timedelta(days=4)
    own = account("a", lot("new", 4, 9, newer, "XOM"))
    rows = [loss_row(day)]
    if recorded:
        rows.append(replace(loss_row(newer), id="b", action="buy", quantity=Decimal(4), gain=None, acquired_on=None))
    async with home.transaction() as connection:
        await PortfolioRepository(connection).put(own)
        await TransactionRepository(connection).append(rows)
        loaded = await load_household(connection, "a", day, own)
    assert [loss.quantity for loss in loaded.household.losses] == [6]


def loss_row(day: date) -> Transaction:
    return Transaction(
        portfolio_id="a",
        id="s",
        instrument_id="XOM",
        action="sell",
        quantity=Decimal(10),
        price=Decimal(5),
        traded_on=day,
        acquired_on=date(2024, 1, 2),
        gain=Decimal(-90),
        rebalance_id=None,
    )
