"""The zoo's markets as plain data: what both the kernel's problems and the independent models are made of.

The current portfolio w0 keeps every limit that is derived from it, so that any combination of limits can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

PERIODS_PER_YEAR = 252.0
RISK_FREE = 0.02
LOT = 0.05
_HELD = (0.30, 0.25, 0.20, 0.15, 0.10)


@dataclass(frozen=True)
class Market:
    """Assets, their scenarios and moments, and the numbers of every limit.

    Attributes:
        R: (T, n) returns per period.
        p: (T,) probabilities.
        mu: (n,) annual expected returns, which are not the scenarios' own.
        scale: By what all returns, costs and rates are multiplied.
        confidence: Of tail measures; the tail is no whole number of scenarios.
    """

    name: str
    R: np.ndarray
    p: np.ndarray
    mu: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    w0: np.ndarray
    confidence: float
    scale: float = 1.0
    ordered: bool = True

    @property
    def n(self) -> int:
        return self.R.shape[1]

    @property
    def days(self) -> int:
        return len(self.R)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"A{i:02d}" for i in range(self.n))

    @property
    def centred(self) -> np.ndarray:
        """(T, n) rows whose squares add up to the annual covariance."""
        return np.sqrt(PERIODS_PER_YEAR * self.p)[:, None] * (self.R - self.p @ self.R)

    @property
    def covariance(self) -> np.ndarray:
        Sigma = self.centred.T @ self.centred
        return (Sigma + Sigma.T) / 2

    @property
    def risk_free(self) -> float:
        return RISK_FREE * self.scale

    @property
    def target(self) -> float:
        """What the Sortino ratio's deviation falls short of, per period."""
        return 2e-4 * self.scale

    @property
    def benchmark(self) -> np.ndarray:
        """Half of what is held, half spread evenly."""
        return 0.5 * self.w0 + 0.5 / self.n

    @property
    def rates(self) -> np.ndarray:
        return self.scale * np.linspace(0.002, 0.012, self.n)

    @property
    def sale_rates(self) -> np.ndarray:
        return self.scale * np.linspace(0.006, 0.0, self.n)

    @property
    def impact(self) -> np.ndarray:
        return self.scale * np.linspace(0.03, 0.01, self.n)

    @property
    def charges(self) -> np.ndarray:
        """What trading an asset at all costs."""
        return self.scale * np.linspace(0.0005, 0.002, self.n)

    @property
    def groups(self) -> list[tuple[str, np.ndarray, float, float]]:
        """Name, members, least and greatest weight of each group."""
        labels = np.arange(self.n) % min(3, self.n)
        found = []
        for label in np.unique(labels):
            member = (labels == label).astype(float)
            weight = float(member @ self.w0)
            found.append((f"group {label}", member, weight - 0.04, weight + 0.03))
        return found

    @property
    def trade_limits(self) -> np.ndarray:
        return np.linspace(0.04, 0.12, self.n)

    @property
    def neutral(self) -> np.ndarray:
        """(n,) exposures to a factor to which w0 is neutral."""
        exposure = np.cos(2.0 * np.arange(self.n))
        return exposure - exposure @ self.w0

    @property
    def style(self) -> np.ndarray:
        """(n,) exposures to another factor."""
        return np.sin(3.0 * np.arange(self.n))

    @property
    def stress(self) -> np.ndarray:
        """(n,) returns in a stress scenario."""
        return self.scale * (-0.3 + 0.2 * np.sin(5.0 * np.arange(self.n)))


def held(n: int) -> np.ndarray:
    """Current weights: few positions, whole lots, none small."""
    w0 = np.zeros(n)
    if n <= 2:
        w0[:] = (1.0,) if n == 1 else (0.6, 0.4)
    else:
        w0[np.linspace(0, n - 1, len(_HELD)).astype(int)] = _HELD
    return w0


