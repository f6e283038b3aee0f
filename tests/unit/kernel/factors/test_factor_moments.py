"""Factor covariances against numpy's own, equal and weighted."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.factor_moments import factor_covariance_of
from kernel.factors.model import RiskSettings


def returns(periods=90, factors=4):
    rng = np.random.default_rng(3)
    return 0.001 + 0.01 * rng.standard_normal((periods, factors)) @ rng.standard_normal((factors, factors))


def test_equal_weights_give_the_sample_covariance():
    F = returns()
    Phi = factor_covariance_of(F, RiskSettings())
    np.testing.assert_allclose(Phi, 252 * np.cov(F, rowvar=False), rtol=1e-12)
    assert (Phi == Phi.T).all()
    assert not Phi.flags.writeable


@pytest.mark.parametrize("half_life", [0.5, 20.0, 1e5])
def test_half_lives_give_the_weighted_covariance(half_life):
    F = returns()
    weights = 0.5 ** (np.arange(89, -1, -1) / half_life)
    Phi = factor_covariance_of(F, RiskSettings(factor_half_life=half_life, periods_per_year=12.0))
    np.testing.assert_allclose(Phi, 12 * np.cov(F, rowvar=False, aweights=weights), rtol=1e-10)
    assert (Phi == Phi.T).all()


def test_weighted_covariances_are_unbiased():
    rng = np.random.default_rng(8)
    settings = RiskSettings(factor_half_life=5.0, periods_per_year=1.0)
    draws = [factor_covariance_of(rng.standard_normal((12, 1)), settings)[0, 0] for _ in range(20000)]
    assert np.mean(draws) == pytest.approx(1.0, abs=0.02)


def test_one_factor_and_a_constant_one():
    F = returns(factors=1)
    assert factor_covariance_of(F, RiskSettings()).shape == (1, 1)
    assert factor_covariance_of(np.full((30, 1), 0.1), RiskSettings(factor_half_life=7.0))[0, 0] == 0.0


@pytest.mark.parametrize(
    ("F", "half_life", "field"),
    [
        (np.zeros((1, 2)), None, "returns"),
        (np.full((5, 1), np.inf), None, "returns[0][0]"),
        (np.zeros((5, 1)), 0.0, "half_life"),
    ],
)
def test_refusals(F, half_life, field):
    with pytest.raises(ProblemError) as refusal:
        factor_covariance_of(F, RiskSettings(factor_half_life=half_life))
    assert refusal.value.field == field
