"""Import of prices as a pricing pack."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kernel.estimation.data_checks import CheckSettings, check_prices
from server.imports.instruments import parse_instruments
from server.imports.known import is_stored, known_instruments
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import TableOptions
from server.imports.series import PRICES, Series, SeriesFile, read_series
from storage.database import Database
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Instrument
from storage.tables import PriceTable


@dataclass(frozen=True, slots=True)
class PriceOptions:
    """How prices are read.

    Attributes:
        columns: Known column (date, instrument_id, close, and those of the instruments file) -> column in the file.
        source: Where the prices come from; the file's name when empty.
        create_instruments: A file of instruments; those of it that have prices and are not yet known are created.
        defaults: Known column -> text for the cells that the instruments file leaves empty.
        checks: Limits of the data checks, which report and do not refuse.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    create_instruments: Path | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    checks: CheckSettings = field(default_factory=CheckSettings)


async def import_prices(
    database: Database, path: Path, options: PriceOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads prices as one pricing pack, all or nothing.

    The file is wide (date and one column per instrument, an empty cell where there is no price) or long (date,
    instrument_id, close). Days may come in any order.

    Raises:
        ImportRefusedError: With every bad row: no day, no number, price not above zero, a day and instrument twice, an
            unknown instrument; nothing is stored.
    """
    created = await asyncio.to_thread(_instruments, options)
    known = await known_instruments(database)
    names = known | {instrument.id for instrument in created}
    file = SeriesFile(path, PRICES, options.columns, names, progress)
    series = await asyncio.to_thread(read_series, file)
    findings = await asyncio.to_thread(check_prices, series.names, series.dates, series.values, options.checks)
    new = tuple(instrument for instrument in created if instrument.id in set(series.names) - known)
    pack_id, is_new = await _store(database, series, new, options.source or path.name)
    counts = {
        "instruments": len(series.names),
        "days": len(series.dates),
        "prices": int(np.count_nonzero(~np.isnan(series.values))),
        "instruments created": len(new),
    }
    return ImportReport(
        noun="pricing pack",
        file=path.name,
        rows=series.rows_read,
        identifier=pack_id,
        created=is_new,
        counts=counts,
        findings=findings,
    )


def _instruments(options: PriceOptions) -> tuple[Instrument, ...]:
    if options.create_instruments is None:
        return ()
    return parse_instruments(options.create_instruments, TableOptions(options.columns, options.defaults))


async def _store(
    database: Database, series: Series, instruments: tuple[Instrument, ...], source: str
) -> tuple[str, bool]:
    table = PriceTable(series.names, series.dates, series.values)
    async with database.transaction() as connection:
        await InstrumentRepository(connection).put(instruments)
        packs = PricingPackRepository(connection)
        is_new = not await is_stored(packs.find, table.content_id)
        pack = await packs.store(table, source)
    return pack.id, is_new
