"""The caller's own model inputs as read-only arrays, identified by their content.

Instruments stand in the order of their ids, however they are given, so that the order of a caller's list is no content.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from storage.tables import Floats

Order: TypeAlias = NDArray[np.intp]

SCENARIOS, FORECAST, COVARIANCE, EXPOSURES = "sc", "fc", "cv", "fe"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PackedModel:
    """The one form in which all of them are stored.

    Attributes:
        prefix: What it is, and how its id begins.
        as_of: Day on which it was made.
        labels: Names of scenarios or factors.
        days: Lengths in trading days.
        columns: (m, length) numbers; NaN = not known.
    """

    prefix: str
    as_of: date
    instrument_ids: tuple[str, ...]
    labels: tuple[str, ...] = ()
    days: tuple[int, ...] = ()
    columns: Floats

    @property
    def id(self) -> str:
        """The prefix and the first 32 hex digits of the SHA-256 of all the rest."""
        names = [self.as_of.isoformat(), self.instrument_ids, self.labels, self.days, self.columns.shape]
        digest = hashlib.sha256(json.dumps(names).encode())
        for column in self.encoded():
            digest.update(column)
        return f"{self.prefix}-{digest.hexdigest()[:32]}"

    def encoded(self) -> Iterator[bytes]:
        """Each column as bytes, in which every NaN has one bit pattern and -0.0 is 0.0."""
        return (np.where(np.isnan(row), np.nan, row + 0.0).astype("<f8").tobytes() for row in self.columns)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScenarioSet:
    """Equally long scenarios of simple returns.

    Attributes:
        id: ``sc-`` and 32 hex digits: equal exactly when all the rest is.
        days: Length of a scenario in trading days, > 0.
        probabilities: (S,) > 0 with sum 1.
        returns: (S, n) fractions; their order is content.
        names: (S,) of scenarios; empty where none has a name.
    """

    id: str = field(init=False)
    as_of: date
    instrument_ids: tuple[str, ...]
    days: int
    probabilities: Floats
    returns: Floats
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        order, size = _order(self.instrument_ids), len(self.probabilities)
        _freeze(self, "probabilities", (None,), (size,))
        _freeze(self, "returns", (None, order), (size, len(order)))
        _set(self, "instrument_ids", _picked(self.instrument_ids, order))
        _set(self, "names", self.names if any(self.names) else ())
        if self.names and len(self.names) != size:
            raise ValueError(f"there are {len(self.names)} names of {size} scenarios")
        _set(self, "id", self.packed().id)

    def packed(self) -> PackedModel:
        """The probabilities, then the returns by instrument."""
        return PackedModel(
            prefix=SCENARIOS,
            as_of=self.as_of,
            instrument_ids=self.instrument_ids,
            labels=self.names,
            days=(self.days,),
            columns=np.vstack([self.probabilities, self.returns.T]),
        )

    @classmethod
    def unpacked(cls, packed: PackedModel) -> Self:
        """What was packed."""
        return cls(
            as_of=packed.as_of,
            instrument_ids=packed.instrument_ids,
            days=packed.days[0],
            probabilities=packed.columns[0],
            returns=packed.columns[1:].T,
            names=packed.labels,
        )


@dataclass(frozen=True, slots=True)
class ForecastPeriod:
    """Expected simple returns over ``days`` trading days: annual, by instrument, fractions."""

    days: int
    expected_returns: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ForecastSet:
    """Expected returns for one or several periods.

    Attributes:
        id: ``fc-`` and 32 hex digits: equal exactly when all the rest is.
        periods: In order of time; each may have instruments of its own.
    """

    id: str = field(init=False)
    as_of: date
    periods: tuple[ForecastPeriod, ...]

    def __post_init__(self) -> None:
        _set(self, "id", self.packed().id)

    @property
    def instrument_ids(self) -> tuple[str, ...]:
        """All instruments that any period has, in the order of their ids."""
        return tuple(sorted(set().union(*(period.expected_returns for period in self.periods))))

    def packed(self) -> PackedModel:
        """The returns by period."""
        names = self.instrument_ids
        rows = [[period.expected_returns.get(name, np.nan) for name in names] for period in self.periods]
        return PackedModel(
            prefix=FORECAST,
            as_of=self.as_of,
            instrument_ids=names,
            days=tuple(period.days for period in self.periods),
            columns=np.array(rows, dtype=np.float64).reshape(len(rows), len(names)),
        )

    @classmethod
    def unpacked(cls, packed: PackedModel) -> Self:
        """What was packed."""
        rows = (zip(packed.instrument_ids, row, strict=True) for row in packed.columns.tolist())
        known = [{name: value for name, value in row if not math.isnan(value)} for row in rows]
        periods = tuple(ForecastPeriod(*pair) for pair in zip(packed.days, known, strict=True))
        return cls(as_of=packed.as_of, periods=periods)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CovarianceSet:
    """A covariance of simple returns.

    Attributes:
        id: ``cv-`` and 32 hex digits: equal exactly when all the rest is.
        Sigma: (n, n) annual, exactly symmetric; eigenvalues of any sign.
    """

    id: str = field(init=False)
    as_of: date
    instrument_ids: tuple[str, ...]
    Sigma: Floats

    def __post_init__(self) -> None:
        order = _order(self.instrument_ids)
        _freeze(self, "Sigma", (order, order), (len(order), len(order)))
        _set(self, "instrument_ids", _picked(self.instrument_ids, order))
        if not np.array_equal(self.Sigma, self.Sigma.T):
            raise ValueError("Sigma is not symmetric")
        _set(self, "id", self.packed().id)

    def packed(self) -> PackedModel:
        """The rows."""
        return PackedModel(prefix=COVARIANCE, as_of=self.as_of, instrument_ids=self.instrument_ids, columns=self.Sigma)

    @classmethod
    def unpacked(cls, packed: PackedModel) -> Self:
        """What was packed."""
        return cls(as_of=packed.as_of, instrument_ids=packed.instrument_ids, Sigma=packed.columns)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExposureSet:
    """Exposures of instruments to factors.

    Attributes:
        id: ``fe-`` and 32 hex digits: equal exactly when all the rest is.
        factors: (k,) distinct; their order is content.
        B: (n, k) exposures, without unit.
        specific: (n,) annual volatility that the factors leave unexplained, >= 0; NaN = not known.
    """

    id: str = field(init=False)
    as_of: date
    factors: tuple[str, ...]
    instrument_ids: tuple[str, ...]
    B: Floats
    specific: Floats

    def __post_init__(self) -> None:
        order = _order(self.instrument_ids)
        _order(self.factors)
        _freeze(self, "B", (order, None), (len(order), len(self.factors)))
        _freeze(self, "specific", (order,), (len(order),), complete=False)
        _set(self, "instrument_ids", _picked(self.instrument_ids, order))
        _set(self, "id", self.packed().id)

    def packed(self) -> PackedModel:
        """The exposures by factor, then the specific volatilities."""
        return PackedModel(
            prefix=EXPOSURES,
            as_of=self.as_of,
            instrument_ids=self.instrument_ids,
            labels=self.factors,
            columns=np.vstack([self.B.T, self.specific]),
        )

    @classmethod
    def unpacked(cls, packed: PackedModel) -> Self:
        """What was packed."""
        return cls(
            as_of=packed.as_of,
            factors=packed.labels,
            instrument_ids=packed.instrument_ids,
            B=packed.columns[:-1].T,
            specific=packed.columns[-1],
        )


ModelSet: TypeAlias = ScenarioSet | ForecastSet | CovarianceSet | ExposureSet


def _order(names: Sequence[str]) -> Order:
    """The places of the names in the order of the alphabet."""
    if len(set(names)) != len(names):
        raise ValueError("names are not distinct")
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.intp)


def _picked(names: Sequence[str], order: Order) -> tuple[str, ...]:
    return tuple(names[place] for place in order)


def _freeze(
    record: object, name: str, orders: Sequence[Order | None], shape: tuple[int, ...], *, complete: bool = True
) -> None:
    """Replace an array by a private read-only copy in these orders, or raise a ValueError about shape or range."""
    values = np.asarray(getattr(record, name), dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}, names say {shape}")
    for axis, order in enumerate(orders):
        if order is not None and (order[1:] < order[:-1]).any():
            values = np.take(values, order, axis=axis)
    if not (np.isfinite(values) if complete else ~np.isinf(values)).all():
        raise ValueError(f"{name} is not finite")
    frozen = np.array(values, order="C")
    frozen.flags.writeable = False
    _set(record, name, frozen)


def _set(record: object, name: str, value: object) -> None:
    object.__setattr__(record, name, value)
