"""Streams of prices and factor returns, from the wire to tables; packs and sets, to the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from portfolio_optimization.v1 import market_data_pb2 as pb

from server.compute.inputs import Floats
from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.convert.text_values import read_day, read_words
from server.errors import Fault, InvalidRequest
from storage.records import FactorSet, PricingPack
from storage.tables import Dates, FactorTable, PriceTable

_MOST_DAYS = 50_000
_MOST_VALUES = 10_000_000
# Far above any price, and so low that the value of any holding is an exact number.
_HIGHEST_CLOSE = 1e12
# A stream with so many faults is not read on.
_MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What holds for all of a stream."""

    source: str
    dates: Dates
    validate_only: bool


@dataclass(frozen=True, slots=True)
class SeriesKind:
    """What the series of a stream are.

    Attributes:
        field: Path of a series, as faults name it.
        values: Name of the repeated field with the values.
        above: Values are greater than this,
        below: and less than this.
        complete: There is a value on every day; otherwise NaN says that there is none.
    """

    field: str
    values: str
    above: float
    below: float
    complete: bool

    def wrong(self, column: Floats) -> npt.NDArray[np.bool_]:
        """Which values are refused."""
        right = (column > self.above) & (column < self.below)
        return ~right if self.complete else ~right & ~np.isnan(column)

    @property
    def range(self) -> str:
        """The range of values, as a sentence says it."""
        high = "finite" if np.isinf(self.below) else f"below {self.below:g}"
        return f"above {self.above:g} and {high}"


_CLOSES = SeriesKind("block.series", "closes", above=0.0, below=_HIGHEST_CLOSE, complete=False)
_RETURNS = SeriesKind("series", "returns", above=-1.0, below=np.inf, complete=True)


