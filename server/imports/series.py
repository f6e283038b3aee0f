"""Tables by day: one column per name (wide) or one row per day and name (long), to dates, names and a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.imports.cells import Numbers, cell_text, parse_days, parse_numbers, texts
from server.imports.columns import find_columns
from server.imports.problems import Problems
from server.imports.progress import ProgressCallback
from server.imports.source import Block, Source, open_source
from storage.tables import Dates, Floats

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

NOT_A_DAY = "is not a day (YYYY-MM-DD)"
NOT_A_NUMBER = "is not a finite number"


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """What a table by day holds.

    Attributes:
        name_column: Known name of the column of names in the long form.
        value_column: Known name of the column of values in the long form.
        above: Values must be greater than this.
        complete: A value must be there for every day and name.
    """

    name_column: str
    value_column: str
    above: float
    complete: bool


PRICES = SeriesKind("instrument_id", "close", above=0.0, complete=False)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A table by day.

    Attributes:
        names: (n,) distinct, in the order of their first appearance.
        dates: (T,) strictly increasing.
        values: (T, n), NaN where there is none.
        rows_read: Rows of the file.
    """

    names: tuple[str, ...]
    dates: Dates
    values: Floats
    rows_read: int


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """A file to be read and all that judging it needs.

    Attributes:
        path: The file.
        kind: What it holds.
        mapping: Known column -> column in the file.
        known: The names that may appear, None when any may.
        progress: Called after every block of rows.
    """

    path: Path
    kind: SeriesKind
    mapping: Mapping[str, str]
    known: frozenset[str] | None
    progress: ProgressCallback


def read_series(file: SeriesFile) -> Series:
    """Reads a table by day; days may come in any order.

    The file is long when it has both the column of names and the column of values, else wide.

    Raises:
        ImportRefusedError: With all that is wrong: cells that are no day or number, values out of range or missing, a
            day and name that appear twice, unknown names, no rows.
    """
    source = open_source(file.path)
    problems = Problems(file.path.name)
    long = (file.kind.name_column, file.kind.value_column)
    columns = find_columns(source.header, ("date",), (), file.mapping, problems)
    columns |= find_columns(source.header, (), long, file.mapping, problems)
    problems.raise_if_any()
    is_long = all(name in columns for name in long)
    series = (_LongReader if is_long else _WideReader)(file, source, columns, problems).read()
    if not problems.count and not series.rows_read:
        problems.add(None, "has no rows")
    problems.raise_if_any()
    return series


def _value_faults(numbers: Numbers, kind: SeriesKind, *, complete: bool) -> list[tuple[Mask, str]]:
    """Which values are refused, and why."""
    faults = [(numbers.bad, NOT_A_NUMBER)]
    if complete:
        faults.append((numbers.empty, "is empty; a value is needed here"))
    faults.append((~numbers.bad & ~numbers.empty & (numbers.values <= kind.above), f"is not above {kind.above:g}"))
    return faults


@dataclass(slots=True)
class _Reader:
    """Gathers the blocks of a file."""

    file: SeriesFile
    source: Source
    columns: dict[str, int]
    problems: Problems
    days: list[Dates] = field(default_factory=list)
    rows: list[Integers] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)

    def gathered_days(self, block: Block) -> None:
        """Keeps the days and row numbers of a block."""
        position = self.columns["date"]
        cells = block.columns[position]
        days = parse_days(cells)
        self.note(block, position, [(days.bad, NOT_A_DAY)])
        self.days.append(days.values)
        self.rows.append(block.rows)

    def parsed_values(self, block: Block, position: int, *, complete: bool) -> Floats:
        """The values of one column of a block, its faults noted."""
        numbers = parse_numbers(block.columns[position])
        self.note(block, position, _value_faults(numbers, self.file.kind, complete=complete))
        return numbers.values

    def note(self, block: Block, position: int, faults: Iterable[tuple[Mask, str]]) -> None:
        """Notes the faults of one column of a block."""
        name, cells = self.source.header[position], block.columns[position]
        for mask, reason in faults:
            for place in np.flatnonzero(mask):
                self.problems.add(int(block.rows[place]), reason, column=name, value=cell_text(cells, int(place)))

    def note_duplicates(self, keys: Integers, named: Callable[[int], str]) -> None:
        """Notes the rows whose key a row before them has; rows without a day are left aside.

        Args:
            keys: (m,) one key per row read.
            named: Row position -> what its key stands for.
        """
        rows = np.concatenate(self.rows)
        dated = np.flatnonzero(~np.isnat(np.concatenate(self.days)))
        order = dated[np.argsort(keys[dated], kind="stable")]
        for place in np.flatnonzero(np.diff(keys[order]) == 0):
            first, again = order[place], order[place + 1]
            self.problems.add(int(rows[again]), f"{named(int(again))} appears twice, before in row {rows[first]}")


