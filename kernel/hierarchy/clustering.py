"""Trees of assets: joins from the nearest pair up to the root, and what follows from their shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from kernel.canonical import Matrix, Vector
from kernel.errors import ProblemError
from kernel.quadratic import Indices

Linkage = Literal["single", "complete", "average", "ward"]
LINKAGES: tuple[Linkage, ...] = ("single", "complete", "average", "ward")


@dataclass(frozen=True)
class Dendrogram:
    """A tree of n assets. They are the clusters 0 to n - 1, and the k-th join makes the cluster n + k.

    Attributes:
        names: (n,) assets, in order.
        joins: (n - 1, 2) clusters joined, each join after those that it rests on, left and right as drawn.
        heights: (n - 1,) distance at which they are joined, not falling.
    """

    names: tuple[str, ...]
    joins: Indices
    heights: Vector

    @property
    def n(self) -> int:
        """Number of assets."""
        return len(self.names)

    @cached_property
    def sizes(self) -> Indices:
        """(2n - 1,) assets in each cluster."""
        sizes = np.ones(2 * self.n - 1, dtype=np.intp)
        for k, (left, right) in enumerate(self.joins.tolist()):
            sizes[self.n + k] = sizes[left] + sizes[right]
        return sizes

    @cached_property
    def starts(self) -> Indices:
        """(2n - 1,) place in `leaves` at which each cluster begins: it has the places from there on."""
        starts = np.zeros(2 * self.n - 1, dtype=np.intp)
        for k in range(self.n - 2, -1, -1):
            left, right = self.joins[k]
            starts[left] = starts[self.n + k]
            starts[right] = starts[left] + self.sizes[left]
        return starts

    @cached_property
    def leaves(self) -> Indices:
        """(n,) assets from left to right as drawn."""
        leaves = np.empty(self.n, dtype=np.intp)
        leaves[self.starts[: self.n]] = np.arange(self.n)
        return leaves

    def run(self, cluster: int) -> tuple[int, int]:
        """The places of a cluster in `leaves`: the first, and the one after the last."""
        start = int(self.starts[cluster])
        return start, start + int(self.sizes[cluster])

    def cut(self, k: int) -> list[int]:
        """The k clusters that are left when the last k - 1 joins are undone, from left to right.

        Raises:
            ProblemError: k lies outside 1..n.
        """
        if not 1 <= k <= self.n:
            raise ProblemError("hierarchy.clusters", f"must be 1 to {self.n}, the number of assets, not {k}")
        first_undone = 2 * self.n - 1 - (k - 1)
        parts = {2 * self.n - 2}
        for cluster in range(2 * self.n - 2, first_undone - 1, -1):
            parts.remove(cluster)
            parts.update(self.joins[cluster - self.n].tolist())
        return sorted(parts, key=lambda cluster: int(self.starts[cluster]))

    def labels(self, k: int) -> Indices:
        """(n,) cluster of each asset, 0 to k - 1 from left to right."""
        labels = np.empty(self.n, dtype=np.intp)
        for label, cluster in enumerate(self.cut(k)):
            first, last = self.run(cluster)
            labels[self.leaves[first:last]] = label
        return labels


def join(names: tuple[str, ...], D: Matrix, linkage: str) -> Dendrogram:
    """The tree that a linkage makes of distances, drawn as the joins come.

    Args:
        names: (n,) assets.
        D: (n, n) distances, symmetric, 0 on the diagonal.
        linkage: ``single``, ``complete``, ``average`` or ``ward``.

    Raises:
        ProblemError: The linkage is unknown.

    References: Lance & Williams (1967); Ward (1963), taking the distances as Euclidean.
    """
    known = next((word for word in LINKAGES if word == linkage), None)
    if known is None:
        raise ProblemError("hierarchy.linkage", f"must be one of {', '.join(LINKAGES)}, not {linkage!r}")
    if len(names) == 1:
        return Dendrogram(names, np.empty((0, 2), dtype=np.intp), np.empty(0))
    return from_joins(names, hierarchy.linkage(squareform(D, checks=False), known))


def from_joins(names: tuple[str, ...], Z: Matrix) -> Dendrogram:
    """The tree of SciPy's table of joins."""
    return Dendrogram(names, Z[:, :2].astype(np.intp), np.maximum.accumulate(Z[:, 2]))
