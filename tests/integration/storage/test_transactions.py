"""Transactions and tax rules in storage: appended for good, found by their days."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from storage_examples import BENCHMARK, INSTRUMENTS, PORTFOLIO

from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import TaxRule, Transaction, TransactionPlace, WashSaleRecord
from storage.tax_rules import TaxRuleRepository
from storage.transactions import TransactionRepository

FIRST = Transaction(
    portfolio_id="savings",
    id="t1",
    instrument_id="STOCK",
    action="sell",
    quantity=Decimal("1.5"),
    price=Decimal("99.999999999"),
    traded_on=date(2022, 12, 5),
    cost=Decimal("0.01"),
    lot_id="lot-1",
    acquired_on=date(2021, 3, 1),
    held_since=date(2021, 2, 1),
    gain=Decimal("-0.07"),
)
SECOND = replace(FIRST, id="t2", action="buy", lot_id=None, acquired_on=None, held_since=None, gain=None)
EARLIER = replace(SECOND, id="t3", traded_on=date(2022, 12, 1))


@pytest.fixture
async def filled(database: Database) -> Database:
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(INSTRUMENTS)
        await BenchmarkRepository(connection).put(BENCHMARK)
        await PortfolioRepository(connection).put(PORTFOLIO)
        assert await TransactionRepository(connection).append([FIRST, SECOND, EARLIER]) == 3
    return database


async def test_what_was_appended_is_found(filled: Database) -> None:
    async with filled.transaction() as connection:
        repository = TransactionRepository(connection)
        page = await repository.page("savings", 10)
        assert [replace(row, sequence=0) for row in page] == [EARLIER, FIRST, SECOND]
        place = TransactionPlace(page[1].traded_on, page[1].sequence)
        assert await repository.page("savings", 10, place) == page[2:]
        assert await repository.page("savings", 10, from_date=date(2022, 12, 2)) == page[1:]
        assert await repository.between(["savings"], date(2022, 12, 1), date(2022, 12, 4)) == page[:1]
        assert await repository.between(["other"], date(2022, 12, 1), date(2022, 12, 31)) == ()


async def test_the_same_again_is_nothing_new(filled: Database) -> None:
    async with filled.transaction() as connection:
        assert await TransactionRepository(connection).append([SECOND, FIRST, replace(FIRST, id="t4")]) == 1


async def test_something_else_is_a_conflict(filled: Database) -> None:
    with pytest.raises(Conflict, match=r"transaction t2 of portfolio savings is known with price 99\.999999999, not 1"):
        async with filled.transaction() as connection:
            await TransactionRepository(connection).append([FIRST, replace(SECOND, price=Decimal(1))])


@pytest.mark.parametrize("table", ["portfolio_transactions", "wash_matches"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET quantity = 7", "TRUNCATE {} CASCADE"])
async def test_nothing_changes_later(filled: Database, table: str, change: str) -> None:
    with pytest.raises(Conflict, match="immutable"):
        async with filled.transaction() as connection:
            await connection.execute(change.format(table).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FIRST, id="x", portfolio_id="nobody"),
        replace(FIRST, id="x", instrument_id="NOTHING"),
        replace(FIRST, id="x", rebalance_id="no-plan"),
    ],
)
async def test_what_they_refer_to_exists(filled: Database, wrong: Transaction) -> None:
    with pytest.raises(NotFound):
        async with filled.transaction() as connection:
            await TransactionRepository(connection).append([wrong])


@pytest.mark.parametrize(
    "changes",
    [{"quantity": Decimal(0)}, {"price": Decimal("NaN")}, {"cost": Decimal(-1)}, {"action": "hold"}],
)
async def test_impossible_numbers_are_refused(filled: Database, changes: dict[str, object]) -> None:
    with pytest.raises(Conflict):
        async with filled.transaction() as connection:
            await TransactionRepository(connection).append([replace(FIRST, id="x", **changes)])


async def test_settled_wash_sales_are_found_by_the_day_of_the_sale(filled: Database) -> None:
    match = WashSaleRecord(
        portfolio_id="savings",
        sale_id="t1",
        replacement_portfolio_id="savings",
        replacement_lot_id="lot-3",
        quantity=Decimal("0.5"),
    )
    async with filled.transaction() as connection:
        repository = TransactionRepository(connection)
        await repository.append_matches([match])
        assert await repository.matches(["savings"], date(2022, 12, 5), date(2022, 12, 5)) == (match,)
        assert await repository.matches(["savings"], date(2022, 12, 6), date(2022, 12, 7)) == ()
    with pytest.raises(NotFound):
        async with filled.transaction() as connection:
            await TransactionRepository(connection).append_matches([replace(match, sale_id="nothing")])


async def test_identical_instruments_are_pairs(filled: Database) -> None:
    async with filled.transaction() as connection:
        repository = IdenticalInstrumentRepository(connection)
        await repository.replace("STOCK", ["BOND"])
        assert await repository.pairs(["STOCK"]) == await repository.pairs(["BOND", "STOCK"]) == (("BOND", "STOCK"),)
        assert await repository.of("BOND") == ("STOCK",)
        with pytest.raises(NotFound, match="NEW"):
            await repository.replace("STOCK", ["BOND", "NEW"])
        await repository.replace("BOND", [])
        assert await repository.pairs(["STOCK"]) == ()


async def test_rules_are_replaced_by_their_first_day(filled: Database) -> None:
    rule = TaxRule(
        jurisdiction="XX",
        valid_from=date(2020, 1, 1),
        long_term_months=24,
        wash_sale_days=60,
        yearly_loss_limit=Decimal("1.5"),
        separate_loss_limit=Decimal(0),
        source="nowhere",
    )
    earlier, other = replace(rule, valid_from=date(2010, 1, 1)), replace(rule, long_term_months=6)
    async with filled.transaction() as connection:
        repository = TaxRuleRepository(connection)
        await repository.put([rule, earlier])
        assert await repository.find("XX") == (earlier, rule)
        await repository.put([other])
        assert await repository.find("XX") == (earlier, other)
        with pytest.raises(NotFound, match="YY"):
            await repository.find("YY")
