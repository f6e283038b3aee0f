"""Limits by a stored factor model: exposures, shares of factors in the risk, tracking error, factor portfolios."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from kernel.factors.mimicking import factor_portfolios
from kernel.factors.model import FactorModel
from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, Example, completed, request
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import Floats, Market, load_market

Constraints, FactorLimit, RiskBudget = (
    pb.OptimizationConstraints,
    constraints_pb2.FactorLimit,
    constraints_pb2.RiskBudget,
)
EXACT = {"solver": cp.CLARABEL, "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module")
def model(service: OpenService, market: Market) -> Example:
    return examples.time_series(service, market)


@pytest.fixture(scope="module")
def benchmark(service: OpenService, market: Market) -> Floats:
    return market.vector(examples.benchmark_weights(service))


def least_variance(model: Example, *limits: Any) -> float:
    """Of long portfolios with at most a fifth in each stock, by another solver."""
    v = limits[0]
    variance = cp.sum_squares(np.linalg.cholesky(model.Sigma).T @ v)
    problem: Any = cp.Problem(cp.Minimize(variance), [cp.sum(v) == 1, v >= 0, v <= 0.2, *limits[1:]])
    problem.solve(**EXACT)
    assert problem.status == cp.OPTIMAL
    return float(np.sqrt(problem.value))


@pytest.mark.parametrize("relative", [False, True])
def test_exposures_stay_within_their_limits(
    service: OpenService, market: Market, model: Example, benchmark: Floats, relative: bool
) -> None:
    """One factor neutral, one bounded, each of the weights or of the weights less the benchmark's."""
    limits = Constraints(
        max_position_size=0.2,
        factor_model_id=model.id,
        factor_limits=[
            FactorLimit(factor="momentum", minimum=0.0, maximum=0.0, relative_to_benchmark=relative),
            FactorLimit(factor="size", minimum=0.02, relative_to_benchmark=relative),
        ],
    )
    answer = completed(service, request(risk_model=model.risk, constraints=limits, benchmark_id=BENCHMARK))
    w, shift = market.vector(dict(answer.target_allocation)), benchmark if relative else np.zeros(len(benchmark))
    x = model.exposures(w - shift)
    assert x["momentum"] == pytest.approx(0.0, abs=1e-9)
    assert x["size"] >= 0.02 - 1e-9
    v = cp.Variable(len(w))
    B = dict(zip(model.factors, model.B.T, strict=True))
    best = least_variance(model, v, B["momentum"] @ (v - shift) == 0, B["size"] @ (v - shift) >= 0.02)
    assert answer.metrics.expected_volatility == pytest.approx(best, rel=1e-8)
    names = {report.name for report in answer.constraints}
    assert {"factor_limits[momentum]", "factor_limits[size].minimum"} <= names


def test_the_price_of_an_exposure_is_what_one_more_brings(service: OpenService, model: Example) -> None:
    def answer(least: float) -> Any:
        limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
        limits.factor_limits.add(factor="size", minimum=least)
        return completed(service, request(risk_model=model.risk, constraints=limits))

    report = next(r for r in answer(0.1).constraints if r.name == "factor_limits[size].minimum")
    slope = (answer(0.1001).certificate.objective_value - answer(0.0999).certificate.objective_value) / 2e-4
    assert report.binding
    assert report.shadow_price == pytest.approx(slope, rel=1e-3)


def test_exposures_out_of_reach_are_named(service: OpenService, market: Market, model: Example) -> None:
    most = float(np.sort(model.B[:, model.factors.index("momentum")])[-5:].mean())
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    limits.factor_limits.add(factor="momentum", minimum=most + 0.1)
    answer = service.optimize(request(risk_model=model.risk, constraints=limits))
    assert answer.status == "infeasible"
    assert "factor_limits[momentum].minimum" in answer.infeasibility.conflicting_constraints
    relaxed = {r.name: r for plan in answer.infeasibility.alternatives for r in plan.relaxations}
    own = relaxed["factor_limits[momentum].minimum"]
    assert own.relaxed_limit == pytest.approx(most, abs=1e-6)


def shares_of(model: Example, w: Floats) -> dict[str, float]:
    """Of the factors in the variance."""
    x = model.B.T @ w
    return dict(zip(model.factors, (x * (model.Phi @ x) / (w @ model.Sigma @ w)).tolist(), strict=True))


