"""Unbounded problems name a direction, which is judged here from the data alone."""

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.zoo import SETTINGS, factor_moments

N = 8
MOMENTS = factor_moments(41, N)
FREE = (np.full(N, -np.inf), np.full(N, np.inf))


def pose(objective, bounds=FREE, *more, moments=MOMENTS, cost=None):
    n = moments.n
    limits = WeightBounds(*bounds, ("min",) * n, ("max",) * n)
    return Problem(moments, objective, Volatility(moments), (budget(n), limits, *more), cost)


def direction_of(problem):
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.UNBOUNDED, solution.message
    assert solution.weights is None
    assert "bound the weights" in solution.message
    d = np.array([solution.direction.get(name, 0.0) for name in problem.moments.names])
    assert np.abs(d).max() == pytest.approx(1.0)
    for name in solution.direction:
        assert name in solution.message
    return d, solution


def test_return_buys_the_best_and_sells_the_worst():
    d, solution = direction_of(pose(MaximizeReturn()))
    expected = np.zeros(N)
    expected[np.argmax(MOMENTS.mu)], expected[np.argmin(MOMENTS.mu)] = 1.0, -1.0
    np.testing.assert_allclose(d, expected, atol=1e-9)
    best, worst = MOMENTS.names[np.argmax(MOMENTS.mu)], MOMENTS.names[np.argmin(MOMENTS.mu)]
    assert f"buying {best} (100%) and selling {worst} (-100%)" in solution.message
    assert f"no limit stops larger weights of {best} nor smaller weights of {worst}" in solution.message


@pytest.mark.parametrize("seed", range(15))
def test_random_linear_limits(seed):
    """Some assets bounded on one side, sectors on one or both: cvxpy finds no faster direction."""
    rng = np.random.default_rng(seed)
    lower = np.where(rng.random(N) < 0.5, -0.3, -np.inf)
    upper = np.where(rng.random(N) < 0.5, 0.6, np.inf)
    member = (rng.random(N) < 0.5).astype(float)
    sector = LinearLimit(member, -np.inf if seed % 2 else -1.0, 2.0, "min", "max")
    y, size = cp.Variable(N), cp.Variable(N)
    rows = [cp.sum(y) == 0, y[np.isfinite(lower)] >= 0, y[np.isfinite(upper)] <= 0, member @ y <= 0, cp.abs(y) <= size]
    if seed % 2 == 0:
        rows.append(member @ y >= 0)
    fastest = cp.Problem(cp.Maximize(MOMENTS.mu @ y), [*rows, cp.sum(size) <= 2])
    fastest.solve(solver=cp.SCIPY)
    problem = pose(MaximizeReturn(), (lower, upper), sector)
    if fastest.value < 1e-9:
        assert optimize(problem, SETTINGS).status is not Status.UNBOUNDED
        return
    d, _ = direction_of(problem)
    assert abs(d.sum()) < 1e-9
    assert (d[np.isfinite(lower)] >= -1e-9).all()
    assert (d[np.isfinite(upper)] <= 1e-9).all()
    assert member @ d <= 1e-9
    assert seed % 2 or member @ d >= -1e-9
    assert MOMENTS.mu @ d / (0.5 * np.abs(d).sum()) == pytest.approx(fastest.value, rel=1e-7)


def test_weights_move_along_it_for_ever():
    """From any feasible portfolio every step is feasible and earns more."""
    bounds = (np.where(np.arange(N) < 5, 0.0, -np.inf), np.where(np.arange(N) % 2, 0.5, np.inf))
    problem = pose(MaximizeReturn(), bounds)
    d, _ = direction_of(problem)
    w = np.full(N, 1.0 / N)
    for step in (1.0, 1e3, 1e6):
        moved = w + step * d
        assert all(m.slack >= -1e-9 * step for c in problem.constraints for m in c.measure(moved))
        assert problem.net_return(moved) > problem.net_return(w)


