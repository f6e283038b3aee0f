"""What a walk-forward validation means, once it is checked."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.validation.report import Band
from kernel.validation.schedule import ScheduleSettings
from server.specs import OptimizationSpec


@dataclass(frozen=True, slots=True)
class ValidationSpec:
    """A validation, checked.

    Attributes:
        optimization: Run at every rebalance, each with its own time limit.
        cost_rate: Fraction of the traded value.
    """

    optimization: OptimizationSpec
    schedule: ScheduleSettings
    cost_rate: float
    band: Band
