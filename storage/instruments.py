"""Instruments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.errors import NotFound
from storage.records import Instrument
from storage.repository import Repository, as_parameters
from storage.statements import load_statements


class InstrumentRepository(Repository):
    """Keeps instruments. They are never deleted: prices and results refer to them."""

    _sql = load_statements("instruments")

    async def put(self, instruments: Iterable[Instrument]) -> None:
        """Inserts instruments, or replaces those whose ids are known."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(self._sql["put"], [as_parameters(instrument) for instrument in instruments])

    async def find(self, ids: Sequence[str]) -> tuple[Instrument, ...]:
        """The instruments, in the order asked for.

        Raises:
            NotFound: Names all that are missing.
        """
        found = {
            instrument.id: instrument
            for instrument in await self._records(Instrument, self._sql["find"], {"ids": list(ids)})
        }
        if missing := [identifier for identifier in ids if identifier not in found]:
            raise NotFound("instrument", *missing)
        return tuple(found[identifier] for identifier in ids)

    async def page(
        self, limit: int, after: str = "", *, asset_class: str | None = None, sector: str | None = None
    ) -> tuple[Instrument, ...]:
        """At most ``limit`` instruments in the order of their ids, beginning behind the id ``after``.

        Args:
            limit: Size of the page.
            after: The last id of the page before.
            asset_class: Only those of this class; None means all.
            sector: Only those of this sector; None means all.
        """
        parameters = {"limit": limit, "after": after, "asset_class": asset_class, "sector": sector}
        return await self._records(Instrument, self._sql["page"], parameters)

    async def missing(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the ids that no instrument has, in the order given."""
        return tuple(await self._scalars(self._sql["missing"], {"ids": list(ids)}))

    async def require(self, ids: Iterable[str]) -> None:
        """Returns if all exist.

        Raises:
            NotFound: Names all that are missing.
        """
        if missing := await self.missing(ids):
            raise NotFound("instrument", *missing)

    async def numbers(self, ids: Sequence[str]) -> list[int]:
        """The numbers under which the price tables know the instruments, in the order asked for.

        Raises:
            NotFound: Names all that are missing.
        """
        await self.require(ids)
        return await self._scalars(self._sql["numbers"], {"ids": list(ids)})
