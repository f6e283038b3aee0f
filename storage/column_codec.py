"""Tables of numbers by day to and from PostgreSQL's binary formats, whole arrays at a time.

On the way in, a table (T, n) becomes rows ``(set, column, day, value)`` of binary COPY, all 38 bytes wide, so that a
numpy structure is the wire format. On the way out, each column comes as two byte strings, its days and its values.

References: PostgreSQL manual, COPY, "Binary Format".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.tables import Dates, Floats

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH = np.datetime64("2000-01-01", "D")
_BLOCK_ROWS = 1 << 16

# The number of fields, then each field behind its length in bytes.
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("set_length", ">i4"),
        ("set", ">i4"),
        ("column_length", ">i4"),
        ("column", ">i4"),
        ("day_length", ">i4"),
        ("day", ">i4"),
        ("value_length", ">i4"),
        ("value", ">f8"),
    ]
)
_CONSTANTS = {"fields": 4, "set_length": 4, "column_length": 4, "day_length": 4, "value_length": 8}


def encode_rows(set_number: int, column_numbers: Sequence[int], dates: Dates, values: Floats) -> Iterator[bytes]:
    """Binary COPY data of all values that are not NaN, column by column, in chunks of a few megabytes.

    Args:
        set_number: First field of every row.
        column_numbers: (n,) second field, by column of ``values``.
        dates: (T,) third field.
        values: (T, n) fourth field.
    """
    days = (dates - _EPOCH).astype(np.int64)
    width = max(1, _BLOCK_ROWS // max(1, len(dates)))
    yield _HEADER
    for start in range(0, len(column_numbers), width):
        numbers = np.asarray(column_numbers[start : start + width])
        block = values[:, start : start + width].T
        columns, rows = np.nonzero(~np.isnan(block))
        records = np.empty(len(rows), dtype=_ROW)
        for name, constant in _CONSTANTS.items():
            records[name] = constant
        records["set"], records["column"] = set_number, numbers[columns]
        records["day"], records["value"] = days[rows], block[columns, rows]
        yield records.tobytes()
    yield _TRAILER


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it comes from the database: ``days`` int4 since 2000-01-01, ``values`` float8, both big-endian."""

    name: str
    days: bytes
    values: bytes


def decode_columns(columns: Mapping[str, Column], names: Sequence[str]) -> tuple[Dates, Floats]:
    """The table of the named columns.

    Returns:
        The days (T,) on which any column has a value, increasing, and the values (T, n), NaN where there is none.
    """
    days = [_days(columns[name]) for name in names]
    union = np.unique(np.concatenate(days)) if days else np.empty(0, dtype=np.int32)
    values = np.full((len(union), len(names)), np.nan)
    for place, name in enumerate(names):
        values[np.searchsorted(union, days[place]), place] = np.frombuffer(columns[name].values, dtype=">f8")
    return _EPOCH + union.astype("timedelta64[D]"), values


def _days(column: Column) -> NDArray[np.int32]:
    return np.frombuffer(column.days, dtype=">i4").astype(np.int32)
