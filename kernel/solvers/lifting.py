"""Quadratic parts of low rank, written so that a sparse solver's work grows with the variables and no faster.

    minimize 1/2 x'(F'F + D) x + q'x      is      minimize 1/2 x'Dx + 1/2 y'y + q'x   subject to   Fx - y = 0

with k more variables y and k more rows. What was a dense matrix of n^2 entries is a diagonal beside k long rows, of
which a factorisation costs n k^2 in place of n^3. At the solution the multipliers of the new rows are y, so that x and
the multipliers of the other rows solve the program as it was.

References: Jacobs, Levy & Markowitz (2005), Operations Research 53, on diagonalised models of the covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import scipy.sparse as sp

from kernel.canonical import DEFINITION, Cone, Program, Quadratic, RowBlock, widen
from kernel.solvers.base import RawSolution

# A factor of few rows, and of no more than this share of its variables, is thin; with more rows, or fewer variables,
# the dense matrix is as quick.
_THIN, _MOST_ROWS = 0.25, 150
_FEWEST = 300


def is_lean(P: Quadratic) -> bool:
    """Whether some factor is thin."""
    return any(_is_thin(part) for part in P.parts or (P,))


def split(P: Quadratic) -> tuple[tuple[Quadratic, ...], sp.csr_array] | None:
    """Blocks S along the diagonal and rows F with ``P = S + F'F``, F the thin factors; None where none is thin."""
    if not is_lean(P):
        return None
    parts = P.parts or (P,)
    starts = accumulate((part.size for part in parts), initial=0)
    thin = [(start, part.factor) for start, part in zip(starts, parts, strict=False) if _is_thin(part)]
    rows = [_placed(factor, start, P.size) for start, factor in thin if factor is not None]
    return tuple(_diagonal(part) if _is_thin(part) else part for part in parts), sp.csr_array(sp.vstack(rows))


@dataclass(frozen=True, slots=True)
class Lifted:
    """A program, and the same with the thin factors of its quadratic part as rows.

    Attributes:
        full: The program as it was.
        program: Its variables followed by the y, its rows by those that define them.
    """

    full: Program
    program: Program

    @classmethod
    def of(cls, program: Program) -> Lifted | None:
        """None where no factor is thin."""
        lean = split(program.P)
        return None if lean is None else cls(program, _with_rows(program, *lean))

    def restored(self, raw: RawSolution) -> RawSolution:
        """A claim about the lifted program as one about the program as it was."""
        return replace(raw, x=raw.x[: self.full.size], z=raw.z[: len(self.full.b)])


def _with_rows(program: Program, parts: tuple[Quadratic, ...], F: sp.csr_array) -> Program:
    k, height, size = F.shape[0], len(program.b), program.size
    if size > program.P.size:
        parts = (*parts, _diagonal(Quadratic(factor=np.zeros((0, size - program.P.size)))))
    own = sp.hstack([widen(F, size), -sp.eye_array(k)], format="csr")
    return replace(
        program,
        P=Quadratic(parts=(*parts, Quadratic(None, np.zeros((0, k)), np.ones(k)))),
        q=np.append(program.q, np.zeros(k)),
        A=sp.csr_array(sp.vstack([widen(program.A, size + k), own], format="csr")),
        b=np.append(program.b, np.zeros(k)),
        lower=np.append(program.lower, np.full(k, -np.inf)),
        upper=np.append(program.upper, np.full(k, np.inf)),
        blocks=(*program.blocks, RowBlock((DEFINITION,) * k, Cone.ZERO, height, height + k)),
        hinges=(),
    )


def _is_thin(P: Quadratic) -> bool:
    return P.factor is not None and 0 < len(P.factor) <= min(_THIN * P.size, _MOST_ROWS) and P.size >= _FEWEST


def _diagonal(P: Quadratic) -> Quadratic:
    return Quadratic(None, np.zeros((0, P.size)), np.zeros(P.size) if P.diagonal is None else P.diagonal)


def _placed(factor: np.ndarray, start: int, size: int) -> sp.csr_array:
    rows, columns = factor.shape
    places = np.tile(np.arange(start, start + columns), rows)
    return sp.csr_array((factor.ravel(), places, columns * np.arange(rows + 1)), shape=(rows, size))
