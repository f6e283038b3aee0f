"""Entropy pooling through the service: views hold on what is returned, and what cannot be posed is refused."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import entropy_pooling_pb2 as views_pb
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2, objectives_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb
from scipy.optimize import brentq

from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Market, load_market

View, Combination = views_pb.DistributionView, views_pb.CombinationView
AT_MOST, AT_LEAST = views_pb.VIEW_SENSE_AT_MOST, views_pb.VIEW_SENSE_AT_LEAST


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def mean(name: str, weights: dict[str, float], value: float, sense: Any = 0) -> View:
    return View(name=name, sense=sense, mean=Combination(weights=weights, value=value))


def request(*views: View, **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "mean_variance",
        "objective": "minimize_risk",
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "entropy_pooling": views_pb.EntropyPooling(views=views),
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def refused(service: OpenService, asked: pb.CreateOptimizationRequest) -> dict[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.optimize(asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return violations(caught.value)


def tilted(market: Market, name: str, value: float) -> np.ndarray:
    """Probabilities of one view on a mean: an exponential tilt whose strength is the root of one equation."""
    x = market.R[:, market.names.index(name)] * 252.0 - value

    def weights(strength: float) -> np.ndarray:
        raw = np.exp(strength * x - (strength * x).max())
        return raw / raw.sum()

    return weights(brentq(lambda strength: float(weights(strength) @ x), -5.0, 5.0, xtol=1e-14))


def test_one_view_is_the_exponential_tilt(service: OpenService, market: Market) -> None:
    answer = service.optimize(request(mean("coke", {"KO": 1.0}, 0.3), objective="maximize_return"))
    assert answer.status == "completed", answer.outcome.message
    p = tilted(market, "KO", 0.3)
    means = 252.0 * (p @ market.R)
    assert answer.metrics.expected_return == pytest.approx(means.max(), abs=1e-8)
    found = answer.entropy_pooling
    assert found.scenarios == len(p)
    assert found.relative_entropy == pytest.approx(float(p @ np.log(p * len(p))), abs=1e-10)
    assert found.effective_scenarios == pytest.approx(float(np.exp(-p @ np.log(p))), rel=1e-9)
    assert found.duality_gap < 1e-12
    assert found.max_violation < 1e-10
    (report,) = found.views
    assert report.posterior_value == pytest.approx(0.3, abs=1e-10)
    assert report.entropy_without == 0.0
    assert answer.provenance.expected_return_method == estimation_pb2.EXPECTED_RETURNS_METHOD_ENTROPY_POOLING
    assert answer.provenance.risk_model_method == estimation_pb2.RISK_MODEL_METHOD_ENTROPY_POOLING


def test_the_least_volatility_is_that_of_the_posterior(service: OpenService, market: Market) -> None:
    answer = service.optimize(request(mean("coke", {"KO": 1.0}, 0.3)))
    p = tilted(market, "KO", 0.3)
    w = np.array([answer.target_allocation.get(name, 0.0) for name in market.names])
    r = market.R @ w
    variance = 252.0 * float(p @ (r - p @ r) ** 2)
    assert answer.metrics.expected_volatility == pytest.approx(variance**0.5, rel=1e-9)
    assert answer.metrics.expected_return == pytest.approx(252.0 * float(p @ r), abs=1e-9)
    assert answer.certificate.duality_gap < 1e-6


def test_all_kinds_of_views_hold_together(service: OpenService) -> None:
    stated = {
        "mean": mean("mean", {"KO": 1.0, "PEP": -1.0}, 0.02, AT_LEAST),
        "volatility": View(name="volatility", volatility=Combination(weights={"AAPL": 1.0}, value=0.35)),
        "correlation": View(
            name="correlation",
            correlation=views_pb.CorrelationView(first_instrument_id="JPM", second_instrument_id="XOM", value=0.6),
        ),
        "cvar": View(name="cvar", cvar=views_pb.TailView(weights={"XOM": 1.0}, value=0.05)),
        "ranking": View(name="ranking", ranking=views_pb.RankingView(instrument_ids=["PG", "JNJ"], margin=0.01)),
    }
    answer = service.optimize(request(*stated.values(), risk_measure="cvar"))
    assert answer.status == "completed", answer.outcome.message
    found = {report.name: report for report in answer.entropy_pooling.views}
    assert found["mean"].posterior_value >= 0.02 - 1e-9
    assert found["volatility"].posterior_value == pytest.approx(0.35, abs=1e-8)
    assert found["correlation"].posterior_value == pytest.approx(0.6, abs=1e-8)
    assert found["cvar"].posterior_value == pytest.approx(0.05, abs=1e-8)
    assert found["ranking"].posterior_value >= 0.01 - 1e-9
    assert answer.entropy_pooling.max_violation < 1e-8
    assert answer.metrics.conditional_value_at_risk == pytest.approx(answer.risk_values["cvar"], abs=1e-9)


def test_scenarios_of_the_caller_are_pooled_too(service: OpenService, market: Market) -> None:
    rng = np.random.default_rng(3)
    rows = [objectives_pb2.ScenarioRow(returns=row) for row in rng.normal(0.01, 0.05, (60, len(market.names))).tolist()]
    given = objectives_pb2.ScenarioSet(instrument_ids=market.names, scenarios=rows, days=21)
    asked = request(mean("coke", {"KO": 1.0}, 0.2), optimization_type="scenario_based", scenarios=given)
    asked.ClearField("lookback_days")
    answer = service.optimize(asked)
    assert answer.status == "completed", answer.outcome.message
    assert answer.entropy_pooling.views[0].posterior_value == pytest.approx(0.2, abs=1e-10)
    assert answer.provenance.periods_per_year == 12.0


def test_a_frontier_rests_on_the_posterior(service: OpenService, market: Market) -> None:
    pooling = views_pb.EntropyPooling(views=[mean("coke", {"KO": 1.0}, 0.3)])
    asked = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=PORTFOLIO, points=3, lookback_days=DAYS, risk_free_rate=RISK_FREE, entropy_pooling=pooling
    )
    answer = service.call("GenerateEfficientFrontier", asked)
    highest = 252.0 * float((tilted(market, "KO", 0.3) @ market.R).max())
    assert getattr(answer.efficient_frontier[-1], "return") == pytest.approx(highest, abs=1e-8)
    assert answer.entropy_pooling.views[0].posterior_value == pytest.approx(0.3, abs=1e-10)


def test_contradictory_views_end_as_infeasible(service: OpenService) -> None:
    views = (
        mean("a", {"KO": 1.0}, 0.1),
        mean("other", {"JPM": 1.0}, 0.1),
        mean("b", {"PEP": 1.0}, 0.05, AT_MOST),
        mean("c", {"KO": 1.0, "PEP": -1.0}, 0.06, AT_MOST),
        mean("d", {"KO": 1.0, "PEP": -1.0}, 0.07, AT_LEAST),
    )
    answer = service.optimize(request(*views))
    assert answer.status == "infeasible"
    named = {"entropy_pooling.views[c]", "entropy_pooling.views[d]"}
    assert set(answer.infeasibility.conflicting_constraints) == named
    assert "'c', 'd' cannot hold together" in answer.outcome.message
    assert not answer.target_allocation
    assert answer.current_allocation
    pooling = views_pb.EntropyPooling(views=views)
    asked = frontier_pb2.EfficientFrontierRequest(portfolio_id=PORTFOLIO, points=3, entropy_pooling=pooling)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("GenerateEfficientFrontier", asked)
    assert set(violations(caught.value)) == named


def test_a_return_beyond_all_scenarios_says_how_far_they_reach(service: OpenService) -> None:
    answer = service.optimize(request(mean("moon", {"KO": 1.0}, 1000.0)))
    assert answer.status == "infeasible"
    assert "which reach from" in answer.outcome.message


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("views", "field"),
    [
        ([], "entropy_pooling.views"),
        ([View(name="x")], "entropy_pooling.views[0]"),
        ([mean("", {"KO": 1.0}, 0.1)], "entropy_pooling.views[0].name"),
        ([mean("x", {"KO": 1.0}, 0.1), mean("x", {"PEP": 1.0}, 0.1)], "entropy_pooling.views"),
        ([mean("x", {}, 0.1)], "entropy_pooling.views[0].mean.weights"),
        ([mean("x", {"KO": 0.0}, 0.1)], "entropy_pooling.views[0].mean.weights"),
        ([mean("x", {"KO": NAN}, 0.1)], "entropy_pooling.views[0].mean.weights[KO]"),
        ([mean("x", {"KO": 1.0}, INFINITY)], "entropy_pooling.views[0].mean.value"),
        ([mean("x", {"NOPE": 1.0}, 0.1)], "entropy_pooling.views[x]"),
        ([mean("x", {"CASH": 1.0}, 0.1)], "entropy_pooling.views[x]"),
        ([mean("x", {"KO": 1.0}, 0.1, 7)], "entropy_pooling.views[0].sense"),
        (
            [View(name="x", volatility=Combination(weights={"KO": 1.0}, value=0.0))],
            "entropy_pooling.views[0].volatility.value",
        ),
        (
            [View(name="x", cvar=views_pb.TailView(weights={"KO": 1.0}, value=0.1, confidence_level=1.0))],
            "entropy_pooling.views[0].cvar.confidence_level",
        ),
        (
            [
                View(
                    name="x",
                    correlation=views_pb.CorrelationView(first_instrument_id="KO", second_instrument_id="KO"),
                )
            ],
            "entropy_pooling.views[0].correlation.second_instrument_id",
        ),
        (
            [View(name="x", ranking=views_pb.RankingView(instrument_ids=["KO", "PEP", "KO"]))],
            "entropy_pooling.views[0].ranking.instrument_ids",
        ),
        (
            [View(name="x", ranking=views_pb.RankingView(instrument_ids=["KO"]))],
            "entropy_pooling.views[0].ranking.instrument_ids",
        ),
        (
            [View(name="x", ranking=views_pb.RankingView(instrument_ids=["KO", "PEP"], margin=-0.1))],
            "entropy_pooling.views[0].ranking.margin",
        ),
        (
            [View(name="x", sense=AT_MOST, ranking=views_pb.RankingView(instrument_ids=["KO", "PEP"]))],
            "entropy_pooling.views[0].sense",
        ),
    ],
)
def test_what_cannot_be_a_view_is_refused(service: OpenService, views: list[View], field: str) -> None:
    assert field in refused(service, request(*views))


def test_models_beside_the_probabilities_are_refused(service: OpenService) -> None:
    view = mean("x", {"KO": 1.0}, 0.1)
    sample = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
    capm = estimation_pb2.ExpectedReturnsModel(method=estimation_pb2.EXPECTED_RETURNS_METHOD_CAPM)
    assert set(refused(service, request(view, risk_model=sample, expected_returns=capm))) == {
        "risk_model",
        "expected_returns",
    }
    own = estimation_pb2.BlackLitterman(views=[estimation_pb2.View(weights={"KO": 1.0}, expected_return=0.1)])
    asked = request(view, optimization_type="black_litterman", black_litterman=own)
    assert "entropy_pooling" in refused(service, asked)
