"""Diversification as a goal: against textbook forms for cvxpy, closed forms, and what holds of any such portfolio."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.canonical import Quadratic
from kernel.constraints import LinearLimit, NumberOfPositions, RiskLimit, SmallestPosition, TurnoverLimit, WeightBounds
from kernel.constraints import budget as fully_invested
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.measures.volatility import TrackingError, Variance
from kernel.methods.diversification import (
    MaximizeDiversification,
    decorrelate,
    diversification_ratio,
    equal_weights,
    inverse_risk_weights,
    maximize_diversification,
)
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.scenarios import Scenarios
from kernel.status import Status
from tests.unit.kernel.measures.markets import CONVEX, Judge, market, solved
from tests.unit.kernel.oracle import optimum, root
from tests.unit.kernel.zoo import LIMITS, UNIVERSES, Case, factor_moments, long_only, universe

SETTINGS = Settings()
AVERSION = 20.0


def everyone(problem):
    return np.ones(problem.moments.n, dtype=bool)


def risky(problem):
    return problem.moments.quadratic.diagonal_entries > 0.0


def most_diversified(problem, members=None, **more):
    found = maximize_diversification(problem, risky(problem) if members is None else members, SETTINGS, **more)
    assert found.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), found.message
    assert found.certificate.violation <= 1e-8
    return found


def problem_of(moments, *constraints, lower=0.0, upper=1.0, cost=None):
    n, names = moments.n, moments.names
    low, high = (np.broadcast_to(np.asarray(b, dtype=float), (n,)) for b in (lower, upper))
    bounds = WeightBounds(low, high, tuple(f"min {a}" for a in names), tuple(f"max {a}" for a in names))
    limits = (fully_invested(n), bounds, *constraints)
    return Problem(moments, MinimizeRisk(), Volatility(moments), limits, cost)


def correlations(moments):
    volatilities = np.sqrt(np.diag(moments.Sigma))
    return moments.Sigma / np.outer(volatilities, volatilities)


class TestAgainstTheOracle:
    @pytest.mark.parametrize("limits", ["none", "sectors", "turnover one-way", "turnover two-way", "target volatility"])
    @pytest.mark.parametrize("name", UNIVERSES)
    def test_volatility(self, name, limits):
        """The highest mean per risk, with volatilities in the place of means."""
        known = universe(name)
        moments = known.moments
        alone = Moments(moments.names, np.sqrt(np.diag(moments.Sigma)), moments.Sigma.copy())
        judged = Case(replace(known, moments=alone), MaximizeRatio(0.0), LIMITS[limits])
        found = most_diversified(Case(known, MinimizeRisk(), LIMITS[limits]).problem())
        assert found.certificate.objective == pytest.approx(optimum(judged), rel=1e-7)
        assert found.certificate.gap <= 1e-8

    @pytest.mark.parametrize("limits", ["costs", "taxed sales"])
    @pytest.mark.parametrize("name", ["bailey", "factor 30", "shorts"])
    def test_costs_count_as_risk(self, name, limits):
        case = Case(universe(name), MinimizeRisk(), LIMITS[limits])
        found = most_diversified(case.problem(), risk_aversion=AVERSION)
        moments, w0 = case.universe.moments, case.universe.w0
        y, scale = cp.Variable(moments.n), cp.Variable(nonneg=True)
        change = y - w0 * scale
        cost = case.cost_rates() @ cp.abs(change) + case.sale_rates() @ cp.pos(-change)
        rows = [
            cp.norm(root(moments.Sigma) @ y) + cost / AVERSION <= 1,
            cp.sum(y) == scale,
            y >= case.universe.lower * scale,
            y <= case.universe.upper * scale,
        ]
        expected = solved(cp.Problem(cp.Maximize(np.sqrt(np.diag(moments.Sigma)) @ y), rows))
        assert found.certificate.objective == pytest.approx(expected, rel=1e-7)

    @pytest.mark.parametrize("word", CONVEX)
    @pytest.mark.parametrize("name", ["plain", "unequal", "shorts", "n > T", "duplicates", "tiny", "huge"])
    def test_every_measure(self, name, word):
        given = market(name)
        problem = given.problem(MinimizeRisk(), word)
        found = most_diversified(problem, everyone(problem))
        judge = Judge(given, word, homogeneous=True)
        alone = np.array([problem.measure.of(row) for row in np.eye(given.n)]) / given.size
        unit = float(alone.max())
        expected = solved(cp.Problem(cp.Maximize(alone / unit @ judge.y), [*judge.rows, judge.risk / unit <= 1]))
        assert found.certificate.objective == pytest.approx(expected, rel=1e-5 if word == "evar" else 1e-6)

    @pytest.mark.parametrize("limits", ["none", "sectors", "turnover one-way"])
    @pytest.mark.parametrize("name", ["bailey", "factor 30", "singular", "shorts", "cash"])
    def test_least_correlation(self, name, limits):
        known = universe(name)
        problem = Case(known, MinimizeRisk(), LIMITS[limits]).problem()
        found = decorrelate(problem, risky(problem), SETTINGS)
        volatilities = np.sqrt(np.diag(known.moments.Sigma))
        inverse = np.divide(1.0, volatilities, out=np.zeros_like(volatilities), where=volatilities > 0)
        C = known.moments.Sigma * inverse[:, None] * inverse[None, :]
        alone = Moments(known.moments.names, known.moments.mu.copy(), (C + C.T) / 2)
        expected = optimum(Case(replace(known, moments=alone), MinimizeRisk(), LIMITS[limits])) ** 2
        assert found.status is Status.OPTIMAL
        assert found.certificate.objective == pytest.approx(expected, abs=1e-8)

    def test_least_correlation_with_costs(self):
        case = Case(universe("factor 30"), MinimizeRisk(), LIMITS["costs"])
        found = decorrelate(case.problem(), everyone(case.problem()), SETTINGS, risk_aversion=0.5)
        w = cp.Variable(30)
        cost = case.cost_rates() @ cp.abs(w - case.universe.w0)
        goal = 0.25 * cp.sum_squares(root(correlations(case.universe.moments)) @ w) + cost
        expected = solved(cp.Problem(cp.Minimize(goal), [cp.sum(w) == 1, w >= 0, w <= 0.15]))
        assert found.certificate.objective == pytest.approx(expected, rel=1e-7)


class TestProperties:
    MOMENTS = factor_moments(21, 12)

    def test_without_bounds_it_is_known_in_closed_form(self):
        """Choueifaty & Coignard 2008: the weights are proportional to D^-1 C^-1 1."""
        moments = factor_moments(3, 6)
        volatilities = np.sqrt(np.diag(moments.Sigma))
        expected = np.linalg.solve(correlations(moments), np.ones(6)) / volatilities
        found = most_diversified(problem_of(moments, lower=-5.0, upper=5.0))
        np.testing.assert_allclose(found.weights, expected / expected.sum(), atol=1e-8)

    def test_held_instruments_are_equally_correlated_to_it_and_others_more(self):
        """The core property of Choueifaty, Froidure & Reynier 2013."""
        found = most_diversified(problem_of(self.MOMENTS))
        w, Sigma = found.weights, self.MOMENTS.Sigma
        correlation = Sigma @ w / np.sqrt(np.diag(Sigma) * (w @ Sigma @ w))
        held = w > 1e-9
        np.testing.assert_allclose(correlation[held], 1.0 / found.certificate.objective, rtol=1e-8)
        assert (correlation[~held] >= 1.0 / found.certificate.objective - 1e-9).all()
        assert not held.all()

    def test_it_is_the_least_correlated_portfolio_divided_by_volatilities(self):
        found = most_diversified(problem_of(self.MOMENTS)).weights
        least = decorrelate(problem_of(self.MOMENTS), np.ones(12, dtype=bool), SETTINGS).weights
        scaled = least / np.sqrt(np.diag(self.MOMENTS.Sigma))
        np.testing.assert_allclose(found, scaled / scaled.sum(), atol=1e-8)

    def test_an_instrument_twice_changes_nothing(self):
        """Duplication invariance."""
        twice = np.array([*range(12), 4])
        doubled = Moments((*self.MOMENTS.names, "twin"), np.zeros(13), self.MOMENTS.Sigma[np.ix_(twice, twice)].copy())
        plain, other = (most_diversified(problem_of(m)) for m in (self.MOMENTS, doubled))
        assert other.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-9)
        merged = other.weights[:12] + np.eye(12)[4] * other.weights[12]
        np.testing.assert_allclose(merged, plain.weights, atol=1e-6)

    def test_the_order_of_instruments_does_not_matter(self):
        order = np.random.default_rng(0).permutation(12)
        turned = Moments(
            tuple(self.MOMENTS.names[i] for i in order), np.zeros(12), self.MOMENTS.Sigma[np.ix_(order, order)].copy()
        )
        plain, other = (most_diversified(problem_of(m)).weights for m in (self.MOMENTS, turned))
        np.testing.assert_allclose(other, plain[order], atol=1e-9)

    def test_a_covariance_that_came_as_a_factor_gives_the_same(self):
        factor = np.linalg.cholesky(self.MOMENTS.Sigma).T
        same = Moments(self.MOMENTS.names, np.zeros(12), Quadratic(factor=0.8 * factor, diagonal=np.zeros(12)))
        for method in (most_diversified, lambda p: decorrelate(p, np.ones(12, dtype=bool), SETTINGS)):
            plain, other = (method(problem_of(m)).weights for m in (self.MOMENTS, same))
            np.testing.assert_allclose(other, plain, atol=1e-9)

    def test_the_variance_counts_through_its_root(self):
        problem = problem_of(self.MOMENTS)
        other = most_diversified(replace(problem, measure=Variance(self.MOMENTS)))
        plain = most_diversified(problem)
        assert other.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-12)
        ratio = diversification_ratio(Variance(self.MOMENTS), everyone(problem), plain.weights)
        assert ratio == pytest.approx(plain.certificate.objective, rel=1e-12)

    def test_uncorrelated_instruments_are_held_by_inverse_volatility(self):
        volatilities = np.array([0.1, 0.2, 0.4])
        problem = problem_of(Moments(("a", "b", "c"), np.zeros(3), np.diag(volatilities**2)))
        expected = (1 / volatilities) / (1 / volatilities).sum()
        np.testing.assert_allclose(most_diversified(problem).weights, expected, atol=1e-9)
        np.testing.assert_allclose(
            inverse_risk_weights(problem.measure, problem.moments.names, everyone(problem)), expected, atol=1e-15
        )

    def test_costs_so_high_that_nothing_moves(self):
        """The best ratio is then that of the present portfolio."""
        w0 = np.full(12, 1 / 12)
        problem = problem_of(self.MOMENTS, cost=TradingCost(np.full(12, 5.0), w0))
        np.testing.assert_allclose(most_diversified(problem).weights, w0, atol=1e-7)

    @pytest.mark.parametrize("aversion", [5e-324, 1e-9, 1e9, 1.7e308])
    def test_an_aversion_of_any_size(self, aversion):
        problem = problem_of(self.MOMENTS, cost=TradingCost(np.full(12, 0.01), np.full(12, 1 / 12)))
        found = maximize_diversification(problem, everyone(problem), SETTINGS, risk_aversion=aversion)
        assert found.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE, Status.NUMERICAL_FAILURE)


class TestCash:
    """Cash comes last, has no risk, and no part in the ratio."""

    CASH = 12

    def problem(self, *constraints, cash=(0.0, 1.0), **bounds):
        base = factor_moments(21, 12)
        moments = Moments((*base.names, "CASH"), np.append(base.mu, 0.02), np.pad(base.Sigma, (0, 1)))
        lower, upper = np.append(np.zeros(12), cash[0]), np.append(np.full(12, bounds.get("upper", 1.0)), cash[1])
        return problem_of(moments, *constraints, lower=lower, upper=upper)

    def test_as_little_as_the_limits_leave(self):
        found = most_diversified(self.problem(), cash=self.CASH)
        assert found.weights[-1] == 0.0
        plain = most_diversified(problem_of(factor_moments(21, 12)))
        np.testing.assert_allclose(found.weights[:-1], plain.weights, atol=1e-8)

    def test_its_own_floor(self):
        assert most_diversified(self.problem(cash=(0.1, 0.6)), cash=self.CASH).weights[-1] == pytest.approx(
            0.1, abs=1e-9
        )

    def test_a_limit_on_risk_takes_cash(self):
        problem = self.problem()
        limit = 0.5 * most_diversified(problem, cash=self.CASH).certificate.objective
        volatility = problem.measure.of(most_diversified(problem, cash=self.CASH).weights)
        limited = replace(
            problem, constraints=(*problem.constraints, RiskLimit("limit", problem.measure, 0.5 * volatility))
        )
        found = most_diversified(limited, cash=self.CASH)
        assert problem.measure.of(found.weights) == pytest.approx(0.5 * volatility, rel=1e-8)
        assert found.certificate.objective == pytest.approx(2.0 * limit, rel=1e-9)
        (report,) = [r for r in found.constraints if r.name == "limit"]
        assert report.binding

    def test_borrowing_is_as_little_as_the_limits_leave(self):
        found = most_diversified(self.problem(cash=(-0.5, -0.2)), cash=self.CASH)
        assert found.weights[-1] == pytest.approx(-0.2, abs=1e-9)

    @pytest.mark.parametrize("word", ["mad", "cvar"])
    def test_a_sure_return_counts_where_the_measure_sees_it(self, word):
        """A tail is smaller by what cash earns, a deviation is not."""
        R = np.column_stack([np.random.default_rng(5).normal(0.0002, 0.01, (60, 3)), np.full(60, 0.001)])
        names = ("a", "b", "c", "CASH")
        Sigma = np.pad(252 * np.cov(R[:, :3].T), (0, 1))
        moments = Moments(names, np.zeros(4), (Sigma + Sigma.T) / 2)
        measure = make_measure(word, moments, Scenarios.history(names, R), MeasureSettings())
        problem = replace(problem_of(moments, upper=[1.0, 1.0, 1.0, 0.4]), measure=measure)
        found = most_diversified(problem, np.array([True, True, True, False]), cash=3)
        assert found.weights[-1] == pytest.approx(0.0 if word == "mad" else 0.4, abs=1e-8)
        assert found.certificate.gap <= 1e-8

    def test_the_ratio_is_the_best_of_all_scales(self):
        """With a cap on weights less invested can mean more diversified."""
        found = most_diversified(self.problem(upper=0.2), cash=self.CASH)
        full = most_diversified(self.problem(upper=0.2, cash=(0.0, 0.0)), cash=self.CASH)
        assert found.certificate.objective > full.certificate.objective + 1e-6
        held = found.weights[:-1]
        assert held.max() == pytest.approx(0.2, abs=1e-9)

    def test_free_cash_is_the_least_correlated_of_all(self):
        problem = self.problem()
        found = decorrelate(problem, risky(problem), SETTINGS)
        assert found.weights[-1] == pytest.approx(1.0, abs=1e-6)


class TestShadowPrices:
    STEP = 1e-5

    @pytest.mark.parametrize("costs", [False, True], ids=["no costs", "costs"])
    @pytest.mark.parametrize("aversion", [0.5, 20.0])
    @pytest.mark.parametrize("limit", ["sector", "turnover", "volatility"])
    def test_one_more_unit_of_a_limit(self, limit, costs, aversion):
        known = long_only(factor_moments(31, 15), cap=0.35)
        base = Case(known, MinimizeRisk(), LIMITS["none"]).problem()
        if costs:
            base = replace(base, cost=TradingCost(0.002 * known.dearness, known.w0))
        free = most_diversified(base, risk_aversion=aversion)
        sector = np.array([float(s == 1) for s in known.sectors])
        at, pose = {
            "sector": (
                0.7 * float(sector @ free.weights),
                lambda x: LinearLimit(sector, -np.inf, x, "least", "limit"),
            ),
            "turnover": (
                0.35 * float(np.abs(free.weights - known.w0).sum()),
                lambda x: TurnoverLimit("limit", x, known.w0),
            ),
            "volatility": (
                0.99 * base.measure.of(free.weights),
                lambda x: RiskLimit("limit", base.measure, x),
            ),
        }[limit]

        def solve(x):
            return most_diversified(replace(base, constraints=(*base.constraints, pose(x))), risk_aversion=aversion)

        slope = (solve(at + self.STEP).certificate.objective - solve(at - self.STEP).certificate.objective) / (
            2 * self.STEP
        )
        (report,) = [r for r in solve(at).constraints if r.name == "limit"]
        assert slope > 1e-3, "the case must bind, or nothing is tested"
        assert report.shadow_price == pytest.approx(slope, rel=1e-3)


class TestIntegerChoices:
    """Against every set of instruments that could be held."""

    MOMENTS = factor_moments(41, 6)

    def best_of_subsets(self, size, smallest=0.0):
        best = 0.0
        for mask in range(1, 2**6):
            held = [i for i in range(6) if mask >> i & 1]
            if len(held) > size or smallest * len(held) > 1.0:
                continue
            inside = np.isin(np.arange(6), held)
            problem = problem_of(self.MOMENTS, lower=np.where(inside, smallest, 0.0), upper=inside.astype(float))
            found = maximize_diversification(problem, inside, SETTINGS)
            best = max(best, found.certificate.objective)
        return best

    def test_few_positions(self):
        limit = NumberOfPositions("few", 3, tuple(range(6)), np.ones(6))
        found = most_diversified(problem_of(self.MOMENTS, limit))
        assert (found.weights > 1e-9).sum() <= 3
        assert found.certificate.objective == pytest.approx(self.best_of_subsets(3), rel=1e-8)

    def test_no_small_position(self):
        limit = SmallestPosition("least", 0.22, tuple(range(6)))
        found = most_diversified(problem_of(self.MOMENTS, limit))
        held = found.weights[found.weights > 1e-9]
        assert held.min() >= 0.22 - 1e-9
        assert found.certificate.objective == pytest.approx(self.best_of_subsets(6, 0.22), rel=1e-8)


class TestWithoutAnAnswer:
    def test_instruments_that_cancel_out(self):
        problem = problem_of(Moments(("a", "b"), np.zeros(2), np.array([[0.04, -0.04], [-0.04, 0.04]])))
        found = maximize_diversification(problem, everyone(problem), SETTINGS)
        assert found.status is Status.UNBOUNDED
        assert "volatility" in found.message
        assert "maximum" in found.message

    def test_a_mix_that_gains_even_in_its_tail(self):
        x = np.random.default_rng(2).normal(0.0, 0.01, 40)
        R = np.column_stack([0.001 + x, 0.001 - x])
        moments = Moments(("up", "down"), np.zeros(2), np.array([[0.04, -0.03], [-0.03, 0.04]]))
        measure = make_measure("cvar", moments, Scenarios.history(moments.names, R), MeasureSettings())
        found = maximize_diversification(
            replace(problem_of(moments), measure=measure), np.ones(2, dtype=bool), SETTINGS
        )
        assert found.status is Status.UNBOUNDED, found.message
        assert "no cvar above zero" in found.message

    def test_instruments_that_cancel_out_at_a_cost(self):
        """The cost of getting there is all that the ratio divides by, and bounds it."""
        moments = Moments(("a", "b"), np.zeros(2), np.array([[0.04, -0.04], [-0.04, 0.04]]))
        cost = TradingCost(np.full(2, 0.01), np.array([1.0, 0.0]))
        found = most_diversified(problem_of(moments, cost=cost), risk_aversion=0.1)
        np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-7)
        assert found.certificate.objective == pytest.approx(0.2 / (0.01 / 0.1), rel=1e-7)

    def test_a_portfolio_without_weighted_risk(self):
        """Long and short of equal risks: the limits hold, but there is nothing to divide."""
        base = factor_moments(3, 2)
        moments = Moments((*base.names, "CASH"), np.zeros(3), np.pad(np.diag([0.04, 0.04]), (0, 1)))
        neutral = LinearLimit(np.array([1.0, 1.0, 0.0]), 0.0, 0.0, "net", "net")
        problem = problem_of(moments, neutral, lower=[-0.5, -0.5, 0.0], upper=[0.5, 0.5, 1.0])
        found = maximize_diversification(problem, risky(problem), SETTINGS)
        assert found.status is Status.ILL_POSED, found.message
        assert found.weights is None
        assert "volatility" in found.message

    def test_limits_that_conflict_are_explained(self):
        problem = problem_of(factor_moments(3, 4), upper=0.2)
        found = maximize_diversification(problem, everyone(problem), SETTINGS)
        assert found.status is Status.INFEASIBLE
        assert found.explanation is not None

    def test_endless_leverage(self):
        """Two instruments that rise together: the ratio of one less the other only rises with both positions."""
        moments = Moments(("a", "b"), np.zeros(2), np.array([[0.04, 0.038], [0.038, 0.0625]]))
        problem = problem_of(moments, lower=-np.inf, upper=np.inf)
        found = maximize_diversification(problem, everyone(problem), SETTINGS)
        expected = np.linalg.solve(moments.Sigma, np.sqrt(np.diag(moments.Sigma)))
        if expected.sum() > 0:
            np.testing.assert_allclose(found.weights, expected / expected.sum(), atol=1e-8)
        else:
            assert found.status is Status.UNBOUNDED

    def test_an_instrument_without_risk_is_named(self):
        moments = Moments(("risky", "flat"), np.zeros(2), np.diag([0.04, 0.0]))
        problem = problem_of(moments)
        for method in (maximize_diversification, decorrelate):
            with pytest.raises(ProblemError, match=r"volatility above 0.*flat \(0\)"):
                method(problem, everyone(problem), SETTINGS)
        with pytest.raises(ProblemError, match=r"flat"):
            inverse_risk_weights(problem.measure, moments.names, everyone(problem))

    def test_a_tail_below_zero_is_named(self):
        R = np.column_stack([np.full(20, 0.001), np.random.default_rng(0).normal(0.0, 0.01, 20)])
        moments = Moments(("bill", "stock"), np.zeros(2), np.diag([0.01, 0.04]))
        measure = make_measure("cvar", moments, Scenarios.history(moments.names, R), MeasureSettings())
        problem = replace(problem_of(moments), measure=measure)
        with pytest.raises(ProblemError, match=r"cvar above 0 each, which is not so of bill \(-0.001\)"):
            maximize_diversification(problem, everyone(problem), SETTINGS)

    def test_the_value_at_risk_is_refused(self):
        given = market("plain")
        problem = given.problem(MinimizeRisk(), "var")
        with pytest.raises(ProblemError, match="var is not"):
            maximize_diversification(problem, everyone(problem), SETTINGS)

    @pytest.mark.parametrize("word", ["semi_deviation", "tracking_error"])
    def test_a_risk_that_does_not_grow_with_the_weights_is_refused(self, word):
        given = market("cut tail")
        problem = given.problem(MinimizeRisk(), "semi_deviation")
        if word == "tracking_error":
            problem = replace(problem, measure=TrackingError.against_weights(problem.moments, given.w0))
        with pytest.raises(ProblemError, match=f"in proportion to the weights, which {word} is not"):
            maximize_diversification(problem, everyone(problem), SETTINGS)

    def test_nothing_to_hold(self):
        problem = problem_of(factor_moments(3, 2))
        nobody = np.zeros(2, dtype=bool)
        for refused in (
            lambda: maximize_diversification(problem, nobody, SETTINGS),
            lambda: decorrelate(problem, nobody, SETTINGS),
            lambda: equal_weights(nobody),
            lambda: inverse_risk_weights(problem.measure, problem.moments.names, nobody),
        ):
            with pytest.raises(ProblemError, match="no instrument that can be held"):
                refused()


def test_rules_give_weight_to_members_only():
    moments = factor_moments(3, 5)
    members = np.array([True, False, True, True, False])
    np.testing.assert_allclose(equal_weights(members), [1 / 3, 0, 1 / 3, 1 / 3, 0])
    weights = inverse_risk_weights(Volatility(moments), moments.names, members)
    volatilities = np.sqrt(np.diag(moments.Sigma))
    assert weights.sum() == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(weights[members] * volatilities[members], weights[0] * volatilities[0], rtol=1e-12)
    assert not weights[~members].any()


def test_a_ratio_without_risk_is_none():
    moments = Moments(("a", "CASH"), np.zeros(2), np.diag([0.04, 0.0]))
    members = np.array([True, False])
    assert diversification_ratio(Volatility(moments), members, np.array([0.0, 1.0])) is None
    assert diversification_ratio(Volatility(moments), members, np.array([0.5, 0.5])) == pytest.approx(1.0)


def test_the_objective_by_itself_is_a_ratio_program():
    moments = factor_moments(5, 8)
    risks = np.sqrt(np.diag(moments.Sigma))
    problem = replace(problem_of(moments), objective=MaximizeDiversification(risks))
    assert optimize(problem, SETTINGS).certificate.objective == pytest.approx(
        most_diversified(problem_of(moments)).certificate.objective, rel=1e-12
    )
