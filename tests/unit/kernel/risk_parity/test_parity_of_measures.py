"""Shares of every measure of degree one, kinks included, against the textbook's program, and shares of factors."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import scipy.optimize

from kernel.constraints import LinearLimit
from kernel.measures.registry import make_measure
from kernel.measures.volatility import Variance
from kernel.methods.budgets import asset_budgets, factor_budgets
from kernel.methods.risk_shares import risk_shares
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments
from kernel.scenarios import Scenarios
from tests.unit.kernel.measures.markets import CONVEX, market, risk
from tests.unit.kernel.risk_parity.parity_cases import (
    covariance,
    moments_of,
    names_of,
    problem_of,
    solved,
)

# Drawdowns of a path may be nothing for a portfolio that only rises.
WORDS = CONVEX


def falling(name):
    """The market with lower returns, so that no portfolio is without loss or drawdown."""
    found = market(name)
    return replace(found, R=found.R - 0.002, target=None)


def judged(case, word, b, *rows):
    """exp f, by the homogenised program of an independent modelling language; the market's size is one."""
    y, k = cp.Variable(case.n), cp.Variable(nonneg=True)
    value, more = risk(case, word, y)
    limits = [cp.sum(y) == k, *(row(y, k) for row in rows), *more]
    program = cp.Problem(cp.Minimize(value - b @ cp.log(y)), limits)
    fine = (
        {"max_step_fraction": 0.9} if word == "gini" else {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9}
    )
    program.solve(solver=cp.CLARABEL, **fine)
    assert program.status in ("optimal", "optimal_inaccurate")
    return float(np.exp(program.value - 1.0))


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("name", ["plain", "unequal"])
@pytest.mark.parametrize("word", WORDS)
def test_shares_are_the_budgets(word, name):
    case = falling(name)
    problem = replace(case.problem(MinimizeRisk(), word), constraints=problem_of(case.moments).constraints)
    b = np.linspace(1.0, 2.0, case.n) / np.linspace(1.0, 2.0, case.n).sum()
    found = solved(problem, asset_budgets(case.names, b))
    w = found.solution.weights
    assert found.solution.certificate.objective == pytest.approx(judged(case, word, b), rel=1e-7)
    assert found.shares.sum() == pytest.approx(1.0, abs=1e-8)
    assert found.largest_error <= 1e-6
    assert found.distance_bound == 0.0
    assert found.distance == pytest.approx(0.0, abs=1e-8)
    assert w.min() > 0.0
    assert w.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("word", WORDS)
def test_caps_leave_a_proven_distance(word):
    case = falling("plain")
    member = np.eye(case.n)[0]
    free = solved(replace(case.problem(MinimizeRisk(), word), constraints=problem_of(case.moments).constraints))
    least = float(free.solution.weights[0]) * 1.3
    limit = LinearLimit(member, least, np.inf, "floor", "floor")
    problem = replace(case.problem(MinimizeRisk(), word), constraints=problem_of(case.moments, limit).constraints)
    found = solved(problem)
    equal = np.full(case.n, 1.0 / case.n)
    objective = judged(case, word, equal, lambda y, k: member @ y >= least * k)
    assert found.solution.certificate.objective == pytest.approx(objective, rel=1e-7)
    assert found.distance_bound > 1e-5
    assert found.distance - found.distance_bound <= 2e-8
    assert found.shares.sum() == pytest.approx(1.0, abs=1e-8)
    report = next(report for report in found.solution.constraints if report.name == "floor")
    assert report.binding
    assert report.shadow_price > 0.0


def test_variance_stands_for_volatility():
    moments = moments_of(covariance(30, 7))
    problem = problem_of(moments, upper=0.2)
    found = solved(replace(problem, measure=Variance(moments)))
    np.testing.assert_array_equal(found.solution.weights, solved(problem).solution.weights)


