"""Factor regressions against lstsq, textbook formulas and exact constructions."""

import math

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.exposures import FactorHistory, asset_exposures, factor_design

NAMES = ("market", "size", "value")


def random_window(seed=0, periods=120, names=NAMES):
    rng = np.random.default_rng(seed)
    return FactorHistory(names, 0.01 * rng.standard_normal((periods, len(names))) + 0.0003)


def random_returns(window, seed=1):
    noise = np.random.default_rng(seed).standard_normal(window.F.shape[0])
    return 0.0002 + window.F @ np.array([1.1, -0.3, 0.5]) + 0.004 * noise


def test_coefficients_and_errors_follow_the_textbook():
    window = random_window()
    returns = random_returns(window)
    fit = factor_design(window).fit(returns)
    X = np.column_stack([np.ones(returns.size), window.F])
    solution, rss, _, _ = np.linalg.lstsq(X, returns, rcond=None)
    variance = rss[0] / (returns.size - 4)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(X.T @ X)))
    np.testing.assert_allclose([fit.intercept.value, *fit.betas], solution, rtol=1e-10)
    got = [fit.intercept.standard_error, *(c.standard_error for c in fit.exposures)]
    np.testing.assert_allclose(got, errors, rtol=1e-10)
    np.testing.assert_allclose([c.t_statistic for c in fit.exposures], solution[1:] / errors[1:], rtol=1e-9)
    assert fit.r_squared == pytest.approx(1 - rss[0] / np.sum((returns - returns.mean()) ** 2), rel=1e-12)
    assert fit.residual_volatility == pytest.approx(math.sqrt(252 * variance), rel=1e-10)
    assert fit.observations == 120


def test_one_factor_is_covariance_over_variance():
    window = random_window(names=("market",))
    returns = 0.7 * window.F[:, 0] + 0.01 * np.random.default_rng(4).standard_normal(120)
    fit = factor_design(window).fit(returns)
    covariance = np.cov(returns, window.F[:, 0])
    assert fit.exposures[0].value == pytest.approx(covariance[0, 1] / covariance[1, 1], rel=1e-12)
    assert fit.r_squared == pytest.approx(np.corrcoef(returns, window.F[:, 0])[0, 1] ** 2, rel=1e-12)


def test_a_mix_of_the_factors_is_explained_exactly():
    window = random_window()
    fit = factor_design(window).fit(window.F @ np.array([0.6, 0.3, 0.1]))
    np.testing.assert_allclose(fit.betas, [0.6, 0.3, 0.1], rtol=1e-12)
    assert fit.r_squared == pytest.approx(1.0, abs=1e-14)
    assert [c.t_statistic for c in fit.exposures] == [None, None, None]


def test_a_series_that_never_moves_has_no_fit_quality():
    fit = factor_design(random_window()).fit(np.full(120, 0.0001))
    np.testing.assert_allclose(fit.betas, 0.0, atol=1e-15)
    assert fit.intercept.value == pytest.approx(0.0001)
    assert fit.r_squared is None


def test_active_exposures_are_the_exact_difference():
    window = random_window()
    portfolio, benchmark = random_returns(window, 1), random_returns(window, 2) + 0.2 * window.F[:, 1]
    comparison = factor_design(window).compare(portfolio, benchmark)
    assert (comparison.active == comparison.portfolio.betas - comparison.benchmark.betas).all()
    np.testing.assert_allclose(comparison.active_fit.betas, comparison.active, atol=1e-12)


def test_many_assets_at_once_equal_one_by_one():
    window = random_window()
    design = factor_design(window)
    R = np.column_stack([random_returns(window, seed) for seed in range(6)])
    np.testing.assert_allclose(asset_exposures(R, design), [design.fit(r).betas for r in R.T], rtol=1e-11)


def test_exposures_of_a_portfolio_are_the_weighted_exposures_of_its_assets():
    window = random_window()
    design = factor_design(window)
    R = np.column_stack([random_returns(window, seed) for seed in range(4)])
    w = np.array([0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(w @ asset_exposures(R, design), design.fit(R @ w).betas, rtol=1e-11)


def test_scaling_a_factor_scales_its_exposure_inversely():
    window = random_window()
    returns = random_returns(window)
    scaled = FactorHistory(NAMES, window.F * np.array([1.0, 1e-4, 1.0]))
    plain, other = factor_design(window), factor_design(scaled)
    assert other.fit(returns).exposures[1].value == pytest.approx(1e4 * plain.fit(returns).exposures[1].value)
    assert other.condition_number == pytest.approx(plain.condition_number, rel=1e-9)


def test_condition_number_of_uncorrelated_factors_is_one():
    t = np.arange(64)
    F = np.column_stack([np.sin(2 * np.pi * t / 64), np.cos(2 * np.pi * t / 64)])
    assert factor_design(FactorHistory(("a", "b"), F)).condition_number == pytest.approx(1.0, rel=1e-12)


def test_a_collinear_factor_is_named_with_those_it_repeats():
    window = random_window()
    F = np.column_stack([window.F, window.F[:, 0] - 2 * window.F[:, 2]])
    with pytest.raises(ProblemError) as raised:
        factor_design(FactorHistory((*NAMES, "twin"), F))
    named = {raised.value.field.removeprefix("factors[").removesuffix("]")}
    named |= set(raised.value.reason.removeprefix("is a linear combination of ").split(" over ")[0].split(", "))
    assert named == {"market", "value", "twin"}


def test_factors_that_are_nearly_collinear_still_fit():
    window = random_window(names=("a", "b"))
    F = window.F.copy()
    F[:, 1] = F[:, 0] + 1e-5 * F[:, 1]
    design = factor_design(FactorHistory(("a", "b"), F))
    assert design.condition_number > 1e4
    np.testing.assert_allclose(design.fit(F @ np.array([2.0, -1.0])).betas, [2.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.0003])
def test_a_constant_factor_is_named(level):
    F = random_window().F.copy()
    F[:, 1] = level
    with pytest.raises(ProblemError, match=r"factors\[size\]: is constant"):
        factor_design(FactorHistory(NAMES, F))


def test_a_window_needs_a_degree_of_freedom():
    assert factor_design(random_window(periods=5)).fit(random_window(7, 5).F[:, 0]).observations == 5
    with pytest.raises(ProblemError, match="at least 5 periods, got 4"):
        factor_design(random_window(periods=4))


@pytest.mark.parametrize(
    ("names", "F", "field"),
    [
        (("a",), np.ones((9, 2)), "factors"),
        ((), np.ones((9, 0)), "factors"),
        (("a", "a"), np.ones((9, 2)), "factors[a]"),
        (("a", "b"), np.array([[1.0, np.nan]] * 9), "factors[b]"),
    ],
)
def test_malformed_factors_are_refused(names, F, field):
    with pytest.raises(ProblemError) as raised:
        FactorHistory(names, F)
    assert raised.value.field == field


def test_malformed_series_are_refused():
    design = factor_design(random_window())
    with pytest.raises(ProblemError, match="portfolio: has shape"):
        design.fit(np.ones(3), "portfolio")
    with pytest.raises(ProblemError, match="not finite"):
        design.fit(np.full(120, np.inf))
    with pytest.raises(ProblemError, match="have shape"):
        asset_exposures(np.ones((3, 2)), design)
    with pytest.raises(ProblemError, match="not finite"):
        asset_exposures(np.full((120, 2), np.nan), design)
