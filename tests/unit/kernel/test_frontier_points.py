"""Frontiers that are solved point by point: other measures, limits that are not linear, impact, whole positions."""

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import RiskLimit, SmallestPosition, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.scenarios import Scenarios
from kernel.status import Status
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import RISK_FREE, SETTINGS, asset_names, symmetric

N, T = 8, 70
CAP = 0.4
ROOT_OF_YEAR = np.sqrt(252.0)
WORDS = ("cvar", "mad", "semi_deviation", "worst_realization", "max_drawdown", "ulcer")


def returns(seed: int = 21) -> np.ndarray:
    rng = np.random.default_rng(seed)
    common = rng.standard_t(4, (T, 1)) * 0.008
    return common * rng.uniform(0.4, 1.4, N) + rng.normal(0.0, 0.01, (T, N)) + rng.normal(0.0006, 0.0004, N)


def pose(word: str, R: np.ndarray, *more, cost: TradingCost | None = None) -> Problem:
    n = R.shape[1]
    names = asset_names(n)
    moments = Moments(names, 252.0 * R.mean(axis=0), symmetric(252.0 * np.cov(R.T)))
    measure = make_measure(word, moments, Scenarios.history(names, R), MeasureSettings(confidence_level=0.9))
    bounds = WeightBounds(np.zeros(n), np.full(n, CAP), names, names)
    return Problem(moments, MinimizeRisk(), measure, (budget(n), bounds, *more), cost)


def risk_of(word: str, r: cp.Expression) -> cp.Expression:
    """The measures once more, as the textbooks write them."""
    paths = cp.cumsum(r)
    falls = cp.hstack([cp.max(cp.hstack([0.0, paths[: t + 1]])) - paths[t] for t in range(T)])
    match word:
        case "cvar":
            return cp.sum_largest(-r, T // 10) / (T // 10)
        case "mad":
            return ROOT_OF_YEAR * cp.sum(cp.abs(r - cp.sum(r) / T)) / T
        case "semi_deviation":
            return ROOT_OF_YEAR * cp.norm(cp.neg(r - cp.sum(r) / T)) / np.sqrt(T)
        case "worst_realization":
            return cp.max(-r)
        case "max_drawdown":
            return cp.max(falls)
    assert word == "ulcer", word
    return cp.norm(cp.pos(falls)) / np.sqrt(T)


class Oracle:
    """Least risk at a return, with the return as a parameter."""

    def __init__(self, word: str, R: np.ndarray) -> None:
        self.floor, w = cp.Parameter(), cp.Variable(R.shape[1])
        rows = [cp.sum(w) == 1, w >= 0, w <= CAP, 252.0 * R.mean(axis=0) @ w >= self.floor]
        self.program = cp.Problem(cp.Minimize(risk_of(word, R @ w)), rows)

    def least_risk(self, value: float) -> float:
        self.floor.value = value
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            self.program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        assert self.program.status in ("optimal", "optimal_inaccurate"), self.program.status
        return float(self.program.value)


def frontier_of(problem: Problem, points: int = 9, **request) -> EfficientFrontier:
    frontier = efficient_frontier(problem, FrontierRequest(points, RISK_FREE, **request), SETTINGS)
    assert frontier.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), frontier.message
    assert len(frontier.points) == points
    return frontier


