"""Sets of covariances, of which the positive semidefinite count: the worst volatility of w, and the member of it.

    ellipsoid  {Sigma + M^(1/2) E M^(1/2): ||E||_F <= rho}          w'Sigma w + rho w'M w
    box        {|Sigma'_ij - Sigma_ij| <= D_ij}, D semidefinite     w'Sigma w + |w|'D|w|
    factor     {V'F V + diag(d): ||V_i - V0_i||_F <= r_i, d <= d'}  (||F^(1/2) V0 w|| + r'|w|)^2 + sum d'_i w_i^2

The first is attained by E = rho u u', u in the direction of M^(1/2) w. The second by ``Sigma + D o s s'`` with the
signs s of w, a member since D o s s' is semidefinite as D is; for w >= 0 it is Sigma + D whatever w. The
third by exposures that all move along F^(1/2) V0 w, away from zero for what is held and towards it for what is short.

References: Goldfarb & Iyengar (2003); Tutuncu & Koenig (2004); Lobo & Boyd (2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Mask, Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.measures.volatility import covariance_root
from kernel.problem import Moments
from kernel.quadratic import Quadratic
from kernel.robust.sample import Sample, absolute_weights, quantile_by_traces, require_not_negative
from kernel.robust.worst_volatility import measure_under, worst_measure

# An eigenvalue this small beside the largest is rounding.
_ROUNDING = 1e-12
_SLIGHT = 1e-9


class CovarianceSet(Protocol):
    """A set of covariances around that of its moments."""

    @property
    def moments(self) -> Moments:
        """With the nominal covariance."""

    @property
    def radius(self) -> float:
        """Its size."""

    def worst(self, w: Vector) -> Matrix:
        """(n, n) the member of the largest variance of w."""

    def measure(self, word: str, *, long_only: bool) -> RiskMeasure:
        """The worst volatility or variance.

        Args:
            word: ``volatility`` or ``variance``.
            long_only: Whether no uncertain asset may be short.
        """


@dataclass(frozen=True, slots=True)
class EllipsoidOfCovariances:
    """A ball in the metric M.

    Attributes:
        radius: rho, >= 0.
        variances: (n,) the diagonal of M; None = M is the nominal covariance itself, as for sampling errors.

    Raises:
        ProblemError: The radius is negative or not finite.
    """

    moments: Moments
    radius: float
    variances: Vector | None = None

    def __post_init__(self) -> None:
        require_not_negative(self.radius, "radius")

    @classmethod
    def of_sample(cls, moments: Moments, sample: Sample, metric: str, radius: float | None = None) -> CovarianceSet:
        """The ball of a metric: of the confidence, or of a given radius.

        Errors of a covariance of T normal returns have, in the metric M, the covariance ``(I + K)(C x C) / T`` with
        ``C = M^(-1/2) Sigma M^(-1/2)`` and the commutation matrix K, so that rho^2 is a quantile of a sum of squares
        (`quantile_of_squares`); with M = Sigma it is exactly ``2 chi2 / T`` of n (n + 1) / 2 degrees.

        Args:
            moments: With the nominal covariance.
            sample: The sample that it comes from.
            metric: ``sampling``, ``variances`` or ``identity``.
            radius: rho; None = from the confidence.

        Raises:
            ProblemError: The metric is unknown.

        References:
            Anderson (2003), theorem 3.4.4, for the errors' covariance.
        """
        own = moments.quadratic.diagonal_entries
        match metric:
            case "sampling":
                variances = None
            case "variances":
                variances = own
            case "identity":
                risky = sample.uncertain & (own > 0.0)
                variances = np.where(risky, own[risky].mean() if risky.any() else 0.0, 0.0)
            case _:
                raise ProblemError("metric", f"must be sampling, variances or identity, not {metric!r}")
        return cls(moments, _sampling_radius(sample, variances) if radius is None else radius, variances)

    def worst(self, w: Vector) -> Matrix:
        """Sigma + rho M w w'M / w'M w."""
        Sigma = self.moments.Sigma
        pushed = self.moments.quadratic.times(w) if self.variances is None else self.variances * w
        size = float(w @ pushed)
        if self.radius == 0.0 or size <= 0.0:
            return Sigma
        return np.asarray(Sigma + self.radius / size * np.outer(pushed, pushed))

    def measure(self, word: str, *, long_only: bool) -> RiskMeasure:
        """That of the covariance Sigma + rho M."""
        return measure_under(word, self.moments, self._inflated)

    @property
    def _inflated(self) -> Matrix | Quadratic:
        nominal = self.moments.quadratic
        if self.variances is None:
            return nominal.scaled(1.0 + self.radius)
        added = self.radius * self.variances
        if nominal.factor is None:
            return np.asarray(nominal.dense + np.diag(added))
        return Quadratic(None, nominal.factor, added if nominal.diagonal is None else nominal.diagonal + added)


@dataclass(frozen=True, slots=True)
class BoxOfCovariances:
    """Every entry within an interval of its own.

    Attributes:
        D: (n, n) half-widths, >= 0, positive semidefinite.
        radius: By what the half-widths were made: a normal quantile, or a fraction of the variances.

    Raises:
        ProblemError: A half-width is negative or not finite, or they are not positive semidefinite.
    """

    moments: Moments
    D: Matrix
    radius: float

    def __post_init__(self) -> None:
        require_not_negative(self.D, "half_widths")
        if np.linalg.eigvalsh(self.D)[0] < -_SLIGHT * float(np.diag(self.D).max()):
            raise ProblemError("half_widths", "must be positive semidefinite as a matrix")

    @classmethod
    def relative(cls, moments: Moments, uncertain: Mask, fraction: float) -> BoxOfCovariances:
        """Half-widths ``fraction sqrt(Sigma_ii Sigma_jj)``."""
        require_not_negative(fraction, "relative_half_width")
        deviations = np.sqrt(np.where(uncertain, moments.quadratic.diagonal_entries, 0.0))
        return cls(moments, fraction * np.outer(deviations, deviations), fraction)

    @classmethod
    def of_sample(cls, moments: Moments, sample: Sample) -> BoxOfCovariances:
        """Half-widths ``z sqrt((Sigma_ii Sigma_jj + Sigma_ij^2) / T)``, each entry by its own normal interval.

        Where these are not positive semidefinite, the intervals of the variances are widened until they are.

        References:
            Anderson (2003), theorem 3.4.4.
        """
        both = np.outer(sample.uncertain, sample.uncertain)
        variances = np.diag(sample.Sigma)
        errors = np.sqrt((np.outer(variances, variances) + sample.Sigma**2) / sample.T)
        D = np.where(both, sample.normal_quantile * errors, 0.0)
        return cls(moments, _semidefinite(D, np.where(sample.uncertain, variances, 0.0)), sample.normal_quantile)

    def worst(self, w: Vector) -> Matrix:
        """Sigma + D o s s'."""
        signs = np.sign(w)
        return np.asarray(self.moments.Sigma + self.D * np.outer(signs, signs))

    def measure(self, word: str, *, long_only: bool) -> RiskMeasure:
        """That of the covariance Sigma + D where nothing is short, or else a measure of its own."""
        if long_only or self.radius == 0.0:
            return measure_under(word, self.moments, self.moments.Sigma + self.D)
        return worst_measure(word, self)

    def add_square(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 (w'Sigma w + a'D a)`` with a >= |w|: as no entry of D is negative, larger a cost more."""
        n, a = builder.n, absolute_weights(builder, np.diag(self.D) > 0.0)
        P = np.zeros((max(n, a.stop), max(n, a.stop)))
        P[:n, :n] = self.moments.Sigma
        P[a, a] += self.D
        builder.minimize_quadratic(Quadratic(weight * P))

    def norm(self, builder: ProgramBuilder, size: float) -> slice:
        """``t size >= ||(root w, root_D a)||`` with a >= |w|."""
        root, root_D = covariance_root(self.moments.quadratic) / size, covariance_root(Quadratic(self.D)) / size
        a = absolute_weights(builder, np.diag(self.D) > 0.0)
        top = np.vstack([root, np.zeros((len(root_D), builder.n))])
        bottom = np.vstack([np.zeros((len(root), builder.n)), root_D])
        return builder.add_norm([(builder.weights, top), (a, bottom)], np.zeros(len(top)))


def _sampling_radius(sample: Sample, variances: Vector | None) -> float:
    """Rho of the confidence, by tr K and tr K^2 of the errors' covariance ``K = (I + K_c)(C x C) / T``."""
    kept = sample.kept
    if variances is None:
        C = np.eye(len(kept))
    else:
        sizes = variances[sample.uncertain]
        scales = np.where(sizes > 0.0, 1.0 / np.sqrt(np.where(sizes > 0.0, sizes, 1.0)), 0.0)
        C = kept * np.outer(scales, scales)
    squared = C @ C
    trace, of_square, of_fourth = float(np.trace(C)), float(np.trace(squared)), float(np.sum(squared * squared))
    first = (trace**2 + of_square) / sample.T
    second = 2.0 * (of_square**2 + of_fourth) / sample.T**2
    return math.sqrt(quantile_by_traces(first, second, sample.confidence))


def _semidefinite(D: Matrix, variances: Vector) -> Matrix:
    """D with as much of the variances added as makes it positive semidefinite; relative to them, all alike."""
    deviations = np.sqrt(variances)
    scales = np.where(deviations > 0.0, 1.0 / np.where(deviations > 0.0, deviations, 1.0), 0.0)
    values = np.linalg.eigvalsh(D * np.outer(scales, scales))
    if values.size == 0 or values[0] >= -_ROUNDING * values[-1]:
        return D
    return np.asarray(D - values[0] * (1.0 + _ROUNDING) * np.diag(variances))
