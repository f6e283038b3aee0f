"""Small markets for factor models: a market factor, four sectors, and all facts known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.compute.inputs import FactorReturns
from server.compute.model_market import GivenExposures, ModelMarket

SECTORS = ("Energy", "Health Care", "Industrials", "Utilities")
DAYS = 400


def weekdays(count: int) -> np.ndarray:
    return np.busday_offset("2021-01-04", np.arange(count))


def model_market(assets: int = 16, days: int = DAYS, seed: int = 0) -> ModelMarket:
    """Instruments A00, A01, ... in falling order, so that nothing is right by luck."""
    rng = np.random.default_rng(seed)
    F = 0.0003 + 0.01 * rng.standard_normal((days, 3))
    B = np.column_stack([rng.uniform(0.5, 1.5, assets), rng.standard_normal((assets, 2))])
    R = F @ B.T + rng.uniform(0.004, 0.012, assets) * rng.standard_normal((days, assets))
    closes = 100.0 * np.vstack([np.ones(assets), np.cumprod(1.0 + R, axis=0)])
    dates = weekdays(days + 1)
    risk_free = np.full((days, 1), 0.0001) + 1e-5 * rng.standard_normal((days, 1))
    ids = tuple(f"A{i:02d}" for i in reversed(range(assets)))
    return ModelMarket(
        pricing_pack_id="pp-1",
        ids=ids,
        dates=dates,
        closes=closes,
        sectors=tuple(SECTORS[i % 4] for i in range(assets)),
        market_caps=rng.uniform(1e9, 1e11, assets),
        quality_scores=rng.uniform(0.0, 10.0, assets),
        factors=FactorReturns("fs-1", ("market", "size", "value", "bills"), dates[1:], np.hstack([F, risk_free])),
        exposures=GivenExposures("fe-1", ("growth", "debt"), tuple(sorted(ids)), rng.standard_normal((assets, 2))),
    )


def without_price(market: ModelMarket, name: str, rows: slice | int) -> ModelMarket:
    """The market with prices of an instrument taken out."""
    closes = market.closes.copy()
    closes[rows, market.ids.index(name)] = np.nan
    return replace(market, closes=closes)


def factors_without(market: ModelMarket, rows: list[int]) -> ModelMarket:
    """The market with some days of the factors taken out."""
    given = market.factors
    assert given is not None
    left = np.delete(np.arange(len(given.dates)), rows)
    return replace(market, factors=FactorReturns(given.id, given.names, given.dates[left], given.F[left]))
