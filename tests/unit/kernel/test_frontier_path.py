"""The exact frontier under every linear limit and cost: against cvxpy, against single solves, and by hand."""

import warnings
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.certificate import assess
from kernel.constraints import Constraint, ExposureBudget, LinearLimit, TurnoverLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.frontier import EfficientFrontier, FrontierPath, FrontierRequest, efficient_frontier
from kernel.frontier.parametric import trace
from kernel.measures import Volatility
from kernel.measures.volatility import TrackingError, Variance
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.solvers import RawStatus, solve_convex
from kernel.status import Status
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import (
    RISK_FREE,
    SETTINGS,
    Case,
    Limits,
    Universe,
    asset_names,
    bounds_of,
    factor_moments,
    long_only,
    symmetric,
    universe,
)

LIMITS = {
    "sectors": Limits(sectors=True),
    "one-way turnover": Limits(turnover=0.15),
    "two-way turnover": Limits(turnover=0.25, turnover_factor=1.0),
    "costs": Limits(cost_rate=0.01),
    "taxed sales": Limits(cost_rate=0.002, sale_rate=0.02),
    "all": Limits(sectors=True, turnover=0.2, cost_rate=0.005, sale_rate=0.01),
}
NAMES = ("bailey", "factor 30", "singular", "cash", "shorts", "fixed weights", "tied means", "duplicates")
FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def solve(goal, limits) -> float:
    program = cp.Problem(goal, limits)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **FINE)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(program.value)


class Oracle:
    """A case of the zoo in the weights alone."""

    def __init__(self, case: Case) -> None:
        u, limits = case.universe, case.limits
        self.w = cp.Variable(u.n)
        change = self.w - u.w0
        self.net = u.moments.mu @ self.w - case.cost_rates() @ cp.abs(change) - case.sale_rates() @ cp.pos(-change)
        self.rows = [cp.sum(self.w) == 1, self.w >= u.lower, self.w <= u.upper]
        for _, member, low, high in case.sector_limits():
            self.rows += [member @ self.w >= low, member @ self.w <= high]
        if limits.turnover is not None:
            self.rows.append(limits.turnover_factor * cp.norm1(change) <= limits.turnover)
        self.variance = cp.sum_squares(root(u.moments.Sigma) @ self.w)

    def least_risk(self, value: float) -> float:
        """The least volatility at a net return of at least `value`."""
        return float(np.sqrt(max(solve(cp.Minimize(self.variance), [*self.rows, self.net >= value]), 0.0)))

    def highest_return(self) -> float:
        return solve(cp.Maximize(self.net), self.rows)


def exact(problem: Problem, points: int = 5, **request) -> EfficientFrontier:
    frontier = efficient_frontier(problem, FrontierRequest(points, RISK_FREE, **request), SETTINGS)
    assert frontier.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), frontier.message
    assert frontier.message.startswith("exact"), frontier.message
    assert frontier.resolution == 0.0
    return frontier


def pose(u: Universe, *more: Constraint, cost: TradingCost | None = None) -> Problem:
    return Problem(u.moments, MinimizeRisk(), Volatility(u.moments), (budget(u.n), bounds_of(u), *more), cost)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("name", NAMES)
def test_any_point_is_the_least_risk_at_its_return(name, limits):
    case = Case(universe(name), MinimizeRisk(), LIMITS[limits])
    frontier, oracle = exact(case.problem(), 6), Oracle(case)
    riskless = 1e-5 * case.universe.moments.typical_volatility
    for point in frontier.points:
        assert point.risk == pytest.approx(oracle.least_risk(point.expected_return - 1e-11), rel=1e-6, abs=riskless)
    assert frontier.maximum_return.expected_return == pytest.approx(oracle.highest_return(), rel=1e-8)
    assert frontier.minimum_risk.risk == pytest.approx(oracle.least_risk(-9.0), rel=1e-7, abs=riskless)
    returns = [p.expected_return for p in frontier.turning_points]
    assert (np.diff(returns) > -1e-12).all()
    if frontier.status is Status.OPTIMAL:
        assert max(p.gap for p in (*frontier.points, *frontier.turning_points)) <= SETTINGS.tolerance


@pytest.mark.parametrize("limits", ["sectors", "one-way turnover", "taxed sales"])
def test_between_neighbouring_turning_points_weights_are_linear(limits):
    """A random place between any two: the mean of their weights is the one portfolio of least risk at its return."""
    case = Case(universe("factor 30"), MinimizeRisk(), LIMITS[limits])
    frontier, oracle, problem = exact(case.problem()), Oracle(case), case.problem()
    rng = np.random.default_rng(3)
    for k in rng.choice(len(frontier.turning_points) - 1, 6, replace=False).tolist():
        t = rng.uniform()
        a, b = (corner.weights for corner in frontier.turning_points[k : k + 2])
        w = (1 - t) * a + t * b
        risk = problem.measure.of(w)
        assert risk == pytest.approx(oracle.least_risk(problem.net_return(w) - 1e-12), rel=1e-8)


