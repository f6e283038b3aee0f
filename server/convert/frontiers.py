"""Answers of frontiers and Pareto surfaces, to the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portfolio_optimization.v1 import common_pb2, frontier_pb2, frontier_point_pb2, optimization_pb2

from kernel.frontier import EfficientFrontier, FrontierPoint
from kernel.methods.multi_objective import ParetoSurface
from server.compute.frontier import FrontierAnswer
from server.compute.inputs import MarketInputs
from server.convert.entropy_pooling import write_entropy_pooling
from server.convert.estimation import write_findings, write_provenance
from server.convert.solution import allocation, write_explanation, write_outcome
from server.specs import FrontierSpec, OptimizationSpec


def write_points(points: Iterable[FrontierPoint], names: Sequence[str]) -> list[frontier_point_pb2.FrontierPoint]:
    """Points of a frontier."""
    return [write_point(point, names) for point in points]


def write_point(point: FrontierPoint, names: Sequence[str]) -> frontier_point_pb2.FrontierPoint:
    """One point of a frontier."""
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
        provenance=write_provenance(inputs.pricing_pack_id, answer.estimate, spec.optimization, ""),
        infeasibility=write_explanation(frontier.failure.explanation if frontier.failure else None),
        data_findings=write_findings(answer.estimate.window.findings),
        solve_seconds=answer.solve_seconds,
        resolution=frontier.resolution,
        unbounded_direction=frontier.failure.direction if frontier.failure else {},
        entropy_pooling=write_entropy_pooling(answer.estimate),
    )
    if spec.resampling is not None:
        message.provenance.seed = spec.resampling.seed
    _write_beside(message, frontier, answer.names)
    if spec.include_turning_points:
        for corner in write_points(frontier.turning_points, answer.names):
            corner.turning_point = True
            message.turning_points.append(corner)
    return message


def write_surface(
    message: optimization_pb2.GetOptimizationResponse,
    surface: ParetoSurface,
    names: Sequence[str],
    spec: OptimizationSpec,
) -> None:
    """A Pareto surface into the answer of its optimization."""
    for point in surface.points:
        values = dict(zip((term.name for term in spec.terms), point.values.tolist(), strict=True))
        certificate = common_pb2.Certificate(
            objective_value=float(point.values[0]),
            best_bound=point.bound,
            duality_gap=point.gap,
            max_violation=point.violation,
        )
        message.pareto_points.add(
            objective_values=values, weights=allocation(names, point.weights), certificate=certificate
        )
    if surface.resolution is not None:
        message.pareto_resolution = surface.resolution


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
    w, risk = inputs.weights_with_cash, answer.current_risk
    value = float(answer.estimate.moments.mu @ w)
    point = _portfolio_point(value, risk, (value - risk_free_rate) / risk if risk > 0 else None)
    point.weights.update(allocation(answer.names, w))
    return point


def _portfolio_point(value: float, risk: float, sharpe: float | None) -> frontier_point_pb2.PortfolioPoint:
    point = frontier_point_pb2.PortfolioPoint(risk=risk, sharpe=sharpe or 0.0)
    setattr(point, "return", value)
    return point
