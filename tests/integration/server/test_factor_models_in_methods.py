"""Stored factor models in every kind of optimization, in frontiers and in plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from portfolio_optimization.v1 import (
    entropy_pooling_pb2,
    estimation_pb2,
    frontier_pb2,
    multi_period_pb2,
    objectives_pb2,
    rebalancing_pb2,
    risk_budgeting_pb2,
    robustness_pb2,
)
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, RISK, Example, completed, request
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Market, load_market

Constraints = pb.OptimizationConstraints


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module")
def model(service: OpenService, market: Market) -> Example:
    return examples.time_series(service, market)


def volatility(model: Example, market: Market, weights: Any) -> float:
    w = market.vector(dict(weights))
    return float(np.sqrt(w @ model.Sigma @ w))


def test_a_frontier_and_its_stream(service: OpenService, market: Market, model: Example) -> None:
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    limits.factor_limits.add(factor="size", minimum=0.0, maximum=0.0)
    asked = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=PORTFOLIO,
        points=6,
        risk_free_rate=RISK_FREE,
        risk_model=model.risk,
        expected_returns=model.returns(),
        constraints=limits,
    )
    whole = service.call("GenerateEfficientFrontier", asked)
    assert whole.provenance.factor_model_id == model.id
    assert whole.provenance.constraints_factor_model_id == model.id
    mu = RISK_FREE + model.B @ (252.0 * model.F.mean(axis=0))
    assert len(whole.efficient_frontier) == 6
    for point in whole.efficient_frontier:
        w = market.vector(dict(point.weights))
        assert point.risk == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-9)
        assert getattr(point, "return") == pytest.approx(w @ mu, rel=1e-9)
        assert model.exposures(w)["size"] == pytest.approx(0.0, abs=1e-7)
    parts = service.stream("StreamEfficientFrontier", frontier_pb2.StreamEfficientFrontierRequest(frontier=asked))
    risks = sorted(part.point.risk for part in parts[:-1])
    assert risks == [point.risk for point in whole.efficient_frontier]


def test_a_plan_to_the_optimum_of_a_model(service: OpenService, market: Market, model: Example) -> None:
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id, max_cash_weight=0.02)
    limits.factor_limits.add(factor="momentum", minimum=0.0, maximum=0.0)
    asked = request(risk_model=model.risk, constraints=limits)
    best = completed(service, asked)
    plan = service.call(
        "GenerateRebalancePlan",
        rebalancing_pb2.RebalancePlanRequest(
            portfolio_id=PORTFOLIO, target_type="optimal", optimization=asked, validate_only=True
        ),
    )
    np.testing.assert_allclose(
        market.vector(dict(plan.target_allocation)), market.vector(dict(best.target_allocation)), atol=1e-6
    )
    assert plan.provenance.factor_model_id == model.id
    assert plan.provenance.constraints_factor_model_id == model.id
    before, after = (volatility(model, market, part) for part in (plan.current_allocation, plan.planned_allocation))
    assert plan.metrics.expected_improvement.risk == pytest.approx(after - before, rel=1e-6)


def test_budgets_of_factors_take_exposures_of_the_model(service: OpenService, market: Market) -> None:
    given = examples.by_style(service, market)
    budgets = risk_budgeting_pb2.RiskBudgeting(factor_budgets={"market": 3.0, "style": 1.0})
    limits = Constraints(allow_short=True, factor_model_id=given.id)
    asked = request("", optimization_type="risk_parity", risk_budgeting=budgets, constraints=limits)
    asked.risk_model.CopyFrom(given.risk)
    answer = completed(service, asked)
    w = market.vector(dict(answer.target_allocation))
    slopes = np.linalg.lstsq(given.B, given.Sigma @ w)[0]
    np.testing.assert_allclose((given.B.T @ w) * slopes / (w @ given.Sigma @ w), [0.75, 0.25], rtol=1e-8)
    assert answer.factor_risk.volatility == pytest.approx(volatility(given, market, answer.target_allocation), rel=1e-9)


def test_a_term_of_exposure(service: OpenService, market: Market, model: Example) -> None:
    """The size of an exposure as a penalty: none is left where it costs enough."""
    Term = objectives_pb2.ObjectiveTerm
    terms = [
        Term(kind="variance", coefficient=-1.0),
        Term(kind="factor_exposure_size", factor="momentum", coefficient=-10.0),
    ]
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    answer = completed(
        service, request("", optimization_type="custom", terms=terms, risk_model=model.risk, constraints=limits)
    )
    w = market.vector(dict(answer.target_allocation))
    assert model.exposures(w)["momentum"] == pytest.approx(0.0, abs=1e-7)


def test_exposures_that_err_by_their_regressions(service: OpenService, market: Market, model: Example) -> None:
    """The days behind the model's regressions are those of its own factor returns, as with the set."""
    factor = robustness_pb2.CovarianceUncertainty(shape=robustness_pb2.UNCERTAINTY_SHAPE_FACTOR, confidence=0.9)
    robust = {"optimization_type": "robust", "robustness": robustness_pb2.Robustness(covariance=factor)}
    by_set = estimation_pb2.RiskModel(method=RISK)
    one, other = (completed(service, request(risk_model=risk, **robust)) for risk in (model.risk, by_set))
    assert one.robust.worst_risk == pytest.approx(other.robust.worst_risk, rel=1e-9)
    assert one.robust.rules == other.robust.rules
    assert one.robust.nominal_risk == pytest.approx(volatility(model, market, one.target_allocation), rel=1e-9)


