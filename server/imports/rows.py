"""Small tables, a row at a time: cells by their known names, as text, number or day, each fault with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from server.imports.cells import parse_days, texts
from server.imports.columns import find_columns
from server.imports.problems import Problems
from server.imports.progress import ProgressCallback
from server.imports.source import open_source

MAX_ID = 36
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table names its columns.

    Attributes:
        columns: Known column -> column in the file, where they differ.
        defaults: Known column -> text for cells that are empty or whose column is missing.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row; each reading notes its own fault and then gives a harmless value, so that all faults are found at once.

    Attributes:
        number: Row number in the file, None in a file without rows.
        cells: Known column -> text, "" when empty.
        headings: Known column -> its name in the file, for messages.
        problems: Takes the faults.
    """

    number: int | None
    cells: Mapping[str, str]
    headings: Mapping[str, str]
    problems: Problems

    def refuse(self, column: str, reason: str) -> None:
        """Notes a fault of one cell."""
        self.problems.add(
            self.number, reason, column=self.headings.get(column, column), value=self.cells.get(column) or None
        )

    def text(self, column: str, *, limit: int = MAX_TEXT, required: bool = False) -> str:
        """The text of a cell, at most `limit` characters."""
        text = self.cells.get(column, "")
        if not text and required:
            self.refuse(column, "is empty")
        if len(text) > limit or "\0" in text:
            self.refuse(column, f"is not a text of at most {limit} characters")
        return text

    def decimal(self, column: str, *, minimum: Decimal | None = None) -> Decimal | None:
        """The number in a cell, exactly as written; None when the cell is empty."""
        text = self.cells.get(column, "")
        if not text:
            return None
        number = _decimal(text)
        if number is None:
            self.refuse(column, "is not a finite number")
        elif minimum is not None and number < minimum:
            self.refuse(column, f"is below {minimum}")
        return number

    def needed_decimal(self, column: str, *, minimum: Decimal | None = None) -> Decimal:
        """The number in a cell that must not be empty."""
        if not self.cells.get(column):
            self.refuse(column, "is empty")
        return self.decimal(column, minimum=minimum) or Decimal(0)

    def day(self, column: str) -> date | None:
        """The day in a cell; None when the cell is empty."""
        text = self.cells.get(column, "")
        parsed = parse_days([text]).values[0]
        if text and np.isnat(parsed):
            self.refuse(column, "is not a day (YYYY-MM-DD)")
        found: date | None = parsed.item()
        return found


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and "_" not in text else None


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The known columns of a kind of table."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return self.required + self.optional


def read_rows(
    path: Path, layout: TableLayout, options: TableOptions, problems: Problems, progress: ProgressCallback
) -> list[TableRow]:
    """Reads a table of a modest number of rows.

    Args:
        path: A CSV or Parquet file.
        layout: The columns to look for; all others are left aside.
        options: Names and defaults.
        problems: Takes faults of rows.
        progress: Called after every block of rows.

    Raises:
        ImportRefusedError: The file cannot be opened, or a required column is neither there nor has a default.
    """
    source = open_source(path)
    needed = [name for name in layout.required if name not in options.defaults]
    others = [name for name in layout.columns if name not in needed]
    columns = find_columns(source.header, needed, others, options.columns, problems)
    problems.raise_if_any()
    headings = {name: source.header[position] for name, position in columns.items()}
    rows = [
        TableRow(number, {**options.defaults, **cells}, headings, problems)
        for block in source.blocks(problems, progress)
        for number, cells in _block_rows(
            block.rows.tolist(), {name: texts(block.columns[at]) for name, at in columns.items()}
        )
    ]
    if not rows:
        problems.add(None, "has no rows")
    return rows


def _block_rows(numbers: list[int], columns: Mapping[str, list[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    for place, number in enumerate(numbers):
        yield number, {name: cells[place] for name, cells in columns.items() if cells[place]}
