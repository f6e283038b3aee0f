"""From a checked request and its market to the kernel's problem: what is best, what it costs, and which limits hold."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from kernel.costs import TradingCost
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Problem
from kernel.rebalancing.costs import power_law_impact
from server.compute.bounds import reach, weight_bounds
from server.compute.estimate import Estimate
from server.compute.inputs import PERIODS_PER_YEAR, Floats, MarketInputs
from server.compute.limits import Ground, constraints
from server.compute.measures import benchmark_return, measure_of_request
from server.compute.terms import sum_of_terms
from server.specs import OptimizationSpec


def build_problem(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec) -> Problem:
    """The kernel's problem: weights of the universe and of cash, every limit under the caller's name.

    Raises:
        ProblemError: Something asked for cannot be posed.
    """
    ground = ground_of(inputs, estimated, spec)
    return Problem(
        moments=estimated.moments,
        objective=_objective(ground, spec),
        measure=measure_of_request(inputs, estimated, spec),
        constraints=tuple(constraints(ground, spec.constraints)),
        cost=ground.cost,
    )


def ground_of(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec) -> Ground:
    """What limits and terms rest on."""
    return Ground(inputs, estimated, spec.model, trading_cost(inputs, estimated, spec))


def trading_cost(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec) -> TradingCost | None:
    """What trading costs in the objective; None where it is free."""
    asked, n = spec.cost, len(inputs.assets)
    taxes = np.array([*(asset.sale_tax_rate for asset in inputs.assets), 0.0]) if asked.include_tax else None
    free = asked.rate == 0.0 and asked.impact is None and not asked.commission
    if free and (taxes is None or not taxes.any()):
        return None
    return TradingCost(
        rates=np.append(np.full(n, asked.rate), 0.0),
        w0=inputs.weights_with_cash,
        sale_rates=taxes,
        impact=None if asked.impact is None else _impact(inputs, estimated, asked.impact),
        fixed=np.append(np.full(n, float(asked.commission / inputs.value)), 0.0) if asked.commission else None,
        largest=_largest_trades(inputs, spec) if asked.commission else None,
    )


def _objective(ground: Ground, spec: OptimizationSpec) -> Objective:
    match spec.objective:
        case "maximize_sharpe" | "maximize_sortino":
            return MaximizeRatio(spec.model.risk_free_rate, _fallback(spec))
        case "maximize_information_ratio":
            reference = benchmark_return(ground.inputs, ground.estimated)
            assert reference is not None
            return MaximizeRatio(reference, _fallback(spec))
        case "multi_objective" | "custom":
            return sum_of_terms(ground, spec)
        case word:
            return _plain_objective(word, spec.risk_aversion)


def _fallback(spec: OptimizationSpec) -> Objective | None:
    return _plain_objective(spec.fallback, spec.risk_aversion) if spec.fallback else None


def _plain_objective(word: str, risk_aversion: float) -> Objective:
    match word:
        case "maximize_return":
            return MaximizeReturn()
        case "maximize_utility":
            return MaximizeUtility(risk_aversion)
        case _:
            return MinimizeRisk(risk_aversion)


def _impact(inputs: MarketInputs, estimated: Estimate, coefficient: float) -> Floats:
    """(n + 1,) cost of trading the whole portfolio's value in an asset, as a fraction of that value."""
    daily = np.sqrt(estimated.moments.quadratic.diagonal_entries / PERIODS_PER_YEAR)
    costs = []
    for asset, volatility in zip(inputs.assets, daily[:-1].tolist(), strict=True):
        traded = (asset.daily_volume or Decimal(0)) * (asset.price or Decimal(0))
        impact = power_law_impact(inputs.value, Decimal(repr(volatility)), traded, Decimal(repr(coefficient)))
        costs.append(float(impact / inputs.value))
    return np.array([*costs, 0.0])


def _largest_trades(inputs: MarketInputs, spec: OptimizationSpec) -> Floats:
    """(n + 1,) no trade within the bounds is larger."""
    w0 = inputs.weights_with_cash
    bounds = weight_bounds(inputs, spec.constraints)
    held = reach(bounds, spec.constraints)
    low, high = np.maximum(bounds.lower, -held), np.minimum(bounds.upper, held)
    largest = np.maximum(np.abs(low - w0), np.abs(high - w0))
    asked = spec.constraints
    if asked.max_trade_size is not None:
        common = asked.max_trade_size
        sizes = np.array([*(asked.max_trade_sizes.get(name, common) for name in inputs.ids), np.inf])
        largest = np.minimum(largest, sizes)
    return np.asarray(largest)
