"""Regressions of what is exact, constant, tiny, huge, short or wrong."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.regression import ESTIMATORS, TimeSeriesSettings, regress
from kernel.factors.window import FactorHistory
from tests.unit.kernel.factors.panels import NAMES, panel

every = pytest.mark.parametrize("estimator", ESTIMATORS)
unpenalised = pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "ridge"])
methods = pytest.mark.parametrize("method", ["classical", "newey_west"])


@unpenalised
@methods
def test_a_factor_and_a_mix_of_factors_fit_exactly(estimator, method):
    R, window = panel(100, 1)
    mix = np.column_stack([window.F[:, 1], 0.001 + window.F @ [0.5, -1.0, 2.0], R])
    found = regress(mix, window, TimeSeriesSettings(estimator, standard_errors=method))
    np.testing.assert_allclose(found.betas[:2], [[0.0, 1.0, 0.0], [0.5, -1.0, 2.0]], atol=1e-12)
    np.testing.assert_allclose(found.alpha[:2], [0.0, 0.001], atol=1e-14)
    np.testing.assert_allclose(found.r_squared[:2], 1.0)
    for name in ("standard_errors", "alpha_errors", "residual_variances"):
        assert not getattr(found, name)[:2].any()
        assert (getattr(found, name)[2:] > 0.0).all()
    assert not found.residuals[:, :2].any()
    assert np.isnan(found.t_statistics[:2]).all()
    assert np.isfinite(found.t_statistics[2:]).all()


@every
@methods
@pytest.mark.parametrize("level", [0.0, 0.0001, -0.03])
def test_a_series_that_never_moves_has_no_exposure(estimator, method, level):
    R, window = panel(100, 2)
    R[:, 0] = level
    found = regress(R, window, TimeSeriesSettings(estimator, standard_errors=method))
    assert found.alpha[0] == pytest.approx(level, rel=1e-12)
    assert not found.betas[0].any()
    assert found.r_squared[0] == found.residual_variances[0] == found.alpha_errors[0] == 0.0
    assert found.r_squared[1] > 0.0


@every
def test_a_bill_above_its_own_return_never_moves(estimator):
    """What is left are roundings of ratios of prices."""
    R, window = panel(100)
    bill = 1e-4 + 1e-5 * np.random.default_rng(5).standard_normal(100)
    prices = 100.0 * np.cumprod(np.append(1.0, 1.0 + bill))
    R[:, 0] = prices[1:] / prices[:-1] - 1.0 - bill
    assert R[:, 0].any()
    found = regress(R, window, TimeSeriesSettings(estimator))
    assert found.r_squared[0] == 0.0
    assert not found.betas[0].any()
    assert np.isnan(found.t_statistics[0]).all()


@every
def test_nothing_moves_at_all(estimator):
    _, window = panel(50)
    found = regress(np.full((50, 3), 0.002), window, TimeSeriesSettings(estimator))
    assert not found.betas.any()
    assert "durbin_watson" not in found.diagnostics


@every
@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_factors_of_any_size(estimator, scale):
    R, window = panel(100)
    plain = regress(R, window, TimeSeriesSettings(estimator))
    scaled = FactorHistory(window.names, window.F * [scale, 1.0, 1.0])
    found = regress(R, scaled, TimeSeriesSettings(estimator))
    np.testing.assert_allclose(found.betas * [scale, 1.0, 1.0], plain.betas, rtol=1e-6)
    np.testing.assert_allclose(found.t_statistics, plain.t_statistics, rtol=1e-6)


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "huber"])
def test_one_degree_of_freedom_is_enough(estimator):
    R, window = panel(5, 3)
    found = regress(R, window, TimeSeriesSettings(estimator))
    assert np.isfinite(found.betas).all()
    assert np.isfinite(found.standard_errors).all()
    with pytest.raises(ProblemError, match=r"factors: 3 factors .* at least 5 periods, got 4"):
        regress(R[:4], FactorHistory(window.names, window.F[:4]), TimeSeriesSettings(estimator))


@every
def test_nearly_collinear_factors_still_explain(estimator):
    R, window = panel(200, 3, 2)
    F = window.F.copy()
    F[:, 1] = F[:, 0] + 1e-5 * F[:, 1]
    found = regress(R, FactorHistory(("a", "b"), F), TimeSeriesSettings(estimator, drift=0.0))
    assert np.isfinite(found.standard_errors).all()
    if estimator == "ordinary":
        assert (found.standard_errors > 10.0).all()


@every
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda F: np.column_stack([F[:, :2], np.full(len(F), 0.01)]), r"factors\[value\]: is constant"),
        (lambda F: np.column_stack([F[:, :2], 3 * F[:, 0]]), r"factors\[(market|value)\]: is a linear combination of"),
        (lambda F: np.column_stack([F[:, :2], F[:, 0] * 1e-200]), r"factors\[value\]: is constant"),
    ],
)
def test_factors_that_cannot_be_told_apart_are_named(estimator, change, message):
    R, window = panel(60)
    with pytest.raises(ProblemError, match=message):
        regress(R, FactorHistory(window.names, change(window.F)), TimeSeriesSettings(estimator))


def test_a_factor_that_moved_before_all_weights_is_constant():
    R, window = panel(3000, 2)
    F = window.F.copy()
    F[10:, 1] = 0.0
    settings = TimeSeriesSettings("exponentially_weighted", half_life=10.0)
    with pytest.raises(ProblemError, match=r"factors\[size\]: is constant"):
        regress(R, FactorHistory(NAMES[:3], F), settings)


def test_weights_that_leave_too_few_periods_are_refused():
    R, window = panel(100)
    with pytest.raises(ProblemError, match=r"half_life: is 1 periods, which lets 3.0 of 100 .* need more than 4"):
        regress(R, window, TimeSeriesSettings("exponentially_weighted", half_life=1.0))


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e300])
def test_a_bad_return_is_refused(estimator, bad):
    R, window = panel(60)
    R[7, 2] = bad
    with pytest.raises(ProblemError, match=r"returns\[7\]\[2\]"):
        regress(R, window, TimeSeriesSettings(estimator))


@every
@pytest.mark.parametrize("shape", [(59, 2), (60,), (60, 0)])
def test_returns_must_fit_the_window(estimator, shape):
    _, window = panel(60)
    with pytest.raises(ProblemError) as raised:
        regress(np.zeros(shape), window, TimeSeriesSettings(estimator))
    assert raised.value.field == "returns"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
def test_a_bad_factor_return_is_refused(value):
    F = panel(60)[1].F.copy()
    F[3, 1] = value
    with pytest.raises(ProblemError, match=r"factors\[size\]: contains a return"):
        FactorHistory(NAMES[:3], F)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("estimator", "lasso"),
        ("standard_errors", "bootstrap"),
        ("half_life", 0.0),
        ("half_life", np.nan),
        ("ridge_penalty", -1.0),
        ("ridge_penalty", np.inf),
        ("huber_threshold", 0.0),
        ("huber_threshold", 11.0),
        ("drift", -0.1),
        ("drift", 1.5),
        ("lags", -1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(ProblemError) as raised:
        TimeSeriesSettings(**{field: value})
    assert raised.value.field == field


def test_lags_must_stay_within_the_window():
    R, window = panel(60)
    assert regress(R, window, TimeSeriesSettings(lags=59)).lags == 59
    with pytest.raises(ProblemError, match="lags: is 60; there are 60 periods, so at most 59"):
        regress(R, window, TimeSeriesSettings(lags=60))


@every
def test_input_is_left_alone_and_answers_are_closed(estimator):
    R, window = panel(60)
    before, factors = R.copy(), window.F.copy()
    found = regress(R, window, TimeSeriesSettings(estimator))
    np.testing.assert_array_equal(R, before)
    np.testing.assert_array_equal(window.F, factors)
    for array in (found.alpha, found.betas, found.standard_errors, found.t_statistics, found.residuals):
        assert not array.flags.writeable