def test_utility_along_a_riskless_direction():
    moments = Moments(("A", "B"), np.array([0.05, 0.08]), np.full((2, 2), 0.04))
    bounds = (np.full(2, -np.inf), np.full(2, np.inf))
    d, solution = direction_of(pose(MaximizeUtility(3.0), bounds, moments=moments))
    np.testing.assert_allclose(d, [-1.0, 1.0], atol=1e-9)
    assert "buying B (100%) and selling A (-100%)" in solution.message


def test_utility_of_a_covariance_of_low_rank():
    """Twelve assets, three factors: the direction has no risk and does not cost anything."""
    rng = np.random.default_rng(3)
    B = rng.normal(size=(3, 12))
    moments = Moments(tuple("ABCDEFGHIJKL"), rng.normal(0.05, 0.03, 12), 0.01 * (B.T @ B + (B.T @ B).T) / 2)
    d, _ = direction_of(pose(MaximizeUtility(2.0), (np.full(12, -np.inf), np.full(12, np.inf)), moments=moments))
    assert moments.volatility(d) < 1e-7
    assert abs(d.sum()) < 1e-8
    assert moments.mu @ d > 1e-3


def test_costs_slow_it_down():
    rates = np.linspace(0.0, 0.02, N)
    d, _ = direction_of(pose(MaximizeReturn(), cost=TradingCost(rates, np.full(N, 1.0 / N))))
    assert abs(d.sum()) < 1e-9
    assert MOMENTS.mu @ d - rates @ np.abs(d) > 0.0


def test_a_volatility_limit_leaves_riskless_directions_only():
    loadings = np.array([0.2, 0.2, 0.4])
    moments = Moments(("A", "B", "C"), np.array([0.05, 0.08, 0.06]), np.outer(loadings, loadings))
    limit = RiskLimit("target_volatility", Volatility(moments), 0.3)
    d, _ = direction_of(pose(MaximizeReturn(), (np.full(3, -np.inf), np.full(3, np.inf)), limit, moments=moments))
    np.testing.assert_allclose(d, [-1.0, 1.0, 0.0], atol=1e-6)


def test_turnover_closes_every_direction():
    problem = pose(MaximizeReturn(), FREE, TurnoverLimit("turnover", 0.5, np.full(N, 1.0 / N)))
    assert optimize(problem, SETTINGS).status is Status.OPTIMAL


@pytest.mark.parametrize("objective", [MaximizeReturn(), MaximizeUtility(2.0)])
def test_limits_that_conflict_come_before_a_direction(objective):
    """Nothing is feasible, so nothing improves, although a direction is open."""
    member = np.r_[1.0, 1.0, np.zeros(N - 2)]
    low = LinearLimit(member, 0.6, np.inf, "tech min", "none")
    high = LinearLimit(member, -np.inf, 0.5, "none", "tech max")
    solution = optimize(pose(objective, FREE, low, high), SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    assert solution.explanation.conflicting == ("tech max", "tech min")


@pytest.mark.parametrize("seed", range(10))
def test_a_ratio_that_only_grows_with_the_weights(seed):
    """Above the return of the least risk no portfolio is best: the ratio rises towards that of Sigma^-1 (mu - l 1)."""
    moments = factor_moments(seed, 5)
    inverse, one = np.linalg.inv(moments.Sigma), np.ones(5)
    least_risk_return = one @ inverse @ moments.mu / (one @ inverse @ one)
    bounds = (np.full(5, -np.inf), np.full(5, np.inf))
    d, solution = direction_of(pose(MaximizeRatio(least_risk_return + 0.03), bounds, moments=moments))
    endless = inverse @ (moments.mu - least_risk_return)
    np.testing.assert_allclose(d, endless / np.abs(endless).max(), atol=1e-6)
    assert solution.message.startswith("the ratio only rises with ever larger weights by buying")


def test_the_order_of_assets_does_not_matter():
    d, _ = direction_of(pose(MaximizeReturn()))
    order = np.random.default_rng(1).permutation(N)
    moments = Moments(
        tuple(MOMENTS.names[i] for i in order), MOMENTS.mu[order], MOMENTS.Sigma[np.ix_(order, order)].copy()
    )
    again, _ = direction_of(pose(MaximizeReturn(), moments=moments))
    np.testing.assert_allclose(again, d[order], atol=1e-9)
