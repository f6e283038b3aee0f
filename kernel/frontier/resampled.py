"""The resampled frontier: the average, rank by rank, over the frontiers of simulated histories.

A history of T normal returns has, for all that a frontier sees of it, a mean drawn from ``N(mu, Sigma h / T)`` and a
covariance drawn from ``Wishart(T - 1, Sigma) / (T - 1)``; they are independent and are drawn directly. Averages of
portfolios keep every convex limit. They are no optima: each says how much lower the least risk at its return is.

References: Michaud (1998), Efficient Asset Management; Bartlett (1933) for the draws of covariances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Matrix, Vector
from kernel.constraints import NetReturnFloor
from kernel.errors import ProblemError
from kernel.frontier import efficient_frontier
from kernel.frontier.path import TARGET_RETURN
from kernel.frontier.points import EfficientFrontier, FrontierPoint, FrontierRequest, outside, sharpe
from kernel.measures.volatility import Variance, Volatility, covariance_root
from kernel.methods.mean_risk import canonicalize, measurements, optimize, relative_gap
from kernel.methods.risk_budgets import has_risk_budgets
from kernel.methods.value_at_risk import has_value_at_risk
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.quadratic import Quadratic
from kernel.status import Status

# By how much of the tolerance the return of an average is lowered, so that the least risk at it stays feasible.
_LOWERED = 1e-2
_OUT_OF_TIME = "the time ended before all histories were simulated"


@dataclass(frozen=True, slots=True)
class Resampling:
    """What is simulated.

    Attributes:
        draws: Number of histories.
        seed: Of the random numbers; the same gives the same frontier.
        T: Returns in a history, at least 2.
        periods_per_year: Returns in a year.

    Raises:
        ProblemError: There are too few draws or returns, or the seed is negative.
    """

    draws: int
    seed: int
    T: int
    periods_per_year: float = 252.0

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ProblemError("resampling.draws", f"must be at least 2, not {self.draws}")
        if self.T < 2:
            raise ProblemError("observations", f"must be at least 2 for resampling, not {self.T}")
        if self.seed < 0:
            raise ProblemError("resampling.seed", f"must not be negative, not {self.seed}")


def resampled_frontier(
    problem: Problem,
    request: FrontierRequest,
    resampling: Resampling,
    settings: Settings,
    found: Callable[[FrontierPoint], None] | None = None,
) -> EfficientFrontier:
    """The resampled frontier of `problem`, whose objective is ignored.

    Limits are those of the problem in every history, also those on its own risk and return.

    Args:
        problem: What is asked, with volatility or variance as its measure and convex limits.
        request: How many points; of the averages those within its return and risk are kept.
        resampling: What is simulated.
        settings: How far to go.
        found: Called with each average.

    Returns:
        Averages measured on the problem's own moments; without points why there are none.

    Raises:
        ProblemError: The problem cannot be resampled, or cannot be posed.
    """
    _require_averages(problem)
    total = np.zeros((request.points, problem.moments.n))
    asked = FrontierRequest(request.points, request.risk_free)
    for moments in simulated(problem.moments, resampling):
        if settings.seconds_left == 0.0:
            return EfficientFrontier(Status.LIMIT_REACHED, _OUT_OF_TIME)
        frontier = efficient_frontier(_under(problem, moments), asked, settings)
        if not frontier.points:
            return replace(frontier, message=f"of a simulated history: {frontier.message}")
        total += _ranked(frontier.points, request.points)
    return _measured(problem, request, total / resampling.draws, settings, found)


def simulated(moments: Moments, resampling: Resampling) -> Iterator[Moments]:
    """Moments of simulated histories, one after the other."""
    rng = np.random.default_rng(resampling.seed)
    root = covariance_root(moments.quadratic)
    error = np.sqrt(resampling.periods_per_year / resampling.T)
    for _ in range(resampling.draws):
        mu = moments.mu + error * (rng.standard_normal(len(root)) @ root)
        factor = _wishart_root(rng, len(root), resampling.T - 1) @ root / np.sqrt(resampling.T - 1)
        Sigma = factor.T @ factor
        yield Moments(moments.names, mu, Quadratic(factor=factor) if len(factor) < moments.n else (Sigma + Sigma.T) / 2)


def _wishart_root(rng: np.random.Generator, k: int, degrees: int) -> Matrix:
    """A matrix A with A'A of the Wishart distribution of k dimensions: Bartlett's, or fewer normal rows."""
    if degrees < k:
        return rng.standard_normal((degrees, k))
    A = np.triu(rng.standard_normal((k, k)), 1)
    np.fill_diagonal(A, np.sqrt(rng.chisquare(degrees - np.arange(k))))
    return A


def _require_averages(problem: Problem) -> None:
    """Averages keep the limits where these are convex, and only moments are simulated."""
    if not isinstance(problem.measure, Volatility | Variance):
        raise ProblemError("risk_measure", f"must be volatility or variance for resampling, not {problem.measure.name}")
    budgets, tails = has_risk_budgets(problem), has_value_at_risk(problem)
    if budgets or tails or not canonicalize(replace(problem, objective=MinimizeRisk())).is_convex:
        raise ProblemError("constraints", "must be convex for resampling: averages keep no others")


def _under(problem: Problem, moments: Moments) -> Problem:
    """The problem with other moments for what is best, the limits left as they are."""
    assert isinstance(problem.measure, Volatility | Variance)
    return replace(problem, moments=moments, measure=replace(problem.measure, moments=moments))


def _ranked(points: Sequence[FrontierPoint], count: int) -> Matrix:
    """(count, n) weights at equal steps of return, on the lines between points."""
    W, returns = np.array([point.weights for point in points]), np.array([point.expected_return for point in points])
    if len(points) == 1:
        return np.repeat(W, count, axis=0)
    at = np.linspace(returns[0], returns[-1], count)
    k = np.clip(np.searchsorted(returns, at, side="right") - 1, 0, len(points) - 2)
    rise = returns[k + 1] - returns[k]
    t = np.clip((at - returns[k]) / np.where(rise > 0.0, rise, 1.0), 0.0, 1.0)[:, None]
    return np.asarray((1.0 - t) * W[k] + t * W[k + 1])


def _measured(
    problem: Problem,
    request: FrontierRequest,
    averages: Matrix,
    settings: Settings,
    found: Callable[[FrontierPoint], None] | None,
) -> EfficientFrontier:
    """The averages by rising risk, each beside the least risk at its return."""
    points: list[FrontierPoint] = []
    for w in averages:
        if settings.seconds_left == 0.0:
            return EfficientFrontier(Status.LIMIT_REACHED, _OUT_OF_TIME)
        points.append(_point(problem, w, request.risk_free, settings))
    points.sort(key=lambda point: point.risk)
    kept = tuple(point for point in points if _is_inside(point, request))
    if not kept:
        return outside(request, points[0].risk, max(point.expected_return for point in points))
    if found is not None:
        for point in kept:
            found(point)
    worst = max(point.gap for point in kept)
    best = max(kept, key=lambda point: -np.inf if point.sharpe is None else point.sharpe)
    return EfficientFrontier(
        Status.OPTIMAL_TO_TOLERANCE,
        f"averages, no optima: the least risk at their return is up to {worst:.2%} lower than theirs",
        points=kept,
        minimum_risk=kept[0],
        maximum_return=max(kept, key=lambda point: point.expected_return),
        optimal=best if best.sharpe is not None and best.sharpe > 0.0 else None,
    )


def _point(problem: Problem, w: Vector, risk_free: float, settings: Settings) -> FrontierPoint:
    value, risk = problem.net_return(w), problem.measure.of(w)
    floor = NetReturnFloor(TARGET_RETURN, problem.moments.mu, value - _LOWERED * settings.tolerance, problem.cost)
    posed = replace(problem, objective=MinimizeRisk(), cost=None, constraints=(*problem.constraints, floor))
    certificate = optimize(posed, settings).certificate
    least = 0.0 if certificate is None else max(min(certificate.bound, risk), 0.0)
    missed = max([0.0, *(measured.shortfall for measured in measurements(problem, w))])
    gap = relative_gap(risk, least)
    return FrontierPoint(w, value, risk, sharpe(value, risk, risk_free), 0.0, gap, missed)


def _is_inside(point: FrontierPoint, request: FrontierRequest) -> bool:
    earns = request.min_return is None or point.expected_return >= request.min_return
    return earns and (request.max_risk is None or point.risk <= request.max_risk)