# --- wide: date, name, name, ...


class _WideReader(_Reader):
    __slots__ = ()

    def read(self) -> Series:
        names = self._names()
        for block in self.source.blocks(self.problems, self.file.progress):
            self._take(block)
        if not self.days or not names:
            return _empty(names)
        days, values = np.concatenate(self.days), np.concatenate(self.values)
        self.note_duplicates(days.astype(np.int64), lambda place: f"day {days[place]}")
        order = np.argsort(days, kind="stable")
        return Series(names, days[order], values[order], len(days))

    def _names(self) -> tuple[str, ...]:
        date_column, known = self.columns["date"], self.file.known
        names = tuple(name for position, name in enumerate(self.source.header) if position != date_column)
        if not names:
            self.problems.add(None, "has no column beside the date")
        for name in names:
            if known is not None and name not in known:
                self.problems.add(1, f"is an unknown {_words(self.file.kind.name_column)}", column=name)
        return names

    def _take(self, block: Block) -> None:
        self.gathered_days(block)
        complete = self.file.kind.complete
        positions = [position for position in range(len(self.source.header)) if position != self.columns["date"]]
        columns = [self.parsed_values(block, position, complete=complete) for position in positions]
        self.values.append(np.array(columns).T)


# --- long: date, name, value


@dataclass(slots=True)
class _LongReader(_Reader):
    codes: list[Integers] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    def read(self) -> Series:
        for block in self.source.blocks(self.problems, self.file.progress):
            self._take(block)
        if not self.days:
            return _empty(())
        names, days, codes = tuple(self.names), np.concatenate(self.days), np.concatenate(self.codes)
        dates, day_codes = np.unique(days, return_inverse=True)
        cells = day_codes * len(names) + codes
        self.note_duplicates(cells, lambda place: f"day {days[place]} of {names[codes[place]]}")
        values = np.full((len(dates), len(names)), np.nan)
        values[day_codes, codes] = np.concatenate(self.values)
        self._note_missing(Series(names, dates, values, len(days)))
        return Series(names, dates, values, len(days))

    def _take(self, block: Block) -> None:
        self.gathered_days(block)
        self.values.append(self.parsed_values(block, self.columns[self.file.kind.value_column], complete=True))
        self.codes.append(self._codes(block))

    def _codes(self, block: Block) -> Integers:
        position = self.columns[self.file.kind.name_column]
        names = texts(block.columns[position])
        for name in dict.fromkeys(names):
            if name not in self.names:
                self._judge_name(name, int(block.rows[names.index(name)]), self.source.header[position])
                self.names[name] = len(self.names)
        return np.array([self.names[name] for name in names], dtype=np.int64)

    def _judge_name(self, name: str, row: int, column: str) -> None:
        words, known = _words(self.file.kind.name_column), self.file.known
        if not name:
            self.problems.add(row, f"the {words} is empty", column=column)
        elif known is not None and name not in known:
            self.problems.add(row, f"is an unknown {words} (first of its rows)", column=column, value=name)

    def _note_missing(self, series: Series) -> None:
        if not self.file.kind.complete or self.problems.count:
            return
        for day, name in np.argwhere(np.isnan(series.values)):
            self.problems.add(None, f"has no value of {series.names[name]} on {series.dates[day]}")


def _empty(names: tuple[str, ...]) -> Series:
    return Series(names, np.empty(0, dtype="datetime64[D]"), np.empty((0, len(names))), 0)


def _words(column: str) -> str:
    return column.replace("_id", "").replace("_", " ")