def test_views_upon_a_model(service: OpenService, market: Market, model: Example) -> None:
    """The equilibrium is that of the model's covariance; the posterior's covariance is not of factors any more."""
    views = estimation_pb2.BlackLitterman(views=[estimation_pb2.View(name="KO", weights={"KO": 1.0})])
    views.views[0].expected_return = 0.06
    asked = request(
        "maximize_sharpe", optimization_type="black_litterman", black_litterman=views, risk_model=model.risk
    )
    answer = completed(service, asked)
    shares = market.vector(dict(answer.black_litterman.market_weights))
    prior = market.vector(dict(answer.black_litterman.prior_returns))
    np.testing.assert_allclose(prior, 2.5 * model.Sigma @ shares, rtol=1e-9)
    assert answer.provenance.factor_model_id == model.id
    assert not answer.HasField("factor_risk")


def test_a_plan_over_periods(service: OpenService, market: Market, model: Example) -> None:
    """One period of a year is the single-period optimum."""
    plan = multi_period_pb2.MultiPeriod(periods=[multi_period_pb2.PlanPeriod(days=252)])
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    limits.factor_limits.add(factor="quality", maximum=0.1)
    fields = {"risk_model": model.risk, "expected_returns": model.returns(), "constraints": limits}
    one = completed(service, request("maximize_utility", **fields))
    other = completed(
        service, request("maximize_utility", optimization_type="multi_period", multi_period=plan, **fields)
    )
    w, v = (market.vector(dict(answer.target_allocation)) for answer in (one, other))
    np.testing.assert_allclose(w, v, atol=1e-6)
    assert other.factor_risk.volatility == pytest.approx(volatility(model, market, other.target_allocation), rel=1e-9)


def test_exposures_beside_other_moments(service: OpenService, market: Market, model: Example) -> None:
    """The covariance of views on the distribution is not the model's; its exposures are limits all the same."""
    views = entropy_pooling_pb2.EntropyPooling()
    view = views.views.add(name="KO")
    view.mean.weights["KO"], view.mean.value = 1.0, 0.08
    limits = Constraints(max_position_size=0.2, factor_model_id=model.id)
    limits.factor_limits.add(factor="value", minimum=0.1, maximum=0.1)
    answer = completed(service, request("maximize_sharpe", entropy_pooling=views, constraints=limits))
    assert model.exposures(market.vector(dict(answer.target_allocation)))["value"] == pytest.approx(0.1, abs=1e-8)
    assert answer.provenance.constraints_factor_model_id == model.id
    assert not answer.HasField("factor_risk")


@pytest.mark.parametrize("kind", ["hierarchical_risk_parity", "maximum_diversification", "inverse_volatility"])
def test_methods_that_only_need_a_covariance(service: OpenService, market: Market, model: Example, kind: str) -> None:
    dense = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED)
    dense.covariance.instrument_ids.extend(market.names)
    dense.covariance.values.extend((0.5 * (model.Sigma + model.Sigma.T)).ravel().tolist())
    one, other = (
        completed(service, request("", optimization_type=kind, risk_model=risk)) for risk in (model.risk, dense)
    )
    w, v = (market.vector(dict(answer.target_allocation)) for answer in (one, other))
    np.testing.assert_allclose(w, v, atol=1e-7)
    assert one.factor_risk.volatility == pytest.approx(volatility(model, market, one.target_allocation), rel=1e-12)


def test_history_too_short_for_an_estimate_is_enough_for_stored_models(service: OpenService, model: Example) -> None:
    """Both moments are known: the pack needs prices, and not two months of them."""
    fields = {"lookback_days": 3, "benchmark_id": BENCHMARK}
    both = request(risk_model=model.risk, expected_returns=model.returns(), **fields)
    assert completed(service, both).provenance.observations == 3
    assert DAYS > 3
