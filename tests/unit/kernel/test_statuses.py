"""Statuses are honest: unbounded, ill-posed, riskless, tiny and huge problems each end with the word that fits."""

from dataclasses import replace

import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.zoo import (
    OBJECTIVES,
    RISK_FREE,
    SETTINGS,
    Case,
    Limits,
    asset_names,
    bounds_of,
    case,
    factor_moments,
    long_only,
    universe,
)


def pose(moments, objective, lower, upper, *more) -> Problem:
    n = moments.n
    bounds = WeightBounds(np.full(n, lower), np.full(n, upper), ("min",) * n, ("max",) * n)
    return Problem(moments, objective, Volatility(moments), (budget(n), bounds, *more))


def two_assets(mu, volatilities=(0.1, 0.2)) -> Moments:
    return Moments(("A", "B"), np.array(mu), np.diag(np.square(volatilities)))


class TestUnbounded:
    def test_return_without_bounds(self):
        solution = optimize(pose(factor_moments(41, 8), MaximizeReturn(), -np.inf, np.inf), SETTINGS)
        assert solution.status is Status.UNBOUNDED
        assert solution.weights is None
        assert "bound the weights" in solution.message

    def test_return_with_sector_limits_that_leave_a_way_out(self):
        moments = factor_moments(41, 8)
        sector = LinearLimit(np.array([1.0] * 4 + [0.0] * 4), 0.2, 0.5, "tech min", "tech max")
        solution = optimize(pose(moments, MaximizeReturn(), -np.inf, np.inf, sector), SETTINGS)
        assert solution.status is Status.UNBOUNDED

    def test_utility_along_a_riskless_direction(self):
        """Two assets that move together but earn differently: long one, short the other, for ever."""
        Sigma = np.full((2, 2), 0.04)
        moments = Moments(("A", "B"), np.array([0.05, 0.08]), Sigma)
        solution = optimize(pose(moments, MaximizeUtility(3.0), -np.inf, np.inf), SETTINGS)
        assert solution.status is Status.UNBOUNDED

    def test_turnover_bounds_what_bounds_do_not(self):
        moments = factor_moments(41, 8)
        limit = TurnoverLimit("turnover", 0.5, np.full(8, 0.125))
        solution = optimize(pose(moments, MaximizeReturn(), -np.inf, np.inf, limit), SETTINGS)
        assert solution.status is Status.OPTIMAL
        # Half of the portfolio moves from the worst asset to the best one.
        assert solution.certificate.objective == pytest.approx(moments.mu.mean() + 0.5 * np.ptp(moments.mu), rel=1e-9)

    def test_least_risk_never_is(self):
        moments = factor_moments(41, 8)
        solution = optimize(pose(moments, MinimizeRisk(), -np.inf, np.inf), SETTINGS)
        ones = np.linalg.solve(moments.Sigma, np.ones(8))
        assert solution.status is Status.OPTIMAL
        np.testing.assert_allclose(solution.weights, ones / ones.sum(), atol=1e-9)  # Merton (1972)

    def test_ratio_without_bounds_is_the_tangency_portfolio(self):
        moments = factor_moments(41, 8)
        solution = optimize(pose(moments, MaximizeRatio(0.0), -np.inf, np.inf), SETTINGS)
        direction = np.linalg.solve(moments.Sigma, moments.mu)
        assert solution.status is Status.OPTIMAL
        np.testing.assert_allclose(solution.weights, direction / direction.sum(), atol=1e-8)  # Merton (1972)

    def test_a_ratio_whose_supremum_no_portfolio_attains(self):
        """Without bounds and with a rate above the least-risk return the ratio rises towards infinite weights."""
        moments = two_assets([0.01, 0.03])
        solution = optimize(pose(moments, MaximizeRatio(0.05), -np.inf, np.inf), SETTINGS)
        assert solution.status in (Status.UNBOUNDED, Status.NUMERICAL_FAILURE)
        assert solution.weights is None