def random_problem(seed: int) -> Problem:
    """Up to twelve assets; any of: few observations, copies, ties, cash, shorts, groups, rows, turnover, costs."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    R = rng.normal(size=(int(rng.integers(2, 2 * n + 3)), n)) + rng.normal(size=(1, n))
    Sigma = 0.02 * R.T @ R / len(R) + np.diag(rng.uniform(0.0, 0.03, n) * rng.integers(0, 2))
    mu = np.round(rng.normal(0.07, 0.05, n), int(rng.integers(1, 8)))
    if rng.random() < 0.2:
        copies = rng.integers(0, n, n)
        Sigma = Sigma[np.ix_(copies, copies)]
    if rng.random() < 0.2:
        Sigma[0], Sigma[:, 0] = 0.0, 0.0
    lower = -0.3 * rng.integers(0, 2, n) * rng.integers(0, 2)
    upper = np.full(n, max(1.5 / n, 0.3)) if rng.random() < 0.5 else np.ones(n)
    w0 = np.full(n, 1.0 / n)
    rows: list[Constraint] = []
    if rng.random() < 0.3:
        a = rng.normal(size=n)
        rows.append(LinearLimit(a, -np.inf, float(a @ w0) + rng.uniform(0.0, 0.3), "row min", "row max"))
    if rng.random() < 0.3:
        member = (rng.random(n) < 0.5).astype(float)
        rows.append(LinearLimit(member, member @ w0 - 0.1, member @ w0 + 0.1, "group min", "group max"))
    if rng.random() < 0.3:
        rows.append(TurnoverLimit("turnover", rng.uniform(0.0, 0.6), w0, rng.choice([0.5, 1.0])))
    if rng.random() < 0.2:
        rows.append(ExposureBudget("gross", "gross", 1.0 + rng.uniform(0.0, 0.5), np.ones(n, dtype=bool)))
    sales = rng.uniform(0.0, 0.02, n) if rng.random() < 0.5 else None
    cost = TradingCost(rng.uniform(0.0, 0.03, n), w0, sales) if rng.random() < 0.3 else None
    moments = Moments(asset_names(n), mu, symmetric(Sigma))
    return pose(Universe(moments, lower, upper, (0,) * n, w0, np.ones(n)), *rows, cost=cost)


@pytest.mark.parametrize("first", range(0, 300, 30))
def test_random_problems_corner_by_corner(first):
    """At and between corners the path's x and multipliers prove each other, and single solves find the same value."""
    for seed in range(first, first + 30):
        path = FrontierPath.of(random_problem(seed), SETTINGS)
        assert path is not None, seed
        c = -path.program.A[[-1]].toarray()[0]
        free = replace(path.program, A=path.program.A[:-1], b=path.program.b[:-1], blocks=path.program.blocks[:-1])
        for place in np.arange(0.0, len(path.returns) - 0.5, 0.5).tolist():
            x, z = path.at(place)
            at_lambda = replace(free, q=free.q - z[-1] * c)
            found = assess(at_lambda, x, z[:-1])
            size = max(abs(found.objective), 1e-6)
            assert found.objective - found.bound <= 1e-9 * size, (seed, place)
            assert found.violation <= 1e-10, (seed, place)
            single = solve_convex(at_lambda, SETTINGS)
            assert single.status is RawStatus.SOLVED
            assert found.objective <= at_lambda.objective(single.x) + 1e-8 * size, (seed, place)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("field", ["Sigma", "mu", "both"])
def test_scales_of_risk_and_return_change_no_weights(scale, field):
    u = universe("factor 30")
    turnover = TurnoverLimit("turnover", 0.3, u.w0)
    mu = u.moments.mu * (scale if field in ("mu", "both") else 1.0)
    Sigma = u.moments.Sigma * (scale if field in ("Sigma", "both") else 1.0)
    scaled = replace(u, moments=Moments(u.moments.names, mu, Sigma))
    plain, other = exact(pose(u, turnover)), exact(pose(scaled, turnover))
    assert len(plain.turning_points) == len(other.turning_points)
    for a, b in zip(plain.turning_points, other.turning_points, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-8)


