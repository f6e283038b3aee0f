"""Measures of many rows under a curved objective, held by planes that are added where the objective leads.

Between two rounds the objective itself moves little, as its own curvature keeps the next solution near, so that
Kelley's method needs no levels here. The entropic measure has one cone a scenario and is written out.

References: Kelley (1960).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import Matrix, Vector
from kernel.measures.base import EpigraphMeasure, PlanarMeasure
from kernel.measures.tails import EntropicValueAtRisk
from kernel.methods.mean_risk import optimize
from kernel.problem import Problem, Settings
from kernel.solution import Solution
from kernel.status import Status

_ROUNDS = 500
# How far a measure may lie above its planes, relative to it: shares are told apart to the root of that.
_SETTLED = 1e-14
# Of the tolerance, what is asked of the solver where it fell short of it.
_SHARPER = 1e-3


@dataclass(frozen=True, slots=True)
class _Held(EpigraphMeasure):
    """A measure in the form that a program holds; measured as itself."""

    measure: PlanarMeasure
    name: str
    unit: str

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """That of the planes, or the measure's own."""
        return self.measure.epigraph(builder)

    def of(self, w: Vector) -> float:
        """The measure itself."""
        return self.measure.of(w)

    def contributions(self, w: Vector) -> Vector | None:
        """Those of the measure itself."""
        return self.measure.contributions(w)


def optimize_held(problem: Problem, settings: Settings) -> Solution:
    """`optimize`, for any objective that bends, with measures of many rows held as suits them."""
    measure = problem.measure
    if isinstance(measure, EntropicValueAtRisk):
        return _sharp(replace(problem, measure=_Held(measure, measure.name, measure.unit)), settings)
    if isinstance(measure, PlanarMeasure):
        return _by_planes(problem, measure, settings)
    return _sharp(problem, settings)


def _sharp(problem: Problem, settings: Settings) -> Solution:
    """The answer, asked for once more where its proof falls short of the tolerance.

    Variables without bounds are charged with the solver's own inaccuracy, and there are many of them here.
    """
    found = optimize(problem, settings)
    if found.status is not Status.OPTIMAL_TO_TOLERANCE:
        return found
    again = optimize(problem, replace(settings, tolerance=_SHARPER * settings.tolerance))
    best = min((found, again), key=_inaccuracy)
    if best.status is Status.OPTIMAL_TO_TOLERANCE and _inaccuracy(best) <= settings.tolerance:
        return replace(best, status=Status.OPTIMAL, message=best.message.replace(" to a tolerance of", ", within", 1))
    return best


def _inaccuracy(solution: Solution) -> float:
    certificate = solution.certificate
    return np.inf if certificate is None else max(certificate.gap, certificate.violation)


def _by_planes(problem: Problem, measure: PlanarMeasure, settings: Settings) -> Solution:
    # Rounds before the last have weights too, however far they are from the bound.
    rough = replace(settings, loose_tolerance=np.inf)
    planes: Matrix = np.array([measure.support(unit) for unit in np.eye(problem.moments.n)])
    best: Solution | None = None
    iterations = 0
    for _ in range(_ROUNDS):
        held = _Held(measure.with_planes(planes), measure.name, measure.unit)
        found = optimize(replace(problem, measure=held), rough)
        if found.weights is None or found.certificate is None:
            return found
        iterations += found.certificate.iterations
        best = replace(found, certificate=replace(found.certificate, iterations=iterations))
        w = found.weights
        plane = measure.support(w)
        settled = plane @ w - (planes @ w).max() <= _SETTLED * abs(float(plane @ w))
        if settled or settings.clock() > settings.deadline:
            break
        planes = np.vstack([planes, plane])
    assert best is not None
    if best.status is Status.OPTIMAL_TO_TOLERANCE and _inaccuracy(best) > settings.loose_tolerance:
        certificate = best.certificate
        assert certificate is not None
        numbers = f"best found {certificate.objective:.6g}, none is better than {certificate.bound:.6g}"
        return replace(best, status=Status.LIMIT_REACHED, message=f"a limit was reached: {numbers}")
    return best
