"""Parts of an optimization request that know more than the past did: facts and forecasts of today."""

from __future__ import annotations

from collections.abc import Iterator

from portfolio_optimization.v1 import estimation_pb2, multi_period_pb2
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.errors import Fault

_OF_A_VALIDATION = "must be absent in a validation"
_AHEAD = "would look ahead:"
_FORECAST = f"{_AHEAD} it is a forecast of today"


def look_ahead_faults(message: CreateOptimizationRequest) -> Iterator[Fault]:
    """Everything in a request that a past rebalance cannot have known, or that has no meaning there."""
    for field in ("lookback_days", "request_id", "validate_only", "frontier_points", "pareto_points"):
        if getattr(message, field):
            yield Fault(field, _OF_A_VALIDATION)
    if message.optimization_type in ("scenario_based", "black_litterman"):
        stated = "scenarios" if message.optimization_type == "scenario_based" else "views"
        yield Fault("optimization_type", f"{message.optimization_type} {_AHEAD} its {stated} are forecasts of today")
    if message.HasField("entropy_pooling"):
        yield Fault("entropy_pooling", f"{_AHEAD} its views are forecasts of today")
    yield from _model_faults(message)
    yield from _limit_faults(message)
    yield from _cost_faults(message)
    if message.HasField("multi_period"):
        yield from _plan_faults(message.multi_period)


def _model_faults(message: CreateOptimizationRequest) -> Iterator[Fault]:
    returns, risk = message.expected_returns, message.risk_model
    if returns.method == estimation_pb2.EXPECTED_RETURNS_METHOD_PROVIDED:
        yield Fault("expected_returns.method", f"PROVIDED {_AHEAD} the values are forecasts of today")
    by_market = returns.method == estimation_pb2.EXPECTED_RETURNS_METHOD_CAPM and not returns.market_benchmark_id
    if returns.method == estimation_pb2.EXPECTED_RETURNS_METHOD_EQUILIBRIUM or by_market:
        instead = "; name a market_benchmark_id with a price series" if by_market else ""
        reason = f"{_AHEAD} the market capitalisations are today's{instead}"
        yield Fault("expected_returns.method", reason)
    if returns.HasField("market_premium"):
        yield Fault("expected_returns.market_premium", _FORECAST)
    if returns.factor_premia:
        yield Fault("expected_returns.factor_premia", _FORECAST)
    for at, model in (("expected_returns", returns), ("risk_model", risk)):
        if model.factor_model_id:
            yield Fault(f"{at}.factor_model_id", f"{_AHEAD} a stored model was estimated once, from all of its window")
    if risk.method == estimation_pb2.RISK_MODEL_METHOD_PROVIDED:
        yield Fault("risk_model.method", f"PROVIDED {_AHEAD} the covariance is a forecast of today")


def _limit_faults(message: CreateOptimizationRequest) -> Iterator[Fault]:
    limits = message.constraints
    for field in ("min_quality_score", "min_average_quality"):
        if limits.HasField(field):
            yield Fault(f"constraints.{field}", f"{_AHEAD} the quality scores are today's")
    for field in ("factor_exposures", "factor_exposures_id", "factor_model_id"):
        if getattr(limits, field):
            yield Fault(f"constraints.{field}", f"{_AHEAD} the exposures are today's")


def _cost_faults(message: CreateOptimizationRequest) -> Iterator[Fault]:
    preferences = message.preferences
    stored = "; preferences that are absent are the portfolio's own, empty ones none"
    if preferences.consider_tax_implications:
        yield Fault("preferences.consider_tax_implications", f"{_AHEAD} the tax lots are today's{stored}")
    if preferences.include_transaction_costs and preferences.HasField("market_impact"):
        yield Fault("preferences.market_impact", f"{_AHEAD} the traded volumes are today's{stored}")


def _plan_faults(plan: multi_period_pb2.MultiPeriod) -> Iterator[Fault]:
    if plan.forecast_id:
        yield Fault("multi_period.forecast_id", _FORECAST)
    for k, period in enumerate(plan.periods):
        at = f"multi_period.periods[{k}]"
        given = {
            "expected_returns": bool(period.expected_returns),
            "covariance": period.HasField("covariance"),
            "covariance_scale": period.covariance_scale not in (0.0, 1.0),
        }
        yield from (Fault(f"{at}.{field}", _FORECAST) for field, present in given.items() if present)
        if period.cash_flow:
            yield Fault(f"{at}.cash_flow", f"{_OF_A_VALIDATION}, which has no flows of cash")
