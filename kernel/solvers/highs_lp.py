"""Linear programs: HiGHS (Huangfu & Hall 2018). Its vertices are exact and come with multipliers."""

from __future__ import annotations

from importlib.metadata import version

import highspy
import numpy as np

from kernel.canonical import Cone, Program, Vector
from kernel.problem import Settings
from kernel.solvers.base import RawSolution, RawStatus

_STATUS = {
    highspy.HighsModelStatus.kOptimal: RawStatus.SOLVED,
    highspy.HighsModelStatus.kInfeasible: RawStatus.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: RawStatus.UNBOUNDED,
    highspy.HighsModelStatus.kTimeLimit: RawStatus.LIMIT,
}
# Below this many coefficients the dual simplex method is done before the presolve would be.
_WORTH_PRESOLVING = 300_000


class HighsSolver:
    """Simplex for programs without a quadratic part."""

    name = f"HiGHS {version('highspy')}"

    def accepts(self, program: Program) -> bool:
        """Linear objective, linear rows."""
        return program.is_linear and program.is_convex

    def solve(self, program: Program, settings: Settings) -> RawSolution:
        """Solve with primal and dual tolerances at HiGHS' finest, as it is first: programs come with rows near one."""
        raw = self._run(program, settings, scaling=0, presolved=program.A.nnz > _WORTH_PRESOLVING)
        settled = raw.status in (RawStatus.SOLVED, RawStatus.LIMIT)
        # A presolve may leave open whether a program is infeasible or unbounded.
        return raw if settled else self._run(program, settings, scaling=2, presolved=False)

    def _run(self, program: Program, settings: Settings, *, scaling: int, presolved: bool) -> RawSolution:
        finest = max(1e-10, settings.tolerance * 1e-2)
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
        highs.setOptionValue("output_flag", False)  # noqa: FBT003  # an option's value, not a switch of ours
        highs.setOptionValue("threads", 1)
        highs.setOptionValue("primal_feasibility_tolerance", finest)
        highs.setOptionValue("dual_feasibility_tolerance", finest)
        highs.setOptionValue("simplex_scale_strategy", scaling)
        highs.setOptionValue("time_limit", settings.seconds_left)
        highs.setOptionValue("presolve", "choose" if presolved else "off")
        highs.passModel(_model(program))
        highs.run()
        answer, iterations = highs.getSolution(), int(highs.getInfo().simplex_iteration_count)
        status = _STATUS.get(highs.getModelStatus(), RawStatus.FAILED)
        if status is not RawStatus.SOLVED:
            ray = _dual_ray(highs, len(program.b))
            return RawSolution(status, np.full(program.size, np.nan), ray, iterations, self.name)
        return RawSolution(
            status, np.array(answer.col_value), -np.array(answer.row_dual, dtype=float), iterations, self.name
        )


def _dual_ray(highs: highspy.Highs, rows: int) -> Vector:
    """(rows,) multipliers that prove an infeasible program to be so, the largest 1; zeros without such."""
    _, known, values = highs.getDualRay()  # type: ignore[attr-defined]  # absent from the stubs
    ray = -np.array(values, dtype=float)
    return ray / np.abs(ray).max() if known and ray.any() else np.zeros(rows)


def _model(program: Program) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = program.size, len(program.b)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.q, program.lower, program.upper
    lp.row_lower_ = np.where(program.mask(Cone.ZERO), program.b, -np.inf)
    lp.row_upper_ = program.b
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = program.A.indptr, program.A.indices, program.A.data
    return lp