class TestRiskless:
    def cash(self, rate: float) -> Problem:
        moments = Moments(("A", "CASH"), np.array([0.08, rate]), np.diag([0.04, 0.0]))
        return pose(moments, MaximizeRatio(RISK_FREE), 0.0, 1.0)

    def test_cash_above_the_risk_free_rate_is_an_arbitrage(self):
        solution = optimize(self.cash(RISK_FREE + 0.01), SETTINGS)
        assert solution.status is Status.UNBOUNDED
        assert "without risk" in solution.message

    def test_and_under_a_target_volatility_too(self):
        problem = self.cash(RISK_FREE + 0.01)
        limit = RiskLimit("target volatility", problem.measure, 0.1)
        solution = optimize(replace(problem, constraints=(*problem.constraints, limit)), SETTINGS)
        assert solution.status is Status.UNBOUNDED

    def test_cash_at_the_risk_free_rate_is_none(self):
        solution = optimize(self.cash(RISK_FREE), SETTINGS)
        assert solution.status is Status.OPTIMAL
        assert solution.certificate.objective == pytest.approx((0.08 - RISK_FREE) / 0.2, rel=1e-9)

    def test_a_singular_covariance_with_a_riskless_mix_that_earns(self):
        """A and B cancel each other's risk and earn 6% together."""
        moments = Moments(("A", "B"), np.array([0.05, 0.07]), 0.04 * np.array([[1.0, -1.0], [-1.0, 1.0]]))
        assert optimize(pose(moments, MaximizeRatio(RISK_FREE), 0.0, 1.0), SETTINGS).status is Status.UNBOUNDED

    @pytest.mark.parametrize("more", ["plain", "target volatility", "turnover"])
    def test_least_risk_may_be_none_at_all(self, more):
        u = universe("cash")
        problem = pose(u.moments, MinimizeRisk(), 0.0, 1.0)
        added = {
            "plain": [],
            "target volatility": [RiskLimit("target volatility", problem.measure, 0.1)],
            "turnover": [TurnoverLimit("turnover", 1.0, u.w0)],
        }[more]
        solution = optimize(replace(problem, constraints=(*problem.constraints, *added)), SETTINGS)
        assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
        assert solution.weights[-1] == pytest.approx(1.0, abs=1e-4)
        assert solution.certificate.bound == pytest.approx(0.0, abs=1e-8)

    @pytest.mark.parametrize("objective", ["risk", "return", "utility"])
    def test_a_market_of_cash_alone(self, objective):
        moments = Moments(("CASH",), np.array([RISK_FREE]), np.zeros((1, 1)))
        solution = optimize(pose(moments, OBJECTIVES[objective], 0.0, 1.0), SETTINGS)
        assert solution.status is Status.OPTIMAL, solution.message
        np.testing.assert_allclose(solution.weights, [1.0], atol=1e-12)

    @pytest.mark.parametrize("objective", ["return", "utility"])
    def test_an_objective_of_exactly_zero(self, objective):
        """The best that can be done is nothing: cash that earns nothing against assets that lose."""
        moments = Moments(("A", "B", "CASH"), np.array([-0.05, -0.02, 0.0]), np.diag([0.04, 0.09, 0.0]))
        problem = pose(moments, OBJECTIVES[objective], 0.0, 1.0)
        for extra in ([], [RiskLimit("target volatility", problem.measure, 0.2)]):
            solution = optimize(replace(problem, constraints=(*problem.constraints, *extra)), SETTINGS)
            assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
            np.testing.assert_allclose(solution.weights, [0, 0, 1], atol=1e-6)

    @pytest.mark.parametrize("limits", ["sectors", "target volatility", "all"])
    @pytest.mark.parametrize("objective", ["return", "utility"])
    def test_an_objective_that_happens_to_be_zero(self, objective, limits):
        """The same portfolio as ever, with means shifted so that its worth is nothing: no reason to fail."""
        posed = case("factor 30", objective, limits)
        moments = posed.universe.moments
        worth = optimize(posed.problem(), SETTINGS).certificate.objective
        shifted = Moments(moments.names, moments.mu - worth, moments.Sigma.copy())
        problem = replace(posed, universe=replace(posed.universe, moments=shifted)).problem()
        solution = optimize(problem, SETTINGS)
        assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
        assert solution.certificate.objective == pytest.approx(0.0, abs=1e-8)


