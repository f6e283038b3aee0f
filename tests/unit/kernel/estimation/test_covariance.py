"""Sample and shrunk covariances against the published formulas written out."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.covariance import ledoit_wolf, provided, sample

SHAPES = [(40, 6), (12, 30), (2, 3), (250, 1), (60, 60)]


def returns(T, n, seed=7):
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0003, 0.01, size=(T, 1))
    return market * rng.uniform(0.5, 1.5, size=n) + rng.normal(0, 0.015, size=(T, n))


def ledoit_wolf_by_loops(R):
    """The paper's section 3.2, element by element: S, m, d^2, b-bar^2, b^2 with the norm ||A||^2 = tr(AA')/n."""
    T, n = R.shape
    X = [[R[t][i] - sum(R[u][i] for u in range(T)) / T for i in range(n)] for t in range(T)]
    S = [[sum(X[t][i] * X[t][j] for t in range(T)) / T for j in range(n)] for i in range(n)]
    m = sum(S[i][i] for i in range(n)) / n
    d2 = sum((S[i][j] - (m if i == j else 0.0)) ** 2 for i in range(n) for j in range(n)) / n
    b_bar2 = (
        sum(sum((X[t][i] * X[t][j] - S[i][j]) ** 2 for i in range(n) for j in range(n)) / n for t in range(T)) / T**2
    )
    b2 = min(b_bar2, d2)
    rho = b2 / d2
    shrunk = [[(1 - rho) * S[i][j] + (rho * m if i == j else 0.0) for j in range(n)] for i in range(n)]
    return np.array(shrunk), rho


@pytest.mark.parametrize(("T", "n"), SHAPES)
def test_sample_is_the_unbiased_covariance(T, n):
    R = returns(T, n)
    expected = np.cov(R, rowvar=False, ddof=1).reshape(n, n) * 252
    np.testing.assert_allclose(sample(R, 252).Sigma, expected, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(("T", "n"), SHAPES)
def test_root_is_a_factor_of_the_sample_covariance(T, n):
    estimate = sample(returns(T, n), 12)
    assert estimate.root is not None
    assert estimate.root.shape == (T, n)
    np.testing.assert_allclose(estimate.root.T @ estimate.root, estimate.Sigma, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(("T", "n"), [(40, 6), (12, 15), (3, 4)])
def test_ledoit_wolf_is_the_published_formula(T, n):
    R = returns(T, n)
    expected, rho = ledoit_wolf_by_loops(R)
    estimate = ledoit_wolf(R, 1.0)
    assert estimate.shrinkage == pytest.approx(rho, rel=1e-10)
    np.testing.assert_allclose(estimate.Sigma, expected, rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize(("T", "n"), SHAPES)
def test_ledoit_wolf_keeps_total_variance_and_is_definite(T, n):
    R = returns(T, n)
    estimate = ledoit_wolf(R, 252)
    assert estimate.shrinkage is not None
    assert 0 <= estimate.shrinkage <= 1
    np.testing.assert_allclose(estimate.Sigma.trace(), sample(R).Sigma.trace() * (T - 1) / T, rtol=1e-12)
    if T > 2:  # two periods deviate from their mean alike, so that the estimated error is zero
        assert np.linalg.eigvalsh(estimate.Sigma)[0] > 0


def test_shrinkage_fades_with_more_history():
    shrinkages = [ledoit_wolf(returns(T, 20)).shrinkage for T in (30, 300, 3000)]
    assert shrinkages == sorted(shrinkages, reverse=True)


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf])
def test_results_are_symmetric_scaled_by_the_year_and_closed(estimator):
    R = returns(50, 8)
    estimate = estimator(R, 252)
    np.testing.assert_array_equal(estimate.Sigma, estimate.Sigma.T)
    np.testing.assert_allclose(estimate.Sigma, estimator(R, 1.0).Sigma * 252, rtol=1e-12)
    assert estimate.repair_distance == 0.0
    assert not estimate.Sigma.flags.writeable


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf])
def test_order_of_assets_does_not_matter(estimator):
    R, order = returns(50, 8), np.array([3, 1, 7, 0, 2, 6, 5, 4])
    np.testing.assert_allclose(
        estimator(R[:, order]).Sigma, estimator(R).Sigma[np.ix_(order, order)], rtol=1e-11, atol=1e-16
    )


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf])
def test_input_is_left_alone(estimator):
    R = returns(20, 3)
    before = R.copy()
    estimator(R)
    np.testing.assert_array_equal(R, before)
    assert R.flags.writeable


def test_constant_asset_has_no_risk_in_the_sample():
    R = returns(30, 3)
    R[:, 1] = 0.0001
    Sigma = sample(R).Sigma
    assert not Sigma[1].any()
    assert not Sigma[:, 1].any()


@pytest.mark.parametrize("R", [np.full((5, 3), 0.01), np.full((5, 1), 0.01)])
def test_returns_without_any_risk_shrink_nothing(R):
    estimate = ledoit_wolf(R)
    assert estimate.shrinkage == 0.0
    assert not estimate.Sigma.any()


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf])
def test_one_period_is_too_few(estimator):
    with pytest.raises(ProblemError, match="at least 2 periods"):
        estimator(np.zeros((1, 3)))


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf])
def test_year_must_have_periods(estimator):
    with pytest.raises(ProblemError, match="periods_per_year"):
        estimator(np.zeros((3, 3)), 0.0)


def test_provided_covariance_reports_its_repair():
    good = np.array([[0.04, 0.01], [0.01, 0.09]])
    assert provided(good).repair_distance == 0.0
    slightly_wrong = np.array([[1.0, 1.0005], [1.0005, 1.0]])
    estimate = provided(slightly_wrong)
    assert estimate.repair_distance == pytest.approx(0.0005 / np.hypot(2.0005, 0.0005), rel=1e-9)
    assert estimate.shrinkage is None
    with pytest.raises(ProblemError, match="not positive semidefinite"):
        provided(slightly_wrong, max_distance=1e-6)
