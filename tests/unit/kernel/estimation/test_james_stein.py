"""Bayes-Stein means against the paper's formula."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.covariance import ledoit_wolf, oas
from kernel.estimation.expected_returns import historical_mean
from kernel.estimation.james_stein import james_stein


def returns(T, n, seed=6):
    rng = np.random.default_rng(seed)
    return rng.normal(rng.uniform(-0.001, 0.002, size=n), 0.01, size=(T, n)) + rng.normal(0, 0.008, size=(T, 1))


def jorion(R, Sigma):
    """Equations 14 and 17, per period, with an explicit inverse."""
    T, n = R.shape
    y, one, inverse = R.mean(axis=0), np.ones(n), np.linalg.inv(Sigma)
    y0 = one @ inverse @ y / (one @ inverse @ one)
    w = (n + 2) / ((n + 2) + T * (y - y0) @ inverse @ (y - y0))
    return (1 - w) * y + w * y0, w, y0


def test_two_assets_by_hand():
    """Means 2% and 7%, variances 1 and 4 (1e-4), T = 4: y0 = 3%, T d'Sigma^-1 d = 4 (1 + 4) = 20, w = 4 / 24."""
    R = np.array([[0.03, 0.09], [0.01, 0.05], [0.02, 0.06], [0.02, 0.08]])
    result = james_stein(R, 1.0, Sigma=np.diag([1e-4, 4e-4]))
    assert result.grand_mean == pytest.approx(0.03, rel=1e-12)
    assert result.intensity == pytest.approx(1 / 6, rel=1e-12)
    np.testing.assert_allclose(result.mu, [0.03 - 0.01 * 5 / 6, 0.03 + 0.04 * 5 / 6], rtol=1e-12)


@pytest.mark.parametrize(("T", "n"), [(60, 5), (12, 8), (500, 2)])
def test_long_history_uses_the_corrected_sample_covariance(T, n):
    R = returns(T, n)
    mu, w, y0 = jorion(R, np.cov(R, rowvar=False) * (T - 1) / (T - n - 2))
    result = james_stein(R, 252)
    assert result.intensity == pytest.approx(w, rel=1e-9)
    assert result.grand_mean == pytest.approx(252 * y0, rel=1e-9)
    np.testing.assert_allclose(result.mu, 252 * mu, rtol=1e-9)
    assert not result.mu.flags.writeable


@pytest.mark.parametrize(("T", "n"), [(10, 8), (10, 30), (2, 5)])
def test_short_history_uses_the_oas_covariance(T, n):
    R = returns(T, n)
    mu, w, _ = jorion(R, oas(R, 1.0).Sigma)
    result = james_stein(R, 1.0)
    assert result.intensity == pytest.approx(w, rel=1e-9)
    np.testing.assert_allclose(result.mu, mu, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("column", [np.full(60, 0.0001), None])
def test_covariance_without_inverse_is_replaced(column):
    """A constant asset, or a twin."""
    R = returns(60, 4)
    R[:, 3] = R[:, 0] if column is None else column
    mu, w, _ = jorion(R, oas(R, 1.0).Sigma)
    result = james_stein(R, 1.0)
    assert result.intensity == pytest.approx(w, rel=1e-9)
    np.testing.assert_allclose(result.mu, mu, rtol=1e-9)


def test_covariance_given_is_used():
    R = returns(15, 20)
    Sigma = ledoit_wolf(R, 252).Sigma
    mu, w, _ = jorion(R, Sigma / 252)
    result = james_stein(R, 252, Sigma=Sigma)
    assert result.intensity == pytest.approx(w, rel=1e-9)
    np.testing.assert_allclose(result.mu, 252 * mu, rtol=1e-9)


@pytest.mark.parametrize(("T", "n"), [(60, 5), (5, 30)])
def test_means_lie_between_history_and_the_grand_mean(T, n):
    R = returns(T, n)
    result, y = james_stein(R), historical_mean(R)
    assert 0 < result.intensity < 1
    np.testing.assert_allclose(result.mu - result.grand_mean, (1 - result.intensity) * (y - result.grand_mean))


def test_equal_means_are_shrunk_wholly():
    R = returns(40, 3)
    R += 0.001 - R.mean(axis=0)
    result = james_stein(R, 1.0)
    assert result.intensity == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(result.mu, 0.001, rtol=1e-9)


def test_order_and_year_do_not_matter():
    R, order = returns(60, 5), np.array([3, 1, 4, 0, 2])
    np.testing.assert_allclose(james_stein(R[:, order]).mu, james_stein(R).mu[order], rtol=1e-9)
    assert james_stein(R, 12).intensity == pytest.approx(james_stein(R, 252).intensity, rel=1e-10)


def test_returns_without_any_risk_keep_their_means():
    R = np.tile([0.001, 0.002, 0.003], (8, 1))
    result = james_stein(R, 100)
    assert result.intensity == 0.0
    assert result.grand_mean == pytest.approx(0.2)
    np.testing.assert_allclose(result.mu, [0.1, 0.2, 0.3], rtol=1e-12)


@pytest.mark.parametrize(
    ("Sigma", "field"),
    [
        (np.eye(3), "covariance"),
        (np.diag([0.04, 0.0]), "covariance[1][1]"),
        (np.ones((2, 2)), "covariance"),
        (np.array([[0.04, np.nan], [np.nan, 0.04]]), "covariance[0][1]"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "covariance"),
    ],
)
def test_bad_covariance_is_named(Sigma, field):
    with pytest.raises(ProblemError) as error:
        james_stein(returns(10, 2), Sigma=Sigma)
    assert error.value.field == field


def test_one_period_is_too_few():
    with pytest.raises(ProblemError, match="at least 2 periods"):
        james_stein(np.zeros((1, 2)), Sigma=np.eye(2))
