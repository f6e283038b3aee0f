"""Brings trades that break a limit by rounding back inside, by dropping the trades that matter least."""

from __future__ import annotations

from decimal import Decimal

from kernel.rebalancing.book import Book, settle
from kernel.rebalancing.money import ZERO

Quantities = tuple[Decimal, ...]


def drop_least_useful(book: Book, quantities: Quantities) -> Quantities | None:
    """Drops trades one by one until no limit is broken.

    Each step drops the trade whose absence leaves the smallest violation and, among equals, the best objective.

    Args:
        book: The problem.
        quantities: Shares per position, positive bought and negative sold.

    Returns:
        Trades within all limits, or None if dropping trades does not lead there.
    """
    violation = settle(book, quantities).violation
    while violation > ZERO:
        candidates = [_ranked(book, _without(quantities, index)) for index, traded in enumerate(quantities) if traded]
        least = min(candidates, default=None)
        if least is None or least[0] >= violation:
            return None
        violation, _, quantities = least
    return quantities


def _without(quantities: Quantities, index: int) -> Quantities:
    return (*quantities[:index], ZERO, *quantities[index + 1 :])


def _ranked(book: Book, quantities: Quantities) -> tuple[Decimal, Decimal, Quantities]:
    outcome = settle(book, quantities)
    return outcome.violation, outcome.objective, quantities
