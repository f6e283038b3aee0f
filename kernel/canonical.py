"""The one canonical form of every convex (and semicontinuous) program, and the builder that writes it.

    minimize    1/2 x_v' P x_v + q'x + offset   x_v: the leading P.shape[0] variables
    subject to  Ax + s = b,  s in K = {0}^a x R+^b x Q x ... x Q
                lower <= x <= upper
                x_i = 0  or  x_i >= t_i * scale  for the semicontinuous i

Each row block carries the names of the constraints that wrote it, so that multipliers and conflicts speak the
caller's language. Bounds stay apart from the rows because every solver treats them better than rows.

The builder writes a *ratio* program with the same calls: it then holds one more variable kappa >= 0 and multiplies
every constant by it (Charnes & Cooper 1962; Schaible 1974), so no constraint needs to know of the homogenisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from kernel.errors import ProblemError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Terms = Sequence[tuple[slice, "sp.csr_array | Matrix"]]


class Cone(Enum):
    """Where the slack of a row block lives."""

    ZERO = "zero"
    NONNEGATIVE = "nonnegative"
    SECOND_ORDER = "second_order"  # s_0 >= ||s_1..||


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows ``start:stop`` of A. `names` has one name per row; a second-order block has one for all its rows."""

    names: tuple[str, ...]
    cone: Cone
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The block's rows."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class SemiContinuous:
    """x[index] = 0 or x[index] >= threshold (times kappa in a ratio program)."""

    name: str
    index: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Program:
    """The canonical form. `P` is dense over the leading variables; `kappa` is the homogenising variable's index."""

    P: Matrix
    q: Vector
    A: sp.csr_array
    b: Vector
    lower: Vector
    upper: Vector
    blocks: tuple[RowBlock, ...]
    lower_names: Mapping[int, str]
    upper_names: Mapping[int, str]
    semicontinuous: tuple[SemiContinuous, ...] = ()
    kappa: int | None = None
    offset: float = 0.0

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.q)

    def has_cone(self, cone: Cone) -> bool:
        """Whether any row block lives in `cone`."""
        return any(block.cone is cone for block in self.blocks)

    def mask(self, cone: Cone) -> Mask:
        """(m,) True at the rows of `cone`."""
        mask = np.zeros(len(self.b), dtype=bool)
        for block in self.blocks:
            if block.cone is cone:
                mask[block.rows] = True
        return mask

    def quadratic(self, x: Vector) -> Vector:
        """(N,) the gradient part Px."""
        product = np.zeros(self.size)
        leading = self.P.shape[0]
        product[:leading] = self.P @ x[:leading]
        return product

    def objective(self, x: Vector) -> float:
        """1/2 x'Px + q'x + offset."""
        return float(0.5 * x @ self.quadratic(x) + self.q @ x) + self.offset


def widen(A: sp.csr_array, columns: int) -> sp.csr_array:
    """A with empty columns appended up to `columns`."""
    return sp.csr_array((A.data, A.indices, A.indptr), shape=(A.shape[0], columns))


