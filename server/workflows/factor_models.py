"""Factor models: estimated while the caller waits, kept for good, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2

from kernel.errors import ProblemError
from server.compute.pool import SolverPool
from server.compute.tasks import estimate_model, run_factor_portfolios
from server.convert.factor_model_answers import Shown, new_model, write_model, write_portfolios, write_unstored
from server.convert.factor_models import read_specification
from server.convert.faults import Faults, checked
from server.convert.text_values import refuse_repeats
from server.factor_specs import FactorModelSpec
from server.imports.known import is_stored
from server.listing import listed
from server.loading import MarketLoader
from server.loading_model_markets import ModelMarketLoader
from server.loading_models import factor_model_inputs
from server.settings import Settings
from storage.database import Database
from storage.factor_model_records import FactorModelHead
from storage.factor_models import FactorModelRepository
from storage.records import Cursor

_AT = "specification"


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model to create."""

    name: str
    specification: FactorModelSpec


@dataclass(frozen=True, slots=True)
class WantedPortfolios:
    """Factor portfolios to find; empty factors or instruments = all of the model."""

    factor_model_id: str
    factors: tuple[str, ...]
    instrument_ids: tuple[str, ...]


class FactorModelWorkflow:
    """Creates, finds and uses factor models."""

    def __init__(self, database: Database, pool: SolverPool, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._pool, self._models, self._settings = database, pool, loader.models, settings
        self._markets = ModelMarketLoader(database, loader, settings.max_assets)

    @property
    def longest_seconds(self) -> float:
        """The longest that a call may take."""
        return self._settings.solve_limit_seconds

    async def create(self, message: pb.CreateFactorModelRequest, seconds: float) -> pb.CreateFactorModelResponse:
        """Check, load, estimate, store.

        Raises:
            InvalidRequest, NotFound, NotReady, OutOfTime, Busy: See `server.errors`.
        """
        new = checked(_read_new, message, self._settings)
        market = await self._markets.market(new.specification, _AT)
        try:
            built = await self._pool.run(estimate_model, market, new.specification, timeout=seconds)
        except ProblemError as error:
            raise ProblemError(f"{_AT}.{error.field}", error.reason) from error
        # Large models take long to write, and others share the event loop.
        model = await asyncio.to_thread(new_model, new.name, market, built)
        if message.validate_only:
            created = not await self._is_stored(model.head.id)
            return pb.CreateFactorModelResponse(factor_model=write_unstored(model), created=created)
        async with self._database.transaction() as connection:
            head, created = await FactorModelRepository(connection).store(model)
        return pb.CreateFactorModelResponse(factor_model=write_model(head), created=created)

    async def find(self, message: pb.GetFactorModelRequest) -> factor_models_pb2.FactorModel:
        """One model, by id or by name, with what is asked for of its numbers.

        Raises:
            InvalidRequest, NotFound: See `server.errors`.
        """
        checked(_check_one, message, self._settings)
        shown = Shown(instruments=message.include_instruments, factor_returns=message.include_factor_returns)
        identifier = message.factor_model_id
        if not identifier or shown == Shown():
            head = await self._head(message)
            if shown == Shown():
                return write_model(head)
            identifier = head.id
        stored = await self._models.factor_model(identifier)
        return await asyncio.to_thread(write_model, stored.head, stored.numbers, shown)

    async def newest(self, limit: int, before: Cursor | None, name: str) -> tuple[FactorModelHead, ...]:
        """Models, newest first, without what the list leaves out; an empty name = all."""
        async with self._database.transaction() as connection:
            return await FactorModelRepository(connection).newest(limit, before, name or None)

    async def portfolios(
        self, message: pb.GetFactorPortfoliosRequest, seconds: float
    ) -> pb.GetFactorPortfoliosResponse:
        """The portfolios of least specific risk with exposure to one factor alone.

        Raises:
            InvalidRequest, NotFound, OutOfTime, Busy: See `server.errors`.
        """
        wanted = checked(_read_wanted, message, self._settings)
        stored = await self._models.factor_model(wanted.factor_model_id)
        faults = Faults()
        _refuse_unknown("factors", wanted.factors, stored.head.factors, faults)
        _refuse_unknown("instrument_ids", wanted.instrument_ids, stored.head.instrument_ids, faults)
        faults.check()
        model = factor_model_inputs(stored).model
        found = await self._pool.run(
            run_factor_portfolios, model, wanted.instrument_ids, wanted.factors, timeout=seconds
        )
        return await asyncio.to_thread(write_portfolios, model.factors, found)

    async def _head(self, message: pb.GetFactorModelRequest) -> FactorModelHead:
        async with self._database.transaction() as connection:
            models = FactorModelRepository(connection)
            if message.factor_model_id:
                return await models.find(message.factor_model_id)
            return await models.find_by_name(message.name, message.version)

    async def _is_stored(self, identifier: str) -> bool:
        async with self._database.transaction() as connection:
            return await is_stored(FactorModelRepository(connection).find, identifier)


def _read_new(message: pb.CreateFactorModelRequest, _settings: Settings, faults: Faults) -> NewModel:
    name = faults.identifier("name", message.name)
    if name != name.strip():
        faults.add("name", "must not begin or end with a blank")
    if not message.HasField("specification"):
        faults.add(_AT, "is required")
        return NewModel(name, FactorModelSpec())
    return NewModel(name, read_specification(message.specification, faults, _AT))


def _check_one(message: pb.GetFactorModelRequest, _settings: Settings, faults: Faults) -> None:
    faults.identifier("factor_model_id", message.factor_model_id, required=False)
    faults.identifier("name", message.name, required=False)
    if message.factor_model_id and message.name:
        faults.add("name", "must be empty when factor_model_id is given")
    if not message.factor_model_id and not message.name:
        faults.add("factor_model_id", "is required, or a name")
    if message.version and not message.name:
        faults.add("version", "belongs to a name, which is missing")


def _read_wanted(message: pb.GetFactorPortfoliosRequest, _settings: Settings, faults: Faults) -> WantedPortfolios:
    for k, name in enumerate(message.factors):
        faults.name(f"factors[{k}]", name)
    for k, name in enumerate(message.instrument_ids):
        faults.identifier(f"instrument_ids[{k}]", name)
    refuse_repeats("factors", message.factors, faults)
    refuse_repeats("instrument_ids", message.instrument_ids, faults)
    return WantedPortfolios(
        faults.identifier("factor_model_id", message.factor_model_id),
        tuple(message.factors),
        # In the order of the model, so that the order of a caller's list changes no digit.
        tuple(sorted(message.instrument_ids)),
    )


def _refuse_unknown(field: str, asked: Sequence[str], known: Sequence[str], faults: Faults) -> None:
    present = set(known)
    if unknown := [name for name in asked if name not in present]:
        faults.add(field, f"names {listed(unknown)}, which the model does not have")
