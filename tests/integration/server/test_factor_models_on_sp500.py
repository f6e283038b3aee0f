"""Factor models of all S&P 500 names in optimizations: factor form against dense covariance, and against the index."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import pytest
from portfolio_optimization.v1 import estimation_pb2
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1 import optimization_pb2 as pb

from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import Holding, Portfolio
from tests.integration.server.factor_model_calls import ModelCalls, exposures, matrix
from tests.integration.server.factor_model_examples import RETURNS, RISK, completed, put_benchmark
from tests.integration.server.open_service import OpenService, sp500_service
from tests.sp500 import needs_prices

RISK_FREE = 0.02
KINDS = {
    "statistical": models_pb.FactorModelSpecification(statistical=models_pb.StatisticalModel()),
    "styles and sectors": models_pb.FactorModelSpecification(cross_sectional=models_pb.CrossSectionalModel()),
}
Floats = npt.NDArray[np.float64]
Constraints = pb.OptimizationConstraints

pytestmark = needs_prices


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with sp500_service(postgres_server, template_database) as service:
        yield service


class Known:
    """A model as it is read, and the index of its instruments by capitalisation."""

    def __init__(self, model: models_pb.FactorModel, index: Floats) -> None:
        self.id = model.factor_model_id
        self.names = tuple(part.instrument_id for part in model.instruments)
        self.factors = tuple(factor.name for factor in model.factors)
        self.B, self.index = exposures(model), index
        self.Phi = matrix(model.factor_covariance, len(self.factors))
        self.specific = np.array([part.specific_volatility**2 for part in model.instruments])
        self.Sigma = self.B @ self.Phi @ self.B.T + np.diag(self.specific)

    @property
    def risk(self) -> estimation_pb2.RiskModel:
        """The model of risk in a request."""
        return estimation_pb2.RiskModel(method=RISK, factor_model_id=self.id)

    def vector(self, weights: Any) -> Floats:
        """Weights in the order of the names."""
        found = dict(weights)
        return np.array([found.get(name, 0.0) for name in self.names])


@pytest.fixture(scope="module", params=KINDS)
def known(service: OpenService, request: pytest.FixtureRequest) -> Known:
    calls = ModelCalls(service)
    model = calls.whole(calls.create(request.param, KINDS[request.param]).factor_model_id)
    names = [part.instrument_id for part in model.instruments]
    index = service.run(_stock(service, names))
    put_benchmark(service, "index", dict(zip(names, index.tolist(), strict=True)))
    return Known(model, index)


async def _stock(service: OpenService, names: list[str]) -> Floats:
    """Two portfolios, of all names and of every eighth one; gives the weights of all by capitalisation."""
    async with service.application.database.transaction() as connection:
        for name, held in (("all", names), ("few", names[::8])):
            holdings = tuple(Holding(instrument_id=one, quantity=Decimal(10)) for one in held)
            await PortfolioRepository(connection).put(Portfolio(id=name, name="", holdings=holdings))
        found = {one.id: one for one in await InstrumentRepository(connection).find(names)}
    caps = np.array([float(found[name].market_cap or 0) for name in names])
    assert (caps > 0).all()
    # Benchmarks are kept as decimals that add up to one.
    weights = np.round(caps / caps.sum(), 12)
    weights[0] += 1.0 - weights.sum()
    return np.round(weights, 12)


def request(known: Known, portfolio: str, objective: str = "minimize_risk", **fields: Any) -> Any:
    plain = {"optimization_type": "mean_variance", "risk_free_rate": RISK_FREE, "risk_model": known.risk}
    return pb.CreateOptimizationRequest(portfolio_id=portfolio, objective=objective, **{**plain, **fields})


@pytest.mark.parametrize("objective", ["minimize_risk", "maximize_sharpe"])
def test_factor_form_and_dense_covariance_have_one_optimum(service: OpenService, known: Known, objective: str) -> None:
    limits = Constraints(max_position_size=0.03, factor_model_id=known.id)
    limits.factor_limits.add(factor=known.factors[1], minimum=0.0, maximum=0.0)
    returns = estimation_pb2.ExpectedReturnsModel(method=RETURNS, factor_model_id=known.id)
    dense = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED)
    dense.covariance.instrument_ids.extend(known.names)
    dense.covariance.values.extend((0.5 * (known.Sigma + known.Sigma.T)).ravel().tolist())
    fields = {"constraints": limits, "expected_returns": returns}
    one, other = (
        completed(service, request(known, "all", objective, risk_model=risk, **fields)) for risk in (known.risk, dense)
    )
    w, v = known.vector(one.target_allocation), known.vector(other.target_allocation)
    np.testing.assert_allclose(w, v, atol=1e-7)
    assert one.certificate.objective_value == pytest.approx(other.certificate.objective_value, rel=1e-8)
    assert w @ known.B[:, 1] == pytest.approx(0.0, abs=1e-8)
    assert one.certificate.duality_gap <= 1e-6


def test_few_names_near_the_index(service: OpenService, known: Known) -> None:
    """The least tracking error of every eighth name against all of them, by the model, and by another solver."""
    terms = pb.CreateOptimizationRequest()
    terms.terms.add(kind="tracking_error", coefficient=-1.0)
    asked = request(known, "few", "", optimization_type="custom", terms=terms.terms, benchmark_id="index")
    answer = completed(service, asked)
    held = np.arange(0, len(known.names), 8)
    v = cp.Variable(len(held), nonneg=True)
    values, vectors = np.linalg.eigh(known.Phi)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * (vectors.T @ known.B.T)
    outside = np.setdiff1d(np.arange(len(known.names)), held)
    common = root[:, held] @ v - root @ known.index
    own = cp.multiply(np.sqrt(known.specific[held]), v - known.index[held])
    left = float(known.specific[outside] @ known.index[outside] ** 2)
    problem: Any = cp.Problem(cp.Minimize(cp.sum_squares(common) + cp.sum_squares(own)), [cp.sum(v) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    least = float(np.sqrt(problem.value + left))
    assert answer.metrics.tracking_error == pytest.approx(least, rel=1e-6)
    active = known.vector(answer.target_allocation) - known.index
    assert answer.active_factor_risk.volatility == pytest.approx(np.sqrt(active @ known.Sigma @ active), rel=1e-9)
    assert len(answer.active_factor_risk.instruments) == len(known.names)
