"""The same request_id is the same optimization, however often and from wherever it is sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from portfolio_optimization.v1 import optimization_pb2 as pb
from running_service import PATIENCE_SECONDS, RunningService
from sample_calls import DEFENSIVE, check_completed_once, create, ended, new_request_id, sharpe_request


def test_sent_again_it_is_the_same_optimization(service: RunningService) -> None:
    request = sharpe_request(request_id=new_request_id())
    first = create(service, request)
    assert create(service, request) == first
    assert ended(service, first).status == "completed"
    again = service.optimization.CreateOptimization(request, timeout=PATIENCE_SECONDS)
    assert (again.optimization_id, again.status) == (first, "completed")
    assert not again.HasField("estimated_completion_time")
    check_completed_once(service, first)


def test_with_another_content_it_is_refused(service: RunningService) -> None:
    request_id = new_request_id()
    first = create(service, sharpe_request(request_id=request_id))
    with pytest.raises(grpc.RpcError) as refused:
        create(service, sharpe_request(request_id=request_id, risk_free_rate=0.01))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert first in refused.value.details()


def test_another_portfolio_may_use_it_too(service: RunningService) -> None:
    request_id = new_request_id()
    mine = create(service, sharpe_request(request_id=request_id))
    other = pb.CreateOptimizationRequest(
        portfolio_id=DEFENSIVE, optimization_type="minimum_variance", request_id=request_id
    )
    assert create(service, other) != mine


def test_eight_callers_at_once_get_one_optimization(service: RunningService) -> None:
    request = sharpe_request(request_id=new_request_id())
    with ThreadPoolExecutor(8) as callers:
        ids = set(callers.map(lambda _: create(service, request), range(8)))
    assert len(ids) == 1
    (optimization_id,) = ids
    assert ended(service, optimization_id).status == "completed"
    check_completed_once(service, optimization_id)


def test_validation_keeps_nothing(service: RunningService) -> None:
    before = service.count("SELECT COUNT(*) FROM optimization_requests")
    checked = service.optimization.CreateOptimization(sharpe_request(validate_only=True), timeout=PATIENCE_SECONDS)
    assert (checked.optimization_id, checked.status) == ("", "validated")
    assert service.count("SELECT COUNT(*) FROM optimization_requests") == before
