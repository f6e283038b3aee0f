"""Rows of few variables that come along with each weight: its trade, its cost, the amount that it changes.

Where such a row ties an excluded weight to variables of its own, a part of the program says nothing of its multiplier,
and any within the reduced costs of those variables is optimal there. Chosen badly, the weight seems to pay when the
cost of trading it has been left out.
"""

from __future__ import annotations

import numpy as np

from kernel.canonical import Cone, Mask, Program, Vector
from kernel.certificate import reduced_costs
from kernel.quadratic import Indices

_LONGEST = 3
_TIGHT = 1e-12


def entangled(program: Program, among: Indices) -> Mask:
    """(N,) the variables `among` that short rows ask to be other than at their lower bounds, such as what is held."""
    rows = _short_rows(program)
    at_rest = np.where(np.isfinite(program.lower), program.lower, np.clip(0.0, program.lower, program.upper))
    s = program.b[rows] - program.A[rows] @ at_rest
    equal = program.mask(Cone.ZERO)[rows]
    asking = rows[(s < -_TIGHT) | (equal & (np.abs(s) > _TIGHT))]
    found = np.zeros(program.size, dtype=bool)
    found[program.A[asking].indices] = True
    eligible = np.zeros(program.size, dtype=bool)
    eligible[among] = True
    return found & eligible


def charged(program: Program, x: Vector, z: Vector, excluded: Mask) -> Vector:
    """(m,) multipliers with those of tight short rows moved so that excluded variables pay what their rows cost."""
    rows = _short_rows(program)
    tied = _ties(program, rows, excluded)
    if not len(tied):
        return z
    A, r = program.A, reduced_costs(program, x, z)
    tight = np.abs(program.b[tied] - A[tied] @ x) <= _TIGHT
    z = z.copy()
    taken = np.zeros(program.size, dtype=bool)
    for row in tied[tight].tolist():
        entries = slice(A.indptr[row], A.indptr[row + 1])
        columns, coefficients = A.indices[entries], A.data[entries]
        own = int(np.flatnonzero(excluded[columns])[0])
        if r[columns[own]] >= 0.0 or taken[columns].any():
            continue
        direction = np.sign(coefficients[own])
        others = np.arange(len(columns)) != own
        step = min(-r[columns[own]] / abs(coefficients[own]), _room(r[columns[others]], direction * coefficients[others]))
        if program_allows(direction, z[row], step, unequal=_is_unequal(program, row)):
            z[row] += direction * step
            taken[columns] = True
    return z
