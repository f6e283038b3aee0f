"""How far a plan goes and which policy it applies, from the wire."""

from __future__ import annotations

from decimal import Decimal

from portfolio_optimization.v1 import drift_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.rebalancing.drift import DriftMeasure
from server.convert.faults import POSITIVE, Faults
from server.convert.text_values import MONEY, read_decimal
from server.convert.trade_limits import exact
from server.rebalance_specs import CASH_FLOW, FAIL, FULL, RELAX, STAGE, THRESHOLD, PolicySpec, StrategySpec

_STRATEGIES = {
    pb.REBALANCE_STRATEGY_FULL: FULL,
    pb.REBALANCE_STRATEGY_THRESHOLD: THRESHOLD,
    pb.REBALANCE_STRATEGY_CASH_FLOW: CASH_FLOW,
}
STRATEGIES = {word: number for number, word in _STRATEGIES.items()}
_CONFLICTS = {
    pb.POLICY_CONFLICT_HANDLING_FAIL: FAIL,
    pb.POLICY_CONFLICT_HANDLING_RELAX: RELAX,
    pb.POLICY_CONFLICT_HANDLING_STAGE: STAGE,
}
_MEASURES = {
    drift_pb2.DRIFT_MEASURE_MAX_ABSOLUTE: DriftMeasure.MAX_ABSOLUTE,
    drift_pb2.DRIFT_MEASURE_RELATIVE: DriftMeasure.RELATIVE,
    drift_pb2.DRIFT_MEASURE_HALF_L1: DriftMeasure.HALF_L1,
    drift_pb2.DRIFT_MEASURE_BAND_5_25: DriftMeasure.BAND_5_25,
}
DRIFT_MEASURES = {measure: number for number, measure in _MEASURES.items()}
_DEFAULT_THRESHOLD = Decimal("0.05")
# The limits of a policy that may be loosened; exclusion by quality comes first and stays.
RELAXABLE = ("max_single_position", "max_sector", "max_tracking_error", "max_turnover")


def read_strategy(message: pb.RebalancePlanRequest, faults: Faults) -> StrategySpec:
    """How far the plan goes."""
    number = message.strategy if message.HasField("strategy") else pb.REBALANCE_STRATEGY_FULL
    if number not in _STRATEGIES:
        faults.add("strategy", f"must be one of {', '.join(map(pb.RebalanceStrategy.Name, _STRATEGIES))}")
    strategy = _STRATEGIES.get(number, FULL)
    measure, threshold = (
        read_drift_settings("drift", message.drift, faults)
        if message.HasField("drift")
        else (
            DriftMeasure.MAX_ABSOLUTE,
            _DEFAULT_THRESHOLD,
        )
    )
    if message.HasField("drift") and strategy != THRESHOLD:
        faults.add("drift", "belongs to the strategy THRESHOLD")
    return StrategySpec(strategy, _read_cash_flow(message, strategy, faults), measure, threshold)


def _read_cash_flow(message: pb.RebalancePlanRequest, strategy: str, faults: Faults) -> Decimal:
    amount = read_decimal("cash_flow_amount", message.cash_flow_amount, MONEY, faults)
    if strategy == CASH_FLOW and not amount:
        faults.add("cash_flow_amount", "is required for the strategy CASH_FLOW, and not 0")
    if strategy != CASH_FLOW and message.cash_flow_amount:
        faults.add("cash_flow_amount", "belongs to the strategy CASH_FLOW")
    return amount or Decimal(0)


def read_drift_settings(field: str, message: drift_pb2.DriftSettings, faults: Faults) -> tuple[DriftMeasure, Decimal]:
    """Measure and threshold of drift."""
    if message.measure not in _MEASURES:
        faults.add(f"{field}.measure", f"must be one of {', '.join(map(drift_pb2.DriftMeasure.Name, _MEASURES))}")
    threshold = faults.limit(f"{field}.threshold", message.threshold, POSITIVE)
    measure = _MEASURES.get(message.measure, DriftMeasure.MAX_ABSOLUTE)
    return measure, _DEFAULT_THRESHOLD if threshold is None else exact(threshold)


def read_policy_choice(message: pb.RebalancePlanRequest, faults: Faults) -> PolicySpec | None:
    """The policy of the target type policy."""
    wanted = message.target_type == "policy"
    for field in ("policy_id", "policy_version", "on_conflict", "relax_order"):
        if not wanted and any(found.name == field for found, _ in message.ListFields()):
            faults.add(field, "belongs to the target type policy")
    if not wanted:
        return None
    handling = message.on_conflict if message.HasField("on_conflict") else pb.POLICY_CONFLICT_HANDLING_FAIL
    if handling not in _CONFLICTS:
        faults.add("on_conflict", f"must be one of {', '.join(map(pb.PolicyConflictHandling.Name, _CONFLICTS))}")
    on_conflict = _CONFLICTS.get(handling, FAIL)
    return PolicySpec(
        policy_id=faults.identifier("policy_id", message.policy_id),
        version=message.policy_version,
        on_conflict=on_conflict,
        relax_order=_read_relax_order(message, on_conflict, faults),
    )


def _read_relax_order(message: pb.RebalancePlanRequest, on_conflict: str, faults: Faults) -> tuple[str, ...]:
    order = tuple(message.relax_order)
    if order and on_conflict != RELAX:
        faults.add("relax_order", "belongs to on_conflict RELAX")
    if on_conflict == RELAX and not order:
        faults.add("relax_order", f"is required for on_conflict RELAX: some of {', '.join(RELAXABLE)}")
    for k, name in enumerate(order):
        if name not in RELAXABLE:
            faults.add(f"relax_order[{k}]", f"must be one of {', '.join(RELAXABLE)}, not {name[:40]!r}")
    faults.distinct("relax_order", order)
    return order
