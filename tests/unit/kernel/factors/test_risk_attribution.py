"""Parts of volatility and tracking error: Euler's theorem, the dense covariance, and hostile weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.factors.model import FactorModel
from kernel.factors.risk_attribution import attribute_risk


def random_model(seed, n=20, k=4):
    rng = np.random.default_rng(seed)
    root = 0.15 * rng.standard_normal((k + 2, k))
    return FactorModel(
        tuple(f"f{place}" for place in range(k)),
        tuple(f"a{place}" for place in range(n)),
        rng.standard_normal((n, k)),
        root.T @ root,
        rng.uniform(0.0, 0.3, n) ** 2,
    )


def dense(model):
    return model.B @ model.Phi @ model.B.T + np.diag(model.specific)


def volatility(model, x, w):
    """As a function of exposures and of weights in what is specific."""
    return math.sqrt(x @ model.Phi @ x + w**2 @ model.specific)


def check_sums(risk):
    assert math.fsum([risk.factor_contribution, risk.specific_contribution]) == pytest.approx(
        risk.volatility, abs=1e-15
    )
    assert math.fsum(risk.factor_parts) == pytest.approx(risk.factor_contribution, abs=1e-15)
    assert math.fsum(risk.asset_factor_parts) == pytest.approx(risk.factor_contribution, abs=1e-15)
    assert math.fsum(risk.asset_specific_parts) == pytest.approx(risk.specific_contribution, abs=1e-15)
    assert math.fsum(risk.asset_parts) == pytest.approx(risk.volatility, abs=1e-15)


def test_two_factors_and_two_assets_by_hand():
    model = FactorModel(
        ("market", "value"),
        ("A", "B"),
        np.array([[1.0, 0.5], [1.0, -0.5]]),
        np.diag([0.04, 0.01]),
        np.array([0.03, 0.01]),
    )
    risk = attribute_risk(model, np.array([0.75, 0.25]))
    variance = 0.04 + 0.25**2 * 0.01 + 0.75**2 * 0.03 + 0.25**2 * 0.01
    sigma = math.sqrt(variance)
    assert risk.volatility == pytest.approx(sigma, rel=1e-15)
    assert risk.exposures.tolist() == [1.0, 0.25]
    assert risk.factor_volatilities == pytest.approx([0.2, 0.1])
    assert risk.correlations == pytest.approx([0.2 / sigma, 0.1 * 0.25 / sigma])
    assert risk.factor_parts == pytest.approx([0.04 / sigma, 0.000625 / sigma])
    assert risk.asset_specific_parts == pytest.approx([0.75**2 * 0.03 / sigma, 0.25**2 * 0.01 / sigma])
    slopes = [0.04 + 0.5 * 0.0025, 0.04 - 0.5 * 0.0025]
    assert risk.asset_factor_parts == pytest.approx([0.75 * slopes[0] / sigma, 0.25 * slopes[1] / sigma])


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([1e-6, 1.0, 1e3]), active=st.booleans())
def test_parts_add_up(seed, size, active):
    model, rng = random_model(seed), np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(20)) * size - (rng.dirichlet(np.ones(20)) * size if active else 0.0)
    risk = attribute_risk(model, w)
    assert risk.volatility == pytest.approx(math.sqrt(w @ dense(model) @ w), rel=1e-12)
    assert 0.0 <= risk.residual <= 1e-15 * max(size, 1.0)
    np.testing.assert_allclose(
        risk.exposures * risk.factor_volatilities * risk.correlations, risk.factor_parts, atol=1e-15 * size
    )
    assert (np.abs(risk.correlations) <= 1.0).all()


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_assets_are_those_of_the_dense_covariance(seed):
    model = random_model(seed)
    w = np.random.default_rng(seed).dirichlet(np.ones(20))
    risk = attribute_risk(model, w)
    Sigma = dense(model)
    assert risk.asset_parts == pytest.approx(w * (Sigma @ w) / math.sqrt(w @ Sigma @ w), abs=1e-15)
    check_sums(risk)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_derivatives(seed):
    """Euler: each part is an exposure, or weight, times the derivative of the volatility, by central differences."""
    model = random_model(seed)
    w = np.random.default_rng(seed).dirichlet(np.ones(20))
    risk, x = attribute_risk(model, w), model.B.T @ w
    for place, step in enumerate(1e-5 * np.eye(4)):
        slope = (volatility(model, x + step, w) - volatility(model, x - step, w)) / 2e-5
        assert risk.factor_parts[place] == pytest.approx(x[place] * slope, abs=1e-9)
    for place, step in enumerate(1e-5 * np.eye(20)):
        slope = (
            volatility(model, x + model.B.T @ step, w + step) - volatility(model, x - model.B.T @ step, w - step)
        ) / 2e-5
        assert risk.asset_parts[place] == pytest.approx(w[place] * slope, abs=1e-9)


def test_the_correlation_is_that_of_simulated_returns():
    model = random_model(3)
    w = np.random.default_rng(3).dirichlet(np.ones(20))
    rng = np.random.default_rng(4)
    F = rng.multivariate_normal(np.zeros(4), model.Phi, size=200_000)
    returns = F @ (model.B.T @ w) + (rng.standard_normal((200_000, 20)) * np.sqrt(model.specific)) @ w
    expected = [np.corrcoef(returns, column)[0, 1] for column in F.T]
    assert attribute_risk(model, w).correlations == pytest.approx(expected, abs=0.01)


def test_the_order_of_assets_and_of_factors_changes_nothing():
    model, rng = random_model(6), np.random.default_rng(6)
    w, rows, columns = rng.dirichlet(np.ones(20)), rng.permutation(20), rng.permutation(4)
    moved = FactorModel(
        tuple(model.factors[place] for place in columns),
        tuple(model.names[place] for place in rows),
        model.B[rows][:, columns],
        model.Phi[columns][:, columns],
        model.specific[rows],
    )
    one, other = attribute_risk(model, w), attribute_risk(moved, w[rows])
    assert other.volatility == pytest.approx(one.volatility, rel=1e-15)
    assert other.factor_parts == pytest.approx(one.factor_parts[columns], abs=1e-16)
    assert other.asset_parts == pytest.approx(one.asset_parts[rows], abs=1e-16)


def test_weights_of_zero_have_no_risk_and_no_parts():
    risk = attribute_risk(random_model(0), np.zeros(20))
    assert risk.volatility == risk.factor_contribution == risk.specific_contribution == risk.residual == 0.0
    for parts in (risk.exposures, risk.correlations, risk.factor_parts, risk.asset_parts):
        assert not parts.any()
    assert (risk.factor_volatilities > 0.0).all()


def test_what_rounding_leaves_of_equal_weights_is_no_risk():
    w = np.random.default_rng(0).dirichlet(np.ones(20))
    risk = attribute_risk(random_model(0), w - w * (1.0 + 2e-16))
    assert risk.volatility == 0.0
    assert not risk.asset_parts.any()


def test_a_factor_that_does_not_move_has_no_part():
    Phi = np.zeros((2, 2))
    Phi[0, 0] = 0.04
    model = FactorModel(("f", "still"), ("A",), np.array([[1.0, 3.0]]), Phi, np.array([0.01]))
    risk = attribute_risk(model, np.ones(1))
    assert risk.correlations.tolist() == pytest.approx([0.2 / math.sqrt(0.05), 0.0])
    assert risk.factor_parts.tolist() == pytest.approx([0.04 / math.sqrt(0.05), 0.0])


def test_a_hedge_has_a_negative_part():
    model = FactorModel(("f",), ("A", "B"), np.array([[1.0], [1.0]]), np.array([[0.04]]), np.zeros(2))
    risk = attribute_risk(model, np.array([1.0, -0.5]))
    assert risk.asset_parts.tolist() == pytest.approx([0.2, -0.1])
    assert risk.volatility == pytest.approx(0.1)
    assert risk.correlations.tolist() == [1.0]


def test_a_perfect_hedge_has_no_risk():
    model = FactorModel(("f",), ("A", "B"), np.array([[1.0], [2.0]]), np.array([[0.04]]), np.zeros(2))
    assert attribute_risk(model, np.array([1.0, -0.5])).volatility == 0.0


def test_a_model_of_specific_risk_alone():
    model = FactorModel(("f",), ("A", "B"), np.zeros((2, 1)), np.array([[0.04]]), np.array([0.04, 0.01]))
    risk = attribute_risk(model, np.array([0.5, 0.5]))
    assert risk.factor_contribution == 0.0
    assert (risk.volatility, risk.specific_contribution) == pytest.approx((math.sqrt(0.0125), math.sqrt(0.0125)))


@pytest.mark.parametrize(
    ("w", "reason"),
    [
        (np.ones(3), r"weights: must have one number for each of the 20 assets"),
        (np.full(20, np.nan), r"weights\[0\]: is nan"),
        (np.full(20, 1e200), "weights: are up to 1e"),
    ],
)
def test_weights_that_mean_nothing_are_refused(w, reason):
    with pytest.raises(ProblemError, match=reason):
        attribute_risk(random_model(0), w)
