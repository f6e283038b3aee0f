"""Deviations: semi-deviation, mean absolute deviation and Gini's mean difference, all annual.

    semi-deviation            sqrt(h) sqrt(E (m - r)+^2),  m = E r or a fixed target
    mean absolute deviation   sqrt(h) E |r - E r|
    Gini's mean difference    sqrt(h) E |r - r'|,  r' an independent copy of r

with r the portfolio's return per period and h the periods in a year.

References: Markowitz (1959) for the semi-deviation; Konno & Yamazaki (1991); Yitzhaki (1982).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Matrix, Vector
from kernel.measures.base import EpigraphMeasure, PlanarMeasure, SupportMeasure
from kernel.scenarios import Scenarios

_ONE = np.ones(1)
_NOTHING = np.zeros(1)


@dataclass(frozen=True, slots=True)
class SemiDeviation(EpigraphMeasure):
    """Root mean square of the shortfalls below the portfolio's own mean, or below a target.

    Attributes:
        target: Per period; None = the portfolio's mean. Below a target the measure has no degree, so no contributions.
    """

    scenarios: Scenarios
    target: float | None = None
    name: str = "semi_deviation"
    unit: str = "deviation"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable t >= ||sqrt(p) u|| with u the shortfalls."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        below = (self._reference(scenarios) - scenarios.R) / size
        b = np.full(scenarios.T, 0.0 if self.target is None else -self.target / size)
        u = builder.add_hinges([(builder.weights, below)], b)
        roots = sp.csr_array(sp.diags_array(np.sqrt(scenarios.p)))
        t = builder.add_norm([(u, roots)], np.zeros(scenarios.T))
        return [(t, size * np.sqrt(scenarios.periods_per_year) * _ONE)]

    def of(self, w: Vector) -> float:
        """sqrt(h E u^2)."""
        u = self._shortfalls(w)
        return float(np.sqrt(self.scenarios.periods_per_year * (self.scenarios.p @ u**2)))

    def contributions(self, w: Vector) -> Vector | None:
        """``w_i h E u (E R_i - R_i) / risk``; None below a target."""
        if self.target is not None:
            return None
        risk, u = self.of(w), self.scenarios.p * self._shortfalls(w)
        if risk == 0.0:
            return np.zeros(len(w))
        slope = float(u.sum()) * self.scenarios.mean - u @ self.scenarios.R
        return w * slope * (self.scenarios.periods_per_year / risk)

    def _reference(self, scenarios: Scenarios) -> Vector:
        return scenarios.mean if self.target is None else _NOTHING

    def _shortfalls(self, w: Vector) -> Vector:
        r = -self.scenarios.losses(w)
        return np.maximum((float(self.scenarios.p @ r) if self.target is None else self.target) - r, 0.0)


class _Spread(SupportMeasure):
    """A deviation ``sqrt(h) q'r`` with multipliers q (T,) that depend on the order of the returns r."""

    scenarios: Scenarios

    @abstractmethod
    def _multipliers(self, r: Vector) -> Vector:
        """(T,) q."""

    @property
    def _per_year(self) -> float:
        return float(np.sqrt(self.scenarios.periods_per_year))

    def of(self, w: Vector) -> float:
        """sqrt(h) q'r."""
        r = -self.scenarios.losses(w)
        return max(self._per_year * float(self._multipliers(r) @ r), 0.0)

    def support(self, w: Vector) -> Vector:
        """sqrt(h) R'q."""
        return np.asarray(self._per_year * (self._multipliers(-self.scenarios.losses(w)) @ self.scenarios.R))


@dataclass(frozen=True, slots=True)
class MeanAbsoluteDeviation(_Spread):
    """The mean distance from the mean, which is twice the mean shortfall below it."""

    scenarios: Scenarios
    name: str = "mad"
    unit: str = "deviation"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """Twice the mean of the shortfalls."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        below = (scenarios.mean - scenarios.R) / size
        u = builder.add_hinges([(builder.weights, below)], np.zeros(scenarios.T))
        return [(u, 2.0 * size * self._per_year * scenarios.p)]

    def _multipliers(self, r: Vector) -> Vector:
        """Twice ``p_t (P(short) - 1{t short})``, so that the part of the mean is in it."""
        p = self.scenarios.p
        short = p * (r < p @ r)
        return np.asarray(2.0 * (float(short.sum()) * p - short))


@dataclass(frozen=True, slots=True)
class GiniMeanDifference(_Spread, PlanarMeasure):
    """The mean distance of two independent draws."""

    scenarios: Scenarios
    planes: Matrix | None = None
    name: str = "gini"
    unit: str = "deviation"
    least = 0.0

    def with_planes(self, planes: Matrix) -> GiniMeanDifference:
        """The measure, held by these planes."""
        return replace(self, planes=planes)

    def write(self, builder: ProgramBuilder) -> Form:
        """``|d| = 2 d+ - d`` of every pair."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        i, j = np.triu_indices(scenarios.T, k=1)
        differences = (scenarios.R[i] - scenarios.R[j]) / size
        weights = 2.0 * size * self._per_year * scenarios.p[i] * scenarios.p[j]
        u = builder.add_hinges([(builder.weights, differences)], np.zeros(len(i)))
        return [(u, 2.0 * weights), (builder.weights, -(weights @ differences))]

    def _multipliers(self, r: Vector) -> Vector:
        """``2 p_t (P(r' < r_t) - P(r' > r_t))``; equal returns share what their order leaves open."""
        p = self.scenarios.p
        _, places = np.unique(r, return_inverse=True)
        mass = np.bincount(places, p)
        below = np.cumsum(mass) - mass
        return np.asarray(2.0 * p * (2.0 * below + mass - mass.sum())[places])
