"""Value at risk: the loss per period that is not exceeded with probability c.

    var = min {x : P(L <= x) >= c},    L = -r

It is not convex. As a mixed-integer program some scenarios are exempt, of a total probability of at most 1 - c:

    L_t - x <= M_t z_t,    p'z <= 1 - c,    z_t in {0, 1}

with M_t no less than any excess of L_t over the value at risk that the weights' limits allow. `ConvexBound` is the same
with z_t in [0, 1], so that what is least for it bounds the value at risk from below.

References: Jorion (2006); Qiu, Ahmed, Dey & Wolsey (2014), Covering linear programming with violations, for M.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Mask, Matrix, Vector
from kernel.errors import ProblemError
from kernel.measures.base import EpigraphMeasure, RiskMeasure
from kernel.measures.tails import ConditionalValueAtRisk, WorstRealization
from kernel.quadratic import Indices
from kernel.scenarios import Scenarios

_ONE = np.ones(1)
# Lifts sums such as 57 * 0.01 = 0.5700000000000001 back to the number they stand for.
_ROUNDING = 1e-9
# Losses nearer to each other than this, in units of typical returns, bind together.
_AT_QUANTILE = 1e-6
# Differences of returns, over all pairs of scenarios and all assets, that are looked at.
_MOST_PAIRS = 10_000_000


@dataclass(frozen=True, slots=True)
class ValueAtRisk(EpigraphMeasure):
    """The smallest loss x with P(L <= x) >= c.

    Attributes:
        reach: (T,) M >= 0, the most by which the loss of each scenario can exceed the value at risk; None where no
            program is to be written.
    """

    scenarios: Scenarios
    confidence_level: float = 0.95
    reach: Vector | None = None
    name: str = "var"
    unit: str = "loss"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable x above every loss but those of exempt scenarios, and the switches that exempt them."""
        if self.reach is None:
            raise ProblemError("risk_measure", "the value at risk is not convex and cannot stand here")
        x, places, size = _add_losses(builder, self.scenarios, self.reach)
        if len(places):
            _add_exemptions(builder, x, places, self)
        return [(x, size * _ONE)]

    def of(self, w: Vector) -> float:
        """The quantile of the losses."""
        return quantile(self.scenarios.losses(w), self.scenarios.p, self.confidence_level)

    def contributions(self, w: Vector) -> Vector | None:
        """``-w_i R_ti`` in the scenario of the quantile; equal losses share alike."""
        losses, p = self.scenarios.losses(w), self.scenarios.p
        there = p * (losses == quantile(losses, p, self.confidence_level))
        return np.asarray(-w * (there @ self.scenarios.R) / there.sum())

    def exempting(self, w: Vector, part: float = 1.0) -> RiskMeasure:
        """A convex risk that is never below the value at risk: the worst of w's losses, at most `part` of what may be.

        Of the losses that stay, what is left of 1 - c is averaged; with nothing left that is the largest loss.
        """
        scenarios, c = self.scenarios, self.confidence_level
        losses = scenarios.losses(w)
        kept = losses <= quantile(losses, scenarios.p, 1.0 - part * (1.0 - c))
        left = float(scenarios.p[kept].sum())
        rest = scenarios if kept.all() else subset(scenarios, kept)
        if left - c <= float(rest.p.min()) * left * (1.0 - _ROUNDING):
            return WorstRealization(rest, name=self.name)
        return ConditionalValueAtRisk(rest, c / left, name=self.name)

    def exempting_one_more(self, w: Vector, which: int) -> RiskMeasure:
        """The same with one more exempt: the scenario `which`, counted in their order, of those at the quantile."""
        losses, p = self.scenarios.losses(w), self.scenarios.p
        level = quantile(losses, p, self.confidence_level)
        near = np.abs(losses - level) <= _AT_QUANTILE * self.scenarios.typical_size
        at_level = np.flatnonzero(near & (p > 0.0))
        kept = losses <= level
        if np.count_nonzero(kept) > 1:
            kept[at_level[which % len(at_level)]] = False
        return WorstRealization(subset(self.scenarios, kept), name=self.name)


@dataclass(frozen=True, slots=True)
class ConvexBound(EpigraphMeasure):
    """The least x with ``E (L - x)+ / M <= 1 - c`` and ``L <= x + M``: at most the value at risk."""

    scenarios: Scenarios
    confidence_level: float
    reach: Vector
    name: str = "var"
    unit: str = "loss"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """The rows of the value at risk with hinges in place of switches."""
        x, places, size = _add_losses(builder, self.scenarios, self.reach)
        if len(places):
            R, M = self.scenarios.R[places] / size, self.reach[places] / size
            beyond = [(builder.weights, -R), (x, np.full((len(places), 1), -1.0))]
            u = builder.add_hinges(beyond, np.zeros(len(places)))
            share = np.array([exempt_probability(self.scenarios.p[places], self.confidence_level)])
            names = (DEFINITION,)
            builder.add_rows(names, Cone.NONNEGATIVE, [(u, (self.scenarios.p[places] / M)[None, :])], share)
            builder.add_rows(names * len(places), Cone.NONNEGATIVE, beyond, M)
        return [(x, size * _ONE)]

    def of(self, w: Vector) -> float:
        """By the kinks of the sum, which is piecewise linear in x."""
        losses, p, M = self.scenarios.losses(w), self.scenarios.p, self.reach
        floor = float((losses - M)[p > 0.0].max())
        open_ = (M > 0.0) & (losses > floor) & (p > 0.0)
        if not open_.any():
            return floor
        return max(floor, self._root(losses[open_], p[open_] / M[open_]))

    def contributions(self, w: Vector) -> Vector | None:
        """None: it is a bound, not a risk."""
        return None

    def _root(self, losses: Vector, slopes: Vector) -> float:
        """The x with ``slopes'(L - x)+ = 1 - c``."""
        order = np.argsort(-losses, kind="stable")
        slope, height = np.cumsum(slopes[order]), np.cumsum((slopes * losses)[order])
        share = exempt_probability(self.scenarios.p[self.reach > 0.0], self.confidence_level)
        candidates = (height - share) / slope
        return float(candidates.max())


