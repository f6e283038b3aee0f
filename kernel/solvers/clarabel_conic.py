"""Everything conic: Clarabel, a homogeneous-embedding interior-point method (Goulart & Chen 2024)."""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Program
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    "Solved": RawStatus.SOLVED,
    "AlmostSolved": RawStatus.SOLVED,
    "PrimalInfeasible": RawStatus.INFEASIBLE,
    "AlmostPrimalInfeasible": RawStatus.INFEASIBLE,
    "DualInfeasible": RawStatus.UNBOUNDED,
    "AlmostDualInfeasible": RawStatus.UNBOUNDED,
}
_CONES = {
    Cone.ZERO: clarabel.ZeroConeT,
    Cone.NONNEGATIVE: clarabel.NonnegativeConeT,
    Cone.SECOND_ORDER: clarabel.SecondOrderConeT,
    Cone.EXPONENTIAL: lambda _: clarabel.ExponentialConeT(),
}


class ClarabelSolver:
    """Sparse interior point over products of cones, quadratic objectives included."""

    name = f"Clarabel {clarabel.__version__}"

    def accepts(self, program: Program) -> bool:
        """Any convex program."""
        return program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve with bounds written as rows below the program's own."""
        options = clarabel.DefaultSettings()
        options.verbose = False
        accuracy = settings.tolerance * 1e-2
        options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = accuracy
        options.max_threads = 1
        A, b, cones = _with_bound_rows(program)
        upper = sp.coo_array(np.triu(program.P.dense))
        P = sp.csc_array((upper.data, (upper.row, upper.col)), shape=(program.size, program.size))
        solution = clarabel.DefaultSolver(P, program.q, A, b, cones, options).solve()
        status = _STATUS.get(str(solution.status), RawStatus.FAILED)
        x, z = np.array(solution.x), np.array(solution.z)[: len(program.b)]
        return RawSolution(status, x, z, int(solution.iterations), self.name)


def _with_bound_rows(program: Program) -> tuple[sp.csc_array, np.ndarray, list[object]]:
    eye = sp.eye_array(program.size, format="csr")
    upper, lower = np.isfinite(program.upper), np.isfinite(program.lower)
    A = sp.vstack([program.A, eye[upper], -eye[lower]], format="csc")
    b = np.concatenate([program.b, program.upper[upper], -program.lower[lower]])
    cones: list[object] = [_CONES[block.cone](block.stop - block.start) for block in program.blocks]
    bounds = int(upper.sum() + lower.sum())
    return sp.csc_array(A), b, cones + ([clarabel.NonnegativeConeT(bounds)] if bounds else [])
