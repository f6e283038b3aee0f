"""Black-Litterman through the service, and refusals read the way a portfolio manager reads them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from portfolio_optimization.v1 import estimation_pb2, frontier_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.sample.facts import STOCKS
from tests.integration.server.open_service import OpenService, violations

View = estimation_pb2.View
CAPS = {stock.id: stock.market_cap / sum(stock.market_cap for stock in STOCKS) for stock in STOCKS}


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


def views_request(views: list[Any], **fields: Any) -> pb.CreateOptimizationRequest:
    rate = fields.pop("risk_free_rate", 0.03)
    return pb.CreateOptimizationRequest(
        portfolio_id="sample-growth",
        optimization_type="black_litterman",
        objective="maximize_sharpe",
        risk_free_rate=rate,
        black_litterman=estimation_pb2.BlackLitterman(views=views, **fields),
    )


def answered(service: OpenService, views: list[Any], **fields: Any) -> Any:
    answer = service.optimize(views_request(views, **fields))
    assert answer.status == "completed", answer.outcome.message
    return answer


def test_total_returns_lose_the_rate_once_and_relative_ones_not_at_all(service: OpenService) -> None:
    rate = 0.03
    excess = [
        View(name="one", weights={"AAPL": 1.0}, expected_return=0.07),
        View(name="two", weights={"KO": 1.0, "PEP": -1.0}, expected_return=0.02),
        View(name="half", weights={"JPM": 0.5}, expected_return=0.04),
    ]
    total = [
        View(name="one", weights={"AAPL": 1.0}, expected_return=0.07 + rate),
        View(name="two", weights={"KO": 1.0, "PEP": -1.0}, expected_return=0.02),
        View(name="half", weights={"JPM": 0.5}, expected_return=0.04 + 0.5 * rate),
    ]
    one = answered(service, excess, convention=estimation_pb2.RETURN_CONVENTION_EXCESS)
    other = answered(service, total, convention=estimation_pb2.RETURN_CONVENTION_TOTAL)
    assert dict(one.black_litterman.posterior_returns) == pytest.approx(
        dict(other.black_litterman.posterior_returns), abs=1e-14
    )
    assert dict(one.target_allocation) == pytest.approx(dict(other.target_allocation), abs=1e-9)
    assert [report.net_weight for report in other.black_litterman.views] == pytest.approx([1.0, 0.0, 0.5])
    assert [report.expected_return for report in other.black_litterman.views] == pytest.approx([0.07, 0.02, 0.04])
    # The rate is added once at the end.
    weights = dict(one.target_allocation)
    stated = sum(weight * one.black_litterman.posterior_returns[name] for name, weight in weights.items())
    assert one.metrics.expected_return == pytest.approx(stated + rate, abs=1e-12)


def test_a_group_view_is_divided_by_capitalisation(service: OpenService) -> None:
    def shares(field: str, group: str) -> dict[str, float]:
        members = {stock.id: stock.market_cap for stock in STOCKS if getattr(stock, field) == group}
        return {name: cap / sum(members.values()) for name, cap in members.items()}

    sector = next(stock.sector for stock in STOCKS if stock.id == "JPM")
    other = next(stock.sector for stock in STOCKS if stock.id == "XOM")
    legs = shares("sector", sector)
    for name, share in shares("sector", other).items():
        legs[name] = legs.get(name, 0.0) - share
    grouped = View(name="view", sectors={sector: 1.0, other: -1.0}, expected_return=0.04)
    spelled = View(name="view", weights=legs, expected_return=0.04)
    one, two = answered(service, [grouped]).black_litterman, answered(service, [spelled]).black_litterman
    assert dict(one.posterior_returns) == pytest.approx(dict(two.posterior_returns), abs=1e-13)
    assert one.views[0].net_weight == pytest.approx(0.0, abs=1e-12)


def test_reports_explain_the_posterior(service: OpenService) -> None:
    views = [
        View(name="up", weights={"AAPL": 1.0}, expected_return=0.3, confidence=0.95),
        View(name="down", weights={"AAPL": 1.0}, expected_return=-0.1, confidence=0.95),
        View(name="aside", weights={"KO": 1.0, "PEP": -1.0}, expected_return=0.02),
    ]
    report = answered(service, views).black_litterman
    for name, prior in report.prior_returns.items():
        moved = sum(view.return_changes[name] for view in report.views)
        assert moved == pytest.approx(report.posterior_returns[name] - prior, abs=1e-12)
    assert [view.confidence for view in report.views] == pytest.approx([0.95, 0.95, 0.5])
    assert report.views[0].standard_score > 0 > report.views[1].standard_score
    assert report.consistency.degrees_of_freedom == 3
    assert 0.0 <= report.consistency.probability < 1e-3
    assert {(conflict.given, conflict.view) for conflict in report.consistency.conflicts} == {
        ("up", "down"),
        ("down", "up"),
    }


def test_certain_views_that_contradict_each_other_are_named_in_the_callers_words(service: OpenService) -> None:
    views = [
        View(name="low", weights={"AAPL": 1.0}, expected_return=0.03, confidence=1.0),
        View(name="high", weights={"AAPL": 1.0}, expected_return=0.05, confidence=1.0),
    ]
    answer = service.optimize(views_request(views))
    assert answer.status == "failed"
    assert "black_litterman.views: 'low', 'high' are certain and contradict each other" in answer.outcome.message


NAN = float("nan")


@pytest.mark.parametrize(
    ("views", "field"),
    [
        ([], "black_litterman.views"),
        ([View(name="v", expected_return=0.1)], "black_litterman.views[0].weights"),
        ([View(name="v", sectors={"Nowhere": 1.0}, expected_return=0.1)], "black_litterman.views[v].sectors"),
        ([View(name="v", asset_classes={"moon": 1.0}, expected_return=0.1)], "black_litterman.views[v].asset_classes"),
        ([View(name="v", sectors={"Technology": NAN})], "black_litterman.views[0].sectors[Technology]"),
        ([View(name="v", weights={"NOPE": 1.0})], "black_litterman.views[v].weights"),
        ([View(name="v", weights={"KO": 1.0}, expected_return=NAN)], "black_litterman.views[0].expected_return"),
        ([View(name="v", weights={"KO": 1.0}, variance=-1.0)], "black_litterman.views[0].variance"),
        ([View(name="v", weights={"KO": 1.0}), View(name="v", weights={"PEP": 1.0})], "black_litterman.views"),
        ([View(name=f"v{k}", weights={"KO": 1.0}) for k in range(201)], "black_litterman.views"),
    ],
)
def test_what_cannot_be_a_view_is_refused(service: OpenService, views: list[Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.optimize(views_request(views))
    assert field in violations(caught.value)


def test_a_group_of_one_against_its_member_says_nothing(service: OpenService) -> None:
    sectors = [stock.sector for stock in STOCKS]
    alone = next((stock for stock in STOCKS if sectors.count(stock.sector) == 1), None)
    if alone is None:
        pytest.skip("no sector of the sample has a single instrument")
    view = View(name="v", weights={alone.id: -1.0}, sectors={alone.sector: 1.0}, expected_return=0.1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.optimize(views_request([view]))
    assert "cancel" in violations(caught.value)["black_litterman.views[v]"]


def test_an_unknown_convention_is_refused(service: OpenService) -> None:
    view = View(name="v", weights={"KO": 1.0}, expected_return=0.1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.optimize(views_request([view], convention=9))
    assert "black_litterman.convention" in violations(caught.value)


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
