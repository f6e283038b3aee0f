"""Pages of lists: one row more is read than is shown, to know whether there is a next page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from server.convert.faults import LONGEST_ID
from server.errors import Fault, InvalidRequest

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """The rows of a page, and the token of the next one; empty on the last page."""

    rows: Sequence[RowT]
    next_token: str


def cut(rows: Sequence[RowT], size: int, token: Callable[[RowT], str]) -> Page[RowT]:
    """A page of `size` rows from up to one row more.

    Args:
        rows: At most size + 1 rows.
        size: Rows of a page.
        token: The token that names the place behind a row.
    """
    return Page(rows[:size], token(rows[size - 1]) if len(rows) > size else "")


def write_place(identifier: str) -> str:
    """The place behind an id in a list that is ordered by ids, as an opaque token."""
    return base64.urlsafe_b64encode(identifier.encode()).decode()


def read_place(token: str) -> str:
    """The id that a token names; empty for the first page.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    try:
        identifier = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        identifier = "\0"
    if "\0" in identifier or len(identifier) > LONGEST_ID:
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")])
    return identifier
