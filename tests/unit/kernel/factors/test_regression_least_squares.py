"""Ordinary, weighted and ridge regressions against statsmodels, scikit-learn and plain matrices."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tools import add_constant

from kernel.factors.regression import TimeSeriesSettings, regress
from tests.unit.kernel.factors.panels import panel

EXACT = 1e-10


def hac(lags):
    return {"cov_type": "HAC", "cov_kwds": {"maxlags": lags, "use_correction": True}}


def assert_same(found, results):
    """Coefficients, errors, t-values and R2 of every series as statsmodels has them."""
    expected = np.array([r.params for r in results])
    np.testing.assert_allclose(np.column_stack([found.alpha, found.betas]), expected, rtol=EXACT, atol=1e-15)
    errors = np.column_stack([found.alpha_errors, found.standard_errors])
    np.testing.assert_allclose(errors, [r.bse for r in results], rtol=EXACT)
    np.testing.assert_allclose(found.t_statistics, [r.tvalues[1:] for r in results], rtol=EXACT, atol=1e-12)
    np.testing.assert_allclose(found.r_squared, [r.rsquared for r in results], rtol=EXACT)
    np.testing.assert_allclose(found.residuals.T, [r.resid for r in results], atol=1e-15)


@pytest.mark.parametrize(("periods", "factors"), [(160, 3), (2000, 4), (30, 1), (7, 3)])
def test_ordinary_is_that_of_statsmodels(periods, factors):
    R, window = panel(periods, 5, factors)
    found = regress(R, window, TimeSeriesSettings(standard_errors="classical"))
    results = [OLS(r, add_constant(window.F)).fit() for r in R.T]
    assert_same(found, results)
    np.testing.assert_allclose(found.residual_variances, [r.scale for r in results], rtol=EXACT)
    assert found.degrees_of_freedom == found.divisor == results[0].df_resid
    assert (found.lags, found.settings.lags) == (0, 0)


@pytest.mark.parametrize("lags", [0, 1, 5, 40, 159, None])
def test_newey_west_is_that_of_statsmodels(lags):
    R, window = panel()
    found = regress(R, window, TimeSeriesSettings(lags=lags))
    # 4 (160/100)^(2/9) = 4.44
    used = 4 if lags is None else lags
    assert found.lags == used == found.diagnostics["lags"]
    assert_same(found, [OLS(r, add_constant(window.F)).fit(**hac(used)) for r in R.T])


@pytest.mark.parametrize(("periods", "lags"), [(99, 3), (100, 4), (252, 4), (1258, 7), (3, 1)])
def test_usual_lags_follow_the_published_rule(periods, lags):
    R, window = panel(periods, 1, 1)
    assert regress(R, window, TimeSeriesSettings()).lags == lags


def weights(periods, half_life):
    return 0.5 ** (np.arange(periods)[::-1] / half_life)


@pytest.mark.parametrize("half_life", [15.0, 63.0, 5000.0])
@pytest.mark.parametrize("lags", [0, 6])
def test_exponential_weights_are_those_of_statsmodels(half_life, lags):
    R, window = panel()
    found = regress(R, window, TimeSeriesSettings("exponentially_weighted", half_life=half_life, lags=lags))
    decay = weights(len(R), half_life)
    assert_same(found, [WLS(r, add_constant(window.F), weights=decay).fit(**hac(lags)) for r in R.T])
    assert found.diagnostics["half_life"] == half_life


@pytest.mark.parametrize("half_life", [4.0, 20.0, 80.0])
def test_weighted_errors_and_degrees_of_freedom_follow_their_definitions(half_life):
    """Errors of residuals of one variance, by the hat matrix itself."""
    R, window = panel(60, 4, 2)
    settings = TimeSeriesSettings("exponentially_weighted", half_life=half_life, standard_errors="classical")
    found = regress(R, window, settings)
    X, W = add_constant(window.F), np.diag(weights(60, half_life))
    L = np.linalg.solve(X.T @ W @ X, X.T @ W)
    left = np.eye(60) - X @ L
    A = left.T @ W @ left
    variances = np.einsum("tm,ts,sm->m", R, A, R) / np.trace(A)
    np.testing.assert_allclose(found.residual_variances, variances, rtol=EXACT)
    np.testing.assert_allclose(found.degrees_of_freedom, np.trace(A) ** 2 / np.trace(A @ A), rtol=EXACT)
    np.testing.assert_allclose(found.divisor, np.trace(left.T @ left), rtol=EXACT)
    errors = np.sqrt(np.outer(variances, np.diag(L @ L.T)))
    np.testing.assert_allclose(found.alpha_errors, errors[:, 0], rtol=EXACT)
    np.testing.assert_allclose(found.standard_errors, errors[:, 1:], rtol=EXACT)


@pytest.mark.parametrize("penalty", [1e-6, 0.01, 1.0, 1e4])
def test_ridge_is_that_of_scikit_learn(penalty):
    R, window = panel()
    found = regress(R, window, TimeSeriesSettings("ridge", ridge_penalty=penalty))
    deviations = window.F.std(axis=0)
    Z = window.F / deviations
    peer = Ridge(alpha=len(R) * penalty, solver="svd").fit(Z, R)
    np.testing.assert_allclose(found.betas * deviations, peer.coef_, rtol=EXACT, atol=1e-15)
    np.testing.assert_allclose(found.alpha, peer.intercept_, rtol=EXACT, atol=1e-15)
    unexplained = np.var(R - peer.predict(Z), axis=0) / np.var(R, axis=0)
    np.testing.assert_allclose(found.r_squared, 1 - unexplained, rtol=EXACT)
    assert found.diagnostics["ridge_penalty"] == penalty


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_errors_of_ridge_are_those_of_its_weights(penalty):
    R, window = panel()
    settings = TimeSeriesSettings("ridge", ridge_penalty=penalty, standard_errors="classical")
    found = regress(R, window, settings)
    centred = window.F - window.F.mean(axis=0)
    L = np.linalg.solve(centred.T @ centred + len(R) * penalty * np.diag(window.F.var(axis=0)), centred.T)
    freedom = len(R) - 1 - np.trace(centred @ L)
    u = R - R.mean(axis=0) - centred @ L @ R
    variances = np.square(u).sum(axis=0) / freedom
    assert found.degrees_of_freedom == pytest.approx(freedom, rel=1e-12)
    left = np.eye(len(R)) - 1.0 / len(R) - centred @ L
    assert found.divisor == pytest.approx(np.trace(left.T @ left), rel=1e-12)
    np.testing.assert_allclose(found.residual_variances, variances, rtol=EXACT)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.outer(variances, np.diag(L @ L.T))), rtol=EXACT)
    of_alpha = 1 / len(R) - window.F.mean(axis=0) @ L
    np.testing.assert_allclose(found.alpha_errors, np.sqrt(variances * (of_alpha @ of_alpha)), rtol=EXACT)
    robust = regress(R, window, TimeSeriesSettings("ridge", ridge_penalty=penalty, lags=1))
    g = L[0][:, None] * u
    sums = np.square(g).sum(axis=0) + (g[1:] * g[:-1]).sum(axis=0)
    np.testing.assert_allclose(robust.standard_errors[:, 0], np.sqrt(sums * len(R) / (len(R) - 4)), rtol=EXACT)


def test_ridge_without_penalty_is_ordinary():
    R, window = panel()
    ridge = regress(R, window, TimeSeriesSettings("ridge", ridge_penalty=0.0))
    ordinary = regress(R, window, TimeSeriesSettings())
    np.testing.assert_array_equal(ridge.betas, ordinary.betas)
    np.testing.assert_array_equal(ridge.standard_errors, ordinary.standard_errors)


def test_residuals_that_follow_the_last_show_in_durbin_watson():
    R, window = panel(800)
    results = [OLS(r, add_constant(window.F)).fit() for r in R.T]
    expected = np.mean([np.sum(np.diff(r.resid) ** 2) / np.sum(r.resid**2) for r in results])
    assert regress(R, window, TimeSeriesSettings()).diagnostics["durbin_watson"] == pytest.approx(expected, rel=1e-10)
    assert expected < 1.6
