"""Hierarchical risk parity: the ordered list of leaves is halved again and again, and each half gets its share.

References: Lopez de Prado (2016), stages 2 and 3.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.canonical import Vector
from kernel.hierarchy.clustering import Dendrogram
from kernel.hierarchy.naive import NaiveParity, share_of_first
from kernel.hierarchy.universe import Universe
from kernel.quadratic import Indices


def hierarchical_risk_parity(universe: Universe, tree: Dendrogram) -> Vector:
    """(n,) weights by recursive bisection, >= 0, sum 1.

    Volatility and variance both count as the variance, as published; other measures count as they are.

    Args:
        universe: The assets.
        tree: Of the same assets; only the order of its leaves plays a part.

    Raises:
        ProblemError: An asset has no risk.
    """
    return bisect(universe, tree.leaves)


def bisect(universe: Universe, order: Indices) -> Vector:
    """(n,) weights by recursive bisection of any order of the assets."""
    squared = replace(universe, risk_measure="variance") if universe.of_covariance else universe
    parity = NaiveParity(squared, order)
    w = np.ones(len(order))
    runs = [(0, len(order))]
    while runs:
        first, last = runs.pop()
        if last - first < 2:
            continue
        middle = first + (last - first) // 2
        alpha = share_of_first(parity.risk(first, middle), parity.risk(middle, last))
        w[first:middle] *= alpha
        w[middle:last] *= 1.0 - alpha
        runs += [(first, middle), (middle, last)]
    placed = np.empty_like(w)
    placed[order] = w
    return np.asarray(placed / placed.sum())
