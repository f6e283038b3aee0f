"""The frontier: exact path against an independent formulation, special geometries, requests, and the two routes."""

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, budget
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.frontier import FrontierRequest, efficient_frontier
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import (
    RISK_FREE,
    SETTINGS,
    UNIVERSES,
    Universe,
    asset_names,
    bounds_of,
    factor_moments,
    long_only,
    universe,
)

USABLE = (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE)
# Universes whose free covariances are never singular, so that their frontier is traced.
TRACED = ("bailey", "factor 30", "factor 120", "shorts", "fixed weights", "tied means")


def pose(u: Universe, *more) -> Problem:
    return Problem(u.moments, MinimizeRisk(), Volatility(u.moments), (budget(u.n), bounds_of(u), *more))


def frontier_of(u: Universe, points=7, *more, **request):
    frontier = efficient_frontier(pose(u, *more), FrontierRequest(points, RISK_FREE, **request), SETTINGS)
    assert frontier.status in USABLE, frontier.message
    return frontier


def least_risk(u: Universe, value: float, rates=None) -> float:
    """Independent: the least volatility at a return of at least `value`, after costs where there are any."""
    w = cp.Variable(u.n)
    charge = 0.0 if rates is None else rates @ cp.abs(w - u.w0)
    limits = [cp.sum(w) == 1, w >= u.lower, w <= u.upper, u.moments.mu @ w - charge >= value]
    program = cp.Problem(cp.Minimize(cp.sum_squares(root(u.moments.Sigma) @ w)), limits)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(np.sqrt(max(program.value, 0.0)))


def inactive(u: Universe) -> RiskLimit:
    """A limit that no portfolio touches and that is not linear, so that the frontier is solved point by point."""
    return RiskLimit("nothing", Volatility(u.moments), 9.0)


@pytest.mark.parametrize("name", UNIVERSES)
def test_points_are_efficient_and_certified(name):
    u = universe(name)
    frontier = frontier_of(u)
    # Near a riskless portfolio the volatility is the square root of rounding.
    absolute = 1e-5 if frontier.minimum_risk.risk < 1e-3 else 1e-9
    for point in frontier.points:
        assert point.risk == pytest.approx(least_risk(u, point.expected_return - 1e-10), rel=1e-7, abs=absolute)
        assert point.expected_return == pytest.approx(float(u.moments.mu @ point.weights), abs=1e-15)
        assert point.risk == pytest.approx(u.moments.volatility(point.weights), rel=1e-12)
        assert point.sharpe is None or point.sharpe == pytest.approx((point.expected_return - RISK_FREE) / point.risk)
        assert abs(point.weights.sum() - 1) <= 1e-9
        assert (point.weights >= u.lower - 1e-9).all()
        assert (point.weights <= u.upper + 1e-9).all()
    if frontier.status is Status.OPTIMAL:
        assert max(p.gap for p in (*frontier.points, *frontier.turning_points)) <= SETTINGS.tolerance


@pytest.mark.parametrize("name", UNIVERSES)
def test_returns_and_risks_rise_together(name):
    frontier = frontier_of(universe(name), points=12)
    for points in (frontier.points, frontier.turning_points):
        returns, risks = (np.array([getattr(p, field) for p in points]) for field in ("expected_return", "risk"))
        assert (np.diff(returns) >= -1e-12).all()
        assert (np.diff(risks) >= -1e-6 * max(p.risk for p in frontier.points)).all()
    gaps = np.diff([p.expected_return for p in frontier.points])
    np.testing.assert_allclose(gaps, gaps.mean(), atol=1e-7)


@pytest.mark.parametrize("name", TRACED)
def test_turning_points_meet_the_conditions_of_karush_kuhn_and_tucker(name):
    """Sigma w - lambda mu - nu is zero on free assets, >= 0 at a lower and <= 0 at an upper bound."""
    u = universe(name)
    frontier = frontier_of(u)
    assert frontier.turning_points
    for corner in frontier.turning_points:
        w = corner.weights
        marginal = u.moments.Sigma @ w - corner.multiplier * u.moments.mu
        free = (w > u.lower + 1e-12) & (w < u.upper - 1e-12)
        if not free.any():
            continue
        reduced = marginal - marginal[free].mean()
        size = np.abs(marginal).max()
        np.testing.assert_allclose(reduced[free], 0.0, atol=1e-10 * size)
        movable = u.lower < u.upper
        assert (reduced[(w <= u.lower + 1e-12) & movable] >= -1e-10 * size).all()
        assert (reduced[(w >= u.upper - 1e-12) & movable] <= 1e-10 * size).all()


