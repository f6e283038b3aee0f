"""A zoo of portfolio problems: universes x objectives x sets of limits, each as plain data and as a kernel problem.

The plain data (`Case`) is what the independent oracle reads, so that a fault of the kernel's own constraint classes
cannot hide in both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.constraints import Constraint, LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Moments, Problem, Settings

BAILEY = json.loads((Path(__file__).parent / "bailey_2013.json").read_text())
SETTINGS = Settings()
RISK_FREE = 0.02
RISK_AVERSION = 4.0


@dataclass(frozen=True, slots=True)
class Universe:
    """Moments, bounds, sector labels, a current portfolio within the bounds, and how dear each asset is to trade."""

    moments: Moments
    lower: Vector
    upper: Vector
    sectors: tuple[int, ...]
    w0: Vector
    dearness: Vector

    @property
    def n(self) -> int:
        return self.moments.n


@dataclass(frozen=True, slots=True)
class Limits:
    """What a problem has besides budget and bounds; None and False mean absent."""

    sectors: bool = False
    turnover: float | None = None
    turnover_factor: float = 0.5
    volatility: float | None = None
    cost_rate: float | None = None
    sale_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One problem of the zoo."""

    universe: Universe
    objective: Objective
    limits: Limits

    def sector_limits(self) -> list[tuple[str, Vector, float, float]]:
        """Name, membership, minimum and maximum of each sector, around the current weights, so that they can hold."""
        if not self.limits.sectors:
            return []
        held = self.universe.w0
        rows = []
        for sector in sorted(set(self.universe.sectors)):
            member = np.array([float(s == sector) for s in self.universe.sectors])
            weight = float(member @ held)
            rows.append((f"sector {sector}", member, weight - 0.06, weight + 0.05))
        return rows

    def volatility_limit(self) -> float | None:
        """A fraction of the current portfolio's volatility."""
        fraction = self.limits.volatility
        return None if fraction is None else fraction * self.universe.moments.volatility(self.universe.w0)

    def cost_rates(self) -> Vector:
        """(n,) rates of every trade, which differ between assets."""
        return (self.limits.cost_rate or 0.0) * self.universe.dearness

    def sale_rates(self) -> Vector:
        """(n,) rates that sales pay beyond that, dearest where trading is cheapest."""
        return (self.limits.sale_rate or 0.0) * (2.0 - self.universe.dearness)

    def cost(self) -> TradingCost | None:
        """Costs in the kernel's terms."""
        if self.limits.cost_rate is None:
            return None
        sales = None if self.limits.sale_rate is None else self.sale_rates()
        return TradingCost(self.cost_rates(), self.universe.w0, sales)

    def problem(self) -> Problem:
        """The same in the kernel's terms."""
        universe, limits = self.universe, self.limits
        constraints: list[Constraint] = [budget(universe.n), bounds_of(universe)]
        constraints += [
            LinearLimit(member, low, high, f"{name} min", f"{name} max")
            for name, member, low, high in self.sector_limits()
        ]
        if limits.turnover is not None:
            constraints.append(TurnoverLimit("turnover", limits.turnover, universe.w0, limits.turnover_factor))
        measure = Volatility(universe.moments)
        volatility = self.volatility_limit()
        if volatility is not None:
            constraints.append(RiskLimit("target volatility", measure, volatility))
        return Problem(universe.moments, self.objective, measure, tuple(constraints), self.cost())


def bounds_of(universe: Universe) -> WeightBounds:
    """The universe's bounds, each with its own name."""
    names = universe.moments.names
    return WeightBounds(
        universe.lower, universe.upper, tuple(f"min {a}" for a in names), tuple(f"max {a}" for a in names)
    )


def factor_moments(seed: int, n: int, factors: int = 4) -> Moments:
    """A market of `n` stocks: a market factor, some weaker ones, specific risk; annual volatilities of 12% to 60%."""
    rng = np.random.default_rng(seed)
    B = np.column_stack([rng.normal(1.0, 0.3, n), rng.normal(0.0, 0.5, (n, factors - 1))])
    variances = np.array([0.16, *([0.06] * (factors - 1))]) ** 2
    specific = rng.uniform(0.10, 0.40, n) ** 2
    Sigma = symmetric((B * variances) @ B.T + np.diag(specific))
    mu = 0.03 + 0.05 * B[:, 0] + rng.normal(0.0, 0.04, n)
    return Moments(asset_names(n), mu, Sigma)


