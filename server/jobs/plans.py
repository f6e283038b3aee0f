"""Plans that lapse by themselves."""

from __future__ import annotations

from server.jobs.periodic import Periodic
from server.workflows.plans import PlanWorkflow

_LOOK_SECONDS = 2.0


def lapse_plans(plans: PlanWorkflow) -> Periodic:
    """Looks at the open plans whose portfolio, prices or time have moved on."""
    return Periodic("plans that lapse", _LOOK_SECONDS, plans.look_at_all)
