"""Drifting exposures against generalised least squares, and against two filters of statsmodels."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from statsmodels.regression.recursive_ls import RecursiveLS
from statsmodels.tools import add_constant
from statsmodels.tsa.statespace.mlemodel import MLEModel

from kernel.factors.regression import TimeSeriesSettings, regress
from kernel.factors.window import FactorHistory
from tests.unit.kernel.factors.panels import panel


def kalman(drift=None):
    return TimeSeriesSettings("kalman", drift=drift)


def drifting(periods=400, drift=1e-3, seed=2):
    """Two factors, four series whose exposures walk with the same drift."""
    rng = np.random.default_rng(seed)
    F = 0.01 * rng.standard_normal((periods, 2))
    Z = F / F.std(axis=0)
    steps = np.sqrt(drift) * rng.standard_normal((periods, 2, 4))
    B = np.cumsum(steps, axis=0) + 1.0
    R = 0.01 * (np.einsum("tk,tkm->tm", Z, B) + rng.standard_normal((periods, 4)))
    return R, FactorHistory(("a", "b"), F)


def by_matrices(R, F, drift):
    """The whole covariance of the errors at once, and the best linear forecast of the last exposures."""
    T, k = F.shape
    deviations = F.std(axis=0)
    Z = F / deviations
    walk = drift * np.minimum.outer(np.arange(T), np.arange(T))
    V = np.eye(T) + walk * (Z @ Z.T)
    X = add_constant(Z)
    VX, VR = np.linalg.solve(V, X), np.linalg.solve(V, R)
    M = np.linalg.inv(X.T @ VX)
    start = M @ (X.T @ VR)
    errors = R - X @ start
    variances = np.einsum("tm,tm->m", errors, np.linalg.solve(V, errors)) / (T - k - 1)
    covariances = walk[-1] * Z.T
    last = start[1:] + covariances @ np.linalg.solve(V, errors)
    selector = np.eye(k, k + 1, 1) - covariances @ VX
    spread = walk[-1, -1] * np.eye(k) - covariances @ np.linalg.solve(V, covariances.T) + selector @ M @ selector.T
    betas, scale = (last / deviations[:, None]).T, np.sqrt(np.outer(variances, np.diag(spread))) / deviations
    return start[0], betas, np.sqrt(variances * M[0, 0]), scale, variances


@pytest.mark.parametrize("drift", [1e-9, 1e-4, 0.01, 1.0])
@pytest.mark.parametrize(("periods", "factors"), [(120, 3), (40, 1), (6, 3), (5, 3)])
def test_filter_is_generalised_least_squares(drift, periods, factors):
    R, window = panel(periods, 4, factors)
    found = regress(R, window, kalman(drift))
    expected = by_matrices(R, window.F, drift)
    got = (found.alpha, found.betas, found.alpha_errors, found.standard_errors, found.residual_variances)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7 if periods < 10 else 1e-9, atol=1e-14)


def test_without_drift_it_is_ordinary_least_squares():
    R, window = panel()
    found, ordinary = (
        regress(R, window, kalman(0.0)),
        regress(R, window, TimeSeriesSettings(standard_errors="classical")),
    )
    for name in ("alpha", "betas", "alpha_errors", "standard_errors", "r_squared", "residual_variances"):
        np.testing.assert_allclose(getattr(found, name), getattr(ordinary, name), rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(found.residuals, ordinary.residuals, atol=1e-16)
    assert (found.lags, found.settings.drift) == (0, 0.0)


def test_without_drift_it_is_recursive_least_squares_of_statsmodels():
    R, window = panel(60, 1)
    found = regress(R, window, kalman(0.0))
    peer = RecursiveLS(R[:, 0], add_constant(window.F)).fit()
    last = peer.recursive_coefficients.filtered[:, -1]
    np.testing.assert_allclose(np.r_[found.alpha, found.betas[0]], last, rtol=1e-8)


class _Walk(MLEModel):
    """Intercept and walking exposures with an exact diffuse start, as a state space of statsmodels."""

    def __init__(self, series, Z, drift, variance):
        k = Z.shape[1]
        super().__init__(series, k_states=k + 1, k_posdef=k, initialization="diffuse")
        self["design"] = np.concatenate([np.ones((1, 1, len(Z))), Z.T[:, None, :]]).transpose(1, 0, 2)
        self["transition"], self["selection"] = np.eye(k + 1), np.eye(k + 1, k, -1)
        self["obs_cov"], self["state_cov"] = np.array([[variance]]), drift * variance * np.eye(k)


def state_space(r, F, drift, variance):
    scale = np.sqrt(variance)
    return _Walk(r / scale, F / F.std(axis=0), drift, 1.0).ssm


@pytest.mark.parametrize("drift", [1e-4, 0.02])
def test_filter_is_the_state_space_of_statsmodels(drift):
    R, window = drifting(150)
    found = regress(R, window, kalman(drift))
    deviations = window.F.std(axis=0)
    for j in range(R.shape[1]):
        scale = np.sqrt(found.residual_variances[j])
        peer = state_space(R[:, j], window.F, drift, scale**2).filter()
        state, spread = peer.filtered_state[:, -1] * scale, np.diag(peer.filtered_state_cov[:, :, -1]) * scale**2
        np.testing.assert_allclose(np.r_[found.alpha[j], found.betas[j] * deviations], state, rtol=1e-8)
        errors = np.r_[found.alpha_errors[j], found.standard_errors[j] * deviations]
        np.testing.assert_allclose(errors, np.sqrt(spread), rtol=1e-8)


def test_likeliest_drift_maximises_the_diffuse_likelihood_of_statsmodels():
    R, window = drifting(200)
    found = regress(R, window, kalman())

    def loss(power):
        drift = 10.0**power
        variances = regress(R, window, kalman(drift)).residual_variances
        likelihoods = [state_space(r, window.F, drift, v).loglike() for r, v in zip(R.T, variances, strict=True)]
        # In units of the residual, so the change of units belongs to the likelihood.
        return -sum(likelihoods) + (len(R) - 3) / 2 * np.log(variances).sum()

    best = minimize_scalar(loss, bounds=(-6, 0), method="bounded", options={"xatol": 1e-5}).x
    assert np.log10(found.settings.drift) == pytest.approx(best, abs=1e-3)
    assert found.diagnostics["drift"] == found.settings.drift


def test_drift_is_found_again():
    R, window = drifting(1500, 1e-3, seed=5)
    assert 3e-4 < regress(R, window, kalman()).settings.drift < 3e-3


def test_steady_exposures_have_next_to_no_drift():
    R, window = panel(600, 20, seed=8)
    noise = np.random.default_rng(1).standard_normal(R.shape)
    R = window.F @ np.ones((3, 20)) + 0.01 * noise
    found, ordinary = regress(R, window, kalman()), regress(R, window, TimeSeriesSettings())
    assert found.settings.drift < 1e-5
    np.testing.assert_allclose(found.betas, ordinary.betas, atol=0.1)


def test_a_break_is_followed():
    """An exposure that doubles in the middle: the filter ends at the new one, least squares between both."""
    _, window = panel(600, 1, 1)
    B = np.where(np.arange(600) < 300, 1.0, 2.0)
    R = window.F * B[:, None] + 0.002 * np.random.default_rng(4).standard_normal((600, 1))
    assert regress(R, window, kalman()).betas[0, 0] == pytest.approx(2.0, abs=0.1)
    assert 1.3 < regress(R, window, TimeSeriesSettings()).betas[0, 0] < 1.7


def test_portfolio_under_the_drift_of_its_assets_has_their_exposures():
    R, window = drifting()
    w = np.array([0.5, -0.2, 0.4, 0.3])
    assets = regress(R, window, kalman())
    portfolio = regress(R @ w[:, None], window, kalman(assets.settings.drift))
    np.testing.assert_allclose(portfolio.betas[0], w @ assets.betas, rtol=1e-11)


def test_exact_series_say_nothing_about_the_drift():
    R, window = drifting()
    mixed = np.column_stack([window.F @ [0.3, 0.7], R, np.full(len(R), 0.001)])
    found = regress(mixed, window, kalman())
    assert found.settings.drift == pytest.approx(regress(R, window, kalman()).settings.drift, rel=1e-6)
    np.testing.assert_allclose(found.betas[[0, -1]], [[0.3, 0.7], [0.0, 0.0]], atol=1e-12)
    assert not found.residuals[:, [0, -1]].any()
    only = regress(mixed[:, [0, -1]], window, kalman())
    assert only.settings.drift == 0.0
    np.testing.assert_allclose(only.r_squared, [1.0, 0.0])
