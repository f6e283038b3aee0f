"""The exact mean-variance frontier under bounds and a budget, by the parametric (critical-line) method.

    minimize  1/2 w'Sigma w - lambda mu'w    s.t.  1'w = total,  lower <= w <= upper        for every lambda >= 0

Between turning points the set F of assets off their bounds is constant and the solution is linear in lambda:

    w_F = alpha + lambda beta,   nu = gamma + lambda delta            (nu: multiplier of the budget)

A turning point is where an asset of F meets a bound, or the reduced cost of an asset on a bound changes sign. The
path starts at the minimum-variance portfolio and goes up: there the active set is unique, and among portfolios of equal
highest return it ends at the one of least risk, so tied means need no special case. Every segment is computed afresh
from the data, so errors do not pile up.

References: Markowitz (1956); Niedermayer & Niedermayer (2010); Bailey & Lopez de Prado (2013), Algorithms 6(1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from kernel.canonical import Mask, Matrix, Vector
from kernel.problem import Moments

_STALLED = 50
# Pivots of a Cholesky factor that differ by more than this mean a numerically singular covariance.
_SINGULAR = 1e-6


@dataclass(frozen=True, slots=True)
class Box:
    """lower <= w <= upper, 1'w = total."""

    lower: Vector
    upper: Vector
    total: float = 1.0


@dataclass(frozen=True, slots=True)
class TurningPoints:
    """The frontier's corners in the order of rising return.

    Attributes:
        multipliers: (k,) lambda at which the path passes.
        budget_multipliers: (k,) nu at the same points.
        W: (k, n) weights. Between neighbours weights are linear.
    """

    multipliers: Vector
    budget_multipliers: Vector
    W: Matrix


@dataclass(slots=True)
class _State:
    """Where the path is: the weights on their bounds, the free set, lambda."""

    w: Vector
    free: Mask
    at_upper: Mask
    lam: float


@dataclass(frozen=True, slots=True)
class _Segment:
    """w_F = alpha + lambda beta and nu = gamma + lambda delta on one critical line."""

    assets: np.ndarray
    alpha: Vector
    beta: Vector
    gamma: float
    delta: float


def trace(moments: Moments, box: Box, start: Vector) -> TurningPoints | None:
    """All turning points from the minimum-variance portfolio `start` to the highest return.

    Args:
        moments: mu (n,) and Sigma (n, n).
        box: Bounds and budget.
        start: (n,) the minimum-variance portfolio, with assets exactly on their bounds.

    Returns:
        The turning points, or None where the free assets' covariance is singular or the path does not advance: then
        the caller must re-solve point by point.
    """
    state = _initial(moments, box, start)
    if state is None:
        return TurningPoints(np.zeros(1), np.array([_only_multiplier(moments, box, start)]), start[None, :].copy())
    points: list[tuple[float, float, Vector]] = []
    stalled = 0
    while stalled < _STALLED:
        segment = _segment(moments, box, state)
        if segment is None:
            return None
        if not points:
            points.append(_point(state, segment))
        step = _next_event(moments, box, state, segment)
        if step is None:
            return _collect(points)
        advanced = step[0] > state.lam * (1 + 1e-12) + 1e-14
        stalled = 0 if advanced else stalled + 1
        _advance(state, segment, box, step)
        if advanced:
            points.append(_point(state, segment))
    return None


def _initial(moments: Moments, box: Box, start: Vector) -> _State | None:
    """The state at `start`; None when the budget leaves no other portfolio.

    At a vertex one asset on its upper bound takes the free place: the one of largest marginal risk, which fixes a
    budget multiplier that suits all others.
    """
    at_upper = (start >= box.upper) & (box.lower < box.upper)
    free = (start > box.lower) & (start < box.upper)
    if not free.any():
        if not at_upper.any() or not (start < box.upper).any():
            return None
        asset = int(np.argmax(np.where(at_upper, moments.Sigma @ start, -np.inf)))
        free[asset], at_upper[asset] = True, False
    return _State(start.copy(), free, at_upper, 0.0)


def _only_multiplier(moments: Moments, box: Box, w: Vector) -> float:
    """A budget multiplier that proves the only portfolio: no asset at its cap may want more, none at its floor less."""
    marginal = moments.Sigma @ w
    return float(marginal.max() if (w > box.lower).any() else marginal.min())


def _segment(moments: Moments, box: Box, state: _State) -> _Segment | None:
    """Solve the budgeted critical line on the free set; None where it has no unique solution."""
    assets = np.flatnonzero(state.free)
    bound = np.where(state.free, 0.0, state.w)
    held = np.flatnonzero(bound)
    pull = moments.Sigma[np.ix_(assets, held)] @ bound[held]
    budget = box.total - bound.sum()
    # Means count from one of their own: tied ones are then exactly zero and leave no rounding for lambda to magnify.
    level = float(moments.mu[assets[0]])
    system = _System(moments.Sigma[np.ix_(assets, assets)], moments.mu[assets] - level, pull, float(budget))
    solved = _solve_definite(system) or _solve_bordered(system)
    if solved is None:
        return None
    alpha, beta, gamma, delta = solved
    return _Segment(assets, alpha, beta if len(assets) > 1 else np.zeros(1), gamma, delta - level)


