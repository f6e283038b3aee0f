"""Which eigenvalues of a correlation matrix are more than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class NoiseEdge:
    """Where the noise ends in the spectrum of a correlation matrix.

    Attributes:
        edge: The largest eigenvalue that noise would have; every eigenvalue kept is above it.
        kept: Number of eigenvalues kept.
        residual: Mean of all the others, zeros included; it takes their place.
    """

    edge: float
    kept: int
    residual: float


def noise_edge(eigenvalues: FloatArray, assets: int, periods: int) -> NoiseEdge:
    """Upper edge of the Marchenko-Pastur law, fitted in one pass.

    Noise of variance v in m dimensions ends at e(v, m) = v (1 + sqrt(m / T))^2. The k eigenvalues above e(1, n) can't
    be noise; the other m = n - k have the mean v, and the edge is e(v, m). The rule needs no histogram, bandwidth or
    starting point. It is not repeated: specific risks differ between assets, which spreads their eigenvalues beyond
    the law of equal ones, and further passes would take nearly all of them for signals. The law is that of endless
    samples; in finite ones the largest eigenvalue of noise may cross the edge by a few percent.

    Args:
        eigenvalues: (min(n, T),) of a correlation matrix in descending order, >= 0; those left out are zero.
        assets: n.
        periods: T.

    Returns:
        The edge, the number of eigenvalues above it and the mean of the rest, so that the sum of all is preserved.

    References:
        Marchenko & Pastur (1967); Laloux, Cizeau, Bouchaud & Potters (1999), Noise dressing of financial correlation
        matrices, PRL 83; Lopez de Prado (2020), Machine learning for asset managers, section 2.
    """
    signals = int(np.count_nonzero(eigenvalues > largest_of_noise(1.0, assets, periods)))
    left = assets - signals
    edge = largest_of_noise(float(eigenvalues[signals:].sum()) / left, left, periods)
    kept = int(np.count_nonzero(eigenvalues > edge))
    return NoiseEdge(edge, kept, float(eigenvalues[kept:].sum()) / (assets - kept))


def largest_of_noise(variance: float, dimensions: int, periods: int) -> float:
    """Upper edge e(v, m) = v (1 + sqrt(m / T))^2 of the eigenvalues of noise with variance v in m dimensions."""
    return variance * (1.0 + math.sqrt(dimensions / periods)) ** 2
