"""The quadratic part of a program, kept the way it came: a dense matrix, factor and diagonal, or blocks of those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kernel.errors import ProblemError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Quadratic:
    """P (n, n), symmetric positive semidefinite, over the leading n variables of a program.

    Attributes:
        matrix: (n, n) P itself, or None when `factor` or `parts` make it.
        factor: (k, n) with ``P = factor'factor + diag(diagonal)``; products then cost k n in place of n^2, and the
            dense matrix is only made when somebody asks for it.
        diagonal: (n,) beside `factor`; None = zero.
        parts: Blocks along the diagonal, one after the other, beside which P is zero; empty = P is one block.
    """

    matrix: Matrix | None = None
    factor: Matrix | None = None
    diagonal: Vector | None = None
    parts: tuple[Quadratic, ...] = ()

    @classmethod
    def along_diagonal(cls, blocks: Mapping[int, Quadratic]) -> Quadratic:
        """The form with blocks at the places where they start; nothing in between.

        Raises:
            ProblemError: Two of them overlap.
        """
        if set(blocks) <= {0}:
            return blocks.get(0, cls())
        parts: list[Quadratic] = []
        end = 0
        for start, block in sorted(blocks.items()):
            if start < end:
                raise ProblemError("quadratic", f"has a block at {start} inside of another that ends at {end}")
            if start > end:
                parts.append(cls(factor=np.zeros((0, start - end))))
            parts.append(block)
            end = start + block.size
        return cls(parts=tuple(parts))

    @classmethod
    def of_square(cls, M: Matrix | sp.csr_array) -> Quadratic:
        """M'M; rows of one entry make a diagonal, and the others a factor where they are fewer than variables."""
        rows = sp.csr_array(M)
        single = np.diff(rows.indptr) <= 1
        others = rows[~single].toarray() if single.any() else rows.toarray()
        if len(others) >= rows.shape[1]:
            dense = rows.toarray()
            return cls(dense.T @ dense)
        if not single.any():
            return cls(factor=others)
        own = rows[single]
        return cls(None, others, np.bincount(own.indices, own.data**2, minlength=rows.shape[1]).astype(float))

    @cached_property
    def size(self) -> int:
        """Number of leading variables that it covers."""
        if self.parts:
            return sum(part.size for part in self.parts)
        given = self.factor if self.matrix is None else self.matrix
        return 0 if given is None else given.shape[1]

    @property
    def is_zero(self) -> bool:
        """Whether nothing is quadratic."""
        if self.parts:
            return all(part.is_zero for part in self.parts)
        if self.matrix is not None:
            return not self.matrix.any()
        return self.factor is None or not (self.factor.any() or (self.diagonal is not None and self.diagonal.any()))

    @cached_property
    def diagonal_entries(self) -> Vector:
        """(n,) the diagonal of P; no entry of P is larger than the largest of them."""
        if self.parts:
            return np.concatenate([part.diagonal_entries for part in self.parts])
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
        return np.zeros((0, 0)) if self.size == 0 else self.block(np.arange(self.size))

    @cached_property
    def sparse(self) -> sp.csr_array:
        """(n, n) P without its zeros, of which blocks along the diagonal leave most."""
        if not self.parts:
            return self._sparse_alone()
        data, columns, rows = [np.zeros(0)], [np.zeros(0, dtype=np.intp)], [np.zeros(1, dtype=np.intp)]
        entries = 0
        for place, part in self._placed():
            block = part.sparse
            data.append(block.data)
            columns.append(np.asarray(block.indices + place.start, dtype=np.intp))
            rows.append(np.asarray(block.indptr[1:] + entries, dtype=np.intp))
            entries += block.nnz
        parts = (np.concatenate(data), np.concatenate(columns), np.concatenate(rows))
        return sp.csr_array(parts, shape=(self.size, self.size))

    def times(self, x: Vector) -> Vector:
        """(n,) P x."""
        if self.parts:
            return np.concatenate([part.times(x[place]) for place, part in self._placed()])
        if self.matrix is not None:
            return np.asarray(self.matrix @ x)
        if self.factor is None:
            return np.zeros(0)
        product = np.asarray(self.factor.T @ (self.factor @ x))
        return product if self.diagonal is None else product + self.diagonal * x

    def block(self, kept: Indices) -> Matrix:
        """P over the variables `kept`."""
        if self.parts:
            return self._block_of_parts(kept)
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
        if self.parts and (np.diff(kept) > 0).all():
            inside = ((part, kept[(kept >= at.start) & (kept < at.stop)] - at.start) for at, part in self._placed())
            return Quadratic(parts=tuple(part.restricted(own) for part, own in inside if len(own)))
        if self.factor is None or self.factor.shape[0] > len(kept):
            return Quadratic(self.block(kept))
        return Quadratic(None, self.factor[:, kept], None if self.diagonal is None else self.diagonal[kept])

    def scaled(self, by: float) -> Quadratic:
        """`by` times P; `by` >= 0."""
        if by == 1.0:
            return self
        if self.parts:
            return Quadratic(parts=tuple(part.scaled(by) for part in self.parts))
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
        stacked = self._stacked(other)
        if stacked is not None:
            return stacked
        size = max(self.size, other.size)
        total = np.zeros((size, size))
        total[: self.size, : self.size] += self.dense
        total[: other.size, : other.size] += other.dense
        return Quadratic(total)

    def _stacked(self, other: Quadratic) -> Quadratic | None:
        """The sum of two factors as one, where it has fewer rows than variables; else None."""
        first, second = self.factor, other.factor
        if first is None or second is None or self.size != other.size or len(first) + len(second) >= self.size:
            return None
        diagonals = [form.diagonal for form in (self, other) if form.diagonal is not None]
        return Quadratic(None, np.vstack([first, second]), np.sum(diagonals, axis=0) if diagonals else None)

    def _sparse_alone(self) -> sp.csr_array:
        if self.matrix is None and self.factor is not None and len(self.factor) == 0:
            return sp.csr_array(sp.diags_array(self.diagonal_entries, format="csr"))
        return sp.csr_array(self.dense)

    def _placed(self) -> Iterator[tuple[slice, Quadratic]]:
        end = 0
        for part in self.parts:
            yield slice(end, end + part.size), part
            end += part.size

    def _block_of_parts(self, kept: Indices) -> Matrix:
        product = np.zeros((len(kept), len(kept)))
        for place, part in self._placed():
            own = np.flatnonzero((kept >= place.start) & (kept < place.stop))
            product[np.ix_(own, own)] = part.block(kept[own] - place.start)
        return product
