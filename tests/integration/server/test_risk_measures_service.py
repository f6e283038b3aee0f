"""Every risk measure through the service, as objective, limit and ratio, against textbook models in another solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.vocabulary import RISK_MEASURES
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

CAP = 0.25
LEVEL = 0.9
SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
YEAR = float(np.sqrt(252.0))
# The Gini of 250 days has 31,125 pairs, which a general model takes long over; it is checked on a kernel of its own.
CONVEX = tuple(word for word in RISK_MEASURES.served if word not in ("var", "gini"))


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def drawdowns(w: Any, R: Floats) -> tuple[Any, list[Any]]:
    """Variables above every fall of the uncompounded path, and what binds them."""
    path = np.vstack([np.zeros(R.shape[1]), np.cumsum(R, axis=0)]) @ w
    peak = cp.Variable(len(R) + 1)
    return peak[1:] - path[1:], [peak >= path, peak[1:] >= peak[:-1], peak[0] >= 0]


def convex_measure(word: str, w: Any, market: Market) -> tuple[Any, list[Any]]:
    """The measure as a cvxpy expression, with the constraints of its auxiliaries."""
    R, T = market.R, len(market.R)
    losses, tail = -(R @ w), (1.0 - LEVEL) * T
    root = np.linalg.cholesky(market.Sigma).T
    falls, bound = drawdowns(w, R)
    z, entropy = cp.Variable(pos=True), cp.Variable()
    cones = cp.ExpCone(losses - entropy, np.ones(T) * z, v := cp.Variable(T))
    plain: dict[str, Callable[[], Any]] = {
        "volatility": lambda: cp.norm(root @ w),
        "variance": lambda: cp.sum_squares(root @ w),
        "semi_deviation": lambda: cp.norm(cp.pos((R.mean(axis=0) - R) @ w)) * YEAR / np.sqrt(T),
        "mad": lambda: cp.sum(cp.abs((R - R.mean(axis=0)) @ w)) * YEAR / T,
        "cvar": lambda: cp.sum_largest(losses, tail) / tail,
        "worst_realization": lambda: cp.max(losses),
        "cdar": lambda: cp.sum_largest(falls, tail) / tail,
        "max_drawdown": lambda: cp.max(falls),
        "average_drawdown": lambda: cp.sum(falls) / T,
        "ulcer": lambda: cp.norm(falls) / np.sqrt(T),
        "evar": lambda: entropy - z * np.log((1.0 - LEVEL) * T),
    }
    if word == "evar":
        return plain[word](), [cones, cp.sum(v) <= z]
    path = ("cdar", "max_drawdown", "average_drawdown", "ulcer")
    return plain[word](), bound if word in path else []


def least(word: str, market: Market) -> float:
    w = cp.Variable(len(market.names), nonneg=True)
    risk, own = convex_measure(word, w, market)
    return float(solved(cp.Minimize(risk), [cp.sum(w) == 1, w <= CAP, *own]))


def solved(objective: Any, constraints: list[Any]) -> float:
    problem: Any = cp.Problem(objective, constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


def request(word: str = "", objective: str = "minimize_risk", **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "mean_variance",
        "objective": objective,
        "risk_measure": word,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "confidence_level": LEVEL,
        "constraints": pb.OptimizationConstraints(max_position_size=CAP),
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def measured(word: str, w: Floats, market: Market) -> float:
    """The measure by its definition, in plain loops and sums."""
    r = market.R @ w
    losses, T = np.sort(-r)[::-1], len(r)
    path = np.concatenate([[0.0], np.cumsum(r)])
    falls = np.array([path[: t + 1].max() - path[t] for t in range(1, T + 1)])
    tail = round((1.0 - LEVEL) * T)
    values = {
        "volatility": np.sqrt(w @ market.Sigma @ w),
        "variance": w @ market.Sigma @ w,
        "semi_deviation": YEAR * np.sqrt(np.mean(np.minimum(r - r.mean(), 0.0) ** 2)),
        "mad": YEAR * np.mean(np.abs(r - r.mean())),
        "gini": YEAR * np.mean(np.abs(r[:, None] - r[None, :])),
        "var": losses[tail],
        "cvar": losses[:tail].mean(),
        "worst_realization": losses[0],
        "cdar": np.sort(falls)[::-1][:tail].mean(),
        "max_drawdown": falls.max(),
        "average_drawdown": falls.mean(),
        "ulcer": np.sqrt(np.mean(falls**2)),
    }
    return float(values[word])


@pytest.mark.parametrize("word", CONVEX)
def test_the_least_risk_is_that_of_an_independent_model(service: OpenService, market: Market, word: str) -> None:
    answer = service.optimize(request(word))
    assert answer.status == "completed", answer.outcome.message
    tolerance = 1e-5 if word == "evar" else 1e-6
    assert answer.certificate.objective_value == pytest.approx(least(word, market), rel=tolerance)
    assert answer.risk_values[word] == pytest.approx(answer.certificate.objective_value, rel=1e-12)


def test_every_measure_is_that_of_the_returned_weights(service: OpenService, market: Market) -> None:
    answer = service.optimize(request("volatility"))
    w = market.vector(dict(answer.target_allocation))
    assert set(answer.risk_values) == set(RISK_MEASURES.served)
    for word in set(RISK_MEASURES.served) - {"evar"}:
        assert answer.risk_values[word] == pytest.approx(measured(word, w, market), rel=1e-9), word
    # The entropic value at risk lies between the conditional one and the worst.
    assert answer.risk_values["cvar"] <= answer.risk_values["evar"] <= answer.risk_values["worst_realization"]


@pytest.mark.parametrize("word", [word for word in CONVEX if word != "variance"])
def test_contributions_add_up_to_the_measure(service: OpenService, word: str) -> None:
    answer = service.optimize(request(word))
    parts = [part.measure_contribution for part in answer.risk_contributions]
    assert all(part.HasField("measure_contribution") for part in answer.risk_contributions)
    assert sum(parts) == pytest.approx(answer.risk_values[word], rel=1e-9)


@pytest.mark.parametrize("word", [word for word in CONVEX if word != "evar"])
def test_a_limit_on_a_measure_holds_and_costs_what_it_should(service: OpenService, market: Market, word: str) -> None:
    field = word if word == "max_drawdown" else f"max_{word}"
    limit = 1.2 * least(word, market)
    constraints = pb.OptimizationConstraints(
        max_position_size=CAP, risk_limits=constraints_pb2.RiskLimits(**{field: limit})
    )
    answer = service.optimize(request("", "maximize_return", constraints=constraints))
    w = cp.Variable(len(market.names), nonneg=True)
    risk, own = convex_measure(word, w, market)
    best = solved(cp.Maximize(market.mu @ w), [cp.sum(w) == 1, w <= CAP, risk <= limit, *own])
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    assert answer.risk_values[word] <= limit + 1e-8
    report = next(report for report in answer.constraints if report.name == f"risk_limits.{field}")
    assert report.binding
    assert report.shadow_price > 0
    assert f"of risk_limits.{field} is worth" in report.sentence


@pytest.mark.parametrize("word", ["volatility", "semi_deviation", "mad", "cvar", "max_drawdown", "ulcer"])
def test_the_highest_ratio_is_that_of_an_independent_model(service: OpenService, market: Market, word: str) -> None:
    answer = service.optimize(request(word, "maximize_sharpe"))
    y, kappa = cp.Variable(len(market.names), nonneg=True), cp.Variable(nonneg=True)
    risk, own = convex_measure(word, y, market)
    unit = [(market.mu - RISK_FREE) @ y == 1, cp.sum(y) == kappa, y <= CAP * kappa]
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.objective_value == pytest.approx(1.0 / solved(cp.Minimize(risk), [*unit, *own]), rel=1e-6)


def test_the_highest_sortino_ratio(service: OpenService, market: Market) -> None:
    """Shortfalls are counted below the risk-free rate, so that the ratio is the one that is reported."""
    answer = service.optimize(request("", "maximize_sortino"))
    y, kappa = cp.Variable(len(market.names), nonneg=True), cp.Variable(nonneg=True)
    shortfall = cp.pos(RISK_FREE / 252.0 * kappa - market.R @ y)
    unit = [(market.mu - RISK_FREE) @ y == 1, cp.sum(y) == kappa, y <= CAP * kappa]
    best = 1.0 / solved(cp.Minimize(cp.norm(shortfall) * YEAR / np.sqrt(DAYS)), unit)
    assert answer.risk_measure == "semi_deviation"
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    assert answer.metrics.sortino_ratio == pytest.approx(best, rel=1e-6)


def test_the_highest_information_ratio_is_the_one_that_is_reported(service: OpenService) -> None:
    answer = service.optimize(request("", "maximize_information_ratio", benchmark_id="sample-sp500"))
    assert answer.status == "completed", answer.outcome.message
    assert answer.metrics.information_ratio == pytest.approx(answer.certificate.objective_value, rel=1e-9)
    other = service.optimize(request("", "maximize_sharpe", benchmark_id="sample-sp500"))
    assert other.metrics.information_ratio < answer.metrics.information_ratio


def test_value_at_risk_says_how_it_was_found(service: OpenService, market: Market) -> None:
    """No portfolio has a value at risk below the bound, and none of those tried at random one below the answer."""
    answer = service.optimize(request("var", time_limit_seconds=20))
    assert answer.status == "completed", answer.outcome.message
    certificate = answer.certificate
    w = market.vector(dict(answer.target_allocation))
    assert certificate.best_bound <= certificate.objective_value
    assert certificate.objective_value == pytest.approx(measured("var", w, market), rel=1e-9)
    random = np.random.default_rng(7).dirichlet(np.ones(len(w)), 2000)
    assert min(measured("var", v, market) for v in random if v.max() <= CAP) >= certificate.objective_value


def test_a_ratio_that_has_no_meaning_falls_back_where_asked(service: OpenService) -> None:
    asked = request("cvar", "maximize_sharpe", risk_free_rate=0.9)
    assert service.optimize(asked).status == "ill_posed"
    asked.preferences.ill_posed_fallback = "minimize_risk"
    answer = service.optimize(asked)
    plain = service.optimize(request("cvar", risk_free_rate=0.9))
    assert answer.status == "completed"
    assert "risk-free rate 90.0000%" in answer.outcome.message
    assert dict(answer.target_allocation) == dict(plain.target_allocation)
