"""Linear mixed-integer programs: HiGHS (Huangfu & Hall 2018), which brings cuts, presolve and a proven dual bound."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

import highspy
import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Program, Vector
from kernel.problem import Settings
from kernel.solvers.base import RawStatus

NAME = f"HiGHS {version('highspy')} branch and cut"

_STATUS = {
    highspy.HighsModelStatus.kOptimal: RawStatus.SOLVED,
    highspy.HighsModelStatus.kInfeasible: RawStatus.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: RawStatus.UNBOUNDED,
    highspy.HighsModelStatus.kTimeLimit: RawStatus.LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: RawStatus.LIMIT,
    highspy.HighsModelStatus.kIterationLimit: RawStatus.LIMIT,
}
_FINEST = 1e-9


@dataclass(frozen=True, slots=True)
class MixedAnswer:
    """What HiGHS answered.

    Attributes:
        x: (N,) integral within tolerances; None without an incumbent.
        bound: No solution has a smaller objective.
    """

    status: RawStatus
    x: Vector | None
    bound: float
    nodes: int


def accepts(program: Program) -> bool:
    """Linear, without kappa, and every semicontinuous variable in a finite interval above zero."""
    return (
        program.is_linear
        and program.kappa is None
        and all(program.lower[v.index] >= 0.0 and np.isfinite(program.upper[v.index]) for v in program.semicontinuous)
    )


def solve_mixed(program: Program, settings: Settings, start: Vector | None) -> MixedAnswer:
    """Solve a program that `accepts` takes.

    Args:
        program: Its discrete rules count.
        settings: The deadline and the node limit end the search.
        start: (N,) a feasible point to improve on.
    """
    steps = np.ones(program.size)
    for v in program.integral:
        steps[v.index] = v.step
    size = float(np.abs(program.q * steps).max(initial=0.0)) or 1.0
    highs = _configured(settings)
    highs.passModel(_model(program, steps, size))
    if start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = (start / steps).tolist()
        highs.setSolution(solution)
    highs.run()
    info = highs.getInfo()
    status = _STATUS.get(highs.getModelStatus(), RawStatus.FAILED)
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    x = steps * np.array(highs.getSolution().col_value) if found else None
    bound = size * float(info.mip_dual_bound) + program.offset
    return MixedAnswer(status, x, bound, int(info.mip_node_count))


def _configured(settings: Settings) -> highspy.Highs:
    highs = highspy.Highs()  # type: ignore[no-untyped-call]  # its stubs leave it out
    options: dict[str, bool | int | float | str] = {
        "output_flag": False,
        "threads": 1,
        "random_seed": 0,
        "mip_rel_gap": 0.05 * settings.tolerance,
        "mip_abs_gap": 1e-2 * _FINEST,
        "mip_feasibility_tolerance": _FINEST,
        "primal_feasibility_tolerance": _FINEST,
        "dual_feasibility_tolerance": _FINEST,
        "mip_max_nodes": settings.node_limit,
    }
    left = settings.deadline - settings.clock()
    if np.isfinite(left):
        options["time_limit"] = max(left, 0.0)
    for name, value in options.items():
        highs.setOptionValue(name, value)
    return highs


def _model(program: Program, steps: Vector, size: float) -> highspy.HighsLp:
    """The program in multiples of each variable's step, its objective divided by `size`."""
    A = sp.csr_array(program.A @ sp.diags_array(steps, format="csr"))
    # HiGHS drops coefficients that are small beside 1, so that no row may be small as a whole.
    largest = abs(A).max(axis=1).toarray().ravel()
    rows = np.where(largest > 0.0, largest, 1.0)
    A = sp.csr_array(sp.diags_array(1.0 / rows, format="csr") @ A)
    kinds = [highspy.HighsVarType.kContinuous] * program.size
    lower, upper = program.lower / steps, program.upper / steps
    kind = highspy.HighsVarType
    for v in program.integral:
        kinds[v.index] = kind.kInteger
    for p in program.semicontinuous:
        least = p.threshold / steps[p.index]
        if lower[p.index] > 0.0:
            lower[p.index] = max(lower[p.index], least)
        elif upper[p.index] < least:
            upper[p.index] = 0.0
        else:
            lower[p.index] = least
            kinds[p.index] = kind.kSemiContinuous if kinds[p.index] == kind.kContinuous else kind.kSemiInteger
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = program.size, len(program.b)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.q * steps / size, lower, upper
    lp.integrality_ = kinds
    lp.row_lower_ = np.where(program.mask(Cone.ZERO), program.b / rows, -np.inf)
    lp.row_upper_ = program.b / rows
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = A.indptr, A.indices, A.data
    return lp
