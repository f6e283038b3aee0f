"""The order of a tree's leaves in which neighbours are as near as the tree allows.

    min sum_k D[leaf_k, leaf_k+1]  over all ways to swap the two sides of every join

M[u, w] is the least length of an order of the smallest cluster that holds both u and w, with these as its ends. At a
join of L and R, with k the other end of L and y the near end of R:

    M[u, w] = min over k, y of  M[u, k] + D[k, y] + M[y, w]        u in L, w in R

References: Bar-Joseph, Gifford & Jaakkola (2001).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.canonical import Matrix
from kernel.hierarchy.clustering import Dendrogram
from kernel.quadratic import Indices

# Entries of a table that is made at once.
_SMALL = 30_000


def in_optimal_order(tree: Dendrogram, D: Matrix) -> Dendrogram:
    """The tree with its joins turned so that the leaves are in optimal order.

    An order and its mirror image are equally good: the end whose asset comes first by name is drawn left.

    Args:
        tree: Of n assets.
        D: (n, n) distances between them, symmetric.
    """
    if tree.n < 2:
        return tree
    leaves = tree.leaves
    E = D[np.ix_(leaves, leaves)]
    M = _least_lengths(tree, E)
    middle = int(tree.starts[tree.joins[-1, 1]])
    u, k = divmod(int(np.argmin(M[:middle, middle:])), tree.n - middle)
    ends = sorted((u, middle + k), key=lambda place: int(leaves[place]))
    return replace(tree, joins=_turned(tree, E, M, (ends[0], ends[1])))


def _least_lengths(tree: Dendrogram, E: Matrix) -> Matrix:
    """(n, n) M over the places of the leaves in the tree as it is drawn."""
    M = np.zeros_like(E)
    for left, right in tree.joins.tolist():
        (first, middle), (_, last) = tree.run(left), tree.run(right)
        from_left = _from_far_ends(tree, M, left, E[first:middle, middle:last])
        block = _from_far_ends(tree, M, right, from_left.T)
        M[middle:last, first:middle] = block
        M[first:middle, middle:last] = block.T
    return M


def _from_far_ends(tree: Dendrogram, M: Matrix, cluster: int, X: Matrix) -> Matrix:
    """(m, r) for each leaf u of a cluster the least ``M[u, k] + X[k]`` over the ends k opposite u."""
    if cluster < tree.n:
        return X
    first, last = tree.run(cluster)
    middle = int(tree.starts[tree.joins[cluster - tree.n, 1]])
    cut = middle - first
    found = np.empty_like(X)
    found[:cut] = _least_sums(M[first:middle, middle:last], X[cut:])
    found[cut:] = _least_sums(M[middle:last, first:middle], X[:cut])
    return found


def _least_sums(A: Matrix, B: Matrix) -> Matrix:
    """(p, r) min over k of ``A[i, k] + B[k, j]``, in passes over the shortest side."""
    (p, q), r = A.shape, B.shape[1]
    if q == 1:
        return np.asarray(A + B)
    if p * q * r <= _SMALL:
        return np.asarray((A[:, :, None] + B).min(axis=1))
    if p < r:
        return np.asarray(_least_sums(B.T, A.T).T)
    if r < q:
        return np.column_stack([(A + column).min(axis=1) for column in B.T])
    found: Matrix = A[:, :1] + B[0]
    for k in range(1, q):
        np.minimum(found, A[:, k, None] + B[k], out=found)
    return found


def _turned(tree: Dendrogram, E: Matrix, M: Matrix, ends: tuple[int, int]) -> Indices:
    """(n - 1, 2) the joins, turned for the order from one end to the other that M promises."""
    joins = tree.joins.copy()
    open_clusters = [(2 * tree.n - 2, *ends)]
    while open_clusters:
        cluster, u, w = open_clusters.pop()
        if cluster < tree.n:
            continue
        left, right = tree.joins[cluster - tree.n].tolist()
        near, far = (left, right) if u < tree.starts[right] else (right, left)
        joins[cluster - tree.n] = near, far
        (a, b), (c, d) = _far_side(tree, near, u), _far_side(tree, far, w)
        lengths = M[u, a:b, None] + E[a:b, c:d] + M[c:d, w]
        k, y = divmod(int(np.argmin(lengths)), d - c)
        open_clusters += [(near, u, a + k), (far, c + y, w)]
    return joins


def _far_side(tree: Dendrogram, cluster: int, place: int) -> tuple[int, int]:
    """The run of the side of a cluster that does not hold the leaf at a place; the leaf's own where it is all."""
    if cluster < tree.n:
        return tree.run(cluster)
    left, right = tree.joins[cluster - tree.n].tolist()
    return tree.run(right) if place < tree.starts[right] else tree.run(left)
