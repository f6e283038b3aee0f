"""Means of history and returns implied by the market."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.expected_returns import (
    capm,
    equilibrium,
    exponentially_weighted_mean,
    historical_mean,
    market_series,
    market_weights,
)


def returns(T, n, seed=5):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0004, 0.01, size=(T, 1)) * rng.uniform(0.5, 1.5, size=n) + rng.normal(0, 0.01, size=(T, n))


def test_mean_is_arithmetic_and_annualised():
    R = np.array([[0.01, -0.02], [0.03, 0.00]])
    np.testing.assert_allclose(historical_mean(R, 252), [0.02 * 252, -0.01 * 252], rtol=1e-15)


def test_result_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        historical_mean(np.zeros((2, 2)))[0] = 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_bad_return_is_named_by_its_place(bad):
    R = np.zeros((3, 4))
    R[2, 1] = bad
    with pytest.raises(ProblemError) as error:
        historical_mean(R)
    assert error.value.field == "returns[2][1]"


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (2, 2, 2)])
def test_returns_must_be_a_table(shape):
    with pytest.raises(ProblemError) as error:
        historical_mean(np.zeros(shape))
    assert error.value.field == "returns"


@pytest.mark.parametrize("periods", [0.0, -252.0, np.nan, np.inf])
def test_periods_per_year_must_be_positive(periods):
    with pytest.raises(ProblemError, match="periods_per_year"):
        historical_mean(np.zeros((2, 1)), periods)


def test_market_weights_are_shares_of_value():
    np.testing.assert_allclose(market_weights(np.array([3e12, 1e12, 0.0])), [0.75, 0.25, 0.0], rtol=1e-15)
    np.testing.assert_allclose(market_weights(np.array([1e308, 1e308])), [0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize(
    ("caps", "field"),
    [
        ([1.0, -2.0], "market_caps[1]"),
        ([1.0, np.nan], "market_caps[1]"),
        ([0.0, 0.0], "market_caps"),
        ([], "market_caps"),
    ],
)
def test_market_weights_refuse_nonsense(caps, field):
    with pytest.raises(ProblemError) as error:
        market_weights(np.array(caps))
    assert error.value.field == field


def test_equilibrium_makes_the_market_optimal():
    """The gradient of pi'w - delta/2 w'Sigma w vanishes at the market, so no small step improves utility."""
    Sigma, w, delta = np.array([[0.04, 0.01], [0.01, 0.09]]), np.array([0.7, 0.3]), 3.0
    pi = equilibrium(Sigma, w, delta)
    np.testing.assert_allclose(np.linalg.solve(delta * Sigma, pi), w, rtol=1e-14)
    assert pi @ w == pytest.approx(delta * w @ Sigma @ w)


@pytest.mark.parametrize(
    ("weights", "delta", "field"),
    [
        ([0.5, 0.4], 2.5, "market_weights"),
        ([1.0], 2.5, "market_weights"),
        ([0.5, np.nan], 2.5, "market_weights[1]"),
        ([0.5, 0.5], 0.0, "risk_aversion"),
        ([0.5, 0.5], np.nan, "risk_aversion"),
    ],
)
def test_equilibrium_names_the_bad_input(weights, delta, field):
    with pytest.raises(ProblemError) as error:
        equilibrium(np.eye(2), np.array(weights), delta)
    assert error.value.field == field


@pytest.mark.parametrize(("T", "n"), [(40, 6), (5, 12), (1, 3)])
@pytest.mark.parametrize("half_life", [0.3, 10, 252.0])
def test_exponentially_weighted_mean_is_its_sum(T, n, half_life):
    R = returns(T, n)
    raw = [0.5 ** ((T - 1 - t) / half_life) for t in range(T)]
    expected = [252 * sum(raw[t] * R[t, i] for t in range(T)) / sum(raw) for i in range(n)]
    np.testing.assert_allclose(exponentially_weighted_mean(R, half_life), expected, rtol=1e-12, atol=1e-15)


def test_exponentially_weighted_mean_by_hand():
    """Weights 1/7, 2/7, 4/7 with a half-life of one period."""
    R = np.array([[0.07], [0.00], [-0.07]])
    np.testing.assert_allclose(exponentially_weighted_mean(R, 1, 10), [10 * (0.01 - 0.04)], rtol=1e-14)


def test_endless_half_life_is_the_arithmetic_mean():
    R = returns(30, 4)
    np.testing.assert_allclose(exponentially_weighted_mean(R, 1e15), historical_mean(R), rtol=1e-12)


@pytest.mark.parametrize("half_life", [0.0, -2.0, 0.05, np.nan, np.inf])
def test_half_life_out_of_range_is_named(half_life):
    with pytest.raises(ProblemError) as error:
        exponentially_weighted_mean(np.zeros((3, 2)), half_life)
    assert error.value.field == "half_life"


@pytest.mark.parametrize(("T", "n"), [(60, 5), (8, 20)])
def test_capm_is_the_regression_on_the_market(T, n):
    R = returns(T, n)
    market = R @ np.full(n, 1 / n)
    design = np.column_stack([np.ones(T), market])
    betas = np.linalg.lstsq(design, R, rcond=None)[0][1]
    result = capm(R, market, 12, risk_free_rate=0.02)
    np.testing.assert_allclose(result.betas, betas, rtol=1e-10)
    assert result.premium == pytest.approx(12 * market.mean() - 0.02, rel=1e-12)
    np.testing.assert_allclose(result.mu, 0.02 + betas * result.premium, rtol=1e-10)
    assert not result.mu.flags.writeable


def test_capm_pays_the_market_what_it_earned():
    R, w = returns(50, 4), np.array([0.1, 0.2, 0.3, 0.4])
    market = market_series(R, w)
    np.testing.assert_allclose(market, sum(w[i] * R[:, i] for i in range(4)), rtol=1e-14)
    result = capm(R, market, risk_free_rate=0.03)
    assert w @ result.betas == pytest.approx(1.0, rel=1e-12)
    assert w @ result.mu == pytest.approx(252 * market.mean(), rel=1e-10)


def test_capm_takes_the_premium_given():
    R = returns(30, 3)
    market = R.mean(axis=1)
    result = capm(R, market, risk_free_rate=0.01, premium=0.05)
    np.testing.assert_allclose(result.mu, 0.01 + 0.05 * capm(R, market).betas, rtol=1e-13)
    assert result.premium == 0.05


def test_asset_that_never_moves_earns_the_rate():
    R = returns(30, 3)
    R[:, 1] = 0.0001
    result = capm(R, returns(30, 1)[:, 0], risk_free_rate=0.025)
    assert result.betas[1] == 0.0
    assert result.mu[1] == 0.025


@pytest.mark.parametrize(
    ("market", "options", "field"),
    [
        (np.zeros(4), {}, "market_returns"),
        (np.full(5, 0.001), {}, "market_returns"),
        (np.array([0.1, 0.0, np.nan, 0.0, 0.0]), {}, "market_returns[2]"),
        (np.arange(5.0), {"risk_free_rate": np.nan}, "risk_free_rate"),
        (np.arange(5.0), {"premium": np.inf}, "market_premium"),
        (np.arange(5.0), {"periods_per_year": 0.0}, "periods_per_year"),
    ],
)
def test_capm_names_the_bad_input(market, options, field):
    with pytest.raises(ProblemError) as error:
        capm(np.arange(10.0).reshape(5, 2), market, **options)
    assert error.value.field == field


def test_market_must_be_fully_invested():
    with pytest.raises(ProblemError) as error:
        market_series(np.zeros((5, 2)), np.array([0.5, 0.4]))
    assert error.value.field == "market_weights"
