"""Budgets of risk, from the wire, and what became of them, to the wire."""

from __future__ import annotations

from portfolio_optimization.v1 import risk_budgeting_pb2 as pb
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from server.compute.risk_parity import RiskParityEvidence
from server.convert.faults import Bounds, Faults
from server.method_specs import RiskBudgetingSpec

_AT = "risk_budgeting"
_MAPS = ("instrument_budgets", "sector_budgets", "asset_class_budgets", "factor_budgets")
_SHARE = Bounds(0.0, 1e9)
_SHARE_OF_FACTOR = Bounds(0.0, 1e9, open_low=True)


def read_risk_budgeting(message: CreateOptimizationRequest, faults: Faults) -> RiskBudgetingSpec:
    """Who is to carry which share; what no budgets can be combined with is noted."""
    asked = message.risk_budgeting
    filled = [field for field in _MAPS if getattr(asked, field)]
    if len(filled) > 1:
        faults.add(_AT, f"must have at most one map of budgets, not {' and '.join(filled)}")
    for field in filled:
        _check_budgets(f"{_AT}.{field}", dict(getattr(asked, field)), faults)
    _check_shorts(message, faults)
    _check_companions(message, faults)
    return RiskBudgetingSpec(
        instruments=dict(asked.instrument_budgets),
        sectors=dict(asked.sector_budgets),
        asset_classes=dict(asked.asset_class_budgets),
        factors=dict(asked.factor_budgets),
        short=tuple(asked.short_instrument_ids),
    )


def write_risk_budgeting(evidence: RiskParityEvidence) -> pb.RiskBudgetingResult:
    """How far the target meets its budgets."""
    reports = zip(evidence.names, evidence.budgets, evidence.shares, strict=True)
    return pb.RiskBudgetingResult(
        attained=evidence.attained,
        largest_error=evidence.largest_error,
        distance=evidence.distance,
        distance_bound=evidence.distance_bound,
        budgets=[pb.RiskBudgetReport(name=name, budget=budget, share=share) for name, budget, share in reports],
        unconstrained_weights=evidence.unconstrained,
    )


def _check_budgets(field: str, shares: dict[str, float], faults: Faults) -> None:
    of_factors = field.endswith("factor_budgets")
    faults.numbers(field, shares, _SHARE_OF_FACTOR if of_factors else _SHARE)
    if not of_factors and not any(shares.values()):
        faults.add(field, "must not all be 0: somebody must carry the risk")


def _check_shorts(message: CreateOptimizationRequest, faults: Faults) -> None:
    asked, at = message.risk_budgeting, f"{_AT}.short_instrument_ids"
    if not asked.short_instrument_ids:
        return
    for k, name in enumerate(asked.short_instrument_ids):
        faults.identifier(f"{at}[{k}]", name)
    faults.distinct(at, asked.short_instrument_ids)
    if not message.constraints.allow_short:
        faults.add(at, "needs constraints.allow_short")
    if asked.factor_budgets:
        faults.add(at, "must be empty beside factor_budgets, under which weights have either sign")


def _check_companions(message: CreateOptimizationRequest, faults: Faults) -> None:
    """What leaves no convex program, and so nothing that could be certified."""
    limits, kind = message.constraints, "risk_parity"
    if message.risk_measure == "var":
        faults.add("risk_measure", f"must not be var for {kind}: it is not convex; cvar is, and has contributions")
    reason = f"cannot be combined with {kind}"
    if limits.risk_budgets:
        faults.add("constraints.risk_budgets", f"{reason}, whose budgets stand in risk_budgeting")
    if limits.whole_lots:
        faults.add("constraints.whole_lots", f"{reason}, which needs weights of any size")
    if limits.HasField("min_positions"):
        faults.add("constraints.min_positions", f"{reason}: every instrument with a budget above 0 is held")
    if limits.risk_limits.HasField("max_var"):
        faults.add("constraints.risk_limits.max_var", f"{reason}: it is not convex; max_cvar is")
    of_factors = message.risk_budgeting.factor_budgets
    if of_factors and limits.min_position_size:
        faults.add("constraints.min_position_size", f"{reason} of factors, only of instruments")
    if of_factors and limits.HasField("max_positions"):
        faults.add("constraints.max_positions", f"{reason} of factors, only of instruments")
