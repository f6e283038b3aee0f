"""All distributions within a Wasserstein distance of the scenarios, and the worst conditional value at risk among them.

    sup CVaR_c(w) = CVaR_c(w) + eps / (1 - c) ||w||_*,        sup E(-r'w) = E(-r'w) + eps ||w||_*

for the ball of order 1 and radius eps by a norm whose dual is ``||.||_*``, any returns being possible. Both are
attained by one distribution: the worst 1 - c of the scenarios, moved by ``eps / (1 - c)`` against the v of size 1 with
``v'w = ||w||_*``. So risk and return may be taken at their worst together without assuming what cannot happen at once.

References: Mohajerin Esfahani & Kuhn (2018), section 7; Blanchet, Chen & Zhou (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Mask, Vector
from kernel.errors import ProblemError
from kernel.measures.base import SupportMeasure
from kernel.measures.tails import ConditionalValueAtRisk, tail_weights
from kernel.robust.sample import Sample, absolute_weights, quantile_of_squares, require_not_negative
from kernel.scenarios import Scenarios

NORMS = ("one", "two", "infinity")


@dataclass(frozen=True, slots=True)
class WassersteinBall:
    """The ball of distributions.

    Attributes:
        radius: eps, in returns per period, >= 0.
        norm: ``one``, ``two`` or ``infinity``, of returns.
        uncertain: (n,) assets whose returns may be others; those of the rest are certain.
        periods_per_year: Periods in a year, for the annual return.

    Raises:
        ProblemError: The norm is unknown, or the radius negative or not finite.
    """

    radius: float
    norm: str
    uncertain: Mask
    periods_per_year: float = 252.0
    offset = 0.0

    def __post_init__(self) -> None:
        require_not_negative(self.radius, "radius")
        if self.norm not in NORMS:
            raise ProblemError("norm", f"must be one of {', '.join(NORMS)}, not {self.norm!r}")

    @classmethod
    def of_sample(cls, sample: Sample, norm: str) -> WassersteinBall:
        """The ball that reaches the true mean with the confidence, for normal errors of the mean.

        No distribution of another mean is nearer than the distance of the means. That distance has the quantile
        `quantile_of_squares` in the norm two, and sqrt(n) times it bounds that in the norm one; in the norm infinity
        it is bounded by the eps at which the tails of all assets' errors add up to 1 - c.
        """
        errors = sample.errors[np.ix_(sample.uncertain, sample.uncertain)] / sample.periods_per_year**2
        if norm == "infinity":
            radius = _largest_error(np.sqrt(np.diag(errors)), sample.confidence)
        else:
            radius = math.sqrt(quantile_of_squares(errors, sample.confidence))
            radius *= math.sqrt(len(errors)) if norm == "one" else 1.0
        return cls(radius, norm, sample.uncertain, sample.periods_per_year)

    def dual_norm(self, w: Vector) -> float:
        """||w||_* of the uncertain assets."""
        return float(self.direction(w) @ w)

    def direction(self, w: Vector) -> Vector:
        """(n,) the v of the module's docstring, a subgradient of the dual norm; the first asset where several tie."""
        held = np.where(self.uncertain, w, 0.0)
        if self.norm == "infinity":
            return np.asarray(np.sign(held))
        if self.norm == "one":
            largest = int(np.argmax(np.abs(held)))
            return np.asarray(np.eye(1, len(w), largest)[0] * np.sign(held[largest]))
        size = float(np.linalg.norm(held))
        return held / size if size > 0.0 else held

    def dual_form(self, builder: ProgramBuilder) -> Form:
        """A linear form >= ||w||_*."""
        counted = self.uncertain.astype(float)
        if self.norm == "two":
            rows = np.diag(counted)[self.uncertain]
            return [(builder.add_norm([(builder.weights, rows)], np.zeros(len(rows))), np.ones(1))]
        a = absolute_weights(builder, self.uncertain)
        if self.norm == "infinity":
            return [(a, counted)]
        t, rows = builder.add_variables(1, lower=0.0), np.diag(counted)[self.uncertain]
        terms = [(a, rows), (t, np.full((len(rows), 1), -1.0))]
        builder.add_rows((DEFINITION,) * len(rows), Cone.NONNEGATIVE, terms, np.zeros(len(rows)))
        return [(t, np.ones(1))]

    def of(self, w: Vector) -> float:
        """What the worst distribution takes off the annual return: ``periods_per_year eps ||w||_*``."""
        return self.periods_per_year * self.radius * self.dual_norm(w)

    def form(self, builder: ProgramBuilder) -> Form:
        """The same as a linear form."""
        if self.radius == 0.0 or not self.uncertain.any():
            return []
        size = self.periods_per_year * self.radius
        return [(place, size * coefficients) for place, coefficients in self.dual_form(builder)]

    def shift(self, w: Vector) -> Vector:
        """(n,) the worst expected returns less the nominal ones, annual."""
        return np.asarray(-self.periods_per_year * self.radius * self.direction(w))

    def worst(self, scenarios: Scenarios, confidence_level: float, w: Vector) -> Scenarios:
        """The worst distribution at w: every scenario beside its moved part, whose probability may be zero."""
        share = 1.0 - confidence_level
        moved = share * tail_weights(scenarios.losses(w), scenarios.p, confidence_level)
        R = np.vstack([scenarios.R, scenarios.R - self.radius / share * self.direction(w)])
        p = np.append(np.maximum(scenarios.p - moved, 0.0), moved)
        return Scenarios(scenarios.names, R, p / p.sum(), scenarios.periods_per_year, ordered=False)


@dataclass(frozen=True, slots=True)
class WorstConditionalValueAtRisk(SupportMeasure):
    """The largest conditional value at risk among the distributions of a ball around the scenarios."""

    nominal: ConditionalValueAtRisk
    ball: WassersteinBall
    name: str = "cvar"
    unit: str = "loss"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """The nominal measure's form and that of the dual norm."""
        form = list(self.nominal.epigraph(builder))
        if self._slope > 0.0:
            form += [(place, self._slope * coefficients) for place, coefficients in self.ball.dual_form(builder)]
        return form

    def of(self, w: Vector) -> float:
        """CVaR(w) + eps / (1 - c) ||w||_*."""
        return self.nominal.of(w) + self._slope * self.ball.dual_norm(w)

    def support(self, w: Vector) -> Vector:
        """The nominal subgradient, and that of the dual norm."""
        return np.asarray(self.nominal.support(w) + self._slope * self.ball.direction(w))

    @property
    def _slope(self) -> float:
        return self.ball.radius / (1.0 - self.nominal.confidence_level) if self.ball.uncertain.any() else 0.0


def _largest_error(deviations: Vector, confidence: float) -> float:
    """The eps with ``sum_i P(|e_i| > eps) = 1 - c`` for normal errors of the given deviations."""
    deviations = deviations[deviations > 0.0]
    if not len(deviations):
        return 0.0

    def excess(eps: float) -> float:
        return float(2.0 * scipy.special.ndtr(-eps / deviations).sum()) - (1.0 - confidence)

    last = -float(deviations.max()) * float(scipy.special.ndtri(0.5 * (1.0 - confidence) / len(deviations)))
    # Of equal deviations it is the solution itself, to rounding on either side.
    if excess(last) >= 0.0:
        return last
    return float(scipy.optimize.brentq(excess, 0.0, last, xtol=1e-300, rtol=1e-12))
