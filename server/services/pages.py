"""Pages of lists: one row more is read than is shown, to know whether there is a next page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from server.convert.faults import LONGEST_ID
from server.errors import Fault, InvalidRequest
from storage.policies import Policy
from storage.records import Transaction, TransactionPlace

RowT = TypeVar("RowT")
# PostgreSQL's largest BIGINT, for numbers in tokens that a caller made up.
_HIGHEST = 2**63
# The digits of a version, and a space.
_VERSION_DIGITS = 11


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


def read_place(token: str, longest: int = LONGEST_ID) -> str:
    """The id that a token names, of at most `longest` characters; empty for the first page.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    try:
        identifier = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        identifier = "\0"
    if "\0" in identifier or len(identifier) > longest:
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")])
    return identifier


def write_transaction_place(row: Transaction) -> str:
    """The place behind a transaction, as an opaque token."""
    return write_place(f"{row.traded_on.isoformat()} {row.sequence}")


def read_transaction_place(token: str) -> TransactionPlace | None:
    """The place that a token names; None for the first page.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    if not token:
        return None
    day, _, sequence = read_place(token).partition(" ")
    try:
        return TransactionPlace(date.fromisoformat(day), int(sequence) % _HIGHEST)
    except ValueError:
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")]) from None


def write_policy_place(row: Policy) -> str:
    """The place behind a version of a policy, as an opaque token."""
    return write_place(f"{row.version} {row.id}")


def read_policy_place(token: str) -> tuple[str, int]:
    """Id and version that a token names; empty and 0 for the first page.

    Raises:
        InvalidRequest: The token is none of ours.
    """
    if not token:
        return "", 0
    version, _, identifier = read_place(token, LONGEST_ID + _VERSION_DIGITS).partition(" ")
    if not (version.isascii() and version.isdigit() and len(version) < _VERSION_DIGITS):
        raise InvalidRequest([Fault("page_token", "is not a token of an earlier page")])
    return identifier, int(version)
