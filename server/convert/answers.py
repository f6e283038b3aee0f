"""Answers of optimizations and frontiers, to the wire and to storage and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from portfolio_optimization.v1 import common_pb2, factor_attribution_pb2, optimization_pb2, trade_pb2

from kernel.performance import PerformanceReport
from kernel.solution import Solution
from server.compute.factor_risk import FactorRisk
from server.compute.inputs import Floats, MarketInputs
from server.compute.optimization import OptimizationAnswer
from server.convert.entropy_pooling import write_entropy_pooling
from server.convert.estimation import write_findings, write_provenance
from server.convert.evidence import write_evidence
from server.convert.factor_risk import write_factor_risk
from server.convert.frontiers import write_points, write_surface
from server.convert.sentences import objective_unit
from server.convert.solution import (
    allocation,
    write_certificate,
    write_constraints,
    write_explanation,
    write_outcome,
)
from server.convert.views import write_views
from server.loading import Holdings
from server.preparing import Prepared
from server.specs import OptimizationSpec
from storage.records import Json

_DUST = 5e-7
# Weights are binary floats: a whole number of increments may arrive a hair short.
_ROUNDING = Decimal("1e-6")


def to_json(message: Message) -> Json:
    """A message as JSON values with the contract's field names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def timestamp(moment: datetime) -> Timestamp:
    """A moment on the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def write_optimization(answer: OptimizationAnswer, prepared: Prepared) -> optimization_pb2.GetOptimizationResponse:
    """All that an optimization found out; ids and times are the request's and added later."""
    solution, inputs, spec = answer.solution, prepared.inputs, prepared.spec
    w0 = inputs.weights_with_cash
    message = optimization_pb2.GetOptimizationResponse(
        current_allocation=allocation(answer.names, w0),
        outcome=write_outcome(solution.status, solution.message, solution, spec.objective),
        constraints=write_constraints(solution.constraints, objective_unit(_pursued(solution, spec))),
        infeasibility=write_explanation(solution.explanation),
        data_findings=write_findings(answer.estimate.window.findings),
        black_litterman=write_views(inputs, answer.estimate, spec.model),
        entropy_pooling=write_entropy_pooling(answer.estimate),
        unbounded_direction=solution.direction,
    )
    solver = "" if solution.certificate is None else solution.certificate.solver
    message.provenance.CopyFrom(write_provenance(inputs.pricing_pack_id, answer.estimate, spec, solver))
    if answer.frontier is not None:
        message.efficient_frontier.extend(write_points(answer.frontier.points, answer.names))
    if answer.surface is not None:
        write_surface(message, answer.surface, answer.names, spec)
    write_evidence(message, answer, prepared)
    if solution.weights is None or answer.target is None or solution.certificate is None:
        return message
    message.certificate.CopyFrom(write_certificate(solution.certificate, answer.solve_seconds))
    message.metrics.CopyFrom(_write_metrics(answer, answer.target, np.abs(solution.weights - w0), spec))
    message.target_allocation.update(allocation(answer.names, solution.weights))
    message.risk_values.update(answer.risk_values)
    if answer.factor_risk is not None:
        message.factor_risk.CopyFrom(_write_factor_risk(answer.factor_risk))
    if answer.active_factor_risk is not None:
        message.active_factor_risk.CopyFrom(_write_factor_risk(answer.active_factor_risk))
    message.risk_contributions.extend(_write_contributions(answer, answer.target, solution.weights))
    message.trades.extend(_write_trades(solution.weights[:-1] - inputs.w0, inputs, prepared.holdings))
    return message


def _pursued(solution: Solution, spec: OptimizationSpec) -> OptimizationSpec:
    """The request with the objective that the answer is about: the fallback where a ratio had no meaning."""
    fell_back = spec.fallback and "best_excess_return" in solution.numbers
    return replace(spec, objective=spec.fallback) if fell_back else spec


def _write_metrics(
    answer: OptimizationAnswer, target: PerformanceReport, change: Floats, spec: OptimizationSpec
) -> optimization_pb2.OptimizationMetrics:
    two_way = spec.constraints.two_way_turnover
    definition = common_pb2.TURNOVER_DEFINITION_TWO_WAY if two_way else common_pb2.TURNOVER_DEFINITION_ONE_WAY
    return optimization_pb2.OptimizationMetrics(
        expected_return=target.expected_return,
        expected_volatility=target.volatility,
        sharpe_ratio=target.sharpe_ratio or 0.0,
        max_drawdown=target.maximum_drawdown,
        turnover=float(change.sum()) * (1.0 if two_way else 0.5),
        turnover_definition=definition,
        information_ratio=target.information_ratio or 0.0,
        sortino_ratio=target.sortino_ratio,
        value_at_risk=target.value_at_risk,
        conditional_value_at_risk=target.conditional_value_at_risk,
        confidence_level=target.confidence_level,
        transaction_cost=answer.transaction_cost,
        effective_number_of_assets=target.effective_number_of_assets or 0.0,
        tracking_error=target.tracking_error,
    )


def _write_factor_risk(risk: FactorRisk) -> factor_attribution_pb2.FactorRiskAttribution:
    return write_factor_risk(risk.parts, risk.factors, risk.names, risk.w)


def _write_contributions(
    answer: OptimizationAnswer, target: PerformanceReport, weights: Floats
) -> Iterable[optimization_pb2.RiskContribution]:
    parts = answer.measure_contributions
    for k in np.flatnonzero(weights).tolist():
        contribution = float(target.risk_contributions[k])
        yield optimization_pb2.RiskContribution(
            instrument_id=answer.names[k],
            weight=float(weights[k]),
            contribution=contribution,
            percent=100.0 * contribution / target.volatility if target.volatility > 0 else 0.0,
            measure_contribution=None if parts is None else float(parts[k]),
        )


def _write_trades(change: Floats, inputs: MarketInputs, holdings: Holdings) -> list[trade_pb2.Trade]:
    """The way to the target in whole trading increments, sells first, each side largest first.

    These show what the target means; a rebalance plan is what counts cash and costs to the cent.
    """
    trades: list[trade_pb2.Trade] = []
    order = sorted(range(len(change)), key=lambda k: (change[k] > 0, -abs(change[k]), k))
    for k in order:
        instrument = holdings.instruments[k]
        price = holdings.prices[instrument.id]
        shares = Decimal(float(change[k])) * inputs.value / price
        increments = (abs(shares) / instrument.lot_size + _ROUNDING).to_integral_value(ROUND_DOWN)
        quantity = increments * instrument.lot_size
        if quantity > 0 and abs(change[k]) > _DUST:
            trades.append(_write_trade(instrument.id, quantity, price, float(change[k]), len(trades) + 1))
    return trades


def _write_trade(
    instrument_id: str, quantity: Decimal, price: Decimal, change: float, priority: int
) -> trade_pb2.Trade:
    return trade_pb2.Trade(
        instrument_id=instrument_id,
        action="buy" if change > 0 else "sell",
        quantity=float(quantity),
        exact_quantity=f"{quantity:f}",
        estimated_value=float(quantity * price),
        price_amount=f"{price:f}",
        weight_change=change,
        priority=priority,
    )
