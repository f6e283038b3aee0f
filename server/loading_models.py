"""Loads the caller's own model inputs from storage.

They are immutable and named by their content, so they are kept in memory without ever going stale.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from storage.database import Database
from storage.model_data import ModelDataRepository
from storage.records import CovarianceSet, ExposureSet, ForecastSet, ModelSet, ScenarioSet

_SETS_KEPT = 4

SetT = TypeVar("SetT", bound=ModelSet)
Read = Callable[[ModelDataRepository, str], Awaitable[SetT]]


class ModelLoader:
    """Loads model data, with a small cache."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[Read[ModelSet], str], ModelSet] = OrderedDict()
        self._reading = asyncio.Lock()

    async def scenarios(self, scenarios_id: str) -> ScenarioSet:
        """A set of scenarios.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._load(ModelDataRepository.scenarios, scenarios_id)

    async def forecast(self, forecast_id: str) -> ForecastSet:
        """A forecast.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._load(ModelDataRepository.forecast, forecast_id)

    async def covariance(self, covariance_id: str) -> CovarianceSet:
        """A covariance.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._load(ModelDataRepository.covariance, covariance_id)

    async def exposures(self, factor_exposures_id: str) -> ExposureSet:
        """A set of factor exposures.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._load(ModelDataRepository.exposures, factor_exposures_id)

    async def _load(self, read: Read[SetT], identifier: str) -> SetT:
        key = (read, identifier)
        async with self._reading:
            if key not in self._kept:
                async with self._database.transaction() as connection:
                    self._kept[key] = await read(ModelDataRepository(connection), identifier)
                if len(self._kept) > _SETS_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return cast(SetT, self._kept[key])
