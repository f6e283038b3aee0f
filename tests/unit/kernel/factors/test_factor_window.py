"""Windows of factor returns: what they are factorised into, and what is refused."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.window import FactorHistory, factor_design

NAMES = ("market", "size", "value")


def random_window(seed=0, periods=120, names=NAMES):
    rng = np.random.default_rng(seed)
    return FactorHistory(names, 0.01 * rng.standard_normal((periods, len(names))) + 0.0003)


def test_basis_spans_the_centred_factors():
    window = random_window()
    design = factor_design(window)
    centred = window.F - window.F.mean(axis=0)
    np.testing.assert_allclose(design.means, window.F.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(design.Q.T @ design.Q, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(centred @ design.R_inverse, design.Q, atol=1e-14)
    np.testing.assert_array_equal(design.weights, np.ones(120))


def test_weighted_basis_is_orthonormal_under_the_weights():
    window = random_window()
    weights = np.random.default_rng(2).dirichlet(np.ones(120))
    design = factor_design(window, weights)
    np.testing.assert_allclose(design.means, np.average(window.F, axis=0, weights=weights), rtol=1e-10)
    np.testing.assert_allclose(design.weights, 120 * weights, rtol=1e-12)
    np.testing.assert_allclose(design.Q.T @ (design.weights[:, None] * design.Q), np.eye(3), atol=1e-13)
    np.testing.assert_allclose((window.F - design.means) @ design.R_inverse, design.Q, atol=1e-12)


def test_a_collinear_factor_is_named_with_those_it_repeats():
    window = random_window()
    F = np.column_stack([window.F, window.F[:, 0] - 2 * window.F[:, 2]])
    with pytest.raises(ProblemError) as raised:
        factor_design(FactorHistory((*NAMES, "twin"), F))
    named = {raised.value.field.removeprefix("factors[").removesuffix("]")}
    named |= set(raised.value.reason.removeprefix("is a linear combination of ").split(" over ")[0].split(", "))
    assert named == {"market", "value", "twin"}


@pytest.mark.parametrize("level", [0.0, 0.0003])
def test_a_constant_factor_is_named(level):
    F = random_window().F.copy()
    F[:, 1] = level
    with pytest.raises(ProblemError, match=r"factors\[size\]: is constant"):
        factor_design(FactorHistory(NAMES, F))


def test_a_window_needs_a_degree_of_freedom():
    assert factor_design(random_window(periods=5)).Q.shape == (5, 3)
    with pytest.raises(ProblemError, match="at least 5 periods, got 4"):
        factor_design(random_window(periods=4))


@pytest.mark.parametrize(
    ("names", "F", "field"),
    [
        (("a",), np.ones((9, 2)), "factors"),
        ((), np.ones((9, 0)), "factors"),
        (("a", "a"), np.ones((9, 2)), "factors[a]"),
        (("a", "b"), np.array([[1.0, np.nan]] * 9), "factors[b]"),
    ],
)
def test_malformed_factors_are_refused(names, F, field):
    with pytest.raises(ProblemError) as raised:
        FactorHistory(names, F)
    assert raised.value.field == field
