"""Rebalance requests, from the wire."""

from __future__ import annotations

from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.mixed_integer import SearchSettings
from server.convert.faults import FRACTION, Faults
from server.convert.optimization import read_optimization, read_time_limit
from server.convert.strategies import read_policy_choice, read_strategy
from server.convert.trade_limits import (
    read_costs,
    read_distance,
    read_execution,
    read_limits,
    read_min_trade_fraction,
    read_positions,
    read_tax_choice,
    read_two_way,
)
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings
from server.specs import CASH, OptimizationSpec
from server.vocabulary import TARGET_TYPES

_SUM_TOLERANCE = Decimal("1e-9")
# The last relaxation of a program over thousands of lots outruns the limit of a search, and the target, the prices of
# limits and the taxes take their part of the time.
_SEARCH_SHARE = 1.0 / 3.0


def read_rebalance(message: pb.RebalancePlanRequest, settings: Settings, faults: Faults) -> RebalanceSpec:
    """What a rebalance request means; what is wrong with it is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    faults.identifier("request_id", message.request_id, required=False)
    target_type = faults.word("target_type", message.target_type, TARGET_TYPES)
    limits = message.constraints
    distance, aversion = read_distance(limits, faults)
    return RebalanceSpec(
        portfolio_id=message.portfolio_id,
        target_type=target_type,
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        optimization_id=faults.identifier(
            "optimization_id", message.optimization_id, required=target_type == "optimization"
        ),
        custom_target=_read_custom(message, faults),
        optimization=_read_optimal(message, settings, faults),
        limits=read_limits(limits, settings, faults),
        two_way_turnover=read_two_way(limits, faults),
        costs=read_costs(limits, settings, faults),
        search=_read_search(message, settings, faults),
        validate_only=message.validate_only,
        reason=faults.text("reason", message.reason),
        tax=read_tax_choice(limits, faults),
        execution=read_execution(limits, faults),
        strategy=read_strategy(message, faults),
        policy=read_policy_choice(message, faults),
        positions=read_positions(limits, faults),
        min_trade_fraction=read_min_trade_fraction(limits, faults),
        distance=distance,
        risk_aversion=aversion,
        tracking_benchmark_id=_read_tracking_benchmark(limits, faults),
    )


def _read_search(message: pb.RebalancePlanRequest, settings: Settings, faults: Faults) -> SearchSettings:
    seconds = read_time_limit(message.time_limit_seconds, settings, faults)
    return SearchSettings(time_limit_seconds=_SEARCH_SHARE * seconds)


def _read_tracking_benchmark(message: pb.RebalanceConstraints, faults: Faults) -> str:
    field = "constraints.tracking_benchmark_id"
    if message.tracking_benchmark_id and not message.max_tracking_error:
        faults.add(field, "belongs to max_tracking_error")
    if message.tracking_benchmark_id and message.distance == pb.TRADE_DISTANCE_TRACKING_RISK:
        faults.add(field, "cannot stand beside the distance TRACKING_RISK, which is measured from the target")
    return faults.identifier(field, message.tracking_benchmark_id, required=False)


def _read_custom(message: pb.RebalancePlanRequest, faults: Faults) -> dict[str, Decimal]:
    weights = faults.numbers("custom_target", message.custom_target, FRACTION)
    if message.target_type == "custom" and not weights:
        faults.add("custom_target", "is required for the target type custom")
    if message.target_type != "custom" and weights:
        faults.add("custom_target", "belongs to the target type custom")
    exact = {name: Decimal(repr(weight)) for name, weight in weights.items() if FRACTION.hold(weight)}
    total = sum(exact.values(), Decimal(0))
    if total > 1 + _SUM_TOLERANCE:
        faults.add("custom_target", f"must add up to at most 1, not {total}")
    return {name: weight for name, weight in exact.items() if name != CASH}


def _read_optimal(message: pb.RebalancePlanRequest, settings: Settings, faults: Faults) -> OptimizationSpec:
    """The optimization behind the target type optimal; maximum Sharpe ratio unless said otherwise."""
    asked = message.optimization
    given = message.HasField("optimization")
    if given and message.target_type != "optimal":
        faults.add("optimization", "belongs to the target type optimal")
    if given and asked.portfolio_id not in ("", message.portfolio_id):
        faults.add("optimization.portfolio_id", f"must be empty or {message.portfolio_id!r}")
    filled = type(asked)()
    filled.CopyFrom(asked)
    filled.portfolio_id = message.portfolio_id or "-"
    filled.pricing_pack_id = message.pricing_pack_id or asked.pricing_pack_id
    filled.optimization_type = asked.optimization_type or "mean_variance"
    if filled.optimization_type == "mean_variance" and not asked.objective:
        filled.objective = "maximize_sharpe"
    if message.constraints.consider_tax_implications:
        filled.preferences.consider_tax_implications = True
    return read_optimization(filled, settings, faults)
