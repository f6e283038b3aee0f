"""Scenarios, forecasts, covariances and factor exposures: immutable, addressed by their content."""

from __future__ import annotations

import asyncio

import numpy as np
from psycopg.rows import scalar_row

from storage.errors import NotFound
from storage.instruments import InstrumentRepository
from storage.model_sets import (
    COVARIANCE,
    EXPOSURES,
    FORECAST,
    SCENARIOS,
    CovarianceSet,
    ExposureSet,
    ForecastSet,
    ModelSet,
    PackedModel,
    ScenarioSet,
)
from storage.repository import Repository
from storage.statements import load_statements

_NOUNS = {SCENARIOS: "scenarios", FORECAST: "forecast", COVARIANCE: "covariance", EXPOSURES: "factor exposures"}


class ModelDataRepository(Repository):
    """Keeps model data. What is stored never changes; the same content stored again is the same set."""

    _sql = load_statements("model_data")

    async def store(self, model: ModelSet, source: str) -> bool:
        """Stores the set, unless it is here already.

        Args:
            model: The set; its id is that of its content.
            source: Where it comes from. The first one to store the same content names its source.

        Returns:
            Whether it is new.

        Raises:
            NotFound: Names the instruments that do not exist.
        """
        await InstrumentRepository(self._connection).require(model.instrument_ids)
        # Large sets take long to copy, and others share the event loop.
        packed = await asyncio.to_thread(model.packed)
        numbers = await self._scalars(self._sql["insert"], _parameters(model.id, packed, source))
        for number in numbers:
            await self._copy(number, packed)
        return bool(numbers)

    async def _copy(self, number: int, packed: PackedModel) -> None:
        async with self._connection.cursor() as cursor, cursor.copy(self._sql["copy_in"]) as copy:
            copy.set_types(["int4", "int4", "bytea"])
            for place, column in enumerate(packed.encoded()):
                await copy.write_row((number, place, column))

    async def scenarios(self, identifier: str) -> ScenarioSet:
        """A set of scenarios.

        Raises:
            NotFound: There is none of this id.
        """
        return await asyncio.to_thread(ScenarioSet.unpacked, await self._read(SCENARIOS, identifier))

    async def forecast(self, identifier: str) -> ForecastSet:
        """A forecast.

        Raises:
            NotFound: There is none of this id.
        """
        return await asyncio.to_thread(ForecastSet.unpacked, await self._read(FORECAST, identifier))

    async def covariance(self, identifier: str) -> CovarianceSet:
        """A covariance.

        Raises:
            NotFound: There is none of this id.
        """
        return await asyncio.to_thread(CovarianceSet.unpacked, await self._read(COVARIANCE, identifier))

    async def exposures(self, identifier: str) -> ExposureSet:
        """A set of factor exposures.

        Raises:
            NotFound: There is none of this id.
        """
        return await asyncio.to_thread(ExposureSet.unpacked, await self._read(EXPOSURES, identifier))

    async def _read(self, prefix: str, identifier: str) -> PackedModel:
        rows = await self._rows(self._sql["find"], {"id": identifier})
        if not rows or not identifier.startswith(f"{prefix}-"):
            raise NotFound(_NOUNS[prefix], identifier)
        (row,) = rows
        async with self._connection.cursor(row_factory=scalar_row, binary=True) as cursor:
            columns = await (await cursor.execute(self._sql["read"], {"number": row["number"]})).fetchall()
        return PackedModel(
            prefix=prefix,
            as_of=row["as_of"],
            instrument_ids=tuple(row["instrument_ids"]),
            labels=tuple(row["labels"]),
            days=tuple(row["days"]),
            columns=np.array([np.frombuffer(column, dtype="<f8") for column in columns]),
        )


def _parameters(identifier: str, packed: PackedModel, source: str) -> dict[str, object]:
    return {
        "id": identifier,
        "source": source,
        "as_of": packed.as_of,
        "instrument_ids": list(packed.instrument_ids),
        "labels": list(packed.labels),
        "days": list(packed.days),
    }
