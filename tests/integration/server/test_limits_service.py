"""The limits of a request through the service: each against an independent model, and what cannot be posed refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import common_pb2, constraints_pb2, estimation_pb2, frontier_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.specs import ModelSpec
from storage.instruments import InstrumentRepository
from storage.portfolios import PortfolioRepository
from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
TECHNOLOGY = ("AAPL", "AMD", "MSFT")
Constraints = pb.OptimizationConstraints
Model = Callable[[Any, Market, Floats], list[Any]]
Linear, Factor, Stress = constraints_pb2.LinearConstraint, constraints_pb2.FactorLimit, constraints_pb2.StressScenario


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    """The market, with quality scores and volumes stated for every instrument."""
    found = load_market(service)
    service.run(state_facts(service, found.names))
    return found


async def state_facts(service: OpenService, names: tuple[str, ...]) -> None:
    async with service.application.database.transaction() as connection:
        repository = InstrumentRepository(connection)
        known = await repository.find(list(names))
        stated = [
            replace(
                instrument,
                quality_score=Decimal(k % 10),
                average_daily_volume=Decimal(20_000 + 1_000 * k),
            )
            for k, instrument in enumerate(known)
        ]
        await repository.put(stated)


def request(objective: str = "minimize_risk", **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "mean_variance",
        "objective": objective,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def solved(objective: Any, limits: list[Any]) -> float:
    problem: Any = cp.Problem(objective, limits)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert problem.status == "optimal"
    return float(problem.value)


def beta(market: Market) -> Floats:
    """An exposure of some size and either sign."""
    return np.round(market.R.mean(axis=0) / market.R.std(axis=0) * 100.0, 3)


def exposures(market: Market) -> dict[str, constraints_pb2.InstrumentValues]:
    values = dict(zip(market.names, beta(market).tolist(), strict=True))
    return {"quality": constraints_pb2.InstrumentValues(values=values)}


def members(market: Market, names: tuple[str, ...]) -> Floats:
    return np.array([float(name in names) for name in market.names])


def scores(market: Market) -> Floats:
    return np.arange(len(market.names)) % 10.0


CRASH = {"AAPL": -0.5, "MSFT": -0.4, "AMD": -0.7, "XOM": 0.1}
CASES: dict[str, tuple[Constraints, Model]] = {
    "linear": (
        Constraints(linear_constraints=[Linear(name="tech", coefficients=dict.fromkeys(TECHNOLOGY, 1.0), minimum=0.2)]),
        lambda w, m, w0: [w >= 0, cp.sum(w) == 1, members(m, TECHNOLOGY) @ w >= 0.2],
    ),
    "trade size": (
        Constraints(max_trade_size=0.05, max_trade_sizes={"KO": 0.01}, max_cash_weight=0.5),
        lambda w, m, w0: [
            w >= 0,
            cp.sum(w) <= 1,
            cp.sum(w) >= 0.5,
            cp.abs(w - w0) <= np.where(np.array(m.names) == "KO", 0.01, 0.05),
        ],
    ),
    "shorts": (
        Constraints(allow_short=True, max_gross_leverage=1.6, max_short_exposure=0.25, max_position_size=0.3),
        lambda w, m, w0: [
            cp.abs(w) <= 0.3,
            cp.sum(w) == 1,
            cp.norm1(w) <= 1.6,
            cp.sum(cp.neg(w)) <= 0.25,
        ],
    ),
    "market neutral": (
        Constraints(
            allow_short=True,
            min_net_leverage=0.0,
            max_net_leverage=0.0,
            max_long_exposure=0.5,
            min_weights={"KO": 0.1},
            max_position_size=0.2,
            max_cash_weight=1.0,
        ),
        lambda w, m, w0: [
            w <= 0.2,
            w >= np.where(np.array(m.names) == "KO", 0.1, -0.2),
            cp.sum(w) == 0,
            cp.sum(cp.pos(w)) <= 0.5,
        ],
    ),
    "borrowing": (
        Constraints(min_cash_weight=-0.5, max_cash_weight=0.0, max_weights={"AMD": 0.1}, max_gross_leverage=1.3),
        lambda w, m, w0: [
            w >= 0,
            cp.sum(w) <= 1.3,
            cp.sum(w) >= 1,
            w <= np.where(np.array(m.names) == "AMD", 0.1, 10.0),
        ],
    ),
    "stress": (
        Constraints(stress_scenarios=[Stress(name="crash", returns=CRASH, min_return=-0.05)]),
        lambda w, m, w0: [w >= 0, cp.sum(w) == 1, m.vector(CRASH) @ w >= -0.05],
    ),
    "least quality": (
        Constraints(min_quality_score=4.0),
        lambda w, m, w0: [w >= 0, cp.sum(w) == 1, w[np.flatnonzero(scores(m) < 4.0)] == 0],
    ),
    "average quality": (
        Constraints(min_average_quality=7.0),
        lambda w, m, w0: [w >= 0, cp.sum(w) == 1, scores(m) @ w >= 7.0],
    ),
    "target return": (
        Constraints(target_return=0.3),
        lambda w, m, w0: [w >= 0, cp.sum(w) == 1, m.mu @ w >= 0.3],
    ),
}


@pytest.fixture(scope="module")
def current(service: OpenService, market: Market) -> Floats:
    answer = service.optimize(request())
    return market.vector(dict(answer.current_allocation))


@pytest.mark.parametrize("name", CASES)
def test_the_least_risk_under_a_limit(service: OpenService, market: Market, current: Floats, name: str) -> None:
    constraints, model = CASES[name]
    answer = service.optimize(request(constraints=constraints))
    w = cp.Variable(len(market.names))
    best = solved(cp.Minimize(cp.norm(np.linalg.cholesky(market.Sigma).T @ w)), model(w, market, current))
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    assert min(report.slack for report in answer.constraints) >= -1e-8


@pytest.mark.parametrize("name", ["linear", "shorts", "stress", "average quality"])
def test_the_highest_ratio_under_a_limit(service: OpenService, market: Market, current: Floats, name: str) -> None:
    """Dinkelbach: at the highest ratio the best of excess less ratio times risk is zero."""
    constraints, model = CASES[name]
    answer = service.optimize(request("maximize_sharpe", constraints=constraints))
    w = cp.Variable(len(market.names))
    ratio = answer.certificate.objective_value
    risk = cp.norm(np.linalg.cholesky(market.Sigma).T @ w)
    best = solved(cp.Maximize(market.mu @ w - RISK_FREE - ratio * risk), model(w, market, current))
    assert answer.status == "completed", answer.outcome.message
    assert best == pytest.approx(0.0, abs=1e-6)


def test_a_neutral_factor_is_neutral_and_a_relative_one_is_that_of_the_benchmark(
    service: OpenService, market: Market
) -> None:
    limits = [Factor(factor="quality", minimum=0.5, maximum=0.5)]
    answer = service.optimize(
        request(constraints=Constraints(factor_limits=limits, factor_exposures=exposures(market)))
    )
    w = market.vector(dict(answer.target_allocation))
    assert beta(market) @ w == pytest.approx(0.5, abs=1e-8)
    report = next(r for r in answer.constraints if r.name == "factor_limits[quality]")
    assert (report.unit, report.sense, report.limit) == ("exposure", common_pb2.CONSTRAINT_SENSE_EQUAL, 0.5)


def test_positions_are_counted(service: OpenService, market: Market) -> None:
    answer = service.optimize(
        request("maximize_sharpe", constraints=Constraints(max_positions=4, max_position_size=0.4))
    )
    assert answer.status == "completed", answer.outcome.message
    assert sum(weight > 1e-8 for name, weight in answer.target_allocation.items() if name != "CASH") <= 4
    held = service.optimize(request(constraints=Constraints(min_positions=12, min_position_size=0.02)))
    assert sum(weight >= 0.02 - 1e-8 for name, weight in held.target_allocation.items() if name != "CASH") >= 12


def test_a_risk_budget_is_kept_and_bounded(service: OpenService, market: Market) -> None:
    """The share is measured on the weights; without the budget it is exceeded, and the risk is the proven bound."""
    budgets = [
        constraints_pb2.RiskBudget(sector="Consumer Staples", max_share=0.25),
        constraints_pb2.RiskBudget(instrument_id="LLY", max_share=0.05),
    ]
    free = service.optimize(request())
    answer = service.optimize(request(constraints=Constraints(risk_budgets=budgets)))
    assert answer.status == "completed", answer.outcome.message
    w = market.vector(dict(answer.target_allocation))
    shares = w * (market.Sigma @ w) / (w @ market.Sigma @ w)
    staples = np.array([market.sectors[name] == "Consumer Staples" for name in market.names])
    assert shares[staples].sum() <= 0.25 + 1e-8
    assert shares[market.names.index("LLY")] <= 0.05 + 1e-8
    assert answer.certificate.best_bound == pytest.approx(free.certificate.objective_value, rel=1e-6)
    assert answer.certificate.objective_value >= free.certificate.objective_value
    reports = {report.name: report for report in answer.constraints}
    assert reports["risk_budgets[Consumer Staples].max_share"].unit == "risk share"


def test_whole_lots_are_whole(service: OpenService, market: Market) -> None:
    constraints = Constraints(whole_lots=True, max_cash_weight=0.03)
    answer = service.optimize(request(constraints=constraints, time_limit_seconds=5, instrument_ids=market.names[:6]))
    assert answer.status == "completed", answer.outcome.message
    report = next(r for r in answer.constraints if r.name == "whole_lots")
    assert abs(report.value) <= 1e-9


def test_costs_of_impact_and_commission_lower_the_answer(service: OpenService, market: Market, current: Floats) -> None:
    """The impact is the square-root law on each traded value; the utility is that of an independent model."""
    preferences = pb.OptimizationPreferences(
        include_transaction_costs=True,
        transaction_cost_model=0.002,
        market_impact=pb.MarketImpact(coefficient=0.8),
        risk_aversion=2.0,
    )
    answer = service.optimize(request("maximize_utility", preferences=preferences))
    assert answer.status == "completed", answer.outcome.message
    value, prices = service.run(worth(service, market.names))
    volumes = (20_000 + 1_000 * np.arange(len(market.names))) * prices
    impact = 0.8 * np.sqrt(np.diag(market.Sigma) / 252.0) * np.sqrt(value / volumes)
    w = cp.Variable(len(market.names), nonneg=True)
    change = cp.abs(w - current)
    cost = 0.002 * cp.sum(change) + impact @ cp.power(change, 1.5)
    risk = cp.sum_squares(np.linalg.cholesky(market.Sigma).T @ w)
    best = solved(cp.Maximize(market.mu @ w - cost - risk), [cp.sum(w) == 1])
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    w_found = market.vector(dict(answer.target_allocation))
    moved = np.abs(w_found - current)
    expected = 0.002 * moved.sum() + impact @ moved**1.5
    assert answer.metrics.transaction_cost == pytest.approx(expected, rel=1e-9)


async def worth(service: OpenService, names: tuple[str, ...]) -> tuple[float, Floats]:
    inputs, _ = await service.application.loader.market(PORTFOLIO, ModelSpec(RISK_FREE))
    assert inputs.ids == names
    return float(inputs.value), np.array([float(asset.price or 0) for asset in inputs.assets])


def test_a_shadow_price_in_words_is_what_one_more_point_brings(service: OpenService, market: Market) -> None:
    def answer(cap: float) -> Any:
        limit = Linear(name="tech", coefficients=dict.fromkeys(TECHNOLOGY, 1.0), minimum=cap)
        return service.optimize(request(constraints=Constraints(linear_constraints=[limit])))

    middle = answer(0.3)
    report = next(r for r in middle.constraints if r.name == "linear_constraints[tech].minimum")
    slope = (answer(0.301).certificate.objective_value - answer(0.299).certificate.objective_value) / 0.002
    assert report.shadow_price == pytest.approx(slope, rel=1e-3)
    words = (
        f"one unit less of linear_constraints[tech].minimum is worth {report.shadow_price / 1e-4:.3g} bp of volatility"
    )
    assert report.sentence == words


def test_no_portfolio_is_explained_with_ways_out(service: OpenService) -> None:
    constraints = Constraints(max_position_size=0.04, max_weights={"KO": 0.02}, max_tracking_error=0.5)
    answer = service.optimize(request(constraints=constraints, benchmark_id="sample-sp500"))
    explanation = answer.infeasibility
    assert answer.status == "infeasible"
    assert "max_position_size" in explanation.conflicting_constraints
    kinds = [plan.kind for plan in explanation.alternatives]
    assert len(kinds) >= 2
    assert kinds[0] == "least_total"
    assert all(plan.verified and plan.relaxations and plan.total_points > 0 for plan in explanation.alternatives)
    assert list(explanation.alternatives[0].relaxations) == list(explanation.relaxations)
    assert explanation.minimality in {"smallest", "irreducible"}
    assert "max_position_size" in explanation.sentence


def test_an_unbounded_problem_names_its_direction(service: OpenService, market: Market) -> None:
    answer = service.optimize(request("maximize_return", constraints=Constraints(allow_short=True)))
    direction = market.vector(dict(answer.unbounded_direction))
    assert answer.status == "unbounded"
    assert np.abs(direction).max() == pytest.approx(1.0)
    assert direction.sum() == pytest.approx(0.0, abs=1e-9)
    assert market.mu @ direction > 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "tracking error without a benchmark": (
        {"constraints": Constraints(max_tracking_error=0.05), "benchmark_id": ""},
        "constraints.max_tracking_error",
    ),
    "shorts that were not allowed": (
        {"constraints": Constraints(min_weights={"KO": -0.1})},
        "constraints.min_weights[KO]",
    ),
    "lots without cash": ({"constraints": Constraints(whole_lots=True)}, "constraints.whole_lots"),
    "a factor without exposures": (
        {"constraints": Constraints(factor_limits=[Factor(factor="size", minimum=0.0)])},
        "constraints.factor_limits[size]",
    ),
    "exposures that leave out instruments": (
        {
            "constraints": Constraints(
                factor_limits=[Factor(factor="size", minimum=0.0)],
                factor_exposures={"size": constraints_pb2.InstrumentValues(values={"KO": 1.0})},
            )
        },
        "constraints.factor_exposures[size]",
    ),
    "a range upside down": (
        {
            "constraints": Constraints(
                linear_constraints=[Linear(name="a", coefficients={"KO": 1}, minimum=2, maximum=1)]
            )
        },
        "constraints.linear_constraints[a]",
    ),
    "an instrument that is not there": (
        {"constraints": Constraints(linear_constraints=[Linear(name="a", coefficients={"KOO": 1}, minimum=0)])},
        "constraints.linear_constraints[a].coefficients",
    ),
    "positions without bounds": (
        {"constraints": Constraints(allow_short=True, max_positions=3)},
        "constraints.max_positions",
    ),
    "more positions than instruments": (
        {"constraints": Constraints(min_positions=30)},
        "constraints.min_positions",
    ),
    "a budget for a sector that is not there": (
        {"constraints": Constraints(risk_budgets=[constraints_pb2.RiskBudget(sector="Energi", max_share=0.2)])},
        "constraints.risk_budgets[Energi]",
    ),
    "budgets of risk beside integer choices": (
        {
            "constraints": Constraints(
                max_positions=5, risk_budgets=[constraints_pb2.RiskBudget(sector="Energy", max_share=0.2)]
            )
        },
        "constraints.risk_budgets",
    ),
    "a measure that the objective does not have": (
        {"objective": "maximize_sortino", "risk_measure": "cvar"},
        "risk_measure",
    ),
    "scenarios without their type": ({"scenarios_id": "sc-1"}, "scenarios_id"),
    "a word for the fallback": (
        {"preferences": pb.OptimizationPreferences(ill_posed_fallback="maximize_sharpe")},
        "preferences.ill_posed_fallback",
    ),
    "an information ratio without a benchmark": ({"objective": "maximize_information_ratio"}, "objective"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_posed_is_refused_before_any_solve(service: OpenService, market: Market, name: str) -> None:
    fields, at = REFUSED[name]
    asked = request(**{"portfolio_id": "plain", **fields})
    service.run(store_plain(service))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        service.call("CreateOptimization", asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = violations(caught.value)
    assert at in found, found
    assert found[at]


async def store_plain(service: OpenService) -> None:
    """A copy of the sample portfolio that has no benchmark."""
    async with service.application.database.transaction() as connection:
        repository = PortfolioRepository(connection)
        known = await repository.find(PORTFOLIO)
        await repository.put(replace(known, id="plain", benchmark_id=None))


def test_the_frontier_keeps_the_same_limits(service: OpenService, market: Market) -> None:
    constraints = Constraints(allow_short=True, max_gross_leverage=1.4, max_position_size=0.3)
    asked = frontier_pb2.EfficientFrontierRequest(
        portfolio_id=PORTFOLIO, points=5, constraints=constraints, risk_model=SAMPLE, lookback_days=DAYS
    )
    answer = service.call("GenerateEfficientFrontier", asked)
    W = np.array([market.vector(dict(point.weights)) for point in answer.efficient_frontier])
    assert len(W) == 5
    assert np.abs(W).sum(axis=1).max() <= 1.4 + 1e-8
    assert (W < -1e-6).any()
