"""Remarks on a plan, and what the portfolio of a trade request is worth before trading."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kernel.rebalancing.money import ZERO
from kernel.rebalancing.request import CASH, TradeRequest


@dataclass(frozen=True, slots=True)
class Remark:
    """What a reader of the plan should know.

    Attributes:
        code: A word of the contract's notes.
        instrument_id: Empty when it concerns the whole plan.
        message: One sentence with the number and the limit.
    """

    code: str
    instrument_id: str
    message: str


def percent(fraction: Decimal | float) -> str:
    """A fraction in percent with up to four decimals, for sentences."""
    return f"{100 * fraction:.4f}".rstrip("0").rstrip(".") + "%"


def present_values(request: TradeRequest) -> dict[str, Decimal]:
    """Money per instrument held before trading, and cash under its own key.

    Args:
        request: Holdings, prices and cash.

    Returns:
        The values; they add up to the portfolio's.
    """
    held = {name: shares * request.prices[name] for name, shares in request.holdings.items() if shares}
    return {**held, CASH: request.cash}


def total_value(request: TradeRequest) -> Decimal:
    """Money in all holdings and cash before trading."""
    return sum(present_values(request).values(), ZERO)


def present_weights(request: TradeRequest) -> dict[str, Decimal]:
    """The present values as fractions of their sum; empty for a portfolio without value."""
    values = present_values(request)
    total = sum(values.values(), ZERO)
    return {name: value / total for name, value in values.items()} if total > ZERO else {}