class _CountedFaults(Faults):
    """Faults that know how many they are."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, field: str, description: str) -> None:
        """Note a fault."""
        super().add(field, description)
        self.count += 1


class SeriesStream:
    """Gathers the series of a stream, whose first part is its header.

    Faults of values are gathered too; a stream out of order, too large or with many faults is given up at once.
    """

    def __init__(self, kind: SeriesKind) -> None:
        self._kind = kind
        self._header: StreamHeader | None = None
        self._columns: dict[str, Floats] = {}
        self._faults = _CountedFaults()
        self._count = 0

    @property
    def header(self) -> StreamHeader:
        """The header.

        Raises:
            InvalidRequest: None has come.
        """
        if self._header is None:
            raise InvalidRequest([Fault("header", "must be the first message")])
        return self._header

    def begin(self, message: pb.PricingPackHeader | pb.FactorSetHeader) -> None:
        """Take the header.

        Raises:
            InvalidRequest: It is wrong, or not the first.
        """
        if self._header is not None:
            raise InvalidRequest([Fault("header", "must be sent once")])
        source = read_words("header.source", message.source, self._faults)
        dates = _read_dates(message.dates, self._faults)
        self._faults.check()
        self._header = StreamHeader(source, dates, message.validate_only)

    def take(self, name: str, values: Sequence[float]) -> None:
        """Take a series.

        Raises:
            InvalidRequest: It comes before the header, is one too many, or the last of many that are faulty.
        """
        dates, field = self.header.dates, self._kind.field
        self._count += len(values)
        if self._count > _MOST_VALUES:
            raise InvalidRequest([Fault(field, f"has more than {_MOST_VALUES} values in all")])
        column = np.array(values, dtype=np.float64)
        self._check(name, column, dates)
        self._columns[name] = column
        if self._faults.count >= _MOST_FAULTS:
            self._faults.add(field, "has more than can be listed; what follows was not looked at")
            self._faults.check()

    def end(self) -> tuple[tuple[str, ...], Floats]:
        """Names (n,) and values (T, n) of all series.

        Raises:
            InvalidRequest: With every fault.
        """
        days = len(self.header.dates)
        if not self._faults.count and not any(np.isfinite(column).any() for column in self._columns.values()):
            self._faults.add(self._kind.field, "has no value at all")
        self._faults.check()
        values = np.array(list(self._columns.values())).reshape(len(self._columns), days)
        return tuple(self._columns), values.T

    def _check(self, name: str, column: Floats, dates: Dates) -> None:
        kind, faults = self._kind, self._faults
        field = f"{kind.field}[{name}]"
        faults.identifier(field, name)
        if name in self._columns:
            faults.add(field, "is sent more than once")
        if len(column) != len(dates):
            reason = f"must have {len(dates)} values, one for every day, not {len(column)}"
            faults.add(f"{field}.{kind.values}", reason)
            return
        wrong = np.flatnonzero(kind.wrong(column))
        if wrong.size:
            more = f", and {wrong.size - 1} more" if wrong.size > 1 else ""
            found = f"not {column[wrong[0]]:g} on {dates[wrong[0]]}{more}"
            faults.add(f"{field}.{kind.values}", f"must be {kind.range}, {found}")


def price_stream() -> SeriesStream:
    """For a stream of prices."""
    return SeriesStream(_CLOSES)


def factor_stream() -> SeriesStream:
    """For a stream of factor returns."""
    return SeriesStream(_RETURNS)


def take_prices(stream: SeriesStream, message: pb.LoadPricingPackRequest) -> None:
    """Take a part of a pricing pack.

    Raises:
        InvalidRequest: See `SeriesStream`.
    """
    match message.WhichOneof("part"):
        case "header":
            stream.begin(message.header)
        case "block":
            for series in message.block.series:
                stream.take(series.instrument_id, series.closes)
        case _:
            raise InvalidRequest([Fault("part", "must be a header or a block")])


def take_returns(stream: SeriesStream, message: pb.LoadFactorReturnsRequest) -> None:
    """Take a part of a factor set.

    Raises:
        InvalidRequest: See `SeriesStream`.
    """
    match message.WhichOneof("part"):
        case "header":
            stream.begin(message.header)
        case "series":
            stream.take(message.series.factor, message.series.returns)
        case _:
            raise InvalidRequest([Fault("part", "must be a header or a series")])


def _read_dates(texts: Iterable[str], faults: Faults) -> Dates:
    """Days in increasing order; the first that is wrong ends the reading."""
    days, none = list(texts), np.empty(0, dtype="datetime64[D]")
    if not 2 <= len(days) <= _MOST_DAYS:
        faults.add("header.dates", f"must have 2 to {_MOST_DAYS} days, not {len(days)}")
        return none
    for k, text in enumerate(days):
        if not text:
            faults.add(f"header.dates[{k}]", "is empty")
        if read_day(f"header.dates[{k}]", text, faults) is None:
            return none
        if k and text <= days[k - 1]:
            faults.add(f"header.dates[{k}]", f"must be after the day before it in the list, {days[k - 1]}, not {text}")
            return none
    return np.array(days, dtype="datetime64[D]")


def write_pack(pack: PricingPack) -> pb.PricingPack:
    """A stored pricing pack."""
    return pb.PricingPack(
        pricing_pack_id=pack.id,
        source=pack.source,
        first_date=pack.first_date.isoformat(),
        as_of=pack.as_of.isoformat(),
        instrument_ids=pack.instrument_ids,
        observations=pack.days,
        created_at=timestamp(pack.created_at),
    )


def write_unstored_pack(table: PriceTable, source: str) -> pb.PricingPack:
    """The pricing pack that a table would be."""
    content = table.canonical()
    return pb.PricingPack(
        pricing_pack_id=content.content_id,
        source=source,
        first_date=str(content.dates[0]),
        as_of=str(content.dates[-1]),
        instrument_ids=content.instrument_ids,
        observations=len(content.dates),
    )


def write_factor_set(factor_set: FactorSet) -> pb.FactorSet:
    """A stored factor set."""
    return pb.FactorSet(
        factor_set_id=factor_set.id,
        source=factor_set.source,
        first_date=factor_set.first_date.isoformat(),
        as_of=factor_set.as_of.isoformat(),
        factors=factor_set.factors,
        observations=factor_set.days,
        created_at=timestamp(factor_set.created_at),
    )


def write_unstored_factor_set(table: FactorTable, source: str) -> pb.FactorSet:
    """The factor set that a table would be."""
    return pb.FactorSet(
        factor_set_id=table.content_id,
        source=source,
        first_date=str(table.dates[0]),
        as_of=str(table.dates[-1]),
        factors=table.factors,
        observations=len(table.dates),
    )
