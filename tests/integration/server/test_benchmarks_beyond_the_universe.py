"""Benchmarks with members that the universe does not have: a stored factor model tells the tracking error of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import estimation_pb2, factors_pb2, objectives_pb2, rebalancing_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, Example, completed, request
from tests.integration.server.open_service import OpenService, sample_service, violations
from tests.integration.server.sample_market import Market, load_market

SHARES = {"AAPL": 40, "JPM": 30, "KO": 60, "XOM": 50}
# Without prices of its own.
WEIGHTS = {"AAPL": 0.25, "MSFT": 0.25, "KO": 0.2, "GE": 0.1, "PFE": 0.2}
EXACT = {"solver": cp.CLARABEL, "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
Constraints = pb.OptimizationConstraints


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with sample_service(postgres_server, template_database) as service:
        examples.put_benchmark(service, "own", WEIGHTS)
        yield service


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module")
def model(service: OpenService, market: Market) -> Example:
    return examples.time_series(service, market)


@pytest.fixture(scope="module")
def portfolio(service: OpenService) -> str:
    return examples.put_portfolio(service, SHARES)


@pytest.fixture(scope="module")
def held(market: Market) -> list[int]:
    return [market.names.index(name) for name in sorted(SHARES)]


def asked_for(portfolio: str, model: Example, objective: str = "minimize_risk", **fields: Any) -> Any:
    plain = {"benchmark_id": "own", "constraints": Constraints()}
    return request(objective, portfolio_id=portfolio, risk_model=model.risk, **{**plain, **fields})


def error_of(market: Market, model: Example, allocation: Any, weights: dict[str, float]) -> float:
    active = market.vector(dict(allocation)) - market.vector(weights)
    return float(np.sqrt(active @ model.Sigma @ active))


def best(market: Market, model: Example, held: list[int], goal: str, limit: float | None = None) -> float:
    """Of long portfolios of what is held, by another solver: least volatility, or least tracking error."""
    n = len(market.names)
    v = cp.Variable(len(held), nonneg=True)
    w: Any = np.eye(n)[:, held] @ v
    root = np.linalg.cholesky(model.Sigma).T
    off = cp.norm(root @ (w - market.vector(WEIGHTS)))
    limits = [cp.sum(v) == 1, *([] if limit is None else [off <= limit])]
    problem: Any = cp.Problem(cp.Minimize(off if goal == "error" else cp.norm(root @ w)), limits)
    problem.solve(**EXACT)
    assert problem.status == cp.OPTIMAL
    return float(problem.value)


def test_the_least_tracking_error(
    service: OpenService, market: Market, model: Example, portfolio: str, held: list[int]
) -> None:
    terms = [objectives_pb2.ObjectiveTerm(kind="tracking_error", coefficient=-1.0)]
    answer = completed(service, asked_for(portfolio, model, "", optimization_type="custom", terms=terms))
    least = best(market, model, held, "error")
    assert answer.metrics.tracking_error == pytest.approx(least, rel=1e-7)
    assert -answer.certificate.objective_value == pytest.approx(least, rel=1e-7)
    assert error_of(market, model, answer.target_allocation, WEIGHTS) == pytest.approx(least, rel=1e-7)
    assert answer.certificate.duality_gap <= 1e-6


def test_a_limit_on_it(service: OpenService, market: Market, model: Example, portfolio: str, held: list[int]) -> None:
    limit = 1.02 * best(market, model, held, "error")
    answer = completed(service, asked_for(portfolio, model, constraints=Constraints(max_tracking_error=limit)))
    found = error_of(market, model, answer.target_allocation, WEIGHTS)
    assert found <= limit * (1 + 1e-7)
    assert answer.metrics.expected_volatility == pytest.approx(best(market, model, held, "risk", limit), rel=1e-6)
    report = next(r for r in answer.constraints if r.name == "max_tracking_error")
    assert report.binding
    assert report.value == pytest.approx(found, rel=1e-9)
    impossible = asked_for(portfolio, model, constraints=Constraints(max_tracking_error=0.9 * limit))
    refusal = service.optimize(impossible)
    assert refusal.status == "infeasible"
    assert "max_tracking_error" in refusal.infeasibility.conflicting_constraints


def test_it_is_taken_apart_with_the_members_that_are_not_held(
    service: OpenService, market: Market, model: Example, portfolio: str
) -> None:
    answer = completed(service, asked_for(portfolio, model))
    active = market.vector(dict(answer.target_allocation)) - market.vector(WEIGHTS)
    risk = answer.active_factor_risk
    assert risk.volatility == pytest.approx(np.sqrt(active @ model.Sigma @ active), rel=1e-12)
    assert risk.volatility == pytest.approx(answer.metrics.tracking_error, rel=1e-9)
    weights = {part.instrument_id: part.weight for part in risk.instruments}
    assert weights == pytest.approx({n: a for n, a in zip(market.names, active.tolist(), strict=True) if a}, abs=1e-15)
    assert sum(part.contribution for part in risk.instruments) == pytest.approx(risk.volatility, rel=1e-12)
    parts = active * (model.Sigma @ active) / risk.volatility
    for part in risk.instruments:
        assert part.contribution == pytest.approx(parts[market.names.index(part.instrument_id)], abs=1e-12)


def test_it_is_that_of_an_analysis(service: OpenService, market: Market, model: Example, portfolio: str) -> None:
    stay = Constraints(max_trade_size=0.0, max_cash_weight=1.0)
    answer = completed(service, asked_for(portfolio, model, constraints=stay, benchmark_id=BENCHMARK))
    analysis = service.call(
        "AnalyzeFactorExposures",
        factors_pb2.FactorExposureRequest(
            portfolio_id=portfolio, factor_model_id=model.id, benchmark_id=BENCHMARK, include_instruments=True
        ),
    )
    assert answer.active_factor_risk.volatility == pytest.approx(analysis.active_risk.volatility, rel=1e-12)
    assert answer.metrics.tracking_error == pytest.approx(analysis.active_risk.volatility, rel=1e-9)
    mine, theirs = (
        {part.instrument_id: part.contribution for part in risk.instruments}
        for risk in (answer.active_factor_risk, analysis.active_risk)
    )
    assert mine == pytest.approx(theirs, abs=1e-12)


def test_the_return_is_that_of_its_prices(service: OpenService, market: Market, model: Example, portfolio: str) -> None:
    """An information ratio needs the benchmark's return, which weights beyond the universe do not tell."""
    answer = completed(service, asked_for(portfolio, model, "maximize_information_ratio", benchmark_id=BENCHMARK))
    error = error_of(market, model, answer.target_allocation, examples.benchmark_weights(service))
    assert answer.metrics.tracking_error == pytest.approx(error, rel=1e-9)
    ratio = answer.metrics.information_ratio
    assert ratio == pytest.approx(answer.certificate.objective_value, rel=1e-6)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", asked_for(portfolio, model, "maximize_information_ratio"))
    assert "MSFT" in violations(caught.value)["objective"]


