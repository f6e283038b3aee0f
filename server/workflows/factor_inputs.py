"""Loads what a factor analysis is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from server.compute.factor_inputs import FactorInputs
from server.compute.factor_models import GivenExposures
from server.compute.factor_returns import RECORDED
from server.compute.holdings import Account, Trade
from server.compute.inputs import FactorModelInputs, FactorReturns
from server.convert.factor_models import stored_specification
from server.errors import NotReady
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, FactorSpec, TimeSeriesSpec
from server.loading import Holdings, MarketLoader, Universe
from server.loading_model_markets import ModelMarketLoader
from server.loading_models import factor_model_inputs
from server.settings import Settings
from server.specs import ModelSpec
from storage.database import Database
from storage.factor_model_records import StoredFactorModel
from storage.records import Transaction
from storage.transactions import TransactionRepository

_SELL = "sell"
_SHORTING = "shorting_enabled"
# Exchanges are not closed for longer than this, so that the last price before a day is younger.
_LONGEST_CLOSURE = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class _Model:
    """The model of an analysis, found.

    Attributes:
        instrument_ids: That it may need beyond those held.
        own: Whether it is estimated on the instruments of portfolio and benchmark.
    """

    spec: FactorModelSpec
    stored: FactorModelInputs | None = None
    factors: FactorReturns | None = None
    exposures: GivenExposures | None = None
    instrument_ids: Sequence[str] = field(default=())
    own: bool = False


class FactorInputsLoader:
    """Loads factor inputs."""

    def __init__(self, database: Database, loader: MarketLoader, settings: Settings) -> None:
        self._database, self._loader, self._settings = database, loader, settings
        self._markets = ModelMarketLoader(database, loader, settings.max_assets)

    async def load(self, spec: FactorSpec) -> FactorInputs:
        """Everything that a checked request needs.

        Raises:
            NotFound: Something named does not exist.
            NotReady: Prices are missing; the instruments are named.
            InvalidRequest: There are more instruments than the service allows.
        """
        plain = ModelSpec(
            self._settings.risk_free_rate, pricing_pack_id=spec.pricing_pack_id, benchmark_id=spec.benchmark_id
        )
        if not any(holding.quantity for holding in (await self._loader.portfolio(spec.portfolio_id)).holdings):
            raise NotReady(f"portfolio {spec.portfolio_id} holds nothing but cash, which has no exposures")
        universe = await self._loader.universe(spec.portfolio_id, plain)
        model = await self._model(spec, universe)
        trades = await self._transactions(spec, universe) if spec.holdings_basis == RECORDED else ()
        wanted = {*model.instrument_ids, *_benchmark_names(universe, model), *(row.instrument_id for row in trades)}
        market, holdings = await self._loader.market(
            spec.portfolio_id, replace(plain, pricing_pack_id=universe.pack.id), sorted(wanted)
        )
        return FactorInputs(
            spec=spec,
            market=market,
            account=_account(holdings, market.ids, trades),
            stored=model.stored,
            model=model.spec,
            own_instruments=model.own,
            factors=model.factors,
            exposures=model.exposures,
            risk_free_rate=self._settings.risk_free_rate,
        )

    async def _model(self, spec: FactorSpec, universe: Universe) -> _Model:
        if spec.factor_model_id:
            stored = await self._loader.models.factor_model(spec.factor_model_id)
            return _Model(_as_estimated(stored), factor_model_inputs(stored))
        given = spec.model
        if given is None:
            return await self._usual(spec, universe)
        factors, exposures = await self._markets.factors(given.kind), await self._markets.exposures(given.kind)
        return _Model(given, None, factors, exposures, given.instrument_ids, own=not given.instrument_ids)

    async def _usual(self, spec: FactorSpec, universe: Universe) -> _Model:
        """A regression on the newest factor set; styles and sectors of the whole pack where no set was ever loaded."""
        usual = FactorModelSpec(TimeSeriesSpec(factor_set_id=spec.factor_set_id, factors=spec.factors))
        try:
            return _Model(usual, factors=await self._markets.factors(usual.kind), own=True)
        except NotReady:
            if spec.factors:
                raise
        ids = [instrument.id for instrument in await self._markets.instruments(universe.pack)]
        return _Model(FactorModelSpec(CrossSectionalSpec()), instrument_ids=ids)

    async def _transactions(self, spec: FactorSpec, universe: Universe) -> tuple[Transaction, ...]:
        """All that may change the holdings between the last price before the period and today."""
        first = universe.pack.first_date
        if spec.first_date and date.fromisoformat(spec.first_date) > first:
            first = max(first, date.fromisoformat(spec.first_date) - _LONGEST_CLOSURE)
        async with self._database.transaction() as connection:
            return await TransactionRepository(connection).between([spec.portfolio_id], first, date.max)


def _as_estimated(stored: StoredFactorModel) -> FactorModelSpec:
    """What a stored model was estimated by, with the drift that was found likeliest."""
    spec, found = stored_specification(stored.head), _diagnostics(stored.head.summary).get("drift")
    if not isinstance(spec.kind, TimeSeriesSpec) or found is None:
        return spec
    return replace(spec, kind=replace(spec.kind, drift=float(found)))


def _diagnostics(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    diagnostics: Mapping[str, Any] = summary.get("diagnostics", {})
    return diagnostics


def _benchmark_names(universe: Universe, model: _Model) -> set[str]:
    """Instruments of the benchmark that the pack has prices of, and a stored model exposures."""
    benchmark = universe.benchmark
    if benchmark is None or benchmark.weights is None:
        return set()
    known = set(universe.pack.instrument_ids)
    if model.stored is not None:
        known &= set(model.stored.model.names)
    return known & set(benchmark.weights)


def _account(holdings: Holdings, ids: Sequence[str], transactions: Sequence[Transaction]) -> Account:
    portfolio, place = holdings.portfolio, {name: k for k, name in enumerate(ids)}
    quantities = {holding.instrument_id: holding.quantity for holding in portfolio.holdings}
    return Account(
        quantities=tuple(quantities.get(name, Decimal(0)) for name in ids),
        cash=portfolio.cash,
        may_be_short=bool(portfolio.account.get(_SHORTING)),
        trades=tuple(
            Trade(
                day=row.traded_on,
                column=place[row.instrument_id],
                quantity=-row.quantity if row.action == _SELL else row.quantity,
                price=row.price,
                cost=row.cost,
            )
            for row in transactions
        ),
    )
