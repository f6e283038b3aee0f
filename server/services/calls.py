"""What handlers of all services share: the deadline, pages, and reading a request with all its faults."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, TypeAlias

import grpc

from server.errors import Fault, InvalidRequest, OutOfTime
from server.plans.states import SERVICE
from storage.records import Cursor

# The stubs' class is generic, the library's is not.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 1000
ANONYMOUS = "anonymous"
_ACTOR = "x-actor"
_LONGEST_ACTOR = 100


def time_left(context: Context, limit_seconds: float) -> float:
    """Seconds until the caller's deadline, at most `limit_seconds`.

    Raises:
        OutOfTime: The deadline has passed.
    """
    remaining = context.time_remaining()
    if remaining is None:
        return limit_seconds
    if remaining <= 0:
        raise OutOfTime("the deadline has passed")
    return min(remaining, limit_seconds)


def actor(context: Context) -> str:
    """Who calls, as the metadata say; "anonymous" where that cannot be kept, or is the name of the service itself."""
    for key, value in context.invocation_metadata() or ():
        if key == _ACTOR and isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_ACTOR:
            name = value.strip()
            return name if name and name != SERVICE else ANONYMOUS
    return ANONYMOUS


def page_size(asked: int) -> int:
    """The size of a page: 50 unless asked for, at most 1000.

    Raises:
        InvalidRequest: It is negative.
    """
    if asked < 0:
        raise InvalidRequest([Fault("page_size", f"must be at least 0, not {asked}")])
    return min(asked or _DEFAULT_PAGE, _LARGEST_PAGE)


def write_cursor(created_at: datetime, identifier: str) -> str:
    """The place behind a row, as an opaque token."""
    return base64.urlsafe_b64encode(f"{created_at.isoformat()} {identifier}".encode()).decode()


def read_cursor(token: str) -> Cursor | None:
    """The place that a token names; None for the first page.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    if not token:
        return None
    try:
        moment, _, identifier = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        cursor = Cursor(datetime.fromisoformat(moment), identifier)
    except (ValueError, binascii.Error, UnicodeError):
        cursor = None
    if cursor is None or not cursor.id.isprintable():
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")])
    return cursor
