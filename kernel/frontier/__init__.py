"""The efficient frontier of volatility: least risk for every attainable return.

Under bounds and a budget the whole frontier is traced exactly (`critical_line`) and points are read off it; where other
constraints enter, every point is solved exactly at its return. Either way each point carries its certified gap, and
none lies below the minimum-risk portfolio's return.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.certificate import lower_bound
from kernel.constraints import LinearLimit, RiskLimit, WeightBounds
from kernel.errors import ProblemError
from kernel.frontier.critical_line import Box, TurningPoints, trace
from kernel.frontier.path import FrontierPath
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.problem import MaximizeRatio, MaximizeReturn, MinimizeRisk, Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

TARGET_RETURN = "target return"


@dataclass(frozen=True, slots=True)
class FrontierRequest:
    """Which part of the frontier, and how many points.

    Attributes:
        points: Number of points, evenly spaced in expected return, ends included.
        risk_free: Annual, for the Sharpe ratio.
        min_return: No point has less expected return than this.
        max_risk: No point has more risk than this.
    """

    points: int
    risk_free: float
    min_return: float | None = None
    max_risk: float | None = None

    def __post_init__(self) -> None:
        if self.points < 2:
            raise ProblemError("points", f"must be at least 2, not {self.points}")


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One efficient portfolio. `multiplier` is lambda: the variance that one more unit of return costs, halved."""

    weights: Vector
    expected_return: float
    risk: float
    sharpe: float | None
    multiplier: float
    gap: float


@dataclass(frozen=True, slots=True)
class EfficientFrontier:
    """The frontier and the portfolios that stand out on it.

    Attributes:
        status: OPTIMAL with points; otherwise why there are none.
        points: In the order of rising return.
        turning_points: The corners of an exact path, empty where points were solved one by one.
        optimal: Highest Sharpe ratio, None where no portfolio earns more than the risk-free rate.
    """

    status: Status
    message: str
    points: tuple[FrontierPoint, ...] = ()
    turning_points: tuple[FrontierPoint, ...] = ()
    minimum_risk: FrontierPoint | None = None
    maximum_return: FrontierPoint | None = None
    optimal: FrontierPoint | None = None
    failure: Solution | None = None


def efficient_frontier(problem: Problem, request: FrontierRequest, settings: Settings) -> EfficientFrontier:
    """The efficient frontier of `problem`, whose objective is ignored.

    Raises:
        ProblemError: The problem or the request cannot be posed.
    """
    least = optimize(replace(problem, objective=MinimizeRisk()), settings)
    if least.weights is None:
        return _none(least)
    box = _plain_box(problem)
    if box is not None:
        corners = trace(problem.moments, box, np.clip(least.weights, box.lower, box.upper))
        if corners is not None:
            return _read_off(problem, request, corners, settings.tolerance)
    return _resolve(problem, request, least, settings)


def _plain_box(problem: Problem) -> Box | None:
    """Bounds and budget, when the problem has nothing else."""
    bounds = [c for c in problem.constraints if isinstance(c, WeightBounds)]
    budgets = [c for c in problem.constraints if isinstance(c, LinearLimit) and c.upper_name == "budget"]
    if problem.cost is not None or len(problem.constraints) != 2 or len(bounds) != 1 or len(budgets) != 1:
        return None
    finite = np.isfinite(bounds[0].lower).all() and np.isfinite(bounds[0].upper).all()
    return Box(bounds[0].lower, bounds[0].upper, budgets[0].upper) if finite else None


def _read_off(
    problem: Problem, request: FrontierRequest, corners: TurningPoints, tolerance: float
) -> EfficientFrontier:
    path = FrontierPath.of(problem.moments, corners)
    low = path.returns[0] if request.min_return is None else max(request.min_return, path.returns[0])
    high = path.returns[-1] if request.max_risk is None else path.return_at_risk(request.max_risk * (1 + tolerance))
    if high is None or low > high + tolerance:
        return _outside(request, float(path.risks[0]), float(path.returns[-1]))
    judge = _Judge(problem, request.risk_free)

    def point(place: float) -> FrontierPoint:
        return judge.point(*path.at(place))

    places = [path.place_of_return(r) for r in np.linspace(min(low, high), high, request.points)]
    best = path.place_of_highest_ratio(request.risk_free)
    return EfficientFrontier(
        Status.OPTIMAL,
        f"exact: {len(path.returns)} turning points",
        points=tuple(point(place) for place in places),
        turning_points=tuple(point(float(k)) for k in range(len(path.returns))),
        minimum_risk=point(0.0),
        maximum_return=point(float(len(path.returns) - 1)),
        optimal=None if best is None else point(best),
    )


