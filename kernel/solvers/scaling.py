"""Programs in units near one, so that tolerances mean the same for daily and annual, small and large data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Program, Vector

# Rows whose largest coefficient lies between these are left as they are.
_SMALLEST, _LARGEST = 0.1, 10.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """A program with its objective divided by `size` and its rows multiplied by `rows` (m,); the variables stay."""

    program: Program
    size: float
    rows: Vector | None

    @classmethod
    def of(cls, program: Program) -> Scaled:
        """The largest coefficients of objective, rows and cones brought near one."""
        size = max(float(program.P.diagonal_entries.max(initial=0.0)), float(np.abs(program.q).max(initial=0.0)))
        size = size if size > 0.0 else 1.0
        rows = _factors(program)
        scaled = replace(program, P=program.P.scaled(1.0 / size), q=program.q / size)
        if rows is not None:
            A = program.A
            entries = A.data * np.repeat(rows, np.diff(A.indptr))
            scaled = replace(scaled, A=sp.csr_array((entries, A.indices, A.indptr), shape=A.shape), b=rows * program.b)
        return cls(scaled, size, rows)

    def multipliers(self, z: Vector) -> Vector:
        """(m,) those of the program as it was."""
        return z * self.size if self.rows is None else z * self.rows * self.size


def _factors(program: Program) -> Vector | None:
    """(m,) powers of two, one for all rows of a cone; None when no row needs one."""
    A = program.A
    largest = np.zeros(A.shape[0])
    filled = np.diff(A.indptr) > 0
    if not filled.any():
        return None
    largest[filled] = np.maximum.reduceat(np.abs(A.data), A.indptr[:-1][filled])
    for block in program.blocks:
        if not block.cone.is_linear:
            largest[block.rows] = largest[block.rows].max()
    off = ((largest < _SMALLEST) | (largest > _LARGEST)) & (largest > 0.0)
    if not off.any():
        return None
    return np.asarray(np.where(off, np.exp2(-np.round(np.log2(np.where(off, largest, 1.0)))), 1.0))
