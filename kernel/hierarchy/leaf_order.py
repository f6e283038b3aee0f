"""The order of a tree's leaves in which neighbours are as near as the tree allows.

    min sum_k D[leaf_k, leaf_k+1]  over all ways to swap the two sides of every join

M[u, w] is the least length of an order of the smallest cluster that holds both u and w, with these as its ends. At a
join of L and R, with k the other end of L and y the near end of R:

    M[u, w] = min over k, y of  M[u, k] + D[k, y] + M[y, w]        u in L, w in R

References: Bar-Joseph, Gifford & Jaakkola (2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Matrix
from kernel.hierarchy.clustering import Dendrogram

# Entries of a table that is made at once.
_SMALL = 30_000


@dataclass(frozen=True, slots=True)
class _Runs:
    """The places of every cluster as it is drawn: from `first` to before `last`, its right side from `middle` on.

    A leaf has no sides: its `middle` is its place.
    """

    first: list[int]
    middle: list[int]
    last: list[int]

    @classmethod
    def of(cls, tree: Dendrogram) -> _Runs:
        """Of the clusters of a tree."""
        first = tree.starts.tolist()
        middle = first[: tree.n] + [first[right] for right in tree.joins[:, 1].tolist()]
        return cls(first, middle, (tree.starts + tree.sizes).tolist())

    def opposite(self, cluster: int, place: int) -> tuple[int, int]:
        """The run of the side of a cluster that does not hold the leaf at a place; the leaf's own where it is all."""
        first, middle, last = self.first[cluster], self.middle[cluster], self.last[cluster]
        return (middle, last) if place < middle or first == middle else (first, middle)


def in_optimal_order(tree: Dendrogram, D: Matrix) -> Dendrogram:
    """The tree with its joins turned so that the leaves are in optimal order.

    An order and its mirror image are equally good: the end whose asset comes first by name is drawn left.

    Args:
        tree: Of n assets.
        D: (n, n) distances between them, symmetric.
    """
    if tree.n < 2:
        return tree
    runs, leaves = _Runs.of(tree), tree.leaves
    E = D[np.ix_(leaves, leaves)]
    M = _least_lengths(tree, runs, E)
    middle = runs.middle[-1]
    u, k = divmod(int(np.argmin(M[:middle, middle:])), tree.n - middle)
    ends = sorted((u, middle + k), key=lambda place: int(leaves[place]))
    return replace(tree, joins=np.array(_turned(tree, runs, E, M, (ends[0], ends[1])), dtype=np.intp))


def _least_lengths(tree: Dendrogram, runs: _Runs, E: Matrix) -> Matrix:
    """(n, n) M over the places of the leaves in the tree as it is drawn."""
    M = np.zeros_like(E)
    for left, right in tree.joins.tolist():
        first, middle, last = runs.first[left], runs.first[right], runs.last[right]
        from_left = _from_far_ends(runs, M, left, E[first:middle, middle:last])
        block = _from_far_ends(runs, M, right, from_left.T)
        M[middle:last, first:middle] = block
        M[first:middle, middle:last] = block.T
    return M


def _from_far_ends(runs: _Runs, M: Matrix, cluster: int, X: Matrix) -> Matrix:
    """(m, r) for each leaf u of a cluster the least ``M[u, k] + X[k]`` over the ends k opposite u."""
    first, middle, last = runs.first[cluster], runs.middle[cluster], runs.last[cluster]
    if first == middle:
        return X
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
    if r == 1:
        return np.asarray((A + B.T).min(axis=1, keepdims=True))
    if p < r:
        return np.asarray(_least_sums(B.T, A.T).T)
    if p * q * r <= _SMALL:
        return np.asarray((A[:, :, None] + B).min(axis=1))
    if r < q:
        return np.column_stack([(A + column).min(axis=1) for column in B.T])
    found: Matrix = A[:, :1] + B[0]
    for k in range(1, q):
        np.minimum(found, A[:, k, None] + B[k], out=found)
    return found


def _turned(tree: Dendrogram, runs: _Runs, E: Matrix, M: Matrix, ends: tuple[int, int]) -> list[list[int]]:
    """The joins, turned for the order from one end to the other that M promises."""
    joins: list[list[int]] = tree.joins.tolist()
    open_clusters = [(2 * tree.n - 2, *ends)]
    while open_clusters:
        cluster, u, w = open_clusters.pop()
        if cluster < tree.n:
            continue
        left, right = joins[cluster - tree.n]
        near, far = (left, right) if u < runs.first[right] else (right, left)
        joins[cluster - tree.n] = [near, far]
        (a, b), (c, d) = runs.opposite(near, u), runs.opposite(far, w)
        k = y = 0
        if b - a > 1 or d - c > 1:
            lengths = M[u, a:b, None] + E[a:b, c:d] + M[c:d, w]
            k, y = divmod(int(np.argmin(lengths)), d - c)
        open_clusters += [(near, u, a + k), (far, c + y, w)]
    return joins
