"""One stored factor model gives the same numbers in an analysis, in an optimization and in its factor portfolios."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from portfolio_optimization.v1 import factor_model_service_pb2, factors_pb2
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server import factor_model_examples as examples
from tests.integration.server.factor_model_calls import ModelCalls
from tests.integration.server.factor_model_examples import BENCHMARK, RISK, completed, request
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import PORTFOLIO, Market, load_market

Specification, Kind = models_pb.FactorModelSpecification, dict[str, models_pb.FactorModelSpecification]
KINDS: Kind = {
    "time series": Specification(time_series=models_pb.TimeSeriesModel(), factor_half_life_days=126.0),
    "cross section": Specification(
        cross_sectional=models_pb.CrossSectionalModel(styles=[models_pb.STYLE_MOMENTUM, models_pb.STYLE_VOLATILITY])
    ),
    "statistical": Specification(
        statistical=models_pb.StatisticalModel(count_rule=models_pb.FACTOR_COUNT_RULE_FIXED, factor_count=3)
    ),
}
LIMITS = pb.OptimizationConstraints(max_cash_weight=1.0, max_trade_size=0.0)


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


@pytest.fixture(scope="module", params=KINDS)
def model(service: OpenService, request: pytest.FixtureRequest) -> models_pb.FactorModel:
    calls = ModelCalls(service)
    return calls.whole(calls.create(request.param, KINDS[request.param]).factor_model_id)


def with_model(model: models_pb.FactorModel, objective: str = "minimize_risk", **fields: Any) -> Any:
    asked = request(objective, lookback_days=0, **fields)
    asked.risk_model.method, asked.risk_model.factor_model_id = RISK, model.factor_model_id
    return asked


def same(one: Any, other: Any) -> None:
    """Two risks taken apart are the same to the last digits."""
    for name in ("volatility", "factor_contribution", "specific_contribution"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12)
    assert [part.factor for part in one.factors] == [part.factor for part in other.factors]
    for mine, yours in zip(one.factors, other.factors, strict=True):
        for name in ("exposure", "factor_volatility", "correlation", "contribution", "percent"):
            assert getattr(mine, name) == pytest.approx(getattr(yours, name), rel=1e-9, abs=1e-12)
    assert [part.instrument_id for part in one.instruments] == [part.instrument_id for part in other.instruments]
    for mine, yours in zip(one.instruments, other.instruments, strict=True):
        for name in ("weight", "factor_contribution", "specific_contribution", "contribution", "percent"):
            assert getattr(mine, name) == pytest.approx(getattr(yours, name), rel=1e-9, abs=1e-12)


def test_the_present_weights_have_the_same_risk_in_both(service: OpenService, model: models_pb.FactorModel) -> None:
    asked = factors_pb2.FactorExposureRequest(
        portfolio_id=PORTFOLIO,
        factor_model_id=model.factor_model_id,
        benchmark_id=BENCHMARK,
        include_instruments=True,
    )
    analysis = service.call("AnalyzeFactorExposures", asked)
    answer = completed(service, with_model(model, constraints=LIMITS, benchmark_id=BENCHMARK))
    assert dict(answer.target_allocation) == pytest.approx(dict(answer.current_allocation), abs=1e-12)
    same(answer.factor_risk, analysis.risk)
    same(answer.active_factor_risk, analysis.active_risk)
    assert answer.metrics.expected_volatility == pytest.approx(analysis.risk.volatility, rel=1e-12)
    assert answer.metrics.tracking_error == pytest.approx(analysis.active_risk.volatility, rel=1e-12)
    exposures = {part.factor: part.exposure for part in analysis.exposures}
    assert {part.factor: part.exposure for part in answer.factor_risk.factors} == pytest.approx(exposures, abs=1e-12)


def test_the_model_as_it_is_read_gives_the_risk_of_the_optimum(
    service: OpenService, market: Market, model: models_pb.FactorModel
) -> None:
    limits = pb.OptimizationConstraints(max_position_size=0.2, factor_model_id=model.factor_model_id)
    first = model.factors[0].name
    w = market.vector(dict(completed(service, with_model(model, constraints=limits)).target_allocation))
    B = np.array([part.exposures for part in model.instruments if part.instrument_id in market.names])
    assert [part.instrument_id for part in model.instruments if part.instrument_id in market.names] == [*market.names]
    more = float(w @ B[:, 0]) + 0.05 * float(np.ptp(B[:, 0]))
    limits.factor_limits.add(factor=first, minimum=more)
    answer = completed(service, with_model(model, constraints=limits))
    v = market.vector(dict(answer.target_allocation))
    k = len(model.factors)
    Phi = np.array(model.factor_covariance).reshape(k, k)
    specific = np.array([p.specific_volatility**2 for p in model.instruments if p.instrument_id in market.names])
    variance = float((B.T @ v) @ Phi @ (B.T @ v) + v**2 @ specific)
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert v @ B[:, 0] == pytest.approx(more, abs=1e-8)


def test_expected_returns_are_those_of_the_factors_as_they_are_read(
    service: OpenService, market: Market, model: models_pb.FactorModel
) -> None:
    """Premia of the caller come upon the risk-free rate, whatever the kind."""
    asked = with_model(model, "maximize_return")
    asked.expected_returns.method, asked.expected_returns.factor_model_id = examples.RETURNS, model.factor_model_id
    premia = {factor.name: 0.01 * (k + 1) for k, factor in enumerate(model.factors)}
    asked.expected_returns.factor_premia.update(premia)
    answer = completed(service, asked)
    w = market.vector(dict(answer.target_allocation))
    B = np.array([part.exposures for part in model.instruments if part.instrument_id in market.names])
    mu = asked.risk_free_rate + B @ np.array(list(premia.values()))
    assert answer.metrics.expected_return == pytest.approx(w @ mu, rel=1e-9)


def test_factor_portfolios_are_what_an_optimization_finds(
    service: OpenService, market: Market, model: models_pb.FactorModel
) -> None:
    factor = model.factors[-1].name
    wanted = factor_model_service_pb2.GetFactorPortfoliosRequest(
        factor_model_id=model.factor_model_id, instrument_ids=market.names, factors=[factor]
    )
    found = ModelCalls(service).call("GetFactorPortfolios", wanted).portfolios[0]
    limits = pb.OptimizationConstraints(allow_short=True, min_cash_weight=-10.0, max_cash_weight=10.0)
    limits.factor_model_id = model.factor_model_id
    for name in (other.name for other in model.factors):
        exposure = float(name == factor)
        limits.factor_limits.add(factor=name, minimum=exposure, maximum=exposure)
    answer = completed(service, with_model(model, "", optimization_type="minimum_variance", constraints=limits))
    w = market.vector(dict(answer.target_allocation))
    np.testing.assert_allclose(w, market.vector(dict(found.weights)), atol=1e-6)
