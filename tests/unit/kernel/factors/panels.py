"""Seeded factor windows and return series for tests of regressions."""

from __future__ import annotations

import numpy as np

from kernel.canonical import Matrix
from kernel.factors.window import FactorHistory

NAMES = ("market", "size", "value", "momentum")


def panel(periods: int = 160, series: int = 5, factors: int = 3, *, seed: int = 0) -> tuple[Matrix, FactorHistory]:
    """Correlated factors, and returns with fat-tailed residuals that depend on the day before and vary in size."""
    rng = np.random.default_rng(seed)
    mix = np.eye(factors) + 0.4 * rng.standard_normal((factors, factors))
    F = 0.0003 + 0.008 * rng.standard_normal((periods, factors)) @ mix
    noise = rng.standard_t(4, (periods, series)) * rng.uniform(0.5, 2.0, (periods, 1))
    noise[1:] += 0.3 * noise[:-1]
    R = 0.0002 + F @ rng.normal(0.5, 0.7, (factors, series)) + 0.007 * noise
    return R, FactorHistory(NAMES[:factors], F)
