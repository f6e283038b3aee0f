"""Answers of optimizations and frontiers, to the wire and to storage and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from portfolio_optimization.v1 import common_pb2, frontier_pb2, frontier_point_pb2, optimization_pb2, trade_pb2

from kernel.frontier import EfficientFrontier, FrontierPoint
from kernel.performance import PerformanceReport
from server.compute.frontier import FrontierAnswer
from server.compute.inputs import Floats, MarketInputs
from server.compute.optimization import OptimizationAnswer
from server.convert.estimation import write_findings, write_provenance, write_views
from server.convert.solution import write_certificate, write_constraints, write_explanation, write_outcome
from server.loading import Holdings
from server.specs import FrontierSpec, OptimizationSpec
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


def write_optimization(
    answer: OptimizationAnswer, inputs: MarketInputs, holdings: Holdings, spec: OptimizationSpec
) -> optimization_pb2.GetOptimizationResponse:
    """All that an optimization found out; ids and times are the request's and added later."""
    solution, w0 = answer.solution, inputs.weights_with_cash
    message = optimization_pb2.GetOptimizationResponse(
        current_allocation=allocation(answer.names, w0),
        outcome=write_outcome(solution.status, solution.message, solution),
        constraints=write_constraints(solution.constraints),
        infeasibility=write_explanation(solution.explanation),
        data_findings=write_findings(answer.estimate.window.findings),
        black_litterman=write_views(inputs, answer.estimate, spec.model),
    )
    solver = "" if solution.certificate is None else solution.certificate.solver
    message.provenance.CopyFrom(write_provenance(inputs.pricing_pack_id, answer.estimate, spec.model, solver))
    if answer.frontier is not None:
        message.efficient_frontier.extend(write_points(answer.frontier.points, answer.names))
    if solution.weights is None or answer.target is None or solution.certificate is None:
        return message
    message.certificate.CopyFrom(write_certificate(solution.certificate, answer.solve_seconds))
    message.metrics.CopyFrom(_write_metrics(answer, answer.target, np.abs(solution.weights - w0), spec))
    message.target_allocation.update(allocation(answer.names, solution.weights))
    message.risk_contributions.extend(_write_contributions(answer.names, solution.weights, answer.target))
    message.trades.extend(_write_trades(solution.weights[:-1] - inputs.w0, inputs, holdings))
    return message


def allocation(names: Sequence[str], weights: Floats) -> dict[str, float]:
    """Weights that are not zero, by asset."""
    return {name: weight for name, weight in zip(names, weights.tolist(), strict=True) if weight != 0.0}


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


def _write_contributions(
    names: Sequence[str], weights: Floats, target: PerformanceReport
) -> Iterable[optimization_pb2.RiskContribution]:
    for name, weight, contribution in zip(names, weights.tolist(), target.risk_contributions.tolist(), strict=True):
        if weight != 0.0:
            percent = 100.0 * contribution / target.volatility if target.volatility > 0 else 0.0
            yield optimization_pb2.RiskContribution(
                instrument_id=name, weight=weight, contribution=contribution, percent=percent
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


def write_points(points: Iterable[FrontierPoint], names: Sequence[str]) -> list[frontier_point_pb2.FrontierPoint]:
    """Points of a frontier."""
    return [_write_point(point, names) for point in points]


def _write_point(point: FrontierPoint, names: Sequence[str]) -> frontier_point_pb2.FrontierPoint:
    message = frontier_point_pb2.FrontierPoint(
        risk=point.risk,
        sharpe=point.sharpe or 0.0,
        weights=allocation(names, point.weights),
        risk_multiplier=point.multiplier,
        duality_gap=point.gap,
        max_violation=point.violation,
    )
    setattr(message, "return", point.expected_return)
    return message


def write_frontier(
    answer: FrontierAnswer, inputs: MarketInputs, spec: FrontierSpec
) -> frontier_pb2.EfficientFrontierResponse:
    """A frontier with the portfolios beside it; ids and times are added later."""
    frontier, model = answer.frontier, spec.optimization.model
    message = frontier_pb2.EfficientFrontierResponse(
        portfolio_id=inputs.portfolio_id,
        risk_measure=spec.optimization.risk_measure,
        efficient_frontier=write_points(frontier.points, answer.names),
        current_portfolio=_current(answer, inputs, model.risk_free_rate),
        outcome=write_outcome(frontier.status, frontier.message, frontier.failure),
        provenance=write_provenance(inputs.pricing_pack_id, answer.estimate, model, ""),
        infeasibility=write_explanation(frontier.failure.explanation if frontier.failure else None),
        data_findings=write_findings(answer.estimate.window.findings),
        solve_seconds=answer.solve_seconds,
    )
    _write_beside(message, frontier, answer.names)
    if spec.include_turning_points:
        for corner in write_points(frontier.turning_points, answer.names):
            corner.turning_point = True
            message.turning_points.append(corner)
    return message


def _write_beside(
    message: frontier_pb2.EfficientFrontierResponse, frontier: EfficientFrontier, names: Sequence[str]
) -> None:
    beside = (
        (message.optimal_portfolio, frontier.optimal),
        (message.min_risk_portfolio, frontier.minimum_risk),
        (message.max_return_portfolio, frontier.maximum_return),
    )
    for place, point in beside:
        if point is not None:
            place.CopyFrom(_portfolio_point(point.expected_return, point.risk, point.sharpe))
            place.weights.update(allocation(names, point.weights))


def _current(answer: FrontierAnswer, inputs: MarketInputs, risk_free_rate: float) -> frontier_point_pb2.PortfolioPoint:
    w, moments = inputs.weights_with_cash, answer.estimate.moments
    value, risk = float(moments.mu @ w), moments.volatility(w)
    point = _portfolio_point(value, risk, (value - risk_free_rate) / risk if risk > 0 else None)
    point.weights.update(allocation(answer.names, w))
    return point


def _portfolio_point(value: float, risk: float, sharpe: float | None) -> frontier_point_pb2.PortfolioPoint:
    point = frontier_point_pb2.PortfolioPoint(risk=risk, sharpe=sharpe or 0.0)
    setattr(point, "return", value)
    return point
