"""Risk measures: one file each, one entry in the registry."""

from __future__ import annotations

from kernel.measures.base import RiskMeasure
from kernel.measures.volatility import Volatility

__all__ = ["RiskMeasure", "Volatility"]
