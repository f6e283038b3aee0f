"""Creating, following and cancelling walk-forward validations."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

from portfolio_optimization.v1 import validation_pb2 as pb

from kernel.validation.schedule import Window
from server.compute.validation import plan_windows
from server.convert.answers import to_json
from server.convert.faults import Faults, checked
from server.convert.validation import StoredValidation, read_validation
from server.errors import Fault, InvalidRequest
from server.jobs.queue import JobQueue
from server.loading import MarketLoader, Universe
from server.preparing import Prepared, accept, prepare
from server.settings import Settings
from server.specs import OptimizationSpec
from server.validation_specs import ValidationSpec
from server.workflows.specifications import content_of, fixed_data, with_preferences
from storage.change_feed import ChangeFeed
from storage.database import Database
from storage.errors import Conflict
from storage.records import OPEN_STATUSES, ValidationRequest
from storage.validations import ValidationRepository

# Without a notification the row is looked at once in this time.
_LOOK_SECONDS = 1.0
# Weights in a report: more would not fit into a message.
_MOST_WEIGHTS = 100_000


class ValidationWorkflow:
    """The life of validations, seen from the caller's side."""

    def __init__(
        self, database: Database, queue: JobQueue, loader: MarketLoader, changes: ChangeFeed, settings: Settings
    ) -> None:
        self._database, self._queue, self._loader = database, queue, loader
        self._changes, self._settings = changes, settings

    async def create(self, message: pb.CreateValidationRequest) -> ValidationRequest:
        """Check a request on its prices, and enqueue it in the transaction of its row.

        Raises:
            InvalidRequest: The request is wrong.
            NotFound: The portfolio, or something else it names, does not exist.
            NotReady: There is nothing to choose from, or prices are missing; the instruments are named.
            ProblemError: The history is too short for what is asked.
            Conflict: The request_id was used before for a different request.
        """
        checked(read_validation, message, self._settings)
        filled = pb.CreateValidationRequest()
        filled.CopyFrom(message)
        filled.optimization.CopyFrom(await with_preferences(self._loader, message.optimization))
        spec = checked(read_validation, filled, self._settings)
        universe, windows = await self._plan(spec)
        request = _new_request(filled, spec, universe, len(windows))
        async with self._database.transaction() as connection:
            repository = ValidationRepository(connection)
            stored, created = await repository.create(request)
            if created:
                await repository.set_job(stored.id, await self._queue.enqueue_validation(connection, stored.id))
            else:
                _check_same(stored, request, filled)
        return stored

    async def _plan(self, spec: ValidationSpec) -> tuple[Universe, tuple[Window, ...]]:
        """The universe and the windows, every price of which is there."""
        universe, prepared = await self._prepare(spec.optimization)
        windows = plan_windows(prepared.inputs, spec)
        weights = len(windows) * len(prepared.inputs.names)
        if weights > _MOST_WEIGHTS:
            made = f"makes {len(windows)} windows of {len(prepared.inputs.names)} weights"
            raise InvalidRequest([Fault("rebalance_days", f"{made}, more than {_MOST_WEIGHTS} weights in all")])
        return universe, windows

    async def _prepare(self, spec: OptimizationSpec) -> tuple[Universe, Prepared]:
        """Check the optimization, its faults under the name of its field; both look at the same pack."""
        try:
            universe = await accept(self._loader, spec)
            fixed = replace(spec, model=replace(spec.model, pricing_pack_id=universe.pack.id))
            return universe, await prepare(self._loader, fixed)
        except InvalidRequest as error:
            faults = [Fault(f"optimization.{fault.field}", fault.description) for fault in error.faults]
            raise InvalidRequest(faults) from error

    async def find(self, validation_id: str) -> StoredValidation:
        """One validation.

        Raises:
            NotFound: There is none of this id.
        """
        _check_id(validation_id)
        async with self._database.transaction() as connection:
            return await ValidationRepository(connection).find(validation_id)

    async def cancel(self, validation_id: str) -> str:
        """Cancel if it is open; returns its status then."""
        _check_id(validation_id)
        async with self._database.transaction() as connection:
            before = await ValidationRepository(connection).cancel(validation_id)
        return "cancelled" if before in OPEN_STATUSES else before

    async def watch(self, validation_id: str) -> AsyncIterator[StoredValidation]:
        """Every status and progress that is seen, the present one first, until the end; with a result only then."""
        seen = None
        async with self._changes.subscribe(validation_id) as change:
            while True:
                stored = await self.find(validation_id)
                request = stored.request
                if (request.status, request.windows_done) != seen:
                    seen = (request.status, request.windows_done)
                    yield stored
                if request.status not in OPEN_STATUSES:
                    return
                await change.wait(_LOOK_SECONDS)


def _new_request(
    message: pb.CreateValidationRequest, spec: ValidationSpec, universe: Universe, windows: int
) -> ValidationRequest:
    """The row of a request; what the service chose is written down in it."""
    fixed = pb.CreateValidationRequest()
    fixed.CopyFrom(message)
    fixed.optimization.CopyFrom(fixed_data(message.optimization, spec.optimization, universe))
    fixed.cost_rate = spec.cost_rate
    return ValidationRequest(
        id=str(uuid.uuid4()),
        portfolio_id=spec.optimization.portfolio_id,
        specification=to_json(fixed),
        request_id=message.request_id or None,
        pricing_pack_id=universe.pack.id,
        windows=windows,
    )


def _check_same(stored: ValidationRequest, request: ValidationRequest, message: pb.CreateValidationRequest) -> None:
    """The same request_id must come with the same content."""
    first, second = (
        {**r.specification, "optimization": content_of(r.specification["optimization"], message.optimization)}
        for r in (stored, request)
    )
    if first != second:
        raise Conflict(f"request_id {stored.request_id} was used for a different validation, {stored.id}")


def _check_id(validation_id: str) -> None:
    faults = Faults()
    faults.identifier("validation_id", validation_id)
    faults.check()
