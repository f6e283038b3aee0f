"""All that solver processes run. Importing this module is what makes a process ready."""

from __future__ import annotations

from server.compute.batches import run_plans
from server.compute.factor_models import estimate_model
from server.compute.factor_portfolios import run_factor_portfolios
from server.compute.factors import run_factors
from server.compute.frontier import run_frontier, stream_frontier
from server.compute.optimization import run_optimization
from server.compute.policy import run_policy_target
from server.compute.rebalance import run_rebalance
from server.compute.validation import stream_windows

__all__ = [
    "estimate_model",
    "ready",
    "run_factor_portfolios",
    "run_factors",
    "run_frontier",
    "run_optimization",
    "run_plans",
    "run_policy_target",
    "run_rebalance",
    "stream_frontier",
    "stream_windows",
]


def ready() -> None:
    """Answer, so that a caller knows that everything is imported."""