@pytest.mark.parametrize("word", WORDS)
class TestOtherMeasures:
    def test_every_point_is_the_least_risk_at_its_return(self, word):
        R = returns()
        frontier, oracle = frontier_of(pose(word, R)), Oracle(word, R)
        for point in frontier.points:
            assert point.risk == pytest.approx(oracle.least_risk(point.expected_return - 1e-9), rel=1e-5)
            assert point.gap <= SETTINGS.loose_tolerance
            assert point.violation <= SETTINGS.loose_tolerance
        risks = [p.risk for p in frontier.points]
        values = [p.expected_return for p in frontier.points]
        assert (np.diff(values) > 0.0).all()
        assert (np.diff(risks) > 0.0).all()

    def test_nothing_lies_further_below_the_lines_than_said(self, word):
        R = returns(22)
        frontier, oracle = frontier_of(pose(word, R), 6), Oracle(word, R)
        worst = 0.0
        for a, b in zip(frontier.points, frontier.points[1:], strict=False):
            for t in (0.2, 0.5, 0.8):
                line = (1 - t) * a.risk + t * b.risk
                least = oracle.least_risk((1 - t) * a.expected_return + t * b.expected_return)
                worst = max(worst, (line - least) / line)
        assert 0.0 <= worst <= frontier.resolution + 1e-6
        finer = frontier_of(pose(word, R), 18)
        assert finer.resolution < frontier.resolution

    def test_multipliers_are_the_price_of_return(self, word):
        """No point lies below the line through another one with its multiplier as slope."""
        problem = pose(word, returns())
        points = frontier_of(problem).points
        penalty = [problem.measure.penalty(p.risk) for p in points]
        for a, own in zip(points, penalty, strict=True):
            for b, other in zip(points, penalty, strict=True):
                line = own + a.multiplier * (b.expected_return - a.expected_return)
                assert other >= line - 1e-6 * max(penalty)

    def test_the_portfolios_that_stand_out(self, word):
        R = returns()
        problem = pose(word, R)
        frontier, oracle = frontier_of(problem), Oracle(word, R)
        assert frontier.minimum_risk.risk == pytest.approx(oracle.least_risk(-9.0), rel=1e-6)
        best = np.sort(252.0 * R.mean(axis=0))[::-1]
        highest = CAP * (best[0] + best[1]) + (1.0 - 2.0 * CAP) * best[2]
        assert frontier.maximum_return.expected_return == pytest.approx(highest, rel=1e-8)
        ratio = optimize(replace(problem, objective=MaximizeRatio(RISK_FREE)), SETTINGS)
        assert frontier.optimal.sharpe == pytest.approx(ratio.certificate.objective)
        assert all(p.sharpe <= frontier.optimal.sharpe * (1 + 1e-6) for p in frontier.points)

    def test_minimum_return_and_maximum_risk(self, word):
        problem = pose(word, returns())
        whole = frontier_of(problem)
        floor, ceiling = whole.points[2].expected_return, whole.points[6].risk
        part = frontier_of(problem, 5, min_return=floor, max_risk=ceiling)
        assert part.points[0].expected_return == pytest.approx(floor, abs=1e-8)
        assert part.points[-1].risk == pytest.approx(ceiling, rel=1e-5)
        assert all(p.risk <= ceiling * (1 + 1e-6) for p in part.points)


def test_of_many_portfolios_of_least_risk_the_best_earning_begins():
    """Two assets that differ only in days that are not the worst: the worst loss does not tell them apart."""
    R = np.minimum(returns(), 0.0)
    R[:, 1] = R[:, 0]
    R[R[:, 0] > -0.002, 1] += 0.004
    R = np.column_stack([R[:, :2], R[:, :2].min(axis=1) - 0.01])
    frontier = frontier_of(replace(pose("worst_realization", R), constraints=(budget(3), free_of(3))), 2)
    np.testing.assert_allclose(frontier.minimum_risk.weights, [0.0, 1.0, 0.0], atol=1e-8)
    np.testing.assert_allclose(frontier.points[0].weights, [0.0, 1.0, 0.0], atol=1e-8)


def free_of(n: int) -> WeightBounds:
    return WeightBounds(np.zeros(n), np.ones(n), asset_names(n), asset_names(n))


def test_one_portfolio_is_all_points():
    R = returns()
    one = np.full(N, 1.0 / N)
    fixed = WeightBounds(one, one, asset_names(N), asset_names(N))
    frontier = frontier_of(replace(pose("cvar", R), constraints=(budget(N), fixed)), 4)
    assert all(np.allclose(p.weights, one, atol=1e-9) for p in frontier.points)
    assert frontier.resolution <= 1e-6


