"""Convex quadratic programs with linear rows: PIQP, a proximal interior-point method (Schwan et al. 2023)."""

from __future__ import annotations

import numpy as np
import piqp

from kernel.canonical import Cone, Program
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    piqp.PIQP_SOLVED: RawStatus.SOLVED,
    piqp.PIQP_PRIMAL_INFEASIBLE: RawStatus.INFEASIBLE,
    piqp.PIQP_DUAL_INFEASIBLE: RawStatus.UNBOUNDED,
    piqp.PIQP_MAX_ITER_REACHED: RawStatus.FAILED,
}


class PiqpSolver:
    """Dense interior point: the quickest for covariances of up to a few thousand assets."""

    name = f"PIQP {piqp.__version__}"

    def accepts(self, program: Program) -> bool:
        """Linear rows only."""
        return program.has_linear_rows and program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve to far below `settings.tolerance`, so that the certificate has room."""
        solver = piqp.DenseSolver()
        accuracy = settings.tolerance * 1e-2
        solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = accuracy
        solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = accuracy
        equal, unequal = program.mask(Cone.ZERO), program.mask(Cone.NONNEGATIVE)
        P = np.zeros((program.size, program.size), order="F")
        leading = program.P.size
        P[:leading, :leading] = program.P.dense
        solver.setup(
            P,
            program.q,
            np.asfortranarray(program.A[equal].toarray()),
            program.b[equal],
            np.asfortranarray(program.A[unequal].toarray()),
            None,
            program.b[unequal],
            program.lower,
            program.upper,
        )
        status = _STATUS.get(solver.solve(), RawStatus.FAILED)
        result = solver.result
        z = np.zeros(len(program.b))
        z[equal], z[unequal] = result.y, result.z_u
        return RawSolution(status, np.array(result.x), z, int(result.info.iter), self.name)
