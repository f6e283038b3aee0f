"""Requests on the sample data set, and what a client does with the answers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from portfolio_optimization.v1 import estimation_pb2, optimization_calls_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from running_service import PATIENCE_SECONDS, RunningService, await_that

GROWTH = "sample-growth"
DEFENSIVE = "sample-defensive"
STOCKS = (
    *("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO"),
    *("LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH", "WMT", "XOM"),
)
OPEN = ("pending", "running")
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)


def sharpe_request(**fields: Any) -> pb.CreateOptimizationRequest:
    """A maximum-Sharpe optimization with position and sector limits, which takes some hundredths of a second."""
    constraints = pb.OptimizationConstraints(max_position_size=0.15, max_sector_exposure=0.3)
    request = pb.CreateOptimizationRequest(
        portfolio_id=GROWTH,
        optimization_type="mean_variance",
        objective="maximize_sharpe",
        constraints=constraints,
    )
    request.MergeFrom(pb.CreateOptimizationRequest(**fields))
    return request


def hard_constraints() -> pb.OptimizationConstraints:
    """With a smallest position, nearly equal stocks make branch and bound try their combinations one by one."""
    return pb.OptimizationConstraints(min_position_size=0.09)


def hard_risk_model() -> estimation_pb2.RiskModel:
    """Uncorrelated stocks of nearly the same volatility, 0.2."""
    variances = 0.04 + np.random.default_rng(1).uniform(0.0, 0.001, len(STOCKS))
    covariance = estimation_pb2.CovarianceMatrix(instrument_ids=STOCKS, values=np.diag(variances).ravel().tolist())
    return estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED, covariance=covariance)


def slow_request(seconds: float, request_id: str = "") -> pb.CreateOptimizationRequest:
    """An optimization that stays in the solver until its time limit."""
    return pb.CreateOptimizationRequest(
        portfolio_id=GROWTH,
        optimization_type="minimum_variance",
        constraints=hard_constraints(),
        risk_model=hard_risk_model(),
        time_limit_seconds=seconds,
        request_id=request_id,
    )


def create(service: RunningService, request: pb.CreateOptimizationRequest) -> str:
    """The id of a new optimization."""
    return service.optimization.CreateOptimization(request, timeout=PATIENCE_SECONDS).optimization_id


def find(service: RunningService, optimization_id: str) -> pb.GetOptimizationResponse:
    """An optimization, asked for again while the service says that it is to be."""
    found: list[pb.GetOptimizationResponse] = []

    def answered() -> bool:
        try:
            found.append(
                service.optimization.GetOptimization(
                    pb.GetOptimizationRequest(optimization_id=optimization_id), timeout=PATIENCE_SECONDS
                )
            )
        except grpc.RpcError as error:
            if error.code() not in _RETRIED:
                raise
            return False
        return True

    await_that(answered, f"the service answers:\n{service.output}")
    return found[0]


def await_status(service: RunningService, optimization_id: str, *statuses: str) -> None:
    """Waits until an optimization has one of the statuses."""
    await_that(
        lambda: find(service, optimization_id).status in statuses,
        f"{optimization_id} becomes {' or '.join(statuses)}:\n{service.output}",
    )


def ended(service: RunningService, optimization_id: str) -> pb.GetOptimizationResponse:
    """An optimization once it has ended."""
    await_that(lambda: find(service, optimization_id).status not in OPEN, f"{optimization_id} ends:\n{service.output}")
    return find(service, optimization_id)


def optimize(service: RunningService, request: pb.CreateOptimizationRequest) -> pb.GetOptimizationResponse:
    """Creates an optimization and waits for its end."""
    return ended(service, create(service, request))


def cancel(service: RunningService, optimization_id: str) -> str:
    """Cancels an optimization; returns its status then."""
    request = optimization_calls_pb2.CancelOptimizationRequest(optimization_id=optimization_id)
    return service.optimization.CancelOptimization(request, timeout=PATIENCE_SECONDS).status


def check_completed_once(service: RunningService, optimization_id: str) -> None:
    """There is exactly one answer: one result, one row of each read table, one event, and no job that would go on."""
    assert find(service, optimization_id).status == "completed"
    counted = {
        "results": "SELECT COUNT(*) FROM optimization_results WHERE optimization_id = %s",
        "summaries": "SELECT COUNT(*) FROM portfolio_optimizations WHERE optimization_id = %s AND status = 'completed'",
        "history": "SELECT COUNT(*) FROM portfolio_optimization_history WHERE optimization_id = %s",
        "events": "SELECT COUNT(*) FROM events WHERE payload->>'optimization_id' = %s",
    }
    numbers = {what: service.count(statement, optimization_id) for what, statement in counted.items()}
    assert numbers == dict.fromkeys(counted, 1), service.output
    jobs = "SELECT COUNT(*) FROM procrastinate_jobs WHERE args->>'optimization_id' = %s AND status IN ('todo', 'doing')"
    await_that(lambda: service.count(jobs, optimization_id) == 0, f"its job is done:\n{service.output}")


def check_weights(weights: Mapping[str, float]) -> None:
    """Weights of a long-only portfolio."""
    assert abs(sum(weights.values()) - 1.0) <= 1e-8
    assert min(weights.values()) >= -1e-8


def violations(error: grpc.RpcError) -> dict[str, str]:
    """The faults that an error names, by field path."""
    status = rpc_status.from_call(error)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(bad):
            break
    return {violation.field: violation.description for violation in bad.field_violations}


def new_request_id() -> str:
    """An id of a request that nobody has used."""
    return str(uuid.uuid4())
