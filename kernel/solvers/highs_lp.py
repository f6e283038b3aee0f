"""Linear programs: HiGHS through SciPy (Huangfu & Hall 2018). Its vertices are exact and come with multipliers."""

from __future__ import annotations

import numpy as np
import scipy
from scipy.optimize import linprog

from kernel.canonical import Cone, Program
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    0: RawStatus.SOLVED,
    1: RawStatus.FAILED,
    2: RawStatus.INFEASIBLE,
    3: RawStatus.UNBOUNDED,
    4: RawStatus.FAILED,
}


class HighsSolver:
    """Simplex for programs without a quadratic part."""

    name = f"HiGHS (SciPy {scipy.__version__})"

    def accepts(self, program: Program) -> bool:
        """Linear objective, linear rows."""
        return program.is_linear and program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve with primal and dual tolerances at HiGHS' finest."""
        equal, unequal = program.mask(Cone.ZERO), program.mask(Cone.NONNEGATIVE)
        finest = max(1e-10, settings.tolerance * 1e-2)
        answer = linprog(  # type: ignore[call-overload]  # the stubs know neither sparse rows nor array bounds
            program.q,
            A_ub=program.A[unequal] if unequal.any() else None,
            b_ub=program.b[unequal] if unequal.any() else None,
            A_eq=program.A[equal] if equal.any() else None,
            b_eq=program.b[equal] if equal.any() else None,
            bounds=np.column_stack([program.lower, program.upper]),
            method="highs",
            options={"primal_feasibility_tolerance": finest, "dual_feasibility_tolerance": finest},
        )
        status = _STATUS[answer.status]
        z = np.zeros(len(program.b))
        if status is not RawStatus.SOLVED:
            return RawSolution(status, np.zeros(program.size), z, int(answer.nit), self.name)
        z[equal] = -answer.eqlin.marginals if equal.any() else 0.0
        z[unequal] = -answer.ineqlin.marginals if unequal.any() else 0.0
        return RawSolution(status, np.asarray(answer.x), z, int(answer.nit), self.name)
