"""Black-Litterman through the service, and refusals read the way a portfolio manager reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.sample import files
from server.sample.facts import STOCKS
from server.sample.files import SampleUnavailableError
from tests.integration.server.open_service import OpenService, copied_database, open_service

CAPS = {stock.id: stock.market_cap / sum(stock.market_cap for stock in STOCKS) for stock in STOCKS}


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    try:
        files.read_levels(files.INDEX_FILE)
    except SampleUnavailableError as error:
        pytest.skip(str(error))
    with copied_database(postgres_server, template_database) as url, open_service(url) as service:
        yield service


def opinion(service: OpenService, weights: dict[str, float], expected_return: float, **uncertainty: float) -> Any:
    """What the highest ratio becomes under one view."""
    view = estimation_pb2.View(name="view", weights=weights, expected_return=expected_return, **uncertainty)
    request = pb.CreateOptimizationRequest(
        portfolio_id="sample-growth",
        optimization_type="black_litterman",
        objective="maximize_sharpe",
        black_litterman=estimation_pb2.BlackLitterman(views=[view]),
    )
    answer = service.optimize(request)
    assert answer.status == "completed", answer.outcome.message
    return answer


def test_a_view_without_information_leaves_the_market_as_it_is(service: OpenService) -> None:
    """The equilibrium prior is the return that makes the market portfolio the one of highest ratio."""
    answer = opinion(service, {"AAPL": 1.0}, 0.5, confidence=1e-9)
    report = answer.black_litterman
    assert dict(report.market_weights) == pytest.approx(CAPS, abs=1e-12)
    assert dict(report.posterior_returns) == pytest.approx(dict(report.prior_returns), abs=1e-8)
    assert dict(answer.target_allocation) == pytest.approx(CAPS, abs=1e-6)


def test_the_views_own_return_is_no_news(service: OpenService) -> None:
    prior = opinion(service, {"AAPL": 1.0}, 0.5, confidence=1e-9).black_litterman.prior_returns["AAPL"]
    report = opinion(service, {"AAPL": 1.0}, prior, confidence=0.9).black_litterman
    assert dict(report.posterior_returns) == pytest.approx(dict(report.prior_returns), abs=1e-12)


@pytest.mark.parametrize("weights", [{"KO": 1.0}, {"KO": 1.0, "PEP": -1.0}], ids=["absolute", "relative"])
def test_a_view_tilts_and_its_reverse_tilts_back(service: OpenService, weights: dict[str, float]) -> None:
    neutral = opinion(service, weights, 0.0, confidence=0.5).black_litterman
    prior, middle = dict(neutral.prior_returns), neutral.views[0].prior_return
    up = opinion(service, weights, middle + 0.02, confidence=0.5)
    down = opinion(service, weights, middle - 0.02, confidence=0.5)
    assert up.target_allocation.get("KO", 0.0) > CAPS["KO"] > down.target_allocation.get("KO", 0.0)
    assert up.black_litterman.posterior_returns["KO"] > prior["KO"] > down.black_litterman.posterior_returns["KO"]
    raised = {name: value - prior[name] for name, value in up.black_litterman.posterior_returns.items()}
    lowered = {name: prior[name] - value for name, value in down.black_litterman.posterior_returns.items()}
    assert raised == pytest.approx(lowered, abs=1e-12)
    if "PEP" in weights:
        assert up.target_allocation.get("PEP", 0.0) < CAPS["PEP"] < down.target_allocation.get("PEP", 0.0)


def test_turning_both_legs_of_a_view_and_its_return_says_the_same(service: OpenService) -> None:
    one = opinion(service, {"KO": 1.0, "PEP": -1.0}, 0.03, confidence=0.4)
    other = opinion(service, {"KO": -1.0, "PEP": 1.0}, -0.03, confidence=0.4)
    assert dict(one.target_allocation) == pytest.approx(dict(other.target_allocation), abs=1e-9)


def test_confidence_is_the_share_of_the_way_to_the_view(service: OpenService) -> None:
    for confidence in (0.25, 0.75, 1.0):
        report = opinion(service, {"JPM": 1.0}, 0.2, confidence=confidence).black_litterman.views[0]
        way = (report.posterior_return - report.prior_return) / (report.expected_return - report.prior_return)
        assert way == pytest.approx(confidence, abs=1e-9)


def test_a_rate_above_all_returns_has_no_best_ratio(service: OpenService) -> None:
    request = pb.CreateOptimizationRequest(
        portfolio_id="sample-growth",
        optimization_type="mean_variance",
        objective="maximize_sharpe",
        risk_free_rate=0.5,
    )
    answer = service.optimize(request)
    assert answer.status == "ill_posed"
    assert "highest expected return is 32.01" in answer.outcome.message
    assert "risk-free rate 50.0000%" in answer.outcome.message
    numbers = answer.outcome.numbers
    assert numbers["best_excess_return"] == pytest.approx(numbers["best_expected_return"] - 0.5)
    assert not answer.target_allocation
    assert answer.current_allocation
    asked = frontier_pb2.EfficientFrontierRequest(portfolio_id="sample-growth", risk_free_rate=0.5, points=5)
    frontier = service.call("GenerateEfficientFrontier", asked)
    assert len(frontier.efficient_frontier) == 5
    assert not frontier.HasField("optimal_portfolio")


def test_a_turnover_that_cannot_even_invest_the_cash(service: OpenService) -> None:
    """Cash is 2.96% and must be invested: from cash into stocks that is a one-way turnover of 2.96%, not of 1%."""
    constraints = pb.OptimizationConstraints(max_turnover=0.01)
    request = pb.CreateOptimizationRequest(
        portfolio_id="sample-growth",
        optimization_type="mean_variance",
        objective="maximize_sharpe",
        constraints=constraints,
    )
    answer = service.optimize(request)
    cash = answer.current_allocation["CASH"]
    assert answer.status == "infeasible"
    assert set(answer.infeasibility.conflicting_constraints) == {"max_turnover", "max_cash_weight"}
    # Whichever of the two gives way, what is missing is the cash beyond the turnover allowed.
    assert sum(change.change for change in answer.infeasibility.relaxations) == pytest.approx(cash - 0.01, abs=1e-8)
    for name in ("max_turnover", "max_cash_weight"):
        assert name in answer.outcome.message
    request.constraints.max_turnover = cash + 1e-9
    invested = service.optimize(request)
    assert invested.status == "completed"
    assert all(trade.action == "buy" for trade in invested.trades)
    request.constraints.max_turnover, request.constraints.max_cash_weight = 0.01, cash
    assert service.optimize(request).status == "completed"
