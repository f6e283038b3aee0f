"""Stored factor models as the risk and the expected returns of optimizations: the same numbers as by hand."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from portfolio_optimization.v1 import estimation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_examples import BENCHMARK, RISK, YEAR, Example, completed, request
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import RISK_FREE, Floats, Market, load_market

CAP = pb.OptimizationConstraints(max_position_size=0.2)


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module")
def model(service: OpenService, market: Market) -> Example:
    return examples.time_series(service, market)


@pytest.fixture(scope="module")
def given(service: OpenService, market: Market) -> Example:
    """A cross-sectional model."""
    return examples.by_style(service, market)


def parts_of(risk: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts by factor and by instrument."""
    return {part.factor: part for part in risk.factors}, {part.instrument_id: part for part in risk.instruments}


def check_parts(risk: Any, model: Example, w: Floats) -> None:
    """Every number of a risk taken apart, computed again."""
    volatility = float(np.sqrt(w @ model.Sigma @ w))
    x = model.B.T @ w
    by_factor = x * (model.Phi @ x) / volatility
    own = w**2 * model.specific / volatility
    common = w * (model.B @ model.Phi @ x) / volatility
    assert risk.volatility == pytest.approx(volatility, rel=1e-12)
    assert risk.factor_contribution == pytest.approx(by_factor.sum(), rel=1e-10)
    assert risk.specific_contribution == pytest.approx(own.sum(), rel=1e-10)
    assert risk.factor_contribution + risk.specific_contribution == pytest.approx(risk.volatility, rel=1e-14)
    factors, instruments = parts_of(risk)
    assert tuple(factors) == model.factors
    for k, name in enumerate(model.factors):
        assert factors[name].exposure == pytest.approx(x[k], abs=1e-12)
        assert factors[name].contribution == pytest.approx(by_factor[k], abs=1e-12)
    assert set(instruments) == {name for name, weight in zip(model.names, w, strict=True) if weight}
    for name, part in instruments.items():
        i = model.names.index(name)
        assert part.weight == pytest.approx(w[i], abs=1e-15)
        assert (part.factor_contribution, part.specific_contribution) == pytest.approx((common[i], own[i]), abs=1e-12)
    assert abs(risk.residual) <= 1e-14


@pytest.mark.parametrize("kind", ["model", "given"])
def test_the_risk_is_that_of_the_model_and_is_taken_apart(
    service: OpenService, market: Market, kind: str, request: pytest.FixtureRequest
) -> None:
    model: Example = request.getfixturevalue(kind)
    answer = completed(service, examples.request(risk_model=model.risk, benchmark_id=BENCHMARK))
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-12)
    assert answer.factor_risk.volatility == pytest.approx(answer.metrics.expected_volatility, rel=1e-14)
    check_parts(answer.factor_risk, model, w)
    active = w - market.vector(examples.benchmark_weights(service))
    check_parts(answer.active_factor_risk, model, active)
    assert answer.metrics.tracking_error == pytest.approx(answer.active_factor_risk.volatility, rel=1e-12)
    v = cp.Variable(len(w), nonneg=True)
    judge: Any = cp.Problem(cp.Minimize(cp.quad_form(v, cp.psd_wrap(model.Sigma))), [cp.sum(v) == 1, v <= 0.2])
    judge.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    np.testing.assert_allclose(w, v.value, atol=1e-5)
    assert w @ model.Sigma @ w <= judge.value * (1 + 1e-9)
    origin = answer.provenance
    assert (origin.factor_model_id, origin.expected_return_factor_model_id, origin.factor_set_id) == (model.id, "", "")


def test_a_set_of_factors_gives_what_its_regressions_kept_as_a_model_give(
    service: OpenService, market: Market, model: Example
) -> None:
    by_set = estimation_pb2.RiskModel(method=RISK)
    one, other = (completed(service, request(risk_model=risk)) for risk in (by_set, model.risk))
    w, v = (market.vector(dict(answer.target_allocation)) for answer in (one, other))
    np.testing.assert_allclose(w, v, atol=1e-8)
    check_parts(one.factor_risk, model, w)
    assert one.provenance.factor_set_id.startswith("fs-")
    assert not one.provenance.factor_model_id


