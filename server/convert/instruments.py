"""Instruments, from the wire and back."""

from __future__ import annotations

from decimal import Decimal

from portfolio_optimization.v1 import instruments_pb2 as pb

from server.convert.faults import Bounds, Faults
from server.convert.text_values import (
    MONEY_ABOVE_ZERO,
    SHARES_ABOVE_ZERO,
    read_code,
    read_decimal,
    read_words,
    refuse_repeats,
    shortest_decimal,
    write_decimal,
)
from server.settings import Settings
from server.specs import CASH
from storage.records import Instrument

_MOST_INSTRUMENTS = 10_000
_QUALITY = Bounds(0.0, 10.0)
_VOLUME = Bounds(0.0, 1e15)
_OPTION_LEVELS = Bounds(0, 5)
_STATUSES = {
    pb.INSTRUMENT_STATUS_ACTIVE: "active",
    pb.INSTRUMENT_STATUS_HALTED: "halted",
    pb.INSTRUMENT_STATUS_DELISTED: "delisted",
}
_STATUS_NUMBERS = {word: number for number, word in _STATUSES.items()}


def read_instruments(
    message: pb.UpsertInstrumentsRequest, _settings: Settings, faults: Faults
) -> tuple[Instrument, ...]:
    """The instruments of a request; what is wrong with them is added to `faults`."""
    count = len(message.instruments)
    if not 1 <= count <= _MOST_INSTRUMENTS:
        faults.add("instruments", f"must have 1 to {_MOST_INSTRUMENTS} items, not {count}")
        return ()
    refuse_repeats("instruments", (item.instrument_id for item in message.instruments), faults)
    return tuple(_read_instrument(f"instruments[{k}]", item, faults) for k, item in enumerate(message.instruments))


def _read_instrument(field: str, message: pb.Instrument, faults: Faults) -> Instrument:
    faults.identifier(f"{field}.instrument_id", message.instrument_id)
    if message.instrument_id == CASH:
        faults.add(f"{field}.instrument_id", f"must not be {CASH}, the name of cash")
    if not message.currency:
        faults.add(f"{field}.currency", "is required")
    return Instrument(
        id=message.instrument_id,
        name=read_words(f"{field}.name", message.name, faults),
        asset_class=read_words(f"{field}.asset_class", message.asset_class, faults, required=True),
        sector=read_words(f"{field}.sector", message.sector, faults),
        country=read_code(f"{field}.country", message.country, 2, faults),
        currency=read_code(f"{field}.currency", message.currency, 3, faults),
        lot_size=read_decimal(f"{field}.lot_size", message.lot_size, SHARES_ABOVE_ZERO, faults) or Decimal(1),
        quality_score=_read_number(field, message, "quality_score", faults),
        average_daily_volume=_read_number(field, message, "average_daily_volume", faults),
        market_cap=read_decimal(f"{field}.market_cap_amount", message.market_cap_amount, MONEY_ABOVE_ZERO, faults),
        status=_read_status(f"{field}.status", message.status, faults),
        source=read_words(f"{field}.source", message.source, faults),
        required_option_level=int(
            faults.number(f"{field}.required_option_level", message.required_option_level, _OPTION_LEVELS)
        ),
    )


_NUMBERS = {"quality_score": _QUALITY, "average_daily_volume": _VOLUME}


def _read_number(field: str, message: pb.Instrument, name: str, faults: Faults) -> Decimal | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs list the names as literals
        return None
    return shortest_decimal(faults.number(f"{field}.{name}", getattr(message, name), _NUMBERS[name]))


def _read_status(field: str, status: pb.InstrumentStatus.ValueType, faults: Faults) -> str:
    if status not in _STATUSES:
        accepted = ", ".join(map(pb.InstrumentStatus.Name, _STATUSES))
        faults.add(field, f"must be one of {accepted}")
    return _STATUSES.get(status, "")


def write_instrument(instrument: Instrument) -> pb.Instrument:
    """An instrument."""
    return pb.Instrument(
        instrument_id=instrument.id,
        name=instrument.name,
        asset_class=instrument.asset_class,
        sector=instrument.sector,
        country=instrument.country,
        currency=instrument.currency,
        lot_size=write_decimal(instrument.lot_size),
        quality_score=_as_float(instrument.quality_score),
        average_daily_volume=_as_float(instrument.average_daily_volume),
        market_cap_amount=write_decimal(instrument.market_cap),
        status=_STATUS_NUMBERS[instrument.status],
        source=instrument.source,
        required_option_level=instrument.required_option_level,
    )


def _as_float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
