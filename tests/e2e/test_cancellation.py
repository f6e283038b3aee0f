"""Cancelling, deadlines and time limits reach the solver itself, and leave everything else as it is."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from portfolio_optimization.v1 import common_pb2, frontier_pb2, optimization_calls_pb2, rebalancing_pb2
from running_service import PATIENCE_SECONDS, RunningService, await_that
from sample_calls import (
    GROWTH,
    await_status,
    cancel,
    check_weights,
    create,
    ended,
    find,
    hard_constraints,
    hard_risk_model,
    optimize,
    sharpe_request,
    slow_request,
)

# Far beyond what a test waits for: only cancelling ends it in time.
_FOR_EVER = 30.0


def test_cancelling_stops_the_solver_and_nothing_else(service: RunningService) -> None:
    service.await_idle_solvers()
    optimization_id = create(service, slow_request(_FOR_EVER))
    solver = service.await_busy_solver()
    assert cancel(service, optimization_id) == "cancelled"
    assert find(service, optimization_id).status == "cancelled"
    await_that(lambda: solver not in service.solvers(), "the solver that worked on it is gone")
    assert optimize(service, sharpe_request()).status == "completed"
    assert find(service, optimization_id).status == "cancelled"
    results = "SELECT COUNT(*) FROM optimization_results WHERE optimization_id = %s"
    assert service.count(results, optimization_id) == 0


def test_cancelling_what_waits_keeps_it_from_ever_starting(service: RunningService) -> None:
    running = [create(service, slow_request(_FOR_EVER)) for _ in range(2)]
    for optimization_id in running:
        await_status(service, optimization_id, "running")
    waiting = create(service, sharpe_request())
    assert find(service, waiting).status == "pending"
    assert [cancel(service, optimization_id) for optimization_id in (waiting, *running)] == ["cancelled"] * 3
    assert optimize(service, sharpe_request()).status == "completed"
    assert find(service, waiting).status == "cancelled"


def test_cancelling_what_has_ended_changes_nothing(service: RunningService) -> None:
    answer = optimize(service, sharpe_request())
    assert cancel(service, answer.optimization_id) == "completed"
    assert find(service, answer.optimization_id) == answer


def _optimize(service: RunningService) -> None:
    service.optimization.Optimize(
        optimization_calls_pb2.OptimizeRequest(optimization=slow_request(_FOR_EVER)), timeout=1.0
    )


def _frontier(service: RunningService) -> None:
    request = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=GROWTH, constraints=hard_constraints(), risk_model=hard_risk_model()
    )
    service.optimization.GenerateEfficientFrontier(request, timeout=1.0)


def _plan(service: RunningService) -> None:
    request = rebalancing_pb2.RebalancePlanRequest(
        portfolio_id=GROWTH, target_type="optimal", optimization=slow_request(_FOR_EVER)
    )
    service.optimization.GenerateRebalancePlan(request, timeout=1.0)


def _stream(service: RunningService) -> None:
    request = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=GROWTH, constraints=hard_constraints(), risk_model=hard_risk_model()
    )
    asked = frontier_pb2.StreamEfficientFrontierRequest(frontier=request)
    for _ in service.optimization.StreamEfficientFrontier(asked, timeout=1.0):
        pass


@pytest.mark.parametrize("call", [_optimize, _frontier, _plan, _stream])
def test_a_deadline_stops_the_solver(service: RunningService, call: Callable[[RunningService], None]) -> None:
    service.await_idle_solvers()
    before = service.solvers()
    with pytest.raises(grpc.RpcError) as refused:
        call(service)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await_that(lambda: len(before & service.solvers()) == len(before) - 1, "the solver that worked on it is gone")
    assert optimize(service, sharpe_request()).status == "completed"


def test_a_stream_that_is_given_up_stops_the_solver(service: RunningService) -> None:
    service.await_idle_solvers()
    before = service.solvers()
    request = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=GROWTH, constraints=hard_constraints(), risk_model=hard_risk_model()
    )
    stream = service.optimization.StreamEfficientFrontier(
        frontier_pb2.StreamEfficientFrontierRequest(frontier=request), timeout=PATIENCE_SECONDS
    )
    service.await_busy_solver()
    stream.cancel()
    await_that(lambda: len(before & service.solvers()) == len(before) - 1, "the solver that worked on it is gone")
    assert optimize(service, sharpe_request()).status == "completed"


def test_a_deadline_too_short_for_anything_is_a_deadline_error(service: RunningService) -> None:
    request = optimization_calls_pb2.OptimizeRequest(optimization=slow_request(2.0))
    with pytest.raises(grpc.RpcError) as refused:
        service.optimization.Optimize(request, timeout=0.05)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_call_that_is_given_up_leaves_an_optimization_with_a_request_id(service: RunningService) -> None:
    request = optimization_calls_pb2.OptimizeRequest(optimization=slow_request(2.0, request_id="asked for twice"))
    with pytest.raises(grpc.RpcError):
        service.optimization.Optimize(request, timeout=0.5)
    answer = service.optimization.Optimize(request, timeout=PATIENCE_SECONDS)
    assert answer.optimization.status == "completed"
    check_weights(answer.optimal_weights)


def test_a_time_limit_ends_a_hard_search_with_an_answer_and_its_gap(service: RunningService) -> None:
    answer = optimize(service, slow_request(1.0))
    assert answer.status == "completed"
    assert answer.outcome.status == common_pb2.OUTCOME_STATUS_LIMIT_REACHED
    check_weights(answer.target_allocation)
    assert answer.certificate.max_violation <= 1e-8
    assert 0.0 < answer.certificate.duality_gap < 1.0
    assert answer.certificate.best_bound < answer.certificate.objective_value
    held = [weight for name, weight in answer.target_allocation.items() if name != "CASH" and weight > 1e-8]
    assert min(held) >= 0.09 - 1e-8


def test_a_frontier_at_its_time_limit_says_so(service: RunningService) -> None:
    request = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=GROWTH,
        points=2,
        constraints=hard_constraints(),
        risk_model=hard_risk_model(),
        time_limit_seconds=3.0,
    )
    answer = service.optimization.GenerateEfficientFrontier(request, timeout=PATIENCE_SECONDS)
    assert max(point.duality_gap for point in answer.efficient_frontier) > 1e-3
    assert answer.outcome.status == common_pb2.OUTCOME_STATUS_LIMIT_REACHED


def test_the_loop_answers_while_solvers_are_busy(service: RunningService) -> None:
    running = [create(service, slow_request(_FOR_EVER)) for _ in range(2)]
    for optimization_id in running:
        await_status(service, optimization_id, "running")
    for _ in range(20):
        service.health(timeout=2.0)
    for optimization_id in running:
        cancel(service, optimization_id)
        assert ended(service, optimization_id).status == "cancelled"
