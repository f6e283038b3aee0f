"""Events of optimizations, for storage; their payload is the contract's message as JSON."""

from __future__ import annotations

from portfolio_optimization.v1 import drift_pb2, events_pb2, optimization_pb2

from server.convert.answers import to_json
from server.convert.stored import metadata
from storage.records import Event, OptimizationRequest

PORTFOLIO_OPTIMIZED = "portfolio_optimized"
OPTIMIZATION_ENDED = "optimization_ended"
DRIFT_DETECTED = "drift_detected"


def portfolio_optimized(request: OptimizationRequest, response: optimization_pb2.GetOptimizationResponse) -> Event:
    """A target is there."""
    response = _ended(response, "completed")
    payload = events_pb2.PortfolioOptimized(
        portfolio_id=request.portfolio_id,
        optimization_id=request.id,
        optimal_weights=dict(response.target_allocation),
        expected_return=response.metrics.expected_return,
        expected_volatility=response.metrics.expected_volatility,
        sharpe_ratio=response.metrics.sharpe_ratio,
        optimization_metadata=metadata(response),
    )
    return Event(portfolio_id=request.portfolio_id, type=PORTFOLIO_OPTIMIZED, payload=to_json(payload))


def optimization_ended(request: OptimizationRequest, status: str, message: str) -> Event:
    """An optimization ended without a target."""
    payload = events_pb2.OptimizationEnded(optimization_id=request.id, status=status, message=message)
    return Event(portfolio_id=request.portfolio_id, type=OPTIMIZATION_ENDED, payload=to_json(payload))


def drift_detected(drift: drift_pb2.GetDriftResponse) -> Event:
    """The drift of a portfolio has reached its threshold."""
    payload = events_pb2.DriftDetected(
        pricing_pack_id=drift.pricing_pack_id, settings=drift.settings, measures=drift.measures
    )
    return Event(portfolio_id=drift.portfolio_id, type=DRIFT_DETECTED, payload=to_json(payload))


def _ended(response: optimization_pb2.GetOptimizationResponse, status: str) -> optimization_pb2.GetOptimizationResponse:
    ended = optimization_pb2.GetOptimizationResponse()
    ended.CopyFrom(response)
    ended.status = status
    return ended