def quantile(losses: Vector, p: Vector, confidence_level: float) -> float:
    """The smallest of `losses` (T,) that with probabilities p (T,) is not exceeded with probability c."""
    order = np.argsort(losses, kind="stable")
    place = int(np.searchsorted(np.cumsum(p[order]), confidence_level - _ROUNDING))
    return float(losses[order[min(place, len(order) - 1)]])


def exempt_probability(p: Vector, confidence_level: float) -> float:
    """How much of the probabilities p may be exempt: at most 1 - c, of equal ones a whole number."""
    share = 1.0 - confidence_level + _ROUNDING
    if len(p) and p.min() == p.max():
        return float(np.floor(share / p[0]) * p[0]) + _ROUNDING
    return share


def reach_of_losses(scenarios: Scenarios, confidence_level: float, lower: Vector, upper: Vector) -> Vector:
    """(T,) the most by which each loss can exceed the value at risk, for weights within bounds that add up to 1.

    The value at risk is at least the loss of scenarios of a total probability c. Whichever these are, among them is one
    over which L_t has at most the excess that those of a total probability c reach or pass. Where pairs are too many,
    the value at risk is taken to be at least the quantile of the smallest losses.
    """
    upper = np.minimum(upper, lower + 1.0 - lower.sum())
    R, p = scenarios.R, scenarios.p
    if scenarios.T * R.size > _MOST_PAIRS:
        largest, smallest = _largest_sums(-R, lower, upper), -_largest_sums(R, lower, upper)
        reach = largest - quantile(smallest, p, confidence_level)
    else:
        pairs = (-quantile(-_largest_sums(R - R[t], lower, upper), p, confidence_level) for t in range(scenarios.T))
        reach = np.fromiter(pairs, dtype=float, count=scenarios.T)
    return np.where(p > 0.0, np.maximum(reach, 0.0), 0.0)


def subset(scenarios: Scenarios, kept: Mask) -> Scenarios:
    """The scenarios `kept`, their probabilities in proportion."""
    p = scenarios.p[kept]
    return Scenarios(scenarios.names, scenarios.R[kept], p / p.sum(), scenarios.periods_per_year, ordered=False)


def _largest_sums(coefficients: Matrix, lower: Vector, upper: Vector) -> Vector:
    """(T,) for each row c the maximum of c'w over ``lower <= w <= upper, 1'w = 1``: the dearest are filled first."""
    order = np.argsort(-coefficients, axis=1, kind="stable")
    dearest = np.take_along_axis(coefficients, order, axis=1)
    room = (upper - lower)[order]
    left = 1.0 - lower.sum() - (np.cumsum(room, axis=1) - room)
    filled = np.clip(left, 0.0, room)
    return np.asarray((dearest * filled).sum(axis=1) + coefficients @ lower)


def _add_losses(builder: ProgramBuilder, scenarios: Scenarios, reach: Vector) -> tuple[slice, Indices, float]:
    """A variable x above the losses that cannot exceed it, the places of the others, and the unit of x."""
    size = scenarios.typical_size
    x = builder.add_variables(1)
    certain = np.flatnonzero((reach == 0.0) & (scenarios.p > 0.0))
    terms = [(builder.weights, -scenarios.R[certain] / size), (x, np.full((len(certain), 1), -1.0))]
    builder.add_rows((DEFINITION,) * len(certain), Cone.NONNEGATIVE, terms, np.zeros(len(certain)))
    return x, np.flatnonzero((reach > 0.0) & (scenarios.p > 0.0)), size


def _add_exemptions(builder: ProgramBuilder, x: slice, places: Indices, measure: ValueAtRisk) -> None:
    scenarios, reach = measure.scenarios, measure.reach
    assert reach is not None
    size = scenarios.typical_size
    z = builder.add_switches(measure.name, len(places))
    terms = [
        (builder.weights, -scenarios.R[places] / size),
        (x, np.full((len(places), 1), -1.0)),
        (z, np.diag(-reach[places] / size)),
    ]
    builder.add_rows((DEFINITION,) * len(places), Cone.NONNEGATIVE, terms, np.zeros(len(places)))
    p = scenarios.p[places]
    share = np.array([exempt_probability(p, measure.confidence_level)])
    builder.add_rows((DEFINITION,), Cone.NONNEGATIVE, [(z, p[None, :])], share)
