"""How alike assets are, against SciPy and the definitions; probabilities as repeated scenarios."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from kernel.errors import ProblemError
from kernel.hierarchy.codependence import distances, distances_of_columns, number_of_bins
from tests.unit.kernel.hierarchy.trees import of_covariance, returns, universe_of

WORDS = ("pearson", "spearman", "distance", "mutual_information")


def distance_correlation(x, y):
    """Szekely, Rizzo & Bakirov (2007), definitions 4 and 5."""

    def centred(v):
        a = np.abs(v[:, None] - v)
        return a - a.mean(axis=0) - a.mean(axis=1)[:, None] + a.mean()

    A, B = centred(x), centred(y)
    return np.sqrt((A * B).mean() / np.sqrt((A * A).mean() * (B * B).mean()))


def variation(x, y, bins):
    """Lopez de Prado (2020), snippet 3.3, normalised."""
    joint = np.histogram2d(x, y, bins)[0] / len(x)

    def entropy(p):
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    h, hx, hy = entropy(joint.ravel()), entropy(joint.sum(axis=1)), entropy(joint.sum(axis=0))
    information = hx + hy - h
    return (hx + hy - 2 * information) / (hx + hy - information)


def bins_together(N, rho):
    return round(2**-0.5 * np.sqrt(1 + np.sqrt(1 + 24 * N / (1 - rho**2))))


def counted(seed):
    """A market whose scenarios have counts, and the same with every scenario repeated as often."""
    R = np.round(returns(seed, T=25, n=5), 3)
    counts = np.random.default_rng(seed).integers(0, 4, 25)
    counts[0] = 3
    return universe_of(R, p=counts / counts.sum()), np.repeat(R, counts, axis=0)


def test_pearson_is_of_the_covariance():
    R = returns(1)
    np.testing.assert_allclose(
        distances("pearson", universe_of(R)), np.sqrt((1 - np.corrcoef(R.T)) / 2 + 1e-300), atol=1e-7
    )
    expected = [[0, np.sqrt(0.25)], [np.sqrt(0.25), 0]]
    np.testing.assert_allclose(distances("pearson", of_covariance([[0.04, 0.03], [0.03, 0.09]])), expected, rtol=1e-12)


@pytest.mark.parametrize("digits", [3, 12])
def test_ranks_as_scipy_ranks_them(digits):
    R = np.round(returns(2, T=80), digits)
    expected = np.sqrt(np.clip(1 - spearmanr(R).statistic, 0, 2) / 2)
    found = distances("spearman", universe_of(R))
    np.testing.assert_allclose(found, expected * (1 - np.eye(len(found))), atol=1e-10)


@pytest.mark.parametrize("T", [30, 700])
def test_distance_correlation_by_its_definition(T):
    R = returns(3, T=T, n=4)
    found = distances("distance", universe_of(R))
    for i in range(4):
        for j in range(i):
            assert found[i, j] == pytest.approx(np.sqrt(1 - distance_correlation(R[:, i], R[:, j])), rel=1e-9)
    assert not np.diag(found).any()
    assert np.array_equal(found, found.T)


def test_variation_of_information_by_its_definition():
    R = returns(4, T=400, n=6)
    found = distances("mutual_information", universe_of(R))
    C = np.corrcoef(R.T)
    for i in range(6):
        for j in range(i):
            expected = variation(R[:, i], R[:, j], bins_together(400, C[i, j]))
            assert found[i, j] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("word", ["spearman", "distance"])
def test_a_probability_is_a_scenario_repeated(word, seed):
    weighted, repeated = counted(seed)
    np.testing.assert_allclose(distances(word, weighted), distances(word, universe_of(repeated)), atol=1e-9)


def test_bins_are_those_of_the_formula_and_never_more_than_of_one_series():
    assert number_of_bins(1258.0, np.array([0.0, 0.5, 0.9])).tolist() == [9, 10, 14]
    # z^3 = 8 + 324 N + 12 sqrt(36 N + 729 N^2) is 815,198 for N = 1258; z / 6 + 2 / (3 z) + 1 / 3 = 15.9.
    assert number_of_bins(1258.0, np.array([0.999, 1.0, -1.0])).tolist() == [16, 16, 16]
    assert number_of_bins(1.0, np.array([0.0])).tolist() == [2]


@pytest.mark.parametrize("word", WORDS)
def test_the_same_asset_twice_has_no_distance(word):
    R = returns(5, T=300, n=4)
    R[:, 2] = 1.7 * R[:, 0]
    D = distances(word, universe_of(R))
    assert D[0, 2] == 0.0
    assert (D[np.triu_indices(4, 1)] >= 0.0).all()
    assert (D <= 1.0).all()
    assert D[0, 1] > 0.0


@pytest.mark.parametrize(("word", "opposite"), [("pearson", 1.0), ("spearman", 1.0), ("distance", 0.0)])
def test_opposites_are_as_far_as_can_be_but_for_distance_correlation_the_same(word, opposite):
    R = returns(6, T=50, n=2)
    R[:, 1] = -2.0 * R[:, 0]
    assert distances(word, universe_of(R))[0, 1] == pytest.approx(opposite, abs=1e-6)


@pytest.mark.parametrize("word", WORDS)
def test_what_never_moves_is_named(word):
    R = returns(7, n=4)
    R[:, 3] = 0.001
    Sigma = 252.0 * np.cov(R, rowvar=False)
    Sigma[3], Sigma[:, 3] = 0.0, 0.0
    with pytest.raises(ProblemError, match="A03 never moves"):
        distances(word, universe_of(R, Sigma=Sigma))


def test_an_unknown_word_and_too_much_work_are_refused():
    with pytest.raises(ProblemError, match="must be one of pearson, spearman"):
        distances("kendall", universe_of(returns(1)))
    with pytest.raises(ProblemError, match="compares all pairs of scenarios"):
        distances("distance", universe_of(np.random.default_rng(1).normal(0, 0.01, (200_001, 4))))


def test_distances_of_columns_are_euclidean_near_ones_included():
    rng = np.random.default_rng(8)
    D = squareform(pdist(rng.normal(size=(40, 3))))
    D[:, 1] = D[:, 0] + 1e-7 * rng.normal(size=40)
    D[1] = D[:, 1]
    found, expected = distances_of_columns(D), squareform(pdist(D))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    assert np.array_equal(found, found.T)
