"""Factor analyses, computed while the caller waits and kept."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from portfolio_optimization.v1 import factors_pb2 as pb

from server.compute.factors import FactorInputs
from server.compute.inputs import MarketInputs
from server.compute.pool import SolverPool
from server.compute.tasks import run_factors
from server.convert.answers import to_json
from server.convert.factors import read_factors, write_factors
from server.convert.faults import checked
from server.factor_specs import FactorSpec
from server.loading import MarketLoader
from server.settings import Settings
from server.specs import ModelSpec
from storage.database import Database
from storage.factor_analyses import FactorAnalysisRepository
from storage.factors import FactorRepository
from storage.records import COMPLETED, FactorAnalysisRequest, FactorAnalysisResult, FactorTable


@dataclass(frozen=True, slots=True)
class _Factors:
    """Factor returns with the id of their set."""

    set_id: str
    table: FactorTable


class FactorWorkflow:
    """Analyzes factor exposures."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._loader, self._settings = database, pool, loader, settings

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return self._settings.solve_limit_seconds

    async def analyze(self, message: pb.FactorExposureRequest, seconds: float) -> pb.FactorExposureResponse:
        """Check, load, compute, store.

        Raises:
            InvalidRequest, NotFound, NotReady, OutOfTime, Busy: See `server.errors`.
        """
        spec = checked(read_factors, message, self._settings)
        factors = await self._factors(spec)
        model = ModelSpec(
            self._settings.risk_free_rate, pricing_pack_id=spec.pricing_pack_id, benchmark_id=spec.benchmark_id
        )
        market, _ = await self._loader.market(spec.portfolio_id, model)
        inputs = _cut(spec, factors.table, market)
        answer = await self._pool.run(run_factors, inputs, timeout=seconds)
        response = write_factors(answer, inputs, factors.set_id)
        response.analysis_id = str(uuid.uuid4())
        async with self._database.transaction() as connection:
            repository = FactorAnalysisRepository(connection)
            await repository.create(_request(message, response))
            await repository.complete(response.analysis_id, COMPLETED, _result(response), None)
        return response

    async def _factors(self, spec: FactorSpec) -> _Factors:
        async with self._database.transaction() as connection:
            repository = FactorRepository(connection)
            found = await (
                repository.find(spec.factor_set_id) if spec.factor_set_id else repository.latest(spec.factors)
            )
            return _Factors(found.id, await repository.read(found.id, spec.factors or None))


def _cut(spec: FactorSpec, table: FactorTable, market: MarketInputs) -> FactorInputs:
    """Factor returns within the dates asked for; the last so many of them that the market has, for a look-back."""
    days = table.dates
    wanted = np.isin(days, market.dates[1:])
    if spec.first_date:
        wanted &= days >= np.datetime64(date.fromisoformat(spec.first_date))
    if spec.last_date:
        wanted &= days <= np.datetime64(date.fromisoformat(spec.last_date))
    rows = np.flatnonzero(wanted)
    if spec.lookback_days:
        rows = rows[-spec.lookback_days :]
    return FactorInputs(table.factors, days[rows], table.returns[rows], market)


def _request(message: pb.FactorExposureRequest, response: pb.FactorExposureResponse) -> FactorAnalysisRequest:
    return FactorAnalysisRequest(
        id=response.analysis_id,
        portfolio_id=message.portfolio_id,
        specification=to_json(message),
        pricing_pack_id=response.pricing_pack_id,
        factors=list(message.factors),
    )


def _result(response: pb.FactorExposureResponse) -> FactorAnalysisResult:
    content = to_json(response)
    return FactorAnalysisResult(
        analysis_id=response.analysis_id,
        as_of=datetime.combine(date.fromisoformat(response.last_date), datetime.min.time(), UTC),
        exposures=content.pop("exposures", []),
        attribution=content.pop("attribution", []),
        details=content,
    )
