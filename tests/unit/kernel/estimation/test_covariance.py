"""Sample, exponentially weighted and shrunk covariances against the published formulas written out."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.estimation.covariance import exponentially_weighted, ledoit_wolf, oas, provided, sample

SHAPES = [(40, 6), (12, 30), (2, 3), (250, 1), (60, 60)]

TABLE = np.array(
    [
        [0.010, -0.004, 0.012, 0.003],
        [-0.020, 0.015, -0.006, 0.001],
        [0.007, 0.002, 0.030, -0.012],
        [0.015, -0.011, 0.004, 0.006],
        [-0.003, 0.008, -0.017, 0.020],
        [0.001, 0.000, 0.009, -0.005],
    ]
)


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


def test_ledoit_wolf_is_that_of_scikit_learn():
    """scikit-learn 1.9.1, ledoit_wolf(TABLE) and of its first three rows."""
    estimate = ledoit_wolf(TABLE, 1.0)
    assert estimate.shrinkage == pytest.approx(0.467096655270055, rel=1e-12)
    assert ledoit_wolf(TABLE[:3], 1.0).shrinkage == pytest.approx(0.34844267098135634, rel=1e-12)
    expected = [1.27762384e-04, -4.72211575e-05, 4.58888991e-05, -6.27641717e-06]
    np.testing.assert_allclose(estimate.Sigma[0], expected, rtol=1e-8)


def oas_by_traces(R):
    """Equation 23 of the paper, with matrix products for the traces."""
    T, n = R.shape
    S = np.cov(R, rowvar=False, ddof=0).reshape(n, n)
    square, trace = np.trace(S @ S), np.trace(S)
    rho = ((1 - 2 / n) * square + trace**2) / ((T + 1 - 2 / n) * (square - trace**2 / n))
    rho = min(rho, 1.0)
    return (1 - rho) * S + rho * trace / n * np.eye(n), rho


@pytest.mark.parametrize(("T", "n"), [(40, 6), (12, 30), (2, 3), (60, 60), (2000, 3)])
def test_oas_is_the_published_formula(T, n):
    R = returns(T, n)
    expected, rho = oas_by_traces(R)
    estimate = oas(R, 1.0)
    assert estimate.shrinkage == pytest.approx(rho, rel=1e-10)
    np.testing.assert_allclose(estimate.Sigma, expected, rtol=1e-10, atol=1e-18)
    assert np.linalg.eigvalsh(estimate.Sigma)[0] > 0


def test_oas_of_one_asset_is_its_variance():
    R = returns(30, 1)
    assert oas(R, 1.0).shrinkage == 0.0
    assert oas(R, 1.0).Sigma[0, 0] == pytest.approx(R.var(), rel=1e-12)


def exponentially_weighted_by_loops(R, half_life):
    T, n = R.shape
    raw = [0.5 ** ((T - 1 - t) / half_life) for t in range(T)]
    w = [x / sum(raw) for x in raw]
    mean = [sum(w[t] * R[t, i] for t in range(T)) for i in range(n)]
    divisor = 1 - sum(x * x for x in w)
    return np.array(
        [
            [sum(w[t] * (R[t, i] - mean[i]) * (R[t, j] - mean[j]) for t in range(T)) / divisor for j in range(n)]
            for i in range(n)
        ]
    )


@pytest.mark.parametrize(("T", "n"), [(40, 6), (12, 15), (3, 4)])
@pytest.mark.parametrize("half_life", [0.5, 5, 63.0])
def test_exponentially_weighted_is_its_sums(T, n, half_life):
    R = returns(T, n)
    estimate = exponentially_weighted(R, half_life, 1.0)
    np.testing.assert_allclose(estimate.Sigma, exponentially_weighted_by_loops(R, half_life), rtol=1e-10, atol=1e-17)
    assert estimate.root is not None
    np.testing.assert_allclose(estimate.root.T @ estimate.root, estimate.Sigma, rtol=1e-12, atol=1e-18)


def test_exponentially_weighted_is_that_of_pandas():
    """pandas 3.1.1, DataFrame(TABLE).ewm(halflife=2).cov(), last period."""
    expected = [
        [1.04915618e-04, -7.89989200e-05, 7.78704317e-05, -2.06809186e-05],
        [-7.89989200e-05, 6.92047607e-05, -6.06791845e-05, 2.65970721e-05],
        [7.78704317e-05, -6.06791845e-05, 2.62466178e-04, -1.82736114e-04],
        [-2.06809186e-05, 2.65970721e-05, -1.82736114e-04, 1.51766254e-04],
    ]
    np.testing.assert_allclose(exponentially_weighted(TABLE, 2, 1.0).Sigma, expected, rtol=1e-8)


def test_endless_half_life_is_the_sample():
    R = returns(50, 8)
    np.testing.assert_allclose(exponentially_weighted(R, 1e12).Sigma, sample(R).Sigma, rtol=1e-9, atol=1e-16)


def test_shortest_half_life_stays_finite():
    Sigma = exponentially_weighted(returns(3000, 3), 0.1).Sigma
    assert np.isfinite(Sigma).all()
    assert (Sigma.diagonal() > 0).all()


@pytest.mark.parametrize("half_life", [0.0, -1.0, 0.09, np.nan, np.inf])
def test_half_life_out_of_range_is_named(half_life):
    with pytest.raises(ProblemError) as error:
        exponentially_weighted(TABLE, half_life)
    assert error.value.field == "half_life"


def test_shrinkage_fades_with_more_history():
    shrinkages = [ledoit_wolf(returns(T, 20)).shrinkage for T in (30, 300, 3000)]
    assert shrinkages == sorted(shrinkages, reverse=True)


@pytest.mark.parametrize("estimator", [ledoit_wolf, oas])
@pytest.mark.parametrize("R", [np.full((5, 3), 0.01), np.full((5, 1), 0.01)])
def test_returns_without_any_risk_shrink_nothing(R, estimator):
    estimate = estimator(R)
    assert estimate.shrinkage == 0.0
    assert not estimate.Sigma.any()


def test_provided_covariance_reports_its_repair():
    good = np.array([[0.04, 0.01], [0.01, 0.09]])
    assert provided(good).repair_distance == 0.0
    slightly_wrong = np.array([[1.0, 1.0005], [1.0005, 1.0]])
    estimate = provided(slightly_wrong)
    assert estimate.repair_distance == pytest.approx(0.0005 / np.hypot(2.0005, 0.0005), rel=1e-9)
    assert estimate.shrinkage is None
    with pytest.raises(ProblemError, match="not positive semidefinite"):
        provided(slightly_wrong, max_distance=1e-6)
