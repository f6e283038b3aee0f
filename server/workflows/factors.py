"""Factor analyses, computed while the caller waits and kept."""

from __future__ import annotations

import asyncio
import uuid

from portfolio_optimization.v1 import factors_pb2 as pb

from server.compute.pool import SolverPool
from server.compute.tasks import run_factors
from server.convert.answers import timestamp
from server.convert.factor_answers import write_factors
from server.convert.factors import read_factors, to_request, to_result
from server.convert.faults import checked
from server.loading import MarketLoader
from server.settings import Settings
from server.workflows.factor_inputs import FactorInputsLoader
from storage.database import Database
from storage.factor_analyses import FactorAnalysisRepository
from storage.records import COMPLETED, utc_now


class FactorWorkflow:
    """Analyzes factor exposures."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._settings = database, pool, settings
        self._inputs = FactorInputsLoader(database, loader, settings)

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return self._settings.solve_limit_seconds

    async def analyze(self, message: pb.FactorExposureRequest, seconds: float) -> pb.FactorExposureResponse:
        """Check, load, compute, store.

        Raises:
            InvalidRequest, NotFound, NotReady, OutOfTime, Busy: See `server.errors`.
        """
        inputs = await self._inputs.load(checked(read_factors, message, self._settings))
        answer = await self._pool.run(run_factors, inputs, timeout=seconds)
        # Answers of large models take long to write, and others share the event loop.
        response = await asyncio.to_thread(write_factors, answer, inputs)
        response.analysis_id = str(uuid.uuid4())
        response.created_at.CopyFrom(timestamp(utc_now()))
        async with self._database.transaction() as connection:
            repository = FactorAnalysisRepository(connection)
            await repository.create(to_request(message, response))
            await repository.complete(response.analysis_id, COMPLETED, to_result(response), None)
        return response
