"""The five frontiers of OR-Library, asked of the service: moments provided, turning points returned.

T.-J. Chang, N. Meade, J. Beasley, Y. Sharaiha, Heuristics for cardinality constrained portfolio optimisation,
Computers & Operations Research 27 (2000) 1271-1302.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2

from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Holding, Instrument, Portfolio, PriceTable
from tests.integration.server.open_service import OpenService, copied_database, open_service

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "orlib_portfolio"
# The published variances are rounded to 4e-7.
RELATIVE = 1e-6
DAYS = 6

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the OR-Library data are not beside the project")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Market:
    """Weekly moments as published."""

    portfolio_id: str
    names: tuple[str, ...]
    mu: Floats
    Sigma: Floats


def market(number: int) -> Market:
    assets = np.genfromtxt(DATA / f"port{number}_assets.csv", delimiter=",", skip_header=1, usecols=(1, 2))
    with gzip.open(DATA / f"port{number}_corr.csv.gz", "rt") as file:
        correlation = np.genfromtxt(file, delimiter=",", skip_header=1)[:, 1:]
    names = tuple(f"m{number}-{k:03}" for k in range(len(assets)))
    return Market(f"port{number}", names, assets[:, 0], correlation * np.outer(assets[:, 1], assets[:, 1]))


def published(number: int) -> Floats:
    return np.genfromtxt(DATA / f"portef{number}.csv", delimiter=",", skip_header=1)


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        for number in range(1, 6):
            service.run(store(service, market(number)))
        yield service


async def store(service: OpenService, market: Market) -> None:
    """The names with a few days of prices: a universe must have prices, even where no estimate comes from them."""
    n = len(market.names)
    days = np.arange(np.datetime64("1997-09-01"), np.datetime64("1997-09-01") + DAYS)
    closes = 100.0 + np.cos(np.outer(np.arange(DAYS), 1.0 + np.arange(n)))
    holdings = tuple(Holding(instrument_id=name, quantity=Decimal(10 + k)) for k, name in enumerate(market.names))
    async with service.application.database.transaction() as connection:
        instruments = [Instrument(id=name, name=name, asset_class="equity", sector="none") for name in market.names]
        await InstrumentRepository(connection).put(instruments)
        await PricingPackRepository(connection).store(PriceTable(market.names, days, closes), "synthetic")
        await PortfolioRepository(connection).put(Portfolio(id=market.portfolio_id, name="", holdings=holdings))


def request_of(market: Market) -> frontier_pb2.EfficientFrontierRequest:
    covariance = estimation_pb2.CovarianceMatrix(instrument_ids=market.names, values=market.Sigma.ravel().tolist())
    return frontier_pb2.EfficientFrontierRequest(
        portfolio_id=market.portfolio_id,
        points=10,
        include_turning_points=True,
        risk_free_rate=0.0,
        expected_returns=estimation_pb2.ExpectedReturnsModel(
            method=estimation_pb2.EXPECTED_RETURNS_METHOD_PROVIDED,
            values=dict(zip(market.names, market.mu.tolist(), strict=True)),
        ),
        risk_model=estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED, covariance=covariance),
    )


def weights_of(points: Any, names: tuple[str, ...]) -> Floats:
    return np.array([[point.weights.get(name, 0.0) for name in names] for point in points])


def weights_at(value: float, corners: Floats, mu: Floats) -> Floats:
    """The weights of the exact path at a return: linear between turning points."""
    returns = corners @ mu
    k = int(np.clip(np.searchsorted(returns, value), 1, len(returns) - 1))
    share = np.clip((value - returns[k - 1]) / (returns[k] - returns[k - 1]), 0.0, 1.0)
    weights: Floats = corners[k - 1] + share * (corners[k] - corners[k - 1])
    return weights


@pytest.mark.parametrize("number", range(1, 6))
def test_all_published_points_lie_on_the_path_of_the_answer(service: OpenService, number: int) -> None:
    given, points = market(number), published(number)
    answer = service.call("GenerateEfficientFrontier", request_of(given))
    corners = weights_of(answer.turning_points, given.names)
    weights = np.array([weights_at(value, corners, given.mu) for value in points[:, 0]])
    assert points.shape == (2000, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", weights, given.Sigma, weights), points[:, 1], rtol=RELATIVE)


@pytest.mark.parametrize("number", range(1, 6))
def test_provided_moments_are_taken_in_their_own_units(service: OpenService, number: int) -> None:
    given = market(number)
    answer = service.call("GenerateEfficientFrontier", request_of(given))
    assert answer.provenance.covariance_repair_distance == 0.0
    every = (*answer.efficient_frontier, *answer.turning_points, answer.min_risk_portfolio)
    weights = weights_of(every, given.names)
    np.testing.assert_allclose([getattr(point, "return") for point in every], weights @ given.mu, rtol=1e-12)
    variances = np.einsum("ki,ij,kj->k", weights, given.Sigma, weights)
    np.testing.assert_allclose([point.risk**2 for point in every], variances, rtol=1e-10)
