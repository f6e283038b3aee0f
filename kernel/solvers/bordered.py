"""Linear systems of Newton's steps: a curvature H bordered by rows, most of which few variables share.

    [ H   C' ] [ u ]   [ r ]
    [ C   E  ] [ v ] = [ t ]        E diagonal

Small systems are solved densely. Where H is diagonal for most variables and the border is short, they are eliminated
first, ``u = H^-1 (r - C'v)``, and what is left is one small dense system; all others are factorised as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.csgraph
from scipy.sparse.linalg import SuperLU, splu

from kernel.canonical import Mask, Matrix, Vector

# Up to this size a dense factorisation is quicker, and never fails on structure.
_LARGEST_DENSE = 400
# The small system of an elimination: its size, and the products that it takes.
_LARGEST_LEFT = 1_000
_MOST_PRODUCTS = 2e9
# Of the largest: a variable of less curvature is not eliminated first.
_SMALLEST_PIVOT = 1e-9
# Of the largest entry of its column: a smaller one on the diagonal is no pivot.
_SMALLEST_DIAGONAL = 0.01
# Before refinement a solution misses the right side by no more than this share of it.
_INEXACT = 1e-3
# Rows of more entries than this are long; of those there are few where they are this share of the variables.
_LONG = 8
_FEW = 0.25
# What steps next to a known point add to the diagonal, in the units of the program, and how many there are.
_PROXIMAL, _PROXIMAL_STEPS = 1e-9, 6


def few_long_rows(M: sp.csr_array) -> Mask:
    """(k,) True for the rows that would fill up M'M, where they are few beside a large M'M; else none."""
    long = np.diff(M.indptr) > _LONG
    few = M.shape[1] > _LARGEST_DENSE and int(long.sum()) <= _FEW * M.shape[1]
    return np.asarray(long if few else np.zeros_like(long))


@dataclass(frozen=True)
class Bordered:
    """The system's left side.

    Attributes:
        H: (n, n) symmetric.
        border: (m, n) C.
        corner: (m,) the diagonal of E.
    """

    H: sp.csr_array
    border: sp.csr_array
    corner: Vector

    @cached_property
    def whole(self) -> sp.csc_array:
        """(n + m, n + m) the matrix."""
        left = sp.vstack([self.H, self.border], format="csr")
        right = sp.vstack([self.border.T, sp.diags_array(self.corner)], format="csr")
        return sp.csc_array(sp.hstack([left, right], format="csc"))

    def solved(self, right: Vector) -> Vector | None:
        """The solution, with one step of refinement; None where the matrix is singular."""
        if not all(np.isfinite(part).all() for part in (self.H.data, self.border.data)):
            return None
        if len(right) <= _LARGEST_DENSE:
            return _solved_densely(self.whole.toarray(), right)
        eliminated = self._eliminated()
        if eliminated is not None:
            return self._solved_in_two(eliminated, right)
        K = self.whole
        # SuperLU may crash on a matrix whose structure alone makes it singular.
        K.eliminate_zeros()
        if scipy.sparse.csgraph.structural_rank(K) < K.shape[0]:
            return None
        for from_diagonal in (True, False) if self._has_long_rows else (False,):
            factor = _factorised(K, from_diagonal=from_diagonal)
            inexact = _INEXACT if from_diagonal else np.inf
            solved = None if factor is None else _refined(factor.solve, self._times, right, inexact)
            if solved is not None:
                return solved
        return None

    def solved_nearby(self, right: Vector, known: Vector) -> Vector | None:
        """The solution next to `known` where limits that are tied leave many, by the proximal method.

        Each step adds a little to the diagonal, above zero for the variables and below for multipliers, so that what
        the equations leave open stays where it is. None where the steps do not end at a solution.
        """
        K, n = self.whole, self.H.shape[0]
        if not np.isfinite(K.data).all():
            return None
        diagonal = np.append(np.full(n, _PROXIMAL), np.where(self.corner > 0.0, 0.0, -_PROXIMAL))
        factor = _factorised(sp.csc_array(K + sp.diags_array(diagonal)), from_diagonal=self._has_long_rows)
        if factor is None:
            return None
        solved = known
        for _ in range(_PROXIMAL_STEPS):
            solved = solved + factor.solve(right - K @ solved)
        return solved if np.isfinite(solved).all() else None

    @property
    def _has_long_rows(self) -> bool:
        """Whether squares of long rows were put into the border: only they have a negative corner."""
        return bool((self.corner < 0.0).any())

    def _eliminated(self) -> Mask | None:
        """(n,) True for variables with a curvature of their own; None where what is left beside them is large."""
        d = self.H.diagonal()
        alone = np.bincount(self.H.indices[self.H.data != 0.0], minlength=len(d)) <= 1
        own = alone & (d > _SMALLEST_PIVOT * d.max(initial=0.0))
        left = len(d) - int(own.sum()) + len(self.corner)
        return own if left <= _LARGEST_LEFT and float(left) ** 2 * own.sum() <= _MOST_PRODUCTS else None

    def _solved_in_two(self, own: Mask, right: Vector) -> Vector | None:
        n, kept = len(own), np.flatnonzero(~own)
        d, C = self.H.diagonal()[own], self.border[:, own].toarray()
        S = np.zeros((len(kept) + len(self.corner),) * 2)
        S[: len(kept), : len(kept)] = self.H[kept][:, kept].toarray()
        S[len(kept) :, : len(kept)] = R = self.border[:, kept].toarray()
        S[: len(kept), len(kept) :] = R.T
        S[len(kept) :, len(kept) :] = np.diag(self.corner) - (C / d) @ C.T
        factor, pivots, failed = scipy.linalg.lapack.dgetrf(S)
        if failed:
            return None

        def solve(given: Vector) -> Vector:
            u, rest = given[:n], given[n:] - C @ (given[:n][own] / d)
            small, _ = scipy.linalg.lapack.dgetrs(factor, pivots, np.append(u[kept], rest))
            found = np.zeros(n)
            found[kept], v = small[: len(kept)], small[len(kept) :]
            found[own] = (u[own] - C.T @ v) / d
            return np.append(found, v)

        return _refined(solve, self._times, right, _INEXACT)

    def _times(self, x: Vector) -> Vector:
        u, v = x[: self.H.shape[0]], x[self.H.shape[0] :]
        return np.append(self.H @ u + self.border.T @ v, self.border @ u + self.corner * v)


def _factorised(K: sp.csc_array, *, from_diagonal: bool) -> SuperLU | None:
    """None where K is singular.

    With pivots `from_diagonal`, wherever these are not too small, long rows do not fill up the others.
    """
    threshold = _SMALLEST_DIAGONAL if from_diagonal else None
    try:
        return splu(K, diag_pivot_thresh=threshold, options={"SymmetricMode": True} if from_diagonal else None)
    except RuntimeError:
        return None


def _refined(
    solve: Callable[[Vector], Vector], times: Callable[[Vector], Vector], right: Vector, inexact: float
) -> Vector | None:
    """The solution with one step of refinement; None where at first it misses more than `inexact` of the right side."""
    solved = solve(right)
    missed = right - times(solved)
    if float(np.abs(missed).max()) > inexact * float(np.abs(right).max()):
        return None
    refined = np.asarray(solved + solve(missed))
    return refined if np.isfinite(refined).all() else None


def _solved_densely(full: Matrix, right: Vector) -> Vector | None:
    factor, pivots, failed = scipy.linalg.lapack.dgetrf(full)
    if failed:
        return None
    solved, _ = scipy.linalg.lapack.dgetrs(factor, pivots, right)
    correction, _ = scipy.linalg.lapack.dgetrs(factor, pivots, right - full @ solved)
    refined = np.asarray(solved + correction)
    return refined if np.isfinite(refined).all() else None
