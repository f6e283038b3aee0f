"""A universe whose covariance is a thin factor beside a diagonal, and limits on its exposures."""

from __future__ import annotations

from functools import cache

import numpy as np

from kernel.canonical import Matrix, Quadratic, Vector
from kernel.constraints import LinearLimit
from kernel.problem import Moments
from tests.unit.kernel.zoo import Universe, asset_names, long_only, symmetric

N, FACTORS, CAP = 320, 8, 0.02


@cache
def exposures() -> Matrix:
    """(n, k) a market factor and styles."""
    B = np.random.default_rng(4).normal(0.0, 0.3, (N, FACTORS))
    B[:, 0] += 1.0
    return B


@cache
def universe() -> Universe:
    """Cash comes last: it has neither exposures nor risk."""
    rng = np.random.default_rng(5)
    B = exposures()
    factor = np.column_stack([rng.uniform(0.03, 0.2, FACTORS)[:, None] * B.T, np.zeros(FACTORS)])
    specific = np.append(rng.uniform(0.1, 0.4, N) ** 2, 0.0)
    mu = np.append(0.03 + 0.04 * B[:, 0] + rng.normal(0.0, 0.01, N), 0.02)
    return long_only(Moments(asset_names(N + 1), mu, Quadratic(None, factor, specific)), cap=CAP, sectors=7)


def densely(moments: Moments) -> Moments:
    """The same moments, their covariance as a matrix."""
    return Moments(moments.names, moments.mu.copy(), symmetric(moments.Sigma))


def benchmark() -> Vector:
    """Weights of all assets but cash, some of them above the cap."""
    return np.append(np.random.default_rng(6).dirichlet(np.full(N, 0.5)), 0.0)


def exposure_limits(around: Vector, width: float) -> tuple[LinearLimit, ...]:
    """Every exposure within `width` of that of other weights; none at all for a width of zero."""
    columns = np.vstack([exposures(), np.zeros(FACTORS)]).T
    return tuple(
        LinearLimit(b, float(b @ around) - width, float(b @ around) + width, f"least {j}", f"largest {j}")
        for j, b in enumerate(columns)
    )