@pytest.mark.parametrize("name", TRACED)
def test_portfolios_that_stand_out(name):
    u = universe(name)
    frontier = frontier_of(u)
    least = optimize(pose(u), SETTINGS)
    np.testing.assert_allclose(frontier.minimum_risk.weights, least.weights, atol=1e-9)
    best = optimize(replace(pose(u), objective=MaximizeRatio(RISK_FREE)), SETTINGS)
    assert frontier.optimal.sharpe == pytest.approx(best.certificate.objective, rel=1e-10)
    w = cp.Variable(u.n)
    top = cp.Problem(cp.Maximize(u.moments.mu @ w), [cp.sum(w) == 1, w >= u.lower, w <= u.upper])
    top.solve(solver=cp.HIGHS)
    assert frontier.maximum_return.expected_return == pytest.approx(float(top.value), rel=1e-10)
    assert frontier.points[0].expected_return == frontier.minimum_risk.expected_return
    assert frontier.points[-1].expected_return == pytest.approx(frontier.maximum_return.expected_return, rel=1e-12)


@pytest.mark.parametrize("name", UNIVERSES)
def test_both_routes_agree(name):
    """Traced, and solved point by point because of a limit that never binds."""
    u = universe(name)
    traced, solved = frontier_of(u), frontier_of(u, 7, inactive(u))
    assert not solved.turning_points
    floor = 1e-5 if traced.minimum_risk.risk < 1e-3 else 1e-9
    for a, b in zip(traced.points, solved.points, strict=True):
        assert a.expected_return == pytest.approx(b.expected_return, abs=1e-7)
        assert a.risk == pytest.approx(b.risk, rel=1e-6, abs=floor)
    assert traced.optimal.sharpe == pytest.approx(solved.optimal.sharpe, rel=1e-7)
    assert traced.maximum_return.risk == pytest.approx(solved.maximum_return.risk, rel=1e-4)


@pytest.mark.parametrize("name", ["bailey", "factor 30", "shorts"])
def test_multipliers_are_the_price_of_return(name):
    """lambda is half the derivative of variance by return, on either route."""
    u = universe(name)
    for frontier in (frontier_of(u), frontier_of(u, 7, inactive(u))):
        for point in frontier.points[1:-1]:
            step = 1e-5
            above, below = (least_risk(u, point.expected_return + s) ** 2 for s in (step, -step))
            assert point.multiplier == pytest.approx((above - below) / (4 * step), rel=1e-3)


