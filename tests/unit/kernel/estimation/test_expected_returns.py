"""Means of history and returns implied by the market."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.expected_returns import equilibrium, historical_mean, market_weights


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
