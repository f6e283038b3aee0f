"""Purchases and sales of portfolios, kept for good, and the wash sales that executions have settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import date

from storage.errors import Conflict
from storage.records import Transaction, TransactionPlace, WashSaleRecord
from storage.repository import Repository
from storage.statements import load_statements

_COLUMNS = tuple(field.name for field in fields(Transaction) if field.name != "sequence")
_MATCH_COLUMNS = tuple(field.name for field in fields(WashSaleRecord))


class TransactionRepository(Repository):
    """Appends transactions and reads them in the order of their days; they never change."""

    _sql = load_statements("transactions")

    async def append(self, transactions: Sequence[Transaction]) -> int:
        """Adds transactions; one that is there already is left alone when it says the same.

        Returns:
            How many are new.

        Raises:
            Conflict: A transaction of this id is there and says something else; the first such is named.
            NotFound: A portfolio, an instrument or a plan does not exist.
        """
        columns = {name: [getattr(row, name) for row in transactions] for name in _COLUMNS}
        new = await self._run(self._sql["insert"], columns)
        if new < len(transactions):
            stored = {
                (row.portfolio_id, row.id): row for row in await self._records(Transaction, self._sql["find"], columns)
            }
            for given in transactions:
                _refuse_difference(given, stored[given.portfolio_id, given.id])
        return new

    async def page(
        self, portfolio_id: str, limit: int, after: TransactionPlace | None = None, from_date: date | None = None
    ) -> tuple[Transaction, ...]:
        """At most ``limit`` transactions of a portfolio, oldest first, beginning behind the place ``after``.

        Args:
            portfolio_id: Whose transactions.
            limit: Size of the page.
            after: The place of the last one of the page before.
            from_date: Only those on or after this day; None means all.
        """
        day, sequence = (None, None) if after is None else (after.traded_on, after.sequence)
        parameters = {
            "portfolio_id": portfolio_id,
            "limit": limit,
            "after_day": day,
            "after_sequence": sequence,
            "from_date": from_date,
        }
        return await self._records(Transaction, self._sql["page"], parameters)

    async def between(self, portfolio_ids: Iterable[str], first: date, last: date) -> tuple[Transaction, ...]:
        """All transactions of some portfolios on these days, both included, oldest first."""
        parameters = {"portfolio_ids": list(portfolio_ids), "first": first, "last": last}
        return await self._records(Transaction, self._sql["between"], parameters)

    async def append_matches(self, matches: Sequence[WashSaleRecord]) -> None:
        """Adds wash sales that an execution has settled.

        Raises:
            NotFound: A sale or a portfolio does not exist.
        """
        columns = {name: [getattr(row, name) for row in matches] for name in _MATCH_COLUMNS}
        await self._run(self._sql["insert_matches"], columns)

    async def matches(self, portfolio_ids: Iterable[str], first: date, last: date) -> tuple[WashSaleRecord, ...]:
        """The settled wash sales of all sales of some portfolios on these days, both included, oldest first."""
        parameters = {"portfolio_ids": list(portfolio_ids), "first": first, "last": last}
        return await self._records(WashSaleRecord, self._sql["matches"], parameters)


def _refuse_difference(given: Transaction, stored: Transaction) -> None:
    if (known := replace(stored, sequence=given.sequence)) == given:
        return
    name = next(name for name in _COLUMNS if getattr(known, name) != getattr(given, name))
    raise Conflict(
        f"transaction {given.id} of portfolio {given.portfolio_id} is known with {name} {getattr(known, name)}, "
        f"not {getattr(given, name)}"
    )
