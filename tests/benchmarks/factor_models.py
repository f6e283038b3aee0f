"""Universes under a factor model, and a portfolio that holds most of them: what factors are to make cheap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cvxpy as cp
import numpy as np

from kernel.canonical import Matrix, Quadratic, Vector
from kernel.constraints import LinearLimit, WeightBounds, budget
from kernel.measures.volatility import TrackingError
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem

FACTORS, BOUNDED = 40, 10
CAP, TILT, MORE_RETURN = 0.01, 0.02, 0.005


@dataclass(frozen=True, slots=True)
class FactorUniverse:
    """Exposures B (n, k), the covariance F'F + diag(d), expected returns mu (n,), and a benchmark by weights (n,)."""

    B: Matrix
    F: Matrix
    d: Vector
    mu: Vector
    benchmark: Vector

    @property
    def covariance(self) -> Quadratic:
        """In its own form."""
        return Quadratic(None, self.F, self.d)

    @property
    def exposure_limits(self) -> list[tuple[Vector, float]]:
        """Exposures, and the benchmark's, from which a portfolio may differ by the tilt."""
        return [(self.B[:, j], float(self.B[:, j] @ self.benchmark)) for j in range(BOUNDED)]

    @property
    def least_return(self) -> float:
        """Above the benchmark's."""
        return float(self.mu @ self.benchmark) + MORE_RETURN


@cache
def universe(assets: int) -> FactorUniverse:
    """A seeded market factor and styles, and a benchmark of all assets."""
    rng = np.random.default_rng(1)
    B = 0.3 * rng.normal(size=(assets, FACTORS))
    B[:, 0] += 1.0
    F = rng.uniform(0.02, 0.2, FACTORS)[:, None] * B.T
    mu = 0.03 + 0.04 * B[:, 0] + 0.01 * rng.normal(size=assets)
    return FactorUniverse(B, F, rng.uniform(0.1, 0.4, assets) ** 2, mu, rng.dirichlet(np.full(assets, 3.0)))


def least_tracking_error(assets: int, *, dense: bool = False) -> Problem:
    """Least tracking error at a return above the benchmark's, within bounds on weights and exposures."""
    market, n = universe(assets), assets
    covariance = market.covariance.dense if dense else market.covariance
    moments = Moments(tuple(f"A{i:04d}" for i in range(n)), market.mu.copy(), covariance)
    exposures = (
        LinearLimit(b, held - TILT, held + TILT, f"least exposure {j}", f"largest exposure {j}")
        for j, (b, held) in enumerate(market.exposure_limits)
    )
    limits = (
        budget(n),
        WeightBounds(np.zeros(n), np.full(n, CAP), ("smallest",) * n, ("largest",) * n),
        LinearLimit(market.mu, market.least_return, np.inf, "least return", ""),
        *exposures,
    )
    return Problem(moments, MinimizeRisk(), TrackingError.against_weights(moments, market.benchmark), limits)


def by_cvxpy(assets: int) -> float:
    """The same, written for CVXPY with the dense covariance."""
    market = universe(assets)
    w = cp.Variable(assets)
    limits = [cp.sum(w) == 1.0, w >= 0.0, w <= CAP, market.mu @ w >= market.least_return]
    limits += [cp.abs(b @ w - held) <= TILT for b, held in market.exposure_limits]
    variance = cp.quad_form(w - market.benchmark, cp.psd_wrap(market.covariance.dense))
    return float(np.sqrt(cp.Problem(cp.Minimize(variance), limits).solve(solver=cp.CLARABEL)))
