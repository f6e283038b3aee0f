"""Reading portfolios off an exact frontier: between corners x is linear in the return, the risk's square quadratic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Program, Vector
from kernel.constraints import NetReturnFloor
from kernel.frontier.parametric import Corners, trace
from kernel.frontier.reduction import products
from kernel.methods.mean_risk import canonicalize
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings

TARGET_RETURN = "target return"
# What the measures of the path are: roots of twice the program's value, or twice the value itself.
PATH_MEASURES = {"volatility": 0.5, "tracking_error": 0.5, "variance": 1.0}
# As for ratios: a risk this small against that of the assets is rounding.
_RISKLESS = 1e-6
_NO_EXCESS = 1e-12
_MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class FrontierPath:
    """A traced frontier. A *place* k + t means t of the way from corner k to corner k+1.

    Attributes:
        problem: Its objective is ignored.
        program: Least risk; its last row says that the net return is at least something.
        corners: Of the path without that row; the multipliers are those of the row.
        returns: (k,) after costs.
        values: (k,) the program's objective.
        slopes: (k-1,) its derivative at the beginning of each segment, by t.
        bends: (k-1,) its second derivative.
    """

    problem: Problem
    program: Program
    corners: Corners
    returns: Vector
    values: Vector
    slopes: Vector
    bends: Vector

    @classmethod
    def of(cls, problem: Problem, settings: Settings) -> FrontierPath | None:
        """Trace the frontier; None where it is no path, or one that cannot be followed."""
        program = least_risk_program(problem)
        if not _is_path(problem, program):
            return None
        free = replace(program, A=program.A[:-1], b=program.b[:-1], blocks=program.blocks[:-1])
        corners = trace(free, -program.A[[-1]].toarray()[0], settings)
        return None if corners is None else _measured(problem, program, corners)

    @property
    def is_endless(self) -> bool:
        """Whether return and risk grow for ever."""
        return self.corners.ray is not None

    def until(self, risk: float) -> FrontierPath:
        """The path with one more corner on its ray, where the risk is a little above `risk`; as it is without a ray."""
        if self.corners.ray is None:
            return self
        dx, dz = self.corners.ray
        leading = self.program.P.size
        bent = products(self.program.P, dx[None, :leading])[0]
        slope = float(bent @ self.corners.X[-1][:leading] + self.program.q @ dx)
        bend, missing = (
            float(bent @ dx[:leading]),
            self.problem.measure.penalty(risk) * (1.0 + _MARGIN) - self.values[-1],
        )
        if missing <= 0.0:
            return self
        step = 2.0 * missing / (slope + np.sqrt(slope**2 + 2.0 * bend * missing))
        last = Corners(
            np.append(self.corners.multipliers, self.corners.multipliers[-1] + step),
            np.vstack([self.corners.X, self.corners.X[-1] + step * dx]),
            np.vstack([self.corners.Z, self.corners.Z[-1] + step * dz]),
            np.append(self.corners.turns, False),
        )
        return _measured(self.problem, self.program, last)

    @property
    def risks(self) -> Vector:
        """(k,) in the measure's own unit."""
        return np.array([self.problem.measure.from_program(value) for value in self.values.tolist()])

    def at(self, place: float) -> tuple[Vector, Vector]:
        """X and the multipliers of all rows at `place`."""
        k, t = self._split(place)
        x, z, lam = (
            values[k] if t == 0.0 else (1 - t) * values[k] + t * values[k + 1]
            for values in (self.corners.X, self.corners.Z, self.corners.multipliers)
        )
        return x, np.append(z, lam)

    def place_of_return(self, value: float) -> float:
        """Where the expected return is `value`; the nearest end outside the frontier."""
        if len(self.returns) == 1:
            return 0.0
        k = int(np.clip(np.searchsorted(self.returns, value, side="right") - 1, 0, len(self.returns) - 2))
        rise = self.returns[k + 1] - self.returns[k]
        return k + float(np.clip((value - self.returns[k]) / rise, 0.0, 1.0)) if rise > 0 else float(k)

    def return_at_risk(self, risk: float) -> float | None:
        """The expected return where the risk is `risk`: the highest within it; None below the least risk."""
        value = self.problem.measure.penalty(risk)
        if value < self.values[0]:
            return None
        if value >= self.values[-1]:
            return float(self.returns[-1])
        k = int(np.searchsorted(self.values, value, side="right") - 1)
        # The root of bend t^2/2 + slope t = missing in [0, 1], in the form without cancellation.
        missing = value - self.values[k]
        root = np.sqrt(max(self.slopes[k] ** 2 + 2.0 * self.bends[k] * missing, 0.0))
        t = 2.0 * missing / (self.slopes[k] + root) if missing > 0 else 0.0
        return float((1 - t) * self.returns[k] + t * self.returns[k + 1])

    def place_of_highest_ratio(self, risk_free: float) -> float | None:
        """Where (return - risk_free)/risk is highest; None when no return, or a riskless one, exceeds `risk_free`."""
        risks, excess = self.risks, self.returns - risk_free
        risky = risks > self.riskless
        if excess[-1] <= 0.0 or not risky.any() or (~risky & (excess > _NO_EXCESS)).any():
            return None
        best = int(np.argmax(excess / np.where(risky, risks, np.inf)))
        places = [float(best)]
        places += [k + self._best_on_segment(k, risk_free) for k in (best - 1, best) if 0 <= k < len(excess) - 1]
        return max(places, key=lambda place: self._ratio(place, risk_free))

    @property
    def riskless(self) -> float:
        """A risk up to here is rounding."""
        measure = self.problem.measure
        size = self.problem.moments.typical_volatility
        return _RISKLESS * measure.from_program(0.5 * size**2)

    def _best_on_segment(self, k: int, risk_free: float) -> float:
        """The t at which ``excess / value^power`` has no slope: ``rise value = power excess value'``."""
        power, rise, excess = self._power, self.returns[k + 1] - self.returns[k], self.returns[k] - risk_free
        slope, bend = self.slopes[k], self.bends[k]
        constant = rise * self.values[k] - power * excess * slope
        linear = (1.0 - power) * rise * slope - power * excess * bend
        square = (0.5 - power) * rise * bend
        below = np.sqrt(max(linear**2 - 4.0 * square * constant, 0.0)) - linear
        return float(np.clip(2.0 * constant / below, 0.0, 1.0)) if below > 0.0 else 1.0

    def _ratio(self, place: float, risk_free: float) -> float:
        w = self.at(place)[0][: self.problem.moments.n]
        risk = self.problem.measure.of(w)
        return (self.problem.net_return(w) - risk_free) / risk if risk > self.riskless else -np.inf

    @property
    def _power(self) -> float:
        return PATH_MEASURES[self.problem.measure.name]

    def _split(self, place: float) -> tuple[int, float]:
        k = min(int(place), len(self.returns) - 1)
        return k, (place - k if k < len(self.returns) - 1 else 0.0)


