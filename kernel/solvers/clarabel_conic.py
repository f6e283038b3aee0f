"""Everything conic: Clarabel, a homogeneous-embedding interior-point method (Goulart & Chen 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import clarabel
import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Program, Vector
from kernel.problem import Settings
from kernel.quadratic import Indices
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    "Solved": RawStatus.SOLVED,
    "AlmostSolved": RawStatus.SOLVED,
    "PrimalInfeasible": RawStatus.INFEASIBLE,
    "AlmostPrimalInfeasible": RawStatus.INFEASIBLE,
    "DualInfeasible": RawStatus.UNBOUNDED,
    "AlmostDualInfeasible": RawStatus.UNBOUNDED,
    "MaxTime": RawStatus.LIMIT,
}
_CONES = {
    Cone.ZERO: clarabel.ZeroConeT,
    Cone.NONNEGATIVE: clarabel.NonnegativeConeT,
    Cone.SECOND_ORDER: clarabel.SecondOrderConeT,
    Cone.EXPONENTIAL: lambda _: clarabel.ExponentialConeT(),
}
# Rows with more entries than _LONG are lifted where there are _TALL times more of them than of their entries.
_LONG = 8
_TALL = 3.0
# Steps that end too soon at the boundary of exponential cones are what it fails on: then shorter ones are tried.
_CAUTIONS: tuple[Mapping[str, float], ...] = (
    {},
    {"min_terminate_step_length": 1e-8, "min_switch_step_length": 1e-3},
    {"max_step_fraction": 0.9},
)


class ClarabelSolver:
    """Sparse interior point over products of cones, quadratic objectives included."""

    name = f"Clarabel {clarabel.__version__}"

    def accepts(self, program: Program) -> bool:
        """Any convex program."""
        return program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve with bounds written as rows below the program's own."""
        A, b, cones = _with_bound_rows(program)
        long = _long_rows(A)
        if len(long):
            A, b, cones = _lift(A, b, cones, long)
        q = np.append(program.q, np.zeros(len(long)))
        upper = sp.coo_array(sp.triu(program.P.sparse))
        P = sp.csc_array((upper.data, (upper.row, upper.col)), shape=(len(q), len(q)))
        for caution in _CAUTIONS:
            options = _options(settings, caution)
            solution = clarabel.DefaultSolver(P, q, sp.csc_array(A), b, cones, options).solve()
            status = _STATUS.get(str(solution.status), RawStatus.FAILED)
            if status is not RawStatus.FAILED:
                break
        x = np.full(program.size, np.nan) if status is RawStatus.LIMIT else np.array(solution.x)[: program.size]
        z = np.array(solution.z)[len(long) : len(long) + len(program.b)]
        return RawSolution(status, x, z, int(solution.iterations), self.name)


def _options(settings: Settings, caution: Mapping[str, float]) -> clarabel.DefaultSettings:
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.max_threads = 1
    options.time_limit = settings.seconds_left
    accuracy = settings.tolerance * 1e-2
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = accuracy
    for name, value in caution.items():
        setattr(options, name, value)
    return options


def _with_bound_rows(program: Program) -> tuple[sp.csr_array, Vector, list[object]]:
    eye = sp.eye_array(program.size, format="csr")
    upper, lower = np.isfinite(program.upper), np.isfinite(program.lower)
    A = sp.vstack([program.A, eye[upper], -eye[lower]], format="csr")
    b = np.concatenate([program.b, program.upper[upper], -program.lower[lower]])
    cones: list[object] = [_CONES[block.cone](block.stop - block.start) for block in program.blocks]
    bounds = int(upper.sum() + lower.sum())
    return sp.csr_array(A), b, cones + ([clarabel.NonnegativeConeT(bounds)] if bounds else [])


def _long_rows(A: sp.csr_array) -> Indices:
    """Rows with many entries, where there are so many of them that the factorisation would fill up with them."""
    long = np.flatnonzero(np.diff(A.indptr) > _LONG)
    return long if len(long) > _TALL * A[long].nnz / max(len(long), 1) else long[:0]


def _lift(A: sp.csr_array, b: Vector, cones: list[object], long: Indices) -> tuple[sp.csr_array, Vector, list[object]]:
    """Long rows a'x as variables of their own behind equations ``a'x - v = 0``, which come first."""
    short = np.ones(A.shape[0])
    short[long] = 0.0
    places = sp.csr_array((np.ones(len(long)), (long, np.arange(len(long)))), shape=(A.shape[0], len(long)))
    eye = sp.eye_array(len(long), format="csr")
    lifted = sp.vstack(
        [sp.hstack([A[long], -eye]), sp.hstack([sp.diags_array(short, format="csr") @ A, places])], format="csr"
    )
    return sp.csr_array(lifted), np.append(np.zeros(len(long)), b), [clarabel.ZeroConeT(len(long)), *cones]
