"""The quadratic part of a program: a matrix that is kept the way it came, dense or as factor and diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Quadratic:
    """P (n, n), symmetric positive semidefinite, over the leading n variables of a program.

    Attributes:
        matrix: (n, n) P itself, or None when `factor` makes it.
        factor: (k, n) with ``P = factor'factor + diag(diagonal)``; products then cost k n in place of n^2, and the
            dense matrix is only made when somebody asks for it.
        diagonal: (n,) beside `factor`; None = zero.
    """

    matrix: Matrix | None = None
    factor: Matrix | None = None
    diagonal: Vector | None = None

    @property
    def size(self) -> int:
        """Number of leading variables that it covers."""
        given = self.factor if self.matrix is None else self.matrix
        return 0 if given is None else given.shape[1]

    @property
    def is_zero(self) -> bool:
        """Whether nothing is quadratic."""
        if self.matrix is not None:
            return not self.matrix.any()
        return self.factor is None or not (self.factor.any() or (self.diagonal is not None and self.diagonal.any()))

    @cached_property
    def diagonal_entries(self) -> Vector:
        """(n,) the diagonal of P; no entry of P is larger than the largest of them."""
        if self.matrix is not None:
            return np.array(np.diag(self.matrix))
        if self.factor is None:
            return np.zeros(0)
        squares: Vector = np.einsum("kn,kn->n", self.factor, self.factor)
        return squares if self.diagonal is None else squares + self.diagonal

    @cached_property
    def dense(self) -> Matrix:
        """(n, n) P."""
        if self.matrix is not None:
            return self.matrix
        return np.zeros((0, 0)) if self.factor is None else self.block(np.arange(self.size))

    def times(self, x: Vector) -> Vector:
        """(n,) P x."""
        if self.matrix is not None:
            return np.asarray(self.matrix @ x)
        if self.factor is None:
            return np.zeros(0)
        product = np.asarray(self.factor.T @ (self.factor @ x))
        return product if self.diagonal is None else product + self.diagonal * x

    def block(self, kept: Indices) -> Matrix:
        """P over the variables `kept`."""
        if self.matrix is not None:
            return np.asarray(self.matrix[np.ix_(kept, kept)])
        if self.factor is None:
            return np.zeros((0, 0))
        columns = self.factor[:, kept]
        product = np.asarray(columns.T @ columns)
        if self.diagonal is not None:
            product[np.diag_indices(len(kept))] += self.diagonal[kept]
        return product

    def restricted(self, kept: Indices) -> Quadratic:
        """The form over the variables `kept` alone, in the cheaper of the two ways."""
        if self.size == 0:
            return self
        if self.factor is None or self.factor.shape[0] > len(kept):
            return Quadratic(self.block(kept))
        return Quadratic(None, self.factor[:, kept], None if self.diagonal is None else self.diagonal[kept])

    def scaled(self, by: float) -> Quadratic:
        """`by` times P; `by` >= 0."""
        if by == 1.0:
            return self
        if self.matrix is not None:
            return Quadratic(by * self.matrix)
        if self.factor is None:
            return self
        return Quadratic(None, np.sqrt(by) * self.factor, None if self.diagonal is None else by * self.diagonal)

    def plus(self, other: Quadratic) -> Quadratic:
        """The sum of two forms, of which one may cover more variables."""
        if self.size == 0:
            return other
        if other.size == 0:
            return self
        size = max(self.size, other.size)
        total = np.zeros((size, size))
        total[: self.size, : self.size] += self.dense
        total[: other.size, : other.size] += other.dense
        return Quadratic(total)
