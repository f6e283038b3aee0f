"""Pareto surfaces of two and three objectives by epsilon-constraints, every point certified.

    maximize  f_1(w)   s.t.  f_k(w) >= e_k  for the other objectives k,  and all constraints

Written here for objectives turned so that more is better. A point's multipliers z and proven bound B give a plane that
no feasible portfolio is above, whatever the limits e' are (weak duality: only the right-hand side moves):

    f_1(w') <= B + sum_k z_k (e_k - f_k(w'))

The planes of all points enclose the surface from outside, the points' convex hull from inside: `resolution` is the
largest distance between the two, so it bounds all that lies between the points.

References: Haimes, Lasdon & Wismer (1971); Mavrotas (2009) for the second stage that makes points efficient;
Ruzika & Wiecek (2005) for the enclosures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import Delaunay, QhullError

from kernel.canonical import Matrix, Vector
from kernel.constraints.term_limit import TermLimit
from kernel.errors import ProblemError
from kernel.methods.custom import MaximizeTerms, WeightedTerm
from kernel.methods.mean_risk import optimize, relative_gap
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status
from kernel.terms import Curvature, Term

_SAME = 1e-7
# At the best value of a goal the others have no room at all; so much of it is given up to choose among its optima.
_ROOM = 1e-6


@dataclass(frozen=True)
class Goal:
    """A term to make large or small.

    Raises:
        ProblemError: It bends the other way, so that its optimum is not one convex program.
    """

    term: Term
    maximize: bool

    def __post_init__(self) -> None:
        wrong = Curvature.CONVEX if self.maximize else Curvature.CONCAVE
        if self.term.curvature is wrong:
            way = "maximized" if self.maximize else "minimized"
            raise ProblemError(f"terms[{self.term.name}]", f"is {wrong.value} and cannot be {way} by a convex program")

    @property
    def sign(self) -> float:
        """+1 where more is better."""
        return 1.0 if self.maximize else -1.0


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """An efficient portfolio.

    Attributes:
        values: (m,) of the goals, in their own units.
        prices: (m - 1,) improvement of the first goal per unit by which each of the others is given up, >= 0; NaN where
            integer choices leave none.
        limits: (m - 1,) the other goals' limits at which it was found.
        bound: No portfolio within these limits has a better value of the first goal.
        gap: Relative distance of the first goal's value from `bound`.
        violation: Largest amount by which a limit is missed.
        status: What was proven when it was found.
    """

    weights: Vector
    values: Vector
    prices: Vector
    limits: Vector
    bound: float
    gap: float
    violation: float
    status: Status


@dataclass(frozen=True, slots=True)
class ParetoSurface:
    """The surface, or why there is none.

    Attributes:
        points: Efficient portfolios, by rising value of the second goal (and then of the third).
        ideal: (m,) the best value of each goal alone.
        resolution: No portfolio is better than the points' hull by more than this, in units of the first goal; None
            where integer choices leave no such bound, or points on a line no hull.
        failure: The solution that ended without weights, where one did.
    """

    status: Status
    message: str
    points: tuple[ParetoPoint, ...] = ()
    ideal: Vector | None = None
    resolution: float | None = None
    failure: Solution | None = None


def pareto_surface(problem: Problem, goals: tuple[Goal, ...], points: int, settings: Settings) -> ParetoSurface:
    """About `points` efficient portfolios of two or three goals; the problem's own objective is ignored.

    Two goals: points are placed where the enclosure is widest. Three: on an even grid of the second and third.

    Raises:
        ProblemError: Not two or three goals of different names, or fewer points than goals.
    """
    _check(goals, points)
    shares = settings.shares(2 * points + 2 * len(goals))
    ends: list[ParetoPoint] = []
    for k in range(len(goals)):
        found = _extreme(problem, goals, k, shares)
        if isinstance(found, Solution):
            return ParetoSurface(found.status, found.message, failure=found)
        # Where the first goal has no bound of its own at this end, its best value of all is one.
        ends.append(found if np.isfinite(found.bound) else _bounded(found, ends[0].bound))
    ideal = np.array([end.values[k] for k, end in enumerate(ends)])
    search = _Search(problem, goals, shares)
    found_points = search.adaptive(ends, points) if len(goals) == 2 else search.grid(ends, points)
    kept = _efficient(found_points, goals)
    resolution = _resolution(kept, goals) if _priced(kept) else None
    message = f"{len(kept)} efficient points" + (f"; {search.failed} not found" if search.failed else "")
    return ParetoSurface(_weakest({point.status for point in kept}), message, kept, ideal, resolution)


def _check(goals: tuple[Goal, ...], points: int) -> None:
    if len(goals) not in (2, 3):
        raise ProblemError("terms", f"a Pareto surface needs two or three objectives, not {len(goals)}")
    names = [goal.term.name for goal in goals]
    if len(set(names)) < len(names):
        raise ProblemError("terms", f"names repeat: {', '.join(names)}")
    if points < len(goals):
        raise ProblemError("pareto_points", f"must be at least {len(goals)}, not {points}")


def _limit(goal: Goal, limit: float) -> TermLimit:
    return TermLimit(f"epsilon[{goal.term.name}]", goal.term, limit, at_least=goal.maximize)


def _solve(problem: Problem, goals: tuple[Goal, ...], main: int, limits: Vector, settings: Settings) -> Solution:
    """The best value of goal `main` within the limits of all others; infinite ones are absent."""
    others = [goal for k, goal in enumerate(goals) if k != main]
    rows = [_limit(goal, limit) for goal, limit in zip(others, limits.tolist(), strict=True) if np.isfinite(limit)]
    objective = MaximizeTerms((WeightedTerm(goals[main].term, goals[main].sign),))
    posed = replace(problem, objective=objective, cost=None, constraints=(*problem.constraints, *rows))
    return optimize(posed, settings)


def _values(goals: tuple[Goal, ...], w: Vector) -> Vector:
    return np.array([goal.term.of(w) for goal in goals])


def _loosened(goals: tuple[Goal, ...], values: Vector, by: float = 1e-9) -> Vector:
    """Limits a rounding below the values, so that what attains them stays feasible."""
    signs = np.array([goal.sign for goal in goals])
    return values - signs * by * np.maximum(np.abs(values), 1e-3)


def _extreme(problem: Problem, goals: tuple[Goal, ...], k: int, shares: Iterator[Settings]) -> ParetoPoint | Solution:
    """The best of goal k alone and, among its optima, the best of the next one."""
    free = np.full(len(goals) - 1, np.inf)
    best = _solve(problem, goals, k, free, next(shares))
    if best.weights is None:
        return best
    if k == 0:
        return _efficient_point(problem, goals, best, free, next(shares))
    limits = free.copy()
    limits[k - 1] = _loosened(goals[k : k + 1], _values(goals[k : k + 1], best.weights), _ROOM)[0]
    tied = _solve(problem, goals, 0, limits, next(shares))
    return replace(_point(goals, best, free), bound=np.inf) if tied.weights is None else _point(goals, tied, limits)


def _efficient_point(
    problem: Problem, goals: tuple[Goal, ...], found: Solution, limits: Vector, settings: Settings
) -> ParetoPoint:
    """`found`, or where a limit is idle the portfolio that improves the others at the same value of the first goal."""
    point = _point(goals, found, limits)
    if (point.prices > _SAME).all():
        return point
    floor = _limit(goals[0], float(_loosened(goals[:1], point.values[:1])[0]))
    rows = [_limit(g, limit) for g, limit in zip(goals[1:], limits.tolist(), strict=True) if np.isfinite(limit)]
    sizes = np.maximum(np.abs(point.values[1:]), 1e-3)
    weighted = [WeightedTerm(g.term, g.sign / size) for g, size in zip(goals[1:], sizes.tolist(), strict=True)]
    posed = replace(
        problem,
        objective=MaximizeTerms(tuple(weighted)),
        cost=None,
        constraints=(*problem.constraints, floor, *rows),
    )
    better = optimize(posed, settings)
    if better.weights is None or better.certificate is None:
        return point
    values, missed = _values(goals, better.weights), better.certificate.violation
    gap = relative_gap(float(values[0]), point.bound)
    if max(gap, missed) > settings.loose_tolerance:
        return point
    exact = max(gap, missed) <= settings.tolerance
    status = point.status if exact else _weakest({point.status, Status.OPTIMAL_TO_TOLERANCE})
    return replace(point, weights=better.weights, values=values, gap=gap, violation=missed, status=status)


def _bounded(point: ParetoPoint, bound: float) -> ParetoPoint:
    return replace(point, bound=bound, gap=relative_gap(float(point.values[0]), bound))


def _point(goals: tuple[Goal, ...], solution: Solution, limits: Vector) -> ParetoPoint:
    assert solution.weights is not None
    assert solution.certificate is not None
    prices = {report.name: report.shadow_price for report in solution.constraints}
    named = [prices.get(f"epsilon[{goal.term.name}]", 0.0) for goal in goals[1:]]
    certificate = solution.certificate
    return ParetoPoint(
        weights=solution.weights,
        values=_values(goals, solution.weights),
        prices=np.maximum(np.array(named, dtype=float), 0.0),
        limits=limits,
        bound=goals[0].sign * certificate.bound,
        gap=certificate.gap,
        violation=certificate.violation,
        status=solution.status,
    )


class _Search:
    """Places the limits, solves, and counts those that found nothing."""

    def __init__(self, problem: Problem, goals: tuple[Goal, ...], shares: Iterator[Settings]) -> None:
        self._problem, self._goals, self._shares = problem, goals, shares
        self.failed = 0

    def adaptive(self, ends: list[ParetoPoint], count: int) -> list[ParetoPoint]:
        """Two goals: the widest part of the enclosure is halved until there are `count` points."""
        points = sorted(ends, key=lambda point: float(point.values[1]))
        closed: set[float] = set()
        while len(points) < count:
            widths = [(w, k) for w, k in _widths(points, self._goals) if float(points[k].values[1]) not in closed]
            if not widths or max(widths)[0] <= 0.0:
                break
            k = max(widths)[1]
            middle = 0.5 * (points[k].values[1:] + points[k + 1].values[1:])
            found = self._at(middle)
            if found is None or any(np.allclose(found.values, p.values, rtol=_SAME, atol=1e-12) for p in points):
                closed.add(float(points[k].values[1]))
                continue
            points = sorted([*points, found], key=lambda point: float(point.values[1]))
        return points

    def grid(self, ends: list[ParetoPoint], count: int) -> list[ParetoPoint]:
        """Three goals: an even grid between the best and the worst that the ends have of the second and third."""
        values = np.array([end.values for end in ends])
        side = max(2, int(np.sqrt(count)))
        axes = [np.linspace(values[:, k].min(), values[:, k].max(), side) for k in (1, 2)]
        cells = [np.array([a, b]) for a in axes[0].tolist() for b in axes[1].tolist()]
        found = [point for cell in cells if (point := self._at(cell)) is not None]
        return [*ends, *found]

    def _at(self, values: Vector) -> ParetoPoint | None:
        limits = _loosened(self._goals[1:], values)
        solution = _solve(self._problem, self._goals, 0, limits, next(self._shares))
        if solution.weights is None:
            self.failed += solution.status is not Status.INFEASIBLE
            return None
        return _efficient_point(self._problem, self._goals, solution, limits, next(self._shares))


def _weakest(statuses: set[Status]) -> Status:
    weaker = (Status.LIMIT_REACHED, Status.OPTIMAL_TO_TOLERANCE)
    return next((status for status in weaker if status in statuses), Status.OPTIMAL)


def _efficient(points: list[ParetoPoint], goals: tuple[Goal, ...]) -> tuple[ParetoPoint, ...]:
    """The points that no other one dominates, each once, in order."""
    signs = np.array([goal.sign for goal in goals])
    turned = np.array([signs * point.values for point in points])
    sizes = np.maximum(np.abs(turned).max(axis=0), 1e-9)
    kept: list[int] = []
    for k in range(len(points)):
        ahead = (turned - turned[k]) / sizes
        dominated = ((ahead >= -_SAME).all(axis=1) & (ahead > _SAME).any(axis=1)).any()
        repeated = any(np.abs(ahead[j]).max() <= _SAME for j in kept)
        if not (dominated or repeated):
            kept.append(k)
    kept.sort(key=lambda k: tuple(points[k].values[1:].tolist()))
    return tuple(points[k] for k in kept)


@dataclass(frozen=True, slots=True)
class _Enclosure:
    """Turned points (K, m), and planes ``f_1 <= height - slopes f_rest`` (K, m - 1)."""

    points: Matrix
    heights: Vector
    slopes: Matrix


def _enclose(points: list[ParetoPoint] | tuple[ParetoPoint, ...], goals: tuple[Goal, ...]) -> _Enclosure:
    signs = np.array([goal.sign for goal in goals])
    turned = np.array([signs * point.values for point in points])
    slopes = np.array([point.prices for point in points])
    limits = np.array([np.where(np.isfinite(p.limits), signs[1:] * p.limits, 0.0) for p in points])
    bounds = signs[0] * np.array([point.bound for point in points])
    return _Enclosure(turned, bounds + (slopes * limits).sum(axis=1), slopes)


def _widest(enclosure: _Enclosure, corners: list[int]) -> float:
    """Largest distance between the planes and the simplex of the points `corners`, by a linear program.

    With shares a of the corners: ``max t`` s.t. ``t <= height_j - slopes_j'(sum a rest) - sum a f_1`` for every plane.
    """
    firsts, rest = enclosure.points[corners, 0], enclosure.points[corners, 1:]
    A = np.column_stack([np.ones(len(enclosure.heights)), enclosure.slopes @ rest.T + firsts])
    sums = np.append(0.0, np.ones(len(corners)))[None, :]
    answer = linprog(
        np.append(-1.0, np.zeros(len(corners))),
        A_ub=A,
        b_ub=enclosure.heights,
        A_eq=sums,
        b_eq=[1.0],
        bounds=[(None, None), *([(0.0, 1.0)] * len(corners))],
        method="highs",
    )
    return float("inf") if answer.x is None else max(float(answer.x[0]), 0.0)


def _priced(points: list[ParetoPoint] | tuple[ParetoPoint, ...]) -> bool:
    return all(np.isfinite(point.prices).all() for point in points)


def _widths(points: list[ParetoPoint], goals: tuple[Goal, ...]) -> list[tuple[float, int]]:
    """How far apart the enclosures are between neighbours; without prices how far apart the neighbours are."""
    if not _priced(points):
        steps = np.diff([point.values for point in points], axis=0)
        spread = np.maximum(np.abs(steps).sum(axis=0), 1e-12)
        return [(float(width), k) for k, width in enumerate(np.abs(steps / spread).sum(axis=1))]
    enclosure = _enclose(points, goals)
    return [(_widest(enclosure, [k, after]), k) for k, after in pairwise(range(len(points)))]


def _resolution(points: tuple[ParetoPoint, ...], goals: tuple[Goal, ...]) -> float | None:
    """The largest distance between the enclosures over the hull of the points."""
    enclosure = _enclose(points, goals)
    if len(points) == 1:
        return _widest(enclosure, [0])
    if len(goals) == 2:
        return max(width for width, _ in _widths(list(points), goals))
    rest = enclosure.points[:, 1:]
    spread = np.ptp(rest, axis=0)
    try:
        simplices = Delaunay((rest - rest.min(axis=0)) / np.where(spread > 0, spread, 1.0)).simplices
    except (QhullError, ValueError):
        return None
    return max(_widest(enclosure, simplex.tolist()) for simplex in simplices)