@pytest.mark.parametrize("objective", ["minimize_risk", "maximize_utility", "maximize_sharpe", "maximize_return"])
@pytest.mark.parametrize("target_volatility", [0.0, 0.16])
def test_the_dense_covariance_gives_the_same_optimum(
    service: OpenService, market: Market, model: Example, objective: str, target_volatility: float
) -> None:
    limits = pb.OptimizationConstraints(max_position_size=0.15, target_volatility=target_volatility)
    dense = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_PROVIDED)
    dense.covariance.instrument_ids.extend(market.names)
    dense.covariance.values.extend((0.5 * (model.Sigma + model.Sigma.T)).ravel().tolist())
    one, other = (
        completed(service, request(objective, risk_model=risk, constraints=limits)) for risk in (model.risk, dense)
    )
    w, v = (market.vector(dict(answer.target_allocation)) for answer in (one, other))
    np.testing.assert_allclose(w, v, atol=1e-8)
    assert one.certificate.objective_value == pytest.approx(other.certificate.objective_value, rel=1e-9)
    assert not other.HasField("factor_risk")


def expected(service: OpenService, market: Market, **fields: Any) -> tuple[float, Floats, Any]:
    answer = completed(service, request("maximize_return", **fields))
    return answer.metrics.expected_return, market.vector(dict(answer.target_allocation)), answer


def test_expected_returns_are_exposures_times_premia(service: OpenService, market: Market, model: Example) -> None:
    past = YEAR * model.F.mean(axis=0)
    found, w, answer = expected(service, market, expected_returns=model.returns())
    mu = RISK_FREE + model.B @ past
    assert found == pytest.approx(w @ mu, rel=1e-12)
    order = np.argsort(-mu)[:5]
    assert {market.names[i] for i in order} == set(answer.target_allocation)
    assert answer.provenance.expected_return_factor_model_id == model.id
    assert not answer.provenance.factor_model_id
    assert not answer.HasField("factor_risk")
    premia = {model.factors[1]: 0.3}
    named = np.where(np.arange(len(past)) == 1, 0.3, past)
    found, w, _ = expected(service, market, expected_returns=model.returns(**premia))
    assert found == pytest.approx(w @ (RISK_FREE + model.B @ named), rel=1e-12)


def test_the_market_of_total_returns_earns_the_risk_free_rate_once(
    service: OpenService, market: Market, given: Example
) -> None:
    """Of a market with exposure 1, premium and risk-free rate add up to the mean of its total returns."""
    found, w, _ = expected(service, market, expected_returns=given.returns())
    assert found == pytest.approx(w @ given.B @ (YEAR * given.F.mean(axis=0)), rel=1e-12)
    found, w, _ = expected(service, market, expected_returns=given.returns(market=0.05))
    premia = np.array([0.05, YEAR * given.F[:, 1].mean()])
    assert found == pytest.approx(w @ (RISK_FREE + given.B @ premia), rel=1e-12)


def test_both_models_of_one_request_may_differ(
    service: OpenService, market: Market, model: Example, given: Example
) -> None:
    limits = pb.OptimizationConstraints(max_position_size=0.2, factor_model_id=given.id)
    limits.factor_limits.add(factor="style", minimum=0.5)
    asked = request("maximize_sharpe", risk_model=model.risk, expected_returns=given.returns(), constraints=limits)
    answer = completed(service, asked)
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-12)
    assert given.exposures(w)["style"] >= 0.5 - 1e-9
    origin = answer.provenance
    found = (origin.factor_model_id, origin.expected_return_factor_model_id, origin.constraints_factor_model_id)
    assert found == (model.id, given.id, given.id)
    again = service.call("GetOptimization", pb.GetOptimizationRequest(optimization_id=answer.optimization_id))
    assert again.factor_risk == answer.factor_risk
    assert again.request.risk_model == model.risk


def test_the_order_of_the_model_does_not_matter(service: OpenService, market: Market, model: Example) -> None:
    """A part of the portfolio's instruments, in any order, has the same risk as among all."""
    names = sorted(market.names, reverse=True)[:12]
    limits = pb.OptimizationConstraints(max_position_size=0.2, max_weights=dict.fromkeys(market.names[:8], 0.0))
    answer = completed(service, request(risk_model=model.risk, instrument_ids=names, constraints=limits))
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ model.Sigma @ w), rel=1e-12)
