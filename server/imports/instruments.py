"""Import of instruments."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from server.imports.problems import Problems
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, TableLayout, TableOptions, TableRow, read_rows
from storage.database import Database
from storage.instruments import InstrumentRepository
from storage.records import Instrument

INSTRUMENT_TABLE = TableLayout(
    required=("id",),
    optional=(
        "name",
        "asset_class",
        "sector",
        "country",
        "currency",
        "lot_size",
        "quality_score",
        "average_daily_volume",
        "market_cap",
        "status",
        "source",
        "required_option_level",
    ),
)
CASH_ID = "CASH"
STATUSES = ("active", "halted", "delisted")
MAX_QUALITY_SCORE = Decimal(10)
MAX_OPTION_LEVEL = 5
ZERO = Decimal(0)


async def import_instruments(
    database: Database, path: Path, options: TableOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads instruments; those already known are replaced by what the file says.

    Raises:
        ImportRefusedError: Any row is bad; nothing is stored.
    """
    instruments = await asyncio.to_thread(parse_instruments, path, options, progress)
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(instruments)
    return ImportReport(
        noun="instruments",
        file=path.name,
        rows=len(instruments),
        identifier=f"{instruments[0].id} to {instruments[-1].id}",
        counts={"sectors": len({instrument.sector for instrument in instruments})},
    )


def parse_instruments(
    path: Path, options: TableOptions, progress: ProgressCallback = no_progress
) -> tuple[Instrument, ...]:
    """Reads instruments.

    Columns: id (required); name (the id when empty), asset_class (equity), sector, country, currency (USD),
    lot_size (1), quality_score (0 to 10), average_daily_volume (shares), market_cap, status (active), source (the
    file's name).

    Raises:
        ImportRefusedError: Any row is bad.
    """
    problems = Problems(path.name)
    rows = read_rows(path, INSTRUMENT_TABLE, options, problems, progress)
    instruments = tuple(_instrument(row, path.name) for row in rows)
    seen: set[str] = set()
    for row, instrument in zip(rows, instruments, strict=True):
        if instrument.id in seen:
            row.refuse("id", "appears twice")
        seen.add(instrument.id)
    problems.raise_if_any()
    return instruments


def _instrument(row: TableRow, file: str) -> Instrument:
    instrument_id = row.text("id", limit=MAX_ID, required=True)
    if instrument_id == CASH_ID:
        row.refuse("id", "is the name of cash and cannot be an instrument")
    return Instrument(
        id=instrument_id,
        name=row.text("name") or instrument_id,
        asset_class=row.text("asset_class") or "equity",
        sector=row.text("sector"),
        country=row.text("country"),
        currency=row.text("currency", limit=3) or "USD",
        lot_size=_lot_size(row),
        quality_score=_quality_score(row),
        average_daily_volume=row.decimal("average_daily_volume", minimum=ZERO),
        market_cap=row.decimal("market_cap", minimum=ZERO),
        status=_status(row),
        source=row.text("source") or file,
        required_option_level=_option_level(row),
    )


def _lot_size(row: TableRow) -> Decimal:
    lot_size = row.decimal("lot_size")
    if lot_size is None:
        return Decimal(1)
    if lot_size <= 0:
        row.refuse("lot_size", "is not above zero")
    return lot_size


def _quality_score(row: TableRow) -> Decimal | None:
    score = row.decimal("quality_score", minimum=ZERO)
    if score is not None and score > MAX_QUALITY_SCORE:
        row.refuse("quality_score", f"is above {MAX_QUALITY_SCORE}")
    return score


def _option_level(row: TableRow) -> int:
    level = row.decimal("required_option_level", minimum=ZERO) or ZERO
    if level > MAX_OPTION_LEVEL or level % 1:
        row.refuse("required_option_level", f"is no whole number from 0 to {MAX_OPTION_LEVEL}")
    return int(level)


def _status(row: TableRow) -> str:
    status = row.text("status") or "active"
    if status not in STATUSES:
        row.refuse("status", f"is not one of {', '.join(STATUSES)}")
    return status