def test_the_order_of_assets_does_not_matter():
    u = universe("shorts")
    order = np.random.default_rng(4).permutation(u.n)
    Sigma = u.moments.Sigma[np.ix_(order, order)].copy()
    mixed = replace(
        u,
        moments=Moments(u.moments.names, u.moments.mu[order], Sigma),
        lower=u.lower[order],
        upper=u.upper[order],
        w0=u.w0[order],
    )
    gross = ExposureBudget("gross", "gross", 1.4, np.ones(u.n, dtype=bool))
    plain, other = (exact(pose(v, gross, TurnoverLimit("turnover", 0.5, v.w0))) for v in (replace(u, w0=u.w0), mixed))
    assert len(plain.turning_points) == len(other.turning_points)
    for a, b in zip(plain.turning_points, other.turning_points, strict=True):
        np.testing.assert_allclose(a.weights[order], b.weights, atol=1e-9)


class TestByHand:
    """Two uncorrelated assets of variance 1 and 4, means 0 and 1: least risk at (4/5, 1/5)."""

    def pose(self, *more, **kwargs) -> Problem:
        moments = Moments(("A", "B"), np.array([0.0, 1.0]), np.diag([1.0, 4.0]))
        return pose(long_only(moments), *more, **kwargs)

    def test_turnover_ends_the_path(self):
        frontier = exact(self.pose(TurnoverLimit("turnover", 0.3, np.array([0.8, 0.2]))))
        first, last = frontier.turning_points
        np.testing.assert_allclose([first.weights, last.weights], [[0.8, 0.2], [0.5, 0.5]], atol=1e-14)

    def test_a_cost_takes_its_part_of_the_return(self):
        """Each unit moved from A to B costs 2 x 0.1: the return rises by 0.8, and the price of return by a quarter."""
        cost = TradingCost(np.array([0.1, 0.1]), np.array([0.8, 0.2]))
        last = exact(self.pose(cost=cost)).turning_points[-1]
        np.testing.assert_allclose(last.weights, [0.0, 1.0], atol=1e-14)
        assert last.expected_return == pytest.approx(1.0 - 0.16)
        assert last.multiplier == pytest.approx(4.0 / 0.8)

    def test_a_kink_where_trading_changes_its_side(self):
        """From all in B: below w0 the return falls by 1.2 a unit, so the whole path is a way back to w0."""
        frontier = exact(self.pose(cost=TradingCost(np.array([0.1, 0.1]), np.array([0.0, 1.0]))))
        first, last = frontier.turning_points
        np.testing.assert_allclose([first.weights, last.weights], [[0.8, 0.2], [0.0, 1.0]], atol=1e-14)
        assert first.expected_return == pytest.approx(0.2 - 0.16)
        assert last.multiplier == pytest.approx(4.0 / 1.2)

    def test_the_path_waits_where_trading_does_not_pay(self):
        """At w0 inside, the price of return jumps from 5/6 (selling less) to 5/4 (buying more) of its frictionless."""
        start = np.array([0.5, 0.5])
        frontier = exact(self.pose(cost=TradingCost(np.array([0.1, 0.1]), start)), points=30)
        np.testing.assert_allclose([c.weights[1] for c in frontier.turning_points], [0.2, 0.5, 1.0], atol=1e-14)
        below = max((p for p in frontier.points if p.weights[1] < 0.5), key=lambda p: p.weights[1])
        above = min((p for p in frontier.points if p.weights[1] > 0.5), key=lambda p: p.weights[1])
        for point, slope in ((below, 1.2), (above, 0.8)):
            a, b = point.weights
            assert point.multiplier == pytest.approx((4.0 * b - a) / slope)

    def test_no_bounds_at_all(self):
        """Two funds: w = (4/5 - x, 1/5 + x), variance 4/5 + 5 x^2, for ever."""
        free = np.full(2, np.inf)
        names = ("bound", "bound")
        moments = self.pose().moments
        bounds = WeightBounds(-free, free, names, names)
        problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(2), bounds))
        endless = efficient_frontier(problem, FrontierRequest(5, RISK_FREE), SETTINGS)
        assert endless.status is Status.UNBOUNDED
        assert endless.failure.direction == pytest.approx({"A": -1.0, "B": 1.0})
        frontier = exact(problem, max_risk=5.0)
        assert frontier.maximum_return is None
        assert len(frontier.turning_points) == 1
        np.testing.assert_allclose(frontier.points[-1].weights[1], 0.2 + np.sqrt((25.0 - 0.8) / 5.0), rtol=1e-8)
        for point in frontier.points:
            assert point.risk**2 == pytest.approx(0.8 + 5.0 * (point.weights[1] - 0.2) ** 2)


