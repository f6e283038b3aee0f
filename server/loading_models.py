"""Loads the caller's own model inputs and factor models from storage.

They are immutable and named by their content, so they are kept in memory without ever going stale.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar, cast

import numpy as np
from google.protobuf import json_format
from portfolio_optimization.v1 import factor_models_pb2

from kernel.estimation.arrays import read_only
from kernel.factors.model import FactorModel
from server.compute.inputs import FactorModelInputs
from storage.database import Connection, Database
from storage.factor_model_records import StoredFactorModel
from storage.factor_models import FactorModelRepository
from storage.model_data import ModelDataRepository
from storage.records import CovarianceSet, ExposureSet, ForecastSet, ScenarioSet

_SETS_KEPT = 4
_MODELS_KEPT = 8

ContentT = TypeVar("ContentT")
Read: TypeAlias = Callable[[Connection, str], Awaitable[ContentT]]


class ModelLoader:
    """Loads model data and factor models, with small caches.

    Args:
        database: Where they are.
        sets_kept: Sets of model data that stay in memory.
        models_kept: Factor models that do.
    """

    def __init__(self, database: Database, *, sets_kept: int = _SETS_KEPT, models_kept: int = _MODELS_KEPT) -> None:
        self._sets = _Shelf(database, sets_kept)
        self._models = _Shelf(database, models_kept)

    async def scenarios(self, scenarios_id: str) -> ScenarioSet:
        """A set of scenarios.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._sets.load(_read_scenarios, scenarios_id)

    async def forecast(self, forecast_id: str) -> ForecastSet:
        """A forecast.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._sets.load(_read_forecast, forecast_id)

    async def covariance(self, covariance_id: str) -> CovarianceSet:
        """A covariance.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._sets.load(_read_covariance, covariance_id)

    async def exposures(self, factor_exposures_id: str) -> ExposureSet:
        """A set of factor exposures.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._sets.load(_read_exposures, factor_exposures_id)

    async def factor_model(self, factor_model_id: str) -> StoredFactorModel:
        """A factor model with its numbers.

        Raises:
            NotFound: There is none of this id.
        """
        return await self._models.load(_read_factor_model, factor_model_id)


class _Shelf:
    """Contents read once, the least recently used of too many forgotten."""

    def __init__(self, database: Database, kept: int) -> None:
        self._database = database
        self._most = kept
        self._kept: OrderedDict[tuple[Read[object], str], object] = OrderedDict()
        self._reading = asyncio.Lock()

    async def load(self, read: Read[ContentT], identifier: str) -> ContentT:
        """What `read` gives, or gave.

        Raises:
            NotFound: There is none of this id.
        """
        key = (read, identifier)
        async with self._reading:
            if key not in self._kept:
                async with self._database.transaction() as connection:
                    self._kept[key] = await read(connection, identifier)
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return cast(ContentT, self._kept[key])


def _read_scenarios(connection: Connection, identifier: str) -> Awaitable[ScenarioSet]:
    return ModelDataRepository(connection).scenarios(identifier)


def _read_forecast(connection: Connection, identifier: str) -> Awaitable[ForecastSet]:
    return ModelDataRepository(connection).forecast(identifier)


def _read_covariance(connection: Connection, identifier: str) -> Awaitable[CovarianceSet]:
    return ModelDataRepository(connection).covariance(identifier)


def _read_exposures(connection: Connection, identifier: str) -> Awaitable[ExposureSet]:
    return ModelDataRepository(connection).exposures(identifier)


def _read_factor_model(connection: Connection, identifier: str) -> Awaitable[StoredFactorModel]:
    return FactorModelRepository(connection).read(identifier)


def factor_model_inputs(stored: StoredFactorModel) -> FactorModelInputs:
    """What computations need of a stored factor model."""
    head, numbers = stored.head, stored.numbers
    summary = json_format.ParseDict(dict(head.summary), factor_models_pb2.FactorModel(), ignore_unknown_fields=True)
    return FactorModelInputs(
        id=head.id,
        kind=head.kind,
        model=FactorModel(head.factors, head.instrument_ids, numbers.B, numbers.Phi, numbers.specific),
        factor_kinds=head.factor_kinds,
        definitions=head.definitions,
        dates=numbers.dates,
        F=numbers.F,
        risk_free=numbers.risk_free,
        standard_errors=numbers.standard_errors,
        r_squared=numbers.r_squared,
        condition_number=summary.condition_number,
        variance_inflation=read_only(np.array([factor.variance_inflation for factor in summary.factors])),
    )
