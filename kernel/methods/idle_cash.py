"""Ratios with an asset that is certain to earn the reference: how much of it is held changes nothing.

Along such an asset a ratio program has a ray of solutions, whose weights go from all of the rest to nothing of it. Of
portfolios of the same ratio the one that holds the least of that asset is returned.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.canonical import Cone, Mask, Program, Vector
from kernel.objectives import MaximizeRatio
from kernel.problem import Problem
from kernel.solvers import RawSolution

_SAME = 1e-12
# What is left of kappa at the least.
_LEFT = 1e-9


def without_idle_cash(problem: Problem, program: Program, raw: RawSolution) -> RawSolution:
    """The solution of a convex ratio program moved along its ray as far as the limits allow.

    The multipliers stay: neither objective nor gradient change along the ray.
    """
    objective = problem.objective
    if not isinstance(objective, MaximizeRatio) or program.kappa is None or not program.is_convex:
        return raw
    certain = np.abs(problem.moments.mu - objective.reference) <= _SAME * max(1.0, abs(objective.reference))
    certain &= problem.moments.quadratic.diagonal_entries == 0.0
    for c in np.flatnonzero(certain & (raw.x[: problem.moments.n] > 0.0)).tolist():
        # Beside more of it than the whole portfolio the rest is short on balance: less of the ray is more of it.
        if raw.x[c] >= raw.x[program.kappa]:
            continue
        direction = np.zeros(program.size)
        direction[[c, program.kappa]] = -1.0
        raw = replace(raw, x=raw.x + _reach(program, raw.x, direction) * direction)
    return raw


def _reach(program: Program, x: Vector, direction: Vector) -> float:
    """How far x may go before a limit stops it; not at all where the direction costs something."""
    change = program.A @ direction
    costs = abs(float(program.q @ direction)) > _SAME or np.abs(program.quadratic(direction)).max(initial=0.0) > _SAME
    if costs or np.abs(change[_fixed(program)]).max(initial=0.0) > _SAME:
        return 0.0
    assert program.kappa is not None
    falls = change > _SAME
    slack = np.maximum(_slack(program, x), 0.0)
    room: list[float] = [(1.0 - _LEFT) * float(x[program.kappa]), *(slack[falls] / change[falls]).tolist()]
    down = np.flatnonzero((direction < 0.0) & np.isfinite(program.lower))
    room += (x[down] - program.lower[down]).tolist()
    return max(min(room), 0.0)


def _fixed(program: Program) -> Mask:
    """(m,) the rows that must not change: all but inequalities and the heads of second-order cones."""
    fixed = ~program.mask(Cone.NONNEGATIVE)
    for block in program.blocks:
        if block.cone is Cone.SECOND_ORDER:
            fixed[block.start] = False
    return fixed


def _slack(program: Program, x: Vector) -> Vector:
    """(m,) by how much each row may fall: of a second-order cone its head down to the norm of its tail."""
    s = np.asarray(program.b - program.A @ x)
    for block in program.blocks:
        if block.cone is Cone.SECOND_ORDER:
            s[block.start] -= np.linalg.norm(s[block.start + 1 : block.stop])
    return s
