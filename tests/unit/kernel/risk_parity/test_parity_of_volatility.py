"""Shares of the volatility without limits: closed forms, a textbook program, coordinate descent, invariances."""

import cvxpy as cp
import numpy as np
import pytest

from kernel.canonical import Quadratic
from kernel.methods.budgets import asset_budgets
from kernel.methods.equal_contributions import contribute
from tests.unit.kernel.risk_parity.parity_cases import contributions, covariance, moments_of, problem_of, solved

CASES = [(seed, n) for seed in range(3) for n in (2, 5, 20, 80)]


def parity(Sigma, shares=None, **bounds):
    moments = moments_of(Sigma)
    budgets = asset_budgets(moments.names, np.ones(moments.n) if shares is None else shares)
    return solved(problem_of(moments, **bounds), budgets)


def random_budgets(seed, n):
    return np.random.default_rng(seed).uniform(0.05, 1.0, n)


def textbook(Sigma, b):
    """min risk - b'log y, scaled to 1."""
    y = cp.Variable(len(b))
    goal = 0.5 * cp.sum_squares(np.linalg.cholesky(Sigma).T @ y) - b @ cp.log(y)
    cp.Problem(cp.Minimize(goal)).solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return y.value / y.value.sum()


def coordinate_descent(Sigma, b, sweeps=5000):
    """Griveau-Billion, Richard & Roncalli (2013): each weight in turn solves its own quadratic equation."""
    y = b / np.sqrt(np.diag(Sigma))
    for _ in range(sweeps):
        before = y.copy()
        for i in range(len(y)):
            others = Sigma[i] @ y - Sigma[i, i] * y[i]
            y[i] = (np.sqrt(others**2 + 4.0 * Sigma[i, i] * b[i]) - others) / (2.0 * Sigma[i, i])
        if np.abs(y / before - 1.0).max() < 1e-16:
            break
    return y / y.sum()


@pytest.mark.parametrize(("seed", "n"), CASES)
def test_shares_are_the_budgets(seed, n):
    Sigma, b = covariance(seed, n), random_budgets(seed, n)
    found = parity(Sigma, b)
    w = found.solution.weights
    np.testing.assert_allclose(contributions(Sigma, w), b / b.sum(), rtol=1e-11)
    np.testing.assert_allclose(found.shares, b / b.sum(), rtol=1e-11)
    assert found.attained
    assert found.distance == pytest.approx(0.0, abs=1e-13)
    assert found.distance_bound == 0.0
    assert w.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_array_equal(found.unconstrained, w)


@pytest.mark.parametrize(("seed", "n"), CASES)
def test_textbook_program_agrees(seed, n):
    Sigma, b = covariance(seed, n), random_budgets(seed, n)
    b = b / b.sum()
    np.testing.assert_allclose(parity(Sigma, b).solution.weights, textbook(Sigma, b), atol=1e-5)


@pytest.mark.parametrize(("seed", "n"), [(0, 5), (1, 20)])
def test_coordinate_descent_agrees(seed, n):
    Sigma, b = covariance(seed, n), random_budgets(seed, n)
    np.testing.assert_allclose(parity(Sigma, b).solution.weights, coordinate_descent(Sigma, b / b.sum()), rtol=1e-12)


def test_uncorrelated_weights_are_roots_of_budgets_over_volatilities():
    volatility, b = np.array([0.1, 0.2, 0.4, 0.05]), np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.sqrt(b) / volatility
    np.testing.assert_allclose(
        parity(np.diag(volatility**2), b).solution.weights, expected / expected.sum(), rtol=1e-13
    )


@pytest.mark.parametrize("correlation", [-0.2, 0.0, 0.3, 0.99])
def test_equal_correlations_give_inverse_volatilities(correlation):
    volatility = np.array([0.1, 0.2, 0.4, 0.05])
    C = np.full((4, 4), correlation) + (1.0 - correlation) * np.eye(4)
    expected = 1.0 / volatility
    w = parity(C * np.outer(volatility, volatility)).solution.weights
    np.testing.assert_allclose(w, expected / expected.sum(), rtol=1e-11)


@pytest.mark.parametrize("b", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.6])
def test_two_assets_have_a_closed_form(b, correlation):
    """Roncalli (2013), section 2.2.1.1."""
    s1, s2 = 0.15, 0.35
    Sigma = np.array([[s1**2, correlation * s1 * s2], [correlation * s1 * s2, s2**2]])
    root = np.sqrt((b - 0.5) ** 2 * correlation**2 + b * (1.0 - b))
    phi = ((b - 0.5) * correlation * s1 * s2 - b * s2**2 + s1 * s2 * root) / (
        (1.0 - b) * s1**2 - b * s2**2 + 2.0 * (b - 0.5) * correlation * s1 * s2
    )
    np.testing.assert_allclose(parity(Sigma, np.array([b, 1.0 - b])).solution.weights, [phi, 1.0 - phi], rtol=1e-10)


