"""Checks of a table of prices before anything is computed from it; each finding names the asset."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernel.errors import ProblemError
from kernel.estimation.arrays import BoolArray, FloatArray, at, first_true
from kernel.estimation.findings import CheckSettings, Code, Finding, Severity

__all__ = ["CheckSettings", "Code", "Finding", "Severity", "check_prices", "usable"]

Dates = npt.NDArray[np.datetime64]
Indices = npt.NDArray[np.intp]

# A wrong split is undone within so many rows, to within this fraction of the price before it.
SPLIT_ROWS = 5
SPLIT_TOLERANCE = 0.10
# Days and assets named in one message; the rest is counted.
NAMED_DAYS = 5
NAMED_ASSETS = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The prices and what every check needs of them."""

    ids: tuple[str, ...]
    dates: Dates
    closes: FloatArray  # (T, n), NaN where there is no price
    settings: CheckSettings
    present: BoolArray  # (T, n) a price was given
    ratios: FloatArray  # (T, n) price over the last sound price before it; NaN where either is none
    first: Indices  # (n,) row of the first price; T when there is none
    last: Indices  # (n,) row of the last price; -1 when there is none

    def day(self, row: int) -> dt.date:
        return _as_date(self.dates[row])

    def finding(self, code: Code, column: int, row: int | None, message: str) -> Finding:
        name = self.ids[column]
        return Finding(code, name, None if row is None else self.day(row), f"{name} {message}")

    def rows_of(self, mask: BoolArray) -> Iterator[tuple[int, Indices]]:
        """Columns with a true element, each with its true rows."""
        for column in np.flatnonzero(mask.any(axis=0)):
            yield int(column), np.flatnonzero(mask[:, column])


def check_prices(
    instrument_ids: tuple[str, ...], dates: Dates, closes: FloatArray, settings: CheckSettings
) -> tuple[Finding, ...]:
    """Everything doubtful about a table of closing prices, at most one finding per asset and code.

    Args:
        instrument_ids: n names.
        dates: (T,) datetime64[D] in ascending order; repeated days are a finding.
        closes: (T, n) closing prices in each asset's currency; NaN where there is none.
        settings: The limits.

    Returns:
        The findings: those about the table first, then by asset in the order given.

    Raises:
        ProblemError: The sizes do not fit, or the dates are not in ascending order.
    """
    table = _table(instrument_ids, dates, closes, settings)
    found = [finding for check in _CHECKS for finding in check(table)]
    position = {name: i for i, name in reversed(tuple(enumerate(instrument_ids)))}
    return tuple(sorted(found, key=lambda f: -1 if f.instrument_id is None else position[f.instrument_id]))