class TestIllPosed:
    @pytest.mark.parametrize("rate", [0.12, 0.1200001, 0.5])
    def test_no_asset_beats_the_rate(self, rate):
        moments = Moments(("A", "B", "C"), np.array([0.05, 0.12, 0.08]), np.diag([0.04, 0.09, 0.05]))
        solution = optimize(pose(moments, MaximizeRatio(rate), 0.0, 1.0), SETTINGS)
        assert solution.status is Status.ILL_POSED
        assert solution.weights is None
        assert solution.numbers["best_expected_return"] == pytest.approx(0.12)
        assert solution.numbers["best_excess_return"] == pytest.approx(0.12 - rate, abs=1e-8)
        assert "12.0000%" in solution.message

    def test_no_feasible_mix_beats_the_rate(self):
        """One asset does, but its cap leaves the mix below."""
        moments = two_assets([0.10, 0.01])
        capped = LinearLimit(np.array([1.0, 0.0]), -np.inf, 0.3, "min", "A at most 30%")
        solution = optimize(pose(moments, MaximizeRatio(0.05), 0.0, 1.0, capped), SETTINGS)
        assert solution.status is Status.ILL_POSED
        assert solution.numbers["best_expected_return"] == pytest.approx(0.037)

    def test_costs_count(self):
        moments = two_assets([0.06, 0.01])
        problem = pose(moments, MaximizeRatio(0.05), 0.0, 1.0)
        assert optimize(problem, SETTINGS).status is Status.OPTIMAL
        cost = TradingCost(np.array([0.01, 0.01]), np.array([0.0, 1.0]))
        assert optimize(replace(problem, cost=cost), SETTINGS).status is Status.ILL_POSED

    def test_turnover_can_keep_the_portfolio_below_the_rate(self):
        moments = two_assets([0.06, 0.01])
        stuck = TurnoverLimit("turnover", 0.1, np.array([0.0, 1.0]))
        assert optimize(pose(moments, MaximizeRatio(0.05), 0.0, 1.0, stuck), SETTINGS).status is Status.ILL_POSED

    @pytest.mark.parametrize("excess", [1e-2, 1e-4, 1e-6])
    def test_a_small_positive_excess_is_still_a_ratio(self, excess):
        moments = two_assets([0.05 + excess, 0.01])
        solution = optimize(pose(moments, MaximizeRatio(0.05), 0.0, 1.0), SETTINGS)
        assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
        assert solution.certificate.objective == pytest.approx(excess / 0.1, rel=2e-2)

    def test_infeasible_comes_first(self):
        sector = LinearLimit(np.array([1.0, 0.0]), 1.2, np.inf, "A min", "A max")
        solution = optimize(pose(two_assets([0.01, 0.01]), MaximizeRatio(0.05), 0.0, 1.0, sector), SETTINGS)
        assert solution.status is Status.INFEASIBLE
        assert "A min" in solution.explanation.conflicting


class TestExtremes:
    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_one_asset(self, objective):
        moments = Moments(("A",), np.array([0.1]), np.array([[0.04]]))
        solution = optimize(pose(moments, OBJECTIVES[objective], 0.0, 1.0), SETTINGS)
        assert solution.status is Status.OPTIMAL
        np.testing.assert_allclose(solution.weights, [1.0], atol=1e-12)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_bounds_that_leave_one_portfolio(self, objective):
        u = long_only(factor_moments(42, 10), cap=0.1)
        solution = optimize(Case(u, OBJECTIVES[objective], Limits()).problem(), SETTINGS)
        assert solution.status is Status.OPTIMAL
        np.testing.assert_allclose(solution.weights, np.full(10, 0.1), atol=1e-12)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_a_turnover_of_nothing(self, objective):
        u = long_only(factor_moments(42, 10))
        solution = optimize(Case(u, OBJECTIVES[objective], Limits(turnover=0.0)).problem(), SETTINGS)
        assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
        np.testing.assert_allclose(solution.weights, u.w0, atol=1e-7)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_a_covariance_of_rank_one(self, objective):
        loadings = np.linspace(0.5, 1.5, 6)
        moments = Moments(asset_names(6), 0.04 + 0.05 * loadings**2, 0.03 * np.outer(loadings, loadings))
        solution = optimize(pose(moments, OBJECTIVES[objective], 0.0, 0.4), SETTINGS)
        assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_all_assets_alike(self, objective):
        moments = Moments(asset_names(8), np.full(8, 0.07), np.full((8, 8), 0.01) + 0.03 * np.eye(8))
        solution = optimize(pose(moments, OBJECTIVES[objective], 0.0, 1.0), SETTINGS)
        assert solution.status is Status.OPTIMAL
        if objective != "return":
            np.testing.assert_allclose(solution.weights, np.full(8, 0.125), atol=1e-8)

    @pytest.mark.parametrize("objective", ["risk", "utility", "ratio"])
    def test_an_indefinite_covariance_is_never_called_optimal(self, objective):
        """Of a matrix that is no covariance nothing may be claimed."""
        Sigma = np.array([[0.04, 0.06, 0.0], [0.06, 0.04, 0.0], [0.0, 0.0, 0.05]])
        try:
            moments = Moments(asset_names(3), np.array([0.08, 0.09, 0.07]), Sigma)
            status = optimize(pose(moments, OBJECTIVES[objective], 0.0, 1.0), SETTINGS).status
        except ProblemError:
            return
        assert status not in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE)

    def test_bounds_report_the_tightest_asset_of_a_shared_name(self):
        u = universe("bailey")
        solution = optimize(pose(u.moments, MinimizeRisk(), 0.0, 0.2), SETTINGS)
        (report,) = [c for c in solution.constraints if c.name == "max"]
        assert report.value == pytest.approx(solution.weights.max())
        assert report.binding

    def test_bounds_of_names_every_asset(self):
        u = universe("bailey")
        names = {m.name for m in bounds_of(u).measure(u.w0)}
        assert len(names) == 2 * u.n
