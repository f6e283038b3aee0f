"""The number of clusters in a tree: where the last worthwhile split lies.

    W_k = sum over the k clusters of the sum of all distances within (both ways) over twice the cluster's size
    the k with the largest bend W_{k-1} - 2 W_k + W_{k+1}

The bend stands for the comparison with a reference distribution, so nothing is drawn at random. Beyond n clusters
nothing is left to gain: W_{n+1} = W_n = 0. Without any bend there is one cluster.

References: Tibshirani, Walther & Hastie (2001), equation 2; Yue, Wang & Wei (2009) for the second difference.
"""

from __future__ import annotations

import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.hierarchy.clustering import Dendrogram

_DECIMALS = 10


def number_of_clusters(tree: Dendrogram, D: Matrix, most: int) -> int:
    """Number of clusters, 1 to `most`, 1 without any bend; of equal bends the fewest.

    Args:
        tree: Of n assets.
        D: (n, n) distances between them.
        most: 1 or more; more than n is n.
    """
    most = min(most, tree.n)
    if most < 2:
        return 1
    W = dispersions(tree, D, min(most + 1, tree.n))
    if most == tree.n:
        W = np.append(W, W[-1])
    bends = np.round(W[:-2] - 2.0 * W[1:-1] + W[2:], _DECIMALS)
    best = int(np.argmax(bends))
    return best + 2 if bends[best] > 0.0 else 1


def dispersions(tree: Dendrogram, D: Matrix, most: int) -> Vector:
    """(most,) W_1, W_2, ... as the last joins are undone one by one."""
    ordered = D[np.ix_(tree.leaves, tree.leaves)]

    def within(cluster: int) -> float:
        first, last = tree.run(cluster)
        return float(ordered[first:last, first:last].sum()) / (2.0 * (last - first))

    W = [within(2 * tree.n - 2)]
    for k in range(tree.n - 2, tree.n - 1 - most, -1):
        left, right = tree.joins[k].tolist()
        W.append(W[-1] - within(tree.n + k) + within(left) + within(right))
    return np.array(W)
