"""Money spread over trading strategies: instruments with return histories, capacities and correlations of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import pytest
from data_examples import Prices, instrument, price_block, price_header
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2, instruments_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from portfolio_optimization.v1 import portfolio_data_pb2 as data_pb2
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub

from tests.integration.server.open_service import OpenService, copied_database, open_service

Floats = npt.NDArray[np.float64]

VALUE = 20_000_000
DAYS = 500
LEVEL = 0.95
# Money that each strategy can take before its returns suffer.
CAPACITY = {
    "arbitrage": 1_000_000,
    "carry": 5_000_000,
    "trend-fast": 6_000_000,
    "trend-slow": 20_000_000,
    "value": 20_000_000,
    "volatility-selling": 2_000_000,
}
NAMES = tuple(sorted(CAPACITY))
CAPS = np.array([CAPACITY[name] / VALUE for name in NAMES])
SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
LIMITS = pb.OptimizationConstraints(max_weights=dict(zip(NAMES, CAPS.tolist(), strict=True)))
EXACT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def histories() -> dict[str, Floats]:
    """Daily values of a unit of each strategy: two that follow trends, one that earns until it loses much."""
    rng = np.random.default_rng(2024)
    trend = rng.normal(0.0004, 0.007, DAYS)
    crashes = np.where(rng.uniform(size=DAYS) < 0.015, 0.05, 0.0)
    returns = {
        "arbitrage": rng.normal(0.0003, 0.002, DAYS),
        "carry": rng.normal(0.0003, 0.004, DAYS) - 0.3 * crashes,
        "trend-fast": trend + rng.normal(0.0, 0.003, DAYS),
        "trend-slow": trend + rng.normal(0.0001, 0.004, DAYS),
        "value": rng.normal(0.0003, 0.006, DAYS) - 0.2 * trend,
        "volatility-selling": 0.001 + rng.normal(0.0, 0.003, DAYS) - crashes,
    }
    return {name: np.append(100.0, 100.0 * np.cumprod(1.0 + r)) for name, r in returns.items()}


def returns() -> Floats:
    closes = np.column_stack([histories()[name] for name in NAMES])
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def covariance() -> Floats:
    return np.asarray(252.0 * np.cov(returns(), rowvar=False))


def loads() -> list[Prices]:
    days = np.busday_offset("2022-01-03", np.arange(DAYS + 1)).astype(str).tolist()
    return [price_header(days), price_block(**{name: closes.tolist() for name, closes in histories().items()})]


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    """The service, with the strategies and money to spread over them."""
    with copied_database(postgres_server, template_database) as url, open_service(url, load_sample=False) as service:
        service.run(load(PortfolioDataServiceStub(service.channel)))
        yield service


async def load(data: Any) -> None:
    """Everything by calls, as a manager of strategies would."""
    strategies = [
        instrument(
            name,
            name=f"Strategy {name}",
            asset_class="strategy",
            sector="Trend" if name.startswith("trend") else "Other",
            status=instruments_pb2.INSTRUMENT_STATUS_ACTIVE,
        )
        for name in NAMES
    ]
    await data.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=strategies))
    await data.LoadPricingPack(iter(loads()))
    fund = data_pb2.Portfolio(portfolio_id="fund", base_currency="USD", cash_amount=str(VALUE))
    await data.PutPortfolio(data_pb2.PutPortfolioRequest(portfolio=fund))


def allocated(service: OpenService, kind: str, **fields: Any) -> tuple[Any, Floats]:
    """The answer, and the weights in the order of the names, within all capacities."""
    plain = {
        "portfolio_id": "fund",
        "optimization_type": kind,
        "instrument_ids": NAMES,
        "risk_model": SAMPLE,
        "constraints": LIMITS,
    }
    answer = service.optimize(pb.CreateOptimizationRequest(**{**plain, **fields}))
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.max_violation <= 1e-8
    w = np.array([answer.target_allocation.get(name, 0.0) for name in NAMES])
    assert w.sum() == pytest.approx(1.0, abs=1e-8)
    assert (w <= CAPS + 1e-8).all()
    return answer, w


def solved(problem: Any) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=cp.CLARABEL, **EXACT)
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


def in_proportion() -> tuple[Any, list[Any]]:
    """Weights up to a scale, within the capacities, with a volatility of at most one."""
    y = cp.Variable(len(NAMES), nonneg=True)
    return y, [cp.norm(np.linalg.cholesky(covariance()).T @ y) <= 1, y <= CAPS * cp.sum(y)]


def test_the_most_diversified(service: OpenService) -> None:
    answer, w = allocated(service, "maximum_diversification")
    y, rows = in_proportion()
    best = solved(cp.Problem(cp.Maximize(np.sqrt(np.diag(covariance())) @ y), rows))
    assert answer.diversification_ratio == pytest.approx(best, rel=1e-7)
    np.testing.assert_allclose(w, y.value / y.value.sum(), atol=1e-5)
    full = {report.name for report in answer.constraints if report.binding}
    assert "max_weights[arbitrage]" in full, "the one that is apart from all others is used up"


def test_equal_risks_as_far_as_capacities_allow(service: OpenService) -> None:
    """The nearest to equal shares: the least risk for the same geometric mean of weights."""
    answer, w = allocated(service, "risk_parity")
    y, rows = in_proportion()
    solved(cp.Problem(cp.Maximize(cp.sum(cp.log(y))), rows))
    np.testing.assert_allclose(w, y.value / y.value.sum(), atol=1e-5)
    assert not answer.risk_budgeting.attained
    assert answer.risk_budgeting.distance >= answer.risk_budgeting.distance_bound > 0.0


def test_the_least_tail_loss(service: OpenService) -> None:
    fields = {"objective": "minimize_risk", "risk_measure": "cvar", "confidence_level": LEVEL}
    answer, _ = allocated(service, "mean_variance", **fields)
    w, tail = cp.Variable(len(NAMES), nonneg=True), (1.0 - LEVEL) * DAYS
    losses = -returns() @ w
    best = solved(cp.Problem(cp.Minimize(cp.sum_largest(losses, tail) / tail), [cp.sum(w) == 1, w <= CAPS]))
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    limited = pb.OptimizationConstraints(
        max_weights=LIMITS.max_weights, risk_limits=constraints_pb2.RiskLimits(max_cvar=1.05 * best)
    )
    answer, _ = allocated(service, "maximum_diversification", constraints=limited)
    assert answer.risk_values["cvar"] <= 1.05 * best * (1 + 1e-8)


def test_the_tree_shows_which_are_alike(service: OpenService) -> None:
    answer, _ = allocated(service, "hierarchical_risk_parity")
    leaves = list(answer.reference.dendrogram.leaves)
    assert sorted(leaves) == list(NAMES)
    assert abs(leaves.index("trend-fast") - leaves.index("trend-slow")) == 1
    assert answer.reference.distance > 0.0, "capacities are below what the tree gives"