def test_order_and_unit_do_not_matter():
    Sigma, b = covariance(4, 12), random_budgets(4, 12)
    w = parity(Sigma, b).solution.weights
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_allclose(parity(Sigma[np.ix_(order, order)], b[order]).solution.weights, w[order], rtol=1e-12)
    for unit in (1e-8, 1e6):
        np.testing.assert_allclose(parity(unit * Sigma, b).solution.weights, w, rtol=1e-12)
        np.testing.assert_allclose(parity(Sigma, unit * b).solution.weights, w, rtol=1e-12)


def test_budgets_over_many_orders_of_magnitude():
    Sigma, b = covariance(5, 12), 10.0 ** np.linspace(-5, 0, 12)
    np.testing.assert_allclose(contributions(Sigma, parity(Sigma, b).solution.weights), b / b.sum(), rtol=1e-10)


def test_assets_without_a_budget_are_not_held():
    Sigma, b = covariance(6, 8), np.array([1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 3.0, 0.0])
    found, held = parity(Sigma, b), b > 0.0
    w = found.solution.weights
    assert not w[~held].any()
    alone = parity(Sigma[np.ix_(held, held)], b[held]).solution.weights
    np.testing.assert_allclose(w[held], alone, rtol=1e-12)
    assert found.budgets.names == ("A0", "A2", "A5", "A6")


def test_shorts_are_longs_of_the_opposite_asset():
    Sigma, b = covariance(7, 6), random_budgets(7, 6)
    short = np.array([False, True, False, False, True, False])
    signs = np.where(short, -1.0, 1.0)
    moments = moments_of(Sigma)
    budgets = asset_budgets(moments.names, b, short=short)
    w = solved(problem_of(moments, lower=-np.inf, upper=np.inf), budgets).solution.weights
    turned = parity(Sigma * np.outer(signs, signs), b).solution.weights * signs
    np.testing.assert_allclose(w, turned / turned.sum(), rtol=1e-11)
    assert (w[short] < 0.0).all()
    np.testing.assert_allclose(contributions(Sigma, w), b / b.sum(), rtol=1e-11)


def test_a_covariance_kept_as_factors_gives_the_same():
    rng = np.random.default_rng(8)
    factor, diagonal = rng.normal(0.0, 0.1, (3, 30)), rng.uniform(0.01, 0.09, 30)
    kept = Quadratic(None, factor, diagonal)
    np.testing.assert_allclose(parity(kept).solution.weights, parity(kept.dense).solution.weights, rtol=1e-12)
    short = np.arange(30) % 4 == 0
    for Sigma in (kept, kept.dense):
        moments = moments_of(Sigma)
        budgets = asset_budgets(moments.names, np.ones(30), short=short)
        found = solved(problem_of(moments, lower=-np.inf, upper=np.inf), budgets)
        np.testing.assert_allclose(found.shares, np.full(30, 1.0 / 30.0), rtol=1e-11)


def test_the_bound_holds_for_every_portfolio():
    Sigma, b = covariance(9, 10), random_budgets(9, 10)
    b = b / b.sum()
    found = contribute(Quadratic(Sigma), b)
    rng = np.random.default_rng(1)
    for y in rng.lognormal(0.0, 2.0, (200, 10)):
        value = np.log(np.sqrt(y @ Sigma @ y)) - b @ np.log(y) + 0.5
        assert value >= found.bound
    assert found.value - found.bound <= 1e-13


def test_riskless_combinations_have_no_minimum():
    same = np.array([[0.04, -0.04], [-0.04, 0.04]])
    assert contribute(Quadratic(same), np.array([0.5, 0.5])) is None


def test_nearly_singular_covariances_still_give_exact_shares():
    """A year of returns of forty assets, thirty days of which are missing in rank."""
    R = np.random.default_rng(10).normal(0.0, 0.01, (30, 40)) + np.random.default_rng(11).normal(0.0, 0.01, (30, 1))
    Sigma = 252.0 * np.cov(R, rowvar=False)
    w = parity((Sigma + Sigma.T) / 2).solution.weights
    np.testing.assert_allclose(contributions(Sigma, w), np.full(40, 1.0 / 40.0), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_assets_that_hedge_each_other_almost_wholly(seed):
    """Contributions are then known no better than products with the covariance are."""
    rng = np.random.default_rng(seed)
    F, volatility = rng.normal(size=(12, 20)), 10.0 ** rng.uniform(-2.0, 0.5, 20)
    Sigma = (F.T @ F + np.diag(10.0 ** rng.uniform(-6.0, 0.0, 20))) * np.outer(volatility, volatility)
    found = parity((Sigma + Sigma.T) / 2, random_budgets(seed, 20))
    assert found.largest_error <= 1e-6
    assert found.solution.certificate.gap <= 1e-9


def test_volatilities_of_very_different_size():
    """Bills beside digital coins."""
    Sigma = covariance(12, 6)
    sizes = np.array([1e-4, 1e-3, 1e-2, 1.0, 3.0, 10.0])
    w = parity(Sigma).solution.weights / sizes
    np.testing.assert_allclose(parity(Sigma * np.outer(sizes, sizes)).solution.weights, w / w.sum(), rtol=1e-10)