def usable(instrument_ids: tuple[str, ...], findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """The assets with a sound full history.

    Args:
        instrument_ids: The names that were checked.
        findings: What check_prices found for them.

    Returns:
        The names without an ERROR, in the order given; none when an ERROR concerns the whole table.
    """
    refused = {f.instrument_id for f in findings if f.severity is Severity.ERROR}
    return () if None in refused else tuple(name for name in instrument_ids if name not in refused)


def _table(ids: tuple[str, ...], dates: Dates, closes: FloatArray, settings: CheckSettings) -> _Table:
    days, table = np.asarray(dates, dtype="datetime64[D]"), np.asarray(closes, dtype=np.float64)
    if days.ndim != 1 or table.shape != (len(days), len(ids)):
        raise ProblemError("closes", f"must be {days.size} dates x {len(ids)} assets; the shape is {table.shape}")
    unknown = first_true(np.isnat(days))
    if unknown is not None:
        raise ProblemError(at("dates", unknown), "is not a date")
    backwards = np.flatnonzero(~(days[1:] >= days[:-1]))
    if backwards.size:
        row = int(backwards[0])
        raise ProblemError(f"dates[{row + 1}]", f"{days[row + 1]} follows {days[row]}; dates must be ascending")
    present = ~np.isnan(table)
    some = present.any(axis=0)
    T = len(days)
    first = np.where(some, present.argmax(axis=0), T) if T else np.zeros(len(ids), dtype=np.intp)
    last = np.where(some, T - 1 - present[::-1].argmax(axis=0), -1) if T else first - 1
    return _Table(ids, days, table, settings, present, _ratios(table), first, last)


def _ratios(closes: FloatArray) -> FloatArray:
    """(T, n) each sound price over the last sound one before it, across holes."""
    sound = np.isfinite(closes) & (closes > 0)
    rows = np.where(sound, np.arange(len(closes))[:, None], 0)
    latest = np.maximum.accumulate(rows, axis=0)
    filled = np.take_along_axis(np.where(sound, closes, np.nan), latest, axis=0)
    ratios = np.full(closes.shape, np.nan)
    with np.errstate(over="ignore"):  # an infinite ratio is a jump like any other
        np.divide(closes[1:], filled[:-1], out=ratios[1:], where=sound[1:])
    return ratios


def _duplicate_dates(table: _Table) -> Iterator[Finding]:
    rows = np.flatnonzero(table.dates[1:] == table.dates[:-1]) + 1
    if rows.size:
        twice = np.flatnonzero((table.present[rows] & table.present[rows - 1]).any(axis=0))
        names = _listed([table.ids[column] for column in twice[:NAMED_ASSETS]], twice.size)
        priced = f"; priced twice: {names}" if twice.size else "; no asset is priced twice"
        message = f"the date of the row before is repeated in {_count(rows.size, 'row')}: {_days(table, rows)}{priced}"
        yield Finding(Code.DUPLICATE_DATE, None, table.day(int(rows[0])), message)


def _outdated(table: _Table) -> Iterator[Finding]:
    as_of, limit = table.settings.as_of, table.settings.max_age_days
    if as_of is None or limit is None or not len(table.dates):
        return
    last = table.day(-1)
    age = (as_of - last).days
    if age > limit:
        message = f"the last prices are of {last}, {_count(age, 'day')} before {as_of}; the limit is {limit}"
        yield Finding(Code.OUTDATED, None, last, message)


def _duplicate_instruments(table: _Table) -> Iterator[Finding]:
    columns: dict[str, list[int]] = {}
    for column, name in enumerate(table.ids):
        columns.setdefault(name, []).append(column)
    for found in columns.values():
        if len(found) > 1:
            listed = ", ".join(str(column + 1) for column in found)
            yield table.finding(Code.DUPLICATE_INSTRUMENT, found[0], None, f"is in {len(found)} columns: {listed}")


def _too_short(table: _Table) -> Iterator[Finding]:
    counts, limit = table.present.sum(axis=0), table.settings.min_observations
    for column in np.flatnonzero(counts < max(limit, 1)):
        message = f"has {_count(int(counts[column]), 'price')}; at least {max(limit, 1)} are needed"
        yield table.finding(Code.TOO_SHORT, int(column), None, message)


def _late_start(table: _Table) -> Iterator[Finding]:
    for column in np.flatnonzero((table.first > 0) & (table.last >= 0)):
        row = int(table.first[column])
        message = (
            f"has no price before {table.day(row)}; the table starts on {table.day(0)}, {_count(row, 'row')} earlier"
        )
        yield table.finding(Code.LATE_START, int(column), row, message)


def _ended_early(table: _Table) -> Iterator[Finding]:
    T = len(table.dates)
    for column in np.flatnonzero((table.last >= 0) & (table.last < T - 1)):
        row = int(table.last[column])
        later = _count(T - 1 - row, "row")
        message = f"has no price after {table.day(row)}; the table ends on {table.day(-1)}, {later} later"
        yield table.finding(Code.ENDED_EARLY, int(column), row, message)


def _missing(table: _Table) -> Iterator[Finding]:
    rows = np.arange(len(table.dates))[:, None]
    holes = ~table.present & (rows > table.first) & (rows < table.last)
    for column, found in table.rows_of(holes):
        message = f"lacks {_count(found.size, 'price')} inside its history: {_days(table, found)}"
        yield table.finding(Code.MISSING, column, int(found[0]), message)


def _non_positive(table: _Table) -> Iterator[Finding]:
    for column, found in table.rows_of((table.closes <= 0) | np.isinf(table.closes)):
        prices = [f"{table.closes[row, column]:g} on {table.day(row)}" for row in found[:NAMED_DAYS]]
        message = f"has {_count(found.size, 'price')} not above 0 and finite: {_listed(prices, found.size)}"
        yield table.finding(Code.NON_POSITIVE, column, int(found[0]), message)


def _constant_columns(table: _Table) -> BoolArray:
    changes, pairs = (table.ratios != 1) & ~np.isnan(table.ratios), ~np.isnan(table.ratios)
    constant: BoolArray = pairs.any(axis=0) & ~changes.any(axis=0)
    return constant


def _constant(table: _Table) -> Iterator[Finding]:
    for column in np.flatnonzero(_constant_columns(table)):
        row = int(table.first[column])
        message = f"has the price {table.closes[row, column]:g} on all its days from {table.day(row)}"
        yield table.finding(Code.CONSTANT, int(column), row, message)


def _stale(table: _Table) -> Iterator[Finding]:
    unchanged = table.ratios == 1
    if not len(unchanged):
        return
    count = np.cumsum(unchanged, axis=0)
    runs = count - np.maximum.accumulate(np.where(unchanged, 0, count), axis=0)
    longest, limit = runs.max(axis=0), table.settings.max_stale_days
    for column in np.flatnonzero((longest >= limit) & ~_constant_columns(table)):
        end = int(runs[:, column].argmax())
        start = end - int(longest[column]) + 1
        price = table.closes[end, column]
        message = (
            f"stays at {price:g} for {_count(end - start + 1, 'day')} from {table.day(start)}; the limit is {limit}"
        )
        yield table.finding(Code.STALE, int(column), start, message)


def _split_pairs(table: _Table, column: int, rows: Indices) -> list[tuple[int, int]]:
    """Pairs of rows whose returns undo each other, at least one of them a jump; each row is used once."""
    ratios: list[float] = table.ratios[:, column].tolist()
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for row in rows.tolist():
        partners = [*range(row + 1, row + 1 + SPLIT_ROWS), *range(row - 1, row - 1 - SPLIT_ROWS, -1)]
        for other in partners:
            if taken.isdisjoint((row, other)) and 0 < other < len(ratios) and _undone(ratios[row], ratios[other]):
                pairs.append((min(row, other), max(row, other)))
                taken.update((row, other))
    return pairs


def _undone(ratio: float, other: float) -> bool:
    return abs(ratio * other - 1) <= SPLIT_TOLERANCE


def _jumps(table: _Table) -> Iterator[Finding]:
    """Jumps beyond the limit; those that are soon undone are told apart as wrong splits."""
    limit = table.settings.max_jump
    for column, rows in table.rows_of(np.abs(table.ratios - 1) > limit):
        pairs = _split_pairs(table, column, rows)
        if pairs:
            undone = [
                f"{_move(table, column, a)} is undone by {_move(table, column, b)}" for a, b in pairs[:NAMED_DAYS]
            ]
            message = f"seems to have a wrong split: {_listed(undone, len(pairs))}; the limit is {limit:.0%}"
            yield table.finding(Code.WRONG_SPLIT, column, pairs[0][0], message)
        left = np.setdiff1d(rows, np.array(pairs, dtype=np.intp).ravel())
        if left.size:
            moves = [_move(table, column, int(row)) for row in left[:NAMED_DAYS]]
            message = f"has {_count(left.size, 'jump')} beyond the limit of {limit:.0%}: {_listed(moves, left.size)}"
            yield table.finding(Code.JUMP, column, int(left[0]), message)


def _move(table: _Table, column: int, row: int) -> str:
    return f"{table.ratios[row, column] - 1:+.1%} on {table.day(row)}"


def _days(table: _Table, rows: Indices) -> str:
    return _listed([str(table.day(int(row))) for row in rows[:NAMED_DAYS]], rows.size)


def _listed(shown: list[str], total: int) -> str:
    rest = total - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_date(day: np.datetime64) -> dt.date:
    value = day.astype("datetime64[D]").item()
    assert isinstance(value, dt.date)
    return value


_CHECKS: tuple[Callable[[_Table], Iterator[Finding]], ...] = (
    _duplicate_dates,
    _outdated,
    _duplicate_instruments,
    _too_short,
    _late_start,
    _ended_early,
    _missing,
    _non_positive,
    _constant,
    _stale,
    _jumps,
)
