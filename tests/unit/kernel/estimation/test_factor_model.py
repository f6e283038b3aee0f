"""Factor models of risk and return against least squares on the plain design."""

from functools import partial

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.factor_model import factor_covariance, factor_expected_returns
from kernel.factors.window import FactorHistory, factor_design

NAMES = ("market", "size", "value")


def data(T, n, seed=9):
    rng = np.random.default_rng(seed)
    F = rng.normal([0.0004, 0.0001, -0.0001], [0.01, 0.005, 0.006], size=(T, 3))
    R = 0.0001 + F @ rng.normal(0.5, 0.5, size=(3, n)) + rng.normal(0, 0.01, size=(T, n))
    return R, F


def design(F, periods=252):
    return factor_design(FactorHistory(NAMES[: F.shape[1]], F, periods))


def by_least_squares(R, F):
    T, k = F.shape
    A = np.column_stack([np.ones(T), F])
    coefficients = np.linalg.lstsq(A, R, rcond=None)[0]
    residuals = R - A @ coefficients
    return coefficients[1:].T, np.cov(F, rowvar=False), np.square(residuals).sum(axis=0) / (T - k - 1)


@pytest.mark.parametrize(("T", "n"), [(100, 6), (20, 50), (6, 10)])
def test_risk_is_that_of_the_regression(T, n):
    R, F = data(T, n)
    B, Phi, specific = by_least_squares(R, F)
    names = tuple(f"A{i}" for i in range(n))
    model = factor_covariance(names, R, design(F, 12))
    np.testing.assert_allclose(model.B, B, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.Phi, 12 * Phi, rtol=1e-11, atol=1e-18)
    np.testing.assert_allclose(model.specific, 12 * specific, rtol=1e-9)
    Sigma = 12 * (B @ Phi @ B.T + np.diag(specific))
    np.testing.assert_allclose(model.low_rank().dense(), Sigma, rtol=1e-8, atol=1e-12)
    assert model.low_rank().factor.shape == (3, n)
    assert (model.factors, model.names) == (NAMES, names)
    for array in (model.B, model.Phi, model.specific, model.low_rank().factor):
        assert not array.flags.writeable


def test_combination_of_factors_has_no_specific_risk():
    R, F = data(60, 4)
    R[:, 2] = 0.7 * F[:, 0] - 0.2 * F[:, 2] + 0.001
    model = factor_covariance("abcd", R, design(F))
    assert model.specific[2] == 0.0
    np.testing.assert_allclose(model.B[2], [0.7, 0.0, -0.2], atol=1e-12)
    assert model.low_rank().dense()[2, 2] == pytest.approx(252 * R[:, 2].var(ddof=1), rel=1e-10)


def test_returns_are_pay_for_exposures():
    R, F = data(80, 5)
    B, _, _ = by_least_squares(R, F)
    result = factor_expected_returns(R, design(F), risk_free_rate=0.02)
    np.testing.assert_allclose(result.premia, 252 * F.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.mu, 0.02 + 252 * B @ F.mean(axis=0), rtol=1e-9)
    assert not result.mu.flags.writeable


def test_premia_given_are_used_and_left_alone():
    R, F = data(30, 40)
    premia = np.array([0.05, 0.01, 0.02])
    result = factor_expected_returns(R, design(F), premia=premia)
    np.testing.assert_allclose(result.mu, by_least_squares(R, F)[0] @ premia, rtol=1e-8, atol=1e-12)
    assert premia.flags.writeable


def test_one_factor_with_its_past_premium_is_history_less_alpha():
    R, F = data(50, 4)
    F = F[:, :1]
    A = np.column_stack([np.ones(50), F])
    alpha = np.linalg.lstsq(A, R, rcond=None)[0][0]
    mu = factor_expected_returns(R, design(F)).mu
    np.testing.assert_allclose(mu, 252 * (R.mean(axis=0) - alpha), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"premia": np.zeros(2)}, "factor_premia"),
        ({"premia": np.array([0.1, np.nan, 0.0])}, "factor_premia[1]"),
        ({"risk_free_rate": np.nan}, "risk_free_rate"),
    ],
)
def test_bad_number_is_named(options, field):
    R, F = data(20, 3)
    with pytest.raises(ProblemError) as error:
        factor_expected_returns(R, design(F), **options)
    assert error.value.field == field


@pytest.mark.parametrize("model", [partial(factor_covariance, "abc"), factor_expected_returns])
def test_periods_must_be_the_factors(model):
    R, F = data(20, 3)
    with pytest.raises(ProblemError) as error:
        model(R[:-1], design(F))
    assert error.value.field == "returns"
