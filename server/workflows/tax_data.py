"""Storing and finding what taxes look at beside portfolios: transactions, identical instruments, rules."""

from __future__ import annotations

import asyncio
from datetime import date

from portfolio_optimization.v1 import taxes_pb2 as pb

from server.convert.faults import checked
from server.convert.transactions import read_identical, read_transactions
from server.errors import InvalidRequest
from server.outside_purchases import OutsideWashSales, settle_purchases
from server.settings import Settings
from server.workflows.reference_data import unknown_instruments
from storage.database import Database
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import TaxRule, Transaction, TransactionPlace
from storage.tax_rules import TaxRuleRepository
from storage.transactions import TransactionRepository


class TaxDataWorkflow:
    """What happened in portfolios, and what the tax law says."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def record(self, message: pb.RecordTransactionsRequest) -> tuple[int, OutsideWashSales]:
        """Check and keep transactions, all or none; those that are known already are left alone.

        Returns:
            How many are new, and what they mean for losses of executed plans.

        Raises:
            InvalidRequest: With every fault.
            NotReady: The settings of an account of the household are not what the contract says.
            NotFound: There is no portfolio of this id.
            Conflict: One is known and says something else.
        """
        transactions = await asyncio.to_thread(checked, read_transactions, message, self._settings)
        async with self._database.transaction() as connection:
            # Executions of the household's plans look at transactions, so both wait for each other.
            await PortfolioRepository(connection).lock_household(message.portfolio_id)
            names = [row.instrument_id for row in transactions]
            if faults := await unknown_instruments(connection, "transactions", names):
                raise InvalidRequest(faults)
            new = await TransactionRepository(connection).append(transactions)
            return new, await settle_purchases(connection, message.portfolio_id, transactions)

    async def transactions(
        self, portfolio_id: str, limit: int, after: TransactionPlace | None, from_date: date | None
    ) -> tuple[Transaction, ...]:
        """Transactions of a portfolio, oldest first, behind `after`.

        Raises:
            NotFound: There is no portfolio of this id.
        """
        async with self._database.transaction() as connection:
            await PortfolioRepository(connection).household(portfolio_id)
            return await TransactionRepository(connection).page(portfolio_id, limit, after, from_date)

    async def set_identical(self, message: pb.SetIdenticalInstrumentsRequest) -> tuple[str, ...]:
        """Replace the set of instruments that are substantially identical to one.

        Returns:
            The set, in the order of ids.

        Raises:
            InvalidRequest: With every fault.
        """
        instrument_id, others = checked(read_identical, message, self._settings)
        async with self._database.transaction() as connection:
            faults = await unknown_instruments(connection, "instrument_id", [instrument_id])
            if faults := faults + await unknown_instruments(connection, "identical_ids", others):
                raise InvalidRequest(faults)
            repository = IdenticalInstrumentRepository(connection)
            await repository.replace(instrument_id, others)
            return await repository.of(instrument_id)

    async def rules(self, jurisdiction: str, day: date) -> TaxRule:
        """The rules that hold on a day.

        Raises:
            NotFound: There are none of this name, or they begin later.
        """
        async with self._database.transaction() as connection:
            return await TaxRuleRepository(connection).find_on(jurisdiction, day)
