"""What a sample of returns leaves uncertain: standard errors, and quantiles of sums of squared errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special

from kernel.builder import ProgramBuilder
from kernel.canonical import Mask, Matrix, Vector
from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample from which sets are derived.

    Attributes:
        Sigma: (n, n) covariance, annual.
        uncertain: (n,) True for assets that may be held and whose returns are not certain; only they err.
        T: Number of returns; of unequal probabilities p the effective one, 1 / p'p.
        periods_per_year: Returns in a year.
        confidence: Probability with which a set is to hold the truth.

    Raises:
        ProblemError: The confidence lies outside (0, 1), or there is less than one return.
    """

    Sigma: Matrix
    uncertain: Mask
    T: float
    periods_per_year: float = 252.0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.confidence < 1.0:
            raise ProblemError("confidence", f"must lie strictly between 0 and 1, not {self.confidence:g}")
        if not (math.isfinite(self.T) and self.T >= 1.0):
            raise ProblemError("observations", f"must be at least 1, not {self.T:g}")

    @property
    def kept(self) -> Matrix:
        """(m, m) the covariance of the uncertain assets."""
        return np.asarray(self.Sigma[np.ix_(self.uncertain, self.uncertain)])

    @property
    def errors(self) -> Matrix:
        """(n, n) covariance of the errors of the annual means, Sigma periods_per_year / T; zero for certain assets.

        The annual mean is h times the mean of T returns, whose variance is the annual one over h, by T.
        """
        both = np.outer(self.uncertain, self.uncertain)
        return np.where(both, self.Sigma * (self.periods_per_year / self.T), 0.0)

    @property
    def normal_quantile(self) -> float:
        """The z within which a normal error lies with the confidence."""
        return -float(scipy.special.ndtri(0.5 * (1.0 - self.confidence)))


def quantile_of_squares(K: Matrix, confidence: float) -> float:
    """A quantile of e'e for normal errors e of covariance K, by the chi-square of the same mean and variance.

    g chi2_h,  g = tr(K^2) / tr(K),  h = tr(K)^2 / tr(K^2); exact where K's eigenvalues but for zeros are equal.

    References:
        Satterthwaite (1946); Box (1954).
    """
    return quantile_by_traces(float(np.trace(K)), float(np.sum(K * K)), confidence)


def quantile_by_traces(trace: float, trace_of_square: float, confidence: float) -> float:
    """The same from tr(K) and tr(K^2)."""
    if trace_of_square <= 0.0:
        return 0.0
    return trace_of_square / trace * chi_square_quantile(confidence, trace**2 / trace_of_square)


def chi_square_quantile(probability: float, degrees: float) -> float:
    """The value that a chi-square variable does not exceed with this probability."""
    return 2.0 * float(scipy.special.gammaincinv(0.5 * degrees, probability))


def absolute_weights(builder: ProgramBuilder, counted: Mask) -> slice:
    """Variables >= |w_i| for the assets that count: the weights themselves where none of those may be negative."""
    lower, _ = builder.box
    return builder.weights if (lower[counted] >= 0.0).all() else builder.absolute_change(np.zeros(builder.n))


def require_not_negative(values: Vector | float, field: str) -> None:
    """Check half-widths and radii.

    Raises:
        ProblemError: One is negative or not finite.
    """
    if not (np.isfinite(values).all() and np.greater_equal(values, 0.0).all()):
        raise ProblemError(field, "must be finite and not negative")
