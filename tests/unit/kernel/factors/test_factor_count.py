"""The number of factors on panels whose number is known, against criteria written down anew."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.model import RiskSettings
from kernel.factors.statistical import StatisticalSettings, statistical_model


def simulated(seed, periods, assets, factors):
    """The panel of Bai & Ng (2002), section 6: standard normal loadings, factors and errors of the same variance."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((periods, factors)) @ rng.standard_normal((factors, assets))
    return 0.01 * (common + np.sqrt(factors) * rng.standard_normal((periods, assets)))


def count(R, rule, most=8, share=0.5):
    settings = StatisticalSettings(rule, most, share)
    return len(statistical_model([str(i) for i in range(R.shape[1])], R, settings, RiskSettings()).model.factors)


def bai_ng(R, most):
    """IC_p2 with V(k) as the mean squared residual of regressions on k components, Bai & Ng (2002), page 201."""
    X = R - R.mean(axis=0)
    T, n = X.shape
    _, vectors = np.linalg.eigh(X @ X.T)
    criteria = []
    for k in range(most + 1):
        F = np.sqrt(T) * vectors[:, T - k :]
        V = np.mean((X - F @ (F.T @ X) / T) ** 2)
        criteria.append(np.log(V) + k * (n + T) / (n * T) * np.log(min(n, T)))
    return int(np.argmin(criteria))


def eigenvalue_ratio(R, most):
    X = R - R.mean(axis=0)
    T, n = X.shape
    values = np.linalg.eigvalsh(X @ X.T / (n * T))[::-1]
    above = int(np.sum(values >= values.sum() / min(n, T)))
    ratios = [values[k] / values[k + 1] for k in range(min(most, above))]
    return 1 + int(np.argmax(ratios))


@pytest.mark.parametrize(("periods", "assets"), [(100, 60), (60, 100), (250, 100), (100, 250)])
@pytest.mark.parametrize("factors", [1, 3, 5])
@pytest.mark.parametrize("rule", ["bai_ng", "eigenvalue_ratio"])
def test_a_known_number_is_found(periods, assets, factors, rule):
    assert count(simulated(factors, periods, assets, factors), rule) == factors


@pytest.mark.parametrize("seed", range(6))
def test_rules_follow_their_papers_where_factors_are_weak(seed):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((90, 4)) * [1.0, 0.5, 0.3, 0.2]
    R = 0.01 * (common @ rng.standard_normal((4, 50)) + 1.5 * rng.standard_normal((90, 50)))
    assert count(R, "bai_ng") == bai_ng(R, 8)
    assert count(R, "eigenvalue_ratio") == eigenvalue_ratio(R, 8)


def test_eigenvalues_of_correlations_above_the_noise_are_counted():
    R = simulated(3, 500, 100, 3)
    assert count(R, "marchenko_pastur") == 3
    # Correlations do not know of scales.
    assert count(R * np.geomspace(0.01, 100.0, 100), "marchenko_pastur") == 3


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7])
def test_the_fewest_with_the_share_are_taken(share):
    R = simulated(7, 200, 30, 3)
    values = np.linalg.eigvalsh(np.cov(R.T))[::-1]
    expected = int(np.searchsorted(np.cumsum(values) / values.sum(), share)) + 1
    assert count(R, "explained_share", 29, share) == expected


def test_the_largest_number_bounds_the_rules():
    R = simulated(3, 250, 100, 5)
    assert count(R, "bai_ng", most=2) == 2
    assert count(R, "marchenko_pastur", most=4) == 4
    assert count(R, "eigenvalue_ratio", most=1) == 1


def test_two_assets_have_at_most_one_factor():
    R = 0.02 * np.random.default_rng(2).standard_normal((100, 1)) + 0.01 * np.random.default_rng(1).standard_normal(
        (100, 2)
    )
    assert count(R, "eigenvalue_ratio", most=20) == count(R, "explained_share", most=20) == 1


@pytest.mark.parametrize("rule", ["bai_ng", "marchenko_pastur"])
def test_noise_has_no_factor(rule):
    R = 0.01 * np.random.default_rng(9).standard_normal((400, 200))
    with pytest.raises(ProblemError, match="finds no factor") as refusal:
        count(R, rule)
    assert refusal.value.field == "statistical.count_rule"


@pytest.mark.parametrize("share", [0.0, 1.0, np.nan, -0.5])
def test_a_share_outside_of_its_range_is_refused(share):
    with pytest.raises(ProblemError) as refusal:
        count(simulated(1, 50, 20, 2), "explained_share", share=share)
    assert refusal.value.field == "statistical.explained_share"


def test_a_share_that_needs_more_factors_than_allowed_is_refused():
    with pytest.raises(ProblemError, match="the largest number allowed, 2, explains 0") as refusal:
        count(simulated(1, 200, 30, 3), "explained_share", most=2, share=0.9)
    assert refusal.value.field == "statistical.explained_share"