def test_at_a_kink_the_shares_nearest_to_the_budgets_count():
    """Two assets that lose by turns: at equal weights the worst loss is that of either."""
    R = np.array([[-0.02, 0.0], [0.0, -0.02], [0.01, 0.01]])
    moments = moments_of(np.diag([0.04, 0.04]))
    measure = make_measure("worst_realization", moments, Scenarios.history(moments.names, R))
    for wanted in ([0.5, 0.5], [0.3, 0.7], [0.9, 0.1]):
        shares = risk_shares(measure, np.array([0.5, 0.5]), asset_budgets(moments.names, np.array(wanted)))
        np.testing.assert_allclose(shares, wanted, atol=1e-7)
    aside = risk_shares(measure, np.array([0.6, 0.4]), asset_budgets(moments.names, np.array([0.5, 0.5])))
    np.testing.assert_allclose(aside, [1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("word", "T"), [("gini", 120), ("evar", 250), ("cvar", 120), ("semi_deviation", 250)])
def test_many_scenarios_and_measures_of_many_rows(word, T):
    rng = np.random.default_rng(31)
    R = rng.standard_t(4, (T, 1)) * 0.006 + rng.normal(-0.0005, 0.01, (T, 8)) * rng.uniform(0.5, 2.0, 8)
    names = names_of(8)
    Sigma = 252.0 * np.cov(R, rowvar=False)
    moments = Moments(names, np.zeros(8), (Sigma + Sigma.T) / 2)
    measure = make_measure(word, moments, Scenarios.history(names, R))
    assert solved(replace(problem_of(moments), measure=measure)).attained
    capped = solved(replace(problem_of(moments, upper=0.13), measure=measure))
    assert capped.distance_bound > 0.0
    assert capped.distance - capped.distance_bound <= 1e-8


class TestFactors:
    Sigma = covariance(32, 8)
    moments = moments_of(Sigma)
    A = np.vstack([np.linspace(0.6, 1.4, 8), np.random.default_rng(33).normal(0.3, 0.5, (2, 8))])
    everyone = np.ones(8, dtype=bool)

    def budgets(self, shares, members=None):
        members = self.everyone if members is None else members
        return factor_budgets(("market", "value", "size"), np.array(shares), self.A, members)

    def test_all_risk_comes_from_the_factors_in_the_shares_asked_for(self):
        b = np.array([0.5, 0.3, 0.2])
        found = solved(problem_of(self.moments, lower=-np.inf, upper=np.inf), self.budgets(b))
        w = found.solution.weights
        exposures, slopes = self.A @ w, np.linalg.lstsq(self.A.T, self.Sigma @ w)[0]
        np.testing.assert_allclose(exposures * slopes / (w @ self.Sigma @ w), b, rtol=1e-9)
        np.testing.assert_allclose(found.shares, b, rtol=1e-9)
        assert found.attained
        assert (exposures > 0.0).all()

    def test_scipy_finds_the_same_long_only_portfolio(self):
        b = np.array([0.5, 0.3, 0.2])
        found = solved(problem_of(self.moments), self.budgets(b))

        def f(w):
            return 0.5 * np.log(w @ self.Sigma @ w) - b @ np.log(np.maximum(self.A @ w, 1e-12))

        start = np.full(8, 0.125)
        local = scipy.optimize.minimize(
            f,
            start,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * 8,
            constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1.0}],
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        assert np.log(found.solution.certificate.objective) == pytest.approx(local.fun, abs=1e-7)
        np.testing.assert_allclose(found.solution.weights, local.x, atol=1e-3)
        assert found.distance_bound > 0.0

    def test_assets_that_may_not_be_held_are_left_out_of_the_free_portfolio(self):
        members = self.everyone.copy()
        members[2] = False
        upper = np.where(members, np.inf, 0.0)
        lower = np.where(members, -np.inf, 0.0)
        found = solved(problem_of(self.moments, lower=lower, upper=upper), self.budgets([1.0, 1.0, 1.0], members))
        assert found.attained
        assert found.solution.weights[2] == 0.0

    def test_a_factor_for_every_asset_is_budgets_of_assets(self):
        names = tuple(f"F{i}" for i in range(8))
        b = np.linspace(1.0, 3.0, 8)
        by_factor = factor_budgets(names, b, np.eye(8), self.everyone)
        problem = problem_of(self.moments, lower=-np.inf, upper=np.inf)
        w = solved(problem, by_factor).solution.weights
        np.testing.assert_allclose(w, solved(problem, asset_budgets(names_of(8), b)).solution.weights, rtol=1e-9)

    def test_a_singular_covariance_has_no_free_portfolio_but_one_within_limits(self):
        rng = np.random.default_rng(34)
        R = rng.normal(0.0, 0.02, (5, 1)) + rng.normal(0.0, 0.005, (5, 8))
        Sigma = 252.0 * np.cov(R, rowvar=False)
        moments = moments_of((Sigma + Sigma.T) / 2)
        found = solved(problem_of(moments), self.budgets([1.0, 1.0, 1.0]))
        assert found.distance is None
        assert found.distance_bound is None
        assert found.unconstrained is None

    def test_the_unit_of_an_exposure_does_not_matter(self):
        shares, problem = np.array([0.5, 0.3, 0.2]), problem_of(self.moments)
        units = np.array([1e6, 1.0, 1e-6])
        scaled = factor_budgets(("market", "value", "size"), shares, units[:, None] * self.A, self.everyone)
        w = solved(problem, scaled).solution.weights
        np.testing.assert_allclose(w, solved(problem, self.budgets(shares)).solution.weights, atol=1e-6)

    def test_cvar_of_factors(self):
        R = np.random.default_rng(35).multivariate_normal(np.full(8, -0.0005), self.Sigma / 252.0, 200)
        names = names_of(8)
        measure = make_measure("cvar", self.moments, Scenarios.history(names, R))
        problem = replace(problem_of(self.moments, lower=-2.0, upper=2.0), measure=measure)
        found = solved(problem, self.budgets([0.5, 0.3, 0.2]))
        assert found.attained
