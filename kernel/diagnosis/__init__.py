"""Why a problem has no answer: limits that cannot hold together and how to change them, or a direction without end."""

from __future__ import annotations

from dataclasses import replace

from kernel.canonical import Program, Vector
from kernel.diagnosis.conflict import Oracle, smallest_conflict
from kernel.diagnosis.limits import make_elastic, measured_anywhere
from kernel.diagnosis.relaxations import find_alternatives
from kernel.diagnosis.sentences import explain_conflict, explain_direction
from kernel.diagnosis.unbounded import find_direction, find_ratio_direction
from kernel.problem import Problem, Settings
from kernel.solution import Explanation, Solution
from kernel.status import Status

__all__ = ["explain", "explain_unbounded", "explain_unbounded_ratio"]

# Of each of the many integer searches behind an explanation.
_MOST_NODES = 2_000


def explain(problem: Problem, settings: Settings, *, proven: bool = False) -> Explanation | None:
    """A smallest conflict and different ways to resolve it.

    Args:
        problem: That was found to be infeasible; its objective plays no part.
        settings: How far to go.
        proven: Whether a search over all positions has ended without one that fits.

    Returns:
        None when the limits hold together, or could not be shown to conflict.
    """
    settings = replace(settings, node_limit=min(settings.node_limit, _MOST_NODES))
    oracle = Oracle(make_elastic(problem), settings)
    everything = frozenset(oracle.elastic.names)
    conflict = oracle.convex_conflict(everything)
    if conflict is None and not oracle.elastic.is_convex:
        conflict = everything if proven else oracle.conflict(everything)
    if conflict is None:
        return None
    stages = settings.shares(2)
    oracle.settings = next(stages)
    smallest, minimality = smallest_conflict(oracle, conflict)
    conflicting = tuple(sorted(smallest))
    oracle.settings = next(stages)
    alternatives = find_alternatives(problem, oracle, smallest)
    limits = measured_anywhere(problem)
    return Explanation(
        conflicting, alternatives, explain_conflict(limits, conflicting, alternatives, minimality), minimality
    )


def explain_unbounded(problem: Problem, program: Program, settings: Settings) -> Solution:
    """The answer to a problem whose objective improves for ever, with the direction where it could be certified."""
    known = program.kappa is None
    direction = find_direction(program, problem.moments.n, settings) if known else None
    return _unbounded(problem, direction, "the objective improves for ever")


def explain_unbounded_ratio(problem: Problem, program: Program, x: Vector) -> Solution:
    """The answer to a ratio problem whose best ratio, at the program's solution x, only endless weights reach."""
    direction = find_ratio_direction(program, problem.moments.n, x)
    return _unbounded(problem, direction, "the ratio only rises with ever larger weights")


def _unbounded(problem: Problem, direction: Vector | None, what: str) -> Solution:
    names = problem.moments.names
    changes = {} if direction is None else dict(zip(names, direction.tolist(), strict=True))
    moving = {name: change for name, change in changes.items() if change != 0.0}
    return Solution(Status.UNBOUNDED, explain_direction(names, direction, what), direction=moving)
