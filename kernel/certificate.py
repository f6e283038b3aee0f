"""Certificates: what is true of an answer, measured on the original data. Imports no solver.

For a convex program and any multipliers z in the dual cone the Lagrangian's tangent at x gives a true lower bound:

    f(y) >= offset - 1/2 x'Px - b'z + sum_i min_{l_i <= y_i <= u_i} r_i y_i     for every feasible y,   r = Px + q + A'z

(weak duality; Boyd & Vandenberghe 2004, section 5.2, with the quadratic replaced by its tangent). Nothing is read off
the solver but x and z: z is first projected onto the dual cone, and bound multipliers are never needed. A variable
without a bound can only carry a reduced cost of rounding size; it is charged at ten times its size, or ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Matrix, Program, Vector
from kernel.problem import Settings
from kernel.status import Status

# Beyond it exp() leaves the range of numbers that sums can bear.
_LARGEST_EXPONENT = 500.0
# By how much, relative to its terms, a contradiction must exceed zero.
_PROOF = 1e-9
# Entries of a small matrix.
_SMALL = 10_000


@dataclass(frozen=True, slots=True)
class Assessment:
    """x and z measured against a program.

    Attributes:
        objective: 1/2 x'Px + q'x + offset.
        bound: A lower bound of the program's optimal value.
        violation: Largest violation of a row, cone, bound or semicontinuity, in the units of x.
    """

    objective: float
    bound: float
    violation: float

    @property
    def gap(self) -> float:
        """(objective - bound) relative to the objective's size."""
        return max(self.objective - self.bound, 0.0) / max(abs(self.objective), 1e-9)

    def status(self, settings: Settings) -> Status:
        """What may be said of the answer."""
        worst = max(self.gap, self.violation)
        if worst <= settings.tolerance:
            return Status.OPTIMAL
        return Status.OPTIMAL_TO_TOLERANCE if worst <= settings.loose_tolerance else Status.NUMERICAL_FAILURE


def assess(program: Program, x: Vector, z: Vector) -> Assessment:
    """Measure x and z against `program`."""
    Px = program.quadratic(x)
    objective = float(0.5 * x @ Px + program.q @ x) + program.offset
    return Assessment(objective, _bound(program, x, Px, z), violation(program, x))


def lower_bound(program: Program, x: Vector, z: Vector) -> float:
    """The bound of the module's docstring, for the program without its discrete variables."""
    return _bound(program, x, program.quadratic(x), z)


def _bound(program: Program, x: Vector, Px: Vector, z: Vector) -> float:
    z = project_dual(program, z)
    r = Px + program.q + _transposed_times(program.A, z)
    reach = 10.0 * np.maximum(1.0, np.abs(x))
    lower = np.where(np.isfinite(program.lower), program.lower, -reach)
    upper = np.where(np.isfinite(program.upper), program.upper, reach)
    tangent = np.minimum(r * lower, r * upper).sum()
    return float(-0.5 * x @ Px - program.b @ z + tangent) + program.offset


def assess_along(program: Program, X: Matrix, PX: Matrix, Z: Matrix, right: Matrix) -> tuple[Vector, Vector]:
    """Bounds and violations of many points at once.

    Args:
        program: With linear rows only, none of its variables discrete or homogenising.
        X: (k, N) points.
        PX: (k, N) their gradients Px.
        Z: (k, m) their row multipliers.
        right: (k, m) what stands in place of b for each.

    Returns:
        (k,) lower bounds as of `lower_bound`, and (k,) violations as of `violation`.
    """
    equal = program.mask(Cone.ZERO)
    Z = np.where(equal, Z, np.maximum(Z, 0.0))
    R = PX + program.q + (program.A.T @ Z.T).T
    reach = 10.0 * np.maximum(1.0, np.abs(X))
    lower = np.where(np.isfinite(program.lower), program.lower, -reach)
    upper = np.where(np.isfinite(program.upper), program.upper, reach)
    tangents = np.minimum(R * lower, R * upper).sum(axis=1)
    bounds = -0.5 * (X * PX).sum(axis=1) - (right * Z).sum(axis=1) + tangents + program.offset
    S = right - (program.A @ X.T).T
    missed = np.where(equal, np.abs(S), -S).max(axis=1, initial=0.0)
    outside = np.maximum(program.lower - X, X - program.upper).max(axis=1, initial=0.0)
    return bounds, np.maximum(missed, outside)