class _Judge:
    """Measures points of the path and bounds their gap by weak duality in "least variance at this return"."""

    def __init__(self, problem: Problem, risk_free: float) -> None:
        target = LinearLimit(problem.moments.mu, 0.0, np.inf, TARGET_RETURN, TARGET_RETURN)
        with_target = replace(problem, objective=MinimizeRisk(), constraints=(*problem.constraints, target))
        self._program = canonicalize(with_target)
        self._problem, self._risk_free = problem, risk_free
        rows = {name: block.start for block in self._program.blocks for name in block.names}
        self._budget_row, self._return_row = rows["budget"], rows[TARGET_RETURN]

    def point(self, w: Vector, multiplier: float, budget_multiplier: float) -> FrontierPoint:
        value, risk = float(self._problem.moments.mu @ w), self._problem.measure.of(w)
        b, z = self._program.b.copy(), np.zeros(len(self._program.b))
        b[self._return_row] = -value
        z[self._return_row], z[self._budget_row] = multiplier, -budget_multiplier
        bound = self._problem.measure.from_program(lower_bound(replace(self._program, b=b), w, z))
        gap = max(risk - bound, 0.0) / max(risk, 1e-9)
        return FrontierPoint(w, value, risk, _sharpe(value, risk, self._risk_free), multiplier, gap)


def _resolve(problem: Problem, request: FrontierRequest, least: Solution, settings: Settings) -> EfficientFrontier:
    """Points solved one by one, between the minimum-risk portfolio and the highest return within the largest risk."""
    highest = optimize(replace(problem, objective=MaximizeReturn()), settings)
    if highest.weights is None:
        return _none(highest)
    top = highest
    if request.max_risk is not None:
        top = _highest_within(problem, request.max_risk, least, settings)
    low, high = _value(problem, least), _value(problem, top)
    if low is not None and request.min_return is not None:
        low = max(low, request.min_return)
    if low is None or high is None or low > high + settings.tolerance:
        least_risk = least.certificate.objective if least.certificate else 0.0
        return _outside(request, least_risk, _value(problem, highest) or 0.0)
    solved = [_at_return(problem, float(r), settings) for r in np.linspace(low, max(low, high), request.points)]
    failed = next((s for s in solved if s.weights is None), None)
    if failed is not None:
        return _none(failed)
    best = optimize(replace(problem, objective=MaximizeRatio(request.risk_free)), settings)
    risk_free = request.risk_free
    return EfficientFrontier(
        Status.OPTIMAL if all(s.status is Status.OPTIMAL for s in solved) else Status.OPTIMAL_TO_TOLERANCE,
        f"{len(solved)} points, each solved at its return",
        points=tuple(_solved_point(problem, s, risk_free) for s in solved),
        minimum_risk=_solved_point(problem, least, risk_free),
        maximum_return=_solved_point(
            problem, _at_return(problem, _value(problem, highest) or 0.0, settings), risk_free
        ),
        optimal=None if best.weights is None else _solved_point(problem, best, risk_free),
    )


def _highest_within(problem: Problem, max_risk: float, least: Solution, settings: Settings) -> Solution:
    """The highest return within `max_risk`; with no room above the least risk that portfolio itself."""
    assert least.weights is not None
    least_risk = problem.measure.of(least.weights)
    if abs(max_risk - least_risk) <= settings.tolerance * least_risk:
        return least
    limit = RiskLimit("max_risk", problem.measure, max_risk)
    return optimize(replace(problem, objective=MaximizeReturn(), constraints=(*problem.constraints, limit)), settings)


def _at_return(problem: Problem, target: float, settings: Settings) -> Solution:
    """Least risk at a return of at least `target`, lowered by a rounding so that the highest return stays feasible."""
    floor = target - settings.tolerance * 1e-2 * max(1.0, abs(target))
    limit = LinearLimit(problem.moments.mu, floor, np.inf, TARGET_RETURN, TARGET_RETURN, unit="return")
    return optimize(
        replace(problem, objective=MinimizeRisk(), constraints=(*problem.constraints, limit)),
        settings,
    )


def _solved_point(problem: Problem, solution: Solution, risk_free: float) -> FrontierPoint:
    assert solution.weights is not None
    assert solution.certificate is not None
    value, risk = float(problem.moments.mu @ solution.weights), problem.measure.of(solution.weights)
    price = next((c.shadow_price or 0.0 for c in solution.constraints if c.name == TARGET_RETURN), 0.0)
    return FrontierPoint(
        solution.weights, value, risk, _sharpe(value, risk, risk_free), price * risk, solution.certificate.gap
    )


def _value(problem: Problem, solution: Solution) -> float | None:
    return None if solution.weights is None else float(problem.moments.mu @ solution.weights)


def _sharpe(value: float, risk: float, risk_free: float) -> float | None:
    return (value - risk_free) / risk if risk > 0 else None


def _none(solution: Solution) -> EfficientFrontier:
    return EfficientFrontier(solution.status, solution.message, failure=solution)


def _outside(request: FrontierRequest, least_risk: float, highest_return: float) -> EfficientFrontier:
    asked = [f"min_return {request.min_return:.6g}"] if request.min_return is not None else []
    asked += [f"max_risk {request.max_risk:.6g}"] if request.max_risk is not None else []
    message = (
        f"no efficient portfolio meets {' and '.join(asked)}: "
        f"the least risk is {least_risk:.6g}, the highest return {highest_return:.6g}"
    )
    return EfficientFrontier(Status.INFEASIBLE, message)
