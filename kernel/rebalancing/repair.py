"""Brings trades that break a limit by rounding back inside, by dropping the trades that matter least."""

from __future__ import annotations

from decimal import Decimal

from kernel.rebalancing.book import Book
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.settle import Trades, settle


def drop_least_useful(book: Book, trades: Trades) -> Trades | None:
    """Drops trades one by one until no limit is broken.

    Each step drops the trade whose absence leaves the smallest violation and, among equals, the best objective.

    Args:
        book: The problem.
        trades: The trades.

    Returns:
        Trades within all limits, or None if dropping trades does not lead there.
    """
    violation = settle(book, trades).violation
    while violation > ZERO:
        candidates = [_ranked(book, _without(book, trades, k)) for k, traded in enumerate(trades.quantities) if traded]
        least = min(candidates, default=None, key=lambda candidate: candidate[:3])
        if least is None or least[0] >= violation:
            return None
        violation, trades = least[0], least[3]
    return trades


def _without(book: Book, trades: Trades, index: int) -> Trades:
    quantities = trades.quantities
    dropped = book.positions[index].instrument_id
    lots = {name: parts for name, parts in trades.lots.items() if name != dropped}
    return Trades((*quantities[:index], ZERO, *quantities[index + 1 :]), lots)


def _ranked(book: Book, trades: Trades) -> tuple[Decimal, Decimal, tuple[Decimal, ...], Trades]:
    outcome = settle(book, trades)
    return outcome.violation, outcome.objective, trades.quantities, trades
