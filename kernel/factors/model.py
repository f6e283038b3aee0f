"""Factor models of risk: r = alpha + B f + u, with uncorrelated specific parts u."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.arrays import FloatArray, read_only
from kernel.estimation.low_rank import LowRank

# Of the largest eigenvalue: a factor covariance with an eigenvalue below minus this is none.
_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class FactorModel:
    """Sigma = B Phi B' + diag(specific), annual. The one form in which every kind of model explains, bounds and prices.

    Attributes:
        factors: (k,) distinct names.
        names: (n,) distinct assets.
        B: (n, k) exposures, without unit.
        Phi: (k, k) annual covariance of the factors, symmetric positive semidefinite.
        specific: (n,) annual specific variances, >= 0.

    Raises:
        ProblemError: Shapes do not fit, a number is not finite, a variance is negative, or Phi is no covariance.
    """

    factors: tuple[str, ...]
    names: tuple[str, ...]
    B: FloatArray
    Phi: FloatArray
    specific: FloatArray

    def __post_init__(self) -> None:
        n, k = len(self.names), len(self.factors)
        for name, shape in (("B", (n, k)), ("Phi", (k, k)), ("specific", (n,))):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape:
                raise ProblemError(f"factor_model.{name}", f"has shape {array.shape}, names say {shape}")
            if not np.isfinite(array).all():
                raise ProblemError(f"factor_model.{name}", "contains a number that is not finite")
            object.__setattr__(self, name, read_only(array))
        if len(set(self.names)) != n or len(set(self.factors)) != k:
            raise ProblemError("factor_model", "has a name twice")
        if (self.specific < 0.0).any():
            asset = self.names[int(np.argmin(self.specific))]
            raise ProblemError(f"factor_model.specific[{asset}]", "is negative")
        values = np.linalg.eigvalsh(self.Phi)
        if not np.array_equal(self.Phi, self.Phi.T) or values[0] < -_ROUNDING * max(values[-1], 0.0):
            raise ProblemError("factor_model.Phi", "is not symmetric positive semidefinite")

    def restricted(self, names: Sequence[str]) -> FactorModel:
        """The model of some of its assets, in the order given.

        Raises:
            ProblemError: It does not have all of them; they are named.
        """
        place = {name: i for i, name in enumerate(self.names)}
        if missing := sorted(set(names) - set(place)):
            raise ProblemError("factor_model", f"has no exposures of {', '.join(missing)}")
        rows = [place[name] for name in names]
        return FactorModel(self.factors, tuple(names), self.B[rows], self.Phi, self.specific[rows])

    def low_rank(self) -> LowRank:
        """Sigma = factor'factor + diag(specific) with a factor of k rows, the symmetric root of Phi times B'."""
        values, vectors = np.linalg.eigh(self.Phi)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        return LowRank(read_only(root @ self.B.T), self.specific)


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """How factor covariance and specific variances are made of returns and residuals.

    Attributes:
        factor_half_life: Periods in which a weight halves in Phi; None = all alike.
        specific_half_life: The same in the specific variances.
        specific_shrinkage: Weight of their common middle, 0 to 1; None = by their sampling error.
        periods_per_year: Periods in a year.
    """

    factor_half_life: float | None = None
    specific_half_life: float | None = None
    specific_shrinkage: float | None = None
    periods_per_year: float = 252.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EstimatedModel:
    """A factor model and the evidence of its estimation; arrays are read-only.

    Attributes:
        model: The model.
        F: (T', k) factor returns per period, of the last T' periods of the window.
        alpha: (n,) annual mean return that the factors leave.
        standard_errors: (n, k) of the exposures; None where they are given.
        r_squared: (n,) share of the variance explained.
        unshrunk: (n,) annual specific variances before shrinkage.
        shrinkage: Weight of their common middle, 0 to 1.
        condition_number: Of the standardised factor returns, >= 1; of the exposures where these are given.
        variance_inflation: (k,) of the factors, >= 1.
        diagnostics: Further numbers by name.
    """

    model: FactorModel
    F: FloatArray
    alpha: FloatArray
    standard_errors: FloatArray | None
    r_squared: FloatArray
    unshrunk: FloatArray
    shrinkage: float
    condition_number: float
    variance_inflation: FloatArray
    diagnostics: Mapping[str, float] = field(default_factory=dict)
