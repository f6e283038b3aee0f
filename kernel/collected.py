"""What a program has so far: variables, objective terms and rows, before it is frozen."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

from kernel.canonical import (
    Cone,
    Hinge,
    Integral,
    Matrix,
    Program,
    Quadratic,
    RowBlock,
    SemiContinuous,
    Vector,
)
from kernel.errors import ProblemError
from kernel.quadratic import Indices

Terms = Sequence[tuple[slice, "sp.csr_array | Matrix"]]
Form = Sequence[tuple[slice, Vector]]
"""A linear form: coefficients over places of the variables."""


class Collected:
    """The parts of a program, which builders over its weights share.

    Attributes:
        q: (size,) linear objective so far; bounds `lower` and `upper` likewise.
        shared: Variables that several terms use, by what they mean.
        hinges: Places of row blocks, and the variables that belong to them.
    """

    def __init__(self) -> None:
        self.lower, self.upper, self.q = np.zeros(0), np.zeros(0), np.zeros(0)
        self.offset = 0.0
        self.lower_names: dict[int, str] = {}
        self.upper_names: dict[int, str] = {}
        self.semicontinuous: list[SemiContinuous] = []
        self.integral: list[Integral] = []
        self.hinges: list[tuple[int, slice]] = []
        self.shared: dict[tuple[Hashable, ...], slice] = {}
        self._quadratics: dict[int, Quadratic] = {}
        self._rows: list[tuple[tuple[str, ...], Cone, Vector]] = []
        self._entries: list[tuple[Vector, Indices, Indices]] = []
        self._height = 0

    @property
    def size(self) -> int:
        """Number of variables so far."""
        return len(self.q)

    @property
    def count(self) -> int:
        """Number of row blocks so far."""
        return len(self._rows)

    def add_variables(self, count: int, lower: float, upper: float) -> slice:
        """Append `count` variables and return their place."""
        place = slice(self.size, self.size + count)
        self.lower = np.append(self.lower, np.full(count, lower))
        self.upper = np.append(self.upper, np.full(count, upper))
        self.q = np.append(self.q, np.zeros(count))
        return place

    def add_quadratic(self, start: int, P: Quadratic) -> None:
        """Add ``1/2 x'Px`` over the variables from `start` on to the objective."""
        self._quadratics[start] = self._quadratics.get(start, Quadratic()).plus(P)

    def add_rows(self, names: tuple[str, ...], cone: Cone, terms: Terms, b: Vector) -> None:
        """Append the rows ``sum_k terms_k x[place_k] + s = b``."""
        for place, matrix in terms:
            if matrix.shape != (len(b), place.stop - place.start):
                raise ProblemError("rows", f"a term of shape {matrix.shape} does not fit {len(b)} rows")
            data, rows, columns = _entries(matrix)
            self._entries.append((data, rows + self._height, columns + place.start))
        self._rows.append((names, cone, b))
        self._height += len(b)

    def program(self, kappa: int | None) -> Program:
        """The frozen program, row blocks in the order they were added."""
        blocks, start = [], 0
        for names, cone, b in self._rows:
            blocks.append(RowBlock(names, cone, start, start + len(b)))
            start += len(b)
        hinges = tuple(Hinge(blocks[k].rows, variables) for k, variables in self.hinges)
        nothing = (np.zeros(0), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))
        data, rows, columns = (np.concatenate(parts) for parts in zip(nothing, *self._entries, strict=True))
        return Program(
            P=Quadratic.along_diagonal(self._quadratics),
            q=self.q,
            A=sp.csr_array(sp.coo_array((data, (rows, columns)), shape=(start, self.size))),
            b=np.concatenate([np.zeros(0), *(b for *_, b in self._rows)]),
            lower=self.lower,
            upper=self.upper,
            blocks=tuple(blocks),
            lower_names=self.lower_names,
            upper_names=self.upper_names,
            semicontinuous=tuple(self.semicontinuous),
            integral=tuple(self.integral),
            hinges=hinges,
            kappa=kappa,
            offset=self.offset,
        )


def _entries(matrix: sp.csr_array | Matrix) -> tuple[Vector, Indices, Indices]:
    """Values, rows and columns of what is not zero; SciPy's own way costs more than a small program's solution."""
    if isinstance(matrix, np.ndarray):
        rows, columns = np.nonzero(matrix)
        return np.asarray(matrix[rows, columns], dtype=float), rows, columns
    entries = sp.coo_array(matrix)
    return entries.data, entries.row.astype(np.intp), entries.col.astype(np.intp)
