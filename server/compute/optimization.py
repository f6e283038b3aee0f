"""One optimization, from its inputs to everything that is reported of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from kernel import performance
from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from kernel.methods.mean_risk import optimize
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from server.compute.estimate import PERIODS_PER_YEAR, Estimate, estimate
from server.compute.inputs import Floats, MarketInputs
from server.compute.problem import build_problem
from server.errors import NotReady
from server.specs import ModelSpec, OptimizationSpec


@dataclass(frozen=True, slots=True)
class OptimizationAnswer:
    """A solution with its measurements.

    Attributes:
        names: (n + 1,) assets, cash last.
        current: Performance of the current weights.
        target: Performance of the solution's weights, None without.
        transaction_cost: Of going there, as a fraction of the portfolio's value; 0 unless asked for.
    """

    names: tuple[str, ...]
    solution: Solution
    estimate: Estimate
    current: performance.PerformanceReport
    target: performance.PerformanceReport | None
    transaction_cost: float
    frontier: EfficientFrontier | None
    solve_seconds: float


def solver_settings(time_limit_seconds: float) -> Settings:
    """The kernel's settings with a real clock; the limit counts from now and for all solves together."""
    return Settings(deadline=time.monotonic() + time_limit_seconds, clock=time.monotonic)


def run_optimization(inputs: MarketInputs, spec: OptimizationSpec) -> OptimizationAnswer:
    """Estimate, solve, measure."""
    started = time.perf_counter()
    estimated = estimate(inputs, spec.model)
    problem = build_problem(inputs, estimated.moments, spec)
    settings = solver_settings(spec.time_limit_seconds)
    solution = optimize(problem, settings)
    w = solution.weights
    return OptimizationAnswer(
        names=inputs.names,
        solution=solution,
        estimate=estimated,
        current=measure_weights(inputs, estimated, spec.model, inputs.weights_with_cash),
        target=None if w is None else measure_weights(inputs, estimated, spec.model, w),
        transaction_cost=0.0 if w is None else _trading_cost(problem, w),
        frontier=None if not spec.frontier_points else _frontier(problem, spec, settings),
        solve_seconds=time.perf_counter() - started,
    )


def measure_weights(
    inputs: MarketInputs, estimated: Estimate, model: ModelSpec, w: Floats
) -> performance.PerformanceReport:
    """The performance report of weights with cash last."""
    return performance.measure(
        w,
        estimated.moments,
        estimated.R,
        _benchmark(inputs),
        performance.PerformanceSettings(
            risk_free_rate=model.risk_free_rate,
            confidence_level=model.confidence_level,
            periods_per_year=int(PERIODS_PER_YEAR),
        ),
    )


def _benchmark(inputs: MarketInputs) -> performance.Benchmark | None:
    given = inputs.benchmark
    if given is None:
        return None
    if given.closes is not None:
        if not np.isfinite(given.closes).all():
            raise NotReady(f"benchmark {given.id} has no price on some days of the window")
        return performance.Benchmark(returns=given.closes[1:] / given.closes[:-1] - 1.0)
    weights = given.weights or {}
    outside = sorted(set(weights) - set(inputs.names))
    if outside:
        return None
    return performance.Benchmark(weights=np.array([weights.get(name, 0.0) for name in inputs.names]))


def _trading_cost(problem: Problem, w: Floats) -> float:
    """The trading part of the objective's cost, tax left out."""
    return 0.0 if problem.cost is None else replace(problem.cost, sale_rates=None).of(w)


def _frontier(problem: Problem, spec: OptimizationSpec, settings: Settings) -> EfficientFrontier:
    request = FrontierRequest(spec.frontier_points, spec.model.risk_free_rate)
    return efficient_frontier(problem, request, settings)
