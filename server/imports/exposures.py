"""Import of exposures to factors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np

from server.convert.model_data import EXPOSURE, MOST_FACTORS, VOLATILITY
from server.imports.columns import find_columns
from server.imports.known import known_instruments
from server.imports.problems import Problems
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, MAX_TEXT, TableLayout, TableOptions, TableRow, read_rows
from server.imports.source import open_source
from storage.database import Database
from storage.model_data import ModelDataRepository
from storage.records import ExposureSet

INSTRUMENT, SPECIFIC = "instrument_id", "specific_volatility"
_FACTOR, _EXPOSURE_OF_ROW = "factor", "exposure"
EXPOSURE_COLUMNS = (INSTRUMENT, SPECIFIC, _FACTOR, _EXPOSURE_OF_ROW)


@dataclass(frozen=True, slots=True)
class ExposureOptions:
    """What a file of exposures does not say.

    Attributes:
        as_of: Day of the exposures.
        columns: Known column -> column in the file.
        source: Where they come from; the file's name when empty.
    """

    as_of: date
    columns: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(slots=True)
class _Table:
    """Exposures as they are read.

    Attributes:
        factors: In the order of the file.
        exposures: Instrument -> factor -> exposure.
        specific: Instrument -> annual volatility, where it is known.
        rows: Number of rows read.
    """

    factors: tuple[str, ...] = ()
    exposures: dict[str, dict[str, float]] = field(default_factory=dict)
    specific: dict[str, float] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    """A file and all that judging it needs."""

    path: Path
    columns: Mapping[str, str]
    known: frozenset[str]
    problems: Problems
    progress: ProgressCallback

    def rows(self, layout: TableLayout) -> list[TableRow]:
        """Its rows."""
        mapped = {name: column for name, column in self.columns.items() if name in layout.columns}
        return read_rows(self.path, layout, TableOptions(mapped), self.problems, self.progress)


async def import_exposures(
    database: Database, path: Path, options: ExposureOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads exposures to factors as one set, all or nothing.

    Raises:
        ImportRefusedError: With every bad row, or unknown instrument; nothing is stored.
    """
    known = await known_instruments(database)
    exposures, rows = await asyncio.to_thread(parse_exposures, path, options, known, progress)
    async with database.transaction() as connection:
        created = await ModelDataRepository(connection).store(exposures, options.source or path.name)
    return ImportReport(
        noun="factor exposures",
        file=path.name,
        rows=rows,
        identifier=exposures.id,
        created=created,
        counts={"instruments": len(exposures.instrument_ids), "factors": len(exposures.factors)},
    )


def parse_exposures(
    path: Path, options: ExposureOptions, known: frozenset[str], progress: ProgressCallback = no_progress
) -> tuple[ExposureSet, int]:
    """Reads exposures from a wide file (an instrument and all its exposures a row) or a long one (one exposure a row).

    Args:
        path: A CSV or Parquet file.
        options: What it does not say.
        known: The instruments that may appear.
        progress: Called after every block of rows.

    Returns:
        The exposures and the number of rows read.

    Raises:
        ImportRefusedError: Any row is bad, or an exposure is missing.
    """
    file = _File(path, options.columns, known, Problems(path.name), progress)
    header = open_source(path).header
    columns = find_columns(header, (INSTRUMENT,), EXPOSURE_COLUMNS[1:], options.columns, file.problems)
    file.problems.raise_if_any()
    table = _long(file, columns) if {_FACTOR, _EXPOSURE_OF_ROW} <= columns.keys() else _wide(file, header, columns)
    file.problems.raise_if_any()
    exposures = ExposureSet(
        as_of=options.as_of,
        factors=table.factors,
        instrument_ids=tuple(table.exposures),
        B=np.array([[row[factor] for factor in table.factors] for row in table.exposures.values()]),
        specific=np.array([table.specific.get(name, np.nan) for name in table.exposures]),
    )
    return exposures, table.rows


# --- wide: instrument_id, factor, factor, ...


def _wide(file: _File, header: Sequence[str], columns: Mapping[str, int]) -> _Table:
    taken = {columns[name] for name in (INSTRUMENT, SPECIFIC) if name in columns}
    table = _Table(tuple(name for position, name in enumerate(header) if position not in taken))
    _check_factors(table.factors, file.problems)
    file.problems.raise_if_any()
    for row in file.rows(TableLayout((INSTRUMENT, *table.factors), (SPECIFIC,))):
        table.rows += 1
        name = _instrument(row, file.known)
        if name in table.exposures:
            row.refuse(INSTRUMENT, "appears twice")
        table.exposures[name] = {factor: _exposure(row, factor) for factor in table.factors}
        volatility = row.decimal(SPECIFIC)
        if volatility is not None and not VOLATILITY.hold(float(volatility)):
            row.refuse(SPECIFIC, f"is not {VOLATILITY}")
        if volatility is not None:
            table.specific[name] = float(volatility)
    return table


# --- long: instrument_id, factor, exposure


def _long(file: _File, columns: Mapping[str, int]) -> _Table:
    if SPECIFIC in columns:
        file.problems.add(None, f"has a column {SPECIFIC}, which only a file with a column for every factor may have")
    table = _Table()
    factors: dict[str, None] = {}
    for row in file.rows(TableLayout((INSTRUMENT, _FACTOR, _EXPOSURE_OF_ROW))):
        table.rows += 1
        name, factor = _instrument(row, file.known), row.text(_FACTOR, required=True)
        of_name = table.exposures.setdefault(name, {})
        if factor in of_name:
            row.refuse(_FACTOR, f"appears twice for {name}")
        factors.setdefault(factor)
        of_name[factor] = _exposure(row, _EXPOSURE_OF_ROW)
    table.factors = tuple(factors)
    file.problems.raise_if_any()
    _check_factors(table.factors, file.problems)
    for name, exposures in table.exposures.items():
        for factor in table.factors:
            if factor not in exposures:
                file.problems.add(None, f"has no exposure of {name} to {factor}")
    return table


# --- both


def _check_factors(factors: Sequence[str], problems: Problems) -> None:
    if not 1 <= len(factors) <= MOST_FACTORS:
        problems.add(None, f"must have 1 to {MOST_FACTORS} factors, not {len(factors)}")
    for factor in factors:
        if not factor or len(factor) > MAX_TEXT or not factor.isprintable():
            problems.add(None, f"has a factor whose name is not a text of 1 to {MAX_TEXT} characters: {factor[:40]!r}")


def _instrument(row: TableRow, known: frozenset[str]) -> str:
    name = row.text(INSTRUMENT, limit=MAX_ID, required=True)
    if name and name not in known:
        row.refuse(INSTRUMENT, "is an unknown instrument")
    return name


def _exposure(row: TableRow, column: str) -> float:
    number: Decimal = row.needed_decimal(column)
    value = float(number)
    if not EXPOSURE.hold(value):
        row.refuse(column, f"is not {EXPOSURE}")
    return value
