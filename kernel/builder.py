"""Writes programs in the canonical form: variables, objective terms and named rows, collected one by one.

The builder writes a *ratio* program with the same calls: it then holds one more variable kappa >= 0 and multiplies
every constant by it (Charnes & Cooper 1962; Schaible 1974), so no constraint needs to know of the homogenisation. What
stands in such a program is the perspective kappa f(y / kappa) of every convex f.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from typing import Self

import numpy as np
import scipy.sparse as sp

from kernel.canonical import (
    DEFINITION,
    Cone,
    Integral,
    Mask,
    Matrix,
    Program,
    Quadratic,
    SemiContinuous,
    Vector,
    in_part,
)
from kernel.collected import Collected, Form, Terms

__all__ = ["Form", "ProgramBuilder", "Terms"]


class ProgramBuilder:
    """Collects variables, objective terms and named rows, then freezes them into a `Program`.

    The first `n` variables are the weights (scaled by kappa in a ratio program). A builder that is `over` a part of
    them writes into the same program and takes that part for the weights.
    """

    def __init__(self, n: int, *, homogeneous: bool = False) -> None:
        self.n = n
        self.kappa = n if homogeneous else None
        self._collected = Collected()
        self._place, self._suffix = slice(0, n), ""
        self._box = (np.full(n, -np.inf), np.full(n, np.inf))
        self.add_variables(n)
        if homogeneous:
            self.add_variables(1, lower=0.0)

    def over(self, place: slice, suffix: str = "") -> Self:
        """The same program, written for the weights at `place` alone; names that can give way get the suffix.

        Of a program that is no ratio program.
        """
        assert self.kappa is None
        part = copy.copy(self)
        part.n, part._place, part._suffix = place.stop - place.start, place, suffix
        part._box = (self._box[0][place], self._box[1][place])
        return part

    @property
    def weights(self) -> slice:
        """The variables that are the weights."""
        return self._place

    @property
    def size(self) -> int:
        """Number of variables so far."""
        return self._collected.size

    def add_variables(self, count: int, *, lower: float = -np.inf, upper: float = np.inf) -> slice:
        """Append `count` variables and return their place."""
        return self._collected.add_variables(count, lower, upper)

    def minimize_linear(self, place: slice, coefficients: Vector) -> None:
        """Add ``coefficients' x[place]`` to the objective."""
        self._collected.q[place] += coefficients

    def minimize_form(self, form: Form, weight: float = 1.0) -> None:
        """Add ``weight`` times a linear form to the objective."""
        for place, coefficients in form:
            self.minimize_linear(place, weight * coefficients)

    def add_offset(self, constant: float) -> None:
        """Add a constant to the objective, so that values and bounds are the problem's own."""
        if self.kappa is None:
            self._collected.offset += constant
        else:
            self._collected.q[self.kappa] += constant

    def minimize_quadratic(self, P: Quadratic) -> None:
        """Add ``1/2 w'Pw`` over the weights to the objective."""
        self._collected.add_quadratic(self._place.start, P)

    def minimize_square(self, root: Matrix | sp.csr_array, shift: Vector, weight: float) -> None:
        """Add ``weight/2 ||root w - shift||^2`` to the objective, and of a ratio program its square perspective."""
        if self.kappa is None:
            square = Quadratic(factor=root) if isinstance(root, np.ndarray) else Quadratic.of_square(root)
            self.minimize_quadratic(square.scaled(weight))
            self.minimize_linear(self.weights, -weight * (root.T @ shift))
            self.add_offset(0.5 * weight * float(shift @ shift))
        elif isinstance(root, np.ndarray):
            self.minimize_quadratic(Quadratic(factor=np.sqrt(weight) * np.column_stack([root, -shift])))
        else:
            self._minimize_square_apart(root, shift, weight)

    def add_rows(self, names: Sequence[str], cone: Cone, terms: Terms, b: Vector) -> None:
        """Add rows ``sum_k terms_k x[place_k] + s = b`` with s in `cone`; in a ratio program b becomes b*kappa."""
        b = np.asarray(b, dtype=float)
        if self.kappa is not None:
            terms = [*terms, (slice(self.kappa, self.kappa + 1), sp.csr_array(-b[:, None]))]
            b = np.zeros(len(b))
        self._collected.add_rows(self._named(names), cone, terms, b)

    def add_normalisation(self, name: str, terms: Terms) -> None:
        """Add the row ``sum_k terms_k x[place_k] = 1`` of a ratio program, whose constant kappa does not scale."""
        self._collected.add_rows((name,), Cone.ZERO, terms, np.ones(1))

    def add_bounds(self, lower: Vector, upper: Vector, names: tuple[Sequence[str], Sequence[str]]) -> None:
        """Bound the weights; of several bounds on one the tightest stands, under its own name.

        In a ratio program bounds other than zero become rows that carry the bound's name.
        """
        for known, bound, tighter in zip(self._box, (lower, upper), (np.maximum, np.minimum), strict=True):
            known[:] = tighter(known, bound)
        collected, place = self._collected, self._place
        at_zero = np.ones(self.n, dtype=bool) if self.kappa is None else (upper == 0.0) & (lower == 0.0)
        plain_lower = np.isfinite(lower) & (at_zero | (lower == 0.0))
        plain_upper = np.isfinite(upper) & at_zero
        implied = np.where(plain_lower, lower, np.where(lower > 0.0, 0.0, -np.inf))  # a floor's row means y >= 0 too
        lower_is_tighter = plain_lower & (lower > collected.lower[place])
        upper_is_tighter = plain_upper & (upper < collected.upper[place])
        collected.lower[place] = np.maximum(collected.lower[place], implied)
        collected.upper[place] = np.where(upper_is_tighter, upper, collected.upper[place])
        collected.lower_names.update(self._named_places(names[0], lower_is_tighter))
        collected.upper_names.update(self._named_places(names[1], upper_is_tighter))
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
        self._collected.hinges.append((self._collected.count, u))
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
        self._collected.semicontinuous.append(SemiContinuous(name, self._place.start + index, threshold))

    def add_integral(self, name: str, index: int, step: float) -> None:
        """Weight `index`, or beyond the weights variable `index`, is a whole multiple of `step`."""
        at = index + self._place.start if index < self.n else index
        self._collected.integral.append(Integral(name, at, step))

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
        eye = sp.eye_array(self.n, format="csr")
        return self.shared(("change", w0.tobytes()), lambda: self.add_absolute([(self.weights, eye)], w0))

    def add_absolute(self, terms: Terms, b: Vector) -> slice:
        """Variables ``t >= |sum_k terms_k x[place_k] - b|``."""
        t = self.add_variables(len(b), lower=0.0)
        definition, own = (DEFINITION,) * len(b), (t, -sp.eye_array(len(b), format="csr"))
        self.add_rows(definition, Cone.NONNEGATIVE, [*terms, own], b)
        self.add_rows(definition, Cone.NONNEGATIVE, [*((place, -matrix) for place, matrix in terms), own], -b)
        return t

    def trades(self, w0: Vector) -> tuple[slice, slice]:
        """Variables p, s >= 0 with ``w - w0 = p - s``, what is bought and what is sold."""
        both = self.shared(("trades", w0.tobytes()), lambda: self._add_trades(w0))
        return slice(both.start, both.start + self.n), slice(both.start + self.n, both.stop)

    def short_parts(self) -> slice:
        """Variables u >= (-w)+, shared by every limit on leverage."""
        minus = -sp.eye_array(self.n, format="csr")
        return self.shared(("shorts",), lambda: self.add_hinges([(self.weights, minus)], np.zeros(self.n)))

    def shared(self, key: tuple[Hashable, ...], add: Callable[[], slice]) -> slice:
        """The variables that `add` adds for these weights, once for each key."""
        known, key = self._collected.shared, (self._place.start, *key)
        if key not in known:
            known[key] = add()
        return known[key]

    @property
    def box(self) -> tuple[Vector, Vector]:
        """(n,) the bounds of the weights so far, lower and upper; of a ratio program's they are fractions of kappa."""
        return self._box[0].copy(), self._box[1].copy()

    def build(self) -> Program:
        """The frozen program, row blocks in the order they were added."""
        return self._collected.program(self.kappa)

    def _minimize_square_apart(self, root: sp.csr_array, shift: Vector, weight: float) -> None:
        """The square perspective over variables ``v = root w - kappa shift``: in w and kappa it would be dense."""
        rows = len(shift)
        v = self.add_variables(rows)
        minus = -sp.eye_array(rows, format="csr")
        self.add_rows((DEFINITION,) * rows, Cone.ZERO, [(self.weights, root), (v, minus)], shift)
        self._collected.add_quadratic(v.start, Quadratic(None, np.zeros((0, rows)), np.full(rows, weight)))

    def _named(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(in_part(name, self._suffix) for name in names)

    def _named_places(self, names: Sequence[str], wanted: Mask) -> dict[int, str]:
        """The names of the `wanted` weights, by variable."""
        start, suffix = self._place.start, self._suffix
        return {start + i: in_part(names[i], suffix) for i in np.flatnonzero(wanted).tolist()}

    def _add_trades(self, w0: Vector) -> slice:
        p, s = self.add_variables(self.n, lower=0.0), self.add_variables(self.n, lower=0.0)
        eye = sp.eye_array(self.n, format="csr")
        self.add_rows((DEFINITION,) * self.n, Cone.ZERO, [(self.weights, eye), (p, -eye), (s, eye)], w0)
        return slice(p.start, s.stop)

    def _add_bound_rows(self, sign: float, bound: Vector, wanted: Mask, names: Sequence[str]) -> None:
        chosen = np.flatnonzero(wanted).tolist()
        if chosen:
            rows = sign * sp.eye_array(self.n, format="csr")[chosen]
            labels = [names[i] for i in chosen]
            self.add_rows(labels, Cone.NONNEGATIVE, [(self.weights, rows)], sign * bound[chosen])


def _below_an_empty_row(matrix: sp.csr_array | Matrix) -> sp.csr_array:
    rows = sp.coo_array(sp.csr_array(matrix))
    shape = (rows.shape[0] + 1, rows.shape[1])
    return sp.csr_array(sp.coo_array((rows.data, (rows.row + 1, rows.col)), shape=shape))
