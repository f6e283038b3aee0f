"""Drawdowns: how far the portfolio stood below its earlier peak, on the uncompounded path of its returns.

    C_t = r_1 + ... + r_t,    d_t = max(0, C_1, ..., C_t) - C_t = (d_{t-1} - r_t)+,    d_0 = 0

    maximum drawdown   max_t d_t
    average drawdown   E d
    cdar               mean of the largest 1 - c of the d_t
    ulcer index        sqrt(E d^2)

The compounded path of `kernel.performance` is not convex in the weights; over a window of moderate returns the two
differ by terms of second order.

References: Chekhlov, Uryasev & Zabarankin (2005); Martin & McCann (1989) for the ulcer index.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.builder import Form, ProgramBuilder, Terms
from kernel.canonical import DEFINITION, Cone, Vector
from kernel.errors import ProblemError
from kernel.measures.base import SupportMeasure
from kernel.measures.tails import tail_weights
from kernel.scenarios import Scenarios

_ONE = np.ones(1)


class _Drawdown(SupportMeasure):
    """A measure ``q'd`` with multipliers q (T,) that depend on the drawdowns d."""

    scenarios: Scenarios
    name: str

    def __post_init__(self) -> None:
        if not self.scenarios.ordered:
            raise ProblemError("risk_measure", f"{self.name} needs scenarios that follow each other in time")

    @abstractmethod
    def _multipliers(self, d: Vector) -> Vector:
        """(T,) q."""

    def of(self, w: Vector) -> float:
        """The mean q'd."""
        d = self.drawdowns(w)
        return float(self._multipliers(d) @ d)

    def support(self, w: Vector) -> Vector:
        """``sum_t q_t (C_s(t) - C_t)`` with s(t) the last peak before t, or the start."""
        path = self._path(w)
        peaks = np.maximum.accumulate(path)
        new = np.append(True, path[1:] > peaks[:-1])
        last = np.maximum.accumulate(np.where(new, np.arange(len(path)), 0))[1:]
        q = self._multipliers((peaks - path)[1:])
        on_path = np.bincount(last, q, minlength=len(path))[1:] - q
        return np.asarray(np.cumsum(on_path[::-1])[::-1] @ self.scenarios.R)

    def drawdowns(self, w: Vector) -> Vector:
        """(T,) d."""
        path = self._path(w)
        return np.asarray((np.maximum.accumulate(path) - path)[1:])

    def _path(self, w: Vector) -> Vector:
        return np.append(0.0, np.cumsum(-self.scenarios.losses(w)))

    def _add_drawdowns(self, builder: ProgramBuilder) -> tuple[slice, float]:
        """Variables ``d_t >= d_{t-1} - r_t`` and >= 0, and the unit in which they are."""
        T, size = self.scenarios.T, self.scenarios.typical_size
        d = builder.add_variables(T, lower=0.0)
        chain = sp.csr_array(sp.eye_array(T, k=-1) - sp.eye_array(T))
        terms: Terms = [(builder.weights, -self.scenarios.R / size), (d, chain)]
        builder.add_rows((DEFINITION,) * T, Cone.NONNEGATIVE, terms, np.zeros(T))
        return d, size


@dataclass(frozen=True, slots=True)
class MaximumDrawdown(_Drawdown):
    """The largest drawdown of the window."""

    scenarios: Scenarios
    name: str = "max_drawdown"
    unit: str = "drawdown"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable above every drawdown."""
        d, size = self._add_drawdowns(builder)
        T = self.scenarios.T
        top = builder.add_variables(1, lower=0.0)
        terms: Terms = [(d, sp.csr_array(sp.eye_array(T))), (top, np.full((T, 1), -1.0))]
        builder.add_rows((DEFINITION,) * T, Cone.NONNEGATIVE, terms, np.zeros(T))
        return [(top, size * _ONE)]

    def _multipliers(self, d: Vector) -> Vector:
        return np.asarray(np.eye(1, len(d), int(np.argmax(d)))[0])


@dataclass(frozen=True, slots=True)
class AverageDrawdown(_Drawdown):
    """The mean drawdown of the window."""

    scenarios: Scenarios
    name: str = "average_drawdown"
    unit: str = "drawdown"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """P'd."""
        d, size = self._add_drawdowns(builder)
        return [(d, size * self.scenarios.p)]

    def _multipliers(self, d: Vector) -> Vector:
        return self.scenarios.p


@dataclass(frozen=True, slots=True)
class ConditionalDrawdownAtRisk(_Drawdown):
    """The mean of the largest 1 - c of the drawdowns."""

    scenarios: Scenarios
    confidence_level: float = 0.95
    name: str = "cdar"
    unit: str = "drawdown"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """``x + E u / (1 - c)`` with u the drawdowns beyond x."""
        d, size = self._add_drawdowns(builder)
        T = self.scenarios.T
        x = builder.add_variables(1, lower=0.0)
        beyond: Terms = [(d, sp.csr_array(sp.eye_array(T))), (x, np.full((T, 1), -1.0))]
        u = builder.add_hinges(beyond, np.zeros(T))
        return [(x, size * _ONE), (u, size * self.scenarios.p / (1.0 - self.confidence_level))]

    def _multipliers(self, d: Vector) -> Vector:
        return tail_weights(d, self.scenarios.p, self.confidence_level)


@dataclass(frozen=True, slots=True)
class UlcerIndex(_Drawdown):
    """The root mean square of the drawdowns."""

    scenarios: Scenarios
    name: str = "ulcer"
    unit: str = "drawdown"

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable t >= ||sqrt(p) d||."""
        d, size = self._add_drawdowns(builder)
        roots = sp.csr_array(sp.diags_array(np.sqrt(self.scenarios.p)))
        t = builder.add_norm([(d, roots)], np.zeros(self.scenarios.T))
        return [(t, size * _ONE)]

    def _multipliers(self, d: Vector) -> Vector:
        weighted = self.scenarios.p * d
        root = float(np.sqrt(weighted @ d))
        return weighted / root if root > 0.0 else np.zeros(len(d))
