"""Rebalance plans, to the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from portfolio_optimization.v1 import common_pb2, drift_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.performance import PerformanceReport
from kernel.rebalancing.drift import DriftMeasure, DriftReport, measure_drift
from kernel.rebalancing.money import to_cents
from kernel.rebalancing.trades import TradePlan
from server.compute.rebalance import RebalanceAnswer, RebalanceInputs
from server.convert.estimation import write_findings, write_provenance
from server.convert.solution import allocation, write_explanation, write_outcome
from server.convert.strategies import STRATEGIES
from server.convert.taxes import write_tax
from server.convert.trades import write_note, write_trade
from server.loading import Holdings
from server.rebalance_specs import RebalanceSpec
from server.specs import CASH


def life_of_plan(answer: RebalanceAnswer) -> str:
    """The status of the request that ended with this answer."""
    if answer.plan is not None:
        return "completed" if answer.plan.feasible else "infeasible"
    assert answer.optimized is not None
    status = answer.optimized.solution.status
    return status.value if status.value in ("infeasible", "unbounded", "ill_posed") else "numerical_failure"


def write_plan(
    answer: RebalanceAnswer, inputs: RebalanceInputs, spec: RebalanceSpec, holdings: Holdings
) -> pb.RebalancePlanResponse:
    """All that a plan says; its id and time are added later."""
    message = pb.RebalancePlanResponse(
        portfolio_id=spec.portfolio_id,
        target_type=spec.target_type,
        strategy=STRATEGIES[spec.strategy.strategy],
        pricing_pack_id=inputs.market.pricing_pack_id,
        portfolio_value_amount=f"{to_cents(holdings.value):f}",
        optimization_id=spec.optimization_id,
        current_allocation=allocation(inputs.market.names, inputs.market.weights_with_cash),
        target_allocation=_with_cash(answer.target) if answer.plan is not None else {},
        provenance=write_provenance(inputs.market.pricing_pack_id, answer.estimate, spec.optimization, ""),
        data_findings=write_findings(answer.estimate.window.findings),
    )
    if answer.plan is None:
        _write_missing_target(message, answer)
    else:
        _write_trades(message, answer, answer.plan, spec)
    return message


def _write_missing_target(message: pb.RebalancePlanResponse, answer: RebalanceAnswer) -> None:
    """The optimization found no target, so there is nothing to trade towards."""
    assert answer.optimized is not None
    solution = answer.optimized.solution
    message.outcome.CopyFrom(write_outcome(solution.status, solution.message, solution))
    explanation = write_explanation(solution.explanation)
    if explanation is not None:
        message.infeasibility.CopyFrom(explanation)


def _write_trades(
    message: pb.RebalancePlanResponse, answer: RebalanceAnswer, plan: TradePlan, spec: RebalanceSpec
) -> None:
    message.outcome.CopyFrom(write_outcome(plan.status, plan.message))
    message.cash_before_amount = f"{plan.cash_before:f}"
    message.cash_after_amount = f"{plan.cash_after:f}"
    message.trades.extend(map(write_trade, plan.trades))
    message.notes.extend(map(write_note, plan.misses))
    message.notes.extend(_tax_notes(answer, plan))
    message.planned_allocation.update({name: float(weight) for name, weight in plan.planned_allocation.items()})
    target = _exact_with_cash(answer.target)
    message.drift_before.CopyFrom(_write_drift(measure_drift(plan.current_allocation, target)))
    message.drift_after.CopyFrom(_write_drift(measure_drift(plan.planned_allocation, target)))
    message.certificate.CopyFrom(
        common_pb2.Certificate(
            objective_value=float(plan.objective),
            best_bound=float(plan.lower_bound),
            duality_gap=plan.gap,
            iterations=plan.nodes,
            solve_seconds=answer.solve_seconds,
            solver="HiGHS",
            solver_version=message.provenance.versions["scipy"],
        )
    )
    _write_metrics(message, answer, plan, spec)


def _tax_notes(answer: RebalanceAnswer, plan: TradePlan) -> Iterator[pb.PlanNote]:
    """Tax falls due later, but it must be paid from somewhere."""
    if answer.tax is not None and answer.tax.additional_tax > plan.cash_after:
        tax, cash = answer.tax.additional_tax, plan.cash_after
        text = f"the sales add {tax} of tax, more than the cash of {cash} left after the trades"
        yield pb.PlanNote(code="too_little_cash", message=text)


def _write_metrics(
    message: pb.RebalancePlanResponse, answer: RebalanceAnswer, plan: TradePlan, spec: RebalanceSpec
) -> None:
    two_way = spec.two_way_turnover
    definition = common_pb2.TURNOVER_DEFINITION_TWO_WAY if two_way else common_pb2.TURNOVER_DEFINITION_ONE_WAY
    gross = sum((trade.value for trade in plan.trades), Decimal(0))
    message.metrics.CopyFrom(
        pb.RebalanceMetrics(
            turnover=float(plan.turnover) * (2.0 if two_way else 1.0),
            turnover_definition=definition,
            transaction_costs=float(plan.total_cost),
            transaction_costs_amount=f"{plan.total_cost:f}",
            gross_trade_amount=f"{gross:f}",
            tracking_error_before=answer.before.tracking_error,
            tracking_error_after=None if answer.after is None else answer.after.tracking_error,
        )
    )
    if answer.tax is not None:
        message.metrics.tax_implications = float(answer.tax.additional_tax)
        message.metrics.tax_amount = f"{answer.tax.additional_tax:f}"
        message.tax.CopyFrom(write_tax(answer.lot_method, answer.lot_sales, answer.tax))
    if answer.after is not None:
        message.metrics.expected_improvement.CopyFrom(_improvement(answer.before, answer.after))


def _improvement(before: PerformanceReport, after: PerformanceReport) -> pb.ImprovementMetrics:
    message = pb.ImprovementMetrics(
        risk=after.volatility - before.volatility,
        sharpe=(after.sharpe_ratio or 0.0) - (before.sharpe_ratio or 0.0),
    )
    setattr(message, "return", after.expected_return - before.expected_return)
    return message


def _write_drift(report: DriftReport) -> drift_pb2.DriftMeasures:
    return drift_pb2.DriftMeasures(
        max_absolute=float(report.max_absolute),
        max_relative=float(report.max_relative or 0),
        half_l1=float(report.half_l1),
        outside_band_5_25=[item.key for item in report.items if DriftMeasure.BAND_5_25 in item.breaches],
    )


def _exact_with_cash(target: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Target weights with what is left for cash."""
    left = 1 - sum(target.values(), Decimal(0))
    weights = {name: weight for name, weight in target.items() if weight}
    return weights | ({CASH: left} if left > 0 else {})


def _with_cash(target: Mapping[str, Decimal]) -> dict[str, float]:
    return {name: float(weight) for name, weight in _exact_with_cash(target).items()}
