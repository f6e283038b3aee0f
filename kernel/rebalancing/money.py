"""Rounding of money: to the cent, halves away from zero, as statements and confirmations do."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from kernel.errors import ProblemError

CENT = Decimal("0.01")
ZERO = Decimal(0)


def to_cents(amount: Decimal) -> Decimal:
    """Rounds an amount to the cent, halves away from zero.

    Args:
        amount: Any amount of money.

    Returns:
        The amount with two decimals.
    """
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def require_amount(field: str, amount: Decimal, *, positive: bool = False) -> None:
    """Checks a quantity, price or amount that must not be negative.

    Args:
        field: Path of the input, for the error.
        amount: The number.
        positive: Whether zero is refused too.

    Raises:
        ProblemError: The number is not finite, negative, or zero where it must be positive.
    """
    if not amount.is_finite() or amount < ZERO or (positive and not amount):
        raise ProblemError(field, f"must be {'positive' if positive else 'zero or more'} and finite, got {amount}")
