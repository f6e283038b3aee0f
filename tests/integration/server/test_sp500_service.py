"""All S&P 500 names with a full history, asked of the service as a caller would, against an independent solver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import numpy.typing as npt
import pytest
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Holding, Portfolio, PriceTable
from tests.integration.server.open_service import OpenService, sp500_service
from tests.sp500 import WITH_HOLES, WRONG_SPLIT, needs_prices

RISK_FREE = 0.02
MAX_POSITION, MAX_SECTOR = 0.05, 0.30
CAPS = pb.OptimizationConstraints(max_position_size=MAX_POSITION, max_sector_exposure=MAX_SECTOR)

pytestmark = needs_prices

Floats = npt.NDArray[np.float64]


class Market:
    """The names that can be used, and their returns."""

    def __init__(self, table: PriceTable, sectors: dict[str, str]) -> None:
        complete = ~np.isnan(table.closes).any(axis=0)
        usable = complete & (np.array(table.instrument_ids) != WRONG_SPLIT)
        self.names = tuple(np.array(table.instrument_ids)[usable].tolist())
        closes = table.closes[:, usable]
        self.R = closes[1:] / closes[:-1] - 1.0
        groups = sorted(set(sectors.values()))
        self.S = np.array([[float(sectors[name] == group) for name in self.names] for group in groups])

    @property
    def mu(self) -> Floats:
        means: Floats = self.R.mean(axis=0)
        return 252.0 * means

    def sample(self) -> Floats:
        return 252.0 * np.cov(self.R, rowvar=False)

    def ledoit_wolf(self) -> Floats:
        """Shrinkage to a multiple of the identity (Ledoit and Wolf 2004), its error summed day by day."""
        X = self.R - self.R.mean(axis=0)
        T, n = X.shape
        S = X.T @ X / T
        target = np.trace(S) / n * np.eye(n)
        # ||x x' - S||^2 = (x'x)^2 - 2 x'S x + ||S||^2
        error = sum((x @ x) ** 2 - 2.0 * (x @ S @ x) + np.sum(S * S) for x in X) / T**2
        rho = min(error / np.linalg.norm(S - target) ** 2, 1.0)
        shrunk: Floats = 252.0 * ((1.0 - rho) * S + rho * target)
        return shrunk


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with sp500_service(postgres_server, template_database) as service:
        yield service


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return service.run(load(service))


async def load(service: OpenService) -> Market:
    """The imported prices, and three portfolios of them."""
    async with service.application.database.transaction() as connection:
        pack = await PricingPackRepository(connection).latest()
        table = await PricingPackRepository(connection).read(pack.id)
        instruments = await InstrumentRepository(connection).find(list(table.instrument_ids))
        market = Market(table, {instrument.id: instrument.sector for instrument in instruments})
        for name, held in (
            ("complete", market.names),
            ("with-holes", (*market.names, *WITH_HOLES)),
            ("wrong-split", ("AAPL", "KO", "LNT")),
        ):
            holdings = tuple(Holding(instrument_id=held_name, quantity=Decimal(10)) for held_name in held)
            await PortfolioRepository(connection).put(Portfolio(id=name, name="", holdings=holdings))
    return market


def highest_sharpe(mu: Floats, Sigma: Floats, S: Floats) -> float:
    """The best ratio under the caps, by a conic model of its own."""
    root = np.linalg.cholesky(Sigma)
    y, kappa = cp.Variable(len(mu), nonneg=True), cp.Variable(nonneg=True)
    constraints = [
        (mu - RISK_FREE) @ y == 1,
        np.ones(len(mu)) @ y == kappa,
        y <= MAX_POSITION * kappa,
        S @ y <= MAX_SECTOR * kappa,
    ]
    problem: Any = cp.Problem(cp.Minimize(cp.sum_squares(root.T @ y)), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return 1.0 / float(np.sqrt(problem.value))


@pytest.mark.parametrize("method", ["RISK_MODEL_METHOD_LEDOIT_WOLF", "RISK_MODEL_METHOD_SAMPLE"])
def test_the_highest_ratio_under_caps_is_that_of_an_independent_solver(
    service: OpenService, market: Market, method: str
) -> None:
    request = pb.CreateOptimizationRequest(
        portfolio_id="complete",
        optimization_type="mean_variance",
        objective="maximize_sharpe",
        constraints=CAPS,
        risk_free_rate=RISK_FREE,
        risk_model=estimation_pb2.RiskModel(method=estimation_pb2.RiskModelMethod.Value(method)),
    )
    answer = service.optimize(request)
    Sigma = market.ledoit_wolf() if method.endswith("LEDOIT_WOLF") else market.sample()
    expected = highest_sharpe(market.mu, Sigma, market.S)
    w = np.array([answer.target_allocation.get(name, 0.0) for name in market.names])
    assert len(market.names) == 469
    assert answer.status == "completed"
    assert answer.metrics.sharpe_ratio == pytest.approx(expected, abs=1e-6)
    assert (market.mu @ w - RISK_FREE) / np.sqrt(w @ Sigma @ w) == pytest.approx(expected, abs=1e-6)
    assert w.sum() == pytest.approx(1.0, abs=1e-8)
    assert w.max() <= MAX_POSITION + 1e-8
    assert (market.S @ w).max() <= MAX_SECTOR + 1e-8


def test_the_frontier_of_all_names(service: OpenService, market: Market) -> None:
    request = frontier_pb2.EfficientFrontierRequest(portfolio_id="complete", points=20, risk_free_rate=RISK_FREE)
    answer = service.call("GenerateEfficientFrontier", request)
    points = answer.efficient_frontier
    assert len(points) == 20
    returns, risks = np.array([(getattr(point, "return"), point.risk) for point in points]).T
    assert (np.diff(returns) > 0).all()
    assert (np.diff(risks) > 0).all()
    W, Sigma = np.array([[p.weights.get(name, 0.0) for name in market.names] for p in points]), market.ledoit_wolf()
    np.testing.assert_allclose(W.sum(axis=1), 1.0, atol=1e-8)
    assert W.min() >= -1e-8
    np.testing.assert_allclose(W @ market.mu, returns, rtol=1e-10)
    np.testing.assert_allclose(np.sqrt(np.einsum("ki,ij,kj->k", W, Sigma, W)), risks, rtol=1e-8)
    np.testing.assert_allclose(returns[-1], market.mu.max(), rtol=1e-10)
    assert max(point.duality_gap for point in points) <= 1e-8
    assert answer.optimal_portfolio.sharpe >= max(point.sharpe for point in points) - 1e-12


def test_the_frontier_under_caps(service: OpenService, market: Market) -> None:
    request = frontier_pb2.EfficientFrontierRequest(portfolio_id="complete", points=5, constraints=CAPS)
    answer = service.call("GenerateEfficientFrontier", request)
    W = np.array([[p.weights.get(name, 0.0) for name in market.names] for p in answer.efficient_frontier])
    assert W.shape[0] == 5
    assert W.max() <= MAX_POSITION + 1e-8
    assert (W @ market.S.T).max() <= MAX_SECTOR + 1e-8
    assert answer.optimal_portfolio.sharpe == pytest.approx(
        highest_sharpe(market.mu, market.ledoit_wolf(), market.S), abs=1e-6
    )


def test_names_with_holes_are_refused_by_name(service: OpenService, market: Market) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("GenerateEfficientFrontier", frontier_pb2.EfficientFrontierRequest(portfolio_id="with-holes"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert set(re.findall(r"([A-Z.]+) lacks \d+ prices", caught.value.details() or "")) == WITH_HOLES
    request = pb.CreateOptimizationRequest(portfolio_id="with-holes", optimization_type="minimum_variance")
    ended = service.optimize(request)
    assert ended.status == "failed"
    assert set(re.findall(r"([A-Z.]+) lacks \d+ prices", ended.outcome.message)) == WITH_HOLES


def test_a_wrong_split_is_reported_by_name(service: OpenService, market: Market) -> None:
    request = pb.CreateOptimizationRequest(portfolio_id="wrong-split", optimization_type="minimum_variance")
    answer = service.optimize(request)
    splits = [finding for finding in answer.data_findings if finding.code == "wrong_split"]
    assert [(finding.instrument_id, finding.date) for finding in splits] == [("LNT", "2016-05-19")]
    assert answer.status == "completed"
