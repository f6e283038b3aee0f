"""A covariance whose correlations are cleaned of the noise of a short history."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh

from kernel.estimation.arrays import FloatArray, centred, checked_positive, gram, read_only
from kernel.estimation.covariance import CovarianceEstimate
from kernel.estimation.low_rank import LowRank
from kernel.estimation.marchenko_pastur import NoiseEdge, noise_edge

# Relative to the largest: what rounding leaves of an eigenvalue of zero, per asset.
_ROUNDING = float(np.finfo(np.float64).eps)


def denoised(R: FloatArray, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Sample covariance with the eigenvalues of noise in its correlations replaced by their mean, annualised.

    C = V diag(l) V' the sample correlation, l_1 >= ... >= l_n;  l_i for i <= k kept, the others replaced by their
    mean v, with k and v as in marchenko_pastur.noise_edge;  C1 = sum_(i<=k) (l_i - v) v_i v_i' + v I, of trace n;
    Sigma_ij = s_i s_j C1_ij / sqrt(C1_ii C1_jj), so that every variance s_i^2 is the sample's, divisor T - 1.

    Args:
        R: (T, n) simple returns per period, T >= 2. Assets without risk stay without.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with its low-rank form of k rows and the edge of the noise.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.

    References:
        Laloux, Cizeau, Bouchaud & Potters (2000), Random matrix theory and financial correlations; Lopez de Prado
        (2020), Machine learning for asset managers, section 2.5.1 (constant residual eigenvalue).
    """
    annual = checked_positive(periods_per_year, "periods_per_year")
    X = centred(R)
    T, n = X.shape
    norms = np.linalg.norm(X, axis=0)
    risky = np.flatnonzero(norms)
    loadings, noise = _signal(X[:, risky] / norms[risky])
    scale = norms[risky] * math.sqrt(annual / (T - 1)) / np.sqrt(np.square(loadings).sum(axis=0) + noise.residual)
    factor, diagonal = np.zeros((noise.kept, n)), np.zeros(n)
    factor[:, risky] = loadings * scale
    diagonal[risky] = noise.residual * np.square(scale)
    low_rank = LowRank(read_only(factor), read_only(diagonal))
    return CovarianceEstimate(low_rank.dense(), low_rank=low_rank, noise=noise)


def _signal(Z: FloatArray) -> tuple[FloatArray, NoiseEdge]:
    """(k, n) rows sqrt(l_i - v) v_i' of the correlation Z'Z, by the smaller of Z'Z and ZZ'."""
    T, n = Z.shape
    if n == 0:
        return np.zeros((0, 0)), NoiseEdge(0.0, 0, 0.0)
    eigenvalues, vectors = eigh(gram(Z.T if n > T else Z))
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    eigenvalues = np.where(eigenvalues > n * _ROUNDING * eigenvalues[0], eigenvalues, 0.0)
    noise = noise_edge(eigenvalues, n, T)
    kept, V = eigenvalues[: noise.kept], vectors[:, : noise.kept]
    if n > T:
        V = (Z.T @ V) / np.sqrt(kept)
    return np.asarray((V * np.sqrt(kept - noise.residual)).T, dtype=np.float64), noise
