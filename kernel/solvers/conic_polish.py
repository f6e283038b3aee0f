"""Polishing of conic answers: Newton's method on the optimality conditions of the active bounds, rows and cones.

A cone that binds away from its tip is one smooth constraint g(s) <= 0 on the slacks s = b - Ax of its rows, with

    second order   g = ||s_1..|| - s_0              n = -dg/ds = (1, -s_1.. / ||s_1..||)
    exponential    g = s_1 exp(s_0 / s_1) - s_2     n = (-e, -e (1 - r), 1),   r = s_0 / s_1,  e = exp(r)

and z = m n its multipliers, m >= 0. On the free variables F, rows W and cones J each step solves

    [ H_FF  A_WF'  N_F' ] [ dx ]     [ -(Px + q + A'z)_F ]
    [ A_WF   0      0   ] [ dy ]  =  [  (b - Ax)_W       ]      H = P + sum_j m_j A_j' d2g_j A_j,   N_j = n_j'A_j
    [ N_F    0      0   ] [ dm ]     [ -g                ]

which doubles the digits of a solution that an interior-point method left at its tolerance.

References: Nocedal & Wright (2006), section 18.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Mask, Program, Quadratic, RowBlock, Vector, widen
from kernel.certificate import assess, reduced_costs
from kernel.quadratic import Indices
from kernel.solvers.bordered import Bordered, few_long_rows
from kernel.solvers.lifting import is_lean, split

_STEPS = 5
_CORRECTIONS = 6
_LARGEST_SYSTEM = 6_000
# The same where the quadratic part falls into blocks or is of low rank, and the factorisation does not fill up.
_LARGEST_LEAN = 40_000
_EXACT = 1e-13
_ROUNDING = 1e-13
# A cone at its tip has no normal.
_TIP = 1e-6
_LARGEST_EXPONENT = 200.0


@dataclass(frozen=True, slots=True)
class _Active:
    """What binds.

    Attributes:
        lower: (N,) True for variables at their lower bound.
        upper: (N,) the same for upper bounds.
        rows: (m,) True for linear rows without slack.
        cones: Blocks on their boundary.
    """

    lower: Mask
    upper: Mask
    rows: Mask
    cones: tuple[RowBlock, ...]

    @property
    def free(self) -> Indices:
        return np.flatnonzero(~(self.lower | self.upper))

    @property
    def size(self) -> int:
        return len(self.free) + int(self.rows.sum()) + len(self.cones)


def polish_conic(program: Program, x: Vector, z: Vector) -> tuple[Vector, Vector]:
    """The best certified of (x, z) and Newton's steps from it.

    Args:
        program: Convex.
        x: (N,) approximate solution.
        z: (m,) its row multipliers.
    """
    best, least = (x, z), _error(program, x, z)
    active = _read_active(program, x, z)
    largest = _LARGEST_LEAN if program.P.parts or is_lean(program.P) else _LARGEST_SYSTEM
    for _ in range(_CORRECTIONS):
        if active is None or active.size > largest or least <= _EXACT:
            break
        found = _iterate(program, active, x, z)
        if found is None:
            break
        x, z = found
        error = _error(program, x, z)
        if error < least:
            best, least = found, error
        active = _corrected(program, active, x, z)
    return best


def _iterate(program: Program, active: _Active, x: Vector, z: Vector) -> tuple[Vector, Vector] | None:
    """Newton's steps on one active set, until they no longer shrink."""
    x = np.where(active.lower, program.lower, np.where(active.upper, program.upper, x))
    y = z[active.rows]
    multipliers = np.array([_multiplier(block, z[block.rows]) for block in active.cones])
    last = np.inf
    for _ in range(_STEPS):
        step = _newton(program, active, x, y, multipliers)
        if step is None:
            return None
        dx, y, multipliers = step
        x = x.copy()
        x[active.free] += dx
        length = float(np.abs(dx).max(initial=0.0))
        if length <= _ROUNDING or length > 0.5 * last:
            break
        last = length
    assembled = _assemble(program, active, x, y, multipliers)
    return None if assembled is None else (x, assembled)


def _error(program: Program, x: Vector, z: Vector) -> float:
    assessment = assess(program, x, z)
    return max(assessment.gap, assessment.violation)


