"""Denoised covariances: the edge by its rule, and what cleaning leaves alone."""

import numpy as np
import pytest

from kernel.estimation.denoising import denoised
from kernel.estimation.marchenko_pastur import noise_edge


def returns(T, n, factors=3, seed=2):
    rng = np.random.default_rng(seed)
    B = rng.normal(0, 0.006, size=(factors, n))
    return rng.normal(size=(T, factors)) @ B + rng.normal(0, 0.01, size=(T, n)) * rng.uniform(0.5, 2, size=n)


def spectrum(R):
    values, V = np.linalg.eigh(np.corrcoef(R, rowvar=False))
    return np.clip(values[::-1], 0, None), V[:, ::-1]


def kept_by_search(values, T):
    """The rule said again, one eigenvalue at a time."""
    n = len(values)
    rest = [x for x in values if x <= (1 + np.sqrt(n / T)) ** 2]
    edge = np.mean(rest) * (1 + np.sqrt(len(rest) / T)) ** 2
    noise = [x for x in values if x <= edge]
    return n - len(noise), float(np.mean(noise))


def before_rescaling(estimate):
    """C1 from the answer: the diagonal of its low-rank form is v s_i^2 / C1_ii."""
    D = np.sqrt(estimate.noise.residual / estimate.low_rank.diagonal)
    return D[:, None] * estimate.Sigma * D


CASES = [(500, 40), (120, 100), (60, 150), (30, 30), (10, 80)]


@pytest.mark.parametrize(("T", "n"), CASES)
def test_edge_follows_its_rule(T, n):
    R = returns(T, n)
    values, _ = spectrum(R)
    noise = denoised(R).noise
    kept, mean = kept_by_search(values, T)
    assert noise.kept == kept
    assert noise.residual == pytest.approx(mean, rel=1e-10)
    assert (values[:kept] > noise.edge).all()
    assert values[kept] <= noise.edge


@pytest.mark.parametrize(("T", "n"), CASES)
def test_only_noise_is_replaced(T, n):
    R = returns(T, n)
    estimate = denoised(R)
    values, _ = spectrum(R)
    k = estimate.noise.kept
    cleaned = np.linalg.eigvalsh(before_rescaling(estimate))[::-1]
    np.testing.assert_allclose(cleaned[:k], values[:k], rtol=1e-9)
    np.testing.assert_allclose(cleaned[k:], values[k:].mean(), rtol=1e-9)
    assert cleaned.sum() == pytest.approx(n, rel=1e-12)


@pytest.mark.parametrize(("T", "n"), CASES)
def test_denoised_is_the_full_reconstruction(T, n):
    """All eigenvectors, the noise replaced, the diagonal put back to one."""
    R = returns(T, n)
    values, V = spectrum(R)
    k, mean = kept_by_search(values, T)
    C = (V * np.append(values[:k], np.full(n - k, mean))) @ V.T
    C /= np.sqrt(np.outer(C.diagonal(), C.diagonal()))
    s = R.std(axis=0, ddof=1)
    np.testing.assert_allclose(denoised(R, 1.0).Sigma, np.outer(s, s) * C, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize(("T", "n"), CASES)
def test_variances_are_the_sample_ones(T, n):
    R = returns(T, n)
    np.testing.assert_allclose(denoised(R, 252).Sigma.diagonal(), R.var(axis=0, ddof=1) * 252, rtol=1e-12)


@pytest.mark.parametrize(("T", "n"), [(1000, 100), (300, 600)])
def test_independent_assets_are_all_noise(T, n):
    R = np.random.default_rng(0).normal(0, 0.01, size=(T, n))
    estimate = denoised(R, 1.0)
    assert estimate.noise.kept == 0
    assert estimate.noise.residual == pytest.approx(1.0, rel=1e-12)
    assert estimate.noise.edge == pytest.approx((1 + np.sqrt(n / T)) ** 2, rel=1e-12)
    np.testing.assert_allclose(estimate.Sigma, np.diag(R.var(axis=0, ddof=1)), rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("T", "n"), [(1000, 60), (1000, 200), (200, 300)])
def test_strong_factors_are_found(T, n, seed):
    """Specific risks are equal, as the law supposes. Its edge is that of endless samples; noise may cross it."""
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(T, 3)) @ rng.choice([-1.0, 1.0], size=(3, n)) + rng.normal(size=(T, n))
    noise = denoised(R).noise
    values, _ = spectrum(R)
    assert noise.kept >= 3
    assert 0.9 * noise.edge < values[3] < 1.1 * noise.edge


def test_short_history_gets_an_inverse():
    R = returns(20, 60)
    assert np.linalg.eigvalsh(denoised(R).Sigma)[0] > 0


def test_riskless_assets_do_not_count():
    R = returns(100, 10)
    wide = np.insert(R, [0, 4, 10], 0.0002, axis=1)
    risky = np.flatnonzero(wide.var(axis=0) > 1e-12)
    estimate = denoised(wide)
    np.testing.assert_allclose(estimate.Sigma[np.ix_(risky, risky)], denoised(R).Sigma, rtol=1e-9)
    assert estimate.noise.kept == denoised(R).noise.kept
    assert not np.delete(estimate.Sigma, risky, axis=0).any()


def test_edge_by_hand():
    """Four assets, T = 36: only 3 is above (1 + 1/3)^2. The rest: mean 1/3, so edge (1 + 1/sqrt(12))^2 / 3 = 0.5535."""
    noise = noise_edge(np.array([3.0, 0.6, 0.4, 0.0]), assets=4, periods=36)
    assert noise.edge == pytest.approx((1 + np.sqrt(1 / 12)) ** 2 / 3)
    assert noise.kept == 2  # 0.6 as well
    assert noise.residual == pytest.approx(0.2)


def test_unequal_specific_risks_are_not_all_signals():
    """Each pass of a repeated fit would lower the edge and call more of the noise a signal."""
    rng = np.random.default_rng(4)
    R = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 60)) + rng.normal(size=(1000, 60))
    assert denoised(0.01 * R).noise.kept < 20
