"""Hierarchical equal risk contribution: the tree is cut into clusters, whose shares are split along the tree.

    at every join above the clusters   alpha = 1 - r_left / (r_left + r_right), a side's risk the sum of its clusters'
    within a cluster                   weights in proportion to 1 / r_i

A cluster's risk is that of its own weights. Each measure counts as it is, the volatility as a standard deviation: two
clusters of one asset each then contribute equally to the portfolio's volatility.

References: Raffinot (2018).
"""

from __future__ import annotations

import numpy as np

from kernel.canonical import Vector
from kernel.hierarchy.clustering import Dendrogram
from kernel.hierarchy.naive import NaiveParity, share_of_first
from kernel.hierarchy.universe import Universe


def hierarchical_equal_risk(universe: Universe, tree: Dendrogram, clusters: int) -> Vector:
    """(n,) weights, >= 0, sum 1.

    Args:
        universe: The assets.
        tree: Of the same assets.
        clusters: Their number, 1 to n.

    Raises:
        ProblemError: An asset has no risk, or the number lies outside its range.
    """
    parity, parts = NaiveParity(universe, tree.leaves), tree.cut(clusters)
    shares = _shares(tree, {part: parity.risk(*tree.run(part)) for part in parts})
    w = np.empty(tree.n)
    for part in parts:
        first, last = tree.run(part)
        w[tree.leaves[first:last]] = shares[part] * parity.weights(first, last)
    return np.asarray(w / w.sum())


def _shares(tree: Dendrogram, risks: dict[int, float]) -> dict[int, float]:
    """What each cluster gets of the whole; `risks` of the clusters."""
    total = dict(risks)
    above = range(2 * tree.n - len(risks), 2 * tree.n - 1)
    for cluster in above:
        left, right = tree.joins[cluster - tree.n].tolist()
        total[cluster] = total[left] + total[right]
    shares = {2 * tree.n - 2: 1.0}
    for cluster in reversed(above):
        left, right = tree.joins[cluster - tree.n].tolist()
        alpha = share_of_first(total[left], total[right])
        shares[left], shares[right] = alpha * shares[cluster], (1.0 - alpha) * shares[cluster]
    return shares
