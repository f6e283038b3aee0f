"""Time-series factor models: what they are made of, and that they are the set-based covariance."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.factor_model import factor_covariance
from kernel.factors.model import RiskSettings
from kernel.factors.regression import ESTIMATORS, TimeSeriesSettings, regress
from kernel.factors.time_series import time_series_model
from kernel.factors.window import FactorHistory, factor_design
from tests.unit.kernel.factors.panels import panel

ASSETS = ("A", "B", "C", "D", "E")
PLAIN = RiskSettings(specific_shrinkage=0.0)
every = pytest.mark.parametrize("estimator", ESTIMATORS)


def by_least_squares(R, F):
    """Annual (B, Phi, specific), by plain matrices."""
    X = np.column_stack([np.ones(len(F)), F])
    coefficients, squares, _, _ = np.linalg.lstsq(X, R, rcond=None)
    return coefficients[1:].T, 252 * np.cov(F, rowvar=False), 252 * squares / (len(F) - X.shape[1])


def test_ordinary_model_is_that_of_plain_matrices():
    R, window = panel()
    found = time_series_model(ASSETS, R, window, TimeSeriesSettings(), PLAIN)
    B, Phi, specific = by_least_squares(R, window.F)
    np.testing.assert_allclose(found.model.B, B, rtol=1e-10)
    np.testing.assert_allclose(found.model.Phi, Phi, rtol=1e-10)
    np.testing.assert_allclose(found.model.specific, specific, rtol=1e-10)
    np.testing.assert_allclose(found.unshrunk, specific, rtol=1e-10)
    np.testing.assert_array_equal(found.F, window.F)
    np.testing.assert_allclose(found.alpha, 252 * (R.mean(axis=0) - B @ window.F.mean(axis=0)), rtol=1e-9)
    assert (found.model.names, found.model.factors, found.shrinkage) == (ASSETS, window.names, 0.0)


def test_ordinary_model_keeps_the_variance_of_every_asset():
    """Without shrinkage, up to the degrees of freedom: variance = explained + residual."""
    R, window = panel()
    model = time_series_model(ASSETS, R, window, TimeSeriesSettings(), PLAIN).model
    explained = np.einsum("ik,kl,il->i", model.B, model.Phi, model.B)
    total = explained + model.specific * (len(R) - 4) / (len(R) - 1)
    np.testing.assert_allclose(total, 252 * R.var(axis=0, ddof=1), rtol=1e-11)


def test_ordinary_model_is_exactly_the_covariance_of_the_factor_set():
    R, window = panel()
    model = time_series_model(ASSETS, R, window, TimeSeriesSettings(), PLAIN).model
    other = factor_covariance(ASSETS, R, factor_design(window))
    for name in ("B", "Phi", "specific"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name))


@every
def test_evidence_is_that_of_the_regression(estimator):
    R, window = panel()
    settings = TimeSeriesSettings(estimator)
    found, regressions = time_series_model(ASSETS, R, window, settings, RiskSettings()), regress(R, window, settings)
    np.testing.assert_array_equal(found.model.B, regressions.betas)
    np.testing.assert_array_equal(found.standard_errors, regressions.standard_errors)
    np.testing.assert_array_equal(found.r_squared, regressions.r_squared)
    assert found.diagnostics == regressions.diagnostics
    assert {"degrees_of_freedom", "durbin_watson"} < set(found.diagnostics)
    assert found.condition_number >= 1.0
    assert (found.variance_inflation >= 1.0).all()
    own = {"exponentially_weighted": "half_life", "huber": "huber_threshold", "kalman": "drift"}
    for name, key in {**own, "ridge": "ridge_penalty"}.items():
        assert (key in found.diagnostics) == (name == estimator)
    assert ("lags" in found.diagnostics) == (estimator != "kalman")


@pytest.mark.parametrize("estimator", ["exponentially_weighted", "ridge", "kalman"])
def test_specific_variances_have_no_bias(estimator):
    """Over many assets whose residuals have one known variance, in a window that is short for the factors."""
    _, window = panel(40, 1)
    noise = np.random.default_rng(6).standard_normal((40, 4000))
    settings = TimeSeriesSettings(estimator, half_life=10.0, ridge_penalty=1e-4, drift=0.0)
    names = [str(i) for i in range(4000)]
    found = time_series_model(names, window.F @ np.ones((3, 4000)) + 0.01 * noise, window, settings, PLAIN)
    assert found.unshrunk.mean() == pytest.approx(252 * 1e-4, rel=0.02)


def test_half_lives_and_shrinkage_are_of_the_risk_alone():
    R, window = panel()
    risk = RiskSettings(factor_half_life=30.0, specific_half_life=40.0, specific_shrinkage=0.3)
    plain = time_series_model(ASSETS, R, window, TimeSeriesSettings(), PLAIN)
    found = time_series_model(ASSETS, R, window, TimeSeriesSettings(), risk)
    np.testing.assert_array_equal(found.model.B, plain.model.B)
    assert found.shrinkage == 0.3
    assert (found.model.Phi != plain.model.Phi).any()
    assert (found.unshrunk != plain.unshrunk).all()


def test_year_is_that_of_the_risk():
    R, window = panel()
    daily = time_series_model(ASSETS, R, window, TimeSeriesSettings(), RiskSettings(periods_per_year=1.0))
    annual = time_series_model(ASSETS, R, window, TimeSeriesSettings(), RiskSettings(periods_per_year=260.0))
    np.testing.assert_allclose(annual.model.Phi, 260.0 * daily.model.Phi, rtol=1e-12)
    np.testing.assert_allclose(annual.model.specific, 260.0 * daily.model.specific, rtol=1e-12)
    np.testing.assert_allclose(annual.alpha, 260.0 * daily.alpha, rtol=1e-12)
    np.testing.assert_allclose(annual.standard_errors, daily.standard_errors, rtol=1e-12)


@every
def test_exact_assets_have_no_specific_risk(estimator):
    R, window = panel()
    R[:, 1], R[:, 3] = window.F[:, 0], 0.0002
    if estimator == "ridge":
        R[:, 1] = 0.0
    found = time_series_model(ASSETS, R, window, TimeSeriesSettings(estimator), RiskSettings())
    assert not found.model.specific[[1, 3]].any()
    assert (found.model.specific[[0, 2, 4]] > 0.0).all()


@every
def test_one_asset_and_one_factor(estimator):
    R, window = panel(60, 1, 1)
    found = time_series_model(["only"], R, window, TimeSeriesSettings(estimator), RiskSettings())
    assert found.model.B.shape == found.model.Phi.shape == (1, 1)
    assert (found.shrinkage, found.condition_number) == (0.0, 1.0)


def test_an_asset_with_a_bad_return_is_named():
    R, window = panel()
    with pytest.raises(ProblemError, match=r"have shape .* 160 periods"):
        time_series_model(ASSETS, R[:50], window, TimeSeriesSettings(), PLAIN)
    R[5, 3] = np.nan
    with pytest.raises(ProblemError, match=r"returns\[D\]: contain a number that is not finite"):
        time_series_model(ASSETS, R, window, TimeSeriesSettings(), PLAIN)
    with pytest.raises(ProblemError, match="do not fit 4 assets"):
        time_series_model(ASSETS[:4], R, window, TimeSeriesSettings(), PLAIN)


def test_asset_twice_is_refused():
    R, window = panel()
    with pytest.raises(ProblemError, match="twice"):
        time_series_model(("A",) * 5, R, window, TimeSeriesSettings(), PLAIN)


def test_factors_twice_are_refused():
    R, window = panel()
    with pytest.raises(ProblemError, match=r"factors\[market\]: is given twice"):
        time_series_model(ASSETS, R, FactorHistory(("market",) * 3, window.F), TimeSeriesSettings(), PLAIN)