def returns(seed: int, T: int, n: int) -> np.ndarray:
    """A market factor with fat tails, a weaker one, and specific returns."""
    rng = np.random.default_rng(seed)
    common = np.column_stack([0.007 * rng.standard_t(4, T), 0.003 * rng.standard_normal(T)])
    B = np.column_stack([rng.normal(1.0, 0.25, n), rng.normal(0.0, 1.0, n)])
    return 4e-4 + common @ B.T + rng.uniform(0.004, 0.015, n) * rng.standard_normal((T, n))


def long_only(name: str, R: np.ndarray, seed: int) -> Market:
    """Equal probabilities, means between 3% and 14%, caps that leave room."""
    T, n = R.shape
    mu = np.random.default_rng(seed + 1000).uniform(0.03, 0.14, n)
    cap = 0.6 if n > 2 else 1.0
    confidence = 0.93 if T > 60 else 0.87
    return Market(name, R, np.full(T, 1.0 / T), mu, np.zeros(n), np.full(n, cap), held(n), confidence)


def _size(*, small: bool) -> tuple[int, int]:
    return (24, 7) if small else (121, 14)


def _well_posed(*, small: bool) -> Market:
    return long_only("well-posed", returns(1, *_size(small=small)), 1)


def _weighted(*, small: bool) -> Market:
    """Scenarios of different probabilities, one of them impossible."""
    market = _well_posed(small=small)
    p = np.random.default_rng(2).uniform(0.5, 1.5, market.days)
    p[3] = 0.0
    return replace(market, name="weighted", p=p / p.sum())


def _degenerate(*, small: bool) -> Market:
    """Assets twice over, days twice over, and a cap that no other limit lets anyone reach."""
    T, n = _size(small=small)
    R = returns(3, T, n)
    R[:, -2:] = R[:, :2]
    R[T // 2 : 2 * (T // 2)] = R[: T // 2]
    market = long_only("degenerate", R, 3)
    mu = market.mu.copy()
    mu[-2:] = mu[:2]
    return replace(market, mu=mu, upper=np.full(n, 1.0))


def _tied_means(*, small: bool) -> Market:
    market = long_only("tied means", returns(4, *_size(small=small)), 4)
    return replace(market, mu=np.round(market.mu, 1) + 0.03)


def _singular(*, small: bool) -> Market:
    """More assets than observations."""
    return long_only("singular", returns(5, *((7, 8) if small else (25, 36))), 5)


def _scaled(name: str, scale: float, *, small: bool) -> Market:
    market = _well_posed(small=small)
    return replace(market, name=name, R=scale * market.R, mu=scale * market.mu, scale=scale)


def _one_asset(*, small: bool) -> Market:
    return long_only("one asset", returns(6, _size(small=small)[0], 1), 6)


def _two_identical(*, small: bool) -> Market:
    R = np.repeat(returns(7, _size(small=small)[0], 1), 2, axis=1)
    return replace(long_only("two identical", R, 7), mu=np.full(2, 0.08))


def _equal_means(*, small: bool) -> Market:
    market = long_only("equal means", returns(8, *_size(small=small)), 8)
    return replace(market, mu=np.full(market.n, 0.07))


def _negative_means(*, small: bool) -> Market:
    market = long_only("negative means", returns(9, *_size(small=small)), 9)
    return replace(market, mu=-market.mu)


_MARKETS = {
    "well-posed": _well_posed,
    "weighted": _weighted,
    "degenerate": _degenerate,
    "tied means": _tied_means,
    "singular": _singular,
    "scaled down": lambda small: _scaled("scaled down", 1e-6, small=small),
    "scaled up": lambda small: _scaled("scaled up", 1e6, small=small),
    "one asset": _one_asset,
    "two identical": _two_identical,
    "equal means": _equal_means,
    "negative means": _negative_means,
}
MARKETS = tuple(_MARKETS)


@cache
def market(name: str, *, small: bool = False) -> Market:
    """A market of the zoo; the small ones are for integer programs and for measures of all pairs of days."""
    return _MARKETS[name](small=small)
