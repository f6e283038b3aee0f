"""Limits on the target weights, from the wire: bounds, groups, turnover, leverage."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message
from portfolio_optimization.v1 import common_pb2, optimization_pb2

from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.convert.named_limits import (
    read_exposures,
    read_factor_limits,
    read_factor_model,
    read_range,
    read_risk_budgets,
    read_risk_limits,
    read_stress_scenarios,
    read_sums,
)
from server.limit_specs import ConstraintSpec, LeverageSpec, Range
from server.specs import CASH

_AT = "constraints"
_TURNOVER = Bounds(0.0, 2.0)
# Weights, where there is leverage.
_WIDE = Bounds(-10.0, 10.0)
_CASH_FLOOR = Bounds(-10.0, 1.0)
_EXPOSURE = Bounds(0.0, 10.0)
_GROSS = Bounds(0.0, 20.0, open_low=True)
_TRADE = Bounds(0.0, 20.0)
_SCORE = Bounds(0.0, 10.0)
_RETURN = Bounds(-1.0, 99.0)


def read_constraints(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> ConstraintSpec:
    """Limits; 0 of a plain field means "not set"."""
    cash = _read_cash(message, faults)
    leveraged = message.allow_short or (cash.minimum or 0.0) < 0.0
    weights = _WIDE if leveraged else FRACTION
    spec = ConstraintSpec(
        max_position_size=faults.limit(f"{_AT}.max_position_size", message.max_position_size),
        min_position_size=faults.limit(f"{_AT}.min_position_size", message.min_position_size),
        max_sector_exposure=faults.limit(f"{_AT}.max_sector_exposure", message.max_sector_exposure),
        max_asset_class_exposure=faults.limit(f"{_AT}.max_asset_class_exposure", message.max_asset_class_exposure),
        max_turnover=faults.limit(f"{_AT}.max_turnover", message.max_turnover, _TURNOVER),
        target_volatility=faults.limit(f"{_AT}.target_volatility", message.target_volatility, POSITIVE),
        min_weights=_read_weights(
            "min_weights", message.min_weights, _WIDE if message.allow_short else FRACTION, faults
        ),
        max_weights=_read_weights("max_weights", message.max_weights, weights, faults),
        min_cash_weight=cash.minimum or 0.0,
        max_cash_weight=cash.maximum or 0.0,
        sector_limits=_read_ranges("sector_limits", message.sector_limits, weights, faults),
        asset_class_limits=_read_ranges("asset_class_limits", message.asset_class_limits, weights, faults),
        two_way_turnover=read_turnover_definition(message, faults),
        risk_limits=read_risk_limits(message.risk_limits, faults),
        max_tracking_error=_read_optional(message, "max_tracking_error", POSITIVE, faults),
        max_trade_size=_read_optional(message, "max_trade_size", _TRADE, faults),
        max_trade_sizes=_read_weights("max_trade_sizes", message.max_trade_sizes, _TRADE, faults),
        allow_short=message.allow_short,
        leverage=_read_leverage(message, faults),
        linear_constraints=read_sums(message.linear_constraints, faults),
        factor_limits=read_factor_limits(message.factor_limits, faults),
        exposures=read_exposures(message, faults),
        max_positions=_read_count(message, "max_positions", faults),
        min_positions=_read_count(message, "min_positions", faults),
        whole_lots=message.whole_lots,
        min_quality_score=_read_optional(message, "min_quality_score", _SCORE, faults),
        min_average_quality=_read_optional(message, "min_average_quality", _SCORE, faults),
        risk_budgets=read_risk_budgets(message.risk_budgets, faults),
        stress_scenarios=read_stress_scenarios(message.stress_scenarios, faults),
        target_return=_read_optional(message, "target_return", _RETURN, faults),
        factor_model_id=read_factor_model(message, faults),
    )
    _check_weights(spec, faults)
    _check_positions(spec, faults)
    return spec


def read_turnover_definition(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> bool:
    """Whether turnover is the two-way sum; absent = one way."""
    if not message.HasField("turnover_definition"):
        return False
    known = (common_pb2.TURNOVER_DEFINITION_ONE_WAY, common_pb2.TURNOVER_DEFINITION_TWO_WAY)
    if message.turnover_definition not in known:
        faults.add(f"{_AT}.turnover_definition", "must be ONE_WAY or TWO_WAY")
    return message.turnover_definition == common_pb2.TURNOVER_DEFINITION_TWO_WAY


def _read_cash(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> Range:
    low = faults.number(f"{_AT}.min_cash_weight", message.min_cash_weight, _CASH_FLOOR)
    high = message.max_cash_weight if message.HasField("max_cash_weight") else low
    if faults.number(f"{_AT}.max_cash_weight", high, _WIDE) < low:
        faults.add(f"{_AT}.max_cash_weight", f"must be at least min_cash_weight {low:g}, not {high:g}")
    return Range(low, high)


def _read_leverage(message: optimization_pb2.OptimizationConstraints, faults: Faults) -> LeverageSpec:
    low = _read_optional(message, "min_net_leverage", _WIDE, faults)
    high = _read_optional(message, "max_net_leverage", _WIDE, faults)
    if low is not None and high is not None and low > high:
        faults.add(f"{_AT}.min_net_leverage", f"is {low:g}, above the max_net_leverage of {high:g}")
    return LeverageSpec(
        gross=_read_optional(message, "max_gross_leverage", _GROSS, faults),
        net=Range(low, high),
        long=_read_optional(message, "max_long_exposure", _EXPOSURE, faults),
        short=_read_optional(message, "max_short_exposure", _EXPOSURE, faults),
    )


def _read_optional(message: Message, field: str, bounds: Bounds, faults: Faults) -> float | None:
    return faults.number(f"{_AT}.{field}", getattr(message, field), bounds) if message.HasField(field) else None


def _read_count(message: Message, field: str, faults: Faults) -> int | None:
    if not message.HasField(field):
        return None
    if field == "max_positions" and not getattr(message, field):
        faults.add(f"{_AT}.{field}", "must be at least 1, not 0")
    return int(getattr(message, field))


def _read_weights(field: str, weights: Mapping[str, float], bounds: Bounds, faults: Faults) -> dict[str, float]:
    if CASH in weights:
        other = "not limited" if bounds is _TRADE else "set by min_cash_weight and max_cash_weight"
        faults.add(f"{_AT}.{field}[{CASH}]", f"is {other}")
    return faults.numbers(f"{_AT}.{field}", weights, bounds)


def _read_ranges(
    field: str, ranges: Mapping[str, common_pb2.WeightRange], bounds: Bounds, faults: Faults
) -> dict[str, Range]:
    for name in ranges:
        faults.name(f"{_AT}.{field}[{name}]", name)
    return {name: read_range(f"{_AT}.{field}[{name}]", message, bounds, faults) for name, message in ranges.items()}


def _check_weights(spec: ConstraintSpec, faults: Faults) -> None:
    """Contradictions that need no solver: floors above ceilings, for each asset by name."""
    for name, low in spec.min_weights.items():
        high, limit = spec.max_weights.get(name), "max_weights"
        if high is None:
            high, limit = spec.max_position_size, "max_position_size"
        if high is not None and low > high:
            faults.add(f"{_AT}.min_weights[{name}]", f"is {low:g}, above the {limit} of {high:g}")
    smallest, largest = spec.min_position_size, spec.max_position_size
    if smallest is not None and largest is not None and smallest > largest:
        faults.add(f"{_AT}.min_position_size", f"is {smallest:g}, above the max_position_size of {largest:g}")


def _check_positions(spec: ConstraintSpec, faults: Faults) -> None:
    fewest, most = spec.min_positions, spec.max_positions
    if fewest is not None and most is not None and fewest > most:
        faults.add(f"{_AT}.min_positions", f"is {fewest}, above the max_positions of {most}")
    if spec.whole_lots and not spec.min_cash_weight < spec.max_cash_weight:
        faults.add(f"{_AT}.whole_lots", "needs a max_cash_weight above min_cash_weight: cash takes up what lots leave")
