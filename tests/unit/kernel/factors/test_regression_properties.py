"""What holds for regressions whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.factors.regression import ESTIMATORS, TimeSeriesSettings, regress
from kernel.factors.window import FactorHistory
from tests.unit.kernel.factors.panels import panel

seeds = st.integers(0, 2**31)
periods = st.integers(9, 90)
every = pytest.mark.parametrize("estimator", ESTIMATORS)
linear = pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "huber"])
# Huber's estimates are found by steps whose number depends on rounding.
PRECISION = {"rtol": 1e-7, "atol": 1e-9}


def options(estimator, method="newey_west"):
    return TimeSeriesSettings(estimator, half_life=20.0, drift=0.002, standard_errors=method)


@linear
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods)
def test_portfolio_has_the_weighted_exposures_of_its_assets(estimator, seed, T):
    R, window = panel(T, 6, seed=seed)
    w = np.random.default_rng(seed + 1).normal(size=6)
    assets, portfolio = regress(R, window, options(estimator)), regress(R @ w[:, None], window, options(estimator))
    np.testing.assert_allclose(portfolio.betas[0], w @ assets.betas, **PRECISION)
    np.testing.assert_allclose(portfolio.alpha[0], w @ assets.alpha, **PRECISION)
    np.testing.assert_allclose(portfolio.residuals[:, 0], assets.residuals @ w, **PRECISION)


@linear
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods)
def test_active_exposures_are_the_difference(estimator, seed, T):
    R, window = panel(T, 2, seed=seed)
    found = regress(np.column_stack([R, R[:, 0] - R[:, 1]]), window, options(estimator))
    np.testing.assert_allclose(found.betas[2], found.betas[0] - found.betas[1], **PRECISION)


@every
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods)
def test_order_of_assets_and_factors_does_not_matter(estimator, seed, T):
    R, window = panel(T, 5, seed=seed)
    rng = np.random.default_rng(seed)
    assets, factors = rng.permutation(5), rng.permutation(3)
    plain = regress(R, window, options(estimator))
    moved = FactorHistory(tuple(window.names[i] for i in factors), window.F[:, factors])
    other = regress(R[:, assets], moved, options(estimator))
    for name in ("betas", "standard_errors"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name)[np.ix_(assets, factors)], **PRECISION)
    for name in ("alpha", "alpha_errors", "r_squared", "residual_variances"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name)[assets], **PRECISION)


@every
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods, power=st.integers(-6, 3))
def test_scale_of_a_factor_is_that_of_its_exposure(estimator, seed, T, power):
    """For ridge, too, whose penalty is on standardised factors."""
    R, window = panel(T, 4, seed=seed)
    c = 10.0**power
    scaled = FactorHistory(window.names, window.F * np.array([1.0, c, 1.0]))
    plain, other = regress(R, window, options(estimator)), regress(R, scaled, options(estimator))
    np.testing.assert_allclose(other.betas * [1.0, c, 1.0], plain.betas, **PRECISION)
    np.testing.assert_allclose(other.t_statistics, plain.t_statistics, **PRECISION)
    np.testing.assert_allclose(other.r_squared, plain.r_squared, **PRECISION)


@every
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods, constant=st.floats(-0.05, 0.05))
def test_a_constant_more_is_that_much_alpha(estimator, seed, T, constant):
    R, window = panel(T, 4, seed=seed)
    plain, other = regress(R, window, options(estimator)), regress(R + constant, window, options(estimator))
    np.testing.assert_allclose(other.alpha, plain.alpha + constant, **PRECISION)
    for name in ("betas", "standard_errors", "alpha_errors", "r_squared", "residuals"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name), **PRECISION)


@every
@settings(deadline=None, max_examples=40)
@given(seed=seeds, T=periods, power=st.integers(-8, 4))
def test_scale_of_the_returns_is_that_of_the_exposures(estimator, seed, T, power):
    R, window = panel(T, 4, seed=seed)
    c = 10.0**power
    plain, other = regress(R, window, options(estimator)), regress(c * R, window, options(estimator))
    for name in ("alpha", "betas", "standard_errors", "residuals"):
        np.testing.assert_allclose(getattr(other, name) / c, getattr(plain, name), **PRECISION)
    np.testing.assert_allclose(other.t_statistics, plain.t_statistics, **PRECISION)
    np.testing.assert_allclose(other.r_squared, plain.r_squared, **PRECISION)


@every
@pytest.mark.parametrize("method", ["classical", "newey_west"])
@settings(deadline=None, max_examples=30)
@given(seed=seeds, T=st.integers(5, 40))
def test_figures_are_finite_and_within_their_bounds(estimator, method, seed, T):
    least = {"exponentially_weighted": 20, "huber": 9}.get(estimator, 5)
    R, window = panel(max(T, least), 6, seed=seed)
    found = regress(R, window, options(estimator, method))
    for name in ("alpha", "betas", "residuals", "t_statistics"):
        assert np.isfinite(getattr(found, name)).all()
    for name in ("standard_errors", "alpha_errors", "residual_variances"):
        assert (getattr(found, name) > 0.0).all()
    assert (found.r_squared <= 1.0).all()
    assert estimator == "huber" or (found.r_squared >= 0.0).all()
    assert found.degrees_of_freedom > 0.0
    assert found.divisor > 0.0


@every
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_same_input_gives_the_same_bits(estimator, seed):
    R, window = panel(40, 4, seed=seed)
    one, two = regress(R, window, options(estimator)), regress(R.copy(), window, options(estimator))
    assert one.betas.tobytes() == two.betas.tobytes()
    assert one.standard_errors.tobytes() == two.standard_errors.tobytes()
