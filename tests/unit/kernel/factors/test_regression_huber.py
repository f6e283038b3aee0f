"""Huber's regressions against statsmodels RLM, and what they are for."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.robust.norms import HuberT
from statsmodels.robust.robust_linear_model import RLM
from statsmodels.tools import add_constant

from kernel.errors import ProblemError
from kernel.factors.regression import TimeSeriesSettings, regress
from kernel.factors.window import FactorHistory
from tests.unit.kernel.factors.panels import panel


def huber(**changes):
    return TimeSeriesSettings("huber", **changes)


@pytest.mark.parametrize(("periods", "threshold"), [(160, 1.345), (160, 0.7), (1000, 2.0), (25, 1.345)])
def test_estimates_and_errors_are_those_of_statsmodels(periods, threshold):
    R, window = panel(periods)
    found = regress(R, window, huber(huber_threshold=threshold, standard_errors="classical"))
    X = add_constant(window.F)
    peers = [RLM(r, X, M=HuberT(t=threshold)).fit(conv="coefs", tol=1e-14, maxiter=500) for r in R.T]
    coefficients = np.column_stack([found.alpha, found.betas])
    np.testing.assert_allclose(coefficients, [p.params for p in peers], rtol=1e-10, atol=1e-13)
    errors = np.column_stack([found.alpha_errors, found.standard_errors])
    np.testing.assert_allclose(errors, [p.bse for p in peers], rtol=1e-10)
    np.testing.assert_allclose(found.t_statistics, [p.tvalues[1:] for p in peers], rtol=1e-9, atol=1e-10)
    assert found.diagnostics["not_converged"] == 0.0


def test_estimating_equations_hold():
    R, window = panel(300, 20)
    found = regress(R, window, huber())
    scales = np.median(np.abs(found.residuals), axis=0) / norm.ppf(0.75)
    scores = np.clip(found.residuals / scales, -1.345, 1.345)
    moments = add_constant(window.F / window.F.std(axis=0)).T @ scores
    np.testing.assert_allclose(moments, 0.0, atol=1e-9)
    assert found.diagnostics["downweighted_share"] == pytest.approx((np.abs(scores) >= 1.345).mean(), rel=1e-12)
    np.testing.assert_allclose(found.residuals, R - found.alpha - window.F @ found.betas.T, atol=1e-15)


@pytest.mark.parametrize("lags", [0, 3])
def test_robust_errors_are_the_sandwich(lags):
    R, window = panel(300, 3)
    found = regress(R, window, huber(lags=lags))
    X = add_constant(window.F)
    for j, u in enumerate(found.residuals.T):
        limit = 1.345 * np.median(np.abs(u)) / norm.ppf(0.75)
        g = X * np.clip(u, -limit, limit)[:, None]
        S = g.T @ g
        for lag in range(1, lags + 1):
            product = g[lag:].T @ g[:-lag]
            S += (1 - lag / (lags + 1)) * (product + product.T)
        bread = np.linalg.inv(X.T @ ((np.abs(u) <= limit)[:, None] * X))
        expected = np.sqrt(np.diag(bread @ S @ bread) * 300 / (300 - 4))
        np.testing.assert_allclose(np.r_[found.alpha_errors[j], found.standard_errors[j]], expected, rtol=1e-9)


def test_a_wide_threshold_is_least_squares():
    R, window = panel()
    R = window.F @ np.ones((3, 2)) + 0.01 * np.sin(np.arange(len(R)))[:, None] * [1.0, 2.0]
    robust, ordinary = regress(R, window, huber(huber_threshold=10.0)), regress(R, window, TimeSeriesSettings())
    np.testing.assert_allclose(robust.betas, ordinary.betas, rtol=1e-12)
    np.testing.assert_allclose(robust.standard_errors, ordinary.standard_errors, rtol=1e-10)


def test_a_wrong_price_moves_the_exposures_little():
    """A split that was missed: half the price on one day, and twice on the next."""
    R, window = panel(500, 10, seed=3)
    wrong = R.copy()
    wrong[100], wrong[101] = -0.5, 1.0
    shifts = {}
    for name in ("huber", "ordinary"):
        settings = TimeSeriesSettings(name)
        shifts[name] = np.abs(regress(wrong, window, settings).betas - regress(R, window, settings).betas).max()
    assert shifts["huber"] < 0.05 * shifts["ordinary"]
    assert shifts["ordinary"] > 0.5


def test_a_series_that_mostly_stands_still_has_finite_figures():
    R, window = panel(200, 2)
    R[:, 0] = 0.0
    R[::7, 0] = 0.01
    for method in ("newey_west", "classical"):
        found = regress(R, window, huber(standard_errors=method))
        for figures in (found.alpha, found.betas, found.standard_errors, found.alpha_errors, found.residual_variances):
            assert np.isfinite(figures).all()
        # The market of a security that does not trade: nothing on most days.
        np.testing.assert_allclose(found.betas[0], 0.0, atol=1e-3)


def test_many_series_are_as_one_by_one():
    R, window = panel(90, 70)
    together = regress(R, window, huber())
    for j in (0, 63, 64, 69):
        alone = regress(R[:, [j]], window, huber())
        np.testing.assert_allclose(together.betas[j], alone.betas[0], rtol=1e-10)
        np.testing.assert_allclose(together.standard_errors[j], alone.standard_errors[0], rtol=1e-9)


def test_a_window_that_can_be_fitted_exactly_on_half_of_its_days_is_refused():
    R, window = panel(9, 3)
    found = regress(R, window, huber())
    assert np.isfinite(found.t_statistics).all()
    short = FactorHistory(window.names, window.F[:8])
    with pytest.raises(ProblemError, match=r"factors: 3 factors .* at least 9 periods for huber, got 8"):
        regress(R[:8], short, huber())