def proves_infeasible(program: Program, z: Vector) -> bool:
    """Whether the multipliers alone show that no x meets rows and bounds: ``b'z < min_x z'Ax`` (Farkas 1902).

    By more than rounding; a variable without a bound may carry no more than rounding either.
    """
    z = project_dual(program, z)
    r = _transposed_times(program.A, z)
    bound = np.where(r > 0.0, program.lower, program.upper)
    bounded = np.isfinite(bound)
    if np.abs(r[~bounded]).max(initial=0.0) > _PROOF * np.abs(z).max(initial=0.0):
        return False
    least, right = r[bounded] * bound[bounded], program.b * z
    size = np.abs(least).sum() + np.abs(right).sum() + np.abs(z).max(initial=0.0)
    return float(least.sum() - right.sum()) > _PROOF * float(size)


def reduced_costs(program: Program, x: Vector, z: Vector) -> Vector:
    """(N,) r = Px + q + A'z: the multipliers of the bounds, positive at a lower one."""
    return np.asarray(program.quadratic(x) + program.q + _transposed_times(program.A, z))


def _transposed_times(A: sp.csr_array, z: Vector) -> Vector:
    """A'z; of a small matrix without the transposed object, which costs more than the product."""
    if A.nnz > _SMALL:
        return np.asarray(A.T @ z)
    return np.bincount(A.indices, A.data * np.repeat(z, np.diff(A.indptr)), minlength=A.shape[1]).astype(float)


def project_dual(program: Program, z: Vector) -> Vector:
    """(m,) the nearest multipliers in the dual cone."""
    projected = z.copy()
    for block in program.blocks:
        part = projected[block.rows]
        if block.cone is Cone.NONNEGATIVE:
            np.maximum(part, 0.0, out=part)
        elif block.cone is Cone.SECOND_ORDER:
            part[:] = _project_second_order(part)
        elif block.cone is Cone.EXPONENTIAL:
            part[:] = _lift_exponential_dual(part)
    return projected


def violation(program: Program, x: Vector) -> float:
    """The largest violation of x, 0 when feasible."""
    s = program.b - program.A @ x
    worst = max(0.0, float((program.lower - x).max(initial=0.0)), float((x - program.upper).max(initial=0.0)))
    for block in program.blocks:
        worst = max(worst, _outside(block.cone, s[block.rows]))
    scale = 1.0 if program.kappa is None else max(float(x[program.kappa]), 1e-12)
    return max(worst, _gap_to_discrete(x, program)) / scale


def _outside(cone: Cone, s: Vector) -> float:
    if cone is Cone.ZERO:
        return float(np.abs(s).max(initial=0.0))
    if cone is Cone.NONNEGATIVE:
        return float((-s).max(initial=0.0))
    if cone is Cone.EXPONENTIAL:
        return _outside_exponential(s)
    return float(np.linalg.norm(s[1:]) - s[0])


def _outside_exponential(s: Vector) -> float:
    """By how much s_2 falls short of s_1 exp(s_0 / s_1), whose limit at s_1 = 0 is 0 for s_0 <= 0."""
    if s[1] <= 0.0:
        return float(max(-s[1], s[0], -s[2]))
    return float(s[1] * np.exp(min(s[0] / s[1], _LARGEST_EXPONENT)) - s[2])


def _gap_to_discrete(x: Vector, program: Program) -> float:
    scale = 1.0 if program.kappa is None else float(x[program.kappa])
    gaps = [min(abs(x[v.index]), v.threshold * scale - abs(x[v.index])) for v in program.semicontinuous]
    for v in program.integral:
        step = v.step * scale
        gaps.append(abs(x[v.index] - step * round(x[v.index] / step)) if step > 0 else 0.0)
    return max(gaps, default=0.0)


def _lift_exponential_dual(z: Vector) -> Vector:
    """A member of the dual cone ``-u exp(v / u) <= e w, u <= 0`` near (u, v, w), the last entry raised."""
    u, v, w = z
    if u >= 0.0:
        return np.array([0.0, max(v, 0.0), max(w, 0.0)])
    return np.array([u, v, max(w, -u * np.exp(min(v / u - 1.0, _LARGEST_EXPONENT)))])


def _project_second_order(v: Vector) -> Vector:
    head, tail = v[0], v[1:]
    norm = float(np.linalg.norm(tail))
    if norm <= head:
        return v
    if norm <= -head:
        return np.zeros_like(v)
    half = 0.5 * (head + norm)
    return np.concatenate([[half], half / norm * tail])
