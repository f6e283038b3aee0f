"""What a frontier is asked for and what it answers; how its points are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.canonical import Matrix, Program, Vector
from kernel.certificate import assess_along
from kernel.errors import ProblemError
from kernel.frontier.reduction import products
from kernel.methods.mean_risk import relative_gap
from kernel.problem import Problem
from kernel.solution import Solution
from kernel.status import Status


@dataclass(frozen=True, slots=True)
class FrontierRequest:
    """Which part of the frontier, and how many points.

    Attributes:
        points: Number of points, ends included: at equal steps of expected return on an exact path, elsewhere where
            the frontier bends.
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
    """One efficient portfolio.

    Attributes:
        expected_return: Annual, after costs where the problem has them.
        multiplier: lambda, half the variance that one more unit of return costs.
        gap: Between the risk and the least risk that is possible at this return, relative.
        violation: Largest amount by which a limit is missed.
    """

    weights: Vector
    expected_return: float
    risk: float
    sharpe: float | None
    multiplier: float
    gap: float
    violation: float


@dataclass(frozen=True, slots=True)
class EfficientFrontier:
    """The frontier and the portfolios that stand out on it.

    Attributes:
        status: OPTIMAL with points; otherwise why there are none.
        points: In the order of rising return.
        turning_points: The corners of an exact path, empty where points were solved one by one.
        maximum_return: None where the return has no limit and only the largest risk ended the frontier.
        optimal: Highest Sharpe ratio, None where no portfolio earns more than the risk-free rate.
        resolution: Between neighbouring points no portfolio has a risk below the line through them by more than this,
            relative to the risk; 0 for an exact path, None where it is not known.
        failure: The solution that ended without weights, where one did.
    """

    status: Status
    message: str
    points: tuple[FrontierPoint, ...] = ()
    turning_points: tuple[FrontierPoint, ...] = ()
    minimum_risk: FrontierPoint | None = None
    maximum_return: FrontierPoint | None = None
    optimal: FrontierPoint | None = None
    failure: Solution | None = None
    resolution: float | None = None


class Judge:
    """Measures points of a traced path and bounds their gap by weak duality in "least risk at this return"."""

    def __init__(self, problem: Problem, program: Program, risk_free: float) -> None:
        self._problem, self._program, self._risk_free = problem, program, risk_free
        self._offset = 0.0 if problem.cost is None else problem.cost.offset

    def points(self, X: Matrix, Z: Matrix) -> list[FrontierPoint]:
        """The portfolios of X (k, N), with the multipliers Z (k, m) of all rows, the last those of the return."""
        problem, program, n = self._problem, self._program, self._problem.moments.n
        weights = [x[:n].copy() for x in X]
        values = [problem.net_return(w) for w in weights]
        right = np.tile(program.b, (len(X), 1))
        right[:, -1] = -np.array(values) - self._offset
        PX = np.zeros_like(X)
        PX[:, : program.P.size] = products(program.P, X[:, : program.P.size])
        bounds, missed = assess_along(program, X, PX, Z, right)
        return [
            self._point(w, value, (float(z[-1]), bound, miss))
            for w, value, z, bound, miss in zip(weights, values, Z, bounds.tolist(), missed.tolist(), strict=True)
        ]

    def _point(self, w: Vector, value: float, judged: tuple[float, float, float]) -> FrontierPoint:
        multiplier, bound, missed = judged
        risk = self._problem.measure.of(w)
        gap = relative_gap(risk, self._problem.measure.from_program(bound))
        return FrontierPoint(w, value, risk, sharpe(value, risk, self._risk_free), multiplier, gap, missed)


def sharpe(value: float, risk: float, risk_free: float) -> float | None:
    """(value - risk_free) / risk; None without risk."""
    return (value - risk_free) / risk if risk > 0 else None


def failed(solution: Solution) -> EfficientFrontier:
    """No frontier, for the reason that `solution` gives."""
    return EfficientFrontier(solution.status, solution.message, failure=solution)


def outside(request: FrontierRequest, least_risk: float, highest_return: float | None) -> EfficientFrontier:
    """No frontier, because the request leaves nothing of it."""
    asked = [f"min_return {request.min_return:.6g}"] if request.min_return is not None else []
    asked += [f"max_risk {request.max_risk:.6g}"] if request.max_risk is not None else []
    highest = "the return has no limit" if highest_return is None else f"the highest return {highest_return:.6g}"
    message = f"no efficient portfolio meets {' and '.join(asked)}: the least risk is {least_risk:.6g}, {highest}"
    return EfficientFrontier(Status.INFEASIBLE, message)
