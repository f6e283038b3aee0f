"""Rebalance plans, to the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from portfolio_optimization.v1 import common_pb2
from portfolio_optimization.v1 import rebalancing_pb2 as pb

from kernel.performance import PerformanceReport
from kernel.rebalancing.drift import measure_drift
from kernel.rebalancing.money import to_cents
from kernel.rebalancing.remarks import Remark
from kernel.rebalancing.trades import TradeAction, TradePlan
from server.compute.rebalance import RebalanceAnswer
from server.compute.restrictions import held_remarks, lot_remarks
from server.convert.drift import write_measures
from server.convert.estimation import write_findings, write_plan_provenance
from server.convert.plan_quality import (
    write_concessions,
    write_conflict,
    write_limit_prices,
    write_limits,
    write_quality,
)
from server.convert.policies import write_remarks
from server.convert.sequence import write_sequence
from server.convert.solution import allocation, write_explanation, write_outcome, write_relaxation
from server.convert.strategies import STRATEGIES
from server.convert.taxes import write_taxes
from server.convert.trades import write_note, write_trade
from server.plans.preparing import PreparedPlan
from server.rebalance_specs import RebalanceSpec
from server.specs import CASH

_NO_TRADES = "no_trades"


def life_of_plan(answer: RebalanceAnswer) -> str:
    """The status of the request that ended with this answer."""
    if answer.plan is not None:
        return "completed" if answer.plan.feasible else "infeasible"
    assert answer.missing is not None
    found = answer.missing.status.value
    return found if found in ("infeasible", "unbounded", "ill_posed") else "numerical_failure"


def write_plan(answer: RebalanceAnswer, prepared: PreparedPlan) -> pb.RebalancePlanResponse:
    """All that a plan says; its id and time are added later."""
    spec, inputs = prepared.spec, prepared.inputs
    message = pb.RebalancePlanResponse(
        portfolio_id=spec.portfolio_id,
        target_type=spec.target_type,
        strategy=STRATEGIES[spec.strategy.strategy],
        pricing_pack_id=inputs.market.pricing_pack_id,
        portfolio_value_amount=f"{to_cents(prepared.holdings.value):f}",
        optimization_id=spec.optimization_id,
        policy_id="" if spec.policy is None else spec.policy.policy_id,
        policy_version=prepared.policy_version,
        reason=spec.reason,
        current_allocation=allocation(inputs.market.names, inputs.market.weights_with_cash),
        target_allocation=_with_cash(answer.target) if answer.plan is not None else {},
        provenance=write_plan_provenance(inputs.market, answer.estimate, spec.optimization),
        data_findings=[] if answer.estimate is None else write_findings(answer.estimate.window.findings),
        notes=write_remarks(_remarks(answer, prepared)),
    )
    if answer.plan is not None:
        _write_trades(message, answer, answer.plan, prepared)
    else:
        _write_missing_target(message, answer)
    return message


def _remarks(answer: RebalanceAnswer, prepared: PreparedPlan) -> Iterator[Remark]:
    """What restricts the plan and what its strategy says; a strategy that calls for no trade may find others do."""
    trades = () if answer.plan is None else answer.plan.trades
    return (r for r in (*prepared.remarks, *answer.remarks) if not (trades and r.code == _NO_TRADES))


def _write_missing_target(message: pb.RebalancePlanResponse, answer: RebalanceAnswer) -> None:
    """No target was found, so there is nothing to trade towards."""
    missing = answer.missing
    assert missing is not None
    message.outcome.CopyFrom(write_outcome(missing.status, missing.message, missing.solution))
    explanation = write_explanation(missing.explanation)
    if explanation is not None:
        message.infeasibility.CopyFrom(explanation)


def _write_trades(
    message: pb.RebalancePlanResponse, answer: RebalanceAnswer, plan: TradePlan, prepared: PreparedPlan
) -> None:
    message.outcome.CopyFrom(write_outcome(plan.status, plan.message))
    message.cash_before_amount = f"{plan.cash_before:f}"
    message.cash_after_amount = f"{plan.cash_after:f}"
    message.trades.extend(map(write_trade, plan.trades))
    message.planned_allocation.update({name: float(weight) for name, weight in plan.planned_allocation.items()})
    target = _exact_with_cash(answer.target)
    message.drift_before.CopyFrom(write_measures(measure_drift(plan.current_allocation, target, residual=CASH)))
    message.drift_after.CopyFrom(write_measures(measure_drift(plan.planned_allocation, target, residual=CASH)))
    message.quality.CopyFrom(write_quality(plan.quality))
    message.constraints.extend(write_limits(plan.limits, plan.limit_prices))
    message.limit_prices.extend(write_limit_prices(plan.limit_prices))
    if plan.conflict is not None:
        message.infeasibility.CopyFrom(write_conflict(plan.conflict))
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
    _write_metrics(message, answer, plan, prepared.spec)
    if answer.sequenced is not None:
        write_sequence(message, answer.sequenced)
    if answer.taxes is not None:
        write_taxes(message, answer.taxes)
    if answer.policy is not None:
        message.applied_relaxations.extend(map(write_relaxation, answer.policy.relaxations))
    _write_notes(message, answer, plan, prepared)


def _write_notes(
    message: pb.RebalancePlanResponse, answer: RebalanceAnswer, plan: TradePlan, prepared: PreparedPlan
) -> None:
    message.notes.extend(write_note(miss, prepared.frozen.get(miss.instrument_id)) for miss in plan.misses)
    message.notes.extend(write_concessions(plan.concessions))
    message.notes.extend(write_remarks(held_remarks(_planned_shares(plan, prepared), prepared.states)))
    sold = {trade.instrument_id for trade in plan.trades if trade.action is TradeAction.SELL}
    message.notes.extend(write_remarks(lot_remarks(prepared.holdings.portfolio.lots, sold)))
    message.notes.extend(_tax_notes(answer, plan))
    if plan.feasible and not plan.trades and not any(note.code == _NO_TRADES for note in message.notes):
        text = "no trade brings the portfolio nearer to its target"
        message.notes.append(pb.PlanNote(code=_NO_TRADES, message=text))


def _planned_shares(plan: TradePlan, prepared: PreparedPlan) -> dict[str, Decimal]:
    shares = dict(prepared.holdings.quantities)
    for trade in plan.trades:
        signed = trade.quantity if trade.action is TradeAction.BUY else -trade.quantity
        shares[trade.instrument_id] = shares.get(trade.instrument_id, Decimal(0)) + signed
    return shares


def _tax_notes(answer: RebalanceAnswer, plan: TradePlan) -> Iterator[pb.PlanNote]:
    """Tax falls due later, but it must be paid from somewhere."""
    tax = Decimal(0) if answer.taxes is None else answer.taxes.chosen.tax.additional_tax
    if tax > max(plan.cash_after, Decimal(0)):
        text = f"the sales add {tax} of tax, more than the cash of {plan.cash_after} left after the trades"
        yield pb.PlanNote(code="too_little_cash", message=text)


def _write_metrics(
    message: pb.RebalancePlanResponse, answer: RebalanceAnswer, plan: TradePlan, spec: RebalanceSpec
) -> None:
    two_way = spec.two_way_turnover
    definition = common_pb2.TURNOVER_DEFINITION_TWO_WAY if two_way else common_pb2.TURNOVER_DEFINITION_ONE_WAY
    gross = sum((trade.value for trade in plan.trades), Decimal(0))
    before, after = answer.before, answer.after
    message.metrics.CopyFrom(
        pb.RebalanceMetrics(
            turnover=float(plan.turnover) * (2.0 if two_way else 1.0),
            turnover_definition=definition,
            transaction_costs=float(plan.total_cost),
            transaction_costs_amount=f"{plan.total_cost:f}",
            gross_trade_amount=f"{gross:f}",
            tracking_error_before=None if before is None else before.tracking_error,
            tracking_error_after=None if after is None else after.tracking_error,
        )
    )
    if before is not None and after is not None:
        message.metrics.expected_improvement.CopyFrom(_improvement(before, after))


def _improvement(before: PerformanceReport, after: PerformanceReport) -> pb.ImprovementMetrics:
    message = pb.ImprovementMetrics(
        risk=after.volatility - before.volatility,
        sharpe=(after.sharpe_ratio or 0.0) - (before.sharpe_ratio or 0.0),
    )
    setattr(message, "return", after.expected_return - before.expected_return)
    return message


def _exact_with_cash(target: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Target weights with what is left for cash."""
    left = 1 - sum(target.values(), Decimal(0))
    weights = {name: weight for name, weight in target.items() if weight}
    return weights | ({CASH: left} if left > 0 else {})


def _with_cash(target: Mapping[str, Decimal]) -> dict[str, float]:
    return {name: float(weight) for name, weight in _exact_with_cash(target).items()}
