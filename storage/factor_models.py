"""Factor models: immutable, in versions by name, addressed by what they were estimated from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from storage.errors import NotFound
from storage.factor_model_records import FactorModelHead, FactorModelNumbers, StoredFactorModel
from storage.records import Cursor
from storage.repository import Repository, page_parameters
from storage.statements import load_statements
from storage.tables import Floats

_NOUN = "factor model"
_PARTS = ("B", "Phi", "specific", "unshrunk", "alpha", "r_squared", "standard_errors", "F", "risk_free")
_LISTS = ("factors", "factor_kinds", "definitions", "instrument_ids")
_HIGHEST_VERSION = 2**31 - 1


class FactorModelRepository(Repository):
    """Keeps factor models. What is stored never changes; the same model stored again is the same version."""

    _sql = load_statements("factor_models")

    async def store(self, model: StoredFactorModel) -> tuple[FactorModelHead, bool]:
        """Stores the model as the next version of its name, unless one of its id is here already.

        Args:
            model: The model; version and time of creation of its head are given by the database instead.

        Returns:
            The stored head, and whether it is new.

        Raises:
            NotFound: The pricing pack does not exist.
        """
        head = model.head
        await self._run(self._sql["lock_name"], {"name": head.name})
        if earlier := await self._heads("find", id=head.id):
            return earlier[0], False
        (number,) = await self._scalars(self._sql["insert"], _parameters(model))
        for part in _encoded(model.numbers):
            await self._run(self._sql["insert_numbers"], {"number": number, **part})
        return await self.find(head.id), True

    async def find(self, identifier: str) -> FactorModelHead:
        """A model without its numbers.

        Raises:
            NotFound: There is none of this id.
        """
        found = await self._heads("find", id=identifier)
        if not found:
            raise NotFound(_NOUN, identifier)
        return found[0]

    async def find_by_name(self, name: str, version: int = 0) -> FactorModelHead:
        """A version of a name without its numbers; 0 = the latest.

        Raises:
            NotFound: There is no model of this name, or it has no such version.
        """
        found = await self._heads("find_by_name", name=name, version=version) if version <= _HIGHEST_VERSION else ()
        if not found:
            raise NotFound(_NOUN, f"{name} version {version}" if version else name)
        return found[0]

    async def newest(
        self, limit: int, before: Cursor | None = None, name: str | None = None
    ) -> tuple[FactorModelHead, ...]:
        """At most ``limit`` models, newest first, beginning behind the place ``before``.

        They come without their numbers and instruments, and without covariance and findings in their summaries.

        Args:
            limit: Size of the page.
            before: Place to begin behind.
            name: Only versions of this name; None = all.
        """
        return await self._heads("newest", name=name, **page_parameters(limit, before))

    async def read(self, identifier: str) -> StoredFactorModel:
        """A model with its numbers.

        Raises:
            NotFound: There is none of this id.
        """
        head = await self.find(identifier)
        return StoredFactorModel(head, await self.numbers(identifier))

    async def numbers(self, identifier: str) -> FactorModelNumbers:
        """The numbers of a model.

        Raises:
            NotFound: There is none of this id.
        """
        days = await self._scalars(self._sql["days"], {"id": identifier})
        if not days:
            raise NotFound(_NOUN, identifier)
        async with self._connection.cursor(row_factory=dict_row, binary=True) as cursor:
            rows = await (await cursor.execute(self._sql["read_numbers"], {"id": identifier})).fetchall()
        parts = {row["part"]: np.frombuffer(row["numbers"], dtype="<f8").reshape(row["shape"]) for row in rows}
        dates = np.array(days[0], dtype="datetime64[D]")
        dates.flags.writeable = False
        return FactorModelNumbers(dates=dates, **{name: parts.get(name) for name in _PARTS})  # type: ignore[arg-type]

    async def _heads(self, statement: str, **parameters: object) -> tuple[FactorModelHead, ...]:
        rows = await self._rows(self._sql[statement], parameters)
        return tuple(FactorModelHead(**row | {name: tuple(row[name]) for name in _LISTS}) for row in rows)


def _parameters(model: StoredFactorModel) -> dict[str, Any]:
    head = model.head
    return {
        "id": head.id,
        "name": head.name,
        "kind": head.kind,
        "pricing_pack_id": head.pricing_pack_id,
        "specification": Jsonb(head.specification),
        "first_date": head.first_date,
        "as_of": head.as_of,
        "observations": head.observations,
        **{name: list(getattr(head, name)) for name in _LISTS},
        "days": model.numbers.dates.tolist(),
        "summary": Jsonb(head.summary),
    }


def _encoded(numbers: FactorModelNumbers) -> Iterator[Mapping[str, Any]]:
    """The arrays that are there, as rows of the table."""
    for part in _PARTS:
        values: Floats | None = getattr(numbers, part)
        if values is not None:
            encoded = np.ascontiguousarray(values, dtype="<f8").tobytes()
            yield {"part": part, "shape": list(values.shape), "numbers": encoded}
