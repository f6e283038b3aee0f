"""The parts of an attributed return add up to it."""

import math

import numpy as np
import pytest

from kernel.factors.attribution import attribute_return
from kernel.factors.exposures import FactorHistory, factor_design


def window(seed, periods=250, k=4):
    rng = np.random.default_rng(seed)
    return FactorHistory(tuple(f"f{i}" for i in range(k)), 0.01 * rng.standard_normal((periods, k)) + 0.0005)


@pytest.mark.parametrize("seed", range(10))
def test_parts_add_up_to_the_total(seed):
    design = factor_design(window(seed))
    returns = 0.012 * np.random.default_rng(100 + seed).standard_normal(250) + 0.8 * design.factors.F[:, 0]
    attribution = attribute_return(returns, design, design.fit(returns))
    parts = [part.value for part in attribution.factors]
    assert attribution.total == pytest.approx(252 * returns.mean(), rel=1e-14)
    assert abs(attribution.residual) <= 1e-12
    assert abs(attribution.total - math.fsum(parts) - attribution.specific.value) <= 1e-12
    fractions = [part.fraction for part in (*attribution.factors, attribution.specific)]
    assert math.fsum(fractions) == pytest.approx(1.0, abs=1e-11)


def test_a_known_mix_is_attributed_to_its_factors():
    design = factor_design(window(3))
    returns = 0.0001 + design.factors.F @ np.array([1.0, 0.5, 0.0, -0.5])
    attribution = attribute_return(returns, design, design.fit(returns))
    means = 252 * design.factors.F.mean(axis=0)
    np.testing.assert_allclose([p.value for p in attribution.factors], means * [1.0, 0.5, 0.0, -0.5], atol=1e-12)
    assert attribution.specific.value == pytest.approx(0.0252, rel=1e-10)
    assert [part.factor for part in attribution.factors] == ["f0", "f1", "f2", "f3"]


def test_a_total_of_zero_has_no_fractions():
    design = factor_design(window(5))
    returns = np.zeros(250)
    attribution = attribute_return(returns, design, design.fit(returns))
    assert attribution.total == 0.0
    assert attribution.specific.fraction is None
    assert all(part.fraction is None for part in attribution.factors)
