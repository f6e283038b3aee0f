"""Hierarchical risk parity and equal risk contribution: closed forms, plain versions, published weights, ties."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.hierarchy.clustering import LINKAGES, join
from kernel.hierarchy.codependence import distances
from kernel.hierarchy.equal_risk import hierarchical_equal_risk
from kernel.hierarchy.portfolio import METHODS, HierarchyRequest, hierarchical_portfolio
from kernel.hierarchy.risk_parity import bisect
from kernel.hierarchy.universe import in_order
from kernel.measures.registry import MEASURES
from kernel.problem import Moments, Settings
from kernel.quadratic import Quadratic
from kernel.scenarios import Scenarios
from tests.golden.papers import SHARED
from tests.unit.kernel.hierarchy.trees import (
    agglomerate,
    bisection,
    equal_risk,
    names_of,
    of_covariance,
    returns,
    universe_of,
)

DATA = SHARED / "data" / "pypfopt_20stocks"
BISECTED, EQUAL, NESTED = (HierarchyRequest(method) for method in METHODS)
SETTINGS = Settings()


def weights(universe, request=BISECTED):
    return hierarchical_portfolio(universe, request, SETTINGS).weights


def drawn(universe, k=0, linkage="ward"):
    D = distances("pearson", universe)
    return join(universe.names, D, linkage), agglomerate(D, linkage)


class TestRiskParity:
    def test_without_correlation_weights_are_by_inverse_variance(self):
        variances = np.array([0.01, 0.04, 0.09, 0.0225, 0.16])
        expected = 1 / variances / (1 / variances).sum()
        np.testing.assert_allclose(weights(of_covariance(np.diag(variances))), expected, rtol=1e-13)

    @pytest.mark.parametrize("measure", ["volatility", "variance"])
    @pytest.mark.parametrize("rho", [-1.0, -0.3, 0.0, 0.8, 1.0])
    def test_two_assets_are_by_inverse_variance_whatever_their_correlation(self, measure, rho):
        Sigma = [[0.04, 0.06 * rho], [0.06 * rho, 0.09]]
        np.testing.assert_allclose(weights(of_covariance(Sigma, measure)), [9 / 13, 4 / 13], rtol=1e-13)

    def test_three_assets_by_hand(self):
        # A is bisected from the pair B, C: correlation 1/2 of B and C makes the variance of equal parts 0.03.
        Sigma = [[0.06, 0.0, 0.0], [0.0, 0.04, 0.02], [0.0, 0.02, 0.04]]
        np.testing.assert_allclose(bisect(of_covariance(Sigma), np.array([0, 1, 2])), [1 / 3, 1 / 3, 1 / 3], rtol=1e-13)

    @pytest.mark.parametrize("measure", MEASURES)
    @pytest.mark.parametrize("seed", [1, 2])
    def test_bisection_as_published_with_every_measure(self, measure, seed):
        universe = universe_of(returns(seed, n=9), measure)
        order = np.random.default_rng(seed).permutation(9)
        plain = replace(universe, risk_measure="variance") if measure == "volatility" else universe
        np.testing.assert_allclose(bisect(universe, order), bisection(plain, order), rtol=1e-10)

    def test_weights_of_a_peer_on_twenty_stocks(self):
        """Single linkage of the distances themselves, in the order in which the tree is first drawn."""
        if not DATA.exists():
            pytest.skip(f"the shared data {DATA.name} is not beside the project")
        names, Sigma, C = twenty_stocks()
        tree = join(names, np.sqrt((1.0 - C) / 2.0), "single")
        moments = Moments(names, np.zeros(20), Quadratic(Sigma))
        universe = replace(universe_of(returns(1, n=20)), moments=moments)
        found = dict(zip(names, bisect(universe, tree.leaves).tolist(), strict=True))
        assert found == pytest.approx(peer_weights(), rel=1e-9)

    def test_the_order_is_all_that_counts_of_the_tree(self):
        universe = universe_of(returns(3, n=8))
        found = hierarchical_portfolio(universe, BISECTED, SETTINGS)
        np.testing.assert_array_equal(found.weights, bisect(universe, found.tree.leaves))
        assert found.clusters is None


class TestEqualRisk:
    @pytest.mark.parametrize("measure", MEASURES)
    @pytest.mark.parametrize("k", [1, 2, 4, 9])
    def test_as_published_with_every_measure(self, measure, k):
        universe = universe_of(returns(4, n=9), measure)
        tree, joins = drawn(universe)
        found = hierarchical_equal_risk(universe, tree, k)
        np.testing.assert_allclose(found, equal_risk(universe, joins, k), rtol=1e-10)

    def test_one_cluster_is_by_inverse_risk(self):
        universe = universe_of(returns(5, n=6), "cvar")
        expected = 1 / universe.own_risks
        found = weights(universe, replace(EQUAL, clusters=1))
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)

    def test_two_clusters_of_one_asset_contribute_equally(self):
        Sigma = np.array([[0.04, 0.03], [0.03, 0.09]])
        w = weights(of_covariance(Sigma), replace(EQUAL, clusters=2))
        contributions = w * (Sigma @ w)
        assert contributions[0] == pytest.approx(contributions[1], rel=1e-12)

    def test_clusters_share_by_their_risks(self):
        universe = universe_of(returns(6, n=8), "mad")
        found = hierarchical_portfolio(universe, replace(EQUAL, clusters=2, linkage="ward"), SETTINGS)
        first = found.clusters == 0
        parts = [np.where(side, found.weights, 0.0) for side in (first, ~first)]
        held = [universe.measure.of(part / part.sum()) * part.sum() for part in parts]
        assert held[0] == pytest.approx(held[1], rel=1e-12)

    def test_the_number_of_clusters_is_found_and_numbered_as_drawn(self):
        rng = np.random.default_rng(1)
        common = rng.normal(0, 0.01, (300, 3))
        R = np.repeat(common, [3, 4, 3], axis=1) + rng.normal(0, 0.002, (300, 10))
        found = hierarchical_portfolio(universe_of(R), replace(EQUAL, of_columns=False, linkage="ward"), SETTINGS)
        assert sorted(np.bincount(found.clusters).tolist()) == [3, 3, 4]
        assert (np.diff(found.clusters[found.tree.leaves]) >= 0).all()


@pytest.mark.parametrize("request_", [BISECTED, EQUAL, replace(EQUAL, linkage="ward", of_columns=False, clusters=3)])
class TestProperties:
    @pytest.mark.parametrize("codependence", ["pearson", "spearman", "distance", "mutual_information"])
    def test_weights_are_a_portfolio(self, request_, codependence):
        for linkage in LINKAGES:
            asked = replace(request_, codependence=codependence, linkage=linkage)
            w = weights(universe_of(returns(7, n=11)), asked)
            assert w.sum() == pytest.approx(1.0, abs=1e-14)
            assert (w > 0.0).all()

    def test_the_unit_of_the_covariance_does_not_count(self, request_):
        R = returns(8, n=10)
        Sigma = np.cov(R, rowvar=False)
        one, other = (weights(universe_of(R, Sigma=scale * Sigma), request_) for scale in (1.0, 1e-4))
        np.testing.assert_allclose(one, other, rtol=1e-9)

    def test_the_order_of_the_input_does_not_count(self, request_):
        R, n = returns(9, n=10), 10
        Sigma, names = np.cov(R, rowvar=False), names_of(n)
        expected = weights(universe_of(R, Sigma=Sigma), request_)
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(n)
            found = weights(permuted(R, Sigma, names, order), request_)
            np.testing.assert_array_equal(found, expected)

    def test_noise_below_rounding_does_not_break_ties(self, request_):
        n = 7
        tied = np.full((n, n), 0.02) + np.diag(np.full(n, 0.03))
        expected = weights(of_covariance(tied), request_)
        for seed in range(5):
            noise = 1e-15 * np.random.default_rng(seed).normal(size=(n, n))
            found = weights(of_covariance(tied + noise + noise.T), request_)
            np.testing.assert_allclose(found, expected, rtol=1e-10)

    def test_tied_trees_do_not_depend_on_how_the_returns_were_summed(self, request_):
        """Sums over days in another order, or of columns in another place, differ by rounding alone."""
        R = np.repeat(returns(10, n=4), 2, axis=1)
        names = names_of(8)
        expected = hierarchical_portfolio(universe_of(R), request_, SETTINGS)
        for seed in range(5):
            rng = np.random.default_rng(seed)
            order = rng.permutation(8)
            shuffled = R[rng.permutation(len(R))][:, order]
            Sigma = 252.0 * np.cov(shuffled, rowvar=False)
            back = np.argsort(order)
            found = hierarchical_portfolio(
                permuted(shuffled[:, back], Sigma[np.ix_(back, back)], names, order), request_, SETTINGS
            )
            np.testing.assert_array_equal(found.tree.joins, expected.tree.joins)
            np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-10)

    def test_equal_assets_get_equal_weights(self, request_):
        Sigma = np.full((8, 8), 0.01) + np.diag(np.full(8, 0.03))
        asked = replace(request_, clusters=1) if request_.method != METHODS[0] else request_
        np.testing.assert_allclose(weights(of_covariance(Sigma), asked), np.full(8, 0.125), rtol=1e-12)

    def test_one_asset_is_all(self, request_):
        asked = replace(request_, clusters=min(request_.clusters, 1))
        assert weights(of_covariance([[0.04]]), asked).tolist() == [1.0]

    def test_perfect_hedges_take_all(self, request_):
        """Two opposite assets beside two others: their side has no risk."""
        R = returns(11, n=4)
        R[:, 1] = -R[:, 0]
        asked = replace(request_, codependence="distance", clusters=0 if request_.method == METHODS[0] else 2)
        w = weights(universe_of(R), replace(asked, of_columns=False, linkage="ward"))
        np.testing.assert_allclose(w, [0.5, 0.5, 0.0, 0.0], atol=1e-12)

    def test_an_asset_without_risk_is_named(self, request_):
        Sigma = np.diag([0.04, 0.0, 0.09])
        with pytest.raises(ProblemError, match="A01"):
            weights(of_covariance(Sigma), replace(request_, clusters=min(request_.clusters, 2)))


def test_two_hedged_sides_share_evenly():
    R = returns(12, n=4)
    R[:, 1], R[:, 3] = -R[:, 0], -R[:, 2]
    w = bisect(universe_of(R), np.arange(4))
    np.testing.assert_allclose(w, [0.25, 0.25, 0.25, 0.25], rtol=1e-10)


def test_an_asset_that_only_gains_is_named():
    R = returns(13, n=4)
    R[:, 2] = np.abs(R[:, 2]) + 0.001
    with pytest.raises(ProblemError, match=r"A02 has a cvar of -"):
        weights(universe_of(R, "cvar"))


def test_words_and_numbers_out_of_range_are_refused():
    universe = universe_of(returns(14, n=4))
    with pytest.raises(ProblemError, match="must be one of hierarchical_risk_parity"):
        weights(universe, HierarchyRequest("herc"))
    with pytest.raises(ProblemError, match="must be 1 to 4"):
        weights(universe, replace(EQUAL, clusters=5))


def test_a_universe_is_put_in_the_order_of_its_names():
    moments = Moments(("C", "A", "B"), np.zeros(3), np.eye(3))
    scenarios = Scenarios.history(("C", "A", "B"), np.eye(3))
    assert in_order(moments, scenarios, np.array([0, 1, 2])).tolist() == [1, 2, 0]
    assert in_order(moments, scenarios, np.array([2, 0])).tolist() == [2, 0]
    with pytest.raises(ProblemError, match="nothing to arrange"):
        in_order(moments, scenarios, np.array([], dtype=int))
    with pytest.raises(ProblemError, match="same assets"):
        in_order(moments, replace(scenarios, names=("A", "B", "C")), np.array([0]))
    twice = Moments(("A", "A"), np.zeros(2), np.eye(2))
    with pytest.raises(ProblemError, match="names A twice"):
        in_order(twice, Scenarios.history(("A", "A"), np.eye(2)), np.array([0, 1]))


def permuted(R, Sigma, names, order):
    """The same assets in another order, put back into the order of their names."""
    mixed = tuple(names[i] for i in order)
    base = universe_of(R[:, order], Sigma=Sigma[np.ix_(order, order)])
    moments = Moments(mixed, base.moments.mu, base.moments.covariance)
    scenarios = Scenarios.history(mixed, R[:, order])
    universe = replace(base, moments=moments, scenarios=scenarios)
    return universe.of(in_order(moments, scenarios, np.arange(len(names))))


def twenty_stocks():
    """Covariances and correlations of each two stocks over the days on which both have returns; gaps carry prices."""
    with gzip.open(DATA / "tests_stock_prices.csv.gz", "rt") as file:
        header, *rows = csv.reader(file)
    prices = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows])
    for day in range(1, len(prices)):
        prices[day] = np.where(np.isnan(prices[day]), prices[day - 1], prices[day])
    R, n = prices[1:] / prices[:-1] - 1.0, len(header) - 1
    Sigma, C = np.empty((n, n)), np.eye(n)
    for i in range(n):
        for j in range(n):
            both = R[np.isfinite(R[:, i]) & np.isfinite(R[:, j])][:, [i, j]]
            Sigma[i, j] = np.cov(both, rowvar=False)[0, 1]
            if i != j:
                C[i, j] = np.corrcoef(both, rowvar=False)[0, 1]
    return tuple(header[1:]), (Sigma + Sigma.T) / 2.0, (C + C.T) / 2.0


def peer_weights():
    with (DATA / "tests_weights_hrp.csv").open() as file:
        return {name: float(weight) for name, weight in list(csv.reader(file))[1:]}
