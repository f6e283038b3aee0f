"""Covariances of a factor model whose exposures and specific variances are uncertain: a set of covariances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special

from kernel.builder import ProgramBuilder
from kernel.canonical import Mask, Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures.base import RiskMeasure
from kernel.problem import Moments
from kernel.robust.sample import absolute_weights, chi_square_quantile, require_not_negative
from kernel.robust.worst_volatility import worst_measure


@dataclass(frozen=True, slots=True)
class FactorCovariances:
    """Exposures to factors and specific variances uncertain, the factors' covariance F known.

    Attributes:
        moments: Their covariance is ``(F^(1/2) V0)'(F^(1/2) V0) + diag(d)``, kept as factor and diagonal.
        reach: (n,) r, largest error of an asset's exposures in the norm of F, annual volatility.
        specific: (n,) d', largest specific variances, annual, none below the nominal one.
        radius: By what the standard errors of the exposures were multiplied.

    Raises:
        ProblemError: The covariance is not kept as factors, or a number is negative or not finite.
    """

    moments: Moments
    reach: Vector
    specific: Vector
    radius: float

    def __post_init__(self) -> None:
        require_not_negative(self.reach, "exposures")
        require_not_negative(self.specific, "specific_variances")
        quadratic = self.moments.quadratic
        if quadratic.factor is None or quadratic.diagonal is None:
            raise ProblemError("covariance", "must be that of a factor model")

    @classmethod
    def of_regressions(cls, moments: Moments, uncertain: Mask, T: int, confidence: float) -> FactorCovariances:
        """The sets of the confidence, from regressions of T returns on k factors with normal residuals.

        r_i^2 = k f d_i / (T - 1),  d'_i = (T - k - 1) d_i / q;  f the quantile of F(k, T - k - 1) and q the lower one
        of chi-square(T - k - 1), each of the 2 n statements at 1 - (1 - c) / (2 n), so that all hold together with
        probability c whatever their dependence (Bonferroni).

        Args:
            moments: With the covariance of the factor model.
            uncertain: (n,) assets whose regressions count.
            T: Returns in each regression, more than k + 1.
            confidence: c, for all assets together.

        Raises:
            ProblemError: There are too few returns.

        References:
            Goldfarb & Iyengar (2003), section 5.
        """
        quadratic = moments.quadratic
        if quadratic.factor is None or quadratic.diagonal is None:
            raise ProblemError("covariance", "must be that of a factor model")
        k, count = len(quadratic.factor), max(int(uncertain.sum()), 1)
        left = T - k - 1
        if left < 1:
            raise ProblemError("observations", f"must be more than {k + 1} for {k} factors, not {T}")
        each = (1.0 - confidence) / (2.0 * count)
        f, q = _upper_quantile_of_f(each, k, left), chi_square_quantile(each, left)
        d = quadratic.diagonal
        reach = np.where(uncertain, np.sqrt(k * f * d / (T - 1)), 0.0)
        return cls(moments, reach, np.where(uncertain, d * (left / q), d), math.sqrt(k * f))

    @property
    def _factor(self) -> Matrix:
        factor = self.moments.quadratic.factor
        assert factor is not None
        return factor

    def worst(self, w: Vector) -> Matrix:
        """X'X + diag(d') with ``X = F^(1/2) V0 + u (r o s)'``, u the direction of F^(1/2) V0 w and s the signs of w."""
        X = self._factor
        moved = X @ w
        size = float(np.linalg.norm(moved))
        u = moved / size if size > 0.0 else np.eye(len(X))[0]
        X = X + np.outer(u, self.reach * np.sign(w))
        return np.asarray(X.T @ X + np.diag(self.specific))

    def measure(self, word: str, *, long_only: bool) -> RiskMeasure:
        """A measure of its own."""
        return worst_measure(word, self)

    def add_square(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 t^2`` with t of `norm`; of a ratio program the square itself, not in perspective."""
        size = self.moments.typical_volatility or 1.0
        one = 1.0 if builder.kappa is None else builder.add_variables(1, lower=1.0, upper=1.0)
        squares = builder.add_squares(self.norm(builder, size), one)
        builder.minimize_form([(squares, np.array([0.5 * weight * size**2]))])

    def norm(self, builder: ProgramBuilder, size: float) -> slice:
        """``t size >= ||(m + r'a, sqrt(d') w)||`` with m >= ||F^(1/2) V0 w|| and a >= |w|."""
        X, n = self._factor / size, builder.n
        m = builder.add_norm([(builder.weights, X)], np.zeros(len(X)))
        a = absolute_weights(builder, self.reach > 0.0)
        first = np.eye(n + 1, 1)
        rest = np.vstack([np.zeros((1, n)), np.diag(np.sqrt(self.specific) / size)])
        moved = first @ (self.reach[None, :] / size)
        return builder.add_norm([(m, first), (a, moved), (builder.weights, rest)], np.zeros(n + 1))


def _upper_quantile_of_f(share: float, k: int, left: int) -> float:
    """What F(k, left) exceeds with probability `share`, by the beta distribution, which is exact for the smallest."""
    y = float(scipy.special.betaincinv(0.5 * left, 0.5 * k, share))
    return left / k * (1.0 - y) / y
