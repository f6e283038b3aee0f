"""Convex functions of one expression inside a mixed-integer linear program, kept by tangents.

A column v stands for f(a) of an expression a = offset + terms'x. With a flag y that lets a move, f(0) = 0 and the
tangent at a0 is taken in perspective,

    v >= f'(a0) a + (f(a0) - f'(a0) a0) y

which holds for y = 0 and a = 0, is the tangent itself for y = 1, and is the convex hull of both in between: what
borrows the curvature of f from the flag. Without a flag y is 1.

References: Duran & Grossmann (1986); Frangioni & Gentile (2006); Moehle et al. (2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Terms = dict[int, float]
Row = tuple[Terms, float]
Function = Callable[[float], tuple[float, float]]
"""Value and slope"""

# A flag below this is solver noise: the perspective has no point there.
_OFF = 1e-7


@dataclass(slots=True)
class Affine:
    """constant + terms'x, as it is added up."""

    terms: Terms = field(default_factory=dict)
    constant: float = 0.0

    def add(self, terms: Terms, factor: float = 1.0, constant: float = 0.0) -> None:
        """Adds factor * terms'x + constant."""
        for column, value in terms.items():
            self.terms[column] = self.terms.get(column, 0.0) + factor * value
        self.constant += constant

    def at(self, x: NDArray[np.float64]) -> float:
        """The value at a point of the program."""
        return self.constant + sum(value * float(x[column]) for column, value in self.terms.items())


@dataclass(frozen=True, slots=True)
class Curve:
    """One function.

    Attributes:
        value: Column that must not be less than the function.
        terms: Of the argument.
        offset: Of the argument; zero with a flag.
        function: Convex; zero at zero with a flag.
        flag: Column that is 1 where the argument may differ from zero.
        seeds: Arguments of the first tangents.
        weight: What a unit of the column is worth beside those of others.
    """

    value: int
    terms: Terms
    offset: float
    function: Function
    flag: int | None = None
    seeds: tuple[float, ...] = ()
    weight: float = 1.0

    def height(self, argument: float, flag: float) -> float:
        """The function, or its perspective, at a point of the program."""
        if self.flag is None:
            return self.function(argument)[0]
        return self.function(argument)[0] * flag if flag > _OFF else 0.0

    def tangent(self, a: float) -> Row:
        """The row that the column keeps, exact at one argument."""
        f, slope = self.function(a)
        terms = {column: -slope * factor for column, factor in self.terms.items()}
        terms[self.value] = terms.get(self.value, 0.0) + 1.0
        height = f - slope * a
        if self.flag is None:
            return terms, height + slope * self.offset
        terms[self.flag] = terms.get(self.flag, 0.0) - height
        return terms, 0.0


@dataclass(frozen=True, slots=True)
class Bowl:
    """A column v that must not be less than |A x + c|^2, kept by tangent planes.

        v >= 2 y0'(A x + c) - y0'y0,   y0 = A x0 + c

    Attributes:
        value: Column.
        columns: (m,) columns that A has.
        matrix: (k, m) A.
        offset: (k,) c.
    """

    value: int
    columns: NDArray[np.intp]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def height(self, x: NDArray[np.float64]) -> float:
        """The square at a point of the program."""
        y = self.matrix @ x[self.columns] + self.offset
        return float(y @ y)

    def tangent(self, x: NDArray[np.float64]) -> Row:
        """The row that the column keeps, exact at one point."""
        y = self.matrix @ x[self.columns] + self.offset
        terms = {int(k): -float(v) for k, v in zip(self.columns, 2.0 * (y @ self.matrix), strict=True)}
        terms[self.value] = 1.0
        return terms, float(2.0 * y @ self.offset - y @ y)


class CurveTable:
    """All curves of a program, with their arguments taken together."""

    def __init__(self, curves: Sequence[Curve], width: int) -> None:
        """Collects the arguments.

        Args:
            curves: The curves.
            width: Number of columns.
        """
        self.curves = tuple(curves)
        row = np.repeat(np.arange(len(curves)), [len(curve.terms) for curve in curves])
        column = np.array([k for curve in curves for k in curve.terms], dtype=int)
        factor = np.array([v for curve in curves for v in curve.terms.values()], dtype=float)
        self._terms = sp.csr_array((factor, (row, column)), shape=(len(curves), width))
        self._offsets = np.array([curve.offset for curve in curves])
        self._flags = np.array([-1 if curve.flag is None else curve.flag for curve in curves], dtype=int)
        self.values = np.array([curve.value for curve in curves], dtype=int)
        self.weights = np.array([curve.weight for curve in curves])

    def heights(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Arguments and heights of all curves at a point of the program."""
        flags = np.where(self._flags < 0, 1.0, x[self._flags])
        arguments = (self._terms @ x + self._offsets) / np.maximum(flags, _OFF)
        heights = [
            curve.height(float(a), float(flag)) for curve, a, flag in zip(self.curves, arguments, flags, strict=True)
        ]
        return arguments, np.array(heights)


def square(weight: float = 1.0) -> Function:
    """A square, weight a^2."""
    return lambda a: (weight * a * a, 2.0 * weight * a)


def shifted_square(weight: float, start: float, factor: float) -> Function:
    """The change weight ((start + factor a)^2 - start^2) by moving away from a start."""
    return lambda a: (
        weight * factor * a * (2.0 * start + factor * a),
        2.0 * weight * factor * (start + factor * a),
    )


def power_three_halves(weight: float) -> Function:
    """A power, weight a^(3/2) for a >= 0."""
    return lambda a: (weight * max(a, 0.0) ** 1.5, 1.5 * weight * math.sqrt(max(a, 0.0)))
