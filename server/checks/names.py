"""Names that a request uses and the universe does not have, and instruments of which something is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from server.errors import Fault
from server.listing import MOST_LISTED, listed
from server.specs import CASH


def unknown(field: str, names: Iterable[str], known: Set[str]) -> Iterator[Fault]:
    """The fault of names that the universe does not have."""
    if strangers := sorted(set(names) - known):
        have = f"; it has {listed(sorted(known))}" if len(known) <= MOST_LISTED else ""
        yield Fault(field, f"names {listed(strangers)}, which the universe does not have{have}")


def missing(field: str, what: str, ids: Iterable[str], given: Iterable[str]) -> Iterator[Fault]:
    """The fault of instruments without something that each needs; cash needs nothing."""
    present = set(given)
    if lacking := [name for name in ids if name not in present and name != CASH]:
        yield Fault(field, f"has no {what} for {listed(lacking)}")
