"""Small markets of scenarios, and each risk measure written from the textbook for cvxpy: the judge of the kernel.

Probabilities are whole counts over their sum, so that the judge repeats scenarios in place of weighting them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache

import cvxpy as cp
import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.constraints import WeightBounds, budget
from kernel.costs import TradingCost
from kernel.measures.base import RiskMeasure
from kernel.measures.registry import MeasureSettings, make_measure
from kernel.objectives import Objective
from kernel.problem import Moments, Problem
from kernel.scenarios import Scenarios

PERIODS = 252.0
# Finer than doubles reach on some cases: the solver then stops at its best and says "inaccurate".
FINE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
CONVEX = (
    "semi_deviation",
    "mad",
    "gini",
    "cvar",
    "evar",
    "worst_realization",
    "max_drawdown",
    "average_drawdown",
    "cdar",
    "ulcer",
)


@dataclass(frozen=True)
class Market:
    """Scenarios with counts, bounds, a current portfolio, and the confidence level of the tails."""

    R: Matrix
    counts: Vector
    lower: float
    upper: float
    confidence_level: float = 0.9
    target: float | None = None
    size: float = 1.0

    @property
    def n(self) -> int:
        return self.R.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"A{i}" for i in range(self.n))

    @property
    def p(self) -> Vector:
        return self.counts / self.counts.sum()

    @property
    def scenarios(self) -> Scenarios:
        return Scenarios(self.names, self.R.copy(), self.p, PERIODS)

    @property
    def moments(self) -> Moments:
        """Means that favour the assets in their order, so that every mean differs; the covariance plays no part."""
        mu = self.size * np.linspace(0.02, 0.14, self.n)
        Sigma = PERIODS * np.atleast_2d(np.cov(self.R.T, aweights=self.p))
        return Moments(self.names, mu, (Sigma + Sigma.T) / 2)

    @property
    def w0(self) -> Vector:
        return np.full(self.n, 1.0 / self.n)

    @property
    def cost(self) -> TradingCost:
        return TradingCost(self.size * 0.004 * np.linspace(0.5, 1.5, self.n), self.w0)

    @property
    def reference(self) -> float:
        """Annual return that counts as nothing in ratios."""
        return 0.01 * self.size

    def measure(self, word: str) -> RiskMeasure:
        return make_measure(word, self.moments, self.scenarios, MeasureSettings(self.confidence_level, self.target))

    def problem(self, objective: Objective, word: str, *extra, costs: bool = False) -> Problem:
        bounds = WeightBounds(np.full(self.n, self.lower), np.full(self.n, self.upper), self.names, self.names)
        cost = self.cost if costs else None
        return Problem(self.moments, objective, self.measure(word), (budget(self.n), bounds, *extra), cost)


def returns(seed: int, T: int, n: int) -> Matrix:
    rng = np.random.default_rng(seed)
    market = rng.standard_t(5, (T, 1)) * 0.008
    return 0.0004 + market * rng.uniform(0.5, 1.4, n) + rng.normal(0.0, 0.009, (T, n))


def _plain() -> Market:
    return Market(returns(1, 40, 6), np.ones(40), 0.0, 1.0)


def _cut_tail() -> Market:
    return replace(_plain(), confidence_level=0.93, target=0.0002, upper=0.4)


def _unequal() -> Market:
    counts = np.random.default_rng(3).integers(0, 4, 30).astype(float)
    return Market(returns(2, 30, 6), counts, 0.0, 0.5, 0.87)


def _shorts() -> Market:
    return Market(returns(4, 36, 6), np.ones(36), -0.3, 0.6)


def _more_assets_than_scenarios() -> Market:
    return Market(returns(5, 12, 20), np.ones(12), 0.0, 0.15, 0.8)


def _duplicates() -> Market:
    return Market(returns(6, 32, 4)[:, [0, 1, 1, 2, 3, 3]], np.ones(32), 0.0, 0.5)


def _cash() -> Market:
    R = np.column_stack([np.full(36, 0.00005), returns(7, 36, 5)])
    return Market(R, np.ones(36), 0.0, 0.5)


def _scaled(by: float) -> Market:
    return replace(_plain(), R=by * _plain().R, size=by)


_MARKETS = {
    "plain": _plain,
    "cut tail": _cut_tail,
    "unequal": _unequal,
    "shorts": _shorts,
    "n > T": _more_assets_than_scenarios,
    "duplicates": _duplicates,
    "cash": _cash,
    "one asset": lambda: Market(returns(8, 20, 1), np.ones(20), 0.0, 1.0),
    "tiny": lambda: _scaled(1e-6),
    "huge": lambda: _scaled(1e6),
}
MARKETS = tuple(_MARKETS)


@cache
def market(name: str) -> Market:
    """A market; its arrays are shared, so treat them as read-only."""
    return _MARKETS[name]()


def risk(market: Market, word: str, y, scale=1.0) -> tuple[cp.Expression, list]:
    """The risk of y for cvxpy, divided by the market's size, and rows that belong to it.

    With a variable `scale` it is the perspective of the risk of y / scale.
    """
    repeated = np.repeat(np.arange(len(market.R)), market.counts.astype(int))
    each = (market.R / market.size) @ y
    if word in ("max_drawdown", "average_drawdown", "cdar", "ulcer"):
        return _drawdown(market, word, each, repeated)
    return _spread_or_tail(market, word, each[repeated], scale)


def _spread_or_tail(market: Market, word: str, r, scale) -> tuple[cp.Expression, list]:
    T, annual = r.size, np.sqrt(PERIODS)
    match word:
        case "semi_deviation":
            level = cp.sum(r) / T if market.target is None else market.target / market.size * scale
            return annual * cp.norm(cp.pos(level - r)) / np.sqrt(T), []
        case "mad":
            return annual * cp.sum(cp.abs(r - cp.sum(r) / T)) / T, []
        case "gini":
            i, j = np.triu_indices(T, k=1)
            return annual * 2.0 * cp.sum(cp.abs(r[i] - r[j])) / T**2, []
        case "cvar":
            return cp.cvar(-r, market.confidence_level), []
        case "evar":
            z = cp.Variable(nonneg=True)
            x, v = cp.Variable(), cp.Variable(T)
            rows = [cp.ExpCone(-r - x, z * np.ones(T), v), cp.sum(v) / T <= z]
            return x - z * np.log(1.0 - market.confidence_level), rows
        case "worst_realization":
            return cp.max(-r), []
    raise AssertionError(word)


def _drawdown(market: Market, word: str, each, repeated) -> tuple[cp.Expression, list]:
    peak = cp.Variable(len(market.R))
    path = cp.cumsum(each)
    rows = [peak >= path, peak >= 0, peak[1:] >= peak[:-1]]
    d = (peak - path)[repeated]
    match word:
        case "max_drawdown":
            return cp.max(peak - path), rows
        case "average_drawdown":
            return cp.sum(d) / len(repeated), rows
        case "cdar":
            return cp.cvar(d, market.confidence_level), rows
        case "ulcer":
            return cp.norm(d) / np.sqrt(len(repeated)), rows
    raise AssertionError(word)


def solved(program: cp.Problem) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **FINE)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(program.value)


class Judge:
    """The problem in the market's unit of size, so that the judge's numbers are moderate whatever the market's are."""

    def __init__(self, market, word, *, homogeneous=False):
        n = market.n
        self.market = market
        self.y = cp.Variable(n)
        self.scale = cp.Variable(nonneg=True) if homogeneous else 1.0
        self.risk, rows = risk(market, word, self.y, self.scale)
        self.rows = [
            cp.sum(self.y) == self.scale,
            self.y >= market.lower * self.scale,
            self.y <= market.upper * self.scale,
            *rows,
        ]
        self.mean = (market.moments.mu / market.size) @ self.y
        self.cost = (market.cost.rates / market.size) @ cp.abs(self.y - market.w0 * self.scale)

    def best(self, goal, *extra) -> float:
        return self.market.size * solved(cp.Problem(goal, [*self.rows, *extra]))
