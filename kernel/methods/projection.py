"""Weights by a rule, brought within limits: the nearest portfolio that meets them all.

    min ||w - t||  subject to every limit            with costs: min A/2 ||w - t||^2 + cost(w)

The distance is Euclidean over all weights, cash included. A target that meets every limit is its own projection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.hierarchy.clustering import Dendrogram
from kernel.measures.volatility import TrackingError
from kernel.methods.mean_risk import measurements, optimize, relative_gap
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.quadratic import Indices
from kernel.solution import Certificate, ConstraintReport, Solution
from kernel.status import Status

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far weights lie from those that a rule gave.

    Attributes:
        target: (n,) weights of the rule, adding up to 1.
        distance: ||w - target||.
        moved: Half the sum of absolute differences: the part of the portfolio that lies elsewhere.
    """

    target: Vector
    distance: float
    moved: float

    @classmethod
    def between(cls, target: Vector, w: Vector) -> Displacement:
        """Of the weights w from `target`."""
        change = w - target
        return cls(target, float(np.linalg.norm(change)), 0.5 * float(np.abs(change).sum()))


@dataclass(frozen=True, slots=True)
class ReferenceEvidence:
    """What is said beside weights by a rule.

    Attributes:
        displacement: From the rule's weights to those that meet every limit.
        dendrogram: The tree behind the rule's weights; None for a rule without one.
        clusters: (n,) of the tree's assets, numbers from 0; None where the rule has none.
    """

    displacement: Displacement
    dendrogram: Dendrogram | None = None
    clusters: Indices | None = None


def project(problem: Problem, target: Vector, settings: Settings, *, risk_aversion: float = 1.0) -> Solution:
    """The portfolio nearest to `target` among those that meet every limit of `problem`.

    Args:
        problem: Whose limits and cost count; its objective and measure play no part.
        target: (n,) weights that add up to 1.
        settings: How far to go.
        risk_aversion: A, by which squared distance and costs compare; without costs it plays no part.

    Returns:
        A solution whose objective is the distance (with costs: the sum above).

    Raises:
        ProblemError: The limits cannot be posed.
    """
    if problem.cost is None:
        kept = _where_it_is(problem, target)
        if kept is not None:
            return kept
    distance = TrackingError(np.eye(problem.moments.n), target, name="distance", unit="weight")
    return _bounded(optimize(replace(problem, objective=MinimizeRisk(risk_aversion), measure=distance), settings))


def _bounded(solution: Solution) -> Solution:
    """The solution, with the bound that holds of itself where a search was stopped before it proved a better one."""
    certificate = solution.certificate
    if certificate is None or certificate.bound >= 0.0 or solution.status is not Status.LIMIT_REACHED:
        return solution
    gap = relative_gap(certificate.objective, 0.0)
    message = f"a limit was reached: best found {certificate.objective:.6g}, and no distance is below 0"
    return replace(solution, message=message, certificate=replace(certificate, bound=0.0, gap=gap))


def _where_it_is(problem: Problem, target: Vector) -> Solution | None:
    """The target itself where it meets every limit: no distance is less than none."""
    measured = measurements(problem, target)
    violation = max([0.0, *(m.shortfall for m in measured)])
    if violation > _ROUNDING:
        return None
    reports = tuple(ConstraintReport.of(m, 0.0) for m in measured)
    certificate = Certificate(0.0, 0.0, 0.0, violation, 0, "closed form")
    return Solution(
        Status.OPTIMAL, "optimal: the weights of the rule meet every limit", target.copy(), certificate, reports
    )
