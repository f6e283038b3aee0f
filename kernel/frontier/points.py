"""What a frontier is asked for and what it answers; how its points are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.certificate import lower_bound, violation
from kernel.constraints import NetReturnFloor
from kernel.errors import ProblemError
from kernel.methods.mean_risk import canonicalize, relative_gap
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem
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
        optimal: Highest Sharpe ratio, None where no portfolio earns more than the risk-free rate.
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


class Judge:
    """Measures points of a traced path and bounds their gap by weak duality in "least variance at this return"."""

    def __init__(self, problem: Problem, risk_free: float) -> None:
        floor = NetReturnFloor(TARGET_RETURN, problem.moments.mu, 0.0)
        self._program = canonicalize(
            replace(problem, objective=MinimizeRisk(), constraints=(*problem.constraints, floor))
        )
        self._problem, self._risk_free = problem, risk_free
        rows = {name: block.start for block in self._program.blocks for name in block.names}
        self._budget_row, self._return_row = rows["budget"], rows[TARGET_RETURN]

    def point(self, w: Vector, multiplier: float, budget_multiplier: float) -> FrontierPoint:
        """The portfolio w, with the multipliers of the path there."""
        value, risk = float(self._problem.moments.mu @ w), self._problem.measure.of(w)
        b, z = self._program.b.copy(), np.zeros(len(self._program.b))
        b[self._return_row] = -value
        z[self._return_row], z[self._budget_row] = multiplier, -budget_multiplier
        program = replace(self._program, b=b)
        gap = relative_gap(risk, self._problem.measure.from_program(lower_bound(program, w, z)))
        missed = violation(program, w)
        return FrontierPoint(w, value, risk, sharpe(value, risk, self._risk_free), multiplier, gap, missed)


def sharpe(value: float, risk: float, risk_free: float) -> float | None:
    """(value - risk_free) / risk; None without risk."""
    return (value - risk_free) / risk if risk > 0 else None


def failed(solution: Solution) -> EfficientFrontier:
    """No frontier, for the reason that `solution` gives."""
    return EfficientFrontier(solution.status, solution.message, failure=solution)


def outside(request: FrontierRequest, least_risk: float, highest_return: float) -> EfficientFrontier:
    """No frontier, because the request leaves nothing of it."""
    asked = [f"min_return {request.min_return:.6g}"] if request.min_return is not None else []
    asked += [f"max_risk {request.max_risk:.6g}"] if request.max_risk is not None else []
    message = (
        f"no efficient portfolio meets {' and '.join(asked)}: "
        f"the least risk is {least_risk:.6g}, the highest return {highest_return:.6g}"
    )
    return EfficientFrontier(Status.INFEASIBLE, message)
