"""Pricing packs: immutable sets of closing prices, addressed by their content."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.column_codec import encode_rows
from storage.column_repository import EVERYTHING, ColumnRepository, Window
from storage.errors import Conflict, NotFound
from storage.instruments import InstrumentRepository
from storage.records import Cursor, PriceTable, PricingPack
from storage.repository import page_parameters
from storage.statements import load_statements


class PricingPackRepository(ColumnRepository):
    """Keeps pricing packs. What is stored never changes; the same prices stored again are the same pack."""

    _sql = load_statements("pricing_packs")

    async def store(self, table: PriceTable, source: str) -> PricingPack:
        """Stores the prices, unless they are here already.

        Args:
            table: The prices. Days and instruments without any are not content and left out.
            source: Where they come from. The first one to store the same content names its source.

        Returns:
            The pack; its id depends on the prices alone.

        Raises:
            Conflict: There is no price, or an infinite one.
            NotFound: Names the instruments that do not exist.
        """
        # Large tables take seconds to sort and to hash, and others share the event loop.
        canonical, identifier = await asyncio.to_thread(_identified, table)
        if not canonical.instrument_ids:
            raise Conflict("a pricing pack needs at least one price")
        number = await self._insert(identifier, canonical, source)
        if number is not None:
            columns = await InstrumentRepository(self._connection).numbers(canonical.instrument_ids)
            rows = encode_rows(number, columns, canonical.dates, canonical.closes)
            await self._copy(self._sql["copy_in"], rows)
        return await self.find(identifier)

    async def _insert(self, identifier: str, table: PriceTable, source: str) -> int | None:
        """The number of the new pack, or None if it is here already."""
        parameters = {
            "id": identifier,
            "source": source,
            "first_date": table.dates[0].item(),
            "as_of": table.dates[-1].item(),
            "instrument_ids": list(table.instrument_ids),
            "observations": table.observations,
            "days": len(table.dates),
        }
        return next(iter(await self._scalars(self._sql["insert"], parameters)), None)

    async def find(self, identifier: str) -> PricingPack:
        """What is known of the pack without reading its prices.

        Raises:
            NotFound: There is none of this id.
        """
        found = await self._packs("find", id=identifier)
        if not found:
            raise NotFound("pricing pack", identifier)
        return found[0]

    async def latest(self, instrument_ids: Sequence[str] = ()) -> PricingPack:
        """The pack that reaches furthest among those with prices of all the instruments; of equals the newest.

        Raises:
            NotFound: No pack has prices of all of them.
        """
        found = await self._packs("latest", instrument_ids=list(instrument_ids))
        if not found:
            raise NotFound("pricing pack with prices of", *instrument_ids)
        return found[0]

    async def page(self, limit: int, after: str = "") -> tuple[PricingPack, ...]:
        """At most ``limit`` packs in the order of their ids, beginning behind the id ``after``."""
        return await self._packs("page", limit=limit, after=after)

    async def newest(
        self, limit: int, before: Cursor | None = None, instrument_id: str | None = None
    ) -> tuple[PricingPack, ...]:
        """At most ``limit`` packs, newest first, beginning behind the place ``before``.

        Args:
            limit: Size of the page.
            before: The last place of the page before.
            instrument_id: Only those with prices of this instrument; None means all.
        """
        return await self._packs("newest", instrument_id=instrument_id, **page_parameters(limit, before))

    async def is_new(self, identifier: str) -> bool:
        """Whether the present transaction is the one that has stored the pack."""
        return (await self._scalars(self._sql["is_new"], {"id": identifier}))[0] is True

    async def last_closes(self, identifier: str, instrument_ids: Sequence[str]) -> dict[str, float]:
        """The last price of each of the instruments that the pack has prices of."""
        rows = await self._rows(self._sql["last_closes"], {"id": identifier, "names": list(instrument_ids)})
        return {row["name"]: row["close"] for row in rows}

    async def read(
        self, identifier: str, instrument_ids: Sequence[str] | None = None, window: Window = EVERYTHING
    ) -> PriceTable:
        """The prices of the instruments, in the order asked for, on the days within the window that have any.

        Args:
            identifier: The pack.
            instrument_ids: None means all of the pack, in the order of their ids.
            window: The days.

        Raises:
            NotFound: There is no such pack, or it has no price for some of the instruments, which are named.
        """
        names = (await self.find(identifier)).instrument_ids if instrument_ids is None else tuple(instrument_ids)
        dates, closes = await self._read_columns(self._sql["read"], identifier, names, window)
        return PriceTable(names, dates, closes)

    async def _packs(self, statement: str, **parameters: object) -> tuple[PricingPack, ...]:
        rows = await self._rows(self._sql[statement], parameters)
        return tuple(PricingPack(**{**row, "instrument_ids": tuple(row["instrument_ids"])}) for row in rows)


def _identified(table: PriceTable) -> tuple[PriceTable, str]:
    canonical = table.canonical()
    return canonical, canonical.content_id