def test_a_factor_carries_no_more_than_its_share(service: OpenService, market: Market, model: Example) -> None:
    free = completed(service, request(risk_model=model.risk))
    before = shares_of(model, market.vector(dict(free.target_allocation)))
    factor, share = max(before.items(), key=lambda item: item[1])
    limits = Constraints(max_position_size=0.2, risk_budgets=[RiskBudget(factor=factor, max_share=0.8 * share)])
    answer = completed(service, request(risk_model=model.risk, constraints=limits))
    after = shares_of(model, market.vector(dict(answer.target_allocation)))
    assert after[factor] <= 0.8 * share + 1e-8
    part = next(part for part in answer.factor_risk.factors if part.factor == factor)
    assert part.percent == pytest.approx(100.0 * after[factor], rel=1e-9)
    report = next(r for r in answer.constraints if r.name == f"risk_budgets[{factor}].max_share")
    assert (report.unit, report.limit) == ("risk share", pytest.approx(0.8 * share))
    assert report.value == pytest.approx(after[factor], rel=1e-9)
    assert answer.certificate.best_bound <= answer.certificate.objective_value
    assert answer.certificate.best_bound == pytest.approx(free.certificate.objective_value, rel=1e-6)


def test_a_set_of_factors_has_shares_too(service: OpenService, market: Market, model: Example) -> None:
    """The newest set over the same days is the same model."""
    risk = model.risk
    risk.factor_model_id = ""
    limits = Constraints(max_position_size=0.2, risk_budgets=[RiskBudget(factor="minimum_volatility", max_share=0.3)])
    answer = completed(service, request(risk_model=risk, constraints=limits))
    assert shares_of(model, market.vector(dict(answer.target_allocation)))["minimum_volatility"] <= 0.3 + 1e-8


def test_the_tracking_error_is_that_of_the_model(
    service: OpenService, market: Market, model: Example, benchmark: Floats
) -> None:
    """The benchmark has a price series as well, which counts for all other models."""
    limits = Constraints(max_position_size=0.2, max_tracking_error=0.05)
    fields = {"constraints": limits, "benchmark_id": BENCHMARK}
    answer = completed(service, request("minimize_risk", risk_model=model.risk, **fields))
    active = market.vector(dict(answer.target_allocation)) - benchmark
    found = float(np.sqrt(active @ model.Sigma @ active))
    assert found == pytest.approx(0.05, rel=1e-6)
    assert answer.metrics.tracking_error == pytest.approx(found, rel=1e-9)
    assert answer.active_factor_risk.volatility == pytest.approx(found, rel=1e-9)
    v = cp.Variable(len(active))
    off = cp.norm(np.linalg.cholesky(model.Sigma).T @ (v - benchmark))
    assert answer.metrics.expected_volatility == pytest.approx(least_variance(model, v, off <= 0.05), rel=1e-6)
    by_series = completed(service, request("minimize_risk", **fields))
    other = market.vector(dict(by_series.target_allocation)) - benchmark
    assert by_series.metrics.tracking_error != pytest.approx(np.sqrt(other @ model.Sigma @ other), rel=1e-3)


def test_the_information_ratio_is_that_of_the_model(
    service: OpenService, market: Market, model: Example, benchmark: Floats
) -> None:
    asked = request("maximize_information_ratio", risk_model=model.risk, expected_returns=model.returns())
    asked.benchmark_id = BENCHMARK
    answer = completed(service, asked)
    active = market.vector(dict(answer.target_allocation)) - benchmark
    mu = model.B @ (252.0 * model.F.mean(axis=0))
    ratio = mu @ active / np.sqrt(active @ model.Sigma @ active)
    assert answer.metrics.information_ratio == pytest.approx(ratio, rel=1e-6)
    assert answer.certificate.objective_value == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("factor", ["momentum", "size"])
def test_a_factor_portfolio_by_optimization_is_that_in_closed_form(
    service: OpenService, market: Market, model: Example, factor: str
) -> None:
    """Exposure one to the factor and none to others, cash pays: the least variance is the least specific one."""
    limits = Constraints(allow_short=True, min_cash_weight=-10.0, max_cash_weight=10.0, factor_model_id=model.id)
    for name in model.factors:
        wanted = float(name == factor)
        limits.factor_limits.add(factor=name, minimum=wanted, maximum=wanted)
    answer = completed(
        service, request("", optimization_type="minimum_variance", risk_model=model.risk, constraints=limits)
    )
    w = market.vector(dict(answer.target_allocation))
    weighted = model.B / model.specific[:, None]
    closed = weighted @ np.linalg.inv(model.B.T @ weighted)
    np.testing.assert_allclose(w, closed[:, model.factors.index(factor)], atol=1e-7)
    kernel = factor_portfolios(FactorModel(model.factors, model.names, model.B, model.Phi, model.specific), [factor])
    np.testing.assert_allclose(w, kernel.W[:, 0], atol=1e-7)
    shares = {part.factor: part.exposure for part in answer.factor_risk.factors}
    assert shares == pytest.approx({name: float(name == factor) for name in model.factors}, abs=1e-8)
