"""The nearest positive semidefinite matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.estimation.psd import repair


def from_eigenvalues(eigenvalues, seed=3):
    rng = np.random.default_rng(seed)
    V, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))
    S = (V * np.array(eigenvalues)) @ V.T
    return 0.5 * (S + S.T)


@pytest.mark.parametrize("eigenvalues", [[1, 2, 3], [0, 0, 1, 5], [1e-14, 1.0], [4.0]])
def test_semidefinite_matrix_is_left_alone(eigenvalues):
    S = from_eigenvalues(eigenvalues)
    result = repair(S)
    assert result.distance == 0.0
    np.testing.assert_array_equal(result.Sigma, S)
    assert not result.Sigma.flags.writeable
    assert S.flags.writeable


def test_distance_is_the_norm_of_the_negative_eigenvalues():
    eigenvalues = [-3e-4, -4e-4, 1.0, 2.0, 2.0]
    result = repair(from_eigenvalues(eigenvalues))
    assert result.distance == pytest.approx(5e-4 / np.linalg.norm(eigenvalues), rel=1e-9)
    np.testing.assert_allclose(np.linalg.eigvalsh(result.Sigma), [0, 0, 1, 2, 2], atol=1e-14)


def test_two_assets_in_closed_form():
    """Correlation 1 + e: eigenvalues 2 + e and -e on (1,1) and (1,-1), so every element becomes 1 + e/2."""
    e = 1e-4
    result = repair(np.array([[1.0, 1 + e], [1 + e, 1.0]]))
    np.testing.assert_allclose(result.Sigma, np.full((2, 2), 1 + e / 2), rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_repair_is_symmetric_idempotent_and_nearer_than_any_other(n, seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    S = A + A.T
    np.fill_diagonal(S, np.abs(S.diagonal()))
    result = repair(S, max_distance=2.0)
    np.testing.assert_array_equal(result.Sigma, result.Sigma.T)
    assert np.linalg.eigvalsh(result.Sigma)[0] >= -1e-9 * np.abs(S).max()
    assert (result.Sigma.diagonal() >= S.diagonal() - 1e-12).all()
    assert repair(result.Sigma).distance == 0.0
    nearest = np.linalg.norm(S - result.Sigma)
    assert result.distance * np.linalg.norm(S) == pytest.approx(nearest, abs=1e-9 * np.linalg.norm(S))
    B = rng.normal(size=(n, n))
    for step in (0.01, 0.1, 1.0):  # no other PSD matrix is nearer
        between = (1 - step) * result.Sigma + step * B @ B.T
        assert nearest <= np.linalg.norm(S - between) + 1e-9


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_scaling_changes_nothing_but_the_scale(scale):
    S = from_eigenvalues([-1e-4, 1.0, 2.0])
    scaled, plain = repair(S * scale), repair(S)
    assert scaled.distance == pytest.approx(plain.distance, rel=1e-6)
    np.testing.assert_allclose(scaled.Sigma, plain.Sigma * scale, rtol=1e-9, atol=1e-12 * scale)


def test_riskless_asset_stays_riskless():
    S = np.zeros((4, 4))
    S[np.ix_([0, 2, 3], [0, 2, 3])] = from_eigenvalues([-1e-4, 1.0, 2.0])
    result = repair(S)
    assert result.distance > 0
    assert not result.Sigma[1].any()
    assert not result.Sigma[:, 1].any()


def test_nothing_risky_at_all():
    result = repair(np.zeros((3, 3)))
    assert result.distance == 0.0
    assert not result.Sigma.any()


def test_zero_variance_with_covariance_is_not_semidefinite():
    with pytest.raises(ProblemError, match="smallest eigenvalue"):
        repair(np.array([[0.0, 0.01], [0.01, 0.04]]))


def test_too_far_says_how_far():
    with pytest.raises(ProblemError) as error:
        repair(np.array([[0.04, 0.08], [0.08, 0.04]]), field="risk.covariance", max_distance=0.01)
    assert error.value.field == "risk.covariance"
    assert error.value.reason == (
        "is not positive semidefinite: its smallest eigenvalue is -0.04, and the nearest positive semidefinite matrix "
        "is 0.316 away (relative Frobenius distance); the limit is 0.01"
    )


def test_rounding_asymmetry_is_evened_out():
    S = np.array([[0.04, 0.01 + 1e-15], [0.01, 0.09]])
    result = repair(S)
    np.testing.assert_array_equal(result.Sigma, result.Sigma.T)
    assert result.distance == 0.0


@pytest.mark.parametrize(
    ("S", "field"),
    [
        ([[1.0, 0.2], [0.1, 1.0]], "covariance[0][1]"),
        ([[1.0, 0.0], [0.0, -1.0]], "covariance[1][1]"),
        ([[1.0, np.nan], [np.nan, 1.0]], "covariance[0][1]"),
        ([[1.0, 0.0], [0.0, np.inf]], "covariance[1][1]"),
        ([[1.0, 0.0], [0.0, 1e300]], "covariance[1][1]"),
        ([[1.0, 0.0]], "covariance"),
        ([1.0, 0.0], "covariance"),
        (np.zeros((0, 0)), "covariance"),
    ],
)
def test_bad_element_is_named(S, field):
    with pytest.raises(ProblemError) as error:
        repair(np.array(S))
    assert error.value.field == field
