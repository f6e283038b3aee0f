"""Robust optimization and resampled frontiers through the service: each set against an independent counterpart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import grpc
import numpy as np
import pytest
import scipy.stats
from portfolio_optimization.v1 import constraints_pb2, estimation_pb2, frontier_pb2, robustness_pb2
from portfolio_optimization.v1 import optimization_pb2 as pb

from tests.integration.server.open_service import OpenService, violations
from tests.integration.server.sample_market import DAYS, PORTFOLIO, RISK_FREE, Floats, Market, load_market

SAMPLE = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_SAMPLE)
FACTORS = estimation_pb2.RiskModel(method=estimation_pb2.RISK_MODEL_METHOD_FACTOR_MODEL)
Mean, Covariance = robustness_pb2.MeanUncertainty, robustness_pb2.CovarianceUncertainty
Ball, Robustness = robustness_pb2.DistributionUncertainty, robustness_pb2.Robustness
BOX, ELLIPSOID = robustness_pb2.UNCERTAINTY_SHAPE_BOX, robustness_pb2.UNCERTAINTY_SHAPE_ELLIPSOID
FACTOR = robustness_pb2.UNCERTAINTY_SHAPE_FACTOR
SHORTS = pb.OptimizationConstraints(allow_short=True, max_position_size=0.3, max_gross_leverage=1.6)
LEVEL = 0.95


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return load_market(service)


def request(objective: str = "minimize_risk", **fields: Any) -> pb.CreateOptimizationRequest:
    plain = {
        "portfolio_id": PORTFOLIO,
        "optimization_type": "robust",
        "objective": objective,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
    }
    return pb.CreateOptimizationRequest(**{**plain, **fields})


def solved(goal: Any, limits: list[Any]) -> float:
    problem: Any = cp.Problem(goal, limits)
    with warnings.catch_warnings():
        # So fine that the solver may stop at its best and say so.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status in ("optimal", "optimal_inaccurate")
    return float(problem.value)


def root(Sigma: Floats) -> Floats:
    values, vectors = np.linalg.eigh(Sigma)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def limits(y: Any, shorts: bool, scale: Any = 1.0) -> list[Any]:
    if not shorts:
        return [y >= 0, cp.sum(y) == scale]
    return [cp.abs(y) <= 0.3 * scale, cp.sum(y) == scale, cp.norm1(y) <= 1.6 * scale]


def half_widths(m: Market, confidence: float = 0.95) -> Floats:
    errors = np.sqrt(np.diag(m.Sigma) * 252.0 / DAYS)
    return np.asarray(scipy.stats.norm.ppf((1 + confidence) / 2) * errors)


def ball_radius(m: Market) -> float:
    n = len(m.names)
    return float(np.sqrt(2.0 * scipy.stats.chi2.ppf(0.95, n * (n + 1) / 2) / DAYS))


def entry_widths(m: Market) -> Floats:
    variances = np.diag(m.Sigma)
    D = 1.959963984540054 * np.sqrt((np.outer(variances, variances) + m.Sigma**2) / DAYS)
    assert np.linalg.eigvalsh(D)[0] > 0
    return np.asarray(D)


Shortfall = Callable[[Any, Market], Any]
MEANS: dict[str, tuple[Any, Shortfall]] = {
    "box of confidence": (Mean(shape=BOX, confidence=0.3), lambda y, m: half_widths(m, 0.3) @ cp.abs(y)),
    "given box": (Mean(shape=BOX, half_widths={"AAPL": 0.1, "KO": 0.02}), lambda y, m: given_widths(m) @ cp.abs(y)),
    "ellipsoid": (
        Mean(shape=ELLIPSOID, radius=0.4),
        lambda y, m: 0.4 * np.sqrt(252.0 / DAYS) * cp.norm(root(m.Sigma) @ y),
    ),
}
RISKS: dict[str, tuple[Any, Callable[[Any, Any, Market], Any]]] = {
    "sampling": (
        Covariance(shape=ELLIPSOID),
        lambda y, a, m: np.sqrt(1 + ball_radius(m)) * cp.norm(root(m.Sigma) @ y),
    ),
    "variances": (
        Covariance(shape=ELLIPSOID, radius=0.5, metric=robustness_pb2.COVARIANCE_METRIC_VARIANCES),
        lambda y, a, m: cp.norm(root(m.Sigma + 0.5 * np.diag(np.diag(m.Sigma))) @ y),
    ),
    "identity": (
        Covariance(shape=ELLIPSOID, radius=0.5, metric=robustness_pb2.COVARIANCE_METRIC_IDENTITY),
        lambda y, a, m: cp.norm(root(m.Sigma + 0.5 * np.diag(m.Sigma).mean() * np.eye(len(m.names))) @ y),
    ),
    "box": (
        Covariance(shape=BOX),
        lambda y, a, m: cp.norm(cp.hstack([root(m.Sigma) @ y, root(entry_widths(m)) @ a])),
    ),
    "relative box": (
        Covariance(shape=BOX, relative_half_width=0.4),
        lambda y, a, m: cp.norm(cp.hstack([root(m.Sigma) @ y, np.sqrt(0.4) * (np.sqrt(np.diag(m.Sigma)) @ a)])),
    ),
}


def given_widths(m: Market) -> Floats:
    return m.vector({"AAPL": 0.1, "KO": 0.02})


@pytest.mark.parametrize("shorts", [False, True])
@pytest.mark.parametrize("risk", RISKS)
def test_the_least_worst_risk(service: OpenService, market: Market, risk: str, shorts: bool) -> None:
    covariance, worst = RISKS[risk]
    fields = {"constraints": SHORTS} if shorts else {}
    answer = service.optimize(request(robustness=Robustness(covariance=covariance), **fields))
    y, a = cp.Variable(len(market.names)), cp.Variable(len(market.names))
    best = solved(cp.Minimize(worst(y, a, market)), [*limits(y, shorts), a >= y, a >= -y])
    assert answer.status == "completed", answer.outcome.message
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    assert answer.certificate.duality_gap <= 1e-8
    check_member(answer, market)


def check_member(answer: Any, market: Market) -> None:
    """The worst covariance is semidefinite, gives the worst risk, and the nominal one gives the nominal risk."""
    w = market.vector(dict(answer.target_allocation))
    ids = list(answer.robust.instrument_ids)
    Sigma = np.array(answer.robust.worst_covariance).reshape(len(ids), len(ids))
    held = np.array([answer.target_allocation[name] for name in ids])
    assert np.linalg.eigvalsh(Sigma)[0] >= -1e-12
    assert np.sqrt(held @ Sigma @ held) == pytest.approx(answer.robust.worst_risk, rel=1e-9)
    assert np.sqrt(w @ market.Sigma @ w) == pytest.approx(answer.robust.nominal_risk, rel=1e-9)
    assert answer.robust.nominal_return == pytest.approx(market.mu @ w, rel=1e-9)
    assert answer.robust.observations == DAYS
    assert set(answer.robust.rules) == set(answer.robust.radii)
    parts = sum(part.measure_contribution for part in answer.risk_contributions)
    assert parts == pytest.approx(answer.robust.worst_risk, rel=1e-9)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("risk", ["sampling", "box"])
def test_the_highest_worst_ratio(service: OpenService, market: Market, mean: str, risk: str) -> None:
    means, shortfall = MEANS[mean]
    covariance, worst = RISKS[risk]
    asked = request("maximize_sharpe", robustness=Robustness(mean=means, covariance=covariance), constraints=SHORTS)
    answer = service.optimize(asked)
    assert answer.status == "completed", answer.outcome.message
    n = len(market.names)
    y, a, scale = cp.Variable(n), cp.Variable(n), cp.Variable(nonneg=True)
    excess = market.mu @ y - shortfall(y, market) - RISK_FREE * scale
    rows = [*limits(y, True, scale), a >= y, a >= -y, worst(y, a, market) <= 1]
    assert answer.certificate.objective_value == pytest.approx(solved(cp.Maximize(excess), rows), rel=1e-6)
    check_member(answer, market)
    robust, allocation = answer.robust, answer.target_allocation
    worst_return = sum(weight * robust.worst_expected_returns[name] for name, weight in allocation.items())
    assert worst_return == pytest.approx(robust.worst_return, rel=1e-9)
    ratio = (robust.worst_return - RISK_FREE) / robust.worst_risk
    assert ratio == pytest.approx(answer.certificate.objective_value, rel=1e-8)


@pytest.mark.parametrize("mean", MEANS)
def test_the_highest_worst_utility(service: OpenService, market: Market, mean: str) -> None:
    means, shortfall = MEANS[mean]
    preferences = pb.OptimizationPreferences(risk_aversion=3.0)
    answer = service.optimize(request("maximize_utility", robustness=Robustness(mean=means), preferences=preferences))
    y = cp.Variable(len(market.names))
    utility = market.mu @ y - shortfall(y, market) - 1.5 * cp.sum_squares(root(market.Sigma) @ y)
    assert answer.status == "completed", answer.outcome.message
    best = solved(cp.Maximize(utility), limits(y, False))
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)


DUALS = {
    robustness_pb2.GROUND_NORM_ONE: cp.norm_inf,
    robustness_pb2.GROUND_NORM_UNSPECIFIED: cp.norm2,
    robustness_pb2.GROUND_NORM_INFINITY: cp.norm1,
}


@pytest.mark.parametrize("norm", DUALS)
def test_the_least_worst_tail(service: OpenService, market: Market, norm: Any) -> None:
    asked = Robustness(distribution=Ball(radius=0.001, norm=norm))
    answer = service.optimize(request(risk_measure="cvar", robustness=asked, confidence_level=LEVEL))
    assert answer.status == "completed", answer.outcome.message
    y, x = cp.Variable(len(market.names)), cp.Variable()
    tail = x + cp.sum(cp.pos(-market.R @ y - x)) / DAYS / (1 - LEVEL)
    best = solved(cp.Minimize(tail + 0.001 / (1 - LEVEL) * DUALS[norm](y)), limits(y, False))
    assert answer.certificate.objective_value == pytest.approx(best, rel=1e-6)
    robust = answer.robust
    assert robust.worst_risk == pytest.approx(best, rel=1e-6)
    size = (robust.worst_risk - robust.nominal_risk) * (1 - LEVEL) / 0.001
    assert robust.nominal_return - robust.worst_return == pytest.approx(252.0 * 0.001 * size, rel=1e-6)
    assert robust.radii["distribution"] == 0.001


def test_a_ball_of_a_confidence_reaches_the_mean(service: OpenService, market: Market) -> None:
    answer = service.optimize(request(risk_measure="cvar", robustness=Robustness(distribution=Ball(confidence=0.5))))
    S = market.Sigma / 252.0 / DAYS
    trace, square = np.trace(S), np.sum(S * S)
    expected = np.sqrt(square / trace * scipy.stats.chi2.ppf(0.5, trace**2 / square))
    assert answer.status == "completed", answer.outcome.message
    assert answer.robust.radii["distribution"] == pytest.approx(expected, rel=1e-9)
    assert "probability 0.5" in answer.robust.rules["distribution"]


def test_factor_exposures_that_err(service: OpenService) -> None:
    """The worst is larger than the nominal risk, no nominal optimum is better, and a lower confidence costs less."""
    nominal = service.optimize(request(optimization_type="mean_variance", risk_model=FACTORS))
    answers = [
        service.optimize(
            request(risk_model=FACTORS, robustness=Robustness(covariance=Covariance(shape=FACTOR, confidence=c)))
        )
        for c in (0.5, 0.99)
    ]
    for answer in answers:
        assert answer.status == "completed", answer.outcome.message
        assert answer.robust.nominal_risk >= nominal.certificate.objective_value - 1e-9
        assert answer.robust.worst_risk > answer.robust.nominal_risk
        assert answer.certificate.duality_gap <= 1e-8
    assert answers[0].robust.worst_risk < answers[1].robust.worst_risk
    named = Covariance(shape=FACTOR, factor_set_id=answers[0].provenance.factor_set_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        service.optimize(request(risk_model=FACTORS, robustness=Robustness(covariance=named)))
    assert set(violations(refused.value)) == {"robustness.covariance.factor_set_id"}


def test_sets_without_size_are_the_nominal_problem(service: OpenService) -> None:
    nominal = service.optimize(request("maximize_sharpe", optimization_type="mean_variance"))
    nothing = Robustness(
        mean=Mean(shape=ELLIPSOID, radius=0.0), covariance=Covariance(shape=BOX, relative_half_width=0.0)
    )
    answer = service.optimize(request("maximize_sharpe", robustness=nothing))
    assert answer.certificate.objective_value == pytest.approx(nominal.certificate.objective_value, rel=1e-9)
    for name, weight in nominal.target_allocation.items():
        assert answer.target_allocation[name] == pytest.approx(weight, abs=1e-7)
    assert answer.robust.worst_return == pytest.approx(answer.robust.nominal_return, rel=1e-12)
    assert answer.robust.worst_risk == pytest.approx(answer.robust.nominal_risk, rel=1e-12)


def test_limits_hold_in_the_worst_case(service: OpenService, market: Market) -> None:
    sets = Robustness(mean=Mean(shape=ELLIPSOID, radius=0.3), covariance=Covariance(shape=BOX, relative_half_width=0.3))
    bounds = pb.OptimizationConstraints(target_return=0.15, target_volatility=0.25)
    answer = service.optimize(request("maximize_return", robustness=sets, constraints=bounds))
    assert answer.status == "completed", answer.outcome.message
    reports = {report.name: report for report in answer.constraints}
    assert reports["target_volatility"].value == pytest.approx(answer.robust.worst_risk, rel=1e-9)
    assert answer.robust.worst_risk <= 0.25 + 1e-8
    assert reports["target_volatility"].binding
    least = service.optimize(request(robustness=sets, constraints=bounds))
    assert least.robust.worst_return >= 0.15 - 1e-8
    assert least.certificate.objective_value == pytest.approx(least.robust.worst_risk, rel=1e-9)
    capped = pb.OptimizationConstraints(max_position_size=0.08)
    priced = service.optimize(request(robustness=sets, constraints=capped))
    assert any(report.sentence.endswith("bp of worst-case volatility") for report in priced.constraints)


def test_positions_are_counted_in_a_robust_request(service: OpenService) -> None:
    sets = Robustness(mean=Mean(shape=ELLIPSOID, radius=0.2), covariance=Covariance(shape=ELLIPSOID))
    bounds = pb.OptimizationConstraints(max_positions=4, max_position_size=0.4)
    answer = service.optimize(request("maximize_utility", robustness=sets, constraints=bounds))
    assert answer.status == "completed", answer.outcome.message
    assert sum(weight > 1e-8 for weight in answer.target_allocation.values()) <= 4


def test_a_ratio_that_no_worst_case_has(service: OpenService, market: Market) -> None:
    sets = Robustness(mean=Mean(shape=BOX, confidence=0.999999))
    answer = service.optimize(request("maximize_sharpe", robustness=sets))
    assert answer.status == "ill_posed"
    assert "in the worst case" in answer.outcome.message
    assert not answer.target_allocation
    preferences = pb.OptimizationPreferences(ill_posed_fallback="minimize_risk")
    instead = service.optimize(request("maximize_sharpe", robustness=sets, preferences=preferences))
    y = cp.Variable(len(market.names))
    least = solved(cp.Minimize(cp.norm(root(market.Sigma) @ y)), limits(y, False))
    assert instead.status == "completed"
    assert instead.certificate.objective_value == pytest.approx(least, rel=1e-6)


def test_the_frontier_beside_is_that_of_the_worst(service: OpenService) -> None:
    sets = Robustness(mean=Mean(shape=BOX, confidence=0.3), covariance=Covariance(shape=ELLIPSOID))
    answer = service.optimize(request(robustness=sets, frontier_points=5))
    assert len(answer.efficient_frontier) == 5
    assert answer.efficient_frontier[0].risk == pytest.approx(answer.robust.worst_risk, rel=1e-6)


def plain(**fields: Any) -> Robustness:
    return Robustness(covariance=Covariance(shape=ELLIPSOID, **fields))


REFUSED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing uncertain": ({"robustness": Robustness()}, {"robustness"}),
    "no robustness at all": ({}, {"robustness"}),
    "an unknown instrument": (
        {"robustness": Robustness(mean=Mean(shape=BOX, half_widths={"KOO": 0.1}))},
        {"robustness.mean.half_widths[KOO]"},
    ),
    "uncertain cash": (
        {"robustness": Robustness(mean=Mean(shape=BOX, half_widths={"CASH": 0.1}))},
        {"robustness.mean.half_widths[CASH]"},
    ),
    "a negative half-width": (
        {"robustness": Robustness(mean=Mean(shape=BOX, half_widths={"KO": -0.1}))},
        {"robustness.mean.half_widths[KO]"},
    ),
    "a half-width that is no number": (
        {"robustness": Robustness(mean=Mean(shape=BOX, half_widths={"KO": float("nan")}))},
        {"robustness.mean.half_widths[KO]"},
    ),
    "a shape of other sets": ({"robustness": Robustness(mean=Mean(shape=FACTOR))}, {"robustness.mean.shape"}),
    "no shape": ({"robustness": Robustness(covariance=Covariance())}, {"robustness.covariance.shape"}),
    "a confidence of one": ({"robustness": plain(confidence=1.0)}, {"robustness.covariance.confidence"}),
    "a confidence that is no number": (
        {"robustness": plain(confidence=float("nan"))},
        {"robustness.covariance.confidence"},
    ),
    "a size and a confidence": ({"robustness": plain(radius=1, confidence=0.9)}, {"robustness.covariance.confidence"}),
    "a huge radius": ({"robustness": plain(radius=1e300)}, {"robustness.covariance.radius"}),
    "a negative radius": ({"robustness": plain(radius=-1.0)}, {"robustness.covariance.radius"}),
    "a width of another shape": (
        {"robustness": plain(relative_half_width=0.1)},
        {"robustness.covariance.relative_half_width"},
    ),
    "a metric that there is not": ({"robustness": plain(metric=99)}, {"robustness.covariance.metric"}),
    "a norm that there is not": (
        {"risk_measure": "cvar", "robustness": Robustness(distribution=Ball(norm=99))},
        {"robustness.distribution.norm"},
    ),
    "factors without their model": (
        {"robustness": Robustness(covariance=Covariance(shape=FACTOR))},
        {"robustness.covariance.shape"},
    ),
    "a covariance beside a tail": ({"risk_measure": "cvar", "robustness": plain()}, {"robustness.covariance"}),
    "a distribution beside a volatility": (
        {"robustness": Robustness(distribution=Ball())},
        {"robustness.distribution"},
    ),
    "means beside distributions": (
        {"risk_measure": "cvar", "robustness": Robustness(distribution=Ball(), mean=Mean(shape=BOX))},
        {"robustness.mean"},
    ),
    "an objective that is not served": (
        {"objective": "maximize_sortino", "robustness": Robustness(mean=Mean(shape=BOX))},
        {"objective"},
    ),
    "shares of an uncertain variance": (
        {
            "robustness": plain(),
            "constraints": pb.OptimizationConstraints(
                risk_budgets=[constraints_pb2.RiskBudget(instrument_id="KO", max_share=0.2)]
            ),
        },
        {"constraints.risk_budgets"},
    ),
    "robustness of another type": (
        {"optimization_type": "mean_variance", "robustness": plain()},
        {"robustness"},
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_posed_is_refused(service: OpenService, what: str) -> None:
    fields, expected = REFUSED[what]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        service.optimize(request(**fields))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(refused.value)) == expected


def frontier(**fields: Any) -> frontier_pb2.EfficientFrontierRequest:
    plain_fields = {
        "portfolio_id": PORTFOLIO,
        "points": 6,
        "risk_model": SAMPLE,
        "risk_free_rate": RISK_FREE,
        "lookback_days": DAYS,
        "resampling": robustness_pb2.Resampling(draws=10, seed=2**63 + 5),
    }
    return frontier_pb2.EfficientFrontierRequest(**{**plain_fields, **fields})


def test_a_resampled_frontier_is_reproducible_and_honest(service: OpenService, market: Market) -> None:
    constraints = pb.OptimizationConstraints(max_position_size=0.2, max_turnover=0.4)
    first, again = (service.call("GenerateEfficientFrontier", frontier(constraints=constraints)) for _ in range(2))
    assert list(first.efficient_frontier) == list(again.efficient_frontier)
    assert first.provenance.seed == 2**63 + 5
    assert "no optima" in first.outcome.message
    assert len(first.efficient_frontier) == 6
    risks = [point.risk for point in first.efficient_frontier]
    assert risks == sorted(risks)
    for point in first.efficient_frontier:
        w = market.vector(dict(point.weights))
        assert point.risk == pytest.approx(np.sqrt(w @ market.Sigma @ w), rel=1e-9)
        assert getattr(point, "return") == pytest.approx(market.mu @ w, rel=1e-9)
        assert w.max() <= 0.2 + 1e-9
        assert point.max_violation <= 1e-8
        y = cp.Variable(len(market.names))
        current = market.vector(dict(first.current_portfolio.weights))
        rows = [
            *limits(y, False),
            y <= 0.2,
            0.5 * (cp.norm1(y - current) + first.current_portfolio.weights["CASH"]) <= 0.4,
        ]
        least = solved(cp.Minimize(cp.norm(root(market.Sigma) @ y)), [*rows, market.mu @ y >= market.mu @ w])
        assert point.duality_gap == pytest.approx(1 - least / point.risk, abs=1e-6)
    other = service.call(
        "GenerateEfficientFrontier",
        frontier(constraints=constraints, resampling=robustness_pb2.Resampling(draws=10, seed=1)),
    )
    assert list(other.efficient_frontier) != list(first.efficient_frontier)


NO_FRONTIER: dict[str, tuple[dict[str, Any], set[str]]] = {
    "positions": ({"constraints": pb.OptimizationConstraints(max_positions=3)}, {"constraints.max_positions"}),
    "a tail": ({"risk_measure": "cvar"}, {"resampling"}),
    "one draw": ({"resampling": robustness_pb2.Resampling(draws=1)}, {"resampling.draws"}),
    "too many draws": ({"resampling": robustness_pb2.Resampling(draws=1001)}, {"resampling.draws"}),
    "turning points": ({"include_turning_points": True}, {"include_turning_points"}),
}


@pytest.mark.parametrize("what", NO_FRONTIER)
def test_what_cannot_be_resampled_is_refused(service: OpenService, what: str) -> None:
    fields, expected = NO_FRONTIER[what]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        service.call("GenerateEfficientFrontier", frontier(**fields))
    assert set(violations(refused.value)) == expected
