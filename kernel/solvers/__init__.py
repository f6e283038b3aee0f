"""Solvers: one file each behind one protocol; the cheapest right one is chosen by the program's class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel.canonical import Cone, Program, RowBlock, Vector
from kernel.certificate import assess, proves_infeasible, violation
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus, Solver
from kernel.solvers.branch_and_bound import BranchAndBound
from kernel.solvers.clarabel_conic import ClarabelSolver
from kernel.solvers.conic_polish import polish_conic
from kernel.solvers.highs_lp import HighsSolver
from kernel.solvers.least_norm import LeastNorm
from kernel.solvers.lifting import Lifted, is_lean
from kernel.solvers.piqp_qp import PiqpSolver
from kernel.solvers.polish import polish
from kernel.solvers.power_costs import PowerCosts, polish_power_costs
from kernel.solvers.scaling import Scaled
from kernel.solvers.working_set import solve_on_working_set

__all__ = ["CONVEX_SOLVERS", "RawSolution", "RawStatus", "Solver", "solve", "solve_convex"]

# In the order of preference: the first that accepts a program and solves it, does.
_LARGEST_DENSE = 1200
CONVEX_SOLVERS: tuple[Solver, ...] = (HighsSolver(), PiqpSolver(), ClarabelSolver())


def solve(program: Program, settings: Settings, start: Vector | None = None) -> RawSolution:
    """Solve any program with the cheapest right solver; `start` (N,) solves a similar program."""
    if not program.is_convex:
        return BranchAndBound(solve_convex).solve(program, settings)
    return solve_convex(program, settings, start)


def solve_convex(program: Program, settings: Settings, start: Vector | None = None) -> RawSolution:
    """Solve a convex program; the next solver is asked when one fails, and solutions are polished."""
    if (program.lower > program.upper).any():
        return RawSolution(RawStatus.INFEASIBLE, program.lower, np.zeros(len(program.b)), 0, "bounds")
    solution = None if program.P.parts else solve_on_working_set(program, settings, start, _solve_part)
    return _solve_whole(program, settings) if solution is None else solution


def _solve_part(program: Program, settings: Settings) -> RawSolution:
    """Solve a part of a program: that it has no answer, the first solver may say, as the whole will be asked then."""
    return _solve_whole(program, settings, final=False)


def _solve_whole(program: Program, settings: Settings, *, final: bool = True) -> RawSolution:
    if not program.has_linear_rows:
        easier = _solve_easier(program, settings, final=final)
        if easier is not None:
            return easier
    raw = _scaled_answer(program, settings, final=final)
    if raw.status is not RawStatus.SOLVED:
        return raw
    x, z = _polished(program, raw, settings)
    return replace(raw, x=x, z=z)


def _polished(program: Program, raw: RawSolution, settings: Settings) -> tuple[Vector, Vector]:
    small = program.has_linear_rows and program.size <= _LARGEST_DENSE
    # Limits that tie periods together often hold by more rows than one: only the conic polish takes that.
    if small and not (program.P.parts or is_lean(program.P)):
        return polish(program, raw.x, raw.z)
    x, z = polish_conic(program, *polish_power_costs(program, raw.x, raw.z))
    if not small or program.P.parts:
        return x, z
    found = assess(program, x, z)
    return (x, z) if max(found.gap, found.violation) <= settings.tolerance else polish(program, x, z)


def _solve_easier(program: Program, settings: Settings, *, final: bool) -> RawSolution | None:
    """The answer to a program with cones by way of one without; None where there is no such way."""
    norm = LeastNorm.of(program)
    if norm is None:
        return None if PowerCosts.of(program) else _solve_without_cones(program, settings)
    raw = _solve_whole(norm.program, settings, final=final)
    if raw.status is RawStatus.INFEASIBLE:
        return replace(raw, x=np.zeros(program.size), z=np.zeros(len(program.b)))
    if raw.status is not RawStatus.SOLVED:
        return None
    x, z = norm.expand(raw.x, raw.z)
    return replace(raw, x=x, z=z)


def _scaled_answer(program: Program, settings: Settings, *, final: bool) -> RawSolution:
    scaled = Scaled.of(program)
    raw = _first_answer(scaled.program, settings, final=final)
    if raw.status is RawStatus.SOLVED:
        return replace(raw, z=scaled.multipliers(raw.z))
    proven = raw.status is RawStatus.INFEASIBLE and proves_infeasible(scaled.program, raw.z)
    if not final or proven or raw.status is RawStatus.LIMIT:
        return raw
    # Scaling helps most programs and harms a few: that there is no answer must hold with and without it.
    return _first_answer(program, settings, final=True)


def _solve_without_cones(program: Program, settings: Settings) -> RawSolution | None:
    """The answer when no cone binds: exact, and at a fraction of the price; None when one does.

    Exponential cones always do: they hold variables that the objective drives against them.
    """
    if any(block.cone is Cone.EXPONENTIAL for block in program.blocks):
        return None
    linear = program.mask(Cone.ZERO, Cone.NONNEGATIVE)
    blocks: list[RowBlock] = []
    start = 0
    for block in program.blocks:
        if block.cone.is_linear:
            blocks.append(replace(block, start=start, stop=start + block.stop - block.start))
            start = blocks[-1].stop
    relaxed = replace(program, A=program.A[linear], b=program.b[linear], blocks=tuple(blocks), hinges=())
    raw = _solve_part(relaxed, settings)
    if raw.status is not RawStatus.SOLVED or violation(program, raw.x) > violation(relaxed, raw.x):
        return None
    z = np.zeros(len(program.b))
    z[linear] = raw.z
    return replace(raw, z=z)


def _first_answer(program: Program, settings: Settings, *, final: bool) -> RawSolution:
    """The answer of the first solver that has one.

    If it is to be `final`, only the last may say that there is none, or who proves it.
    """
    lifted = Lifted.of(program)
    if lifted is not None:
        return lifted.restored(_first_answer(lifted.program, settings, final=final))
    accepting = [solver for solver in CONVEX_SOLVERS if solver.accepts(program)]
    for solver in accepting[:-1]:
        raw = solver.solve(program, settings)
        settled = raw.status in (RawStatus.SOLVED, RawStatus.LIMIT)
        if settled or not (final or raw.status is RawStatus.FAILED):
            return raw
        if raw.status is RawStatus.INFEASIBLE and proves_infeasible(program, raw.z):
            return raw
    # The conic solver accepts every convex program and comes last.
    return accepting[-1].solve(program, settings)