def _read_active(program: Program, x: Vector, z: Vector) -> _Active | None:
    """What binds at an approximate solution; None where a cone binds at its tip."""
    r = reduced_costs(program, x, z)
    s = program.b - program.A @ x
    largest = max((_multiplier(b, z[b.rows]) for b in program.blocks if b.cone is Cone.EXPONENTIAL), default=1.0)
    cones = []
    for block in program.blocks:
        if block.cone.is_linear:
            continue
        multiplier, slack = _multiplier(block, z[block.rows]), _distance(block.cone, s[block.rows])
        if block.cone is Cone.EXPONENTIAL:
            slack, multiplier = slack / float(np.abs(s[block.rows]).max()), multiplier / largest
        if slack < multiplier:
            if _at_tip(block.cone, s[block.rows]):
                return None
            cones.append(block)
    fixed = program.lower == program.upper
    return _Active(
        lower=(x - program.lower < r) | fixed,
        upper=(program.upper - x < -r) & ~fixed,
        rows=program.mask(Cone.ZERO) | (program.mask(Cone.NONNEGATIVE) & (s < z)),
        cones=tuple(cones),
    )


def _corrected(program: Program, active: _Active, x: Vector, z: Vector) -> _Active | None:
    """The active set with every wrong sign turned; None when all are right."""
    r, s = reduced_costs(program, x, z), program.b - program.A @ x
    fixed = program.lower == program.upper
    below, above = x < program.lower - _ROUNDING, x > program.upper + _ROUNDING
    leave_lower, leave_upper = active.lower & (r < -_ROUNDING) & ~fixed, active.upper & (r > _ROUNDING)
    unequal, held = program.mask(Cone.NONNEGATIVE), {block.start for block in active.cones}
    enter, leave = unequal & (s < -_ROUNDING) & ~active.rows, unequal & active.rows & (z < -_ROUNDING)
    cones = tuple(
        block
        for block in program.blocks
        if not block.cone.is_linear and _binds(block, s[block.rows], z[block.rows], held=block.start in held)
    )
    if any(_at_tip(block.cone, s[block.rows]) for block in cones):
        return None
    changes = (below, above, leave_lower, leave_upper, enter, leave)
    if cones == active.cones and not any(change.any() for change in changes):
        return None
    return _Active(
        lower=(active.lower & ~leave_lower) | below,
        upper=((active.upper & ~leave_upper) | above) & ~below,
        rows=(active.rows & ~leave) | enter,
        cones=cones,
    )


def _binds(block: RowBlock, s: Vector, z: Vector, *, held: bool) -> bool:
    return _multiplier(block, z) > 0.0 if held else _distance(block.cone, s) < -_ROUNDING


def _multiplier(block: RowBlock, z: Vector) -> float:
    return float(z[0] if block.cone is Cone.SECOND_ORDER else z[2])


def _at_tip(cone: Cone, s: Vector) -> bool:
    """Whether s is too near to where the boundary has no normal, or one beyond all numbers."""
    if cone is Cone.SECOND_ORDER:
        return float(np.linalg.norm(s[1:])) <= _TIP
    return float(s[1]) <= _TIP or float(s[0]) > _LARGEST_EXPONENT * float(s[1])


def _distance(cone: Cone, s: Vector) -> float:
    """-g, the slack of the cone as one constraint."""
    if cone is Cone.SECOND_ORDER:
        return float(s[0] - np.linalg.norm(s[1:]))
    return float(s[2] - s[1] * np.exp(min(s[0] / s[1], _LARGEST_EXPONENT))) if s[1] > 0.0 else float(s[2])


def _normal(cone: Cone, s: Vector) -> Vector:
    if cone is Cone.SECOND_ORDER:
        return np.append(1.0, -s[1:] / np.linalg.norm(s[1:]))
    r = s[0] / s[1]
    return np.array([-np.exp(r), -np.exp(r) * (1.0 - r), 1.0])


