"""One efficient frontier, from its inputs to everything that is reported of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from server.compute.estimate import Estimate, estimate
from server.compute.inputs import MarketInputs
from server.compute.optimization import solver_settings
from server.compute.problem import build_problem
from server.specs import FrontierSpec


@dataclass(frozen=True, slots=True)
class FrontierAnswer:
    """A frontier with the estimate that it rests on; `names` are the assets, cash last."""

    names: tuple[str, ...]
    frontier: EfficientFrontier
    estimate: Estimate
    solve_seconds: float


def run_frontier(inputs: MarketInputs, spec: FrontierSpec) -> FrontierAnswer:
    """Estimate the moments and trace the frontier."""
    started = time.perf_counter()
    estimated = estimate(inputs, spec.optimization.model)
    problem = build_problem(inputs, estimated.moments, spec.optimization)
    rate = spec.optimization.model.risk_free_rate
    request = FrontierRequest(spec.points, rate, spec.min_return, spec.max_risk)
    frontier = efficient_frontier(problem, request, solver_settings(spec.optimization.time_limit_seconds))
    return FrontierAnswer(inputs.names, frontier, estimated, time.perf_counter() - started)
