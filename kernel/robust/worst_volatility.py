"""The worst volatility or variance over a set of covariances, where no one covariance is the worst for all weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Matrix, Vector
from kernel.measures.base import EpigraphMeasure, RiskMeasure
from kernel.measures.volatility import RootOfSquare, Variance, Volatility
from kernel.problem import Moments
from kernel.quadratic import Quadratic


class _WithNorm(Protocol):
    """A set whose worst volatility has rows of its own."""

    @property
    def moments(self) -> Moments: ...

    def worst(self, w: Vector) -> Matrix: ...

    def add_square(self, builder: ProgramBuilder, weight: float) -> None:
        """Add half of `weight` times the worst variance to the objective, in ratio programs not in perspective."""

    def norm(self, builder: ProgramBuilder, size: float) -> slice:
        """A variable t with ``t size >=`` the worst volatility."""


@dataclass(frozen=True, slots=True)
class WorstVolatility(RootOfSquare):
    """The largest volatility of w among the members of a set; its slope is that of the member (Danskin 1967)."""

    covariances: _WithNorm
    name: str = "volatility"
    unit: str = "volatility"

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 w'Sigma(w) w``."""
        self.covariances.add_square(builder, weight)

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add the epigraph and the row ``t <= limit``."""
        builder.add_limit(name, self.epigraph(builder), limit)

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """The variable t."""
        size = self.covariances.moments.typical_volatility or 1.0
        return [(self.covariances.norm(builder, size), np.array([size]))]

    def of(self, w: Vector) -> float:
        """Sqrt(w'Sigma(w) w)."""
        return math.sqrt(max(float(w @ self.covariances.worst(w) @ w), 0.0))

    def contributions(self, w: Vector) -> Vector | None:
        """w_i (Sigma(w) w)_i / volatility."""
        risk = self.of(w)
        return w * (self.covariances.worst(w) @ w) / risk if risk > 0.0 else np.zeros(len(w))


@dataclass(frozen=True, slots=True)
class WorstVariance(EpigraphMeasure):
    """The square of the worst volatility, which enters programs as that does, but in ratios as its own perspective."""

    root: WorstVolatility
    name: str = "variance"
    unit: str = "variance"

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add half of `weight` times the variance, in a ratio program its perspective."""
        if builder.kappa is None:
            self.root.minimize(builder, weight)
        else:
            builder.minimize_form(self.epigraph(builder), 0.5 * weight)

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """A variable e >= t^2."""
        (t, size), *_ = self.root.epigraph(builder)
        return [(builder.add_squares(t, 1.0), size**2)]

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """A limit on the root, scaled such that its multiplier is of the variance."""
        scale = 2.0 * math.sqrt(limit)
        builder.add_limit(name, [(t, scale * size) for t, size in self.root.epigraph(builder)], 2.0 * limit)

    def of(self, w: Vector) -> float:
        """w'Sigma(w) w."""
        return self.root.of(w) ** 2

    def penalty(self, risk: float) -> float:
        """Half the variance, as for volatility."""
        return 0.5 * risk

    def from_program(self, value: float) -> float:
        """2 value."""
        return 2.0 * value

    def slope(self, risk: float) -> float:
        """2."""
        return 2.0

    def contributions(self, w: Vector) -> Vector | None:
        """w_i (Sigma(w) w)_i."""
        return np.asarray(w * (self.root.covariances.worst(w) @ w))


def measure_under(word: str, moments: Moments, covariance: Matrix | Quadratic) -> RiskMeasure:
    """Volatility or variance under a covariance."""
    inflated = Moments(moments.names, moments.mu, covariance)
    return Variance(inflated) if word == "variance" else Volatility(inflated)


def worst_measure(word: str, covariances: _WithNorm) -> RiskMeasure:
    """The worst volatility or variance of a set."""
    root = WorstVolatility(covariances)
    return WorstVariance(root) if word == "variance" else root
