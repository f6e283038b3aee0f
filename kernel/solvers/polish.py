"""Polishing: from an interior point's 1e-10 to the exact solution on its active set.

Which bounds and rows are active is read off an approximate solution; on them the optimum solves one linear system:

    [ P_FF  A_WF' ] [ x_F ]   [ -q_F - P_FB x_B ]        F: variables off their bounds, B: the others
    [ A_WF    0   ] [ z_W ] = [  b_W - A_WB x_B ]        W: rows that hold with equality

A wrong guess shows in the signs and is corrected a few times. The caller keeps whichever point certifies better.
References: Stellato et al. (2020), section 4 (OSQP); Nocedal & Wright (2006), section 16.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from kernel.canonical import Cone, Mask, Program, Vector
from kernel.certificate import assess, reduced_costs

_CORRECTIONS = 6
_LARGEST_SYSTEM = 1200
_LARGEST_TIED = 300
_SMALL = 100_000
_ROUNDING = 1e-13
_EXACT = 1e-12
# A vertex of the simplex method is exact up to the limits that it takes for met.
_EXACT_VERTEX = 1e-10


@dataclass(frozen=True, slots=True)
class _ActiveSet:
    at_lower: Mask
    at_upper: Mask
    rows: Mask

    @property
    def free(self) -> Mask:
        return ~(self.at_lower | self.at_upper)


def polish(program: Program, x: Vector, z: Vector) -> tuple[Vector, Vector]:
    """The better certified of (x, z) and the exact solution on its active set.

    Args:
        program: With linear rows only.
        x: (N,) approximate solution.
        z: (m,) its row multipliers.
    """
    exact = _EXACT_VERTEX if program.P.is_zero else _EXACT
    best, least = (x, z), np.inf
    if program.P.is_zero:
        least = _error(program, x, z)
        if least <= exact:
            return best
    active = _read_active_set(program, x, z)
    for _ in range(_CORRECTIONS):
        candidate = _solve_on(program, active)
        if candidate is None:
            break
        error = _error(program, *candidate)
        if error <= exact:
            return candidate
        if least == np.inf:
            least = _error(program, x, z)
        if error < least:
            best, least = candidate, error
        corrected = _correct(program, active, *candidate)
        if corrected is None:
            break
        active = corrected
    return best


def _error(program: Program, x: Vector, z: Vector) -> float:
    assessment = assess(program, x, z)
    return max(assessment.gap, assessment.violation)


def _read_active_set(program: Program, x: Vector, z: Vector) -> _ActiveSet:
    r = reduced_costs(program, x, z)
    slack = program.b - program.A @ x
    return _ActiveSet(
        at_lower=(x - program.lower < r) | (program.lower == program.upper),
        at_upper=(program.upper - x < -r) & (program.lower < program.upper),
        rows=program.mask(Cone.ZERO) | (program.mask(Cone.NONNEGATIVE) & (slack < z)),
    )


def _solve_on(program: Program, active: _ActiveSet) -> tuple[Vector, Vector] | None:
    free, rows = np.flatnonzero(active.free), np.flatnonzero(active.rows)
    size = len(free) + len(rows)
    if size == 0 or size > _LARGEST_SYSTEM:
        return None
    x = np.where(active.at_lower, program.lower, np.where(active.at_upper, program.upper, 0.0))
    small = program.A.shape[0] * program.A.shape[1] <= _SMALL
    A = program.A.toarray()[np.ix_(rows, free)] if small else program.A[rows][:, free].toarray()
    leading = program.P.size
    K = np.zeros((size, size))
    inner = free[free < leading]
    K[: len(inner), : len(inner)] = program.P.block(inner)
    K[: len(free), len(free) :], K[len(free) :, : len(free)] = A.T, A
    right = np.concatenate([-(program.q + program.quadratic(x))[free], (program.b - program.A @ x)[rows]])
    solved = _solve_refined(K, right)
    if solved is None:
        return None
    x[free] = solved[: len(free)]
    z = np.zeros(len(program.b))
    z[rows] = solved[len(free) :]
    return x, z


def _solve_refined(K: np.ndarray, right: Vector) -> Vector | None:
    """Solve by LU with one step of refinement; a singular system (tied limits) by least squares."""
    factor, pivots, failed = scipy.linalg.lapack.dgetrf(K)
    pivot = np.abs(np.diag(factor))
    if failed or pivot.min() < 1e-12 * pivot.max():
        return np.asarray(scipy.linalg.lstsq(K, right, lapack_driver="gelsy")[0]) if len(K) <= _LARGEST_TIED else None
    solved, _ = scipy.linalg.lapack.dgetrs(factor, pivots, right)
    correction, _ = scipy.linalg.lapack.dgetrs(factor, pivots, right - K @ solved)
    refined = np.asarray(solved + correction)
    return refined if np.isfinite(refined).all() else None


def _correct(program: Program, active: _ActiveSet, x: Vector, z: Vector) -> _ActiveSet | None:
    """The active set with every wrong sign turned; None when all signs are right."""
    r = reduced_costs(program, x, z)
    fixed = program.lower == program.upper
    below, above = x < program.lower - _ROUNDING, x > program.upper + _ROUNDING
    leave_lower = active.at_lower & (r < -_ROUNDING) & ~fixed
    leave_upper = active.at_upper & (r > _ROUNDING)
    unequal = program.mask(Cone.NONNEGATIVE)
    enter = unequal & (program.b - program.A @ x < -_ROUNDING)
    leave = unequal & active.rows & (z < -_ROUNDING)
    if not any(change.any() for change in (below, above, leave_lower, leave_upper, enter, leave)):
        return None
    return _ActiveSet(
        at_lower=(active.at_lower & ~leave_lower) | below,
        at_upper=((active.at_upper & ~leave_upper) | above) & ~below,
        rows=(active.rows & ~leave) | enter,
    )
