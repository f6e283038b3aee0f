"""Tail measures: conditional and entropic value at risk, and the worst realization; losses per period.

    cvar    min_x x + E (L - x)+ / (1 - c)              the mean of the worst 1 - c of the distribution
    evar    inf_{z>0} z ln(E exp(L / z) / (1 - c))      the tightest of Chernoff's bounds on the value at risk
    worst   max L

with L = -r the portfolio's loss per period. Each is the largest mean loss q'L over a set of probabilities q, so that a
portfolio that gains even then has a negative risk.

References: Rockafellar & Uryasev (2002); Ahmadi-Javid (2012); Young (1998).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
import scipy.special

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Matrix, Vector
from kernel.measures.base import PlanarMeasure, SupportMeasure
from kernel.scenarios import Scenarios

_ONE = np.ones(1)
# Where the search for the entropic scale z begins and ends, in units of the spread of losses: below the first, losses
# that differ by more than rounding count all or nothing.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-18, 1e8


class _Coherent(SupportMeasure):
    """A measure ``q'L`` with the worst probabilities q (T,) of a set."""

    scenarios: Scenarios

    @abstractmethod
    def _worst_probabilities(self, losses: Vector) -> Vector:
        """(T,) q."""

    def of(self, w: Vector) -> float:
        """The mean q'L."""
        losses = self.scenarios.losses(w)
        return float(self._worst_probabilities(losses) @ losses)

    def support(self, w: Vector) -> Vector:
        """-R'q."""
        return np.asarray(-(self._worst_probabilities(self.scenarios.losses(w)) @ self.scenarios.R))


@dataclass(frozen=True, slots=True)
class ConditionalValueAtRisk(_Coherent):
    """The mean loss of the worst 1 - c; the scenario that the tail cuts counts with the part that lies in it."""

    scenarios: Scenarios
    confidence_level: float = 0.95
    name: str = "cvar"
    unit: str = "loss"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """``x + E u / (1 - c)`` with u the losses beyond x."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        x = builder.add_variables(1)
        beyond = [(builder.weights, -scenarios.R / size), (x, np.full((scenarios.T, 1), -1.0))]
        u = builder.add_hinges(beyond, np.zeros(scenarios.T))
        return [(x, size * _ONE), (u, size * scenarios.p / (1.0 - self.confidence_level))]

    def _worst_probabilities(self, losses: Vector) -> Vector:
        return tail_weights(losses, self.scenarios.p, self.confidence_level)


@dataclass(frozen=True, slots=True)
class EntropicValueAtRisk(_Coherent, PlanarMeasure):
    """The largest mean loss under probabilities whose entropy relative to p is at most -ln(1 - c)."""

    scenarios: Scenarios
    confidence_level: float = 0.95
    planes: Matrix | None = None
    name: str = "evar"
    unit: str = "loss"

    def with_planes(self, planes: Matrix) -> EntropicValueAtRisk:
        """The measure, held by these planes."""
        return replace(self, planes=planes)

    def write(self, builder: ProgramBuilder) -> Form:
        """``x - z ln(1 - c)`` with ``z exp((L_t - x) / z) <= v_t`` and ``p'v <= z``."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        x, z = builder.add_variables(1), builder.add_variables(1, lower=0.0)
        v = builder.add_variables(scenarios.T, lower=0.0)
        first, second, third = np.eye(3)[:, :, None]
        for t, returns in enumerate(scenarios.R / size):
            own = (slice(v.start + t, v.start + t + 1), -third)
            loss = (builder.weights, first * returns)
            builder.add_rows((DEFINITION,), Cone.EXPONENTIAL, [loss, (x, first), (z, -second), own], np.zeros(3))
        mean = [(v, scenarios.p[None, :]), (z, -_ONE[None, :])]
        builder.add_rows((DEFINITION,), Cone.NONNEGATIVE, mean, np.zeros(1))
        return [(x, size * _ONE), (z, -size * np.log(1.0 - self.confidence_level) * _ONE)]

    def _worst_probabilities(self, losses: Vector) -> Vector:
        """Of p tilted by exp(L / z) the tilt that uses the entropy up; all on the largest loss where that is less."""
        p, share = self.scenarios.p, 1.0 - self.confidence_level
        worst = _largest(losses, p)
        at_worst = p * (losses == worst)
        possible = p > 0.0
        spread = worst - float(losses[possible].min())
        if spread == 0.0 or at_worst.sum() >= share:
            return np.asarray(at_worst / at_worst.sum())
        excess = (losses[possible] - worst) / spread

        def unused(log_scale: float) -> float:
            return _divergence(excess * np.exp(-log_scale), p[possible]) + float(np.log(share))

        first, last = float(np.log(_SMALLEST_SCALE)), float(np.log(_LARGEST_SCALE))
        nearly_equal = unused(first) <= 0.0
        scale = np.exp(first if nearly_equal else scipy.optimize.brentq(unused, first, last, xtol=1e-13, rtol=1e-13))
        q = np.zeros(len(p))
        q[possible] = scipy.special.softmax(excess / scale + np.log(p[possible]))
        return q


@dataclass(frozen=True, slots=True)
class WorstRealization(_Coherent):
    """The largest loss of any scenario that can happen."""

    scenarios: Scenarios
    name: str = "worst_realization"
    unit: str = "loss"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable above every loss."""
        scenarios = self.scenarios.possible
        size = scenarios.typical_size
        x = builder.add_variables(1)
        terms = [(builder.weights, -scenarios.R / size), (x, np.full((scenarios.T, 1), -1.0))]
        builder.add_rows((DEFINITION,) * scenarios.T, Cone.NONNEGATIVE, terms, np.zeros(scenarios.T))
        return [(x, size * _ONE)]

    def _worst_probabilities(self, losses: Vector) -> Vector:
        worst = self.scenarios.p * (losses == _largest(losses, self.scenarios.p))
        return np.asarray(worst / worst.sum())


def tail_weights(values: Vector, p: Vector, confidence_level: float) -> Vector:
    """(T,) what each of `values` counts in the mean of the largest 1 - c of them; adds up to 1.

    Args:
        values: (T,).
        p: (T,) probabilities.
        confidence_level: c, strictly between 0 and 1.

    References:
        Rockafellar & Uryasev (2002), proposition 8: the value that the tail cuts counts with the part beyond it.
    """
    order = np.argsort(-values, kind="stable")
    beyond = np.cumsum(p[order])
    share = 1.0 - confidence_level
    inside = np.clip(share - (beyond - p[order]), 0.0, p[order])
    weights = np.zeros(len(p))
    weights[order] = inside / inside.sum()
    return weights


def _largest(losses: Vector, p: Vector) -> float:
    return float(losses[p > 0.0].max())


def _divergence(exponents: Vector, p: Vector) -> float:
    """Relative entropy of the tilted probabilities ``q ~ p exp(exponents)`` to p."""
    logarithm = float(scipy.special.logsumexp(exponents, b=p))
    q = p * np.exp(exponents - logarithm)
    return float(q @ exponents) - logarithm
