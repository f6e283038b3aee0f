"""Volatility, sigma(w) = sqrt(w'Sigma w), annual; it enters programs through its half square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.canonical import Cone, Matrix, ProgramBuilder, Vector
from kernel.problem import Moments


@dataclass(frozen=True, slots=True)
class Volatility:
    """The standard deviation of the annual return.

    References: Markowitz (1952). As a limit: the second-order cone ``||L'w|| <= limit`` with ``L L' = Sigma``.
    """

    moments: Moments
    name: str = "volatility"

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight/2 w'Sigma w``."""
        builder.minimize_quadratic(self.moments.Sigma if weight == 1.0 else weight * self.moments.Sigma)

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add ``(limit, L'w)`` in the second-order cone."""
        root = covariance_root(self.moments.Sigma)
        rows = np.vstack([np.zeros((1, builder.n)), -root])
        b = np.zeros(len(rows))
        b[0] = limit
        builder.add_rows((name,), Cone.SECOND_ORDER, [(builder.weights, rows)], b)

    def of(self, w: Vector) -> float:
        """sqrt(w'Sigma w)."""
        return self.moments.volatility(w)

    def from_program(self, value: float) -> float:
        """Sqrt(2 value)."""
        return float(np.sqrt(max(2.0 * value, 0.0)))

    def slope(self, risk: float) -> float:
        """1/risk; zero risk has no slope and gives zero."""
        return 1.0 / risk if risk > 0 else 0.0


def covariance_root(Sigma: Matrix) -> Matrix:
    """A matrix M (k, n) with M'M = Sigma: Cholesky where Sigma is positive definite, else from its eigenvalues.

    Rows that belong to eigenvalues of rounding size are left out, so k is the numerical rank.
    """
    try:
        return np.asarray(np.linalg.cholesky(Sigma).T, dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(Sigma)
        kept = values > values[-1] * len(values) * np.finfo(float).eps
        return np.asarray(np.sqrt(values[kept])[:, None] * vectors[:, kept].T, dtype=np.float64)
