"""Optimization and frontier requests, from the wire."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from portfolio_optimization.v1 import frontier_pb2, optimization_pb2
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.constraints import read_constraints
from server.convert.entropy_pooling import read_entropy_pooling
from server.convert.faults import POSITIVE, Bounds, Faults
from server.convert.methods import read_method
from server.convert.models import read_returns, read_risk
from server.convert.objectives import (
    OPEN_FRACTION,
    read_fallback,
    read_measure,
    read_objective,
    read_pareto_points,
    read_terms,
    read_type,
)
from server.convert.scenarios import read_scenarios
from server.convert.text_values import MONEY_NOT_NEGATIVE, read_decimal
from server.convert.views import read_views
from server.settings import Settings
from server.specs import CostSpec, FrontierSpec, ModelSpec, OptimizationSpec, ResamplingSpec, ViewsSpec
from server.vocabulary import RISK_MEASURES

_POINTS = Bounds(2, 1000)
_DRAWS = Bounds(2, 1000)
_DEFAULT_DRAWS = 100
_IMPACT = Bounds(0.0, 1e3, open_low=True)
_DEFAULT_POINTS = 20
# Annual; the largest return and risk of a frontier that storage keeps.
_HIGHEST = 99.0


def read_optimization(message: CreateOptimizationRequest, settings: Settings, faults: Faults) -> OptimizationSpec:
    """What an optimization request means; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    faults.identifier("request_id", message.request_id, required=False)
    kind, objective = read_type(message, faults), read_objective(message, faults)
    preferences = message.preferences
    points = int(faults.limit("frontier_points", message.frontier_points, _POINTS) or 0)
    return OptimizationSpec(
        portfolio_id=message.portfolio_id,
        optimization_type=kind,
        objective=objective,
        risk_measure=read_measure(message, objective, faults),
        model=_read_model(message, settings, faults),
        time_limit_seconds=read_time_limit(message.time_limit_seconds, settings, faults),
        constraints=read_constraints(message.constraints, faults),
        risk_aversion=faults.limit("preferences.risk_aversion", preferences.risk_aversion, POSITIVE) or 1.0,
        cost=read_cost(preferences, settings, faults),
        instrument_ids=read_universe(message.instrument_ids, faults),
        frontier_points=points,
        fallback=read_fallback(message, faults),
        terms=read_terms(message, faults),
        pareto_points=read_pareto_points(message, faults),
        method=read_method(message, faults),
    )


