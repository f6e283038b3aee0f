"""Sets of expected returns: what they take off the return of w, and the member that does.

    box        {mu: |mu_i - m_i| <= delta_i}                delta'|w|
    ellipsoid  {m + S^(1/2) u: ||u|| <= kappa}              kappa ||S^(1/2) w||

References: Ben-Tal & Nemirovski (1998); Ceria & Stubbs (2006); Tutuncu & Koenig (2004) for the box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Vector
from kernel.costs import Deduction
from kernel.measures.volatility import covariance_root
from kernel.quadratic import Quadratic
from kernel.robust.sample import Sample, absolute_weights, chi_square_quantile, require_not_negative


class MeanSet(Deduction, Protocol):
    """A set of expected returns; as a deduction, the shortfall of its worst member at w."""

    @property
    def radius(self) -> float:
        """Its size: the multiplier of standard errors, or the largest half-width."""

    def shift(self, w: Vector) -> Vector:
        """(n,) the worst member at w less the nominal means: ``of(w) = -shift(w)'w``."""


@dataclass(frozen=True, slots=True)
class BoxOfMeans:
    """Every mean within an interval of its own.

    Attributes:
        half_widths: (n,) annual, >= 0.

    Raises:
        ProblemError: A half-width is negative or not finite.
    """

    half_widths: Vector
    offset = 0.0

    def __post_init__(self) -> None:
        require_not_negative(self.half_widths, "half_widths")

    @classmethod
    def of_sample(cls, sample: Sample) -> BoxOfMeans:
        """Each mean within its own normal confidence interval, ``z sqrt(Sigma_ii h / T)``."""
        return cls(sample.normal_quantile * np.sqrt(np.diag(sample.errors)))

    @property
    def radius(self) -> float:
        """The largest half-width."""
        return float(self.half_widths.max(initial=0.0))

    def of(self, w: Vector) -> float:
        """delta'|w|."""
        return float(self.half_widths @ np.abs(w))

    def form(self, builder: ProgramBuilder) -> Form:
        """Delta't with t >= |w|."""
        return [(absolute_weights(builder, self.half_widths > 0.0), self.half_widths)]

    def shift(self, w: Vector) -> Vector:
        """-delta_i sign(w_i)."""
        return np.asarray(-self.half_widths * np.sign(w))


@dataclass(frozen=True, slots=True)
class EllipsoidOfMeans:
    """All means together within kappa standard errors.

    Attributes:
        S: (n, n) covariance of the errors of the means, annual.
        radius: kappa, >= 0.

    Raises:
        ProblemError: The radius is negative or not finite.
    """

    S: Quadratic
    radius: float
    offset = 0.0

    def __post_init__(self) -> None:
        require_not_negative(self.radius, "radius")

    @classmethod
    def of_sample(cls, sample: Sample, radius: float | None = None) -> EllipsoidOfMeans:
        """The joint normal confidence ellipsoid, kappa^2 a chi-square quantile; or that of a given kappa."""
        count = int(sample.uncertain.sum())
        kappa = math.sqrt(chi_square_quantile(sample.confidence, count)) if count else 0.0
        return cls(Quadratic(sample.errors), kappa if radius is None else radius)

    def of(self, w: Vector) -> float:
        """Kappa ||S^(1/2) w||."""
        return self.radius * math.sqrt(max(float(w @ self.S.times(w)), 0.0))

    def form(self, builder: ProgramBuilder) -> Form:
        """Kappa t with t >= ||S^(1/2) w||."""
        if self.radius == 0.0 or self.S.is_zero:
            return []
        root = covariance_root(self.S)
        return [(builder.add_norm([(builder.weights, root)], np.zeros(len(root))), np.array([self.radius]))]

    def shift(self, w: Vector) -> Vector:
        """-kappa S w / ||S^(1/2) w||; none at a w whose return is certain."""
        pushed = self.S.times(w)
        size = math.sqrt(max(float(w @ pushed), 0.0))
        return np.asarray(-self.radius / size * pushed) if size > 0.0 else np.zeros(len(w))
