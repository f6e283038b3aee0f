"""Frontiers that are received point by point: the same points, and nothing left of a call that ended."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import grpc
import pytest
from portfolio_optimization.v1 import frontier_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server.open_service import OpenService

CAPPED = pb.OptimizationConstraints(max_position_size=0.2, max_turnover=0.5)


def request(**fields: Any) -> frontier_pb2.EfficientFrontierRequest:
    plain = {"portfolio_id": "sample-growth", "points": 8, "lookback_days": 500}
    return frontier_pb2.EfficientFrontierRequest(**{**plain, **fields})


def streamed(service: OpenService, asked: frontier_pb2.EfficientFrontierRequest) -> list[Any]:
    return service.stream("StreamEfficientFrontier", frontier_pb2.StreamEfficientFrontierRequest(frontier=asked))


@pytest.mark.parametrize(
    "asked",
    [request(), request(constraints=CAPPED), request(risk_measure="cvar", points=5)],
    ids=["exact", "turnover", "cvar"],
)
def test_the_points_are_those_of_the_whole_frontier(
    service: OpenService, asked: frontier_pb2.EfficientFrontierRequest
) -> None:
    parts = streamed(service, asked)
    whole = service.call("GenerateEfficientFrontier", asked)
    points = [part.point for part in parts[:-1]]
    assert [part.WhichOneof("part") for part in parts] == ["point"] * len(points) + ["summary"]
    in_order: list[Any] = []
    for part in parts[:-1]:
        in_order.insert(part.position, part.point)
    assert [point.risk for point in in_order] == [point.risk for point in whole.efficient_frontier]
    assert [dict(point.weights) for point in in_order] == [dict(point.weights) for point in whole.efficient_frontier]
    summary = parts[-1].summary
    assert parts[-1].position == len(points) == len(whole.efficient_frontier)
    assert not summary.efficient_frontier
    assert summary.frontier_id
    assert summary.min_risk_portfolio == whole.min_risk_portfolio
    assert summary.optimal_portfolio == whole.optimal_portfolio


def test_no_frontier_is_a_summary_alone(service: OpenService) -> None:
    (only,) = streamed(service, request(constraints=pb.OptimizationConstraints(max_turnover=0.001)))
    assert only.summary.infeasibility.sentence
    assert only.position == 0


def test_a_refusal_comes_before_any_point(service: OpenService) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        streamed(
            service, request(constraints=pb.OptimizationConstraints(max_tracking_error=0.05, max_trade_sizes={"X": 1}))
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_call_that_is_cancelled_leaves_nothing(service: OpenService) -> None:
    """The solver process is free again, and the channel's directory is gone."""
    before = set(Path(tempfile.gettempdir()).glob("portfolio-*"))

    async def cancel_after_the_first() -> None:
        call = service.stub.StreamEfficientFrontier(
            frontier_pb2.StreamEfficientFrontierRequest(frontier=request(points=1000, constraints=CAPPED))
        )
        async for _ in call:
            break
        call.cancel()
        for _ in range(100):
            await asyncio.sleep(0.05)
            if set(Path(tempfile.gettempdir()).glob("portfolio-*")) == before:
                break

    service.run(cancel_after_the_first())
    assert set(Path(tempfile.gettempdir()).glob("portfolio-*")) == before
    assert len(service.call("GenerateEfficientFrontier", request()).efficient_frontier) == 8
