"""The program of a parametric path in the variables that the path moves in: weights cut at their kinks, sizes near one.

    minimize  1/2 y'Py + q'y - lambda c'y    s.t.  A y <= b or = b,  lower <= y <= upper,      x = x0 + T y

The kinked functions of single weights (`kernel.frontier.kinks`) are straight in y, so neither their variables nor their
rows remain. P, c and every row are divided by their size, and c is taken orthogonal to the equations: what they fix
no multiplier can change, and tied returns are then exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kernel.canonical import Cone, Mask, Matrix, Program, Vector
from kernel.frontier.kinks import Kinks
from kernel.quadratic import Indices, Quadratic

_NONE = 1e-13
# Up to here the products of a path's hundreds of corners cost more than forming the matrix once.
_WORTH_FORMING = 4000
_MOST_ROWS = 400


@dataclass(frozen=True, slots=True)
class Reduced:
    """The program in y.

    Attributes:
        P: Over the leading weights, divided by its size.
        owner: (N',) the weight that each y moves.
        uncut: Whether the leading y are the weights themselves.
        deviation: (N',) roots of P's diagonal.
        q: (N',).
        c: (N',).
        A: (m', N').
        b: (m',).
        equal: (m',) True for equations.
        lower: (N',) bounds.
        upper: (N',) bounds.
    """

    P: Quadratic
    owner: Indices
    uncut: bool
    deviation: Vector
    q: Vector
    c: Vector
    A: Matrix
    b: Vector
    equal: Mask
    lower: Vector
    upper: Vector

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.q)

    def times(self, Y: Matrix) -> Matrix:
        """(k, N') P y for the rows of Y (k, N')."""
        leading, product = self.P.size, np.zeros(Y.shape)
        if self.uncut:
            product[:, self.owner < leading] = products(self.P, Y[:, self.owner < leading])
            return product
        inner = np.flatnonzero(self.owner < leading)
        weights = np.array([np.bincount(self.owner[inner], weights=y[inner], minlength=leading) for y in Y])
        product[:, inner] = products(self.P, weights)[:, self.owner[inner]]
        return product

    def block(self, kept: Indices) -> Matrix:
        """P over the variables `kept`."""
        owners = self.owner[kept]
        inner = owners < self.P.size
        if inner.all():
            return self.P.block(owners)
        block = np.zeros((len(kept), len(kept)))
        block[np.ix_(inner, inner)] = self.P.block(owners[inner])
        return block


@dataclass(frozen=True, slots=True)
class Reduction:
    """How the program in x and the one in y belong together.

    Attributes:
        program: In x.
        c: (N,) the direction in which lambda pushes x.
        kinks: What was left out.
        kept: (m',) rows of the program that remain.
        x0: (N,).
        starts: (N',) the place of the weight where y is zero.
        T: (N, N').
        reduced: In y.
        risk_size: By what P was divided.
        return_size: By what c was divided.
        row_sizes: (m',) by what the rows were divided.
        fixed_part: (m',) the combination of equations that was taken off c.
    """

    program: Program
    c: Vector
    kinks: Kinks
    kept: Indices
    x0: Vector
    starts: Vector
    T: sp.csr_array
    reduced: Reduced
    risk_size: float
    return_size: float
    row_sizes: Vector
    fixed_part: Vector

    @classmethod
    def of(cls, program: Program, c: Vector) -> Reduction | None:
        """Cut the weights, drop the kinked variables, scale; None where too many rows remain for a path to pay."""
        kinks = Kinks.of(program, c)
        if len(program.b) - int((kinks.row >= 0).sum()) > _MOST_ROWS:
            return None
        cut = _cut(program, kinks)
        A = program.A
        kept = np.setdiff1d(np.arange(len(program.b)), kinks.row)
        rows = np.asarray((A[kept] @ cut.T).toarray())
        b, equal = program.b[kept] - A[kept] @ cut.x0, program.mask(Cone.ZERO)[kept]
        sizes = np.abs(rows).max(axis=1, initial=0.0)
        sizes[sizes == 0.0] = 1.0
        rows, b = rows / sizes[:, None], b / sizes
        risk_size = float(program.P.diagonal_entries.max(initial=0.0)) or 1.0
        pushed, fixed_part = _without_equations(cut.T.T @ c, rows, equal)
        return_size = float(np.abs(pushed).max(initial=0.0)) or 1.0
        q = cut.T.T @ (program.q + program.quadratic(cut.x0))
        P = program.P.scaled(1.0 / risk_size)
        if P.factor is not None and P.size <= _WORTH_FORMING:
            P = Quadratic(P.dense)
        padded = np.append(np.sqrt(P.diagonal_entries), np.zeros(program.size - P.size))
        reduced = Reduced(
            P=P,
            owner=cut.owner,
            uncut=np.array_equal(cut.owner[cut.owner < P.size], np.arange(P.size)),
            deviation=padded[cut.owner],
            q=q / risk_size,
            c=pushed / return_size,
            A=rows,
            b=b,
            equal=equal,
            lower=cut.lower,
            upper=cut.upper,
        )
        return cls(
            program,
            c,
            kinks,
            kept,
            cut.x0,
            cut.starts,
            cut.T,
            reduced,
            risk_size,
            return_size,
            sizes,
            fixed_part / return_size,
        )

    @property
    def lambda_size(self) -> float:
        """A lambda of the program in x per lambda of the one in y."""
        return self.risk_size / self.return_size

    def shrink(self, x: Vector, z: Vector, lam: float) -> tuple[Vector, Vector]:
        """(y, z') of the program in y at its lambda for (x, z) of the one in x."""
        moved = x[self.reduced.owner] - self.starts
        y = np.clip(moved, self.reduced.lower, self.reduced.upper)
        shrunk = z[self.kept] * self.row_sizes / self.risk_size
        return y, shrunk - lam * self.fixed_part

    def expand(self, lam: Vector, Y: Matrix, Z: Matrix) -> tuple[Vector, Matrix, Matrix]:
        """Multipliers lambda (k,), X (k, N) and all multipliers (k, m) in x's terms for a path in y."""
        multipliers = lam * self.lambda_size
        X = self.x0 + Y @ self.T.T
        self.kinks.tighten(X)
        full = np.zeros((len(lam), len(self.program.b)))
        full[:, self.kept] = (Z + lam[:, None] * self.fixed_part) * (self.risk_size / self.row_sizes)
        leading = self.program.P.size
        r = self.program.q - multipliers[:, None] * self.c + full @ self.program.A
        r[:, :leading] += products(self.program.P, X[:, :leading])
        self.kinks.price(X, r, full)
        return multipliers, X, full


def products(P: Quadratic, X: Matrix) -> Matrix:
    """(k, n) P x for the rows of X (k, n); of a dense P only the rows of variables that are not zero are read."""
    if P.parts:
        return np.array([P.times(x) for x in X]).reshape(X.shape)
    if P.matrix is not None:
        used = np.flatnonzero(X.any(axis=0))
        return np.asarray(X[:, used] @ P.matrix[used])
    if P.factor is None:
        return np.zeros(X.shape)
    product = np.asarray((X @ P.factor.T) @ P.factor)
    return product if P.diagonal is None else product + P.diagonal * X


@dataclass(frozen=True, slots=True)
class _Cut:
    x0: Vector
    starts: Vector
    T: sp.csr_array
    owner: Indices
    lower: Vector
    upper: Vector


def _cut(program: Program, kinks: Kinks) -> _Cut:
    """Segments of every variable that stays, between its bounds and kinks; kinked variables along them."""
    cuts = kinks.cuts(program.lower, program.upper)
    dropped = set(kinks.variable.tolist())
    x0, segments = np.zeros(program.size), []
    for i in range(program.size):
        if i in dropped:
            continue
        low, high, inner = float(program.lower[i]), float(program.upper[i]), cuts.get(i, [])
        x0[i] = inner[0] if inner else 0.0
        edges = [low, *inner, high]
        segments += [(i, edges[k], edges[k + 1], k) for k in range(len(edges) - 1)]
    owner = np.array([i for i, *_ in segments], dtype=np.intp)
    starts = np.array([x0[i] if k == 0 else low for i, low, _, k in segments])
    lower, upper = (
        np.array(ends) - starts for ends in zip(*((low, high) for _, low, high, _ in segments), strict=True)
    )
    column, row, slope = list(range(len(segments))), owner.tolist(), [1.0] * len(segments)
    if dropped:
        for kink_row, kink_slope, j in _slopes(kinks, segments, x0):
            row.append(kink_row)
            slope.append(kink_slope)
            column.append(j)
    T = sp.csr_array(sp.coo_array((slope, (row, column)), shape=(program.size, len(segments))))
    return _Cut(x0, starts, T, owner, lower, upper)


def _slopes(kinks: Kinks, segments: list[tuple[int, float, float, int]], x0: Vector) -> list[tuple[int, float, int]]:
    """Entries (t, slope, j) of T; the kinked variables' own x0 is set so that they are right at their owner's."""
    entries: list[tuple[int, float, int]] = []
    for place in range(1 + max(k for *_, k in segments)):
        members = {i: (j, low, high) for j, (i, low, high, k) in enumerate(segments) if k == place}
        for t, i, slope, intercept in kinks.highest({i: _inside(*ends) for i, (_, *ends) in members.items()}):
            entries.append((t, slope, members[i][0]))
            if place == 0:
                x0[t] = slope * x0[i] + intercept
    return entries


def _inside(low: float, high: float) -> float:
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high)
    if np.isfinite(low):
        return low + 1.0
    return high - 1.0 if np.isfinite(high) else 0.0


def _without_equations(c: Vector, rows: Matrix, equal: Mask) -> tuple[Vector, Vector]:
    """What is left of c without its combination of the equations, and that (m',)."""
    combination = np.zeros(len(rows))
    if not equal.any():
        return c, combination
    size = float(np.abs(c).max(initial=0.0)) or 1.0
    combination[equal] = np.linalg.lstsq(rows[equal].T, c)[0]
    left = c - rows.T @ combination
    left[np.abs(left) <= _NONE * size] = 0.0
    return left, combination
