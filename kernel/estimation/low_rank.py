"""Covariances kept as a low-rank factor and a diagonal, for universes whose dense matrix is too large to be made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernel.estimation.arrays import FloatArray, centred, checked_positive, gram, read_only
from kernel.estimation.shrinkage import Spread, ledoit_wolf_intensity, oas_intensity, spread


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """Sigma = factor' factor + diag(diagonal), annual; arrays are read-only.

    Attributes:
        factor: (k, n).
        diagonal: (n,) at least 0.
        shrinkage: Weight of the shrinkage target in [0, 1]; None when nothing was shrunk.
    """

    factor: FloatArray
    diagonal: FloatArray
    shrinkage: float | None = None

    def dense(self) -> FloatArray:
        """(n, n) Sigma, exactly symmetric, read-only; made anew at every call."""
        Sigma = gram(self.factor)
        np.fill_diagonal(Sigma, Sigma.diagonal() + self.diagonal)
        return read_only(Sigma)


def sample_factor(R: FloatArray, periods_per_year: float = 252.0) -> LowRank:
    """The unbiased sample covariance, annualised, without the dense matrix.

    factor = X sqrt(periods_per_year / (T - 1)),  diagonal = 0

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The covariance of covariance.sample with a factor of T rows.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.
    """
    X = centred(R)
    X *= math.sqrt(checked_positive(periods_per_year, "periods_per_year") / (len(X) - 1))
    return LowRank(read_only(X), read_only(np.zeros(X.shape[1])))


def ledoit_wolf_factor(R: FloatArray, periods_per_year: float = 252.0) -> LowRank:
    """The covariance shrunk by Ledoit & Wolf's intensity, annualised, without the dense matrix.

    factor = X sqrt((1 - rho) periods_per_year / T),  diagonal = rho m periods_per_year

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The covariance of covariance.ledoit_wolf with a factor of T rows and the shrinkage rho.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.

    References:
        Ledoit & Wolf (2004), JMVA 88, section 3.2.
    """
    return _shrunk(R, periods_per_year, ledoit_wolf_intensity)


def oas_factor(R: FloatArray, periods_per_year: float = 252.0) -> LowRank:
    """The covariance shrunk by the oracle approximating intensity, annualised, without the dense matrix.

    factor = X sqrt((1 - rho) periods_per_year / T),  diagonal = rho m periods_per_year

    Args:
        R: (T, n) simple returns per period, T >= 2.
        periods_per_year: Periods in a year, > 0.

    Returns:
        The covariance of covariance.oas with a factor of T rows and the shrinkage rho.

    Raises:
        ProblemError: Fewer than two periods, elements that are not finite, or periods_per_year not positive.

    References:
        Chen, Wiesel, Eldar & Hero (2010), equation 23.
    """
    return _shrunk(R, periods_per_year, oas_intensity)


def _shrunk(R: FloatArray, periods_per_year: float, intensity: Callable[[Spread], float]) -> LowRank:
    annual = checked_positive(periods_per_year, "periods_per_year")
    X = centred(R)
    T, n = X.shape
    numbers = spread(X, gram(X.T if n > T else X) / T)
    rho = intensity(numbers)
    X *= math.sqrt((1.0 - rho) * annual / T)
    return LowRank(read_only(X), read_only(np.full(n, rho * numbers.m * annual)), shrinkage=rho)
