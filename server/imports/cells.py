"""From the cells of a column to numbers and days, a column at a time, with a mark on every cell that is neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from server.imports.source import Cells


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (m,) the numbers, NaN where there is none.
        empty: (m,) True where the cell is empty.
        bad: (m,) True where the cell holds something other than a finite number.
    """

    values: NDArray[np.float64]
    empty: NDArray[np.bool_]
    bad: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Days:
    """A column of days.

    Attributes:
        values: (m,) the days, NaT where there is none.
        bad: (m,) True where the cell is empty or no day.
    """

    values: NDArray[np.datetime64]
    bad: NDArray[np.bool_]


def parse_numbers(cells: Cells) -> Numbers:
    """Reads a column of numbers.

    Args:
        cells: m cells. In text the empty cell is no number, and the words nan and inf are bad; in a column of
            floating point numbers NaN is how the empty cell is spelled.
    """
    if isinstance(cells, list):
        empty = np.array([not cell for cell in cells], dtype=np.bool_)
        values = _numbers_of_text(cells)
    elif cells.dtype.kind == "M":
        return Numbers(np.full(len(cells), np.nan), np.isnat(cells), ~np.isnat(cells))
    else:
        values = np.asarray(cells, dtype=np.float64)
        empty = np.isnan(values)
    return Numbers(values, empty, ~np.isfinite(values) & ~empty)


def _numbers_of_text(cells: list[str]) -> NDArray[np.float64]:
    filled = [cell or "nan" for cell in cells]
    try:
        values = np.array(filled, dtype=np.float64)
    except ValueError:
        return np.array([_number(cell) for cell in filled])
    return np.array([_number(cell) for cell in filled]) if "_" in "".join(cells) else values


def _number(cell: str) -> float:
    try:
        return float("nan" if "_" in cell else cell)
    except ValueError:
        return float("nan")


def parse_days(cells: Cells) -> Days:
    """Reads a column of days.

    Args:
        cells: m cells: text YYYY-MM-DD, YYYYMMDD or either with the time of day 00:00, or instants at midnight.
    """
    if isinstance(cells, list):
        values = _days_of_text(cells)
    elif cells.dtype.kind == "M":
        days = cells.astype("datetime64[D]")
        values = np.where(days == cells, days, np.datetime64("NaT"))
    else:
        values = _days_of_text([f"{cell:.0f}" if cell == cell // 1 else "" for cell in cells.tolist()])
    return Days(values, np.isnat(values))


def _days_of_text(cells: list[str]) -> NDArray[np.datetime64]:
    days = {cell: _day(cell) for cell in set(cells)}
    return np.array([days[cell] for cell in cells], dtype="datetime64[D]")


def _day(cell: str) -> np.datetime64:
    try:
        instant = datetime.fromisoformat(cell)
    except ValueError:
        return np.datetime64("NaT")
    at_midnight = instant.time() == instant.time().min and instant.tzinfo is None
    return np.datetime64(instant.date() if at_midnight else "NaT", "D")


def cell_text(cells: Cells, position: int) -> str:
    """The cell as a reader of the file knows it."""
    return str(cells[position])


def texts(cells: Cells) -> list[str]:
    """A column as text; the empty cell is the empty text, and a whole number has no decimal point."""
    if isinstance(cells, list):
        return cells
    if cells.dtype.kind == "M":
        return ["" if np.isnat(cell) else str(cell.astype("datetime64[D]")) for cell in cells]
    return ["" if math.isnan(cell) else _plain(cell) for cell in cells.tolist()]


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)