def read_frontier(message: frontier_pb2.EfficientFrontierRequest, settings: Settings, faults: Faults) -> FrontierSpec:
    """What a frontier request means; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    points = faults.limit("points", message.points, _POINTS) or _DEFAULT_POINTS
    spec = OptimizationSpec(
        portfolio_id=message.portfolio_id,
        optimization_type="mean_variance",
        objective="minimize_risk",
        risk_measure=faults.word("risk_measure", message.risk_measure or "volatility", RISK_MEASURES),
        model=_read_model(message, settings, faults),
        time_limit_seconds=read_time_limit(message.time_limit_seconds, settings, faults),
        constraints=read_constraints(message.constraints, faults),
        cost=read_cost(message.preferences, settings, faults),
        instrument_ids=read_universe(message.instrument_ids, faults),
    )
    if spec.constraints.risk_budgets:
        faults.add("constraints.risk_budgets", "cannot be kept by a frontier: they are not convex")
    return FrontierSpec(
        spec,
        points=int(points),
        min_return=faults.limit("min_return", message.min_return, Bounds(-1.0, _HIGHEST)),
        max_risk=faults.limit("max_risk", message.max_risk, Bounds(0.0, _HIGHEST, open_low=True)),
        include_turning_points=message.include_turning_points,
        resampling=_read_resampling(message, spec, faults),
    )


def _read_resampling(
    message: frontier_pb2.EfficientFrontierRequest, spec: OptimizationSpec, faults: Faults
) -> ResamplingSpec | None:
    """Resampling, which needs moments to simulate and limits that averages keep."""
    if not message.HasField("resampling"):
        return None
    if spec.risk_measure not in ("volatility", "variance"):
        faults.add("resampling", f"needs the risk_measure volatility or variance, not {spec.risk_measure!r}")
    if message.include_turning_points:
        faults.add("include_turning_points", "must be absent with resampling: averages have no turning points")
    limits = spec.constraints
    choices = {
        "min_position_size": limits.min_position_size is not None,
        "max_positions": limits.max_positions is not None,
        "min_positions": bool(limits.min_positions),
        "whole_lots": limits.whole_lots,
        "risk_limits.max_var": "max_var" in limits.risk_limits,
    }
    for name in (name for name, present in choices.items() if present):
        faults.add(f"constraints.{name}", "is not convex, so averages of portfolios would not keep it with resampling")
    if spec.cost.commission:
        reason = "must be absent with resampling: trades would be an integer search in every history"
        faults.add("preferences.commission_per_trade_amount", reason)
    draws = int(faults.limit("resampling.draws", message.resampling.draws, _DRAWS) or _DEFAULT_DRAWS)
    return ResamplingSpec(draws, message.resampling.seed)


def read_cost(message: optimization_pb2.OptimizationPreferences, settings: Settings, faults: Faults) -> CostSpec:
    """Costs in the objective."""
    rate = faults.limit("preferences.transaction_cost_model", message.transaction_cost_model)
    field = "preferences.commission_per_trade_amount"
    commission = read_decimal(field, message.commission_per_trade_amount, MONEY_NOT_NEGATIVE, faults)
    coefficient = faults.limit("preferences.market_impact.coefficient", message.market_impact.coefficient, _IMPACT)
    if not message.include_transaction_costs:
        return CostSpec(include_tax=message.consider_tax_implications)
    return CostSpec(
        rate=float(settings.market_impact_bps) * 1e-4 if rate is None else rate,
        include_tax=message.consider_tax_implications,
        commission=commission or Decimal(0),
        impact=(coefficient or 1.0) if message.HasField("market_impact") else None,
    )


def read_time_limit(value: float, settings: Settings, faults: Faults) -> float:
    """The longest time in the solver; no request gets more than the service's limit."""
    asked = faults.limit("time_limit_seconds", value, POSITIVE)
    return settings.solve_limit_seconds if asked is None else min(asked, settings.solve_limit_seconds)


def read_universe(instrument_ids: Iterable[str], faults: Faults) -> tuple[str, ...]:
    """The instruments to choose from; empty = the portfolio's holdings."""
    names = tuple(instrument_ids)
    for k, name in enumerate(names):
        faults.identifier(f"instrument_ids[{k}]", name)
    faults.distinct("instrument_ids", names)
    return names


def _read_model(
    message: CreateOptimizationRequest | frontier_pb2.EfficientFrontierRequest, settings: Settings, faults: Faults
) -> ModelSpec:
    rate = message.risk_free_rate if message.HasField("risk_free_rate") else settings.risk_free_rate
    if message.lookback_days == 1:
        faults.add("lookback_days", "must be 0 or at least 2, not 1")
    return ModelSpec(
        risk_free_rate=faults.number("risk_free_rate", rate, Bounds(-1.0, _HIGHEST_RATE, open_low=True)),
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        lookback_days=message.lookback_days,
        returns=read_returns(message.expected_returns, faults),
        risk=read_risk(message.risk_model, faults),
        views=None if not isinstance(message, CreateOptimizationRequest) else _read_views(message, faults),
        confidence_level=faults.limit("confidence_level", message.confidence_level, OPEN_FRACTION) or 0.95,
        scenarios=read_scenarios(message, faults),
        distribution_views=read_entropy_pooling(message, faults),
    )


# Annual; beyond it the path of cash over decades leaves the range of numbers.
_HIGHEST_RATE = 10.0


def _read_views(message: CreateOptimizationRequest, faults: Faults) -> ViewsSpec | None:
    wanted = message.optimization_type == "black_litterman"
    if not wanted:
        if message.HasField("black_litterman"):
            faults.add("black_litterman", "belongs to the optimization_type black_litterman")
        return None
    if message.HasField("expected_returns"):
        faults.add("expected_returns", "must be absent for black_litterman, whose prior is the equilibrium")
    return read_views(message.black_litterman, faults)
