"""One efficient frontier, from its inputs to everything that is reported of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kernel.frontier import EfficientFrontier, FrontierPoint, FrontierRequest, efficient_frontier
from kernel.frontier.resampled import Resampling, resampled_frontier
from server.compute.channel import sending
from server.compute.estimate import Estimate
from server.compute.inputs import MarketInputs
from server.compute.memory import remembered_estimate
from server.compute.optimization import solver_settings
from server.compute.problem import build_problem
from server.specs import FrontierSpec, ResamplingSpec


@dataclass(frozen=True, slots=True)
class FrontierAnswer:
    """A frontier with the estimate that it rests on.

    Attributes:
        names: (n + 1,) assets, cash last.
        current_risk: Of the current weights, by the measure asked for.
    """

    names: tuple[str, ...]
    frontier: EfficientFrontier
    estimate: Estimate
    current_risk: float
    solve_seconds: float


def run_frontier(
    inputs: MarketInputs, spec: FrontierSpec, found: Callable[[FrontierPoint], None] | None = None
) -> FrontierAnswer:
    """Estimate the moments and trace the frontier, telling `found` of each point as soon as it is certified."""
    started = time.perf_counter()
    asked = spec.optimization
    estimated = remembered_estimate(inputs, asked.model)
    problem = build_problem(inputs, estimated, asked)
    request = FrontierRequest(spec.points, asked.model.risk_free_rate, spec.min_return, spec.max_risk)
    settings = solver_settings(asked.time_limit_seconds)
    if spec.resampling is None:
        frontier = efficient_frontier(problem, request, settings, found)
    else:
        resampling = _resampling(estimated, spec.resampling)
        frontier = resampled_frontier(problem, request, resampling, settings, found)
    risk = problem.measure.of(inputs.weights_with_cash)
    return FrontierAnswer(inputs.names, frontier, estimated, risk, time.perf_counter() - started)


def _resampling(estimated: Estimate, asked: ResamplingSpec) -> Resampling:
    """Histories as long as the one behind the estimate."""
    scenarios = estimated.scenarios
    return Resampling(asked.draws, asked.seed, scenarios.T, scenarios.periods_per_year)


def stream_frontier(inputs: MarketInputs, spec: FrontierSpec, address: str) -> FrontierAnswer:
    """The frontier, with every point sent to the channel at `address` as it is found."""
    with sending(address) as send:
        return run_frontier(inputs, spec, send)