def test_a_risk_without_end_is_cut_at_the_maximum():
    """Nothing bounds the weights but the largest CVaR."""
    R = returns()
    free = np.full(N, np.inf)
    unbounded = WeightBounds(-free, free, asset_names(N), asset_names(N))
    problem = replace(pose("cvar", R), constraints=(budget(N), unbounded))
    assert efficient_frontier(problem, FrontierRequest(4, RISK_FREE), SETTINGS).status is Status.UNBOUNDED
    frontier = frontier_of(problem, 4, max_risk=0.05)
    assert frontier.maximum_return is None
    assert frontier.points[-1].risk == pytest.approx(0.05, rel=1e-6)


def test_impact_counts_in_the_return():
    R, w0 = returns(), np.full(N, 1.0 / N)
    cost = TradingCost(np.full(N, 0.002), w0, impact=np.linspace(0.02, 0.08, N))
    problem = pose("volatility", R, cost=cost)
    frontier = frontier_of(problem, 5)
    assert not frontier.turning_points
    w = cp.Variable(N)
    size = cp.abs(w - w0)
    net = problem.moments.mu @ w - cost.rates @ size - cost.impact @ cp.power(size, 1.5)
    for point in frontier.points:
        rows = [cp.sum(w) == 1, w >= 0, w <= CAP, net >= point.expected_return - 1e-9]
        program = cp.Problem(cp.Minimize(cp.norm(root(problem.moments.Sigma) @ w)), rows)
        program.solve(solver=cp.CLARABEL)
        assert point.risk == pytest.approx(float(program.value), rel=1e-5)
    steps = np.diff([p.expected_return for p in frontier.points])
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-6)


def test_a_limit_on_another_measure_holds_on_every_point():
    R = returns()
    plain = pose("volatility", R)
    cvar = make_measure("cvar", plain.moments, Scenarios.history(asset_names(N), R), MeasureSettings(0.9))
    least = optimize(replace(plain, measure=cvar), SETTINGS).certificate.objective
    limit = RiskLimit("max_cvar", cvar, 1.15 * least)
    frontier = frontier_of(replace(plain, constraints=(*plain.constraints, limit)), 6)
    unlimited = frontier_of(plain, 6)
    assert all(limit.limit - cvar.of(p.weights) >= -1e-7 for p in frontier.points)
    assert frontier.maximum_return.expected_return < unlimited.maximum_return.expected_return


def test_whole_positions_have_points_but_no_lines():
    R = returns()
    problem = pose("volatility", R, SmallestPosition("min_position", 0.15, tuple(range(N))))
    frontier = frontier_of(problem, 4)
    assert frontier.resolution is None
    relaxed = frontier_of(pose("volatility", R), 4)
    for point in frontier.points:
        held = point.weights[point.weights > 1e-9]
        assert (held >= 0.15 - 1e-7).all()
        assert point.risk >= relaxed.minimum_risk.risk - 1e-9


@pytest.mark.parametrize("asked", [{"min_return": 5.0}, {"max_risk": 1e-4}, {"min_return": 0.3, "max_risk": 0.012}])
def test_nothing_meets_the_request(asked):
    frontier = efficient_frontier(pose("cvar", returns()), FrontierRequest(5, RISK_FREE, **asked), SETTINGS)
    assert frontier.status is Status.INFEASIBLE
    assert not frontier.points
    assert all(word in frontier.message for word in asked)


def test_points_are_told_of_as_they_are_found():
    told = []
    request = FrontierRequest(6, RISK_FREE)
    frontier = efficient_frontier(pose("cvar", returns()), request, SETTINGS, told.append)
    assert sorted(told, key=lambda p: p.expected_return) == list(frontier.points)
    nothing = []
    efficient_frontier(pose("cvar", returns()), replace(request, min_return=5.0), SETTINGS, nothing.append)
    assert not nothing
