"""Loads what a computation needs from storage: portfolio, instruments, prices, benchmark.

Price tables are immutable and addressed by content, so they are kept in memory without ever going stale.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import numpy as np

from kernel.rebalancing.lots import Term, holding_term
from server.compute.inputs import Asset, BenchmarkInputs, FactorModelInputs, FactorReturns, Floats, MarketInputs
from server.compute.restrictions import PriceAge, price_ages
from server.errors import Fault, InvalidRequest, NotReady
from server.listing import listed
from server.loading_models import ModelLoader, factor_model_inputs
from server.specs import ModelSpec
from storage.benchmarks import BenchmarkRepository
from storage.database import Connection, Database
from storage.errors import NotFound
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Benchmark, FactorSet, Instrument, Portfolio, PriceTable, PricingPack

_PACKS_KEPT = 4
# An optimization estimates tax before any trade and reads no dated tax rules; plans are taxed by those of the day.
_USUAL_LONG_TERM_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Holdings:
    """A portfolio valued on a pricing pack.

    Attributes:
        instruments: Of the universe, in the order of their ids.
        prices: Last price per instrument of the universe.
        value: Cash and holdings.
        ages: Of the last prices.
    """

    portfolio: Portfolio
    instruments: tuple[Instrument, ...]
    pack: PricingPack
    prices: dict[str, Decimal]
    value: Decimal
    ages: Mapping[str, PriceAge]

    @property
    def quantities(self) -> dict[str, Decimal]:
        """Shares per instrument held."""
        return {holding.instrument_id: holding.quantity for holding in self.portfolio.holdings}

    def weight(self, instrument_id: str) -> float:
        """Current weight of an instrument."""
        return float(self.quantities.get(instrument_id, Decimal(0)) * self.prices[instrument_id] / self.value)


@dataclass(frozen=True, slots=True)
class Universe:
    """A portfolio's universe while prices are not loaded.

    Attributes:
        assets: In the order of their ids.
        pack: Has prices of all of them.
        factor_sets: Of the factor models, by the id that a model names.
        factor_models: The stored ones, by their ids.
    """

    assets: tuple[Asset, ...]
    pack: PricingPack
    benchmark: BenchmarkInputs | None
    factor_sets: dict[str, FactorSet]
    factor_models: dict[str, FactorModelInputs]


class MarketLoader:
    """Loads inputs, with a small cache of price tables.

    Args:
        database: Where they are.
        max_assets: Larger universes are refused.
        models: Loads the caller's own model inputs.
    """

    def __init__(self, database: Database, max_assets: int, models: ModelLoader) -> None:
        self.models = models
        self._database = database
        self._max_assets = max_assets
        self._tables: OrderedDict[str, PriceTable] = OrderedDict()
        self._reading = asyncio.Lock()

    async def portfolio(self, portfolio_id: str) -> Portfolio:
        """A portfolio.

        Raises:
            NotFound: There is none of this id.
        """
        async with self._database.transaction() as connection:
            return await PortfolioRepository(connection).find(portfolio_id)

    async def universe(self, portfolio_id: str, model: ModelSpec, candidates: Sequence[str] = ()) -> Universe:
        """The assets of a portfolio's universe, without prices, and the pack that has them.

        Raises:
            NotFound: Something named does not exist.
            NotReady: There is nothing to choose from, or the pack lacks some of it.
            InvalidRequest: The universe is larger than the service allows.
        """
        async with self._database.transaction() as connection:
            named = await self._named(connection, portfolio_id, model, candidates)
        if missing := sorted({i.id for i in named.instruments} - set(named.pack.instrument_ids)):
            raise NotReady(f"pricing pack {named.pack.id} has no prices of {listed(missing)}")
        assets = tuple(_plain_asset(instrument, candidates) for instrument in named.instruments)
        return Universe(assets, named.pack, _known_benchmark(named), named.factors, await self._factor_models(model))

    async def market(
        self, portfolio_id: str, model: ModelSpec, candidates: Sequence[str] = ()
    ) -> tuple[MarketInputs, Holdings]:
        """The universe of a portfolio on a pricing pack, valued.

        Args:
            portfolio_id: The portfolio.
            model: Names pack, benchmark and window.
            candidates: Instruments to choose from; empty = the holdings.

        Raises:
            NotFound: Something named does not exist.
            NotReady: There is nothing to choose from, or prices are missing; the instruments are named.
            InvalidRequest: The universe is larger than the service allows.
        """
        async with self._database.transaction() as connection:
            named = await self._named(connection, portfolio_id, model, candidates)
        ids = [instrument.id for instrument in named.instruments]
        table = await self._table(named.pack.id)
        dates, closes = _columns(table, ids, named.pack)
        holdings = value_holdings(named, _last_prices(ids, closes), price_ages(table, ids))
        window = slice(-(model.lookback_days + 1), None) if model.lookback_days else slice(None)
        inputs = MarketInputs(
            portfolio_id=portfolio_id,
            pricing_pack_id=named.pack.id,
            assets=tuple(_asset(instrument, holdings, candidates) for instrument in named.instruments),
            dates=dates[window],
            closes=closes[window],
            w0=np.array([holdings.weight(name) for name in ids]),
            cash_weight=float(named.portfolio.cash / holdings.value),
            value=holdings.value,
            benchmark=None if named.benchmark is None else _benchmark(named.benchmark, table, dates[window]),
            market=None if named.market is None else _benchmark(named.market, table, dates[window]),
            factor_sets={k: await self.factor_returns(found) for k, found in named.factors.items()},
            factor_models=await self._factor_models(model),
        )
        return inputs, holdings

    async def prices(self, pack_id: str, instruments: Sequence[str]) -> tuple[PricingPack, PriceTable]:
        """The pack named, or else the newest with prices of all the instruments, and all its prices.

        Raises:
            NotFound: There is none of this id.
            NotReady: None has prices of all; what lacks them is named.
        """
        async with self._database.transaction() as connection:
            pack = await self._pack(connection, pack_id, instruments)
        return pack, await self._table(pack.id)

    async def _named(
        self, connection: Connection, portfolio_id: str, model: ModelSpec, candidates: Sequence[str]
    ) -> _Named:
        portfolio = await PortfolioRepository(connection).find(portfolio_id)
        ids = self._ids(portfolio, candidates)
        instruments = await InstrumentRepository(connection).find(ids)
        pack = await self._pack(connection, model.pricing_pack_id, ids)
        benchmark = await _find_benchmark(connection, model.benchmark_id or portfolio.benchmark_id)
        market = await _find_benchmark(connection, model.returns.market_benchmark_id)
        factors = {named: await _find_factors(connection, named) for named in _factor_set_ids(model)}
        return _Named(portfolio, instruments, pack, benchmark, market, factors)

    def _ids(self, portfolio: Portfolio, candidates: Sequence[str]) -> list[str]:
        ids = sorted({*(h.instrument_id for h in portfolio.holdings if h.quantity), *candidates})
        if not ids:
            raise NotReady(f"portfolio {portfolio.id} holds nothing, and instrument_ids names nothing to choose from")
        if len(ids) > self._max_assets:
            reason = f"has {len(ids)} assets with the holdings, more than the service's {self._max_assets}"
            raise InvalidRequest([Fault("instrument_ids", reason)])
        return ids

    async def _pack(self, connection: Connection, pack_id: str, instruments: Sequence[str]) -> PricingPack:
        """The pack asked for, or else the newest with prices of all the instruments.

        Raises:
            NotFound: There is none of this id.
            NotReady: None has prices of all; what lacks them is named.
        """
        packs = PricingPackRepository(connection)
        if pack_id:
            return await packs.find(pack_id)
        try:
            return await packs.latest(instruments)
        except NotFound:
            pass
        try:
            latest = await packs.latest()
        except NotFound:
            raise NotReady("there is no pricing pack, so that nothing has a price") from None
        missing = listed(sorted(set(instruments) - set(latest.instrument_ids)))
        raise NotReady(f"no pricing pack has prices of all: {latest.id}, which reaches furthest, has none of {missing}")

    async def _table(self, pack_id: str) -> PriceTable:
        async with self._reading:
            if pack_id not in self._tables:
                async with self._database.transaction() as connection:
                    self._tables[pack_id] = await PricingPackRepository(connection).read(pack_id)
                if len(self._tables) > _PACKS_KEPT:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(pack_id)
            return self._tables[pack_id]

    async def factor_returns(self, found: FactorSet) -> FactorReturns:
        """All returns of a factor set."""
        async with self._database.transaction() as connection:
            table = await FactorRepository(connection).read(found.id)
        return FactorReturns(found.id, table.factors, table.dates, table.returns)

    async def _factor_models(self, model: ModelSpec) -> dict[str, FactorModelInputs]:
        """The stored factor models of risk and expected returns."""
        named = {part.factor_model_id for part in (model.returns, model.risk) if part.factor_model_id}
        return {stored: factor_model_inputs(await self.models.factor_model(stored)) for stored in sorted(named)}


@dataclass(frozen=True, slots=True)
class _Named:
    """What a request names, found."""

    portfolio: Portfolio
    instruments: tuple[Instrument, ...]
    pack: PricingPack
    benchmark: Benchmark | None
    market: Benchmark | None
    factors: dict[str, FactorSet]


async def _find_benchmark(connection: Connection, benchmark_id: str | None) -> Benchmark | None:
    return await BenchmarkRepository(connection).find(benchmark_id) if benchmark_id else None


async def _find_factors(connection: Connection, set_id: str) -> FactorSet:
    factors = FactorRepository(connection)
    return await factors.find(set_id) if set_id else await factors.latest()


def _factor_set_ids(model: ModelSpec) -> set[str]:
    """Factor sets that the models name; empty = the newest."""
    parts = [part for part in (model.returns, model.risk) if part.method == "factor_model"]
    return {part.factor_set_id for part in parts if not part.factor_model_id}


def value_holdings(named: _Named, prices: dict[str, Decimal], ages: Mapping[str, PriceAge]) -> Holdings:
    """Value a portfolio.

    Raises:
        NotReady: Its value is not positive.
    """
    portfolio = named.portfolio
    value = portfolio.cash + sum(
        (holding.quantity * prices[holding.instrument_id] for holding in portfolio.holdings if holding.quantity),
        Decimal(0),
    )
    if value <= 0:
        raise NotReady(f"portfolio {portfolio.id} is worth {value} {portfolio.base_currency}: weights have no meaning")
    return Holdings(portfolio, named.instruments, named.pack, prices, value, ages)


def _columns(table: PriceTable, ids: Sequence[str], pack: PricingPack) -> tuple[np.ndarray, Floats]:
    """Days and prices of the universe; days on which none of it has a price are left out."""
    place = {name: k for k, name in enumerate(table.instrument_ids)}
    if missing := [name for name in ids if name not in place]:
        raise NotReady(f"pricing pack {pack.id} has no prices of {listed(missing)}")
    closes = table.closes[:, [place[name] for name in ids]]
    days = ~np.isnan(closes).all(axis=1)
    return table.dates[days], closes[days]


def _last_prices(ids: Sequence[str], closes: Floats) -> dict[str, Decimal]:
    """The last price of each; shortest decimal that is the stored number."""
    last = {}
    for k, name in enumerate(ids):
        column = closes[:, k]
        last[name] = Decimal(repr(float(column[np.isfinite(column)][-1])))
    return last


def _plain_asset(instrument: Instrument, candidates: Sequence[str]) -> Asset:
    return Asset(
        id=instrument.id,
        sector=instrument.sector,
        asset_class=instrument.asset_class,
        market_cap=None if instrument.market_cap is None else float(instrument.market_cap),
        candidate=not candidates or instrument.id in candidates,
        quality_score=None if instrument.quality_score is None else float(instrument.quality_score),
        daily_volume=instrument.average_daily_volume,
        lot_size=instrument.lot_size,
    )


def _asset(instrument: Instrument, holdings: Holdings, candidates: Sequence[str]) -> Asset:
    plain = _plain_asset(instrument, candidates)
    return replace(plain, sale_tax_rate=_sale_tax_rate(instrument.id, holdings), price=holdings.prices[instrument.id])


def _sale_tax_rate(instrument_id: str, holdings: Holdings) -> float:
    """Tax on selling all lots at the last price, as a fraction of their value; losses count as nothing.

    An unknown cost is zero and an unknown date is short-term: the tax is then never understated.
    """
    price, portfolio = holdings.prices[instrument_id], holdings.portfolio
    tax = worth = Decimal(0)
    for lot in portfolio.lots:
        if lot.instrument_id == instrument_id:
            worth += lot.quantity * price
            gain = max(price - (lot.cost_per_share or Decimal(0)), Decimal(0))
            tax += gain * lot.quantity * _rate(portfolio, lot.held_since or lot.acquired_on, holdings.pack.as_of)
    return float(tax / worth) if worth > 0 else 0.0


def _rate(portfolio: Portfolio, held_from: date | None, sold_on: date) -> Decimal:
    if held_from is None or holding_term(held_from, sold_on, _USUAL_LONG_TERM_MONTHS) is Term.SHORT:
        return portfolio.short_term_tax_rate
    return portfolio.long_term_tax_rate


def _known_benchmark(named: _Named) -> BenchmarkInputs | None:
    """A benchmark while prices are not loaded."""
    benchmark = named.benchmark
    if benchmark is None:
        return None
    has_series = benchmark.index_instrument_id in named.pack.instrument_ids
    return BenchmarkInputs(benchmark.id, weights=_weights(benchmark), has_series=has_series)


def _benchmark(benchmark: Benchmark, table: PriceTable, dates: np.ndarray) -> BenchmarkInputs:
    index = benchmark.index_instrument_id
    if index is None or index not in table.instrument_ids:
        return BenchmarkInputs(benchmark.id, weights=_weights(benchmark))
    column = table.closes[:, table.instrument_ids.index(index)]
    return BenchmarkInputs(benchmark.id, column[np.isin(table.dates, dates)], _weights(benchmark), has_series=True)


def _weights(benchmark: Benchmark) -> dict[str, float]:
    return {name: float(weight) for name, weight in benchmark.weights.items()}
