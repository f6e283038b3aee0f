"""Risk measures: a file each family, a word each in `kernel.measures.registry`."""

from __future__ import annotations

from kernel.measures.base import RiskMeasure, SupportMeasure
from kernel.measures.volatility import Volatility

__all__ = ["RiskMeasure", "SupportMeasure", "Volatility"]