def least_risk_program(problem: Problem) -> Program:
    """Least risk at a net return of at least zero, which is the program's last row."""
    floor = NetReturnFloor(TARGET_RETURN, problem.moments.mu, 0.0, problem.cost)
    return canonicalize(
        replace(problem, objective=MinimizeRisk(), cost=None, constraints=(*problem.constraints, floor))
    )


def _is_path(problem: Problem, program: Program) -> bool:
    """Whether the frontier is the path of a quadratic program."""
    alone = program.blocks[-1].names == (TARGET_RETURN,)
    return problem.measure.name in PATH_MEASURES and program.is_convex and program.has_linear_rows and alone


def _measured(problem: Problem, program: Program, corners: Corners) -> FrontierPath:
    X, c, leading = corners.X, -program.A[[-1]].toarray()[0], program.P.size
    gradients = np.tile(program.q, (len(X), 1))
    bent = products(program.P, X[:, :leading])
    gradients[:, :leading] += bent
    steps = np.diff(X, axis=0)
    values = 0.5 * np.einsum("kn,kn->k", bent, X[:, :leading]) + X @ program.q + program.offset
    return FrontierPath(
        problem,
        program,
        corners,
        np.maximum.accumulate(X @ c - (0.0 if problem.cost is None else problem.cost.offset)),
        np.maximum.accumulate(np.maximum(values, 0.0)),
        np.einsum("kn,kn->k", gradients[:-1], steps),
        np.einsum("kn,kn->k", np.diff(bent, axis=0), steps[:, :leading]),
    )