@pytest.mark.parametrize("what", ["another risk model", "a member that the model lacks", "views", "periods"])
def test_without_a_model_of_its_own_the_members_must_be_held(
    service: OpenService, market: Market, model: Example, portfolio: str, what: str
) -> None:
    asked = asked_for(portfolio, model, constraints=Constraints(max_tracking_error=0.3))
    if what == "another risk model":
        asked.ClearField("risk_model")
    elif what == "a member that the model lacks":
        asked.risk_model.CopyFrom(examples.time_series(service, market, without=["PFE"]).risk)
    elif what == "views":
        asked.optimization_type = "black_litterman"
        view = estimation_pb2.View(name="KO", weights={"KO": 1.0}, expected_return=0.05)
        asked.black_litterman.views.append(view)
    else:
        asked.optimization_type = "multi_period"
        asked.multi_period.periods.add()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", asked)
    found = violations(caught.value)
    assert set(found) == {"constraints.max_tracking_error"}
    assert "PFE" in found["constraints.max_tracking_error"]


def test_a_plan_keeps_it(service: OpenService, market: Market, model: Example, portfolio: str, held: list[int]) -> None:
    """After the trades, in whole shares."""
    limit = 1.1 * best(market, model, held, "error")
    loose = Constraints(max_cash_weight=0.05)
    plan = service.call(
        "GenerateRebalancePlan",
        rebalancing_pb2.RebalancePlanRequest(
            portfolio_id=portfolio,
            target_type="optimal",
            optimization=asked_for(portfolio, model, constraints=loose),
            constraints=rebalancing_pb2.RebalanceConstraints(max_tracking_error=limit, tracking_benchmark_id="own"),
            validate_only=True,
        ),
    )
    found = error_of(market, model, plan.planned_allocation, WEIGHTS)
    assert found <= limit * (1 + 1e-6)
    assert plan.metrics.tracking_error_after == pytest.approx(found, rel=1e-6)
