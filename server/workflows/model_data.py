"""Loading the caller's own model inputs: immutable, named by their content, kept as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import numpy as np
from portfolio_optimization.v1 import model_data_pb2 as pb

from server.convert.model_data import CovarianceStream, ExposureStream, ScenarioStream, read_forecast
from server.convert.model_streams import ModelStream, Part
from server.errors import InvalidRequest
from server.settings import Settings
from server.workflows.reference_data import unknown_instruments
from server.workflows.streams import to_its_end
from storage.database import Database
from storage.model_data import ModelDataRepository
from storage.records import ModelSet

# Parts below are read faster than they are handed to a thread.
_SMALL_BYTES = 1 << 16

SetT = TypeVar("SetT", bound=ModelSet)


class ModelDataWorkflow:
    """Scenarios, forecasts, covariances and factor exposures."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        # Sets of the largest size take much memory while they are checked and stored.
        self._storing = asyncio.Semaphore(1)

    async def load_scenarios(self, parts: AsyncIterator[pb.LoadScenariosRequest]) -> pb.LoadScenariosResponse:
        """Read a stream of scenarios to its end, check it, and store it.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        scenarios, created = await self._load(ScenarioStream(self._settings), parts)
        return pb.LoadScenariosResponse(scenarios_id=scenarios.id, created=created)

    async def load_covariance(self, parts: AsyncIterator[pb.LoadCovarianceRequest]) -> pb.LoadCovarianceResponse:
        """Read a stream of a covariance's rows to its end, check it, and store it.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        covariance, created = await self._load(CovarianceStream(self._settings), parts)
        async with self._storing:
            eigenvalues = await asyncio.to_thread(np.linalg.eigvalsh, covariance.Sigma)
        smallest = float(eigenvalues[0])
        return pb.LoadCovarianceResponse(covariance_id=covariance.id, created=created, smallest_eigenvalue=smallest)

    async def load_exposures(
        self, parts: AsyncIterator[pb.LoadFactorExposuresRequest]
    ) -> pb.LoadFactorExposuresResponse:
        """Read a stream of factor exposures to its end, check it, and store it.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        exposures, created = await self._load(ExposureStream(self._settings), parts)
        return pb.LoadFactorExposuresResponse(factor_exposures_id=exposures.id, created=created)

    async def load_forecast(self, message: pb.LoadForecastRequest) -> pb.LoadForecastResponse:
        """Check and store a forecast.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        forecast, source = await asyncio.to_thread(read_forecast, message)
        created = await self._store(forecast, source, "periods")
        return pb.LoadForecastResponse(forecast_id=forecast.id, created=created)

    async def _load(self, stream: ModelStream[Any, SetT], parts: AsyncIterator[Part]) -> tuple[SetT, bool]:
        async with to_its_end(parts):
            async for part in parts:
                if part.ByteSize() < _SMALL_BYTES:
                    stream.take(part)
                else:
                    await asyncio.to_thread(stream.take, part)
        async with self._storing:
            model = await asyncio.to_thread(stream.end)
            return model, await self._store(model, stream.header.source, stream.instruments)

    async def _store(self, model: ModelSet, source: str, field: str) -> bool:
        async with self._database.transaction() as connection:
            if faults := await unknown_instruments(connection, field, model.instrument_ids):
                raise InvalidRequest(faults)
            return await ModelDataRepository(connection).store(model, source)
