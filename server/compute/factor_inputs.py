"""What a factor analysis is made from: its instruments, their days, and the model that is estimated for it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from server.compute.factor_models import BuiltModel, GivenExposures, ModelMarket, estimate_model
from server.compute.factor_periods import Days, days_with_returns, weighted_benchmark, within
from server.compute.factor_returns import RECORDED
from server.compute.holdings import Account
from server.compute.inputs import FactorModelInputs, FactorReturns, MarketInputs
from server.errors import NotReady
from server.factor_specs import FactorModelSpec, FactorSpec, TimeSeriesSpec

_FEWEST_RETURNS = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FactorInputs:
    """What an analysis is made from.

    Attributes:
        spec: The request.
        market: Holdings, and all instruments that model and benchmark may need.
        account: Holdings of today on the instruments of the market, with their trades.
        stored: The stored model; None where one is estimated.
        model: What to estimate, or what the stored model was estimated by.
        own_instruments: Whether the model to estimate has the instruments of portfolio and benchmark, instead of those
            that `model` names, or all of the market.
        factors: Returns for the model to estimate.
        exposures: Stored exposures for it.
        risk_free_rate: Annual.
    """

    spec: FactorSpec
    market: MarketInputs
    account: Account
    stored: FactorModelInputs | None
    model: FactorModelSpec
    own_instruments: bool = True
    factors: FactorReturns | None = None
    exposures: GivenExposures | None = None
    risk_free_rate: float = 0.0


def on_days_of_holdings(market: MarketInputs) -> MarketInputs:
    """The market without days on which nothing that is held has a price."""
    rows = np.isfinite(market.closes[:, market.w0 != 0.0]).any(axis=1)
    benchmark = market.benchmark
    if benchmark is not None and benchmark.closes is not None:
        benchmark = replace(benchmark, closes=benchmark.closes[rows])
    return replace(market, dates=market.dates[rows], closes=market.closes[rows], benchmark=benchmark)


def held_instruments(inputs: FactorInputs) -> tuple[str, ...]:
    """What is held today, and with recorded holdings what was traded since the period began."""
    market = inputs.market
    held = {name for name, weight in zip(market.ids, market.w0, strict=True) if weight}
    if inputs.spec.holdings_basis != RECORDED:
        return tuple(sorted(held))
    days = within(_common_days(inputs, held), inputs.spec)
    first = days[0] if len(days) else market.dates[0]
    before = market.dates[max(int(np.searchsorted(market.dates, first)) - 1, 0)]
    ids = market.ids
    traded = {ids[trade.column] for trade in inputs.account.trades if np.datetime64(trade.day) > before}
    return tuple(sorted(held | traded))


def _common_days(inputs: FactorInputs, names: Iterable[str]) -> Days:
    """Days on which the instruments, and the factors whose returns are given, have returns."""
    days, kind = days_with_returns(inputs.market, sorted(names)), inputs.model.kind
    if inputs.stored is not None:
        return np.intersect1d(days, inputs.stored.dates)
    if inputs.factors is None or not isinstance(kind, TimeSeriesSpec):
        return days
    used = {*kind.factors, kind.risk_free_factor} if kind.factors else set(inputs.factors.names)
    columns = [k for k, name in enumerate(inputs.factors.names) if name in used]
    return np.intersect1d(days, inputs.factors.dates[np.isfinite(inputs.factors.F[:, columns]).all(axis=1)])


def estimated(inputs: FactorInputs, names: tuple[str, ...]) -> BuiltModel:
    """The model of this analysis, on the days that holdings and factors have in common."""
    market, days = inputs.market, within(_common_days(inputs, names), inputs.spec)
    if len(days) < _FEWEST_RETURNS:
        raise NotReady(
            f"portfolio and factors have {len(days)} days in common in pricing pack {market.pricing_pack_id}; more are "
            "needed"
        )
    ids = inputs.model.instrument_ids
    if inputs.own_instruments:
        span = market.dates[1:][(market.dates[1:] >= days[0]) & (market.dates[1:] <= days[-1])]
        found = None
        if market.benchmark is not None:
            found, _ = weighted_benchmark(market.benchmark, market, market.ids, span)
        ids = tuple(sorted({*names, *(() if found is None else found.names)}))
    spec = replace(inputs.model, instrument_ids=ids, first_date=str(days[0]), last_date=str(days[-1]), lookback_days=0)
    try:
        return estimate_model(_model_market(inputs, ids), spec)
    except ProblemError as error:
        raise ProblemError(_path(inputs, error.field), error.reason) from error


def _path(inputs: FactorInputs, field: str) -> str:
    """Where the request says what a model cannot have."""
    return field.partition(".")[2] or field if inputs.spec.model is None else f"model.{field}"


def _model_market(inputs: FactorInputs, ids: tuple[str, ...]) -> ModelMarket:
    market = inputs.market
    wanted = set(ids or market.ids)
    columns = [k for k, name in enumerate(market.ids) if name in wanted]
    assets = [market.assets[k] for k in columns]
    return ModelMarket(
        pricing_pack_id=market.pricing_pack_id,
        ids=tuple(asset.id for asset in assets),
        dates=market.dates,
        closes=market.closes[:, columns],
        sectors=tuple(asset.sector for asset in assets),
        market_caps=np.array([np.nan if a.market_cap is None else a.market_cap for a in assets]),
        quality_scores=np.array([np.nan if a.quality_score is None else a.quality_score for a in assets]),
        factors=inputs.factors,
        exposures=inputs.exposures,
    )
