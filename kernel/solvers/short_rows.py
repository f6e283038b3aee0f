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

_LONGEST = 4
_TIGHT = 1e-12


def entangled(program: Program, among: Indices) -> tuple[Mask, bool]:
    """(N,) the variables `among` that short rows keep off their lower bounds, such as what is held.

    Beside it whether any of `among` has such rows at all.
    """
    rows = _short_rows(program)
    columns, coefficients = _padded(program, rows)
    eligible = np.zeros(program.size, dtype=bool)
    eligible[among] = True
    own = eligible[columns] & (coefficients != 0.0)
    others = ~own & (coefficients != 0.0) & (columns != program.kappa)
    tied = own.any(axis=1) & others.any(axis=1)
    if not tied.any():
        return np.zeros(program.size, dtype=bool), False
    at_rest = np.where(np.isfinite(program.lower), program.lower, np.clip(0.0, program.lower, program.upper))
    if program.kappa is not None:
        at_rest[program.kappa] = 1.0
    s = program.b[rows] - (coefficients * at_rest[columns]).sum(axis=1)
    asking = tied & ((s < -_TIGHT) | (program.mask(Cone.ZERO)[rows] & (s > _TIGHT)))
    found = np.zeros(program.size, dtype=bool)
    found[columns[asking][own[asking]]] = True
    return found, True


def charged(program: Program, x: Vector, z: Vector, excluded: Mask) -> Vector:
    """(m,) multipliers with those of tight short rows moved so that excluded variables pay what their rows cost."""
    rows = _short_rows(program)
    rows = rows[np.abs(program.b[rows] - program.A[rows] @ x) <= _TIGHT] if len(rows) else rows
    columns, coefficients = _padded(program, rows)
    own = excluded[columns] & (coefficients != 0.0)
    single = own.sum(axis=1) == 1
    rows, columns, coefficients, own = rows[single], columns[single], coefficients[single], own[single]
    if not len(rows):
        return z
    r = reduced_costs(program, x, z)[columns]
    coefficient, direction = coefficients[own], np.sign(coefficients[own])
    rate = np.where(own, 0.0, direction[:, None] * coefficients)
    room = np.full(rate.shape, np.inf)
    falling, rising = rate < 0.0, (rate > 0.0) & (r < 0.0)
    room[falling] = np.maximum(r[falling], 0.0) / -rate[falling]
    room[rising] = r[rising] / -rate[rising]
    room = room.min(axis=1)
    backwards = program.mask(Cone.NONNEGATIVE)[rows] & (direction < 0.0)
    room[backwards] = np.minimum(room[backwards], z[rows[backwards]])
    step = np.minimum(np.maximum(-r[own], 0.0) / np.abs(coefficient), room)
    moved = step > 0.0
    alone = _first_of_each(np.where(rate[moved] != 0.0, columns[moved], -1))
    z = z.copy()
    z[rows[moved][alone]] += (direction * step)[moved][alone]
    return z


def _first_of_each(columns: Indices) -> Mask:
    """(k,) True for rows none of whose columns (-1: none) an earlier row has."""
    kept = np.ones(len(columns), dtype=bool)
    for slot in columns.T:
        first = np.zeros(len(columns), dtype=bool)
        first[np.unique(slot, return_index=True)[1]] = True
        kept &= first | (slot < 0)
    return kept


def _short_rows(program: Program) -> Indices:
    """Equations and inequalities of two to four variables."""
    lengths = np.diff(program.A.indptr)
    linear = program.mask(Cone.ZERO, Cone.NONNEGATIVE)
    return np.flatnonzero(linear & (lengths >= 2) & (lengths <= _LONGEST))


def _padded(program: Program, rows: Indices) -> tuple[Indices, Vector]:
    """(k, 4) columns and coefficients of short rows; coefficients of zero fill them up."""
    if not len(rows):
        return np.zeros((0, _LONGEST), dtype=np.intp), np.zeros((0, _LONGEST))
    lengths = np.diff(program.A.indptr)[rows]
    places = program.A.indptr[rows][:, None] + np.arange(_LONGEST)
    there = np.arange(_LONGEST) < lengths[:, None]
    places = np.where(there, places, 0)
    columns = np.where(there, program.A.indices[places], 0).astype(np.intp)
    return columns, np.where(there, program.A.data[places], 0.0)
