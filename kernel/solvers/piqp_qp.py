"""Convex quadratic programs with linear rows: PIQP, a proximal interior-point method (Schwan et al. 2023)."""

from __future__ import annotations

import numpy as np
import piqp
import scipy.sparse as sp

from kernel.canonical import Cone, Matrix, Program, Quadratic
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    piqp.PIQP_SOLVED: RawStatus.SOLVED,
    piqp.PIQP_PRIMAL_INFEASIBLE: RawStatus.INFEASIBLE,
    piqp.PIQP_DUAL_INFEASIBLE: RawStatus.UNBOUNDED,
    piqp.PIQP_MAX_ITER_REACHED: RawStatus.FAILED,
}
_FEWEST_SPARSE = 400
_DENSEST_SPARSE = 0.2
# Programs that it solves take it less than 40 steps; after more of them the next solver is asked.
_MOST_STEPS = 60


class PiqpSolver:
    """Interior point: dense, the quickest for covariances of up to a few thousand assets, or sparse."""

    name = f"PIQP {piqp.__version__}"

    def accepts(self, program: Program) -> bool:
        """Linear rows only."""
        return program.has_linear_rows and program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve to far below `settings.tolerance`, so that the certificate has room."""
        sparse = _is_sparse(program)
        solver = piqp.SparseSolver() if sparse else piqp.DenseSolver()
        solver.settings.max_iter = _MOST_STEPS
        accuracy = settings.tolerance * 1e-2
        solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = accuracy
        solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = accuracy
        equal, unequal = program.mask(Cone.ZERO), program.mask(Cone.NONNEGATIVE)
        A = sp.csc_matrix(program.A) if sparse else program.A.toarray(order="F")
        solver.setup(
            _hessian(program, sparse=sparse),
            program.q,
            A[equal],
            program.b[equal],
            A[unequal],
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


def _is_sparse(program: Program) -> bool:
    """Whether most of a large program is zeros."""
    if program.size < _FEWEST_SPARSE:
        return False
    return program.A.nnz + _entries(program.P) < _DENSEST_SPARSE * program.size * (program.size + len(program.b))


def _entries(P: Quadratic) -> int:
    """How many of P may differ from zero."""
    if P.parts:
        return sum(_entries(part) for part in P.parts)
    return P.size if _is_diagonal(P) else P.size**2


def _is_diagonal(P: Quadratic) -> bool:
    return P.matrix is None and not P.parts and (P.factor is None or len(P.factor) == 0)


def _hessian(program: Program, *, sparse: bool) -> sp.csc_matrix | Matrix:
    leading = program.P.size
    if sparse:
        diagonal = _is_diagonal(program.P)
        entries = sp.coo_array(sp.diags_array(program.P.diagonal_entries) if diagonal else program.P.sparse)
        shape = (program.size, program.size)
        return sp.csc_matrix((entries.data, (entries.row, entries.col)), shape=shape)
    P = np.zeros((program.size, program.size), order="F")
    P[:leading, :leading] = program.P.dense
    return P
