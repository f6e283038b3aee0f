"""CSV and Parquet files behind one face: a header, and blocks of rows with their row numbers."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from server.imports.problems import Problems, refusal
from server.imports.progress import Progress, ProgressCallback

BLOCK_ROWS = 4096
CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")

# Cells of one column: text ("" = empty), numbers (NaN = empty) or instants (NaT = empty).
Cells = list[str] | NDArray[np.float64] | NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a file.

    Attributes:
        rows: (m,) row numbers in the file.
        columns: One entry of m cells per column of the header, in its order.
    """

    rows: NDArray[np.int64]
    columns: tuple[Cells, ...]


class Source(Protocol):
    """A file of rows."""

    @property
    def path(self) -> Path:
        """Where the file is."""

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns."""

    def blocks(self, problems: Problems, progress: ProgressCallback) -> Iterator[Block]:
        """The rows from first to last; a row that is no row at all goes to `problems` and is left out."""


def open_source(path: Path) -> Source:
    """Opens a file by its name's ending.

    Args:
        path: A file ending in .csv, .csv.gz, .parquet or .pq.

    Raises:
        ImportRefusedError: The file is missing, is of no known kind, has no header, or names a column twice.
    """
    name = path.name.lower()
    if not path.is_file():
        raise refusal(path.name, f"there is no such file: {path}")
    if name.endswith(CSV_SUFFIXES):
        source: Source = CsvSource(path, _csv_header(path))
    elif name.endswith(PARQUET_SUFFIXES):
        source = ParquetSource(path, _parquet_header(path))
    else:
        raise refusal(path.name, f"is of no known kind: expected {', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}")
    _check_header(path, source.header)
    return source


def _check_header(path: Path, header: tuple[str, ...]) -> None:
    problems = Problems(path.name)
    if not header:
        problems.add(None, "has no header row")
    seen: set[str] = set()
    for position, name in enumerate(header, start=1):
        if not name:
            problems.add(None, f"column {position} has no name")
        elif name in seen:
            problems.add(None, "appears twice in the header", value=name)
        seen.add(name)
    problems.raise_if_any()


# --- CSV


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A comma-separated file in UTF-8 with a header row; row numbers are line numbers of the file."""

    path: Path
    header: tuple[str, ...]

    def blocks(self, problems: Problems, progress: ProgressCallback) -> Iterator[Block]:
        """See `Source.blocks`."""
        size = max(self.path.stat().st_size, 1)
        count = 0
        with _csv_text(self.path) as (text, raw):
            rows = self._rows(text, problems)
            while chunk := list(islice(rows, BLOCK_ROWS)):
                count += len(chunk)
                progress(Progress(self.path.name, count, min(raw.tell() / size, 0.99)))
                yield _csv_block(chunk)
        progress(Progress(self.path.name, count, 1.0))

    def _rows(self, text: io.TextIOWrapper, problems: Problems) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(text, strict=True)
        try:
            next(reader)
            for cells in reader:
                if len(cells) == len(self.header):
                    yield reader.line_num, cells
                elif cells:
                    problems.add(reader.line_num, f"has {len(cells)} cells, the header has {len(self.header)}")
        except (csv.Error, UnicodeDecodeError, EOFError, OSError) as error:
            problems.add(reader.line_num + 1, f"cannot be read: {error}")


def _csv_block(chunk: list[tuple[int, list[str]]]) -> Block:
    rows = np.array([number for number, _ in chunk], dtype=np.int64)
    columns = zip(*(cells for _, cells in chunk), strict=True)
    return Block(rows, tuple([cell.strip() for cell in column] for column in columns))


@contextmanager
def _csv_text(path: Path) -> Iterator[tuple[io.TextIOWrapper, BinaryIO]]:
    """The decoded text, and the file below it, whose position tells the progress."""
    with path.open("rb") as raw:
        content: BinaryIO = raw
        if path.name.lower().endswith(".gz"):
            content = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment]
        yield io.TextIOWrapper(content, encoding="utf-8-sig", newline=""), raw


def _csv_header(path: Path) -> tuple[str, ...]:
    with _csv_text(path) as (text, _):
        try:
            return tuple(name.strip() for name in next(csv.reader(text), []))
        except (csv.Error, UnicodeDecodeError, EOFError, OSError) as error:
            raise refusal(path.name, f"is not a CSV file in UTF-8: {error}") from error


# --- Parquet


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A Parquet file; row numbers count its records from 1."""

    path: Path
    header: tuple[str, ...]

    def blocks(self, problems: Problems, progress: ProgressCallback) -> Iterator[Block]:
        """See `Source.blocks`."""
        first = 1
        try:
            with pq.ParquetFile(self.path) as file:
                total = file.metadata.num_rows
                for batch in file.iter_batches(batch_size=BLOCK_ROWS):
                    rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
                    first += batch.num_rows
                    progress(Progress(self.path.name, first - 1, min((first - 1) / total, 0.99)))
                    yield Block(rows, tuple(_cells(column) for column in batch.columns))
        except (pa.ArrowException, OSError) as error:
            problems.add(first, f"cannot be read: {error}")
        progress(Progress(self.path.name, first - 1, 1.0))


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise refusal(path.name, f"is not a Parquet file: {error}") from error


def _cells(column: Any) -> Cells:  # noqa: ANN401 - pyarrow has no types
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        instants: NDArray[np.datetime64] = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        return instants
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