class TestGeometry:
    def test_caps_that_leave_one_portfolio(self):
        u = long_only(factor_moments(61, 10), cap=0.1)
        frontier = frontier_of(u, points=3)
        for point in (*frontier.points, frontier.minimum_risk, frontier.maximum_return, frontier.optimal):
            np.testing.assert_allclose(point.weights, np.full(10, 0.1), atol=1e-12)
            assert point.gap <= SETTINGS.tolerance, "the one portfolio there is has no gap"

    def test_all_weights_fixed(self):
        base = long_only(factor_moments(61, 6))
        frontier = frontier_of(replace(base, lower=base.w0, upper=base.w0), points=2)
        np.testing.assert_allclose(frontier.points[0].weights, base.w0, atol=1e-12)
        assert frontier.points[0].gap <= SETTINGS.tolerance

    def test_least_risk_at_a_vertex(self):
        """One calm asset: the path starts where nothing is between its bounds."""
        Sigma = np.diag([0.0001, 0.09, 0.16, 0.25]) + 0.001 * (1 - np.eye(4))
        u = long_only(Moments(asset_names(4), np.array([0.02, 0.05, 0.09, 0.12]), Sigma))
        self.check_against_oracle(u)

    def test_least_risk_at_a_vertex_of_caps(self):
        variances = np.array([0.01, 0.01, 0.5, 0.6, 0.7])
        moments = Moments(asset_names(5), np.array([0.02, 0.03, 0.05, 0.09, 0.12]), np.diag(variances))
        self.check_against_oracle(long_only(moments, cap=0.5))

    @pytest.mark.parametrize("means", [[0.05, 0.10, 0.10, 0.10], [0.1, 0.1, 0.1, 0.1], [0.03, 0.07, 0.07, 0.13]])
    def test_tied_means(self, means):
        """Of all portfolios with the highest return the last one has the least risk."""
        rng = np.random.default_rng(5)
        for _ in range(10):
            A = rng.normal(size=(4, 4))
            u = long_only(Moments(asset_names(4), np.array(means), A @ A.T * 0.02 + 0.02 * np.eye(4)))
            self.check_against_oracle(u)

    def test_tied_means_of_many_assets(self):
        u = long_only(Moments(asset_names(25), np.full(25, 0.07), factor_moments(62, 25).Sigma.copy()), cap=0.2)
        self.check_against_oracle(u)

    def test_tied_means_only_at_the_top_under_caps(self):
        moments = factor_moments(63, 20)
        mu = np.minimum(moments.mu, np.sort(moments.mu)[-9])
        self.check_against_oracle(long_only(Moments(moments.names, mu, moments.Sigma.copy()), cap=0.25))

    def test_duplicates_with_other_means(self):
        """Two assets of the same risk: of the portfolios of least risk the better-earning one starts the frontier."""
        moments = factor_moments(64, 6)
        twice = np.array([*range(6), 0, 1])
        mu = moments.mu[twice].copy()
        mu[6:] += 0.01
        u = long_only(Moments(asset_names(8), mu, moments.Sigma[np.ix_(twice, twice)].copy()))
        frontier = frontier_of(u)
        first, w = frontier.points[0], cp.Variable(8)
        limits = [cp.sum(w) == 1, w >= 0, cp.norm(root(u.moments.Sigma) @ w) <= first.risk * (1 + 1e-9)]
        best = cp.Problem(cp.Maximize(mu @ w), limits)
        best.solve(solver=cp.CLARABEL)
        # The square root of the risk's tolerance is what the return can still move.
        assert first.expected_return >= float(best.value) - 2e-4

    def test_many_identical_assets(self):
        moments = Moments(asset_names(60), np.full(60, 0.06), np.full((60, 60), 0.01) + 0.05 * np.eye(60))
        frontier = frontier_of(long_only(moments, cap=0.5), points=2)
        np.testing.assert_allclose(frontier.minimum_risk.weights, np.full(60, 1 / 60), atol=1e-8)

    def test_two_assets_by_hand(self):
        """Uncorrelated, variances 1 and 4: least risk at (4/5, 1/5), then straight to the second asset."""
        moments = Moments(("A", "B"), np.array([0.0, 1.0]), np.diag([1.0, 4.0]))
        frontier = frontier_of(long_only(moments), points=3)
        first, last = frontier.turning_points
        np.testing.assert_allclose(first.weights, [0.8, 0.2], atol=1e-14)
        np.testing.assert_allclose(last.weights, [0.0, 1.0], atol=1e-14)
        assert first.risk**2 == pytest.approx(0.8)
        assert last.multiplier == pytest.approx(4.0)  # 4 w_2 - lambda = w_1 where w_1 = 0
        np.testing.assert_allclose(frontier.points[1].weights, [0.4, 0.6], atol=1e-14)

    @pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
    def test_any_scale_of_risk(self, scale):
        u = universe("factor 30")
        moments = Moments(u.moments.names, u.moments.mu.copy(), scale * u.moments.Sigma)
        plain, scaled = frontier_of(u), frontier_of(replace(u, moments=moments))
        assert len(plain.turning_points) == len(scaled.turning_points)
        for a, b in zip(plain.turning_points, scaled.turning_points, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, atol=1e-7)

    def check_against_oracle(self, u: Universe) -> None:
        frontier = frontier_of(u, points=5)
        for point in frontier.points:
            assert point.risk == pytest.approx(least_risk(u, point.expected_return - 1e-10), rel=1e-6)
        best = float(frontier.maximum_return.expected_return)
        assert frontier.maximum_return.risk == pytest.approx(least_risk(u, best - 1e-10), rel=1e-6)
        assert frontier.minimum_risk.risk == pytest.approx(least_risk(u, -1e3), rel=1e-7)


