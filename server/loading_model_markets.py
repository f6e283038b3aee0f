"""Loads what the estimation of a factor model needs: prices, facts of instruments, factor returns, exposures."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from server.compute.factor_models import GivenExposures, ModelMarket
from server.compute.inputs import FactorReturns, Floats
from server.errors import Fault, InvalidRequest, NotReady
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, KindSpec, TimeSeriesSpec
from server.listing import listed
from server.loading import MarketLoader
from storage.database import Connection, Database
from storage.errors import NotFound
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.records import FactorSet, Instrument, PriceTable, PricingPack

_INDEX = "index"


class ModelMarketLoader:
    """Loads the market of a factor model.

    Args:
        database: Where it is.
        loader: Loads prices and stored exposures.
        max_assets: Models of more instruments are refused.
    """

    def __init__(self, database: Database, loader: MarketLoader, max_assets: int) -> None:
        self._database, self._loader, self._max_assets = database, loader, max_assets

    async def market(self, spec: FactorModelSpec, at: str) -> ModelMarket:
        """All that the specification at the path `at` names, or leaves open.

        Raises:
            NotFound: Something named does not exist.
            NotReady: There are no prices or factor returns of what is named.
            InvalidRequest: There are more instruments than the service allows.
        """
        self._check_size(len(spec.instrument_ids), at, "")
        async with self._database.transaction() as connection:
            # Before the prices: what does not exist has none either, and is to be called so.
            named = await InstrumentRepository(connection).find(sorted(spec.instrument_ids))
        pack, table = await self._loader.prices(spec.pricing_pack_id, spec.instrument_ids)
        instruments = named or await self.instruments(pack)
        if not instruments:
            raise NotReady(f"pricing pack {pack.id} has prices of indices only")
        self._check_size(len(instruments), at, f" (all of pricing pack {pack.id})")
        return ModelMarket(
            pricing_pack_id=pack.id,
            ids=tuple(instrument.id for instrument in instruments),
            dates=table.dates,
            closes=_closes(table, instruments, pack),
            sectors=tuple(instrument.sector for instrument in instruments),
            market_caps=_numbers([instrument.market_cap for instrument in instruments]),
            quality_scores=_numbers([instrument.quality_score for instrument in instruments]),
            factors=await self.factors(spec.kind),
            exposures=await self.exposures(spec.kind),
        )

    def _check_size(self, count: int, at: str, whose: str) -> None:
        if count > self._max_assets:
            reason = f"has {count} instruments, more than the service's {self._max_assets}{whose}"
            raise InvalidRequest([Fault(f"{at}.instrument_ids", reason)])

    async def instruments(self, pack: PricingPack) -> tuple[Instrument, ...]:
        """All of the pack that are no index, in the order of their ids."""
        async with self._database.transaction() as connection:
            found = await InstrumentRepository(connection).find(sorted(pack.instrument_ids))
        return tuple(instrument for instrument in found if instrument.asset_class != _INDEX)

    async def factors(self, kind: KindSpec) -> FactorReturns | None:
        """All of the set that is named, or of the newest with all the factors; None where none are needed.

        Raises:
            NotFound: There is no set of this id.
            NotReady: None has all of the factors; what the newest lacks is named.
        """
        if not isinstance(kind, TimeSeriesSpec):
            return None
        wanted = [*kind.factors, *([kind.risk_free_factor] if kind.risk_free_factor else [])]
        async with self._database.transaction() as connection:
            found = await _factor_set(connection, kind.factor_set_id, wanted)
        return await self._loader.factor_returns(found)

    async def exposures(self, kind: KindSpec) -> GivenExposures | None:
        """The stored exposures that are named; None where none are.

        Raises:
            NotFound: There are none of this id.
        """
        if not isinstance(kind, CrossSectionalSpec) or not kind.factor_exposures_id:
            return None
        stored = await self._loader.models.exposures(kind.factor_exposures_id)
        return GivenExposures(stored.id, stored.factors, stored.instrument_ids, stored.B)


async def _factor_set(connection: Connection, set_id: str, wanted: Sequence[str]) -> FactorSet:
    """The set named, or else the newest with returns of all the factors.

    Raises:
        NotFound: There is none of this id.
        NotReady: None has all of them; what the newest lacks is named.
    """
    sets = FactorRepository(connection)
    if set_id:
        return await sets.find(set_id)
    try:
        return await sets.latest(wanted)
    except NotFound:
        pass
    try:
        newest = await sets.latest()
    except NotFound:
        whose = listed(wanted) if wanted else "any factor"
        raise NotReady(f"there is no factor set, so that there are no returns of {whose}") from None
    missing = [name for name in wanted if name not in newest.factors]
    raise NotReady(
        f"no factor set has returns of all: {newest.id}, which reaches furthest, has none of {listed(missing)}, "
        f"but of {listed(newest.factors)}"
    )


def _closes(table: PriceTable, instruments: Sequence[Instrument], pack: PricingPack) -> Floats:
    place = {name: k for k, name in enumerate(table.instrument_ids)}
    if missing := [instrument.id for instrument in instruments if instrument.id not in place]:
        raise NotReady(f"pricing pack {pack.id} has no prices of {listed(missing)}")
    return table.closes[:, [place[instrument.id] for instrument in instruments]]


def _numbers(values: Sequence[Decimal | None]) -> Floats:
    """As floats; NaN where there is none."""
    return np.array([np.nan if value is None else float(value) for value in values])