def asset_names(n: int) -> tuple[str, ...]:
    return tuple(f"A{i:03d}" for i in range(n))


def symmetric(Sigma: Matrix) -> Matrix:
    """Exactly symmetric, whatever the order of its products was."""
    return (Sigma + Sigma.T) / 2


def long_only(moments: Moments, cap: float = 1.0, sectors: int = 4, seed: int = 7) -> Universe:
    """Weights in [0, cap], an uneven current portfolio well inside."""
    n = moments.n
    raw = np.random.default_rng(seed).uniform(0.5, 1.5, n)
    labels = tuple(i % sectors for i in range(n))
    return Universe(moments, np.zeros(n), np.full(n, cap), labels, raw / raw.sum(), np.linspace(0.5, 1.5, n))


def _bailey() -> Universe:
    names = asset_names(10)
    moments = Moments(names, np.array(BAILEY["mean"]), np.array(BAILEY["cov"]))
    return long_only(moments, sectors=3)


def _singular() -> Universe:
    """Forty assets, 25 observations: a sample covariance of rank 24."""
    rng = np.random.default_rng(11)
    R = rng.normal(0.0009, 0.012, (25, 40)) + rng.normal(0.0, 0.008, (25, 1))
    return long_only(Moments(asset_names(40), 252 * R.mean(axis=0), symmetric(252 * np.cov(R.T))), cap=0.2)


def _with_cash() -> Universe:
    risky = factor_moments(5, 12)
    Sigma = np.zeros((13, 13))
    Sigma[:12, :12] = risky.Sigma
    moments = Moments((*risky.names, "CASH"), np.append(risky.mu, RISK_FREE), Sigma)
    return long_only(moments)


def _shorts() -> Universe:
    base = long_only(factor_moments(6, 12))
    return replace(base, lower=np.full(12, -0.2), upper=np.full(12, 0.5))


def _fixed_weights() -> Universe:
    base = long_only(factor_moments(8, 12))
    lower, upper = base.lower.copy(), np.full(12, 0.4)
    fixed = [1, 5, 8]
    lower[fixed] = upper[fixed] = base.w0[fixed]
    return replace(base, lower=lower, upper=upper)


def _tied_means() -> Universe:
    moments = factor_moments(9, 12)
    return long_only(Moments(moments.names, np.repeat([0.05, 0.08, 0.11], 4), moments.Sigma.copy()))


def _duplicates() -> Universe:
    moments = factor_moments(10, 9)
    twice = np.array([*range(9), 0, 4, 4])
    return long_only(Moments(asset_names(12), moments.mu[twice], moments.Sigma[np.ix_(twice, twice)].copy()), cap=0.6)


_UNIVERSES = {
    "bailey": _bailey,
    "factor 30": lambda: long_only(factor_moments(1, 30), cap=0.15),
    "factor 120": lambda: long_only(factor_moments(2, 120), cap=0.05, sectors=11),
    "singular": _singular,
    "cash": _with_cash,
    "shorts": _shorts,
    "fixed weights": _fixed_weights,
    "tied means": _tied_means,
    "duplicates": _duplicates,
}
UNIVERSES = tuple(_UNIVERSES)
OBJECTIVES: dict[str, Objective] = {
    "risk": MinimizeRisk(),
    "return": MaximizeReturn(),
    "utility": MaximizeUtility(RISK_AVERSION),
    "ratio": MaximizeRatio(RISK_FREE),
}
LIMITS = {
    "none": Limits(),
    "sectors": Limits(sectors=True),
    "turnover one-way": Limits(turnover=0.15),
    "turnover two-way": Limits(turnover=0.25, turnover_factor=1.0),
    "target volatility": Limits(volatility=0.97),
    "costs": Limits(cost_rate=0.01),
    "taxed sales": Limits(cost_rate=0.002, sale_rate=0.02),
    "all": Limits(sectors=True, turnover=0.2, volatility=0.99, cost_rate=0.005, sale_rate=0.01),
}


@cache
def universe(name: str) -> Universe:
    """A universe of the zoo; its arrays are shared, so treat them as read-only."""
    return _UNIVERSES[name]()


def case(universe_name: str, objective: str, limits: str) -> Case:
    """One case of the zoo."""
    return Case(universe(universe_name), OBJECTIVES[objective], LIMITS[limits])
