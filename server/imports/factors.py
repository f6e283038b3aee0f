"""Import of factor returns as a factor set."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from server.imports.known import is_stored
from server.imports.problems import refusal
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.series import Series, SeriesFile, SeriesKind, read_series
from storage.database import Database
from storage.factors import FactorRepository
from storage.tables import FactorTable


class FactorUnit(StrEnum):
    """What the numbers of the file are."""

    FRACTION = "fraction"
    PERCENT = "percent"
    LEVELS = "levels"


# No return takes more than everything; a level is a price.
_LOWER_LIMITS = {FactorUnit.FRACTION: -1.0, FactorUnit.PERCENT: -100.0, FactorUnit.LEVELS: 0.0}


@dataclass(frozen=True, slots=True)
class FactorOptions:
    """How factor returns are read.

    Attributes:
        columns: Known column (date, factor, return) -> column in the file.
        source: Where the returns come from; the file's name when empty.
        unit: Simple returns per day as fractions or in percent, or levels whose changes are the returns.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    unit: FactorUnit = FactorUnit.FRACTION


async def import_factors(
    database: Database, path: Path, options: FactorOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads the returns of factors as one factor set, all or nothing.

    The file is wide (date and one column per factor) or long (date, factor, return), with a value for every day and
    factor.

    Raises:
        ImportRefusedError: With every bad row; nothing is stored.
    """
    table, rows = await asyncio.to_thread(parse_factors, path, options, progress)
    async with database.transaction() as connection:
        factor_sets = FactorRepository(connection)
        is_new = not await is_stored(factor_sets.find, table.content_id)
        factor_set = await factor_sets.store(table, options.source or path.name)
    return ImportReport(
        noun="factor set",
        file=path.name,
        rows=rows,
        identifier=factor_set.id,
        created=is_new,
        counts={"factors": len(table.factors), "days": len(table.dates)},
    )


def parse_factors(
    path: Path, options: FactorOptions, progress: ProgressCallback = no_progress
) -> tuple[FactorTable, int]:
    """Reads factor returns.

    Returns:
        The table of simple returns as fractions, and the number of rows read. Levels give one day fewer.

    Raises:
        ImportRefusedError: Any row is bad, or there are levels of one day only.
    """
    kind = SeriesKind("factor", "return", above=_LOWER_LIMITS[options.unit], complete=True)
    series = read_series(SeriesFile(path, kind, options.columns, None, progress))
    if options.unit is FactorUnit.LEVELS and len(series.dates) < 2:
        raise refusal(path.name, "has levels of one day only, which make no return")
    return _returns(series, options.unit), series.rows_read


def _returns(series: Series, unit: FactorUnit) -> FactorTable:
    if unit is FactorUnit.LEVELS:
        return FactorTable(series.names, series.dates[1:], series.values[1:] / series.values[:-1] - 1)
    scale = 100.0 if unit is FactorUnit.PERCENT else 1.0
    return FactorTable(series.names, series.dates, series.values / scale)
