"""Writes programs in the canonical form: variables, objective terms and named rows, collected one by one.

The builder writes a *ratio* program with the same calls: it then holds one more variable kappa >= 0 and multiplies
every constant by it (Charnes & Cooper 1962; Schaible 1974), so no constraint needs to know of the homogenisation. What
stands in such a program is the perspective kappa f(y / kappa) of every convex f.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from kernel.canonical import (
    DEFINITION,
    Cone,
    Hinge,
    Integral,
    Mask,
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


class ProgramBuilder:
    """Collects variables, objective terms and named rows, then freezes them into a `Program`.

    The first `n` variables are the weights (scaled by kappa in a ratio program).
    """

    def __init__(self, n: int, *, homogeneous: bool = False) -> None:
        self.n = n
        self.kappa = n if homogeneous else None
        self._lower, self._upper, self._q = np.zeros(0), np.zeros(0), np.zeros(0)
        self._P = Quadratic()
        self._rows: list[tuple[tuple[str, ...], Cone, Vector]] = []
        self._entries: list[tuple[Vector, Indices, Indices]] = []
        self._height = 0
        self._lower_names: dict[int, str] = {}
        self._upper_names: dict[int, str] = {}
        self._semicontinuous: list[SemiContinuous] = []
        self._integral: list[Integral] = []
        self._hinges: list[tuple[int, slice]] = []
        self._offset = 0.0
        self._changes: dict[bytes, slice] = {}
        self._trades: dict[bytes, tuple[slice, slice]] = {}
        self._shorts: slice | None = None
        self._box = (np.full(n, -np.inf), np.full(n, np.inf))
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

    def minimize_form(self, form: Form, weight: float = 1.0) -> None:
        """Add ``weight`` times a linear form to the objective."""
        for place, coefficients in form:
            self.minimize_linear(place, weight * coefficients)

    def add_offset(self, constant: float) -> None:
        """Add a constant to the objective, so that values and bounds are the problem's own."""
        if self.kappa is None:
            self._offset += constant
        else:
            self._q[self.kappa] += constant

    def minimize_quadratic(self, P: Quadratic) -> None:
        """Add ``1/2 w'Pw`` over the weights to the objective."""
        self._P = self._P.plus(P)

    def minimize_square(self, root: Matrix, shift: Vector, weight: float) -> None:
        """Add ``weight/2 ||root w - shift||^2`` to the objective, and of a ratio program its square perspective."""
        if self.kappa is not None:
            root = np.column_stack([root, -shift])
        self.minimize_quadratic(Quadratic(factor=np.sqrt(weight) * root))
        if self.kappa is None:
            self.minimize_linear(self.weights, -weight * (root.T @ shift))
            self.add_offset(0.5 * weight * float(shift @ shift))

    def add_rows(self, names: Sequence[str], cone: Cone, terms: Terms, b: Vector) -> None:
        """Add rows ``sum_k terms_k x[place_k] + s = b`` with s in `cone`; in a ratio program b becomes b*kappa."""
        b = np.asarray(b, dtype=float)
        if self.kappa is not None:
            terms = [*terms, (slice(self.kappa, self.kappa + 1), sp.csr_array(-b[:, None]))]
            b = np.zeros(len(b))
        self._append(tuple(names), cone, terms, b)

    def add_normalisation(self, name: str, terms: Terms) -> None:
        """Add the row ``sum_k terms_k x[place_k] = 1`` of a ratio program, whose constant kappa does not scale."""
        self._append((name,), Cone.ZERO, terms, np.ones(1))

    def add_bounds(self, lower: Vector, upper: Vector, names: tuple[Sequence[str], Sequence[str]]) -> None:
        """Bound the weights; of several bounds on one the tightest stands, under its own name.

        In a ratio program bounds other than zero become rows that carry the bound's name.
        """
        self._box = (np.maximum(self._box[0], lower), np.minimum(self._box[1], upper))
        at_zero = np.ones(self.n, dtype=bool) if self.kappa is None else (upper == 0.0) & (lower == 0.0)
        plain_lower = np.isfinite(lower) & (at_zero | (lower == 0.0))
        plain_upper = np.isfinite(upper) & at_zero
        implied = np.where(plain_lower, lower, np.where(lower > 0.0, 0.0, -np.inf))  # a floor's row means y >= 0 too
        lower_is_tighter = plain_lower & (lower > self._lower[: self.n])
        upper_is_tighter = plain_upper & (upper < self._upper[: self.n])
        self._lower[: self.n] = np.maximum(self._lower[: self.n], implied)
        self._upper[: self.n] = np.where(upper_is_tighter, upper, self._upper[: self.n])
        self._lower_names.update({i: names[0][i] for i in np.flatnonzero(lower_is_tighter).tolist()})
        self._upper_names.update({i: names[1][i] for i in np.flatnonzero(upper_is_tighter).tolist()})
        self._add_bound_rows(-1.0, lower, np.isfinite(lower) & ~plain_lower, names[0])
        self._add_bound_rows(1.0, upper, np.isfinite(upper) & ~plain_upper, names[1])

    def add_limit(self, name: str, form: Form, limit: float) -> None:
        """Add the row ``form <= limit``."""
        terms = [(place, coefficients[None, :]) for place, coefficients in form]
        self.add_rows((name,), Cone.NONNEGATIVE, terms, np.array([limit]))

    def add_hinges(self, terms: Terms, b: Vector) -> slice:
        """Variables ``u >= (sum_k terms_k x[place_k] - b)+``; they may enter only where smaller ones are better."""
        rows = len(b)
        u = self.add_variables(rows, lower=0.0)
        self._hinges.append((len(self._rows), u))
        own = (u, sp.csr_array(-sp.eye_array(rows, format="csr")))
        self.add_rows((DEFINITION,) * rows, Cone.NONNEGATIVE, [*terms, own], b)
        return u

    def add_norm(self, terms: Terms, b: Vector) -> slice:
        """A variable ``t >= ||b - sum_k terms_k x[place_k]||``."""
        t = self.add_variables(1, lower=0.0)
        head = np.zeros((len(b) + 1, 1))
        head[0] = -1.0
        tails = [(place, _below_an_empty_row(matrix)) for place, matrix in terms]
        self.add_rows((DEFINITION,), Cone.SECOND_ORDER, [(t, head), *tails], np.append(0.0, b))
        return t

    def add_squares(self, base: slice, scale: float | slice) -> slice:
        """Variables ``e_i >= x_i^2 / s_i`` for x = x[base], with s the constant `scale` or the variables there.

        The rotated cone ``x^2 <= e s`` is ``||(2x, e - s)|| <= e + s``; with a constant s a ratio program holds the
        perspective ``x^2 <= e s kappa``.
        """
        count = base.stop - base.start
        e = self.add_variables(count, lower=0.0)
        for k in range(count):
            signs, b = np.array([[-1.0], [0.0], [-1.0]]), np.zeros(3)
            twice = np.array([[0.0], [-2.0], [0.0]])
            terms: list[tuple[slice, sp.csr_array | Matrix]] = [
                (slice(e.start + k, e.start + k + 1), signs),
                (slice(base.start + k, base.start + k + 1), twice),
            ]
            if isinstance(scale, slice):
                other = np.array([[-1.0], [0.0], [1.0]])
                terms.append((slice(scale.start + k, scale.start + k + 1), other))
            else:
                b = np.array([scale, 0.0, -scale])
            self.add_rows((DEFINITION,), Cone.SECOND_ORDER, terms, b)
        return e

    def add_semicontinuous(self, name: str, index: int, threshold: float) -> None:
        """Weight `index` is zero or at least `threshold`."""
        self._semicontinuous.append(SemiContinuous(name, index, threshold))

    def add_integral(self, name: str, index: int, step: float) -> None:
        """Variable `index` is a whole multiple of `step`."""
        self._integral.append(Integral(name, index, step))

    def add_switches(self, name: str, count: int) -> slice:
        """Variables that are 0 or 1 (0 or kappa in a ratio program)."""
        place = self.add_variables(count, lower=0.0, upper=1.0 if self.kappa is None else np.inf)
        if self.kappa is not None:
            eye = sp.eye_array(count, format="csr")
            self.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, [(place, sp.csr_array(eye))], np.ones(count))
        for index in range(place.start, place.stop):
            self.add_integral(name, index, 1.0)
        return place

    def absolute_change(self, w0: Vector) -> slice:
        """Variables t >= |w - w0|, shared by every term that needs them (turnover, costs)."""
        key = w0.tobytes()
        if key not in self._changes:
            t = self.add_variables(self.n, lower=0.0)
            eye = sp.eye_array(self.n, format="csr")
            definition = (DEFINITION,) * self.n
            self.add_rows(definition, Cone.NONNEGATIVE, [(self.weights, eye), (t, -eye)], w0)
            self.add_rows(definition, Cone.NONNEGATIVE, [(self.weights, -eye), (t, -eye)], -w0)
            self._changes[key] = t
        return self._changes[key]

    def trades(self, w0: Vector) -> tuple[slice, slice]:
        """Variables p, s >= 0 with ``w - w0 = p - s``, what is bought and what is sold."""
        key = w0.tobytes()
        if key not in self._trades:
            p, s = self.add_variables(self.n, lower=0.0), self.add_variables(self.n, lower=0.0)
            eye = sp.eye_array(self.n, format="csr")
            self.add_rows((DEFINITION,) * self.n, Cone.ZERO, [(self.weights, eye), (p, -eye), (s, eye)], w0)
            self._trades[key] = (p, s)
        return self._trades[key]

    def short_parts(self) -> slice:
        """Variables u >= (-w)+, shared by every limit on leverage."""
        if self._shorts is None:
            self._shorts = self.add_hinges([(self.weights, -sp.eye_array(self.n, format="csr"))], np.zeros(self.n))
        return self._shorts

    @property
    def box(self) -> tuple[Vector, Vector]:
        """(n,) the bounds of the weights so far, lower and upper; of a ratio program's they are fractions of kappa."""
        return self._box

    def build(self) -> Program:
        """The frozen program, row blocks in the order they were added."""
        blocks, start = [], 0
        for names, cone, b in self._rows:
            blocks.append(RowBlock(names, cone, start, start + len(b)))
            start += len(b)
        hinges = tuple(Hinge(blocks[k].rows, variables) for k, variables in self._hinges)
        nothing = (np.zeros(0), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))
        data, rows, columns = (np.concatenate(parts) for parts in zip(nothing, *self._entries, strict=True))
        return Program(
            P=self._P,
            q=self._q,
            A=sp.csr_array(sp.coo_array((data, (rows, columns)), shape=(start, self.size))),
            b=np.concatenate([np.zeros(0), *(b for *_, b in self._rows)]),
            lower=self._lower,
            upper=self._upper,
            blocks=tuple(blocks),
            lower_names=self._lower_names,
            upper_names=self._upper_names,
            semicontinuous=tuple(self._semicontinuous),
            integral=tuple(self._integral),
            hinges=hinges,
            kappa=self.kappa,
            offset=self._offset,
        )

    def _append(self, names: tuple[str, ...], cone: Cone, terms: Terms, b: Vector) -> None:
        for place, matrix in terms:
            if matrix.shape != (len(b), place.stop - place.start):
                raise ProblemError("rows", f"a term of shape {matrix.shape} does not fit {len(b)} rows")
            data, rows, columns = _entries(matrix)
            self._entries.append((data, rows + self._height, columns + place.start))
        self._rows.append((names, cone, b))
        self._height += len(b)

    def _add_bound_rows(self, sign: float, bound: Vector, wanted: Mask, names: Sequence[str]) -> None:
        chosen = np.flatnonzero(wanted).tolist()
        if chosen:
            rows = sign * sp.eye_array(self.n, format="csr")[chosen]
            labels = [names[i] for i in chosen]
            self.add_rows(labels, Cone.NONNEGATIVE, [(self.weights, rows)], sign * bound[chosen])


def _entries(matrix: sp.csr_array | Matrix) -> tuple[Vector, Indices, Indices]:
    """Values, rows and columns of what is not zero; SciPy's own way costs more than a small program's solution."""
    if isinstance(matrix, np.ndarray):
        rows, columns = np.nonzero(matrix)
        return np.asarray(matrix[rows, columns], dtype=float), rows, columns
    entries = sp.coo_array(matrix)
    return entries.data, entries.row.astype(np.intp), entries.col.astype(np.intp)


def _below_an_empty_row(matrix: sp.csr_array | Matrix) -> sp.csr_array:
    rows = sp.coo_array(sp.csr_array(matrix))
    shape = (rows.shape[0] + 1, rows.shape[1])
    return sp.csr_array(sp.coo_array((rows.data, (rows.row + 1, rows.col)), shape=shape))
