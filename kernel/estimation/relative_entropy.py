"""Probabilities as close as possible to given ones under linear conditions: least relative entropy by its dual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, nnls

from kernel.errors import ProblemError
from kernel.estimation.arrays import BoolArray, FloatArray

# In standard deviations of a condition's values. Solutions are polished to the first and accepted up to the second.
GOAL = 1e-13
TOLERANCE = 1e-9
_ITERATIONS = 200
_HALVINGS = 60
_ARMIJO = 1e-4
# Eigenvalues of the dual's Hessian below this, relative to the largest, belong to conditions that repeat each other.
_DEPENDENT = 1e-11
# A condition whose values spread less than this, relative to their size, is the same in all scenarios.
_CONSTANT = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """k linear conditions on probabilities: E[a] <sense> b.

    Attributes:
        A: (T, k) values in the scenarios.
        b: (k,) targets.
        senses: k of ``=``, ``<=`` and ``>=``.
    """

    A: FloatArray
    b: FloatArray
    senses: tuple[str, ...]

    @classmethod
    def none(cls, T: int) -> Conditions:
        """No condition on T scenarios."""
        return cls(np.zeros((T, 0)), np.zeros(0), ())

    def also(self, a: FloatArray, b: float, sense: str = "=") -> Conditions:
        """One condition more, as the last one."""
        return Conditions(np.column_stack([self.A, a]), np.append(self.b, b), (*self.senses, sense))

    def __len__(self) -> int:
        return len(self.b)


@dataclass(frozen=True, slots=True, eq=False)
class Tilt:
    """Probabilities under conditions.

    Attributes:
        p: (T,) > 0, sum 1.
        entropy: sum p log(p / p0).
        bound: What no probabilities under the conditions can have less of, by weak duality from the multipliers alone.
        prices: (k,) change of the entropy per unit of each condition's b.
    """

    p: FloatArray
    entropy: float
    bound: float
    prices: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Dual:
    """min F(z) = log sum p0 exp(-C z), z >= 0 for inequalities, which all say E[c] <= 0."""

    C: FloatArray
    log_p0: FloatArray
    bounded: BoolArray
    scale: FloatArray

    def at(self, z: FloatArray) -> _Point:
        exponent = self.log_p0 - self.C @ z
        top = float(exponent.max())
        weights = np.exp(exponent - top)
        total = float(weights.sum())
        p = weights / total
        return _Point(z, p, top + float(np.log(total)), -(p @ self.C))

    def residual(self, point: _Point) -> float:
        """How far from optimal, in standard deviations of the conditions."""
        g, z = point.gradient, point.z
        wrong = np.where(self.bounded, np.minimum(z, g), g)
        return float(np.abs(wrong).max(initial=0.0))

    def separates(self, point: _Point) -> bool:
        """Whether the multipliers prove that no probabilities fit: the combined condition fails in every scenario."""
        size = float(np.abs(point.z).sum())
        return bool(size > 0.0 and float((self.C @ point.z).min()) > TOLERANCE * size)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    z: FloatArray
    p: FloatArray
    value: float
    gradient: FloatArray


def tilt(p0: FloatArray, conditions: Conditions) -> Tilt | None:
    """The probabilities nearest to p0 in relative entropy that meet linear conditions.

    min sum p log(p / p0)  s.t. sum p = 1, E_p[a] <sense> b;  p = p0 exp(-(a - b)'z) / Z, z from the dual by Newton

    Args:
        p0: (T,) > 0, sum 1.
        conditions: k of them, on T scenarios.

    Returns:
        The probabilities, within 1e-9 standard deviations of every condition; None when it is proven that no
        probabilities meet them all.

    Raises:
        ProblemError: The conditions can be met, if at all, only by giving no probability to scenarios, beyond what
            floating point resolves.

    References:
        Meucci (2008), Fully flexible views; Bertsekas (1982), Projected Newton methods.
    """
    dual = _dual(p0, conditions)
    point = dual.at(np.zeros(len(conditions)))
    for _ in range(_ITERATIONS):
        if dual.separates(point):
            return None
        if dual.residual(point) <= GOAL:
            break
        following = _step(dual, point)
        if following is None:
            break
        point = following
    if dual.residual(point) > TOLERANCE:
        if not _can_hold(conditions):
            return None
        raise ProblemError("views", "hold only at the edge of what the scenarios allow, where some have no probability")
    entropy = float(point.p @ -(dual.C @ point.z)) - point.value
    signs = np.array([1.0 if sense == ">=" else -1.0 for sense in conditions.senses])
    return Tilt(point.p, max(entropy, 0.0), -point.value, signs * point.z / dual.scale)


def _dual(p0: FloatArray, conditions: Conditions) -> _Dual:
    """Conditions in units of their standard deviation under p0, every inequality as E[c] <= 0."""
    C = conditions.A - conditions.b
    size = np.maximum(np.abs(conditions.A).max(axis=0, initial=0.0), np.abs(conditions.b))
    spread = np.sqrt(p0 @ np.square(conditions.A - p0 @ conditions.A))
    constant = spread <= _CONSTANT * size
    # What is the same in all scenarios holds or not; rounding must not decide.
    C[:, constant] = np.where(np.abs(C[:, constant]) <= 1e-12 * size[constant], 0.0, C[:, constant])
    scale = np.where(constant, np.where(size > 0.0, size, 1.0), spread)
    C /= scale
    C[:, [sense == ">=" for sense in conditions.senses]] *= -1.0
    return _Dual(C, np.log(p0), np.array([sense != "=" for sense in conditions.senses], dtype=bool), scale)


def _step(dual: _Dual, point: _Point) -> _Point | None:
    """A Newton step that lowers the dual, or the residual where the dual has no digits left; None without."""
    residual, flat = dual.residual(point), 1e-13 * max(1.0, abs(point.value))
    try:
        d, length = _direction(dual, point), 1.0
    except RuntimeError:  # least squares that found no end
        return None
    for _ in range(_HALVINGS):
        trial = dual.at(point.z + length * d)
        fall = -_ARMIJO * length * float(point.gradient @ d)
        if trial.value <= point.value - max(fall, flat):
            return trial
        if trial.value <= point.value + flat and dual.residual(trial) < 0.9 * residual:
            return trial
        length *= 0.5
    return None


def _direction(dual: _Dual, point: _Point) -> FloatArray:
    """Newton's direction: min d'H d / 2 + g'd with z + d >= 0 for inequalities, as non-negative least squares."""
    X = np.sqrt(point.p)[:, None] * (dual.C + point.gradient)
    eigenvalues, V = np.linalg.eigh(X.T @ X)
    largest = float(eigenvalues[-1])
    # Where conditions repeat each other the curvature is rounding: a little of it bounds the step along a slope.
    curvature = np.maximum(eigenvalues, _DEPENDENT * largest if largest > 0.0 else 1.0)
    slope, held = V.T @ point.gradient, dual.bounded
    if not held.any():
        free: FloatArray = -V @ (slope / curvature)
        return free
    root = np.sqrt(curvature)
    R = root[:, None] * V.T
    r = R @ point.z - slope / root
    y = np.zeros(len(point.z))
    basis = np.linalg.qr(R[:, ~held], mode="complete")[0][:, np.count_nonzero(~held) :]
    y[held], _ = nnls(basis.T @ R[:, held], basis.T @ r, maxiter=50 * len(y))
    if not held.all():
        y[~held] = np.linalg.lstsq(R[:, ~held], r - R[:, held] @ y[held], rcond=None)[0]
    return y - point.z


def _can_hold(conditions: Conditions) -> bool:
    """Whether any probabilities, some of them zero, meet the conditions: a linear program."""
    equal = np.array([sense == "=" for sense in conditions.senses])
    signs = np.array([-1.0 if sense == ">=" else 1.0 for sense in conditions.senses])
    size = np.maximum(np.abs(conditions.A).max(axis=0, initial=0.0), np.abs(conditions.b))
    A = (conditions.A * signs / np.where(size > 0.0, size, 1.0)).T
    b = conditions.b * signs / np.where(size > 0.0, size, 1.0)
    T = A.shape[1]
    found = linprog(
        np.zeros(T),
        A_ub=A[~equal] if not equal.all() else None,
        b_ub=b[~equal] if not equal.all() else None,
        A_eq=np.vstack([A[equal], np.ones(T)]),
        b_eq=np.append(b[equal], 1.0),
        bounds=(0.0, 1.0),
        method="highs",
    )
    return bool(found.status != 2)
