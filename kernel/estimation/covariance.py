"""Annual covariance matrices: sample, exponentially weighted, shrunk (Ledoit-Wolf, OAS), and the caller's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import (
    FloatArray,
    centred,
    checked_positive,
    checked_returns,
    decay_weights,
    gram,
    read_only,
)
from kernel.estimation.low_rank import LowRank
from kernel.estimation.marchenko_pastur import NoiseEdge
from kernel.estimation.psd import repair
from kernel.estimation.shrinkage import Spread, ledoit_wolf_intensity, oas_intensity, spread


@dataclass(frozen=True, slots=True, eq=False)
class CovarianceEstimate:
    """An annual covariance and what is known about its making.

    Attributes:
        Sigma: (n, n) annual, exactly symmetric, PSD up to rounding, read-only.
        shrinkage: Weight of the shrinkage target in [0, 1]; None when nothing was shrunk.
        repair_distance: Relative Frobenius distance from the matrix given; 0 when it needed no repair.
        root: (k, n) with Sigma = root' root, read-only, when such a factor is known. With k < n it is the cheaper form.
        low_rank: Sigma as a factor of few rows and a diagonal, when it was made that way.
        noise: Where the noise ends in the spectrum, when the estimate was denoised.
    """

    Sigma: FloatArray
    shrinkage: float | None = None
    repair_distance: float = 0.0
    root: FloatArray | None = None
    low_rank: LowRank | None = None
    noise: NoiseEdge | None = None


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
    X = centred(R)
    X *= math.sqrt(checked_positive(periods_per_year, "periods_per_year") / (len(X) - 1))
    return CovarianceEstimate(read_only(gram(X)), root=read_only(X))


def exponentially_weighted(R: FloatArray, half_life: float, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Covariance whose memory halves with every half-life, unbiased, annualised.

    Sigma = periods_per_year * sum_t w_t x_t x_t' / (1 - sum_t w_t^2),  x_t = r_t - sum_s w_s r_s
    With equal weights the divisor is (T - 1) / T, and the estimate is the sample's.

    Args:
        R: (T, n) simple returns per period, the oldest first, T >= 2.
        half_life: Periods after which a return counts half, at least 0.1.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with its factor root, (T, n).

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, half_life too small, or periods_per_year
            not positive.

    References:
        J.P. Morgan/Reuters (1996), RiskMetrics technical document, section 5.2, with the mean taken off.
    """
    annual = checked_positive(periods_per_year, "periods_per_year")
    table = checked_returns(R, minimum_periods=2)
    weights = decay_weights(len(table), half_life)
    X = centred(table, weights)
    freedom = float(weights @ (1.0 - weights))
    root = X * np.sqrt(weights * (annual / freedom))[:, None]
    return CovarianceEstimate(read_only(gram(root)), root=read_only(root))


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
    return _shrunk(R, periods_per_year, ledoit_wolf_intensity)


def oas(R: FloatArray, periods_per_year: float = 252.0) -> CovarianceEstimate:
    """Oracle approximating shrinkage towards the average variance times the identity.

    Sigma = (1 - rho) S + rho m I, times periods_per_year; S = X'X / T with centred returns X, m = tr(S) / n, and
    rho as in shrinkage.oas_intensity, the best for Gaussian returns. It is definite unless nothing has any risk.

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The estimate with its shrinkage rho in [0, 1]; rho = 0 where S already is a multiple of the identity.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.

    References:
        Chen, Wiesel, Eldar & Hero (2010), Shrinkage algorithms for MMSE covariance estimation, IEEE TSP 58,
        equation 23.
    """
    return _shrunk(R, periods_per_year, oas_intensity)


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


def _shrunk(R: FloatArray, periods_per_year: float, intensity: Callable[[Spread], float]) -> CovarianceEstimate:
    annual = checked_positive(periods_per_year, "periods_per_year")
    X = centred(R)
    S = gram(X) / len(X)
    numbers = spread(X, S)
    rho = intensity(numbers)
    S *= (1.0 - rho) * annual
    np.fill_diagonal(S, S.diagonal() + rho * numbers.m * annual)
    return CovarianceEstimate(read_only(S), shrinkage=rho)
