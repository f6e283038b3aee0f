"""Stored events, to the wire, and the words by which callers choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format
from portfolio_optimization.v1 import events_pb2 as pb

from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.vocabulary import Vocabulary
from storage.records import Event

EVENT_TYPES = Vocabulary(tuple(field.name for field in pb.Event.DESCRIPTOR.oneofs_by_name["payload"].fields))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a caller wants; None and empty = all."""

    portfolio_id: str | None
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order, and the place up to which these are all that match."""

    events: Sequence[Event]
    last_sequence: int


def read_filter(message: pb.ListEventsRequest | pb.StreamEventsRequest, faults: Faults) -> EventFilter:
    """Which events a request asks for; what is wrong with it is added to `faults`."""
    if message.after_sequence < 0:
        faults.add("after_sequence", f"must be at least 0, not {message.after_sequence}")
    types = [faults.word(f"types[{k}]", name, EVENT_TYPES) for k, name in enumerate(message.types)]
    return EventFilter(
        portfolio_id=faults.identifier("portfolio_id", message.portfolio_id, required=False) or None,
        types=tuple(types),
    )


def write_event(event: Event) -> pb.Event:
    """An event."""
    message = pb.Event(
        event_id=str(event.id),
        timestamp=timestamp(event.created_at),
        sequence=event.sequence,
        portfolio_id=event.portfolio_id,
    )
    # A worker of a later version may have written a type that this one does not know.
    if event.type in EVENT_TYPES.served:
        payload = getattr(message, event.type)
        payload.SetInParent()
        json_format.ParseDict(event.payload, payload, ignore_unknown_fields=True)
    return message
