"""Naive risk parity: shares in inverse proportion to risk, correlations left out. Splits hand weights down by it.

    within a cluster   w_i in proportion to 1 / r_i
    between two sides  alpha = 1 - r_1 / (r_1 + r_2) to the first

A side without risk (a perfect hedge, or a loss measure below 0) takes all; two of them share evenly.
"""

from __future__ import annotations

import math

import numpy as np

from kernel.canonical import Vector
from kernel.hierarchy.universe import Universe
from kernel.quadratic import Indices

# Of the risk that a cluster would have without any hedge: less is rounding.
_HEDGED = 1e-12


class NaiveParity:
    """Naive risk parity in runs of the assets, in an order.

    Attributes:
        own: (n,) risks of the assets alone, in that order.
    """

    def __init__(self, universe: Universe, order: Indices) -> None:
        self._universe = universe
        self.own = universe.own_risks[order]
        self._inverse = 1.0 / self.own
        # Each asset held by its inverse risk: covariances (n, n), or returns (n, T) for the other measures.
        inverse = self._inverse[:, None]
        if universe.of_covariance:
            self._scaled = universe.moments.Sigma[np.ix_(order, order)] * inverse * self._inverse
        else:
            self._scaled = universe.scenarios.R.T[order] * inverse

    def weights(self, first: int, last: int) -> Vector:
        """(last - first,) weights of the assets in the places first to last - 1, sum 1."""
        inverse = self._inverse[first:last]
        return np.asarray(inverse / inverse.sum())

    def risk(self, first: int, last: int) -> float:
        """Risk of these weights, 0 where it is hedged away."""
        if last - first == 1:
            return float(self.own[first])
        total = float(self._inverse[first:last].sum())
        unhedged = (last - first) / total
        if not self._universe.of_covariance:
            risk = self._universe.risk_of_returns(self._scaled[first:last].sum(axis=0) / total)
            return risk if risk > _HEDGED * unhedged else 0.0
        variance = float(self._scaled[first:last, first:last].sum()) / total**2
        if self._universe.risk_measure == "variance":
            return variance if variance > _HEDGED * unhedged else 0.0
        return math.sqrt(variance) if variance > _HEDGED * unhedged**2 else 0.0


def share_of_first(first: float, second: float) -> float:
    """1 - r_1 / (r_1 + r_2); half where both are 0."""
    total = first + second
    return second / total if total > 0.0 else 0.5
