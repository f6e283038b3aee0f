"""Models of returns and risk through the service: estimators, the caller's own data, scenarios and terms."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2, frontier_pb2, objectives_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from kernel.estimation import covariance, expected_returns
from kernel.estimation.denoising import denoised
from kernel.estimation.gerber import gerber
from kernel.estimation.james_stein import james_stein
from server.sample.facts import STOCKS
from server.specs import ModelSpec
from storage.benchmarks import BenchmarkRepository
from storage.model_data import ModelDataRepository
from storage.records import (
    Benchmark,
    CovarianceSet,
    ExposureSet,
    ForecastPeriod,
    ForecastSet,
    ModelSet,
    ScenarioSet,
)
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

CAP = pb.OptimizationConstraints(max_position_size=0.2)
CAPS = {stock.id: float(stock.market_cap) for stock in STOCKS}
RISK, RETURNS = estimation_pb2.RiskModelMethod, estimation_pb2.ExpectedReturnsMethod
Term = objectives_pb2.ObjectiveTerm


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def request(objective: str = "minimize_risk", **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "mean_variance",
        "objective": objective,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "constraints": CAP,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def completed(service: OpenService, asked: pb.CreateOptimizationRequest) -> Any:
    answer = service.optimize(asked)
    assert answer.status == "completed", answer.outcome.message
    return answer


async def stored(service: OpenService, model: ModelSet) -> str:
    async with service.application.database.transaction() as connection:
        await ModelDataRepository(connection).store(model, "by hand")
    return model.id


@pytest.mark.parametrize(
    ("method", "estimate"),
    [
        ("EXPONENTIALLY_WEIGHTED", lambda R: covariance.exponentially_weighted(R, 30.0)),
        ("OAS", covariance.oas),
        ("DENOISED", denoised),
        ("GERBER", lambda R: gerber(R, 0.7)),
    ],
)
def test_the_volatility_is_that_of_the_estimator(
    service: OpenService, market: Market, method: str, estimate: Any
) -> None:
    model = estimation_pb2.RiskModel(method=RISK.Value(f"RISK_MODEL_METHOD_{method}"))
    if method == "GERBER":
        model.gerber_threshold = 0.7
    if method == "EXPONENTIALLY_WEIGHTED":
        model.half_life_days = 30.0
    answer = completed(service, request(risk_model=model))
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ estimate(market.R).Sigma @ w), rel=1e-9)
    assert answer.provenance.risk_model_method == model.method
    assert answer.provenance.HasField("shrinkage_intensity") == (method == "OAS")


@pytest.mark.parametrize("method", ["SAMPLE", "LEDOIT_WOLF", "OAS"])
def test_more_instruments_than_days(service: OpenService, market: Market, method: str) -> None:
    """The covariance is then kept as factors, and is the same."""
    days, estimators = 12, {"SAMPLE": covariance.sample, "LEDOIT_WOLF": covariance.ledoit_wolf, "OAS": covariance.oas}
    model = estimation_pb2.RiskModel(method=RISK.Value(f"RISK_MODEL_METHOD_{method}"))
    answer = completed(service, request("maximize_sharpe", risk_model=model, lookback_days=days))
    w, Sigma = market.vector(dict(answer.target_allocation)), estimators[method](market.R[-days:]).Sigma
    assert answer.metrics.expected_volatility == pytest.approx(np.sqrt(w @ Sigma @ w), rel=1e-9)
    assert answer.certificate.duality_gap <= 1e-6


@pytest.mark.parametrize(
    ("method", "estimate"),
    [
        ("EXPONENTIALLY_WEIGHTED", lambda R: expected_returns.exponentially_weighted_mean(R, 63.0)),
        ("JAMES_STEIN", lambda R: james_stein(R).mu),
    ],
)
def test_the_expected_return_is_that_of_the_estimator(
    service: OpenService, market: Market, method: str, estimate: Any
) -> None:
    model = estimation_pb2.ExpectedReturnsModel(method=RETURNS.Value(f"EXPECTED_RETURNS_METHOD_{method}"))
    answer = completed(service, request("maximize_return", expected_returns=model))
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_return == pytest.approx(w @ estimate(market.R), rel=1e-9)
    assert answer.provenance.HasField("expected_return_shrinkage") == (method == "JAMES_STEIN")


@pytest.mark.parametrize("benchmark", ["", "sample-sp500"])
def test_capital_asset_pricing(service: OpenService, market: Market, benchmark: str) -> None:
    """Betas by least squares, against the index or the instruments by capitalisation."""
    model = estimation_pb2.ExpectedReturnsModel(
        method=estimation_pb2.EXPECTED_RETURNS_METHOD_CAPM, market_benchmark_id=benchmark, market_premium=0.05
    )
    answer = completed(service, request("maximize_return", expected_returns=model))
    if benchmark:
        levels = service.run(index_levels(service))
        m = (levels[1:] / levels[:-1] - 1.0)[-DAYS:]
    else:
        caps = np.array([CAPS[name] for name in market.names])
        m = market.R @ (caps / caps.sum())
    betas = np.linalg.lstsq(np.column_stack([np.ones(DAYS), m]), market.R, rcond=None)[0][1]
    w = market.vector(dict(answer.target_allocation))
    assert answer.metrics.expected_return == pytest.approx(w @ (RISK_FREE + 0.05 * betas), rel=1e-9)


async def index_levels(service: OpenService) -> Floats:
    inputs, _ = await service.application.loader.market(PORTFOLIO, ModelSpec(RISK_FREE, benchmark_id="sample-sp500"))
    assert inputs.benchmark is not None
    assert inputs.benchmark.closes is not None
    return inputs.benchmark.closes


def test_a_factor_model_names_its_factors_and_is_kept_with_the_request(service: OpenService) -> None:
    model = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL)
    returns = estimation_pb2.ExpectedReturnsModel(
        method=estimation_pb2.EXPECTED_RETURNS_METHOD_FACTOR_MODEL, factor_premia={"momentum": 0.1}
    )
    answer = completed(service, request(risk_model=model, expected_returns=returns))
    assert answer.provenance.factor_set_id.startswith("fs-")
    assert answer.request.risk_model.factor_set_id == answer.provenance.factor_set_id
    assert answer.request.expected_returns.factor_set_id == answer.provenance.factor_set_id
    again = completed(service, answer.request)
    assert dict(again.target_allocation) == dict(answer.target_allocation)
    returns.factor_premia["Momentum"] = 0.1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.optimize(request(risk_model=model, expected_returns=returns))
    assert "Momentum" in violations(caught.value)["expected_returns.factor_premia"]


def test_stored_inputs_are_those_of_the_request(service: OpenService, market: Market) -> None:
    """A forecast, a covariance and exposures under their ids give what the same numbers in the request give."""
    day = date(2022, 12, 28)
    mu, Sigma, B = np.round(market.mu, 4), market.Sigma, np.round(market.R[:1].T, 4)
    values = dict(zip(market.names, mu.tolist(), strict=True))
    forecast = ForecastSet(as_of=day, periods=(ForecastPeriod(21, values),))
    matrix = CovarianceSet(as_of=day, instrument_ids=market.names, Sigma=Sigma)
    factors = ExposureSet(
        as_of=day, factors=("tilt",), instrument_ids=market.names, B=B, specific=np.full(len(B), np.nan)
    )
    forecast_id, covariance_id, exposures_id = (service.run(stored(service, m)) for m in (forecast, matrix, factors))
    limit = constraints_pb2.FactorLimit(factor="tilt", maximum=0.0)
    inline = request(
        "maximize_sharpe",
        expected_returns=estimation_pb2.ExpectedReturnsModel(
            method=RETURNS.Value("EXPECTED_RETURNS_METHOD_PROVIDED"), values=values
        ),
        risk_model=estimation_pb2.RiskModel(
            method=RISK.Value("RISK_MODEL_METHOD_PROVIDED"),
            covariance=estimation_pb2.CovarianceMatrix(instrument_ids=market.names, values=Sigma.ravel().tolist()),
        ),
        constraints=pb.OptimizationConstraints(
            factor_limits=[limit],
            factor_exposures={
                "tilt": constraints_pb2.InstrumentValues(values=dict(zip(market.names, B[:, 0].tolist(), strict=True)))
            },
        ),
    )
    by_id = request(
        "maximize_sharpe",
        expected_returns=estimation_pb2.ExpectedReturnsModel(
            method=RETURNS.Value("EXPECTED_RETURNS_METHOD_PROVIDED"), forecast_id=forecast_id
        ),
        risk_model=estimation_pb2.RiskModel(
            method=RISK.Value("RISK_MODEL_METHOD_PROVIDED"), covariance_id=covariance_id
        ),
        constraints=pb.OptimizationConstraints(factor_limits=[limit], factor_exposures_id=exposures_id),
    )
    one, other = completed(service, inline), completed(service, by_id)
    assert dict(one.target_allocation) == dict(other.target_allocation)
    origin = other.provenance
    assert (origin.forecast_id, origin.covariance_id) == (forecast_id, covariance_id)
    assert origin.factor_exposures_id == exposures_id


def test_an_id_that_is_not_stored_is_not_found(service: OpenService) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request(optimization_type="scenario_based", scenarios_id="sc-" + "0" * 32))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def draws(market: Market) -> tuple[Floats, Floats]:
    """Weekly scenarios, and probabilities that are not equal."""
    rng = np.random.default_rng(3)
    S = market.R[rng.integers(0, DAYS, (200, 5))].sum(axis=1)
    p = rng.uniform(0.5, 1.5, len(S))
    return S, p / p.sum()


def scenario_set(market: Market, **fields: Any) -> objectives_pb2.ScenarioSet:
    S, p = draws(market)
    rows = [
        objectives_pb2.ScenarioRow(probability=q, returns=row) for q, row in zip(p.tolist(), S.tolist(), strict=True)
    ]
    return objectives_pb2.ScenarioSet(instrument_ids=market.names, scenarios=rows, days=5, **fields)


def test_scenarios_take_the_place_of_history(service: OpenService, market: Market) -> None:
    """Least conditional value at risk with probabilities, by Rockafellar and Uryasev in another solver."""
    S, p = draws(market)
    scenarios = ScenarioSet(as_of=date(2022, 12, 28), instrument_ids=market.names, days=5, probabilities=p, returns=S)
    scenarios_id = service.run(stored(service, scenarios))
    asked = request(optimization_type="scenario_based", risk_measure="cvar", confidence_level=0.9)
    inline, by_id = pb.CreateOptimizationRequest(), pb.CreateOptimizationRequest()
    for copy in (inline, by_id):
        copy.CopyFrom(asked)
    inline.scenarios.CopyFrom(scenario_set(market))
    by_id.scenarios_id = scenarios_id
    answer, other = completed(service, inline), completed(service, by_id)
    w, x = cp.Variable(len(market.names), nonneg=True), cp.Variable()
    problem: Any = cp.Problem(
        cp.Minimize(x + p @ cp.pos(-S @ w - x) / 0.1), [cp.sum(w) == 1, w <= CAP.max_position_size]
    )
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert answer.certificate.objective_value == pytest.approx(problem.value, rel=1e-6)
    assert answer.metrics.conditional_value_at_risk == pytest.approx(problem.value, rel=1e-6)
    assert other.certificate.objective_value == pytest.approx(problem.value, rel=1e-6)
    assert other.provenance.scenarios_id == scenarios_id
    v = market.vector(dict(answer.target_allocation))
    mean = p @ S
    spread = (S - mean) * np.sqrt(252.0 / 5 * p)[:, None]
    assert answer.metrics.expected_return == pytest.approx(252.0 / 5 * mean @ v, rel=1e-9)
    assert answer.metrics.expected_volatility == pytest.approx(np.linalg.norm(spread @ v), rel=1e-9)
    assert "max_drawdown" not in answer.risk_values
    assert answer.provenance.risk_model_method == estimation_pb2.RISK_MODEL_METHOD_SCENARIOS


def test_scenarios_without_order_have_no_drawdown(service: OpenService, market: Market) -> None:
    asked = request(optimization_type="scenario_based", risk_measure="ulcer", scenarios=scenario_set(market))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", asked)
    assert "order" in violations(caught.value)["risk_measure"]
    asked.scenarios.ordered = True
    assert "max_drawdown" in completed(service, asked).risk_values


def test_a_frontier_of_scenarios(service: OpenService, market: Market) -> None:
    asked = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=PORTFOLIO, points=4, constraints=CAP, scenarios=scenario_set(market), risk_measure="mad"
    )
    answer = service.call("GenerateEfficientFrontier", asked)
    risks = [point.risk for point in answer.efficient_frontier]
    assert len(risks) == 4
    assert risks == sorted(risks)
    assert max(point.duality_gap for point in answer.efficient_frontier) <= 1e-6


def test_a_custom_sum_of_terms(service: OpenService, market: Market) -> None:
    terms = [
        Term(kind="return", coefficient=1.0),
        Term(kind="cvar", coefficient=-4.0, confidence_level=0.9),
        Term(name="spread", kind="concentration", coefficient=-0.2),
        Term(kind="entropy", coefficient=0.01),
    ]
    answer = completed(service, request("", optimization_type="custom", terms=terms))
    w, x = cp.Variable(len(market.names), nonneg=True), cp.Variable()
    cvar = x + cp.sum(cp.pos(-market.R @ w - x)) / (0.1 * DAYS)
    utility = market.mu @ w - 4.0 * cvar - 0.2 * cp.sum_squares(w) + 0.01 * cp.sum(cp.entr(w))
    problem: Any = cp.Problem(cp.Maximize(utility), [cp.sum(w) == 1, w <= CAP.max_position_size])
    problem.solve(solver=cp.CLARABEL)
    assert answer.certificate.objective_value == pytest.approx(problem.value, rel=1e-5)
    assert answer.objective == "custom"


@pytest.mark.parametrize(
    ("term", "field"),
    [
        (Term(kind="cvar", coefficient=1.0), "terms[0].coefficient"),
        (Term(name="e", kind="entropy", coefficient=-1.0), "terms[e].coefficient"),
        (Term(kind="cost", coefficient=-1.0), "terms[cost].kind"),
        (Term(kind="factor_exposure", coefficient=1.0, factor="size"), "terms[factor_exposure].factor"),
        (Term(kind="beauty", coefficient=1.0), "terms[0].kind"),
    ],
)
def test_terms_that_cannot_be_posed_are_refused(service: OpenService, term: Term, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", request("", optimization_type="custom", terms=[term]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in violations(caught.value)


def test_a_pareto_surface_lies_between_its_ends(service: OpenService, market: Market) -> None:
    terms = [Term(kind="return", coefficient=1.0), Term(kind="mad", coefficient=-1.0)]
    answer = completed(service, request("", optimization_type="multi_objective", terms=terms, pareto_points=7))
    values = np.array([[p.objective_values["return"], p.objective_values["mad"]] for p in answer.pareto_points])
    assert 5 <= len(values) <= 9
    assert (np.diff(values, axis=0) > 0).all()
    assert answer.pareto_resolution >= 0
    for point in answer.pareto_points:
        w = market.vector(dict(point.weights))
        assert point.objective_values["return"] == pytest.approx(market.mu @ w, rel=1e-9)
        assert point.certificate.duality_gap <= 1e-6
    w = cp.Variable(len(market.names), nonneg=True)
    mad = cp.sum(cp.abs((market.R - market.R.mean(axis=0)) @ w)) * np.sqrt(252.0) / DAYS
    for value, limit in values[1:-1].tolist():
        problem: Any = cp.Problem(
            cp.Maximize(market.mu @ w), [cp.sum(w) == 1, w <= CAP.max_position_size, mad <= limit]
        )
        problem.solve(solver=cp.CLARABEL)
        assert value == pytest.approx(problem.value, rel=1e-6)


def test_limits_relative_to_the_benchmark(service: OpenService, market: Market) -> None:
    """Active weight of three names at least 5%."""
    weights = {name: 1.0 / len(market.names) for name in market.names}
    service.run(put_benchmark(service, weights))
    limit = constraints_pb2.LinearConstraint(
        name="active",
        coefficients={"KO": 1.0, "PEP": 1.0, "PG": 1.0},
        minimum=0.05,
        maximum=0.05,
        relative_to_benchmark=True,
    )
    constraints = pb.OptimizationConstraints(linear_constraints=[limit], max_tracking_error=0.08)
    answer = completed(service, request(benchmark_id="equal", constraints=constraints))
    target = answer.target_allocation
    assert sum(target.get(name, 0.0) - 0.05 for name in ("KO", "PEP", "PG")) == pytest.approx(0.05, abs=1e-8)
    reports = {report.name: report for report in answer.constraints}
    assert reports["linear_constraints[active]"].limit == 0.05
    assert reports["linear_constraints[active]"].value == pytest.approx(0.05, abs=1e-8)
    assert reports["max_tracking_error"].value == pytest.approx(answer.metrics.tracking_error, rel=1e-6)


async def put_benchmark(service: OpenService, weights: dict[str, float]) -> None:
    async with service.application.database.transaction() as connection:
        exact = {name: Decimal(repr(weight)) for name, weight in weights.items()}
        await BenchmarkRepository(connection).put(Benchmark(id="equal", name="Equal", weights=exact))