@dataclass(frozen=True, slots=True)
class _System:
    """Sigma w = lambda mu + nu - pull,  1'w = budget  on the free assets."""

    Sigma: Matrix
    mu: Vector
    pull: Vector
    budget: float


_Line = tuple[Vector, Vector, float, float]


def _solve_definite(system: _System) -> _Line | None:
    """alpha, beta, gamma and delta by one Cholesky factorisation; None when Sigma is singular."""
    factor, failed = scipy.linalg.lapack.dpotrf(system.Sigma, lower=True)
    pivots = np.diag(factor)
    if failed or pivots.min() < _SINGULAR * pivots.max():
        return None
    right = np.column_stack([system.mu, np.ones(len(system.mu)), system.pull])
    solved, _ = scipy.linalg.lapack.dpotrs(factor, right, lower=True)
    return_part, budget_part, pull_part = solved.T
    spread = float(budget_part.sum())
    if not spread > 0:
        return None
    gamma, delta = (system.budget + float(pull_part.sum())) / spread, -float(return_part.sum()) / spread
    return gamma * budget_part - pull_part, return_part + delta * budget_part, gamma, delta


def _solve_bordered(system: _System) -> _Line | None:
    """The same by LU of the system bordered with the budget: it also has a solution with one riskless asset."""
    n = len(system.mu)
    size = float(np.abs(system.Sigma).max()) or 1.0
    K = np.full((n + 1, n + 1), size)
    K[:n, :n], K[n, n] = system.Sigma, 0.0
    factor, pivots, failed = scipy.linalg.lapack.dgetrf(K)
    diagonal = np.abs(np.diag(factor))
    if failed or diagonal.min() < _SINGULAR**2 * diagonal.max():
        return None
    right = np.column_stack([np.append(-system.pull, size * system.budget), np.append(system.mu, 0.0)])
    solved, _ = scipy.linalg.lapack.dgetrs(factor, pivots, right)
    constant, slope = solved.T
    return constant[:n], slope[:n], -size * float(constant[n]), -size * float(slope[n])


def _next_event(moments: Moments, box: Box, state: _State, segment: _Segment) -> tuple[float, int] | None:
    """The smallest lambda at which an asset changes its set, and the asset (the lowest index among equals)."""
    events = np.full(moments.n, np.inf)
    up, down = segment.beta > 0, segment.beta < 0
    limit = np.where(up, box.upper[segment.assets], box.lower[segment.assets])
    moving = up | down
    events[segment.assets[moving]] = ((limit - segment.alpha) / np.where(moving, segment.beta, 1.0))[moving]
    constant, slope = _reduced_costs(moments, state, segment)
    resting = ~state.free & (box.lower < box.upper)
    leaving = resting & np.where(state.at_upper, slope > 0, slope < 0)
    events[leaving] = -constant[leaving] / slope[leaving]
    events = np.maximum(events, state.lam)
    asset = int(np.argmin(events))
    return (float(events[asset]), asset) if np.isfinite(events[asset]) else None


def _reduced_costs(moments: Moments, state: _State, segment: _Segment) -> tuple[Vector, Vector]:
    """(n,) constant and slope in lambda of ``Sigma w - lambda mu - nu``: positive at a lower bound."""
    base, direction = state.w.copy(), np.zeros(moments.n)
    base[segment.assets], direction[segment.assets] = segment.alpha, segment.beta
    used = np.flatnonzero((base != 0) | (direction != 0))
    products = moments.Sigma[:, used] @ np.column_stack([base[used], direction[used]])
    slope = products[:, 1] - moments.mu - segment.delta
    slope[np.abs(slope) < 1e-13 * (1 + np.abs(moments.mu))] = 0.0
    return products[:, 0] - segment.gamma, slope


def _advance(state: _State, segment: _Segment, box: Box, step: tuple[float, int]) -> None:
    """Move along the segment to the event and let its asset change sets."""
    lam, asset = step
    state.lam = lam
    state.w[segment.assets] = segment.alpha + lam * segment.beta
    if state.free[asset]:
        rises = segment.beta[np.searchsorted(segment.assets, asset)] > 0
        state.free[asset], state.at_upper[asset] = False, rises
        state.w[asset] = box.upper[asset] if rises else box.lower[asset]
    else:
        state.free[asset], state.at_upper[asset] = True, False


def _point(state: _State, segment: _Segment) -> tuple[float, float, Vector]:
    return state.lam, segment.gamma + state.lam * segment.delta, state.w.copy()


def _collect(points: list[tuple[float, float, Vector]]) -> TurningPoints:
    multipliers, budget, weights = zip(*points, strict=True)
    return TurningPoints(np.array(multipliers), np.array(budget), np.array(weights))
