"""Seeded covariances, and problems of risk parity over them with the last asset as cash where asked for."""

from __future__ import annotations

import numpy as np

from kernel.canonical import Matrix, Quadratic, Vector
from kernel.constraints import WeightBounds
from kernel.constraints import budget as fully_invested
from kernel.measures import Volatility
from kernel.methods.budgets import Budgets, asset_budgets
from kernel.methods.risk_parity import RiskParity, risk_parity
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem, Settings

SETTINGS = Settings()


def covariance(seed: int, n: int, common: float = 0.5) -> Matrix:
    """A market factor, two more, and specific risks; annual volatilities of 10% to 50%."""
    rng = np.random.default_rng(seed)
    B = np.column_stack([rng.uniform(0.3, 1.5, n) * common, rng.normal(0.0, 0.4, (n, 2))])
    C = B @ B.T + np.diag(rng.uniform(0.2, 1.0, n))
    volatility = rng.uniform(0.1, 0.5, n) / np.sqrt(np.diag(C))
    Sigma = C * np.outer(volatility, volatility)
    return (Sigma + Sigma.T) / 2


def moments_of(Sigma: Matrix | Quadratic, *, cash: bool = False) -> Moments:
    """Anonymous assets, and cash last."""
    if cash:
        assert isinstance(Sigma, np.ndarray)
        Sigma = np.pad(Sigma, (0, 1))
    n = Sigma.size if isinstance(Sigma, Quadratic) else len(Sigma)
    return Moments(names_of(n, cash=cash), np.linspace(0.02, 0.1, n), Sigma)


def names_of(n: int, *, cash: bool = False) -> tuple[str, ...]:
    return tuple(f"A{i}" for i in range(n - cash)) + ("CASH",) * cash


def problem_of(moments: Moments, *constraints, lower=0.0, upper=1.0, cost=None) -> Problem:
    """Fully invested between bounds, each with a name of its own."""
    n, names = moments.n, moments.names
    low, high = (np.array(np.broadcast_to(np.asarray(b, dtype=float), (n,))) for b in (lower, upper))
    floors = tuple("long_only" if value == 0.0 else f"min {a}" for a, value in zip(names, low, strict=True))
    bounds = WeightBounds(low, high, floors, tuple(f"max {a}" for a in names))
    return Problem(moments, MinimizeRisk(), Volatility(moments), (bounds, fully_invested(n), *constraints), cost)


def equal_budgets(moments: Moments, *, cash: bool = False) -> Budgets:
    shares = np.ones(moments.n)
    if cash:
        shares[-1] = 0.0
    return asset_budgets(moments.names, shares, cash=moments.n - 1 if cash else None)


def solved(problem: Problem, budgets: Budgets | None = None, **more) -> RiskParity:
    """The answer, whose certificate and limits hold."""
    found = risk_parity(problem, equal_budgets(problem.moments) if budgets is None else budgets, SETTINGS, **more)
    certificate = found.solution.certificate
    assert certificate is not None, found.solution.message
    assert certificate.gap <= 1e-8
    assert certificate.violation <= 1e-8
    assert certificate.bound <= certificate.objective * (1.0 + 1e-12)
    return found


def contributions(Sigma: Matrix, w: Vector) -> Vector:
    """Shares of the variance."""
    parts = w * (Sigma @ w)
    return parts / parts.sum()