def _newton(
    program: Program, active: _Active, x: Vector, y: Vector, multipliers: Vector
) -> tuple[Vector, Vector, Vector] | None:
    """The step of the free variables, and the new multipliers of rows and cones."""
    s = program.b - program.A @ x
    if any(_at_tip(block.cone, s[block.rows]) for block in active.cones):
        return None
    free = active.free
    A = sp.csr_array(program.A[:, free])
    rows, normals = _rows_of(active.cones), [_normal(block.cone, s[block.rows]) for block in active.cones]
    owner = np.repeat(np.arange(len(active.cones)), [block.stop - block.start for block in active.cones])
    entries = np.concatenate([np.zeros(0), *normals])
    N = sp.csr_array((entries, (owner, rows)), shape=(len(active.cones), len(s))) @ A
    H, inner, outer = _curvature(program, active, s, multipliers, A)
    A_rows = sp.csr_array(A[active.rows])
    border = sp.csr_array(sp.vstack([A_rows, N, inner, outer], format="csr"))
    corner = np.repeat([0.0, -1.0, 1.0], [A_rows.shape[0] + len(active.cones), inner.shape[0], outer.shape[0]])
    gradient = (program.quadratic(x) + program.q)[free]
    distances = np.array([_distance(block.cone, s[block.rows]) for block in active.cones])
    extra = np.zeros(inner.shape[0] + outer.shape[0])
    system = Bordered(H, border, corner)
    right = np.concatenate([-gradient, s[active.rows], distances, extra])
    solved = system.solved(right)
    if solved is None:
        solved = system.solved_nearby(right, np.concatenate([np.zeros(len(free)), y, multipliers, extra]))
    if solved is None:
        return None
    ends = np.cumsum([len(free), A_rows.shape[0], len(active.cones)])
    dx, y, multipliers, _ = np.split(solved, ends)
    return dx, y, multipliers


def _rows_of(cones: Sequence[RowBlock]) -> Indices:
    return np.concatenate([np.zeros(0, dtype=np.intp), *(np.arange(b.start, b.stop) for b in cones)])


def _curvature(
    program: Program, active: _Active, s: Vector, multipliers: Vector, A: sp.csr_array
) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
    """H over the free variables, as a sparse matrix and ``sum_k inner_k inner_k' - sum_k outer_k outer_k'``.

    second order   d2g = (I - u u') / ||s_1..||, u = s_1.. / ||s_1..||
    exponential    d2g = e / s_1 v v',           v = (1, -r, 0)
    """
    H, inner = _quadratic_part(program, active.free)
    second = [(b, m) for b, m in zip(active.cones, multipliers.tolist(), strict=True) if b.cone is Cone.SECOND_ORDER]
    tails = np.concatenate([np.zeros(0, dtype=np.intp), *(np.arange(b.start + 1, b.stop) for b, _ in second)])
    owner = np.repeat(np.arange(len(second)), [b.stop - b.start - 1 for b, _ in second])
    norms = np.sqrt(np.bincount(owner, s[tails] ** 2, minlength=len(second)))
    bends = np.array([max(m, 0.0) for _, m in second])
    tail = sp.csr_array(sp.diags_array(np.sqrt(bends / norms)[owner], format="csr") @ A[tails])
    units = sp.csr_array((s[tails] / norms[owner], (owner, np.arange(len(tails)))), shape=(len(second), len(tails)))
    outer = units @ tail
    long = few_long_rows(tail)
    if long.any():
        inner, tail = sp.csr_array(sp.vstack([inner, tail[long]], format="csr")), sp.csr_array(tail[~long])
    H = H + tail.T @ tail
    exponential = np.array([block.cone is Cone.EXPONENTIAL for block in active.cones], dtype=bool)
    first = np.array([block.start for block in active.cones], dtype=np.intp)[exponential]
    if len(first):
        r = s[first] / s[first + 1]
        V = A[first] - sp.diags_array(r, format="csr") @ A[first + 1]
        weights = multipliers[exponential] * np.exp(r) / s[first + 1]
        H = H + V.T @ sp.diags_array(weights, format="csr") @ V
    return sp.csr_array(H), inner, sp.csr_array(outer)


def _quadratic_part(program: Program, free: Indices) -> tuple[sp.csr_array, sp.csr_array]:
    """P over the free variables, as a sparse matrix and the rows of its thin factors."""
    size, inner = len(free), free[free < program.P.size]
    P, F, lean = program.P, sp.csr_array((0, size)), split(program.P)
    if lean is not None:
        parts, factor = lean
        P, F = Quadratic(parts=parts), widen(sp.csr_array(factor[:, inner]), size)
    entries = sp.coo_array(P.restricted(inner).sparse) if len(inner) else sp.coo_array((0, 0))
    return sp.csr_array(sp.coo_array((entries.data, (entries.row, entries.col)), shape=(size, size))), F


def _assemble(program: Program, active: _Active, x: Vector, y: Vector, multipliers: Vector) -> Vector | None:
    """(m,) multipliers of the active rows and, along the normals at x, of the cones."""
    s = program.b - program.A @ x
    if any(_at_tip(block.cone, s[block.rows]) for block in active.cones):
        return None
    z = np.zeros(len(program.b))
    z[active.rows] = y
    for block, m in zip(active.cones, multipliers, strict=True):
        z[block.rows] = m * _normal(block.cone, s[block.rows])
    return z
