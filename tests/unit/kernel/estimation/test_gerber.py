"""The Gerber statistic against a count of every pair and period."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.gerber import gerber


def returns(T, n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.standard_t(3, size=(T, 1)) * 0.005 + rng.standard_t(3, size=(T, n)) * 0.01


def gerber_by_counts(R, c):
    T, n = R.shape
    s = [np.std(R[:, i], ddof=1) for i in range(n)]
    g = np.eye(n)
    for i in range(n):
        for j in range(i):
            counts = {"same": 0, "opposite": 0, "neither": 0}
            for t in range(T):
                a = 1 if R[t, i] >= c * s[i] else -1 if R[t, i] <= -c * s[i] else 0
                b = 1 if R[t, j] >= c * s[j] else -1 if R[t, j] <= -c * s[j] else 0
                counts["same"] += a * b > 0
                counts["opposite"] += a * b < 0
                counts["neither"] += a == 0 and b == 0
            moved = T - counts["neither"]
            g[i, j] = g[j, i] = (counts["same"] - counts["opposite"]) / moved if moved else 0.0
    return g * np.outer(s, s)


@pytest.mark.parametrize(("T", "n"), [(60, 6), (8, 15), (2, 3), (3, 1)])
@pytest.mark.parametrize("c", [0.01, 0.5, 1.0])
def test_every_pair_is_counted(T, n, c):
    R = returns(T, n)
    np.testing.assert_allclose(gerber(R, c, 1.0).Sigma, gerber_by_counts(R, c), rtol=1e-12, atol=1e-18)


def test_two_assets_by_hand():
    """Deviations 2 and 2 (percent), c = 0.5. Both up, both down, opposite, one alone, neither: (2 - 1) / (5 - 1)."""
    a = np.array([0.02, -0.03, 0.02, 0.015, -0.005])
    b = np.array([0.03, -0.02, -0.015, 0.000, 0.001])
    Sigma = gerber(np.column_stack([a, b]), 0.5, 1.0).Sigma
    assert Sigma[0, 1] == pytest.approx(np.std(a, ddof=1) * np.std(b, ddof=1) / 4, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_statistic_is_semidefinite_as_it_is(seed):
    rng = np.random.default_rng(seed)
    T, n, c = int(rng.integers(2, 40)), int(rng.integers(2, 60)), float(rng.uniform(0.05, 1.0))
    estimate = gerber(returns(T, n, seed), c)
    assert estimate.repair_distance <= 1e-14
    assert np.linalg.eigvalsh(estimate.Sigma)[0] >= -1e-12 * estimate.Sigma.max()


def test_one_extreme_day_changes_little():
    R = returns(250, 2)
    R[100] = [0.02, 0.02]
    calm = gerber(R).Sigma
    R[100] *= 20
    wild = gerber(R).Sigma

    def correlation(S):
        return S[0, 1] / np.sqrt(S[0, 0] * S[1, 1])

    sample_change = np.corrcoef(R.T)[0, 1] - np.corrcoef(np.delete(R, 100, axis=0).T)[0, 1]
    assert abs(correlation(wild) - correlation(calm)) < 0.5 * sample_change


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, np.nan])
def test_threshold_out_of_range_is_named(threshold):
    with pytest.raises(ProblemError) as error:
        gerber(returns(10, 2), threshold)
    assert error.value.field == "threshold"
