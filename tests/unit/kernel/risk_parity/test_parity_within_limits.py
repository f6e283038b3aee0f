"""Budgets of risk that limits and costs keep out of reach: independent solvers, proofs of distance, and properties."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.optimize

from kernel.constraints import (
    ExposureBudget,
    LinearLimit,
    NetReturnFloor,
    NumberOfPositions,
    RiskLimit,
    SmallestPosition,
    TradeLimits,
    TurnoverLimit,
)
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.measures.volatility import TrackingError
from kernel.methods.budgets import asset_budgets
from kernel.problem import Moments
from tests.unit.kernel.risk_parity.parity_cases import (
    contributions,
    covariance,
    equal_budgets,
    moments_of,
    problem_of,
    solved,
)

N = 12
SIGMA = covariance(20, N)
MOMENTS = moments_of(SIGMA)
B = np.random.default_rng(20).uniform(0.5, 1.5, N)
B = B / B.sum()
BUDGETS = asset_budgets(MOMENTS.names, B)
W0 = np.random.default_rng(21).dirichlet(np.full(N, 3.0))
SECTOR = (np.arange(N) % 3 == 0).astype(float)
RATES = np.linspace(0.002, 0.02, N)
IMPACT = np.linspace(0.05, 0.01, N)
ROOT = np.linalg.cholesky(SIGMA).T
EVERYONE = np.ones(N, dtype=bool)

# Of each case the limits, bounds and costs of the kernel, and the same over y and kappa for the judge.
CASES = {
    "cap": ([], {"upper": 0.1}, lambda y, k: [y <= 0.1 * k]),
    "floor": ([], {"lower": 0.06}, lambda y, k: [y >= 0.06 * k]),
    "sector": (
        [LinearLimit(SECTOR, -np.inf, 0.2, "sector", "sector")],
        {},
        lambda y, k: [SECTOR @ y <= 0.2 * k],
    ),
    "turnover": (
        [TurnoverLimit("turnover", 0.05, W0, 0.5)],
        {},
        lambda y, k: [0.5 * cp.norm1(y - W0 * k) <= 0.05 * k],
    ),
    "trades": (
        [TradeLimits(("trade",) * N, np.full(N, 0.02), W0)],
        {},
        lambda y, k: [cp.abs(y - W0 * k) <= 0.02 * k],
    ),
    "volatility": (
        [RiskLimit("volatility", Volatility(MOMENTS), 0.094)],
        {},
        lambda y, k: [cp.norm(ROOT @ y) <= 0.094 * k],
    ),
    "tracking error": (
        [RiskLimit("error", TrackingError.against_weights(MOMENTS, W0), 0.03)],
        {},
        lambda y, k: [cp.norm(ROOT @ (y - W0 * k)) <= 0.03 * k],
    ),
    "return": (
        [NetReturnFloor("return", MOMENTS.mu, 0.065, None)],
        {},
        lambda y, k: [MOMENTS.mu @ y >= 0.065 * k],
    ),
    "several": (
        [
            LinearLimit(SECTOR, 0.4, np.inf, "sector", "sector"),
            TurnoverLimit("turnover", 0.3, W0, 0.5),
            RiskLimit("volatility", Volatility(MOMENTS), 0.106),
        ],
        {"upper": 0.15},
        lambda y, k: [
            SECTOR @ y >= 0.4 * k,
            0.5 * cp.norm1(y - W0 * k) <= 0.3 * k,
            cp.norm(ROOT @ y) <= 0.106 * k,
            y <= 0.15 * k,
        ],
    ),
}
COSTS = {
    "proportional": (TradingCost(RATES, W0), lambda d, k: RATES @ cp.abs(d)),
    "sales": (TradingCost(RATES, W0, sale_rates=2.0 * RATES), lambda d, k: RATES @ cp.abs(d) + 2.0 * RATES @ cp.neg(d)),
    "impact": (
        TradingCost(RATES, W0, impact=IMPACT),
        lambda d, k: RATES @ cp.abs(d) + IMPACT @ power_perspective(d, k),
    ),
}


def power_perspective(d, k):
    """kappa |d / kappa|^(3/2), by power cones."""
    e = cp.Variable(N, nonneg=True)
    rows = [cp.constraints.PowCone3D(e[i], k, d[i], 2.0 / 3.0) for i in range(N)]
    power_perspective.rows = rows
    return e


def judged(rows, cost=None, aversion=1.0):
    """exp f, from the homogenised program as cvxpy writes it."""
    y, k = cp.Variable(N), cp.Variable(nonneg=True)
    power_perspective.rows = []
    charge = 0.0 if cost is None else cost(y - W0 * k, k) / aversion
    goal = cp.norm(ROOT @ y) + charge - B @ cp.log(y)
    program = cp.Problem(cp.Minimize(goal), [cp.sum(y) == k, *rows(y, k), *power_perspective.rows])
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-8, tol_gap_rel=1e-8, tol_feas=1e-8)
    assert program.status in ("optimal", "optimal_inaccurate")
    return float(np.exp(program.value - 1.0)), y.value / k.value


def ratio(w, cost=None, aversion=1.0):
    charge = 0.0 if cost is None else cost.of(w) / aversion
    return (np.sqrt(w @ SIGMA @ w) + charge) * np.exp(-B @ np.log(w))


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("case", CASES)
def test_nearest_portfolio_within_limits(case):
    constraints, bounds, rows = CASES[case]
    found = solved(problem_of(MOMENTS, *constraints, **bounds), BUDGETS)
    objective, w = judged(rows)
    assert found.solution.certificate.objective == pytest.approx(objective, rel=2e-8)
    assert found.solution.certificate.objective == pytest.approx(ratio(found.solution.weights), rel=1e-14)
    assert found.solution.certificate.gap <= 1e-9
    np.testing.assert_allclose(found.solution.weights, w, atol=1e-4)
    free = solved(problem_of(MOMENTS), BUDGETS).solution.certificate.objective
    assert found.distance == pytest.approx(np.log(objective / free), abs=2e-8)
    assert 0.0 < found.distance_bound <= found.distance
    assert found.distance - found.distance_bound <= 1e-8
    assert not found.attained
    np.testing.assert_allclose(found.shares, contributions(SIGMA, found.solution.weights), rtol=1e-10)
    assert found.shares.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("aversion", [0.5, 5.0])
@pytest.mark.parametrize("case", COSTS)
def test_costs_count_as_risk(case, aversion):
    cost, judge = COSTS[case]
    found = solved(problem_of(MOMENTS, upper=0.2, cost=cost), BUDGETS, risk_aversion=aversion)
    objective, w = judged(lambda y, k: [y <= 0.2 * k], judge, aversion)
    assert found.solution.certificate.objective == pytest.approx(objective, rel=1e-7)
    assert found.solution.certificate.objective == pytest.approx(
        ratio(found.solution.weights, cost, aversion), rel=1e-14
    )
    np.testing.assert_allclose(found.solution.weights, w, atol=1e-3)


@pytest.mark.parametrize("case", ["cap", "floor", "sector", "several"])
def test_sequential_quadratic_programming_finds_nothing_better(case):
    constraints, bounds, _ = CASES[case]
    problem = problem_of(MOMENTS, *constraints, **bounds)
    found = solved(problem, BUDGETS)
    low, high = np.maximum(problem.constraints[0].lower, 1e-6), problem.constraints[0].upper
    limits = [{"type": "eq", "fun": lambda w: w.sum() - 1.0}]
    if case == "sector":
        limits.append({"type": "ineq", "fun": lambda w: 0.2 - SECTOR @ w})
    if case == "several":
        limits += [
            {"type": "ineq", "fun": lambda w: SECTOR @ w - 0.4},
            {"type": "ineq", "fun": lambda w: 0.106**2 - w @ SIGMA @ w},
            {"type": "ineq", "fun": lambda w: 0.3 - 0.5 * np.abs(w - W0).sum()},
        ]
    local = scipy.optimize.minimize(
        lambda w: np.log(ratio(w)),
        found.solution.weights,
        method="SLSQP",
        bounds=list(zip(low, high, strict=True)),
        constraints=limits,
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert local.fun >= np.log(found.solution.certificate.bound) - 1e-8
    assert local.fun == pytest.approx(np.log(found.solution.certificate.objective), abs=1e-6)


def test_tighter_caps_are_never_nearer():
    distances = [solved(problem_of(MOMENTS, upper=cap), BUDGETS).distance for cap in (0.5, 0.14, 0.12, 0.1, 0.09)]
    assert distances == sorted(distances)
    assert distances[0] == pytest.approx(0.0, abs=1e-13)
    assert distances[-1] > 0.0


def test_limits_that_are_not_in_the_way_change_nothing():
    free = solved(problem_of(MOMENTS), BUDGETS).solution.weights
    loose = [
        LinearLimit(SECTOR, 0.0, 0.9, "sector", "sector"),
        TurnoverLimit("turnover", 1.0, W0, 0.5),
        RiskLimit("volatility", Volatility(MOMENTS), 1.0),
    ]
    found = solved(problem_of(MOMENTS, *loose, upper=0.6), BUDGETS)
    np.testing.assert_array_equal(found.solution.weights, free)
    assert {report.name for report in found.solution.constraints} >= {"sector", "turnover", "volatility", "budget"}
    assert all(report.shadow_price == 0.0 for report in found.solution.constraints)


@pytest.mark.parametrize("case", ["cap", "sector", "turnover", "volatility"])
def test_shadow_prices_are_slopes(case):
    """Against central differences of the optimum over the limit."""
    step = 1e-4

    def optimum(change):
        limits = {
            "cap": ([], {"upper": 0.1 + change}),
            "sector": ([LinearLimit(SECTOR, -np.inf, 0.2 + change, "sector", "sector")], {}),
            "turnover": ([TurnoverLimit("turnover", 0.05 + change, W0, 0.5)], {}),
            "volatility": ([RiskLimit("volatility", Volatility(MOMENTS), 0.094 + change)], {}),
        }
        constraints, bounds = limits[case]
        return solved(problem_of(MOMENTS, *constraints, **bounds), BUDGETS).solution

    prices = {"cap": "max A", "sector": "sector", "turnover": "turnover", "volatility": "volatility"}
    reports = [r for r in optimum(0.0).constraints if r.name.startswith(prices[case])]
    slope = (optimum(-step).certificate.objective - optimum(step).certificate.objective) / (2.0 * step)
    assert sum(report.shadow_price for report in reports) == pytest.approx(slope, rel=1e-3)
    assert slope > 0.0


def test_smallest_positions_are_floors():
    positions = SmallestPosition("smallest", 0.07, tuple(range(N)))
    found = solved(problem_of(MOMENTS, positions), BUDGETS)
    floor = solved(problem_of(MOMENTS, lower=0.07), BUDGETS)
    np.testing.assert_allclose(found.solution.weights, floor.solution.weights, atol=1e-9)
    assert "smallest" in {report.name for report in found.solution.constraints}


def test_numbers_of_positions_that_hold_anyway():
    positions = NumberOfPositions("positions", N, tuple(range(N)), np.ones(N))
    found = solved(problem_of(MOMENTS, positions), BUDGETS)
    np.testing.assert_array_equal(found.solution.weights, solved(problem_of(MOMENTS), BUDGETS).solution.weights)
    names = [report.name for report in found.solution.constraints]
    assert sorted(set(names)) == sorted(names)


def test_leverage_of_shorts():
    short = np.arange(N) % 3 == 0
    budgets = asset_budgets(MOMENTS.names, B, short=short)
    gross = ExposureBudget("gross", "gross", 1.8, EVERYONE)
    found = solved(problem_of(MOMENTS, gross, lower=-1.0, upper=1.0), budgets)
    w = found.solution.weights
    assert np.abs(w).sum() <= 1.8 + 1e-9
    assert (w[short] < 0.0).all()
    assert (w[~short] > 0.0).all()
    signs = np.where(short, -1.0, 1.0)
    y, k = cp.Variable(N), cp.Variable(nonneg=True)
    goal = cp.norm(ROOT @ y) - B @ cp.log(cp.multiply(signs, y))
    rows = [cp.sum(y) == k, cp.norm1(y) <= 1.8 * k, cp.abs(y) <= k]
    program = cp.Problem(cp.Minimize(goal), rows)
    program.solve(solver=cp.CLARABEL)
    assert found.solution.certificate.objective == pytest.approx(np.exp(program.value - 1.0), rel=1e-6)


class TestCash:
    """Cash is the last asset, without risk and without a budget."""

    moments = moments_of(SIGMA, cash=True)

    def parity(self, *constraints, most=1.0, least=0.0, upper=1.0):
        high, low = np.full(N + 1, upper), np.zeros(N + 1)
        high[-1], low[-1] = most, least
        problem = problem_of(self.moments, *constraints, lower=low, upper=high)
        return solved(problem, asset_budgets(self.moments.names, np.append(B, 0.0), cash=N), cash=N)

    def test_there_is_no_more_than_needed(self):
        for least in (0.0, 0.1):
            found = self.parity(least=least)
            assert found.solution.weights[-1] == least
            assert found.attained

    def test_borrowing_is_no_more_than_needed(self):
        assert self.parity(least=-0.5).solution.weights[-1] == 0.0

    def test_it_brings_the_volatility_down_to_its_limit(self):
        found = self.parity(RiskLimit("volatility", Volatility(self.moments), 0.06))
        w = found.solution.weights
        assert found.attained
        assert found.distance_bound == 0.0
        assert self.moments.volatility(w) == pytest.approx(0.06, abs=1e-12)
        np.testing.assert_allclose(contributions(SIGMA, w[:-1]), B, rtol=1e-8)

    def test_it_makes_room_under_caps(self):
        found = self.parity(upper=0.05)
        w = found.solution.weights
        assert found.attained
        assert w[:-1].max() == pytest.approx(0.05, abs=1e-10)
        assert w.sum() == pytest.approx(1.0, abs=1e-12)

    def test_too_little_of_it_leaves_a_distance(self):
        enough, little = self.parity(upper=0.1), self.parity(upper=0.1, most=0.001)
        assert enough.distance == pytest.approx(0.0, abs=1e-12)
        assert little.distance_bound > 1e-6


def test_many_assets_under_limits():
    n = 150
    Sigma = covariance(22, n)
    moments = moments_of(Sigma)
    sector = (np.arange(n) % 10 == 0).astype(float)
    limits = [LinearLimit(sector, -np.inf, 0.08, "sector", "sector")]
    found = solved(problem_of(moments, *limits, upper=0.009), equal_budgets(moments))
    assert found.solution.certificate.gap <= 1e-9
    assert found.distance_bound > 0.0


def test_limits_in_other_units_of_risk():
    """A covariance of daily or of enormous returns has the same nearest portfolio."""
    expected = solved(problem_of(MOMENTS, upper=0.1), BUDGETS).solution.weights
    for unit in (1.0 / 252.0, 1e-8, 1e4):
        moments = Moments(MOMENTS.names, MOMENTS.mu.copy(), unit * SIGMA)
        found = solved(problem_of(moments, upper=0.1), BUDGETS)
        np.testing.assert_allclose(found.solution.weights, expected, atol=1e-7)
