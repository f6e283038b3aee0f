"""Names for sentences."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LISTED = 20


def listed(names: Iterable[str]) -> str:
    """The first twenty of the names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - MOST_LISTED} more" if len(every) > MOST_LISTED else ""
    return ", ".join(every[:MOST_LISTED]) + more
