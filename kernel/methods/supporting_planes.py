"""Measures that would need too many rows, through the planes that support them, generated where they are needed.

A measure of degree one lies above each of its planes ``g'w``, so that a program with some of them is a relaxation and
its multipliers prove a bound. Kelley's method adds the planes at its solutions. Those jump about; where the measure is
the whole of the objective's curvature, planes are added as well at the projection of the last point onto a level
between bound and best value, which needs far fewer of them.

References: Kelley (1960); Lemarechal, Nemirovskii & Nesterov (1995) for the level method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import scipy.sparse as sp

from kernel.canonical import DEFINITION, Cone, Matrix, Program, Quadratic, RowBlock, Vector
from kernel.certificate import lower_bound, violation
from kernel.measures.base import PlanarMeasure, RiskMeasure
from kernel.methods.custom import MaximizeTerms
from kernel.methods.swapping import limited_measure, measures_in, with_measures
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solvers import RawSolution, RawStatus, solve

Canonicalize = Callable[[Problem], Program]

# Of more scenarios than this, measures with a row for every pair or an exponential cone for each are not written out.
_MOST_SCENARIOS = {"gini": 40, "evar": 40}
_ROUNDS = 500
# Where between the bound and the best value the level lies.
_LEVEL = 0.7
_MOST_PLANES, _KEPT_PLANES = 300, 200
# What is left of the tolerance when the planes are said to be enough.
_SHARE_OF_TOLERANCE = 0.1
_SMALLEST = 1e-12
# Projections only say where to look next.
_ROUGH = 1e-5


def needs_planes(problem: Problem) -> bool:
    """Whether the problem holds a measure of too many rows."""
    return bool(_large_in(problem))


def solve_with_planes(
    problem: Problem, canonicalize: Canonicalize, settings: Settings
) -> tuple[Problem, Program, RawSolution]:
    """Solve a problem that holds measures of too many rows.

    Args:
        problem: What is asked.
        canonicalize: Writes a problem's program.
        settings: How far to go.

    Returns:
        The problem with the planes of those measures, its program, and that program's solution: the best point that
        was found, beside the multipliers of the best bound.
    """
    search = _Search(problem, canonicalize, settings, _first_planes(problem))
    for _ in range(_ROUNDS):
        if search.relax():
            return search.conclude()
        if search.interrupted or settings.clock() > settings.deadline:
            break
        search.step_to_level()
    posed, program, raw = search.conclude()
    return posed, program, replace(raw, status=RawStatus.LIMIT)


@dataclass
class _Search:
    """The planes so far, the best bound with the program that gave it, and the best point.

    Attributes:
        planes: For each measure, by its identity.
        value: Of the best point, in the program's terms.
        center: (N,) from where the next level is approached.
        knows_least: Whether the planes include those at the least value of a ratio's measure.
        interrupted: Whether a relaxation ended without an answer after others had one.
        relaxed: The program of the last relaxation, and its solution.
        tightest: The problem with the planes that gave the best bound, its program and solution.
    """

    problem: Problem
    canonicalize: Canonicalize
    settings: Settings
    planes: dict[int, Matrix]
    bound: float = -np.inf
    value: float = np.inf
    best: Vector | None = None
    center: Vector | None = None
    iterations: int = 0
    knows_least: bool = False
    interrupted: bool = False
    relaxed: tuple[Program, Vector] | None = None
    tightest: tuple[Problem, Program, RawSolution] | None = None

    def relax(self) -> bool:
        """Solve with the planes there are; whether that settles the problem."""
        posed, program = self._pose()
        raw = solve(program, self.settings)
        self.relaxed, self.iterations = (program, raw.x), self.iterations + raw.iterations
        self.interrupted = raw.status in (RawStatus.LIMIT, RawStatus.FAILED) and self.tightest is not None
        if self.interrupted:
            return False
        if raw.status is not RawStatus.SOLVED:
            return self._conclude_without(raw, program)
        bound = lower_bound(program, raw.x, raw.z) if raw.bound is None else raw.bound
        if bound > self.bound or self.tightest is None:
            self.bound, self.tightest = bound, (posed, program, raw)
        if self._add_planes(raw.x):
            self.tightest, self.best = (posed, program, raw), None
            return True
        if self._has_levels(program):
            self._offer(program, raw.x)
            return self.value - self.bound <= self._tolerance * max(abs(self.value), _SMALLEST)
        return False

    def step_to_level(self) -> None:
        """Project the center onto the points whose value is at most the level, by the planes of the relaxation.

        With planes added since then there may be no such points.
        """
        if self.best is None or self.relaxed is None:
            return
        program, within = self.relaxed  # the relaxation's own solution is below the level
        center = self.best if self.center is None else self.center
        level = self.bound + _LEVEL * (self.value - self.bound)
        rough = replace(self.settings, tolerance=_ROUGH)
        raw = solve(_projection(program, center, level, self.problem.moments.n), rough, within)
        self.iterations += raw.iterations
        if raw.status is RawStatus.SOLVED:
            self.center = raw.x
            self._offer(program, raw.x)
            self._add_planes(raw.x)
        self._prune()

    def conclude(self) -> tuple[Problem, Program, RawSolution]:
        """The tightest relaxation, with the best point in place of its own."""
        assert self.tightest is not None
        posed, program, raw = self.tightest
        x = raw.x if self.best is None else self.best
        return posed, program, replace(raw, x=x, iterations=self.iterations)

    @property
    def _tolerance(self) -> float:
        return _SHARE_OF_TOLERANCE * self.settings.tolerance

    def _pose(self) -> tuple[Problem, Program]:
        planes = self.planes

        def with_planes(measure: RiskMeasure) -> RiskMeasure:
            known = planes.get(id(measure))
            return measure if known is None else cast("PlanarMeasure", measure).with_planes(known)

        posed = with_measures(self.problem, with_planes)
        return posed, self.canonicalize(posed)

    def _conclude_without(self, raw: RawSolution, program: Program) -> bool:
        """What a relaxation without a solution says of the problem, once the planes are good enough to tell.

        How far limits are missed is told by planes where each limited measure is least; that a ratio is unbounded by
        planes at the least of its own.
        """
        objective, limits = measures_in(self.problem)
        if raw.status is RawStatus.INFEASIBLE:
            for measure in limits:
                self._add_least(measure)
        elif self.problem.objective.homogeneous and not self.knows_least:
            self.knows_least = True
            self._add_least(objective[0])
            return False
        self.tightest, self.best = (self._pose()[0], program, raw), None
        return True

    def _add_least(self, measure: RiskMeasure) -> None:
        """Add the planes with which the least value of the measure is found, without its own limits."""
        if id(measure) not in self.planes:
            return
        known = cast("PlanarMeasure", measure).with_planes(self.planes[id(measure)])
        others = tuple(c for c in self.problem.constraints if limited_measure(c) is not measure)
        easier = replace(self.problem, objective=MinimizeRisk(), measure=known, constraints=others, cost=None)
        posed, _, _ = solve_with_planes(easier, self.canonicalize, self.settings)
        planes = cast("PlanarMeasure", posed.measure).planes
        assert planes is not None
        self.planes[id(measure)] = planes

    def _add_planes(self, x: Vector) -> bool:
        """Add the plane of each measure that is above its others at x; whether none is, but for rounding."""
        w, settled = x[: self.problem.moments.n], True
        for measure in _large_in(self.problem):
            planes, plane = self.planes[id(measure)], measure.support(w)
            risk = float(plane @ w)
            smallest = _SMALLEST * float(np.abs(plane) @ np.abs(w))
            if risk - float((planes @ w).max()) > max(self._tolerance * abs(risk), smallest):
                self.planes[id(measure)] = np.vstack([planes, plane])
                settled = False
        return settled

    def _has_levels(self, program: Program) -> bool:
        """Whether all that bends is the measure of a linear program's objective."""
        _, limits = measures_in(self.problem)
        limited = any(id(measure) in self.planes for measure in limits)
        known = not isinstance(self.problem.objective, MaximizeTerms)
        return known and not limited and program.P.is_zero and program.is_convex

    def _offer(self, program: Program, x: Vector) -> None:
        """Keep x if it is the best point. `from_program` of such objectives is its own inverse."""
        scale = 1.0 if program.kappa is None else float(x[program.kappa])
        if scale <= _SMALLEST or violation(program, x) > self._tolerance:
            return
        objective = self.problem.objective
        w = x[: self.problem.moments.n] / scale
        value = objective.from_program(self.problem, objective.value(self.problem, w))
        if value < self.value:
            self.value, self.best = value, x

    def _prune(self) -> None:
        """Forget the planes that are lowest where the search is."""
        if self.center is None:
            return
        w = self.center[: self.problem.moments.n]
        for key, planes in self.planes.items():
            if len(planes) > _MOST_PLANES:
                self.planes[key] = planes[np.sort(np.argsort(-(planes @ w), kind="stable")[:_KEPT_PLANES])]


