"""Amounts to weights that add up to exactly one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

WEIGHT_STEP = Decimal("0.0000000001")


def normalized(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Weights proportional to amounts.   w_i = a_i / sum(a), rounded to 1e-10, the remainder in the largest.

    Args:
        amounts: Name -> amount >= 0 in any one unit; at least one is above zero.

    Returns:
        Name -> weight, sum exactly 1.

    Raises:
        ValueError: The amounts add up to nothing.
    """
    total = sum(amounts.values(), Decimal(0))
    if total <= 0:
        raise ValueError("the amounts add up to nothing")
    weights = {name: (amount / total).quantize(WEIGHT_STEP, ROUND_HALF_EVEN) for name, amount in amounts.items()}
    largest = max(weights, key=weights.__getitem__)
    weights[largest] += 1 - sum(weights.values(), Decimal(0))
    return weights