class TestGeometry:
    def test_one_asset(self):
        u = long_only(Moments(("A",), np.array([0.07]), np.array([[0.04]])))
        frontier = exact(pose(u, TurnoverLimit("turnover", 0.1, u.w0)), points=3)
        assert len(frontier.turning_points) == 1
        assert [p.weights.tolist() for p in frontier.points] == [[1.0]] * 3

    @pytest.mark.parametrize("mean", [0.07, -0.03, 0.0])
    def test_all_means_equal(self, mean):
        base = factor_moments(62, 25)
        u = long_only(Moments(base.names, np.full(25, mean), base.Sigma.copy()), cap=0.2)
        frontier = exact(pose(u, LinearLimit(np.arange(25) / 25.0, 0.2, 0.4, "low", "high")))
        assert len(frontier.turning_points) == 1

    def test_all_means_negative(self):
        base = factor_moments(65, 20)
        u = long_only(Moments(base.names, -np.abs(base.mu), base.Sigma.copy()), cap=0.2)
        frontier = exact(pose(u, TurnoverLimit("turnover", 0.4, u.w0)))
        assert frontier.optimal is None
        assert frontier.maximum_return.expected_return < 0.0

    def test_limits_that_say_the_same_twice(self):
        u = universe("factor 30")
        member = (np.arange(u.n) % 3 == 0).astype(float)
        once = [LinearLimit(member, 0.2, 0.5, "group min", "group max")]
        again = LinearLimit(2.0 * member, 0.4, 1.0, "again min", "again max")
        equal = LinearLimit(np.full(u.n, 3.0), 3.0, 3.0, "budget again", "budget again")
        plain, doubled = exact(pose(u, *once)), exact(pose(u, *once, again, equal))
        assert len(plain.turning_points) == len(doubled.turning_points)
        for a, b in zip(plain.turning_points, doubled.turning_points, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, atol=1e-10)

    def test_many_assets_that_enter_at_once(self):
        """Ten copies in all but name of each of three kinds: ten events at every turn."""
        kinds = np.repeat([0, 1, 2], 10)
        Sigma = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.02], [0.0, 0.02, 0.16]])[np.ix_(kinds, kinds)]
        moments = Moments(asset_names(30), np.array([0.03, 0.06, 0.10])[kinds], Sigma + 0.02 * np.eye(30))
        u = long_only(moments, cap=0.15)
        frontier = exact(pose(u), points=9)
        for point in frontier.points:
            groups = point.weights.reshape(3, 10)
            np.testing.assert_allclose(groups, groups.mean(axis=1, keepdims=True) * np.ones(10), atol=1e-9)

    def test_infeasible_limits_have_no_path(self):
        u = universe("factor 30")
        contradiction = LinearLimit(np.ones(u.n), 1.5, np.inf, "min", "max")
        assert FrontierPath.of(pose(u, contradiction), SETTINGS) is None

    def test_a_path_in_plain_numbers(self):
        """1/2 x^2 - lambda x on [0, 2]: x follows lambda, and stops at 2."""
        moments = Moments(("A",), np.array([1.0]), np.array([[1.0]]))
        problem = Problem(moments, MinimizeRisk(), Volatility(moments), (bounds_of(long_only(moments, cap=2.0)),))
        path = FrontierPath.of(problem, SETTINGS)
        np.testing.assert_allclose(path.corners.multipliers, [0.0, 2.0], atol=1e-14)
        np.testing.assert_allclose(path.corners.X[:, 0], [0.0, 2.0], atol=1e-14)
        program = replace(path.program, A=path.program.A[:-1], b=path.program.b[:-1], blocks=())
        assert len(trace(program, np.array([2.0]), SETTINGS).multipliers) == 2


def test_variance_and_tracking_error_have_paths_too():
    u = universe("factor 30")
    variance = replace(pose(u), measure=Variance(u.moments))
    for a, b in zip(exact(variance).points, exact(pose(u)).points, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-9)
        assert a.risk == pytest.approx(b.risk**2)
    best = exact(variance, points=400)
    assert best.optimal.sharpe >= max(p.sharpe for p in best.points)
    frontier = exact(replace(pose(u), measure=TrackingError.against_weights(u.moments, u.w0)))
    np.testing.assert_allclose(frontier.minimum_risk.weights, u.w0, atol=1e-8)
    w, active = cp.Variable(u.n), root(u.moments.Sigma)
    for point in frontier.points[1:]:
        rows = [cp.sum(w) == 1, w >= u.lower, w <= u.upper, u.moments.mu @ w >= point.expected_return - 1e-11]
        least = solve(cp.Minimize(cp.sum_squares(active @ (w - u.w0))), rows)
        assert point.risk == pytest.approx(np.sqrt(least), rel=1e-6)


def test_points_are_told_of_in_order():
    u, told = universe("factor 30"), []
    request = FrontierRequest(6, RISK_FREE)
    frontier = efficient_frontier(pose(u, TurnoverLimit("turnover", 0.3, u.w0)), request, SETTINGS, told.append)
    assert tuple(told) == frontier.points