class ProgramBuilder:
    """Collects variables, objective terms and named rows, then freezes them into a `Program`.

    The first `n` variables are the weights (scaled by kappa in a ratio program).
    """

    def __init__(self, n: int, *, homogeneous: bool = False) -> None:
        self.n = n
        self.kappa = n if homogeneous else None
        self._lower, self._upper, self._q = np.zeros(0), np.zeros(0), np.zeros(0)
        self._P: Matrix = np.zeros((0, 0))
        self._rows: list[tuple[tuple[str, ...], Cone, sp.csr_array, Vector]] = []
        self._lower_names: dict[int, str] = {}
        self._upper_names: dict[int, str] = {}
        self._semicontinuous: list[SemiContinuous] = []
        self._offset = 0.0
        self._changes: dict[bytes, slice] = {}
        self.add_variables(n)
        if homogeneous:
            self.add_variables(1, lower=0.0)

    @property
    def weights(self) -> slice:
        """The variables that are the weights."""
        return slice(0, self.n)

    @property
    def size(self) -> int:
        """Number of variables so far."""
        return len(self._q)

    def add_variables(self, count: int, *, lower: float = -np.inf, upper: float = np.inf) -> slice:
        """Append `count` variables and return their place."""
        place = slice(self.size, self.size + count)
        self._lower = np.append(self._lower, np.full(count, lower))
        self._upper = np.append(self._upper, np.full(count, upper))
        self._q = np.append(self._q, np.zeros(count))
        return place

    def minimize_linear(self, place: slice, coefficients: Vector) -> None:
        """Add ``coefficients' x[place]`` to the objective."""
        self._q[place] += coefficients

    def add_offset(self, constant: float) -> None:
        """Add a constant to the objective, so that values and bounds are the problem's own."""
        self._offset += constant

    def minimize_quadratic(self, P: Matrix) -> None:
        """Add ``1/2 w'Pw`` over the weights to the objective."""
        self._P = P if self._P.shape[0] == 0 else self._P + P

    def add_rows(self, names: Sequence[str], cone: Cone, terms: Terms, b: Vector) -> None:
        """Add rows ``sum_k terms_k x[place_k] + s = b`` with s in `cone`; in a ratio program b becomes b*kappa."""
        b = np.asarray(b, dtype=float)
        if self.kappa is not None:
            terms = [*terms, (slice(self.kappa, self.kappa + 1), sp.csr_array(-b[:, None]))]
            b = np.zeros(len(b))
        self._rows.append((tuple(names), cone, self._stack(terms, len(b)), b))

    def add_normalisation(self, name: str, terms: Terms) -> None:
        """Add the row ``sum_k terms_k x[place_k] = 1`` of a ratio program, whose constant kappa does not scale."""
        self._rows.append(((name,), Cone.ZERO, self._stack(terms, 1), np.ones(1)))

    def add_bounds(self, lower: Vector, upper: Vector, names: tuple[Sequence[str], Sequence[str]]) -> None:
        """Bound the weights. In a ratio program bounds other than zero become rows that carry the bound's name."""
        at_zero = np.ones(self.n, dtype=bool) if self.kappa is None else (upper == 0.0) & (lower == 0.0)
        plain_lower = np.isfinite(lower) & (at_zero | (lower == 0.0))
        plain_upper = np.isfinite(upper) & at_zero
        implied = np.where(lower > 0.0, 0.0, self._lower[: self.n])  # a floor that became a row still means y >= 0
        self._lower[: self.n] = np.where(plain_lower, lower, implied)
        self._upper[: self.n] = np.where(plain_upper, upper, self._upper[: self.n])
        self._lower_names.update({i: names[0][i] for i in np.flatnonzero(plain_lower).tolist()})
        self._upper_names.update({i: names[1][i] for i in np.flatnonzero(plain_upper).tolist()})
        self._add_bound_rows(-1.0, lower, np.isfinite(lower) & ~plain_lower, names[0])
        self._add_bound_rows(1.0, upper, np.isfinite(upper) & ~plain_upper, names[1])

    def add_semicontinuous(self, name: str, index: int, threshold: float) -> None:
        """Weight `index` is zero or at least `threshold`."""
        self._semicontinuous.append(SemiContinuous(name, index, threshold))

    def absolute_change(self, w0: Vector) -> slice:
        """Variables t >= |w - w0|, shared by every term that needs them (turnover, costs)."""
        key = w0.tobytes()
        if key not in self._changes:
            t = self.add_variables(self.n, lower=0.0)
            eye = sp.eye_array(self.n, format="csr")
            definition = ("absolute change",) * self.n
            self.add_rows(definition, Cone.NONNEGATIVE, [(self.weights, eye), (t, -eye)], w0)
            self.add_rows(definition, Cone.NONNEGATIVE, [(self.weights, -eye), (t, -eye)], -w0)
            self._changes[key] = t
        return self._changes[key]

    def build(self) -> Program:
        """The frozen program, row blocks in the order they were added."""
        blocks, start = [], 0
        for names, cone, _, b in self._rows:
            blocks.append(RowBlock(names, cone, start, start + len(b)))
            start += len(b)
        matrices = [widen(A, self.size) for *_, A, _ in self._rows] or [sp.csr_array((0, self.size))]
        return Program(
            P=self._P,
            q=self._q,
            A=sp.csr_array(sp.vstack(matrices, format="csr")),
            b=np.concatenate([np.zeros(0), *(b for *_, b in self._rows)]),
            lower=self._lower,
            upper=self._upper,
            blocks=tuple(blocks),
            lower_names=self._lower_names,
            upper_names=self._upper_names,
            semicontinuous=tuple(self._semicontinuous),
            kappa=self.kappa,
            offset=self._offset,
        )

    def _stack(self, terms: Terms, rows: int) -> sp.csr_array:
        parts = [(place, sp.coo_array(sp.csr_array(matrix))) for place, matrix in terms]
        for place, part in parts:
            if part.shape != (rows, place.stop - place.start):
                raise ProblemError("rows", f"a term of shape {part.shape} does not fit {rows} rows")
        data = np.concatenate([part.data for _, part in parts])
        row = np.concatenate([part.row for _, part in parts])
        column = np.concatenate([part.col + place.start for place, part in parts])
        return sp.csr_array(sp.coo_array((data, (row, column)), shape=(rows, self.size)))

    def _add_bound_rows(self, sign: float, bound: Vector, wanted: Mask, names: Sequence[str]) -> None:
        chosen = np.flatnonzero(wanted).tolist()
        if chosen:
            rows = sign * sp.eye_array(self.n, format="csr")[chosen]
            labels = [names[i] for i in chosen]
            self.add_rows(labels, Cone.NONNEGATIVE, [(self.weights, rows)], sign * bound[chosen])
