"""Factor portfolios: exposure one to their factor, none to the others, and the least specific risk."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.factors.mimicking import factor_portfolios
from kernel.factors.model import FactorModel


def model_of(B, specific, Phi=None):
    n, k = B.shape
    return FactorModel(
        tuple(f"f{place}" for place in range(k)),
        tuple(f"a{place}" for place in range(n)),
        B,
        0.04 * np.eye(k) if Phi is None else Phi,
        specific,
    )


def random_model(seed, n=30, k=5):
    rng = np.random.default_rng(seed)
    root = 0.15 * rng.standard_normal((k + 3, k))
    return model_of(rng.standard_normal((n, k)), rng.uniform(0.05, 0.5, n) ** 2, root.T @ root)


def sectors_model(seed=0, periods=1500, n=60, count=4):
    """A market of ones, sectors whose returns weighted by market value add up to zero each day, and a style."""
    rng = np.random.default_rng(seed)
    place = np.arange(n) % count
    values = rng.lognormal(size=n)
    shares = np.array([np.bincount(place, values * np.exp(0.1 * rng.standard_normal(n))) for _ in range(periods)])
    shares /= shares.sum(axis=1, keepdims=True)
    sectors = 0.01 * rng.standard_normal((periods, count))
    sectors -= (shares * sectors).sum(axis=1, keepdims=True)
    F = np.column_stack([0.01 * rng.standard_normal(periods), sectors, 0.003 * rng.standard_normal(periods)])
    B = np.column_stack([np.ones(n), np.eye(count)[place], rng.standard_normal(n)])
    return model_of(B, rng.uniform(0.1, 0.4, n) ** 2, 252 * np.cov(F.T)), shares.mean(axis=0)


def by_cvxpy(model, target, objective):
    w = cp.Variable(len(model.names))
    problem = cp.Problem(cp.Minimize(objective(w)), [model.B.T @ w == target])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-14, tol_gap_rel=1e-14, tol_feas=1e-14)
    return w.value


@pytest.mark.parametrize("seed", range(5))
def test_a_factor_portfolio_is_the_closed_form(seed):
    model = random_model(seed)
    inverse = np.diag(1.0 / model.specific)
    expected = inverse @ model.B @ np.linalg.inv(model.B.T @ inverse @ model.B)
    np.testing.assert_allclose(factor_portfolios(model).W, expected, atol=1e-13)


@pytest.mark.parametrize("measure", ["specific", "total"])
def test_no_weights_with_these_exposures_have_less_risk(measure):
    model = random_model(1)
    portfolios = factor_portfolios(model)
    deviations, root = np.sqrt(model.specific), np.linalg.cholesky(model.Phi).T @ model.B.T

    def objective(w):
        specific = cp.sum_squares(cp.multiply(deviations, w))
        return specific if measure == "specific" else specific + cp.sum_squares(root @ w)

    for place in range(5):
        expected = by_cvxpy(model, np.eye(5)[place], objective)
        np.testing.assert_allclose(portfolios.W[:, place], expected, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_exposures_are_one_and_zero(seed, without):
    model = random_model(seed)
    specific = model.specific.copy()
    specific[:without] = 0.0
    portfolios = factor_portfolios(model_of(model.B, specific, model.Phi))
    np.testing.assert_allclose(portfolios.exposures, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(model.B.T @ portfolios.W, np.eye(5), atol=1e-12)


def test_measures_are_those_of_the_weights():
    model = random_model(2)
    portfolios = factor_portfolios(model)
    Sigma = model.B @ model.Phi @ model.B.T + np.diag(model.specific)
    for place, w in enumerate(portfolios.W.T):
        assert portfolios.volatilities[place] == pytest.approx(np.sqrt(w @ Sigma @ w), rel=1e-12)
        specific = portfolios.specific_volatilities[place] ** 2
        assert specific == pytest.approx(w**2 @ model.specific, rel=1e-12)
        assert portfolios.volatilities[place] ** 2 - specific == pytest.approx(model.Phi[place, place], rel=1e-10)
        assert portfolios.gross[place] == pytest.approx(np.abs(w).sum())
        assert portfolios.net[place] == pytest.approx(w.sum(), abs=1e-14)


@pytest.mark.parametrize("without", [1, 3, 5, 8, 30])
def test_assets_without_specific_risk_are_the_limit_of_little_of_it(without):
    model = random_model(3)
    specific = model.specific.copy()
    specific[:without] = 0.0
    portfolios = factor_portfolios(model_of(model.B, specific, model.Phi))
    inverse = 1.0 / np.where(specific > 0.0, specific, 1e-10)
    expected = np.linalg.solve((model.B.T * inverse) @ model.B, model.B.T * inverse).T
    np.testing.assert_allclose(portfolios.W, expected, atol=1e-4)
    if without >= 5:
        np.testing.assert_allclose(portfolios.specific_volatilities, 0.0, atol=1e-12)
        assert not portfolios.W[without:].any()


def test_some_factors_are_given_in_the_order_asked_for():
    model = random_model(4)
    every, some = factor_portfolios(model), factor_portfolios(model, ["f3", "f0"])
    assert some.factors == ("f3", "f0")
    np.testing.assert_array_equal(some.exposures.shape, (5, 2))
    np.testing.assert_allclose(some.W, every.W[:, [3, 0]], atol=1e-14)


def test_the_order_of_assets_changes_nothing():
    model, order = random_model(5), np.random.default_rng(5).permutation(30)
    moved = model.restricted([model.names[place] for place in order])
    np.testing.assert_allclose(factor_portfolios(moved).W, factor_portfolios(model).W[order], atol=1e-13)


def test_units_of_exposures_change_nothing():
    model = random_model(6)
    units = np.array([1.0, 1e-8, 1e6, 1.0, 10.0])
    scaled = model_of(model.B * units, model.specific, model.Phi / np.outer(units, units))
    np.testing.assert_allclose(factor_portfolios(scaled).W * units, factor_portfolios(model).W, atol=1e-9)


def test_the_market_beside_its_sectors_is_held_with_the_sectors_at_their_weights():
    model, shares = sectors_model()
    portfolios = factor_portfolios(model)
    market, first, style = portfolios.exposures[:, 0], portfolios.exposures[:, 1], portfolios.exposures[:, 5]
    np.testing.assert_allclose(market, [1.0, *shares, 0.0], atol=0.01)
    np.testing.assert_allclose(first, [0.0, *(np.eye(4)[0] - shares), 0.0], atol=0.01)
    np.testing.assert_allclose(portfolios.exposures[5, :5], 0.0, atol=1e-12)
    np.testing.assert_allclose(style, np.eye(6)[5], atol=1e-12)


def test_near_a_factor_that_can_not_be_held_alone_is_the_least_difference_of_returns():
    model, _ = sectors_model(1)
    portfolios = factor_portfolios(model, ["f0"])
    y, w = cp.Variable(6), cp.Variable(60)
    root = np.linalg.cholesky(model.Phi + 1e-15 * np.eye(6)).T
    problem = cp.Problem(cp.Minimize(cp.sum_squares(root @ (y - np.eye(6)[0]))), [model.B.T @ w == y, y[5] == 0.0])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-14, tol_gap_rel=1e-14, tol_feas=1e-13)
    np.testing.assert_allclose(portfolios.exposures[:, 0], y.value, atol=1e-4)
    missed = portfolios.exposures[:, 0] - np.eye(6)[0]
    assert 0.0 < missed @ model.Phi @ missed <= 0.01 * model.Phi[0, 0]


def test_a_combination_whose_return_differs_is_refused_with_the_others():
    B = np.random.default_rng(0).standard_normal((10, 4))
    B[:, 2] = B[:, 0] - 2.0 * B[:, 1]
    model = model_of(B, np.full(10, 0.04))
    with pytest.raises(
        ProblemError, match=r"factors\[f2\]: no weights have exposure .* combination of those to f0, f1$"
    ):
        factor_portfolios(model, ["f2"])
    np.testing.assert_allclose(factor_portfolios(model, ["f3"]).exposures[:, 0], [0, 0, 0, 1], atol=1e-12)


def test_too_few_assets_are_refused():
    model = random_model(7).restricted(["a0", "a1", "a2"])
    with pytest.raises(ProblemError, match=r"factors\[f0\]: 3 instruments are too few .* with 5 factors"):
        factor_portfolios(model)


def test_a_factor_without_exposures_is_refused():
    B = np.random.default_rng(0).standard_normal((10, 3))
    B[:, 1] = 0.0
    with pytest.raises(ProblemError, match=r"factors\[f1\]: no instrument has exposure to it"):
        factor_portfolios(model_of(B, np.full(10, 0.04)))
    assert factor_portfolios(model_of(B, np.full(10, 0.04)), ["f0"]).factors == ("f0",)


def test_one_asset_holds_one_factor():
    portfolios = factor_portfolios(model_of(np.array([[0.5]]), np.array([0.01])))
    assert portfolios.W.tolist() == [[pytest.approx(2.0)]]
    assert portfolios.volatilities[0] == pytest.approx(np.sqrt(0.04 + 4 * 0.01))


@pytest.mark.parametrize(
    ("factors", "reason"), [(["f9"], r"factors\[f9\]: is not in the model"), (["f1", "f1"], "is given twice")]
)
def test_factors_that_mean_nothing_are_refused(factors, reason):
    with pytest.raises(ProblemError, match=reason):
        factor_portfolios(random_model(8), factors)


def test_no_asset_is_refused():
    with pytest.raises(ProblemError, match="instruments: there is none to choose from"):
        factor_portfolios(model_of(np.zeros((0, 2)), np.zeros(0)))
