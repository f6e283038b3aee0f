"""Annual covariance matrices: sample, Ledoit-Wolf, and the caller's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray, checked_positive, checked_returns, read_only
from kernel.estimation.psd import repair


@dataclass(frozen=True, slots=True, eq=False)
class CovarianceEstimate:
    """An annual covariance and what is known about its making.

    Attributes:
        Sigma: (n, n) annual, exactly symmetric, PSD up to rounding, read-only.
        shrinkage: Weight of the shrinkage target in [0, 1]; None when nothing was shrunk.
        repair_distance: Relative Frobenius distance from the matrix given; 0 when it needed no repair.
        root: (k, n) with Sigma = root' root, read-only, when such a factor is known. With k < n it is the cheaper form.
    """

    Sigma: FloatArray
    shrinkage: float | None = None
    repair_distance: float = 0.0
    root: FloatArray | None = None


def sample(R: FloatArray, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Unbiased sample covariance, annualised.

    Sigma = periods_per_year * X'X / (T - 1),  X = R - 1 mean(R)'

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with its factor root = X sqrt(periods_per_year / (T - 1)), (T, n).

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.
    """
    X = _centred(R)
    root = X * math.sqrt(checked_positive(periods_per_year, "periods_per_year") / (len(X) - 1))
    return CovarianceEstimate(read_only(_gram(root)), root=read_only(root))


def ledoit_wolf(R: FloatArray, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Shrinkage towards the average variance times the identity.

    Sigma = (1 - rho) S + rho m I, times periods_per_year; S = X'X / T with centred returns X, m = tr(S) / n,
    and with the norm ||A||^2 = tr(A A') / n
    d^2 = ||S - m I||^2,  b^2 = min(d^2, sum_t ||x_t x_t' - S||^2 / T^2),  rho = b^2 / d^2.
    The sum over t needs no n x n matrix per period: sum_t ||x_t x_t' - S||^2 = (sum_t (x_t'x_t)^2 - T tr(S^2)) / n.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with its shrinkage rho in [0, 1]; rho = 0 where S already is a multiple of the identity.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.

    References:
        Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, JMVA 88,
        section 3.2.
    """
    annual = checked_positive(periods_per_year, "periods_per_year")
    X = _centred(R)
    S = _gram(X) / len(X)
    m = float(S.trace()) / len(S)
    rho = _shrinkage(X, S, m)
    Sigma = S * ((1.0 - rho) * annual)
    np.fill_diagonal(Sigma, Sigma.diagonal() + rho * m * annual)
    return CovarianceEstimate(read_only(Sigma), shrinkage=rho)


def provided(Sigma: FloatArray, *, max_distance: float = 1e-3) -> CovarianceEstimate:
    """The caller's own annual covariance, repaired to the nearest PSD one if need be.

    Args:
        Sigma: (n, n) annual covariance, symmetric up to rounding.
        max_distance: The largest relative Frobenius distance a repair may have.

    Returns:
        The estimate with the distance of its repair.

    Raises:
        ProblemError: The matrix is no covariance, or farther from one than max_distance.
    """
    repaired = repair(Sigma, field="covariance", max_distance=max_distance)
    return CovarianceEstimate(repaired.Sigma, repair_distance=repaired.distance)


def _centred(R: FloatArray) -> FloatArray:
    table = checked_returns(R, minimum_periods=2)
    centred: FloatArray = table - table.mean(axis=0)
    # The mean of equal returns is rounded; without this a constant asset would keep a variance of 1e-34.
    centred[:, np.ptp(table, axis=0) == 0.0] = 0.0
    return centred


def _gram(X: FloatArray) -> FloatArray:
    """X'X, exactly symmetric: numpy passes a product with its own transpose to the symmetric BLAS routine."""
    product: FloatArray = X.T @ X
    return product


def _shrinkage(X: FloatArray, S: FloatArray, m: float) -> float:
    """The weight rho in [0, 1] from centred returns X, their covariance S (divisor T) and average variance m."""
    T, n = X.shape
    deviation = S.copy()
    np.fill_diagonal(deviation, S.diagonal() - m)
    d2 = float(np.vdot(deviation, deviation)) / n
    if d2 == 0.0:
        return 0.0
    fourth = float(np.square(np.einsum("ti,ti->t", X, X)).sum())
    b2 = max(fourth - T * float(np.vdot(S, S)), 0.0) / (n * T * T)
    return float(min(b2 / d2, 1.0))
