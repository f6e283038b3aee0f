"""Stored optimizations to the wire and back: the columns of the baseline, and everything else in `details`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf import json_format
from portfolio_optimization.v1 import common_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.convert.answers import timestamp, to_json
from storage.records import OptimizationRequest, OptimizationResult, OptimizationSummary, Stored

_COLUMNS = ("metrics", "current_allocation", "target_allocation", "trades", "efficient_frontier")


def to_result(optimization_id: str, response: pb.GetOptimizationResponse, solve_seconds: float) -> OptimizationResult:
    """What is kept of an answer."""
    content = to_json(response)
    return OptimizationResult(
        optimization_id=optimization_id,
        metrics=content.pop("metrics", {}),
        current_allocation=content.pop("current_allocation", {}),
        target_allocation=content.pop("target_allocation", {}),
        trades=content.pop("trades", []),
        efficient_frontier=content.pop("efficient_frontier", None),
        details=content,
        solve_seconds=solve_seconds,
    )


def from_stored(stored: Stored[OptimizationRequest, OptimizationResult]) -> pb.GetOptimizationResponse:
    """The answer to GetOptimization."""
    request, result = stored.request, stored.result
    content: dict[str, Any] = {}
    if result is not None:
        columns = {name: getattr(result, name) for name in _COLUMNS}
        content = {**result.details, **{name: value for name, value in columns.items() if value}}
    message = json_format.ParseDict(content, pb.GetOptimizationResponse(), ignore_unknown_fields=True)
    message.optimization_id, message.portfolio_id, message.status = request.id, request.portfolio_id, request.status
    message.optimization_type, message.objective = request.optimization_type, request.objective
    message.risk_measure = request.risk_measure
    message.created_at.CopyFrom(timestamp(request.created_at))
    if (ended := _ended_at(stored)) is not None:
        message.completed_at.CopyFrom(timestamp(ended))
    json_format.ParseDict(request.specification, message.request, ignore_unknown_fields=True)
    return message


def from_summary(row: OptimizationSummary) -> pb.OptimizationSummary:
    """A row of the list."""
    message = pb.OptimizationSummary(
        optimization_id=row.optimization_id,
        portfolio_id=row.portfolio_id,
        status=row.status,
        created_at=timestamp(row.created_at),
        optimization_type=row.optimization_type,
        objective=row.objective,
        risk_measure=row.risk_measure,
    )
    if row.completed_at is not None:
        message.completed_at.CopyFrom(timestamp(row.completed_at))
    if row.metrics:
        json_format.ParseDict(row.metrics, message.metrics, ignore_unknown_fields=True)
    return message


def metadata(response: pb.GetOptimizationResponse) -> pb.OptimizationMetadata:
    """The short account of a solve."""
    certificate = response.certificate
    message = pb.OptimizationMetadata(
        convergence_status=_outcome_word(response),
        iterations=certificate.iterations,
        optimization_time_ms=1000.0 * certificate.solve_seconds,
        constraints_satisfied=response.status == "completed",
    )
    if certificate.HasField("objective_value"):
        message.objective_value = certificate.objective_value
    return message


def _outcome_word(response: pb.GetOptimizationResponse) -> str:
    return common_pb2.OutcomeStatus.Name(response.outcome.status).removeprefix("OUTCOME_STATUS_").lower()


def _ended_at(stored: Stored[OptimizationRequest, OptimizationResult]) -> datetime | None:
    if stored.result is not None:
        return stored.result.completed_at
    return stored.request.updated_at if stored.request.status not in ("pending", "running") else None
