"""Constraints: one file each. Every one carries the caller's name, writes its rows, and measures itself on weights."""

from __future__ import annotations

from kernel.constraints.base import Constraint, Measurement
from kernel.constraints.bounds import WeightBounds
from kernel.constraints.exposure import FixedExposures
from kernel.constraints.leverage import ExposureBudget
from kernel.constraints.linear import LinearLimit, budget
from kernel.constraints.net_return import NetReturnFloor
from kernel.constraints.number_of_positions import NumberOfPositions
from kernel.constraints.risk_budgets import FactorPart, RiskBudgets
from kernel.constraints.risk_limit import RiskLimit
from kernel.constraints.smallest_position import SmallestPosition
from kernel.constraints.trades import TradeLimits
from kernel.constraints.turnover import TurnoverLimit
from kernel.constraints.whole_lots import WholeLots

__all__ = [
    "Constraint",
    "ExposureBudget",
    "FactorPart",
    "FixedExposures",
    "LinearLimit",
    "Measurement",
    "NetReturnFloor",
    "NumberOfPositions",
    "RiskBudgets",
    "RiskLimit",
    "SmallestPosition",
    "TradeLimits",
    "TurnoverLimit",
    "WeightBounds",
    "WholeLots",
    "budget",
]
