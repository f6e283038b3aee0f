"""The five calls of the baseline on the sample portfolio: plausible answers that hold every limit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

import pytest
from portfolio_optimization.v1 import common_pb2, factors_pb2, frontier_pb2, optimization_calls_pb2, rebalancing_pb2
from running_service import PATIENCE_SECONDS, RunningService
from sample_calls import DEFENSIVE, GROWTH, check_completed_once, check_weights, ended, optimize, sharpe_request

CENT = Decimal("0.01")
WEIGHT_TOLERANCE = 1e-8


def test_an_optimization_is_accepted_and_then_answered(service: RunningService) -> None:
    accepted = service.optimization.CreateOptimization(sharpe_request(), timeout=PATIENCE_SECONDS)
    assert accepted.status == "pending"
    assert accepted.estimated_completion_time.ToDatetime() >= accepted.created_at.ToDatetime()
    answer = ended(service, accepted.optimization_id)
    assert answer.status == "completed"
    assert answer.outcome.status == common_pb2.OUTCOME_STATUS_OPTIMAL
    assert answer.provenance.pricing_pack_id == accepted.pricing_pack_id
    check_completed_once(service, accepted.optimization_id)


def test_a_target_holds_every_limit_and_its_parts_add_up(service: RunningService) -> None:
    answer = optimize(service, sharpe_request())
    weights = dict(answer.target_allocation)
    check_weights(weights)
    check_weights(answer.current_allocation)
    assert max(weight for name, weight in weights.items() if name != "CASH") <= 0.15 + WEIGHT_TOLERANCE
    assert min(constraint.slack for constraint in answer.constraints) >= -WEIGHT_TOLERANCE
    assert {c.name for c in answer.constraints if c.binding} & {"max_position_size", "max_sector_exposure[Health Care]"}
    metrics = answer.metrics
    risk = sum(part.contribution for part in answer.risk_contributions)
    assert risk == pytest.approx(metrics.expected_volatility, rel=1e-9)
    assert 0.05 < metrics.expected_volatility < 0.4
    ratio = (metrics.expected_return - answer.provenance.risk_free_rate) / metrics.expected_volatility
    assert metrics.sharpe_ratio == pytest.approx(ratio, rel=1e-9)
    moved = {name: weights.get(name, 0.0) - now for name, now in answer.current_allocation.items()}
    assert metrics.turnover == pytest.approx(sum(map(abs, moved.values())) / 2, abs=1e-9)


def test_the_same_request_has_the_same_answer_to_the_bit(service: RunningService) -> None:
    first, second = (optimize(service, sharpe_request()) for _ in range(2))
    assert first.optimization_id != second.optimization_id
    assert first.target_allocation == second.target_allocation
    assert first.metrics == second.metrics


def test_a_frontier_rises_and_holds_its_special_portfolios(service: RunningService) -> None:
    request = frontier_pb2.EfficientFrontierRequest(portfolio_id=GROWTH, points=10)
    answer = service.optimization.GenerateEfficientFrontier(request, timeout=PATIENCE_SECONDS)
    points = answer.efficient_frontier
    assert len(points) == 10
    assert [point.risk for point in points] == sorted(point.risk for point in points)
    assert [getattr(point, "return") for point in points] == sorted(getattr(point, "return") for point in points)
    for point in (*points, answer.min_risk_portfolio, answer.max_return_portfolio, answer.optimal_portfolio):
        check_weights(point.weights)
    assert answer.min_risk_portfolio.risk == pytest.approx(points[0].risk, rel=1e-8)
    assert answer.max_return_portfolio.risk == pytest.approx(points[-1].risk, rel=1e-8)
    assert answer.optimal_portfolio.sharpe >= max(point.sharpe for point in points) - 1e-9
    assert answer.current_portfolio.sharpe <= answer.optimal_portfolio.sharpe


@pytest.mark.parametrize("target_type", ["optimal", "custom", "benchmark", "equal_weight", "optimization"])
def test_a_plan_is_made_of_whole_shares_that_cash_can_pay(service: RunningService, target_type: str) -> None:
    request = rebalancing_pb2.RebalancePlanRequest(portfolio_id=GROWTH, target_type=target_type)
    if target_type == "custom":
        request.custom_target.update({"AAPL": 0.5, "KO": 0.3})
    elif target_type == "optimization":
        request.optimization_id = optimize(service, sharpe_request()).optimization_id
    plan = service.optimization.GenerateRebalancePlan(request, timeout=PATIENCE_SECONDS)
    check_weights(plan.planned_allocation)
    check_weights(plan.target_allocation)
    assert plan.rebalance_id
    assert plan.trades
    assert all(Decimal(trade.exact_quantity) % 1 == 0 for trade in plan.trades)
    _check_cash(plan)
    assert _distance(plan.planned_allocation, plan) < _distance(plan.current_allocation, plan)
    assert plan.drift_before.half_l1 == pytest.approx(_distance(plan.current_allocation, plan), abs=1e-12)
    assert plan.drift_after.half_l1 == pytest.approx(_distance(plan.planned_allocation, plan), abs=1e-12)


def _distance(weights: Mapping[str, float], plan: rebalancing_pb2.RebalancePlanResponse) -> float:
    """Half the sum of the differences from the target."""
    names = {*weights, *plan.target_allocation}
    return sum(abs(weights.get(name, 0.0) - plan.target_allocation.get(name, 0.0)) for name in names) / 2


def _check_cash(plan: rebalancing_pb2.RebalancePlanResponse) -> None:
    """Cash after is cash before, and sales less purchases less costs, each to the cent."""
    cash = Decimal(plan.cash_before_amount)
    for trade in plan.trades:
        exact = Decimal(trade.exact_quantity) * Decimal(trade.price_amount)
        value = exact.quantize(CENT, rounding=ROUND_HALF_UP)
        cash += (value if trade.action == "sell" else -value) - Decimal(trade.transaction_cost_amount)
    assert Decimal(plan.cash_after_amount) >= 0
    assert Decimal(plan.cash_after_amount) == cash


def test_a_plan_asked_for_again_is_the_same_plan(service: RunningService) -> None:
    request = rebalancing_pb2.RebalancePlanRequest(
        portfolio_id=DEFENSIVE, target_type="equal_weight", request_id="the-same-plan"
    )
    first, second = (service.optimization.GenerateRebalancePlan(request, timeout=PATIENCE_SECONDS) for _ in range(2))
    assert first == second


def test_exposures_and_attribution_add_up(service: RunningService) -> None:
    request = factors_pb2.FactorExposureRequest(portfolio_id=GROWTH)
    answer = service.optimization.AnalyzeFactorExposures(request, timeout=PATIENCE_SECONDS)
    assert len(answer.exposures) == 5
    assert 0.5 < answer.r_squared <= 1.0
    for exposure in answer.exposures:
        assert exposure.active_exposure == pytest.approx(exposure.exposure - exposure.benchmark_exposure, abs=1e-12)
    explained = sum(part.contribution for part in answer.attribution)
    assert explained + answer.residual == pytest.approx(answer.total_return, abs=1e-12)


def test_what_was_found_last_is_listed_first(service: RunningService) -> None:
    optimization_id = optimize(service, sharpe_request()).optimization_id
    latest = service.optimization.GetLatestOptimization(
        optimization_calls_pb2.GetLatestOptimizationRequest(portfolio_id=GROWTH), timeout=PATIENCE_SECONDS
    )
    assert latest.optimization.optimization_id == optimization_id
    page = service.optimization.ListOptimizations(
        optimization_calls_pb2.ListOptimizationsRequest(page_size=1), timeout=PATIENCE_SECONDS
    )
    assert page.optimizations[0].optimization_id == optimization_id
    assert page.next_page_token or page.optimizations[0].status == "completed"


def test_watching_ends_with_the_answer(service: RunningService) -> None:
    accepted = service.optimization.CreateOptimization(sharpe_request(), timeout=PATIENCE_SECONDS)
    request = optimization_calls_pb2.WatchOptimizationRequest(optimization_id=accepted.optimization_id)
    seen = list(service.optimization.WatchOptimization(request, timeout=PATIENCE_SECONDS))
    assert seen[-1].status == "completed"
    check_weights(seen[-1].optimization.target_allocation)
    assert not any(message.HasField("optimization") for message in seen[:-1])