class TestRequests:
    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    def test_min_return_and_max_risk(self, more):
        u = universe("factor 30")
        whole = frontier_of(u, 9, *more)
        floor, ceiling = whole.points[2].expected_return, whole.points[5].risk
        part = frontier_of(u, 5, *more, min_return=floor, max_risk=ceiling)
        assert part.points[0].expected_return == pytest.approx(floor, abs=1e-8)
        assert part.points[-1].risk == pytest.approx(ceiling, rel=1e-7)
        assert part.points[-1].expected_return == pytest.approx(whole.points[5].expected_return, rel=1e-6)
        assert all(p.risk <= ceiling * (1 + 1e-8) for p in part.points)

    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    def test_a_floor_below_the_least_risk_changes_nothing(self, more):
        u = universe("factor 30")
        whole, same = frontier_of(u, 4, *more), frontier_of(u, 4, *more, min_return=-1.0, max_risk=9.0)
        for a, b in zip(whole.points, same.points, strict=True):
            assert a.risk == pytest.approx(b.risk, rel=1e-7)

    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    @pytest.mark.parametrize("asked", [{"min_return": 5.0}, {"max_risk": 0.001}, {"min_return": 0.1, "max_risk": 0.08}])
    def test_nothing_meets_the_request(self, more, asked):
        u = universe("factor 30")
        frontier = efficient_frontier(pose(u, *more), FrontierRequest(5, RISK_FREE, **asked), SETTINGS)
        assert frontier.status is Status.INFEASIBLE
        assert not frontier.points
        assert all(word in frontier.message for word in asked)

    def test_a_single_point_is_no_frontier(self):
        with pytest.raises(ProblemError, match="points: must be at least 2"):
            FrontierRequest(1, RISK_FREE)

    def test_no_portfolio_beats_the_rate(self):
        u = universe("factor 30")
        for more in ((), (inactive(u),)):
            frontier = efficient_frontier(pose(u, *more), FrontierRequest(3, 0.9), SETTINGS)
            assert frontier.status in USABLE
            assert frontier.optimal is None

    def test_infeasible_limits_say_why(self):
        u = universe("factor 30")
        tech = LinearLimit(np.ones(u.n), 1.5, np.inf, "tech min", "tech max")
        frontier = efficient_frontier(pose(u, tech), FrontierRequest(3, RISK_FREE), SETTINGS)
        assert frontier.status is Status.INFEASIBLE
        assert "tech min" in frontier.message
        assert frontier.failure is not None

    def test_other_limits_hold_on_every_point(self):
        u = universe("factor 30")
        measure = Volatility(u.moments)
        limits = (TurnoverLimit("turnover", 0.3, u.w0), RiskLimit("target volatility", measure, measure.of(u.w0)))
        frontier = frontier_of(u, 6, *limits)
        for point in frontier.points:
            assert min(m.slack for limit in limits for m in limit.measure(point.weights)) >= -1e-8

    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    def test_returns_count_after_costs(self, more):
        """Every point has the least risk at the return that is left of it after the cost of getting there."""
        u = universe("factor 30")
        cost = TradingCost(0.03 * u.dearness, u.w0)
        posed = replace(pose(u, *more), cost=cost)
        frontier = efficient_frontier(posed, FrontierRequest(5, RISK_FREE), SETTINGS)
        assert frontier.status in USABLE
        for point in frontier.points:
            net = posed.net_return(point.weights)
            assert point.risk == pytest.approx(least_risk(u, net - 1e-10, cost.rates), rel=1e-6)

    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    def test_a_floor_at_the_very_top(self, more):
        """Asking for exactly the highest return is no contradiction, whatever the last bit of a sum says."""
        u = universe("factor 30")
        top = frontier_of(u, 2, *more).maximum_return.expected_return
        for asked in (top, top + 1e-15):
            last = frontier_of(u, 2, *more, min_return=asked).points[-1]
            assert last.expected_return == pytest.approx(top, rel=1e-9)

    @pytest.mark.parametrize("more", [(), (inactive(universe("factor 30")),)], ids=["traced", "solved"])
    def test_a_ceiling_at_the_least_risk(self, more):
        u = universe("factor 30")
        least = frontier_of(u, 2, *more).minimum_risk.risk
        for asked in (least * (1 + 1e-9), least, least - 1e-16):
            points = frontier_of(u, 2, *more, max_risk=asked).points
            assert points[-1].risk == pytest.approx(least, rel=1e-7)


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_random_markets(seed, n, place):
    """Anywhere on the frontier of a random market the point is the least risk at its return."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n + 1))
    moments = Moments(asset_names(n), rng.normal(0.07, 0.05, n), 0.02 * (A @ A.T))
    lower = rng.uniform(-0.2, 0.0, n) * rng.integers(0, 2, n)
    u = Universe(
        moments, lower, lower + rng.uniform(1.5 / n, 1.0 + 1.5 / n, n), (0,) * n, np.full(n, 1 / n), np.ones(n)
    )
    whole = frontier_of(u, points=2)
    low, high = (p.expected_return for p in (whole.minimum_risk, whole.maximum_return))
    value = low + place * (high - low)
    point = frontier_of(u, points=2, min_return=min(value, high)).points[0]
    assert point.expected_return == pytest.approx(value, abs=1e-10)
    assert point.risk == pytest.approx(least_risk(u, value - 1e-10), rel=1e-6)
    assert whole.turning_points
    assert max(p.gap for p in whole.turning_points) <= SETTINGS.tolerance
