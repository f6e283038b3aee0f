"""Factor sets: immutable sets of factor returns, addressed by their content."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.column_codec import encode_rows
from storage.column_repository import EVERYTHING, ColumnRepository, Window
from storage.errors import Conflict, NotFound
from storage.records import Cursor, FactorSet, FactorTable
from storage.repository import page_parameters
from storage.statements import load_statements


class FactorRepository(ColumnRepository):
    """Keeps factor sets. What is stored never changes; the same returns stored again are the same set."""

    _sql = load_statements("factor_sets")

    async def store(self, table: FactorTable, source: str) -> FactorSet:
        """Stores the returns, unless they are here already.

        Returns:
            The set; its id depends on names and returns alone. The first one to store it names its source.

        Raises:
            Conflict: There is no return, an infinite one, or a factor without any.
        """
        # Large tables take seconds to sort and to hash, and others share the event loop.
        canonical, identifier = await asyncio.to_thread(_identified, table)
        if empty := canonical.empty_factors:
            raise Conflict(f"factors without any return: {', '.join(empty)}")
        if not canonical.observations:
            raise Conflict("a factor set needs at least one return")
        number = await self._insert(identifier, canonical, source)
        if number is not None:
            rows = encode_rows(number, range(len(canonical.factors)), canonical.dates, canonical.returns)
            await self._copy(self._sql["copy_in"], rows)
        return await self.find(identifier)

    async def _insert(self, identifier: str, table: FactorTable, source: str) -> int | None:
        """The number of the new set, or None if it is here already."""
        parameters = {
            "id": identifier,
            "source": source,
            "first_date": table.dates[0].item(),
            "as_of": table.dates[-1].item(),
            "factors": list(table.factors),
            "observations": table.observations,
            "days": len(table.dates),
        }
        return next(iter(await self._scalars(self._sql["insert"], parameters)), None)

    async def find(self, identifier: str) -> FactorSet:
        """What is known of the set without reading its returns.

        Raises:
            NotFound: There is none of this id.
        """
        found = await self._sets("find", id=identifier)
        if not found:
            raise NotFound("factor set", identifier)
        return found[0]

    async def latest(self, factors: Sequence[str] = ()) -> FactorSet:
        """The set that reaches furthest among those with returns of all the factors; of equals the newest.

        Raises:
            NotFound: No set has all of them.
        """
        found = await self._sets("latest", factors=list(factors))
        if not found:
            raise NotFound("factor set with returns of", *factors)
        return found[0]

    async def page(self, limit: int, after: str = "") -> tuple[FactorSet, ...]:
        """At most ``limit`` sets in the order of their ids, beginning behind the id ``after``."""
        return await self._sets("page", limit=limit, after=after)

    async def newest(self, limit: int, before: Cursor | None = None) -> tuple[FactorSet, ...]:
        """At most ``limit`` sets, newest first, beginning behind the place ``before``."""
        return await self._sets("newest", **page_parameters(limit, before))

    async def is_new(self, identifier: str) -> bool:
        """Whether the present transaction is the one that has stored the set."""
        return (await self._scalars(self._sql["is_new"], {"id": identifier}))[0] is True

    async def read(
        self, identifier: str, factors: Sequence[str] | None = None, window: Window = EVERYTHING
    ) -> FactorTable:
        """The returns of the factors, in the order asked for, on the days within the window that have any.

        Args:
            identifier: The set.
            factors: None means all, in the order of the set.
            window: The days.

        Raises:
            NotFound: There is no such set, or it has no return for some of the factors, which are named.
        """
        names = (await self.find(identifier)).factors if factors is None else tuple(factors)
        dates, returns = await self._read_columns(self._sql["read"], identifier, names, window)
        return FactorTable(names, dates, returns)

    async def _sets(self, statement: str, **parameters: object) -> tuple[FactorSet, ...]:
        rows = await self._rows(self._sql[statement], parameters)
        return tuple(FactorSet(**{**row, "factors": tuple(row["factors"])}) for row in rows)


def _identified(table: FactorTable) -> tuple[FactorTable, str]:
    canonical = table.canonical()
    return canonical, canonical.content_id
