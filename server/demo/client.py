"""The calls of the demo, as any client would make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portfolio_optimization.v1 import (
    common_pb2,
    factors_pb2,
    frontier_pb2,
    optimization_calls_pb2,
    optimization_pb2,
    rebalancing_pb2,
    trade_pb2,
)
from portfolio_optimization.v1 import portfolio_optimization_service_pb2_grpc as service

PORTFOLIO_ID = "sample-growth"
LARGEST_POSITION, LARGEST_SECTOR, LARGEST_TURNOVER = 0.15, 0.35, 0.30
_CALL_SECONDS = 60.0
_WITH_ANSWER = (
    common_pb2.OUTCOME_STATUS_OPTIMAL,
    common_pb2.OUTCOME_STATUS_OPTIMAL_TO_TOLERANCE,
    common_pb2.OUTCOME_STATUS_LIMIT_REACHED,
)


class DemoError(Exception):
    """The demo can't go on; the message says why and what to do."""


def limits() -> optimization_pb2.OptimizationConstraints:
    """The limits of the demo's optimization."""
    return optimization_pb2.OptimizationConstraints(
        max_position_size=LARGEST_POSITION, max_sector_exposure=LARGEST_SECTOR, max_turnover=LARGEST_TURNOVER
    )


@dataclass(frozen=True, slots=True)
class Client:
    """A client of the service that asks about the sample portfolio.

    Every method raises `grpc.aio.AioRpcError` when the service refuses the call or does not answer it.
    """

    stub: service.PortfolioOptimizationServiceAsyncStub

    async def optimize(self, on_status: Callable[[str], None]) -> optimization_pb2.GetOptimizationResponse:
        """The optimization for the highest Sharpe ratio, accepted, followed to its end, and fetched.

        Raises:
            DemoError: It ended without an answer to act on.
        """
        request = optimization_pb2.CreateOptimizationRequest(
            portfolio_id=PORTFOLIO_ID,
            optimization_type="mean_variance",
            objective="maximize_sharpe",
            risk_measure="volatility",
            constraints=limits(),
        )
        accepted = await self.stub.CreateOptimization(request, timeout=_CALL_SECONDS)
        watch = optimization_calls_pb2.WatchOptimizationRequest(optimization_id=accepted.optimization_id)
        async for change in self.stub.WatchOptimization(watch, timeout=_CALL_SECONDS):
            on_status(change.status)
        get = optimization_pb2.GetOptimizationRequest(optimization_id=accepted.optimization_id)
        return _completed(await self.stub.GetOptimization(get, timeout=_CALL_SECONDS))

    async def frontier(
        self, count: int, constraints: optimization_pb2.OptimizationConstraints | None = None
    ) -> frontier_pb2.EfficientFrontierResponse:
        """The efficient frontier with so many points; without constraints long-only and fully invested, and exact.

        Raises:
            DemoError: There is none.
        """
        request = frontier_pb2.EfficientFrontierRequest(
            portfolio_id=PORTFOLIO_ID,
            points=count,
            risk_measure="volatility",
            constraints=constraints,
            include_turning_points=True,
        )
        answer = await self.stub.GenerateEfficientFrontier(request, timeout=_CALL_SECONDS)
        if not answer.efficient_frontier:
            raise DemoError(f"there is no frontier: {answer.infeasibility.sentence or answer.outcome.message}")
        return answer

    async def plan(self, optimization_id: str) -> rebalancing_pb2.RebalancePlanResponse:
        """The plan towards an optimization.

        Raises:
            DemoError: No trades meet all limits.
        """
        return await self._planned(_plan_request(optimization_id))

    async def plan_of_least_tax(self, optimization_id: str) -> rebalancing_pb2.RebalancePlanResponse:
        """The plan towards an optimization that sells the lots of least tax; it is not kept.

        Raises:
            DemoError: No trades meet all limits.
        """
        request = _plan_request(optimization_id)
        request.validate_only = True
        request.constraints.lot_method = trade_pb2.LOT_METHOD_LEAST_TAX
        return await self._planned(request)

    async def factor_exposures(self) -> factors_pb2.FactorExposureResponse:
        """The analysis by all factors of the newest factor set, with the instruments' parts of the risk."""
        request = factors_pb2.FactorExposureRequest(portfolio_id=PORTFOLIO_ID, include_instruments=True)
        return await self.stub.AnalyzeFactorExposures(request, timeout=_CALL_SECONDS)

    async def _planned(self, request: rebalancing_pb2.RebalancePlanRequest) -> rebalancing_pb2.RebalancePlanResponse:
        plan = await self.stub.GenerateRebalancePlan(request, timeout=_CALL_SECONDS)
        if plan.outcome.status not in _WITH_ANSWER:
            raise DemoError(f"there is no plan: {plan.infeasibility.sentence or plan.outcome.message}")
        return plan


def _plan_request(optimization_id: str) -> rebalancing_pb2.RebalancePlanRequest:
    return rebalancing_pb2.RebalancePlanRequest(
        portfolio_id=PORTFOLIO_ID, target_type="optimization", optimization_id=optimization_id
    )


def _completed(answer: optimization_pb2.GetOptimizationResponse) -> optimization_pb2.GetOptimizationResponse:
    if answer.status != "completed":
        reason = answer.infeasibility.sentence or answer.outcome.message
        raise DemoError(f"the optimization ended as {answer.status}: {reason}")
    return answer
