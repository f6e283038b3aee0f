"""Why a trade is made, and why a target is missed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from kernel.rebalancing.book import Book, Position
from kernel.rebalancing.money import ZERO, to_cents


class MissReason(StrEnum):
    """Why a position stays away from its target."""

    DO_NOT_BUY = "do_not_buy"
    """It may not be bought."""
    DO_NOT_SELL = "do_not_sell"
    """It may not be sold."""
    MIN_TRADE_SIZE = "min_trade_size"
    """The trade would be smaller than the smallest allowed."""
    WASH_SALE = "wash_sale"
    """A purchase would disallow a loss of an earlier sale."""
    LIMITS = "limits"
    """Turnover, number of trades, cash or cost leave no better trade."""


@dataclass(frozen=True, slots=True)
class TargetMiss:
    """A position that ends further from its target than one increment.

    Attributes:
        instrument_id: The position.
        value: Planned less target value, money to the cent.
        reason: Why.
    """

    instrument_id: str
    value: Decimal
    reason: MissReason


def trade_reason(position: Position, quantity: Decimal, total: Decimal) -> str:
    """One sentence on a trade, in weights of the total value before trading.

    Args:
        position: What is traded.
        quantity: Shares, positive bought and negative sold.
        total: Total value before trading, > 0.

    Returns:
        The sentence.
    """
    now, after = position.value / total, (position.held + quantity) * position.price / total
    target = position.target_value / total
    move = f"from {now:.2%} to {after:.2%}, target {target:.2%}"
    if quantity > ZERO and position.held < ZERO:
        return f"Buy back a short position: {move}."
    if quantity > ZERO:
        return f"Increase {move}." if position.held else f"Open a position of {after:.2%}, target {target:.2%}."
    if after < target and now <= target:
        return f"Raise cash: reduce {move}."
    if quantity == -position.held:
        return f"Sell all of {now:.2%}, target {target:.2%}."
    return f"Reduce {move}."


def target_misses(book: Book, quantities: tuple[Decimal, ...]) -> tuple[TargetMiss, ...]:
    """Lists what the plan leaves away from its target and why.

    Args:
        book: The problem.
        quantities: Shares per position, positive bought and negative sold.

    Returns:
        The positions that miss their target by an increment or more, largest first.
    """
    misses = [
        TargetMiss(position.instrument_id, to_cents(gap), _miss_reason(book, position, quantity, gap))
        for position, quantity in zip(book.positions, quantities, strict=True)
        if abs(gap := (position.held + quantity) * position.price - position.target_value)
        >= position.price * position.increment
    ]
    return tuple(sorted(misses, key=lambda miss: (-abs(miss.value), miss.instrument_id)))


def _miss_reason(book: Book, position: Position, quantity: Decimal, gap: Decimal) -> MissReason:
    if gap < ZERO and not position.can_buy:
        return MissReason.DO_NOT_BUY
    if gap > ZERO and not position.can_sell:
        return MissReason.DO_NOT_SELL
    if gap < ZERO and book.bars_purchase(position):
        return MissReason.WASH_SALE
    if not quantity and abs(gap) < book.limits.min_trade_value:
        return MissReason.MIN_TRADE_SIZE
    return MissReason.LIMITS
