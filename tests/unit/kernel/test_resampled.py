"""The resampled frontier: draws, averages by hand, limits, honest gaps, and the same bits twice."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, NetReturnFloor, RiskLimit, SmallestPosition, TurnoverLimit
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.frontier import FrontierRequest, efficient_frontier
from kernel.frontier.resampled import Resampling, resampled_frontier, simulated
from kernel.measures.deviations import MeanAbsoluteDeviation
from kernel.measures.volatility import Variance, Volatility
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Settings
from kernel.quadratic import Quadratic
from kernel.status import Status
from tests.unit.kernel.robust.robust_markets import PERIODS, SETTINGS, market, solved

MARKET = market(0)
RATE, T = 0.02, 300
REQUEST = FrontierRequest(6, RATE)
FEW = Resampling(8, 5, T, PERIODS)


def problem(*limits):
    plain = MARKET.problem(MinimizeRisk())
    return replace(plain, constraints=(*plain.constraints, *limits))


@pytest.mark.parametrize("length", [12, 4])
def test_draws_have_the_moments_of_simulated_histories(length: int) -> None:
    """Against the laws of a normal sample: mean and covariance of the mean, mean and variances of the covariance."""
    n, draws = 5, 6000
    A = np.random.default_rng(0).normal(size=(n, n))
    Sigma = A @ A.T
    given = Moments(tuple("ABCDE"), np.arange(n) / 10, (Sigma + Sigma.T) / 2)
    drawn = list(simulated(given, Resampling(draws, 3, length, 1.0)))
    mu, S = np.array([m.mu for m in drawn]), np.array([m.Sigma for m in drawn])
    assert mu.mean(axis=0) == pytest.approx(given.mu, abs=5 * np.sqrt(Sigma.max() / length / draws))
    assert np.cov(mu.T) * length == pytest.approx(Sigma, abs=0.1 * Sigma.max())
    assert S.mean(axis=0) == pytest.approx(Sigma, abs=0.05 * Sigma.max())
    variances = (np.outer(np.diag(Sigma), np.diag(Sigma)) + Sigma**2) / (length - 1)
    assert S.var(axis=0) == pytest.approx(variances, rel=0.15)
    assert np.corrcoef(mu[:, 0], S[:, 0, 0])[0, 1] == pytest.approx(0.0, abs=0.05)
    assert (np.linalg.matrix_rank(S[0]) == n) == (length > n)


def test_points_are_the_averages_by_rank() -> None:
    frontier = resampled_frontier(problem(), REQUEST, FEW, SETTINGS)
    total = np.zeros((6, MARKET.n))
    for moments in simulated(MARKET.moments, FEW):
        own = replace(problem(), moments=moments, measure=Volatility(moments))
        total += np.array([point.weights for point in efficient_frontier(own, REQUEST, SETTINGS).points])
    found = np.array([point.weights for point in frontier.points])
    assert found == pytest.approx(total / 8, abs=1e-9)
    assert frontier.status is Status.OPTIMAL_TO_TOLERANCE
    assert "no optima" in frontier.message


def test_measurements_are_of_the_given_moments_and_gaps_of_the_true_frontier() -> None:
    frontier = resampled_frontier(problem(), REQUEST, FEW, SETTINGS)
    L = np.linalg.cholesky(MARKET.Sigma + 1e-15 * np.eye(MARKET.n)).T
    for point in frontier.points:
        w = point.weights
        assert point.expected_return == pytest.approx(MARKET.mu @ w, rel=1e-12)
        assert point.risk == pytest.approx(np.sqrt(w @ MARKET.Sigma @ w), rel=1e-12)
        y = cp.Variable(MARKET.n)
        least = solved(cp.Minimize(cp.norm(L @ y)), [*MARKET.limits(y), MARKET.mu @ y >= point.expected_return])
        assert point.gap == pytest.approx(1 - least / point.risk, abs=1e-6)
        assert point.violation <= 1e-12
    risks = [point.risk for point in frontier.points]
    assert risks == sorted(risks)
    assert frontier.minimum_risk is frontier.points[0]
    best = max(frontier.points, key=lambda point: point.sharpe)
    assert frontier.optimal is best
    assert max(point.gap for point in frontier.points) > 1e-3


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, again = (resampled_frontier(problem(), REQUEST, FEW, SETTINGS) for _ in range(2))
    other = resampled_frontier(problem(), REQUEST, replace(FEW, seed=6), SETTINGS)
    W, same, different = (np.array([p.weights for p in f.points]) for f in (first, again, other))
    assert np.array_equal(W, same)
    assert not np.array_equal(W, different)


def test_long_histories_bring_the_frontier_itself() -> None:
    frontier = resampled_frontier(problem(), REQUEST, Resampling(4, 1, 10**10, PERIODS), SETTINGS)
    exact = efficient_frontier(problem(), REQUEST, SETTINGS)
    for found, true in zip(frontier.points, exact.points, strict=True):
        assert found.weights == pytest.approx(true.weights, abs=2e-3)
        assert found.gap <= 1e-5


LIMITS = {
    "turnover": (TurnoverLimit("max_turnover", 0.3, np.full(MARKET.n, 1.0 / MARKET.n), 0.5),),
    "sector": (LinearLimit(np.array([1.0, 1.0, 0, 0, 0, 0]), 0.1, 0.3, "low", "high"),),
    "volatility": (RiskLimit("target_volatility", Volatility(MARKET.moments), 0.19),),
    "return": (NetReturnFloor("target_return", MARKET.mu, 0.05),),
}


@pytest.mark.parametrize("name", LIMITS)
def test_averages_keep_convex_limits(name: str) -> None:
    """Limits on risk and return are about the given moments, in every history."""
    frontier = resampled_frontier(problem(*LIMITS[name]), FrontierRequest(4, RATE), FEW, SETTINGS)
    assert len(frontier.points) == 4, frontier.message
    for point in frontier.points:
        for limit in LIMITS[name]:
            assert max(m.shortfall for m in limit.measure(point.weights)) <= 1e-8
        assert point.violation <= 1e-8


def test_costs_lower_the_returns() -> None:
    cost = TradingCost(np.full(MARKET.n, 0.01), np.full(MARKET.n, 1.0 / MARKET.n))
    frontier = resampled_frontier(replace(problem(), cost=cost), REQUEST, FEW, SETTINGS)
    for point in frontier.points:
        assert point.expected_return == pytest.approx(MARKET.mu @ point.weights - cost.of(point.weights), rel=1e-12)
        assert -1e-9 <= point.gap < 1.0


def test_variance_has_the_same_portfolios() -> None:
    squared = replace(problem(), measure=Variance(MARKET.moments))
    plain, other = (resampled_frontier(p, REQUEST, FEW, SETTINGS) for p in (problem(), squared))
    for one, two in zip(plain.points, other.points, strict=True):
        assert two.weights == pytest.approx(one.weights, abs=1e-9)
        assert two.risk == pytest.approx(one.risk**2, rel=1e-9)


def test_a_covariance_of_factors_is_simulated() -> None:
    moments = Moments(MARKET.names, MARKET.mu, Quadratic(factor=np.random.default_rng(1).normal(size=(3, MARKET.n))))
    given = replace(problem(), moments=moments, measure=Volatility(moments))
    assert len(resampled_frontier(given, REQUEST, FEW, SETTINGS).points) == 6


def test_what_is_asked_of_return_and_risk_is_kept() -> None:
    every = resampled_frontier(problem(), REQUEST, FEW, SETTINGS).points
    asked = FrontierRequest(6, RATE, min_return=every[2].expected_return, max_risk=every[4].risk)
    part = resampled_frontier(problem(), asked, FEW, SETTINGS)
    assert [point.risk for point in part.points] == [point.risk for point in every[2:5]]
    nothing = resampled_frontier(problem(), FrontierRequest(6, RATE, min_return=9.0), FEW, SETTINGS)
    assert nothing.status is Status.INFEASIBLE
    assert not nothing.points


def test_points_are_told_as_they_are() -> None:
    told = []
    frontier = resampled_frontier(problem(), REQUEST, FEW, SETTINGS, told.append)
    assert tuple(told) == frontier.points


def test_no_frontier_is_said_to_be_none() -> None:
    impossible = problem(LinearLimit(np.ones(MARKET.n), 2.0, 3.0, "low", "high"))
    assert resampled_frontier(impossible, REQUEST, FEW, SETTINGS).status is Status.INFEASIBLE
    late = Settings(deadline=0.0, clock=lambda: 1.0)
    assert resampled_frontier(problem(), REQUEST, FEW, late).status is Status.LIMIT_REACHED


REFUSED = {
    "integer limits": lambda: resampled_frontier(
        problem(SmallestPosition("min_position_size", 0.05, (0, 1))), REQUEST, FEW, SETTINGS
    ),
    "another measure": lambda: resampled_frontier(
        replace(problem(), measure=MeanAbsoluteDeviation(MARKET.scenarios)), REQUEST, FEW, SETTINGS
    ),
    "one draw": lambda: Resampling(1, 0, T),
    "one return": lambda: Resampling(2, 0, 1),
    "a negative seed": lambda: Resampling(2, -1, T),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_resampled_is_refused(what: str) -> None:
    with pytest.raises(ProblemError):
        REFUSED[what]()
