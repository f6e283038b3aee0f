"""Requests of all kinds: plausible ones, hostile ones, and plausible ones with hostile places.

Hostile values are well-formed for the wire and nothing else: not finite, huge, negative zero, empty, too long, control
characters, unknown names, numbers that no enum has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from server.sample.facts import STOCKS
from server.vocabulary import OBJECTIVES, OPTIMIZATION_STATUSES, OPTIMIZATION_TYPES, RISK_MEASURES, TARGET_TYPES

MessageT = TypeVar("MessageT", bound=Message)
Draw = Callable[[st.SearchStrategy[Any]], Any]

NAMES = tuple(sorted(stock.id for stock in STOCKS))
FACTORS = ("momentum", "quality", "size", "minimum_volatility", "value")
SECTORS = tuple(sorted({stock.sector for stock in STOCKS}))
HOSTILE_STRINGS = (
    *("", " ", "CASH", "cash", "no-such-thing", "é", "𝔘𝔫", "\u202e", "\x00", "a\x00b", "a\nb", "\x7f", "x" * 37),
    *("x" * 3000, "00000000-0000-0000-0000-000000000000", "NaN", "-1", "1e400", "0E+999999", "1e-999999", "'; --"),
    *("2022-13-45", "0001-01-01", "9999-12-31", "20221228", "MjAyMC0wMS0wMVQwMDowMDowMCBhAA=="),
)
HOSTILE_NUMBERS = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1e-300, 1e-9, -1e-9, 1.0 + 1e-9, 2.0, 1e9, 1e15, 1e150),
    *(1e300, 1.7e308, -0.5, -1.0, -1e9, -1.7e308),
)
HOSTILE_INTEGERS = (0, 1, 2, 3, 1000, 1001, 2**31 - 1)
_PLAUSIBLE_WORDS = {
    "portfolio_id": ("sample-growth", "sample-defensive"),
    "optimization_type": OPTIMIZATION_TYPES.served,
    "objective": OBJECTIVES.served,
    "risk_measure": ("", *RISK_MEASURES.served),
    "target_type": TARGET_TYPES.served,
    "status": OPTIMIZATION_STATUSES.served,
    "benchmark_id": ("", "sample-sp500"),
    "instrument_ids": NAMES,
    "factors": FACTORS,
    "factor": ("", *FACTORS),
    "first_date": ("", "2018-01-02", "2021-06-30"),
    "last_date": ("", "2022-12-28"),
    "request_id": ("", "again"),
}
_PLAUSIBLE_NUMBERS = (0.0, 0.01, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0)
_GROUPS = {"sector_limits": SECTORS, "asset_class_limits": ("equity",)}
_LARGEST = {
    FieldDescriptor.CPPTYPE_INT32: 2**31 - 1,
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
    FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
}


def plausible(kind: type[MessageT]) -> st.SearchStrategy[MessageT]:
    """Messages whose values make sense field by field; together they may still contradict each other."""
    return _messages(kind, hostile=False)


def hostile(kind: type[MessageT]) -> st.SearchStrategy[MessageT]:
    """Messages full of values that no caller means."""
    return _messages(kind, hostile=True)


@st.composite
def spoiled(draw: Draw, whole: st.SearchStrategy[MessageT]) -> MessageT:
    """A message of `whole`, with hostile values in one to three places."""
    message: MessageT = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, message)
    return message


def _spoil(draw: Draw, message: Message) -> None:
    field = draw(st.sampled_from(_fields(message)))
    if _is_single_message(field) and draw(st.integers(0, 9)):
        _spoil(draw, getattr(message, field.name))
    else:
        _set(draw, message, field, hostile=True)


@st.composite
def _messages(draw: Draw, kind: type[MessageT], *, hostile: bool) -> MessageT:
    message = kind()
    _fill(draw, message, hostile)
    return message


def _fill(draw: Draw, message: Message, hostile: bool) -> None:
    for field in _fields(message):
        if draw(st.integers(0, 1 if hostile else 3)) == 0:
            _set(draw, message, field, hostile)


def _fields(message: Message) -> list[Any]:
    return list(message.DESCRIPTOR.fields)


def _set(draw: Draw, message: Message, field: FieldDescriptor, hostile: bool) -> None:
    if _is_map(field):
        _set_map(draw, message, field, hostile)
    elif _is_single_message(field):
        getattr(message, field.name).SetInParent()
        _fill(draw, getattr(message, field.name), hostile)
    elif field.is_repeated:
        _set_repeated(draw, message, field, hostile)
    else:
        setattr(message, field.name, draw(_scalars(field, field.name, hostile)))


def _set_map(draw: Draw, message: Message, field: FieldDescriptor, hostile: bool) -> None:
    names = st.sampled_from(_GROUPS.get(field.name, NAMES))
    keys = st.one_of(names, st.sampled_from(HOSTILE_STRINGS)) if hostile else names
    value = _entry(field).fields_by_name["value"]
    for key in draw(st.lists(keys, max_size=4)):
        if value.message_type is not None:
            _fill(draw, getattr(message, field.name)[key], hostile)
        else:
            getattr(message, field.name)[key] = draw(_scalars(value, field.name, hostile))


def _set_repeated(draw: Draw, message: Message, field: FieldDescriptor, hostile: bool) -> None:
    place = getattr(message, field.name)
    if field.message_type is not None:
        for _ in range(draw(st.integers(0, 2))):
            _fill(draw, place.add(), hostile)
        return
    size = draw(st.sampled_from((0, 1, 2, 5, 2000) if hostile else (1, 5, 10)))
    items = draw(st.lists(_scalars(field, field.name, hostile), min_size=min(size, 5), max_size=10))
    # Many elements are few of them repeated: drawing each would take longer than the call.
    place.extend(items * max(size // 10, 1))


def _scalars(field: FieldDescriptor, name: str, hostile: bool) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            sensible = st.sampled_from(_PLAUSIBLE_WORDS.get(name, ("",)))
            return st.one_of(sensible, st.sampled_from(HOSTILE_STRINGS), st.text(max_size=5)) if hostile else sensible
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_ENUM:
            known = st.sampled_from(_enum_numbers(field))
            return st.one_of(known, st.sampled_from((-1, 99, 2**31 - 1))) if hostile else known
        case FieldDescriptor.CPPTYPE_DOUBLE:
            numbers = st.sampled_from(HOSTILE_NUMBERS) if hostile else st.sampled_from(_PLAUSIBLE_NUMBERS)
            return st.one_of(numbers, st.floats()) if hostile else numbers
        case _:
            return _integers(field, hostile)


def _integers(field: FieldDescriptor, hostile: bool) -> st.SearchStrategy[int]:
    if not hostile:
        return st.sampled_from((0, 5, 20, 250))
    signed = field.cpp_type == FieldDescriptor.CPPTYPE_INT32
    limits = st.sampled_from((*HOSTILE_INTEGERS, _LARGEST[field.cpp_type]))
    return st.one_of(limits, st.sampled_from((-1, -(2**31)))) if signed else limits


def _enum_numbers(field: FieldDescriptor) -> list[int]:
    assert field.enum_type is not None
    return [value.number for value in field.enum_type.values]


def _entry(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None
    return field.message_type


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_single_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and not field.is_repeated
