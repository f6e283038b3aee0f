"""Import of a portfolio's holdings, lots and cash from a table."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from server.imports.instruments import CASH_ID
from server.imports.known import known_instruments
from server.imports.positions import PositionReader, Positions
from server.imports.problems import Problems
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import TableLayout, TableOptions, TableRow, read_rows
from storage.database import Database
from storage.errors import NotFound
from storage.portfolios import PortfolioRepository
from storage.records import Portfolio, utc_now

LOT_COLUMNS = ("acquired_on", "cost_per_share", "lot_id", "held_since", "replaced_loss")
HOLDINGS_TABLE = TableLayout(required=("instrument_id", "quantity"), optional=LOT_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingsOptions:
    """Whose holdings these are.

    Attributes:
        portfolio_id: The portfolio whose holdings and lots are replaced.
        create: Creates the portfolio, with the defaults of a new one, when there is none of that id.
        table: Names and defaults of the columns.
    """

    portfolio_id: str
    create: bool = False
    table: TableOptions = field(default_factory=TableOptions)


@dataclass(frozen=True, slots=True)
class HoldingsTable:
    """What a table of holdings says; cash is None when it has no row of cash."""

    positions: Positions
    cash: Decimal | None
    rows: int


async def import_holdings(
    database: Database, path: Path, options: HoldingsOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Replaces a portfolio's holdings and lots, and its cash when the table states it; all else of it stays.

    Raises:
        ImportRefusedError: Any row is bad; nothing is stored.
        NotFound: There is no such portfolio, and it was not to be created.
    """
    known = await known_instruments(database)
    table = await asyncio.to_thread(parse_holdings, path, options.table, known, progress)
    async with database.transaction() as connection:
        portfolios = PortfolioRepository(connection)
        await portfolios.put(_updated(await _found(portfolios, options), table))
    counts = {"holdings": len(table.positions.holdings), "lots": len(table.positions.lots)}
    return ImportReport(
        noun="portfolio", file=path.name, rows=table.rows, identifier=options.portfolio_id, counts=counts
    )


async def _found(portfolios: PortfolioRepository, options: HoldingsOptions) -> Portfolio:
    try:
        return await portfolios.find(options.portfolio_id)
    except NotFound:
        if not options.create:
            raise
        return Portfolio(id=options.portfolio_id, name=options.portfolio_id)


def _updated(portfolio: Portfolio, table: HoldingsTable) -> Portfolio:
    return replace(
        portfolio,
        holdings=table.positions.holdings,
        lots=table.positions.lots,
        cash=portfolio.cash if table.cash is None else table.cash,
        updated_at=utc_now(),
    )


def parse_holdings(
    path: Path, options: TableOptions, known: frozenset[str], progress: ProgressCallback = no_progress
) -> HoldingsTable:
    """Reads holdings.

    Columns: instrument_id and quantity (shares, negative when short); acquired_on, cost_per_share, lot_id, held_since
    and replaced_loss make the row a tax lot, and then every row of that instrument is one. The row of the instrument
    CASH states the cash in the portfolio's currency as its quantity.

    Args:
        path: A CSV or Parquet file.
        options: Names and defaults of the columns.
        known: The instruments that may appear.
        progress: Called after every block of rows.

    Raises:
        ImportRefusedError: Any row is bad.
    """
    problems = Problems(path.name)
    rows = read_rows(path, HOLDINGS_TABLE, options, problems, progress)
    cash_rows = [row for row in rows if row.cells.get("instrument_id") == CASH_ID]
    position_rows = [row for row in rows if row.cells.get("instrument_id") != CASH_ID]
    reader = PositionReader(known, problems)
    in_lots = {row.cells.get("instrument_id") for row in position_rows if any(map(row.cells.get, LOT_COLUMNS))}
    for row in position_rows:
        (reader.take_lot if row.cells.get("instrument_id") in in_lots else reader.take_holding)(row)
    positions, cash = reader.positions(), _cash(cash_rows)
    problems.raise_if_any()
    return HoldingsTable(positions, cash, len(rows))


def _cash(rows: list[TableRow]) -> Decimal | None:
    for row in rows[1:]:
        row.refuse("instrument_id", "appears twice")
    return rows[0].needed_decimal("quantity") if rows else None
