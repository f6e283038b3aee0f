"""Optimization and frontier requests, from the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from portfolio_optimization.v1 import common_pb2, frontier_pb2, optimization_pb2
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.convert.models import read_returns, read_risk, read_views
from server.settings import Settings
from server.specs import CASH, ConstraintSpec, CostSpec, FrontierSpec, ModelSpec, OptimizationSpec, Range, ViewsSpec
from server.vocabulary import IMPLIED_OBJECTIVES, OBJECTIVES, OPTIMIZATION_TYPES, RISK_MEASURES

_POINTS = Bounds(2, 1000)
_TURNOVER = Bounds(0.0, 2.0)
_DEFAULT_POINTS = 20
# Annual; the largest return and risk of a frontier that storage keeps.
_HIGHEST = 99.0


def read_optimization(message: CreateOptimizationRequest, settings: Settings, faults: Faults) -> OptimizationSpec:
    """What an optimization request means; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    faults.identifier("request_id", message.request_id, required=False)
    kind = faults.word("optimization_type", message.optimization_type, OPTIMIZATION_TYPES)
    objective = _read_objective(message, faults)
    measure = faults.word("risk_measure", message.risk_measure or "volatility", RISK_MEASURES)
    preferences = message.preferences
    points = int(faults.limit("frontier_points", message.frontier_points, _POINTS) or 0)
    return OptimizationSpec(
        portfolio_id=message.portfolio_id,
        optimization_type=kind,
        objective=objective,
        risk_measure=measure,
        model=_read_model(message, settings, faults),
        time_limit_seconds=read_time_limit(message.time_limit_seconds, settings, faults),
        constraints=read_constraints(message.constraints, faults),
        risk_aversion=faults.limit("preferences.risk_aversion", preferences.risk_aversion, POSITIVE) or 1.0,
        cost=read_cost(preferences, settings, faults),
        instrument_ids=read_universe(message.instrument_ids, faults),
        frontier_points=points,
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
    return FrontierSpec(
        spec,
        points=int(points),
        min_return=faults.limit("min_return", message.min_return, Bounds(-1.0, _HIGHEST)),
        max_risk=faults.limit("max_risk", message.max_risk, Bounds(0.0, _HIGHEST, open_low=True)),
        include_turning_points=message.include_turning_points,
    )


def read_constraints(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> ConstraintSpec:
    """Limits; 0 of a plain field means "not set"."""
    at = "constraints"
    low = faults.number(f"{at}.min_cash_weight", message.min_cash_weight, FRACTION)
    high = message.max_cash_weight if message.HasField("max_cash_weight") else low
    if faults.number(f"{at}.max_cash_weight", high, FRACTION) < low:
        faults.add(f"{at}.max_cash_weight", f"must be at least min_cash_weight {low:g}, not {high:g}")
    spec = ConstraintSpec(
        max_position_size=faults.limit(f"{at}.max_position_size", message.max_position_size),
        min_position_size=faults.limit(f"{at}.min_position_size", message.min_position_size),
        max_sector_exposure=faults.limit(f"{at}.max_sector_exposure", message.max_sector_exposure),
        max_asset_class_exposure=faults.limit(f"{at}.max_asset_class_exposure", message.max_asset_class_exposure),
        max_turnover=faults.limit(f"{at}.max_turnover", message.max_turnover, _TURNOVER),
        target_volatility=faults.limit(f"{at}.target_volatility", message.target_volatility, POSITIVE),
        min_weights=_read_weights(f"{at}.min_weights", message.min_weights, faults),
        max_weights=_read_weights(f"{at}.max_weights", message.max_weights, faults),
        min_cash_weight=low,
        max_cash_weight=high,
        sector_limits=_read_ranges(f"{at}.sector_limits", message.sector_limits, faults),
        asset_class_limits=_read_ranges(f"{at}.asset_class_limits", message.asset_class_limits, faults),
        two_way_turnover=read_turnover_definition(message, faults),
    )
    _check_weights(spec, faults)
    return spec


def read_turnover_definition(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> bool:
    """Whether turnover is the two-way sum; absent = one way."""
    if not message.HasField("turnover_definition"):
        return False
    known = (common_pb2.TURNOVER_DEFINITION_ONE_WAY, common_pb2.TURNOVER_DEFINITION_TWO_WAY)
    if message.turnover_definition not in known:
        faults.add("constraints.turnover_definition", "must be ONE_WAY or TWO_WAY")
    return message.turnover_definition == common_pb2.TURNOVER_DEFINITION_TWO_WAY


def read_cost(message: optimization_pb2.OptimizationPreferences, settings: Settings, faults: Faults) -> CostSpec:
    """Costs in the objective."""
    rate = faults.limit("preferences.transaction_cost_model", message.transaction_cost_model)
    default = float(settings.market_impact_bps) * 1e-4
    charged = (default if rate is None else rate) if message.include_transaction_costs else 0.0
    return CostSpec(charged, message.consider_tax_implications)


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


def _read_objective(message: CreateOptimizationRequest, faults: Faults) -> str:
    implied = IMPLIED_OBJECTIVES.get(message.optimization_type)
    if implied is None:
        return faults.word("objective", message.objective, OBJECTIVES)
    if message.objective not in ("", implied):
        faults.add("objective", f"must be {implied} for {message.optimization_type}, not {message.objective!r}")
    return implied


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
        confidence_level=faults.limit("confidence_level", message.confidence_level, _OPEN_FRACTION) or 0.95,
    )


# Annual; beyond it the path of cash over decades leaves the range of numbers.
_HIGHEST_RATE = 10.0
_OPEN_FRACTION = Bounds(0.0, 1.0, open_low=True, open_high=True)


def _read_views(message: CreateOptimizationRequest, faults: Faults) -> ViewsSpec | None:
    wanted = message.optimization_type == "black_litterman"
    if not wanted:
        if message.HasField("black_litterman"):
            faults.add("black_litterman", "belongs to the optimization_type black_litterman")
        return None
    if message.HasField("expected_returns"):
        faults.add("expected_returns", "must be absent for black_litterman, whose prior is the equilibrium")
    return read_views(message.black_litterman, faults)


def _read_weights(field: str, weights: Mapping[str, float], faults: Faults) -> dict[str, float]:
    if CASH in weights:
        faults.add(f"{field}[{CASH}]", "is set by min_cash_weight and max_cash_weight")
    return faults.numbers(field, weights, FRACTION)


def _read_ranges(field: str, ranges: Mapping[str, common_pb2.WeightRange], faults: Faults) -> dict[str, Range]:
    read = {}
    for name, message in ranges.items():
        at = f"{field}[{name}]"
        faults.name(at, name)
        low = faults.number(f"{at}.minimum", message.minimum, FRACTION) if message.HasField("minimum") else None
        high = faults.number(f"{at}.maximum", message.maximum, FRACTION) if message.HasField("maximum") else None
        if low is not None and high is not None and low > high:
            faults.add(at, f"has its minimum {low:g} above its maximum {high:g}")
        read[name] = Range(low, high)
    return read


def _check_weights(spec: ConstraintSpec, faults: Faults) -> None:
    """Contradictions that need no solver: floors above ceilings, for each asset by name."""
    for name, low in spec.min_weights.items():
        high, limit = spec.max_weights.get(name), "max_weights"
        if high is None:
            high, limit = spec.max_position_size, "max_position_size"
        if high is not None and low > high:
            faults.add(f"constraints.min_weights[{name}]", f"is {low:g}, above the {limit} of {high:g}")
    smallest, largest = spec.min_position_size, spec.max_position_size
    if smallest is not None and largest is not None and smallest > largest:
        faults.add("constraints.min_position_size", f"is {smallest:g}, above the max_position_size of {largest:g}")
