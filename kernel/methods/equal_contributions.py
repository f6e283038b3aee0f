"""Long-only weights whose contributions to the variance have given ratios, by Newton's method.

    min_{y > 0}  1/2 y'Py - b'log y        at whose solution  y_i (Py)_i = b_i

The function is convex and has one minimum where P is positive definite. A step solves ``(YPY + diag b) d = b - y o Py``
for the relative changes d of y, by conjugate gradients: products with P are all that is needed of it. With b = sum 1
the diagonal keeps the system well conditioned but for the few directions that most assets share, so that a handful of
products is enough. Along d the function has a third derivative of at most ``2 max|d| / (1 - a max|d|)`` times its
second at a step of length a, which makes ``1 / (1 + max|d|)`` a length that always descends.

References: Spinu (2013); Maillard, Roncalli & Teiletche (2010); Griveau-Billion, Richard & Roncalli (2013); Hestenes &
Stiefel (1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.quadratic import Quadratic, Vector

_STEPS = 200
# Relative errors of contributions: below the first no step helps; an answer must reach the second, which is as near as
# hedges that cancel almost all risk let products come.
_EXACT, _ACCEPTED = 1e-15, 1e-6
# Steps without progress after which there is none to come.
_PATIENCE = 3
# Relative changes up to which the whole step is taken.
_SHORT = 0.3
# How exactly a step is solved for while it is far from the solution.
_ROUGH = 0.1
_MOST_PRODUCTS = 200


@dataclass(frozen=True, slots=True)
class EqualContributions:
    """The minimum and its proof.

    Attributes:
        y: (n,) > 0.
        value: 1/2 y'Py - b'log y.
        bound: No y > 0 has a smaller value.
        steps: Of Newton's method.
    """

    y: Vector
    value: float
    bound: float
    steps: int


def contribute(P: Quadratic, b: Vector) -> EqualContributions | None:
    """The y > 0 with ``y_i (Py)_i = b_i``.

    Args:
        P: (n, n), with positive diagonal entries.
        b: (n,) > 0, adding up to 1.

    Returns:
        The minimum, its contributions within rounding of b (1e-6 of them at most); None where there is none, since some
        y >= 0 has no risk, or where it was not reached.

    References:
        Spinu (2013), algorithm 3.4, with the length of the step as in Nesterov (2004), section 4.1.5.
    """
    diagonal = P.diagonal_entries
    y = b / np.sqrt(diagonal)
    risk = float(y @ P.times(y))
    if not risk > 0.0:
        return None
    y = y / np.sqrt(risk)
    best, least = y, np.inf
    steps = idle = 0
    while steps < _STEPS:
        residual = b - y * P.times(y)
        error = float(np.abs(residual / b).max())
        idle = 0 if error < least else idle + 1
        if error < least:
            best, least = y, error
        settled = error <= _EXACT or (idle >= _PATIENCE and least <= _ACCEPTED)
        if settled or not np.isfinite(error):
            break
        d = _newton_direction(P, b, y, residual, min(_ROUGH, error))
        longest = float(np.abs(d).max())
        y = y * (1.0 + d * (1.0 if longest <= _SHORT else 1.0 / (1.0 + longest)))
        steps += 1
    return _proven(P, b, best, steps) if least <= _ACCEPTED else None


def _newton_direction(P: Quadratic, b: Vector, y: Vector, right: Vector, accuracy: float) -> Vector:
    """(n,) d with ``(YPY + diag b) d = right``: by conjugate gradients on the system with a unit diagonal.

    Where they do not get there, as of assets that hedge each other, by factorisation.
    """
    scale = 1.0 / np.sqrt(P.diagonal_entries * y**2 + b)
    d, residual = np.zeros(len(y)), scale * right
    direction = residual
    square = float(residual @ residual)
    enough = square * accuracy**2
    for _ in range(_MOST_PRODUCTS):
        if square <= enough:
            return np.asarray(scale * d)
        v = scale * direction
        product = scale * (y * P.times(y * v) + b * v)
        length = square / float(direction @ product)
        d = d + length * direction
        residual = residual - length * product
        last, square = square, float(residual @ residual)
        direction = residual + (square / last) * direction
    unit = scale * y
    system = P.dense * np.outer(unit, unit) + np.diag(scale**2 * b)
    return np.asarray(scale * np.linalg.lstsq(system, scale * right)[0])


def _proven(P: Quadratic, b: Vector, y: Vector, steps: int) -> EqualContributions | None:
    """The value at y, and by Fenchel's inequality at the slopes v = Py > 0 a bound of all others.

    1/2 x'Px >= v'x - 1/2 y'Py and v_i x_i - b_i log x_i >= b_i - b_i log(b_i / v_i)
    """
    v = P.times(y)
    if not (v > 0.0).all():
        return None
    half = 0.5 * float(y @ v)
    value = half - float(b @ np.log(y))
    return EqualContributions(y, value, float(b.sum() - b @ np.log(b / v)) - half, steps)
