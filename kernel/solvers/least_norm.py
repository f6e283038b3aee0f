"""Programs that minimise one norm, as the quadratic programs that they are.

    minimize c t,  t >= ||m - Mx||      has the solutions of      minimize 1/2 ||m - Mx||^2

over the same linear rows. Quadratic programs are solved exactly, second-order cones only to a tolerance. With the
residual s = m - Mx and the quadratic program's multipliers y, those of the norm's are ``c y / ||s||`` for the linear
rows and ``c (1, -s / ||s||)`` for the cone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Program, Quadratic, RowBlock, Vector
from kernel.quadratic import Indices

# A residual this much smaller than m or x is zero: then every multiplier is.
_ROUNDING = 1e-14


@dataclass(frozen=True, slots=True)
class LeastNorm:
    """A program of that form and its quadratic program.

    Attributes:
        columns: The full program's variables in the order of the quadratic program's, t left out.
        cone: The rows of the norm.
        t: The variable of the norm, of which the cone's head holds `-scale`.
    """

    full: Program
    program: Program
    columns: Indices
    cone: slice
    t: int
    scale: float

    @classmethod
    def of(cls, program: Program) -> LeastNorm | None:
        """None when `program` is not of that form."""
        norms = [block for block in program.blocks if not block.cone.is_linear]
        if len(norms) != 1 or norms[0].cone is not Cone.SECOND_ORDER or not program.P.is_zero:
            return None
        head = norms[0].start
        entries = slice(program.A.indptr[head], program.A.indptr[head + 1])
        costly = np.flatnonzero(program.q)
        if len(costly) != 1 or program.A.indices[entries].tolist() != costly.tolist() or program.b[head] != 0.0:
            return None
        t, coefficient = int(costly[0]), float(program.A.data[entries][0])
        free = program.lower[t] <= 0.0 and program.upper[t] == np.inf
        if program.q[t] < 0.0 or coefficient >= 0.0 or np.count_nonzero(program.A.indices == t) != 1 or not free:
            return None
        return _quadratic(program, norms[0].rows, t, -coefficient)

    def expand(self, x: Vector, z: Vector) -> tuple[Vector, Vector]:
        """A solution of the quadratic program in the terms of the full one."""
        full_x, full_z = np.zeros(self.full.size), np.zeros(len(self.full.b))
        full_x[self.columns] = x
        tail = slice(self.cone.start + 1, self.cone.stop)
        image = self.full.A[tail] @ full_x
        s = self.full.b[tail] - image
        norm = float(np.linalg.norm(s))
        full_x[self.t] = norm / self.scale
        cost = self.full.q[self.t] / self.scale
        full_z[self.cone.start] = cost
        if norm > _ROUNDING * max(float(np.linalg.norm(image)), 1.0):
            outer = np.delete(np.arange(len(full_z)), self.cone)
            full_z[outer] = cost / norm * z
            full_z[tail] = -cost / norm * s
        return full_x, full_z


def _quadratic(full: Program, cone: slice, t: int, scale: float) -> LeastNorm:
    tail = slice(cone.start + 1, cone.stop)
    M, m = sp.csr_array(full.A[tail]), full.b[tail]
    touched = np.unique(M.indices)
    untouched = np.setdiff1d(np.arange(full.size), np.append(touched, t))
    columns = np.concatenate([touched, untouched])
    outer = np.ones(len(full.b), dtype=bool)
    outer[cone] = False
    q = np.zeros(len(columns))
    q[: len(touched)] = -(M.T @ m)[touched]
    program = replace(
        full,
        P=Quadratic.of_square(sp.csr_array(M[:, touched])),
        q=q,
        A=sp.csr_array(full.A[outer][:, columns]),
        b=full.b[outer],
        lower=full.lower[columns],
        upper=full.upper[columns],
        blocks=_shifted(full.blocks, cone),
        lower_names={},
        upper_names={},
        hinges=(),
        kappa=None,
        offset=0.5 * float(m @ m),
    )
    return LeastNorm(full, program, columns, cone, t, scale)


def _shifted(blocks: tuple[RowBlock, ...], cone: slice) -> tuple[RowBlock, ...]:
    length = cone.stop - cone.start
    kept = [block for block in blocks if block.start != cone.start]
    return tuple(
        replace(block, start=block.start - length, stop=block.stop - length) if block.start > cone.start else block
        for block in kept
    )
