"""What a plan means, period by period, measured on its weights."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.canonical import Vector


@dataclass(frozen=True, slots=True)
class PlannedPeriod:
    """One period of a plan; assets with cash last.

    Attributes:
        weights: (n,) fractions of the value in the period.
        trades: (n,) fractions of the present value, cash without the flow.
        value: By cash flows alone, as a multiple of the present one.
        expected_return: Annual, before costs.
        volatility: Annual.
        turnover: As the limit counts it, a fraction of the value in the period.
        trading_cost: Fraction of the present value; `holding_cost` likewise.
    """

    weights: Vector
    trades: Vector
    value: float
    expected_return: float
    volatility: float
    turnover: float
    trading_cost: float
    holding_cost: float
