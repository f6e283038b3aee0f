"""Import of a benchmark's weights."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from server.imports.known import known_instruments
from server.imports.problems import Problems
from server.imports.progress import ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, TableLayout, TableOptions, TableRow, read_rows
from server.imports.weights import normalized
from storage.benchmarks import BenchmarkRepository
from storage.database import Database
from storage.records import Benchmark

BENCHMARK_TABLE = TableLayout(required=("instrument_id", "weight"))
SUM_TOLERANCE = Decimal("0.000001")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """What a file of weights does not say.

    Attributes:
        id: Of the benchmark, at most 36 characters.
        name: The id when empty.
        index_instrument_id: An instrument whose prices are the benchmark's own levels.
        source: Where the weights come from; the file's name when empty.
        normalize: The weights are amounts (market capitalisations) and are divided by their sum.
        table: Names and defaults of the columns instrument_id and weight.
    """

    id: str
    name: str = ""
    index_instrument_id: str | None = None
    source: str = ""
    normalize: bool = False
    table: TableOptions = field(default_factory=TableOptions)


async def import_benchmark(
    database: Database, path: Path, options: BenchmarkOptions, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Loads a benchmark, replacing the one of that id.

    Raises:
        ImportRefusedError: Any row is bad, names an unknown instrument, or the weights do not add up to 1.
        NotFound: The index is no known instrument.
    """
    known = await known_instruments(database)
    benchmark = await asyncio.to_thread(parse_benchmark, path, options, known, progress)
    async with database.transaction() as connection:
        await BenchmarkRepository(connection).put(benchmark)
    return ImportReport(noun="benchmark", file=path.name, rows=len(benchmark.weights), identifier=benchmark.id)


def parse_benchmark(
    path: Path, options: BenchmarkOptions, known: frozenset[str], progress: ProgressCallback = no_progress
) -> Benchmark:
    """Reads weights >= 0 as fractions of the benchmark, or amounts to be made so.

    Args:
        path: A CSV or Parquet file with the columns instrument_id and weight.
        options: What the file does not say.
        known: The instruments that may appear.
        progress: Called after every block of rows.

    Raises:
        ImportRefusedError: Any row is bad, or the weights do not add up to 1 within 1e-6.
    """
    problems = Problems(path.name)
    weights: dict[str, Decimal] = {}
    for row in read_rows(path, BENCHMARK_TABLE, options.table, problems, progress):
        _take(row, weights, known)
    problems.raise_if_any()
    total = sum(weights.values(), ZERO)
    if total <= 0 or (abs(total - 1) > SUM_TOLERANCE and not options.normalize):
        problems.add(None, f"the weights add up to {total.normalize():f}, not to 1; amounts need to be normalized")
    problems.raise_if_any()
    return Benchmark(
        id=options.id,
        name=options.name or options.id,
        weights=normalized(weights) if options.normalize else weights,
        index_instrument_id=options.index_instrument_id,
        source=options.source or path.name,
    )


def _take(row: TableRow, weights: dict[str, Decimal], known: frozenset[str]) -> None:
    instrument_id = row.text("instrument_id", limit=MAX_ID, required=True)
    if instrument_id and instrument_id not in known:
        row.refuse("instrument_id", "is an unknown instrument")
    if instrument_id in weights:
        row.refuse("instrument_id", "appears twice")
    weights[instrument_id] = row.needed_decimal("weight", minimum=ZERO)