def _projection(program: Program, center: Vector, level: float, n: int) -> Program:
    """The point nearest to the center's weights at which the objective is at most the level."""
    size = float(np.abs(program.q).max())
    q = np.zeros(program.size)
    q[:n] = -center[:n]
    start = len(program.b)
    return replace(
        program,
        P=Quadratic(np.eye(n)),
        q=q,
        A=sp.csr_array(sp.vstack([program.A, sp.csr_array(program.q[None, :] / size)], format="csr")),
        b=np.append(program.b, (level - program.offset) / size),
        blocks=(*program.blocks, RowBlock((DEFINITION,), Cone.NONNEGATIVE, start, start + 1)),
        hinges=(),
        offset=0.0,
    )


def _first_planes(problem: Problem) -> dict[int, Matrix]:
    """Of each measure the planes it came with, or else the one at equal weights."""
    equal = np.full(problem.moments.n, 1.0 / problem.moments.n)
    return {
        id(measure): measure.support(equal)[None, :] if measure.planes is None else measure.planes
        for measure in _large_in(problem)
    }


def _large_in(problem: Problem) -> list[PlanarMeasure]:
    objective, limits = measures_in(problem)
    planar = [measure for measure in (*objective, *limits) if isinstance(measure, PlanarMeasure)]
    return [measure for measure in planar if _MOST_SCENARIOS[measure.name] < measure.scenarios.T]
