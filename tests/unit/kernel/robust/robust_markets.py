"""Small markets for robust optimization, their last asset certain, and cvxpy as the judge."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.constraints import WeightBounds, budget
from kernel.measures.base import RiskMeasure
from kernel.measures.volatility import Volatility
from kernel.objectives import Objective
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Quadratic
from kernel.robust.sample import Sample
from kernel.scenarios import Scenarios

PERIODS = 252.0
SETTINGS = Settings()
FINE = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


@dataclass(frozen=True)
class Market:
    """A history of T returns of n assets, of which the last is cash."""

    R: Matrix
    lower: float
    rate: float = 0.02

    @property
    def n(self) -> int:
        return self.R.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"A{i}" for i in range(self.n))

    @property
    def uncertain(self) -> np.ndarray:
        return np.arange(self.n) < self.n - 1

    @property
    def mu(self) -> Vector:
        return PERIODS * self.R.mean(axis=0)

    @property
    def Sigma(self) -> Matrix:  # noqa: N802
        Sigma = PERIODS * np.cov(self.R, rowvar=False)
        Sigma[-1], Sigma[:, -1] = 0.0, 0.0
        return (Sigma + Sigma.T) / 2

    @property
    def moments(self) -> Moments:
        return Moments(self.names, self.mu, self.Sigma)

    @property
    def scenarios(self) -> Scenarios:
        return Scenarios.history(self.names, self.R.copy(), PERIODS)

    def sample(self, confidence: float = 0.95) -> Sample:
        return Sample(self.Sigma, self.uncertain, len(self.R), PERIODS, confidence)

    def bounds(self) -> WeightBounds:
        n = self.n
        lower, upper = np.append(np.full(n - 1, self.lower), 0.0), np.append(np.full(n - 1, 0.6), 0.0)
        return WeightBounds(lower, upper, tuple(f"low {i}" for i in range(n)), tuple(f"high {i}" for i in range(n)))

    def problem(self, objective: Objective, measure: RiskMeasure | None = None) -> Problem:
        risk = Volatility(self.moments) if measure is None else measure
        return Problem(self.moments, objective, risk, (self.bounds(), budget(self.n)))

    def limits(self, y: cp.Variable, scale: object = 1.0) -> list:
        """Bounds and budget for a judge, scaled."""
        bounds = self.bounds()
        return [cp.sum(y) == scale, y >= bounds.lower * scale, y <= bounds.upper * scale]

    def weights(self, seed: int) -> Vector:
        """Some weights of either sign, where shorts are allowed."""
        w = np.random.default_rng(seed).normal(0.3, 1.0, self.n)
        return w if self.lower < 0 else np.abs(w)


def market(seed: int = 0, *, n: int = 6, T: int = 300, lower: float = 0.0) -> Market:
    """Correlated returns of n - 1 assets with a factor, and cash."""
    rng = np.random.default_rng(seed)
    beta = rng.uniform(0.5, 1.5, n - 1)
    common = rng.standard_t(6, T) * 0.007
    R = 0.0006 * np.arange(1, n) / n + common[:, None] * beta + rng.normal(0.0, 0.008, (T, n - 1))
    return Market(np.column_stack([R, np.full(T, 0.02 / PERIODS)]), lower)


def factor_moments(which: Market, k: int = 2) -> Moments:
    """The market's moments with a covariance kept as factors and diagonal."""
    values, vectors = np.linalg.eigh(which.Sigma)
    factor = np.sqrt(values[-k:])[:, None] * vectors[:, -k:].T
    diagonal = np.maximum(np.diag(which.Sigma) - (factor**2).sum(axis=0), 0.0)
    return Moments(which.names, which.mu, Quadratic(None, factor, diagonal))


def root(Sigma: Matrix) -> Matrix:
    """F with F'F = Sigma, by eigenvalues."""
    values, vectors = np.linalg.eigh(Sigma)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def solved(goal: object, limits: list) -> float:
    """The value of a judge's program."""
    program = cp.Problem(goal, limits)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL, **FINE)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(program.value)
