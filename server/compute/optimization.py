"""One optimization, from its inputs to everything that is reported of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kernel import performance
from kernel.costs import TradingCost
from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from kernel.methods.multi_objective import ParetoSurface, pareto_surface
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from server.compute.estimate import Estimate
from server.compute.factor_risk import FactorRisk, active_factor_risk, factor_risk
from server.compute.inputs import PERIODS_PER_YEAR, Floats, MarketInputs
from server.compute.limits import Ground
from server.compute.measures import benchmark_of, benchmark_return, measure_of, risk_values, tracking_error
from server.compute.memory import remembered_estimate
from server.compute.methods import solve_request
from server.compute.model_benchmark import is_known_to_model
from server.compute.pooling import ContradictoryViews
from server.compute.problem import ground_of, trading_cost
from server.compute.terms import goals
from server.specs import ModelSpec, OptimizationSpec


@dataclass(frozen=True, slots=True)
class OptimizationAnswer:
    """A solution with its measurements.

    Attributes:
        names: (n + 1,) assets, cash last.
        current: Performance of the current weights.
        target: Performance of the solution's weights, None without.
        transaction_cost: Of going there, as a fraction of the portfolio's value; 0 unless asked for.
        risk_values: Every measure at the solution's weights, by its word.
        measure_contributions: (n + 1,) parts of the assets in the measure of the request; None where it has none.
        evidence: What the type's own method says beside the solution.
        factor_risk: The volatility of the solution's weights taken apart; None without a model of factors.
        active_factor_risk: Likewise the tracking error, where the benchmark's weights are all in the universe.
    """

    names: tuple[str, ...]
    solution: Solution
    estimate: Estimate
    current: performance.PerformanceReport
    target: performance.PerformanceReport | None
    transaction_cost: float
    risk_values: Mapping[str, float]
    measure_contributions: Floats | None
    frontier: EfficientFrontier | None
    surface: ParetoSurface | None
    solve_seconds: float
    evidence: object | None = None
    factor_risk: FactorRisk | None = None
    active_factor_risk: FactorRisk | None = None


def solver_settings(time_limit_seconds: float) -> Settings:
    """The kernel's settings with a real clock; the limit counts from now and for all solves together."""
    return Settings(deadline=time.monotonic() + time_limit_seconds, clock=time.monotonic)


def run_optimization(inputs: MarketInputs, spec: OptimizationSpec) -> OptimizationAnswer:
    """Estimate, solve, measure."""
    started = time.perf_counter()
    settings = solver_settings(spec.time_limit_seconds)
    try:
        estimated = remembered_estimate(inputs, spec.model)
    except ContradictoryViews as error:
        return _without_weights(inputs, spec.model, error.outcome, started)
    solved = solve_request(inputs, estimated, spec, settings)
    problem, solution = solved.problem, solved.solution
    w = solution.weights
    return OptimizationAnswer(
        names=inputs.names,
        solution=solution,
        estimate=estimated,
        current=measure_weights(inputs, estimated, spec.model, inputs.weights_with_cash),
        target=None if w is None else measure_weights(inputs, estimated, spec.model, w),
        transaction_cost=0.0 if w is None else _trading_cost(trading_cost(inputs, estimated, spec), w),
        risk_values={} if w is None else risk_values(estimated, spec.model, w),
        measure_contributions=None if w is None else problem.measure.contributions(w),
        frontier=None if not spec.frontier_points else _frontier(problem, spec, settings),
        surface=None
        if not spec.pareto_points
        else _surface(ground_of(inputs, estimated, spec), problem, spec, settings),
        solve_seconds=time.perf_counter() - started,
        evidence=solved.evidence,
        factor_risk=None if w is None else factor_risk(estimated, w),
        active_factor_risk=None if w is None else active_factor_risk(inputs, estimated, w),
    )


def _without_weights(inputs: MarketInputs, model: ModelSpec, solution: Solution, started: float) -> OptimizationAnswer:
    """The answer where views on the distribution contradict each other: the current weights, without the views."""
    prior = replace(model, distribution_views=())
    estimated = remembered_estimate(inputs, prior)
    return OptimizationAnswer(
        names=inputs.names,
        solution=solution,
        estimate=estimated,
        current=measure_weights(inputs, estimated, prior, inputs.weights_with_cash),
        target=None,
        transaction_cost=0.0,
        risk_values={},
        measure_contributions=None,
        frontier=None,
        surface=None,
        solve_seconds=time.perf_counter() - started,
    )


def measure_weights(
    inputs: MarketInputs, estimated: Estimate, model: ModelSpec, w: Floats
) -> performance.PerformanceReport:
    """The performance report of weights with cash last."""
    report = performance.measure(
        w,
        estimated.moments,
        estimated.R,
        benchmark_of(inputs, estimated),
        performance.PerformanceSettings(
            risk_free_rate=model.risk_free_rate,
            confidence_level=model.confidence_level,
            periods_per_year=int(PERIODS_PER_YEAR),
        ),
    )
    if report.tracking_error is None and inputs.benchmark is not None:
        report = _against_model(inputs, estimated, report, w)
    by_probabilities = model.scenarios is not None or estimated.pooling is not None
    return _weighted(report, estimated, model, w) if by_probabilities else report


def _against_model(
    inputs: MarketInputs, estimated: Estimate, report: performance.PerformanceReport, w: Floats
) -> performance.PerformanceReport:
    """The report with what a stored factor model says of a benchmark with members beyond the universe."""
    given = inputs.benchmark
    if given is None or not is_known_to_model(inputs, estimated, given):
        return report
    error, reference = tracking_error(inputs, estimated).of(w), benchmark_return(inputs, estimated)
    ratio = None if reference is None or not error > 0.0 else (report.expected_return - reference) / error
    return replace(report, tracking_error=error, information_ratio=ratio)


def _weighted(
    report: performance.PerformanceReport, estimated: Estimate, model: ModelSpec, w: Floats
) -> performance.PerformanceReport:
    """The report with what depends on probabilities measured by them, and no drawdown where there is no order."""
    target = model.risk_free_rate / estimated.scenarios.periods_per_year
    downside = measure_of("semi_deviation", estimated, model, target=target).of(w)
    excess = report.expected_return - model.risk_free_rate
    return replace(
        report,
        value_at_risk=measure_of("var", estimated, model).of(w),
        conditional_value_at_risk=measure_of("cvar", estimated, model).of(w),
        sortino_ratio=excess / downside if downside > 0 else None,
        maximum_drawdown=report.maximum_drawdown if estimated.scenarios.ordered else 0.0,
    )


def _trading_cost(cost: TradingCost | None, w: Floats) -> float:
    """The trading part of the objective's cost, tax left out."""
    return 0.0 if cost is None else replace(cost, sale_rates=None).of(w)


def _frontier(problem: Problem, spec: OptimizationSpec, settings: Settings) -> EfficientFrontier:
    request = FrontierRequest(spec.frontier_points, spec.model.risk_free_rate)
    return efficient_frontier(problem, request, settings)


def _surface(ground: Ground, problem: Problem, spec: OptimizationSpec, settings: Settings) -> ParetoSurface:
    return pareto_surface(problem, goals(ground, spec), spec.pareto_points, settings)
