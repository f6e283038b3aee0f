"""Loading and finding prices and factor returns: immutable, named by their content, kept as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from portfolio_optimization.v1 import market_data_pb2 as pb

from kernel.estimation.data_checks import CheckSettings, check_prices
from server.convert.estimation import write_findings
from server.convert.market_data import (
    StreamHeader,
    factor_stream,
    price_stream,
    take_prices,
    take_returns,
    write_factor_set,
    write_pack,
    write_unstored_factor_set,
    write_unstored_pack,
)
from server.errors import InvalidRequest
from server.imports.known import is_stored
from server.workflows.reference_data import unknown_instruments
from server.workflows.streams import to_its_end
from storage.database import Database
from storage.factors import FactorRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Cursor, FactorSet, PricingPack
from storage.tables import FactorTable, PriceTable


class MarketDataWorkflow:
    """Pricing packs and factor sets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Tables of the largest size take much memory while they are checked and stored.
        self._storing = asyncio.Semaphore(1)

    async def load_prices(self, parts: AsyncIterator[pb.LoadPricingPackRequest]) -> pb.LoadPricingPackResponse:
        """Read a stream of prices to its end, check it, and store it.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        stream = price_stream()
        async with to_its_end(parts):
            async for part in parts:
                await asyncio.to_thread(take_prices, stream, part)
        header = stream.header
        async with self._storing:
            names, closes = await asyncio.to_thread(stream.end)
            findings = await asyncio.to_thread(check_prices, names, header.dates, closes, CheckSettings())
            table = await asyncio.to_thread(PriceTable, names, header.dates, closes)
            response = await self._store_prices(table, header)
        response.data_findings.extend(write_findings(findings))
        return response

    async def _store_prices(self, table: PriceTable, header: StreamHeader) -> pb.LoadPricingPackResponse:
        async with self._database.transaction() as connection:
            if faults := await unknown_instruments(connection, "block.series", table.instrument_ids):
                raise InvalidRequest(faults)
            packs = PricingPackRepository(connection)
            if header.validate_only:
                pack = await asyncio.to_thread(write_unstored_pack, table, header.source)
                known = await is_stored(packs.find, pack.pricing_pack_id)
                return pb.LoadPricingPackResponse(pricing_pack=pack, created=not known)
            stored = await packs.store(table, header.source)
            return pb.LoadPricingPackResponse(pricing_pack=write_pack(stored), created=await packs.is_new(stored.id))

    async def load_returns(self, parts: AsyncIterator[pb.LoadFactorReturnsRequest]) -> pb.LoadFactorReturnsResponse:
        """Read a stream of factor returns to its end, check it, and store it.

        Raises:
            InvalidRequest: With every fault; nothing is stored.
        """
        stream = factor_stream()
        async with to_its_end(parts):
            async for part in parts:
                await asyncio.to_thread(take_returns, stream, part)
        header = stream.header
        async with self._storing:
            factors, returns = await asyncio.to_thread(stream.end)
            table = await asyncio.to_thread(FactorTable, factors, header.dates, returns)
            return await self._store_returns(table, header)

    async def _store_returns(self, table: FactorTable, header: StreamHeader) -> pb.LoadFactorReturnsResponse:
        async with self._database.transaction() as connection:
            sets = FactorRepository(connection)
            if header.validate_only:
                content = await asyncio.to_thread(write_unstored_factor_set, table, header.source)
                known = await is_stored(sets.find, content.factor_set_id)
                return pb.LoadFactorReturnsResponse(factor_set=content, created=not known)
            stored = await sets.store(table, header.source)
            content, created = write_factor_set(stored), await sets.is_new(stored.id)
            return pb.LoadFactorReturnsResponse(factor_set=content, created=created)

    async def pricing_pack(self, pack_id: str) -> PricingPack:
        """One pricing pack, without its prices.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return await PricingPackRepository(connection).find(pack_id)

    async def pricing_packs(self, limit: int, before: Cursor | None, instrument_id: str) -> tuple[PricingPack, ...]:
        """Pricing packs, newest first; an empty id = all, else those with prices of the instrument."""
        async with self._database.transaction() as connection:
            return await PricingPackRepository(connection).newest(limit, before, instrument_id or None)

    async def factor_set(self, set_id: str) -> FactorSet:
        """One factor set, without its returns.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return await FactorRepository(connection).find(set_id)

    async def factor_sets(self, limit: int, before: Cursor | None) -> tuple[FactorSet, ...]:
        """Factor sets, newest first."""
        async with self._database.transaction() as connection:
            return await FactorRepository(connection).newest(limit, before)
