"""Efficient frontiers, computed while the caller waits and kept."""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from portfolio_optimization.v1 import frontier_pb2 as pb

from kernel.status import Status
from server.compute.frontier import FrontierAnswer
from server.compute.inputs import MarketInputs
from server.compute.pool import Found, SolverPool
from server.compute.tasks import run_frontier, stream_frontier
from server.convert.answers import timestamp, to_json
from server.convert.faults import checked
from server.convert.frontiers import write_frontier, write_point
from server.convert.optimization import read_frontier
from server.loading import MarketLoader
from server.preparing import prepare
from server.settings import Settings
from server.specs import FrontierSpec
from storage.database import Database
from storage.frontiers import FrontierRepository
from storage.records import COMPLETED, FrontierRequest, FrontierResult


class FrontierWorkflow:
    """Generates frontiers."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._loader, self._settings = database, pool, loader, settings

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return self._settings.solve_limit_seconds

    async def generate(self, message: pb.EfficientFrontierRequest, seconds: float) -> pb.EfficientFrontierResponse:
        """Check, load, compute, store.

        Raises:
            InvalidRequest, NotFound, NotReady, OutOfTime, Busy: See `server.errors`.
        """
        spec, inputs = await self._prepare(message)
        answer = await self._pool.run(run_frontier, inputs, spec, timeout=seconds)
        return await self._finish(message, spec, inputs, answer)

    async def stream(
        self, message: pb.EfficientFrontierRequest, seconds: float
    ) -> AsyncGenerator[pb.StreamEfficientFrontierResponse, None]:
        """The same, with every point as soon as it is found, and the rest of the answer at last.

        Raises:
            InvalidRequest, NotFound, NotReady, OutOfTime, Busy: See `server.errors`.
        """
        spec, inputs = await self._prepare(message)
        risks: list[float] = []
        async with aclosing(self._pool.stream(stream_frontier, inputs, spec, timeout=seconds)) as parts:
            async for part in parts:
                if isinstance(part, Found):
                    point = write_point(part.value, inputs.names)
                    position = bisect_left(risks, point.risk)
                    risks.insert(position, point.risk)
                    yield pb.StreamEfficientFrontierResponse(point=point, position=position)
                else:
                    summary = await self._finish(message, spec, inputs, part.value)
                    del summary.efficient_frontier[:]
                    yield pb.StreamEfficientFrontierResponse(summary=summary, position=len(risks))

    async def _prepare(self, message: pb.EfficientFrontierRequest) -> tuple[FrontierSpec, MarketInputs]:
        spec = checked(read_frontier, message, self._settings)
        prepared = await prepare(self._loader, spec.optimization)
        return replace(spec, optimization=prepared.spec), prepared.inputs

    async def _finish(
        self, message: pb.EfficientFrontierRequest, spec: FrontierSpec, inputs: MarketInputs, answer: FrontierAnswer
    ) -> pb.EfficientFrontierResponse:
        """Name the frontier and keep it."""
        response = write_frontier(answer, inputs, spec)
        response.frontier_id = str(uuid.uuid4())
        request = _request(message, spec, response)
        response.created_at.CopyFrom(timestamp(request.created_at))
        failure = answer.frontier.failure
        status = answer.frontier.status if failure is None else failure.status
        async with self._database.transaction() as connection:
            repository = FrontierRepository(connection)
            await repository.create(request)
            await repository.complete(request.id, _life(status), _result(response), None)
        return response


def _life(status: Status) -> str:
    return COMPLETED if status.has_weights else status.value


def _request(
    message: pb.EfficientFrontierRequest, spec: FrontierSpec, response: pb.EfficientFrontierResponse
) -> FrontierRequest:
    return FrontierRequest(
        id=response.frontier_id,
        portfolio_id=message.portfolio_id,
        specification=to_json(message),
        pricing_pack_id=response.provenance.pricing_pack_id,
        risk_measure=spec.optimization.risk_measure,
        points=spec.points,
        min_return=_decimal(spec.min_return),
        max_risk=_decimal(spec.max_risk),
        constraints=to_json(message.constraints),
    )


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value)).quantize(Decimal("1e-8"))


def _result(response: pb.EfficientFrontierResponse) -> FrontierResult:
    content = to_json(response)
    return FrontierResult(
        frontier_id=response.frontier_id,
        frontier_points=content.pop("efficient_frontier", []),
        current_portfolio=content.pop("current_portfolio", {}),
        optimal_portfolio=content.pop("optimal_portfolio", {}),
        min_risk_portfolio=content.pop("min_risk_portfolio", {}),
        max_return_portfolio=content.pop("max_return_portfolio", {}),
        details=content,
        solve_seconds=response.solve_seconds,
    )
