"""Plans over several periods as one program, of which the first step is traded."""

from __future__ import annotations

from kernel.multi_period.costs import HoldingRates
from kernel.multi_period.evidence import PlannedPeriod
from kernel.multi_period.plan import Period, Plan, PlanSolution, plan_problem, solve_plan
from kernel.multi_period.timeline import SMALLEST_VALUE

__all__ = [
    "SMALLEST_VALUE",
    "HoldingRates",
    "Period",
    "Plan",
    "PlanSolution",
    "PlannedPeriod",
    "plan_problem",
    "solve_plan",
]
