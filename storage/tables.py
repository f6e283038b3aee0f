"""Read-only tables of numbers by day, identified by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Dates: TypeAlias = NDArray[np.datetime64]
Floats: TypeAlias = NDArray[np.float64]


def _content_id(prefix: str, names: Sequence[str], dates: Dates, values: Floats) -> str:
    """The identity of a table: ``prefix`` and the first 32 hex digits of the SHA-256 of its canonical bytes."""
    digest = hashlib.sha256("\0".join(names).encode())
    digest.update(f"\0\0{len(names)} {len(dates)}\0".encode())
    digest.update(dates.astype("<M8[D]").tobytes())
    # Every NaN has one bit pattern, and -0.0 is 0.0.
    digest.update(np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes())
    return f"{prefix}-{digest.hexdigest()[:32]}"


def _read_only(dates: Dates, values: Floats, shape: tuple[int, int]) -> tuple[Dates, Floats]:
    """Private read-only copies in canonical types, or a ValueError about shape or order."""
    frozen_dates, frozen_values = np.array(dates, dtype="datetime64[D]"), np.array(values, dtype=np.float64, order="C")
    if frozen_values.shape != shape:
        raise ValueError(f"values have shape {frozen_values.shape}, dates and names say {shape}")
    if np.any(np.isnat(frozen_dates)) or np.any(frozen_dates[1:] <= frozen_dates[:-1]):
        raise ValueError("dates are not strictly increasing")
    frozen_dates.flags.writeable = frozen_values.flags.writeable = False
    return frozen_dates, frozen_values


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """Closing prices by day and instrument.

    Attributes:
        instrument_ids: (n,) distinct.
        dates: (T,) ``datetime64[D]``, strictly increasing.
        closes: (T, n) price per share; NaN = no price that day.
    """

    instrument_ids: tuple[str, ...]
    dates: Dates
    closes: Floats

    def __post_init__(self) -> None:
        if len(set(self.instrument_ids)) != len(self.instrument_ids):
            raise ValueError("instrument ids are not distinct")
        dates, closes = _read_only(self.dates, self.closes, (len(self.dates), len(self.instrument_ids)))
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "closes", closes)

    def canonical(self) -> Self:
        """The same prices with instruments in order of their ids, without days or instruments that have none."""
        order = np.array(sorted(range(len(self.instrument_ids)), key=self.instrument_ids.__getitem__), dtype=np.intp)
        present = ~np.isnan(self.closes[:, order])
        rows, columns = present.any(axis=1), order[present.any(axis=0)]
        names = tuple(self.instrument_ids[column] for column in columns)
        return type(self)(names, self.dates[rows], self.closes[np.ix_(rows, columns)])

    @property
    def content_id(self) -> str:
        """``pp-`` and 32 hex digits: equal exactly when the prices are."""
        table = self.canonical()
        return _content_id("pp", table.instrument_ids, table.dates, table.closes)

    @property
    def observations(self) -> int:
        """How many prices there are."""
        return int(np.count_nonzero(~np.isnan(self.closes)))


@dataclass(frozen=True, slots=True, eq=False)
class FactorTable:
    """Simple returns per period of named factors.

    Attributes:
        factors: (k,) distinct.
        dates: (T,) ``datetime64[D]``, strictly increasing.
        returns: (T, k) fractions, not percent; NaN = no return that day.
    """

    factors: tuple[str, ...]
    dates: Dates
    returns: Floats

    def __post_init__(self) -> None:
        if len(set(self.factors)) != len(self.factors):
            raise ValueError("factor names are not distinct")
        dates, returns = _read_only(self.dates, self.returns, (len(self.dates), len(self.factors)))
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "returns", returns)

    def canonical(self) -> Self:
        """The same returns without days that have none. The order of the factors is content."""
        rows = ~np.isnan(self.returns).all(axis=1)
        return type(self)(self.factors, self.dates[rows], self.returns[rows])

    @property
    def content_id(self) -> str:
        """``fs-`` and 32 hex digits: equal exactly when names and returns are."""
        table = self.canonical()
        return _content_id("fs", table.factors, table.dates, table.returns)

    @property
    def observations(self) -> int:
        """How many returns there are."""
        return int(np.count_nonzero(~np.isnan(self.returns)))

    @property
    def empty_factors(self) -> tuple[str, ...]:
        """The factors that have no return on any day."""
        return tuple(name for name, column in zip(self.factors, self.returns.T, strict=True) if np.isnan(column).all())
