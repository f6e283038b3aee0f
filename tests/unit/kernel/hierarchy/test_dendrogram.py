"""Trees: a small one by hand, every linkage by its definition, leaf orders against all that a tree allows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from kernel.errors import ProblemError
from kernel.hierarchy.clustering import LINKAGES, join
from kernel.hierarchy.gap_statistic import dispersions, number_of_clusters
from kernel.hierarchy.leaf_order import in_optimal_order
from tests.unit.kernel.hierarchy.trees import agglomerate, length, names_of, orders

# A and C are nearest, then B and D, and the pairs meet at the distance of C and D.
BY_HAND = np.array([[0.0, 0.6, 0.1, 0.7], [0.6, 0.0, 0.8, 0.2], [0.1, 0.8, 0.0, 0.5], [0.7, 0.2, 0.5, 0.0]])


def cloud(seed, n, dimensions=2):
    return squareform(pdist(np.random.default_rng(seed).normal(size=(n, dimensions))))


def blobs(seed, *sizes):
    """Distances between points in groups that lie equally far apart."""
    rng = np.random.default_rng(seed)
    centres = 10.0 * np.eye(len(sizes))
    points = [rng.normal(centre, 0.3, (size, len(sizes))) for centre, size in zip(centres, sizes, strict=True)]
    return squareform(pdist(np.concatenate(points)))


def below(tree):
    """The leaves below each cluster, by its joins."""
    sets = [frozenset({i}) for i in range(tree.n)]
    for left, right in tree.joins.tolist():
        sets.append(sets[left] | sets[right])
    return sets


def test_a_tree_by_hand():
    tree = in_optimal_order(join(names_of(4), BY_HAND, "single"), BY_HAND)
    np.testing.assert_allclose(tree.heights, [0.1, 0.2, 0.5])
    assert [set(pair) for pair in tree.joins.tolist()] == [{0, 2}, {1, 3}, {4, 5}]
    # 0.1 + 0.5 + 0.2 is the least way through all four that keeps the pairs together.
    assert tree.leaves.tolist() == [0, 2, 3, 1]
    assert tree.sizes.tolist() == [1, 1, 1, 1, 2, 2, 4]
    assert tree.labels(1).tolist() == [0, 0, 0, 0]
    assert tree.labels(2).tolist() == [0, 1, 0, 1]
    assert tree.labels(3).tolist() == [0, 2, 0, 1]
    assert tree.labels(4).tolist() == [0, 3, 1, 2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("linkage", LINKAGES)
def test_linkages_by_their_definitions(linkage, seed):
    D = cloud(seed, 9)
    tree = join(names_of(9), D, linkage)
    sets, expected = below(tree), agglomerate(D, linkage)
    np.testing.assert_allclose(tree.heights, [height for _, _, height in expected], rtol=1e-10)
    assert [sets[9 + k] for k in range(8)] == [a | b for a, b, _ in expected]


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("linkage", LINKAGES)
def test_no_order_that_the_tree_allows_is_shorter(linkage, seed):
    n = 2 + seed % 8
    D = cloud(seed, n, dimensions=4)
    tree = in_optimal_order(join(names_of(n), D, linkage), D)
    allowed = orders(tree)
    assert tree.leaves.tolist() in allowed
    assert length(tree.leaves, D) == pytest.approx(min(length(order, D) for order in allowed), rel=1e-12)
    assert tree.leaves[0] < tree.leaves[-1]


@pytest.mark.parametrize("linkage", LINKAGES)
def test_large_trees_stay_the_same_tree_and_no_turn_makes_them_shorter(linkage):
    n = 150
    D = cloud(11, n, dimensions=5)
    plain = join(names_of(n), D, linkage)
    tree = in_optimal_order(plain, D)
    good = hierarchy.leaves_list(hierarchy.linkage(squareform(D), linkage, optimal_ordering=True))
    assert length(tree.leaves, D) <= length(good, D) + 1e-9
    for k in range(n - 1):
        for turned in (range(k, k + 1), range(k + 1)):
            joins = tree.joins.copy()
            joins[turned] = joins[turned, ::-1]
            assert length(replace(tree, joins=joins).leaves, D) >= length(tree.leaves, D) - 1e-9
    assert below(tree) == below(plain)
    for cluster, members in enumerate(below(tree)):
        first, last = tree.run(cluster)
        assert frozenset(tree.leaves[first:last].tolist()) == members
    assert (np.diff(tree.heights) >= 0.0).all()


def test_cuts_undo_the_last_joins():
    D = cloud(3, 12)
    tree = in_optimal_order(join(names_of(12), D, "average"), D)
    for k in range(1, 13):
        labels = tree.labels(k)
        expected = hierarchy.cut_tree(hierarchy.linkage(squareform(D), "average"), n_clusters=k).ravel()
        assert len(set(zip(labels.tolist(), expected.tolist(), strict=True))) == k == len(set(labels.tolist()))
        # Numbers rise along the drawn order.
        assert (np.diff(labels[tree.leaves]) >= 0).all()
    for k in (0, 13):
        with pytest.raises(ProblemError, match="must be 1 to 12"):
            tree.cut(k)


def test_an_unknown_linkage_is_refused():
    with pytest.raises(ProblemError, match="single, complete, average, ward"):
        join(names_of(4), BY_HAND, "centroid")


def test_one_and_two_assets_are_trees():
    one = in_optimal_order(join(names_of(1), np.zeros((1, 1)), "ward"), np.zeros((1, 1)))
    assert (one.leaves.tolist(), one.labels(1).tolist(), one.n) == ([0], [0], 1)
    D = np.array([[0.0, 0.3], [0.3, 0.0]])
    two = in_optimal_order(join(names_of(2), D, "ward"), D)
    assert two.leaves.tolist() == [0, 1]
    assert two.heights.tolist() == [0.3]


class TestNumberOfClusters:
    @pytest.mark.parametrize("sizes", [(6, 5), (5, 7, 4), (4, 5, 6, 5)])
    def test_groups_that_lie_apart_are_counted(self, sizes):
        D = blobs(1, *sizes)
        tree = join(names_of(len(D)), D, "ward")
        assert number_of_clusters(tree, D, 10) == len(sizes)

    def test_dispersions_by_their_definition(self):
        D = cloud(5, 10)
        tree = in_optimal_order(join(names_of(10), D, "complete"), D)
        for k, found in enumerate(dispersions(tree, D, 10), start=1):
            labels = tree.labels(k)
            members = [np.flatnonzero(labels == label) for label in range(k)]
            assert found == pytest.approx(sum(D[np.ix_(m, m)].sum() / (2 * len(m)) for m in members), abs=1e-12)

    @pytest.mark.parametrize("most", [1, 2, 3, 5, 9, 10, 50])
    def test_the_largest_bend_within_the_limit(self, most):
        D = cloud(6, 10)
        tree = in_optimal_order(join(names_of(10), D, "average"), D)
        W = [*dispersions(tree, D, 10), 0.0]
        bends = {k: W[k - 2] - 2 * W[k - 1] + W[k] for k in range(2, min(most, 10) + 1)}
        expected = max(bends, key=lambda k: bends[k]) if bends else 1
        assert number_of_clusters(tree, D, most) == expected

    def test_assets_that_are_all_alike_are_one_cluster(self):
        D = np.zeros((5, 5))
        assert number_of_clusters(join(names_of(5), D, "ward"), D, 10) == 1
        assert number_of_clusters(join(names_of(1), D[:1, :1], "ward"), D[:1, :1], 10) == 1

    def test_two_assets_that_differ_are_two(self):
        D = np.array([[0.0, 0.4], [0.4, 0.0]])
        assert number_of_clusters(join(names_of(2), D, "ward"), D, 10) == 2
