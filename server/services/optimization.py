"""PortfolioOptimizationService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.rpc import status_pb2
from portfolio_optimization.v1 import factors_pb2, frontier_pb2, optimization_calls_pb2, rebalancing_pb2, validation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1.portfolio_optimization_service_pb2_grpc import PortfolioOptimizationServiceServicer

from kernel.errors import ProblemError
from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.convert.stored import from_stored, from_summary, metadata
from server.convert.validation import write_validation
from server.errors import CallError, to_status
from server.services.calls import Context, actor, page_size, read_cursor, time_left, write_cursor
from server.vocabulary import OPTIMIZATION_STATUSES
from server.workflows.factors import FactorWorkflow
from server.workflows.frontier import FrontierWorkflow
from server.workflows.optimization import Accepted, OptimizationWorkflow
from server.workflows.rebalance import RebalanceWorkflow
from server.workflows.validation import ValidationWorkflow
from storage.errors import StorageError


class OptimizationService(PortfolioOptimizationServiceServicer):
    """Optimizations, frontiers, rebalance plans, factor exposures and validations."""

    def __init__(
        self,
        optimizations: OptimizationWorkflow,
        frontiers: FrontierWorkflow,
        rebalances: RebalanceWorkflow,
        factors: FactorWorkflow,
        validations: ValidationWorkflow,
    ) -> None:
        self._optimizations, self._frontiers = optimizations, frontiers
        self._rebalances, self._factors, self._validations = rebalances, factors, validations

    async def CreateOptimization(
        self, request: pb.CreateOptimizationRequest, context: Context
    ) -> pb.CreateOptimizationResponse:
        """Accept an optimization; a worker does it."""
        return _accepted(await self._optimizations.create(request))

    async def GetOptimization(self, request: pb.GetOptimizationRequest, context: Context) -> pb.GetOptimizationResponse:
        """One optimization with all that is known of it."""
        return from_stored(await self._optimizations.find(request.optimization_id))

    async def ListOptimizations(
        self, request: optimization_calls_pb2.ListOptimizationsRequest, context: Context
    ) -> optimization_calls_pb2.ListOptimizationsResponse:
        """Optimizations, newest first."""
        faults = Faults()
        faults.identifier("portfolio_id", request.portfolio_id, required=False)
        if request.status:
            faults.word("status", request.status, OPTIMIZATION_STATUSES)
        faults.check()
        limit, before = page_size(request.page_size), read_cursor(request.page_token)
        rows = await self._optimizations.page(request.portfolio_id, request.status, limit + 1, before)
        more = write_cursor(rows[limit - 1].created_at, rows[limit - 1].optimization_id) if len(rows) > limit else ""
        return optimization_calls_pb2.ListOptimizationsResponse(
            optimizations=map(from_summary, rows[:limit]), next_page_token=more
        )

    async def GetLatestOptimization(
        self, request: optimization_calls_pb2.GetLatestOptimizationRequest, context: Context
    ) -> optimization_calls_pb2.GetLatestOptimizationResponse:
        """The optimization of a portfolio that was completed last."""
        response = from_stored(await self._optimizations.latest(request.portfolio_id))
        return optimization_calls_pb2.GetLatestOptimizationResponse(
            optimization=response,
            optimal_weights=dict(response.target_allocation),
            expected_return=response.metrics.expected_return,
            expected_volatility=response.metrics.expected_volatility,
            sharpe_ratio=response.metrics.sharpe_ratio,
            optimization_metadata=metadata(response),
        )

    async def WatchOptimization(
        self, request: optimization_calls_pb2.WatchOptimizationRequest, context: Context
    ) -> AsyncIterator[optimization_calls_pb2.WatchOptimizationResponse]:
        """Every status until the last, which comes with the answer."""
        async for stored in self._optimizations.watch(request.optimization_id):
            message = optimization_calls_pb2.WatchOptimizationResponse(
                optimization_id=stored.request.id,
                status=stored.request.status,
                changed_at=timestamp(stored.request.updated_at),
            )
            if stored.request.status not in ("pending", "running"):
                message.optimization.CopyFrom(from_stored(stored))
            yield message

    async def CancelOptimization(
        self, request: optimization_calls_pb2.CancelOptimizationRequest, context: Context
    ) -> optimization_calls_pb2.CancelOptimizationResponse:
        """Stop an optimization; one that has ended stays as it is."""
        status = await self._optimizations.cancel(request.optimization_id)
        return optimization_calls_pb2.CancelOptimizationResponse(optimization_id=request.optimization_id, status=status)

    async def Optimize(
        self, request: optimization_calls_pb2.OptimizeRequest, context: Context
    ) -> optimization_calls_pb2.OptimizeResponse:
        """Create an optimization and wait for its end."""
        seconds = time_left(context, self._optimizations.longest_seconds)
        stored = await self._optimizations.optimize(request.optimization, seconds)
        if stored is None:
            return optimization_calls_pb2.OptimizeResponse(optimization=pb.GetOptimizationResponse(status="validated"))
        response = from_stored(stored)
        return optimization_calls_pb2.OptimizeResponse(
            optimization=response,
            optimal_weights=dict(response.target_allocation),
            expected_return=response.metrics.expected_return,
            expected_volatility=response.metrics.expected_volatility,
            sharpe_ratio=response.metrics.sharpe_ratio,
            optimization_metadata=metadata(response),
        )

    async def BatchCreateOptimizations(
        self, request: optimization_calls_pb2.BatchCreateOptimizationsRequest, context: Context
    ) -> optimization_calls_pb2.BatchCreateOptimizationsResponse:
        """Accept many; each has an answer or an error of its own, in the order of the request."""
        self._optimizations.check_batch(len(request.optimizations))
        results = [await self._one_of_batch(item) for item in request.optimizations]
        return optimization_calls_pb2.BatchCreateOptimizationsResponse(results=results)

    async def CreateValidation(
        self, request: validation_pb2.CreateValidationRequest, context: Context
    ) -> validation_pb2.CreateValidationResponse:
        """Accept a validation; a worker runs it."""
        stored = await self._validations.create(request)
        return validation_pb2.CreateValidationResponse(
            validation_id=stored.id,
            portfolio_id=stored.portfolio_id,
            status=stored.status,
            created_at=timestamp(stored.created_at),
            pricing_pack_id=stored.pricing_pack_id or "",
        )

    async def GetValidation(
        self, request: validation_pb2.GetValidationRequest, context: Context
    ) -> validation_pb2.GetValidationResponse:
        """One validation with all that is known of it."""
        return write_validation(await self._validations.find(request.validation_id))

    async def WatchValidation(
        self, request: validation_pb2.WatchValidationRequest, context: Context
    ) -> AsyncIterator[validation_pb2.WatchValidationResponse]:
        """Every step until the end, which comes with the report."""
        async for stored in self._validations.watch(request.validation_id):
            yield validation_pb2.WatchValidationResponse(validation=write_validation(stored))

    async def CancelValidation(
        self, request: validation_pb2.CancelValidationRequest, context: Context
    ) -> validation_pb2.CancelValidationResponse:
        """Stop a validation; one that has ended stays as it is."""
        status = await self._validations.cancel(request.validation_id)
        return validation_pb2.CancelValidationResponse(validation_id=request.validation_id, status=status)

    async def GenerateEfficientFrontier(
        self, request: frontier_pb2.EfficientFrontierRequest, context: Context
    ) -> frontier_pb2.EfficientFrontierResponse:
        """An efficient frontier, computed while the caller waits."""
        return await self._frontiers.generate(request, time_left(context, self._frontiers.longest_seconds))

    async def StreamEfficientFrontier(
        self, request: frontier_pb2.StreamEfficientFrontierRequest, context: Context
    ) -> AsyncIterator[frontier_pb2.StreamEfficientFrontierResponse]:
        """The points as they are found, then the rest of the answer."""
        seconds = time_left(context, self._frontiers.longest_seconds)
        async with aclosing(self._frontiers.stream(request.frontier, seconds)) as parts:
            async for part in parts:
                yield part

    async def GenerateRebalancePlan(
        self, request: rebalancing_pb2.RebalancePlanRequest, context: Context
    ) -> rebalancing_pb2.RebalancePlanResponse:
        """The trades towards a target."""
        return await self._rebalances.plan(
            request, time_left(context, self._rebalances.longest_seconds), actor(context)
        )

    async def AnalyzeFactorExposures(
        self, request: factors_pb2.FactorExposureRequest, context: Context
    ) -> factors_pb2.FactorExposureResponse:
        """Exposures to factors, and what they contributed."""
        return await self._factors.analyze(request, time_left(context, self._factors.longest_seconds))

    async def _one_of_batch(
        self, item: pb.CreateOptimizationRequest
    ) -> optimization_calls_pb2.BatchCreateOptimizationsResult:
        try:
            accepted = await self._optimizations.create(item)
        except (CallError, ProblemError, StorageError) as error:
            status: status_pb2.Status = to_status(error, item.request_id)
            return optimization_calls_pb2.BatchCreateOptimizationsResult(error=status)
        return optimization_calls_pb2.BatchCreateOptimizationsResult(optimization=_accepted(accepted))


def _accepted(accepted: Accepted) -> pb.CreateOptimizationResponse:
    response = pb.CreateOptimizationResponse(
        portfolio_id=accepted.portfolio_id, status=accepted.status, pricing_pack_id=accepted.pricing_pack_id
    )
    if accepted.stored is not None:
        response.optimization_id = accepted.stored.id
        response.created_at.CopyFrom(timestamp(accepted.stored.created_at))
    if accepted.expected_at is not None:
        response.estimated_completion_time.CopyFrom(timestamp(accepted.expected_at))
    return response
