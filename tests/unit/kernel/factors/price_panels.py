"""Seeded prices and facts for the tests of cross-sectional models."""

from __future__ import annotations

import numpy as np

from kernel.factors.panel import Panel

SECTORS = ("Energy", "Health", "Tech")


def panel_of(closes, **facts):
    """A panel of prices; facts as given."""
    return Panel(names=tuple(f"A{i:02d}" for i in range(closes.shape[1])), closes=closes, **facts)


def random_closes(seed=0, days=320, n=24):
    """Prices of a market with unequal betas and volatilities."""
    rng = np.random.default_rng(seed)
    market = 0.0003 + 0.009 * rng.standard_normal((days, 1))
    own = rng.uniform(0.006, 0.02, n) * rng.standard_normal((days, n))
    returns = market * rng.uniform(0.5, 1.6, n) + own
    return rng.uniform(5.0, 200.0, n) * np.cumprod(np.vstack([np.ones(n), 1.0 + returns]), axis=0)


def random_panel(seed=0, days=320, n=24, **facts):
    """A panel with capitalisations, sectors and quality scores."""
    rng = np.random.default_rng(seed + 1000)
    known = {
        "caps": np.exp(rng.normal(23.0, 1.2, n)),
        "sectors": tuple(SECTORS[i % len(SECTORS)] for i in range(n)),
        "quality": rng.uniform(0.0, 10.0, n),
    }
    return panel_of(random_closes(seed, days, n), **(known | facts))
