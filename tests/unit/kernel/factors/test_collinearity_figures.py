"""Condition numbers and inflation factors against statsmodels and closed forms."""

import numpy as np
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor
from statsmodels.tools import add_constant

from kernel.errors import ProblemError
from kernel.factors.collinearity import collinearity
from tests.unit.kernel.factors.panels import panel


def test_inflation_is_that_of_statsmodels():
    F = panel(200, 1, 4)[1].F
    X = add_constant(F)
    expected = [variance_inflation_factor(X, i) for i in range(1, 5)]
    np.testing.assert_allclose(collinearity(F).variance_inflation, expected, rtol=1e-10)


def test_condition_number_is_that_of_the_correlations():
    F = panel(200, 1, 4)[1].F
    values = np.linalg.eigvalsh(np.corrcoef(F.T))
    assert collinearity(F).condition_number == pytest.approx(np.sqrt(values[-1] / values[0]), rel=1e-10)


def test_two_factors_in_closed_form():
    """Both figures by the correlation rho: 1 / (1 - rho^2) and sqrt((1 + rho) / (1 - rho))."""
    F = panel(100, 1, 2, seed=4)[1].F
    rho = abs(np.corrcoef(F.T)[0, 1])
    found = collinearity(F)
    np.testing.assert_allclose(found.variance_inflation, 1 / (1 - rho**2), rtol=1e-12)
    assert found.condition_number == pytest.approx(np.sqrt((1 + rho) / (1 - rho)), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e5])
def test_size_of_a_factor_does_not_matter(scale):
    F = panel(100, 1, 3)[1].F
    plain, other = collinearity(F), collinearity(F * [1.0, scale, 1.0])
    np.testing.assert_allclose(other.variance_inflation, plain.variance_inflation, rtol=1e-9)
    assert other.condition_number == pytest.approx(plain.condition_number, rel=1e-9)


def test_one_factor_repeats_no_other():
    found = collinearity(panel(10, 1, 1)[1].F)
    assert (found.condition_number, found.variance_inflation.tolist()) == (1.0, [1.0])


def test_dependent_factors_have_large_but_finite_figures():
    F = panel(100, 1, 3)[1].F
    F = np.column_stack([F, F[:, 0] - F[:, 1]])
    found = collinearity(F)
    assert np.isfinite(found.variance_inflation).all()
    assert found.condition_number >= 1e8
    assert (found.variance_inflation[[0, 1, 3]] > 1e12).all()


def test_more_factors_than_periods_are_dependent():
    found = collinearity(np.random.default_rng(0).normal(size=(4, 6)))
    assert np.isfinite(found.variance_inflation).all()
    assert found.condition_number >= 1e8


@pytest.mark.parametrize("level", [0.0, 0.003])
def test_a_factor_that_never_moves_depends_on_no_other(level):
    F = panel(50, 1, 3)[1].F.copy()
    rest = collinearity(F[:, :2])
    F[:, 2] = level
    found = collinearity(F)
    np.testing.assert_allclose(found.variance_inflation, [*rest.variance_inflation, 1.0], rtol=1e-12)
    assert found.condition_number == pytest.approx(rest.condition_number, rel=1e-12)
    assert collinearity(F[:, 2:]).condition_number == 1.0


def test_a_bad_return_is_refused():
    with pytest.raises(ProblemError):
        collinearity(np.array([[1.0, np.nan], [0.0, 1.0], [2.0, 2.0]]))
