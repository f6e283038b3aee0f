"""Scenarios: what returns may turn out to be, and how probable each is. History is one set of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from kernel.quadratic import Matrix, Vector

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Returns of the named assets in T scenarios.

    Attributes:
        names: (n,) assets.
        R: (T, n) simple returns per period.
        p: (T,) probabilities, >= 0, adding up to 1.
        periods_per_year: Periods in a year: by them means and deviations are annualised.
        ordered: Whether the rows follow each other in time, so that drawdowns have a meaning.

    Raises:
        ProblemError: Shapes differ, a number is not finite, or the probabilities do not add up to 1.
    """

    names: tuple[str, ...]
    R: Matrix
    p: Vector
    periods_per_year: float = 252.0
    ordered: bool = True

    def __post_init__(self) -> None:
        T, n = self.R.shape
        if n != len(self.names) or self.p.shape != (T,) or T == 0:
            raise ProblemError("scenarios", f"{len(self.names)} assets, {len(self.p)} probabilities, returns {T} x {n}")
        if not np.isfinite(self.R).all():
            t, i = (int(indices[0]) for indices in np.nonzero(~np.isfinite(self.R)))
            raise ProblemError(f"scenarios[{t}][{self.names[i]}]", f"must be finite, not {self.R[t, i]}")
        for t in np.flatnonzero(~(self.p >= 0.0)).tolist():
            raise ProblemError(f"scenarios[{t}].probability", f"must not be negative, not {self.p[t]}")
        if abs(float(self.p.sum()) - 1.0) > _ROUNDING:
            raise ProblemError("scenarios.probability", f"must add up to 1, not {self.p.sum():.12g}")
        self.R.flags.writeable = False
        self.p.flags.writeable = False

    @classmethod
    def history(cls, names: tuple[str, ...], R: Matrix, periods_per_year: float = 252.0) -> Scenarios:
        """Equally probable past periods, in the order of time."""
        T = len(R)
        return cls(names, R, np.full(T, 1.0 / T), periods_per_year)

    @property
    def T(self) -> int:
        """Number of scenarios."""
        return len(self.p)

    @property
    def n(self) -> int:
        """Number of assets."""
        return len(self.names)

    @property
    def mean(self) -> Vector:
        """(n,) expected returns per period."""
        return np.asarray(self.p @ self.R)

    @property
    def typical_size(self) -> float:
        """Root mean square of the returns: the unit in which programs state them. 1 when all are zero."""
        size = float(np.sqrt(np.mean(self.R**2)))
        return size if size > 0.0 else 1.0

    @property
    def possible(self) -> Scenarios:
        """The scenarios of positive probability."""
        kept = self.p > 0.0
        return self if kept.all() else replace(self, R=self.R[kept], p=self.p[kept], ordered=False)

    def losses(self, w: Vector) -> Vector:
        """(T,) -R w."""
        return np.asarray(-(self.R @ w))
