"""Weights from binary numbers, as exact ones."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal

from server.specs import CASH

_WEIGHT = Decimal(1).scaleb(-12)


def rounded_weight(weight: Decimal) -> Decimal:
    """Rounded down to twelve decimals, so that targets never exceed the whole."""
    return weight.quantize(_WEIGHT, rounding=ROUND_DOWN)


def exact_weights(weights: Mapping[str, float]) -> dict[str, Decimal]:
    """Weights as decimals, without cash and zeros."""
    exact = {name: rounded_weight(Decimal(repr(float(weight)))) for name, weight in weights.items()}
    return {name: weight for name, weight in exact.items() if weight and name != CASH}
