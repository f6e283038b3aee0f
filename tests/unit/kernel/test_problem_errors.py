"""Problems that cannot be posed say which input is wrong, and how."""

import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.objectives import MaximizeUtility
from kernel.problem import Moments
from tests.unit.kernel.zoo import universe

NAMES = ("AAPL", "XOM", "CASH")


def test_a_missing_mean_names_its_asset():
    with pytest.raises(ProblemError) as caught:
        Moments(NAMES, np.array([0.1, np.nan, 0.02]), np.eye(3))
    assert caught.value.field == "expected_returns[XOM]"
    assert "finite" in caught.value.reason


def test_a_missing_covariance_names_both_assets():
    Sigma = np.eye(3)
    Sigma[0, 2] = Sigma[2, 0] = np.inf
    with pytest.raises(ProblemError) as caught:
        Moments(NAMES, np.zeros(3), Sigma)
    assert caught.value.field == "covariance[AAPL, CASH]"


def test_an_asymmetric_covariance():
    Sigma = np.eye(3)
    Sigma[0, 1] = 0.1
    with pytest.raises(ProblemError, match="covariance: must be symmetric"):
        Moments(NAMES, np.zeros(3), Sigma)


@pytest.mark.parametrize(
    ("mu", "Sigma"),
    [
        (np.zeros(2), np.eye(3)),
        (np.zeros(3), np.eye(2)),
        (np.zeros((3, 1)), np.eye(3)),
        (np.zeros(3), np.zeros((3, 2))),
    ],
)
def test_shapes_that_do_not_fit_the_assets(mu, Sigma):
    with pytest.raises(ProblemError, match="3 assets, but mu"):
        Moments(NAMES, mu, Sigma)


def test_an_empty_universe():
    with pytest.raises(ProblemError, match="universe: has no assets"):
        Moments((), np.zeros(0), np.zeros((0, 0)))


@pytest.mark.parametrize("risk_aversion", [0.0, -1.0, np.inf, np.nan])
def test_a_risk_aversion_that_is_none(risk_aversion):
    with pytest.raises(ProblemError, match="risk_aversion: must be positive"):
        MaximizeUtility(risk_aversion)


def test_a_minimum_above_its_maximum():
    with pytest.raises(ProblemError, match=r"tech max: the minimum 0.5 \(tech min\) is above the maximum 0.3"):
        LinearLimit(np.ones(3), 0.5, 0.3, "tech min", "tech max")


@pytest.mark.parametrize("limit", [0.0, -0.1, np.nan])
def test_a_risk_limit_must_be_positive(limit):
    with pytest.raises(ProblemError, match="max volatility: must be positive"):
        RiskLimit("max volatility", Volatility(universe("bailey").moments), limit)


def test_moments_are_read_only():
    moments = Moments(NAMES, np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        moments.mu[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        moments.Sigma[0, 0] = 2.0
