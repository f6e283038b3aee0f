"""What every risk measure can do: be minimised, be limited, be measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Matrix, Vector
from kernel.scenarios import Scenarios


class RiskMeasure(Protocol):
    """A convex measure of the risk of weights.

    A measure may enter a program through an increasing function of itself, its *penalty* (volatility through half its
    square); `from_program` and `slope` translate values and multipliers back. In a ratio program every method writes
    the perspective kappa risk(y / kappa).
    """

    @property
    def name(self) -> str:
        """The word of the contract's vocabulary."""

    @property
    def unit(self) -> str:
        """The unit of its values, as limits and reports state it."""

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight * penalty(risk(w))`` to the objective."""

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add rows that mean ``risk(w) <= limit``."""

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """Add rows that mean ``risk(w) <= form(x)`` and return the form."""

    def of(self, w: Vector) -> float:
        """The risk of w, measured from w alone."""

    def penalty(self, risk: float) -> float:
        """What stands for `risk` in programs and utilities."""

    def from_program(self, value: float) -> float:
        """The risk r with penalty(r) = value."""

    def slope(self, risk: float) -> float:
        """dr/dpenalty at r = `risk`: turns multipliers of the program into marginal risk."""

    def contributions(self, w: Vector) -> Vector | None:
        """(n,) ``w_i dr/dw_i``, which add up to a risk that is homogeneous of degree one; None where it has none."""


class EpigraphMeasure(ABC):
    """A measure that enters every program as itself, through the rows of its epigraph."""

    @abstractmethod
    def epigraph(self, builder: ProgramBuilder) -> Form:
        """Add rows that mean ``risk(w) <= form(x)`` and return the form."""

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight * risk(w)`` to the objective."""
        builder.minimize_form(self.epigraph(builder), weight)

    def limit(self, builder: ProgramBuilder, name: str, limit: float) -> None:
        """Add the epigraph and the row ``form <= limit``."""
        builder.add_limit(name, self.epigraph(builder), limit)

    def penalty(self, risk: float) -> float:
        """The risk itself."""
        return risk

    def from_program(self, value: float) -> float:
        """The value itself."""
        return value

    def slope(self, risk: float) -> float:
        """1."""
        return 1.0


class SupportMeasure(EpigraphMeasure):
    """A convex measure of degree one: ``risk(v) >= support(w)'v`` for every v, with equality at v = w.

    References: Rockafellar (1970), section 13; Tasche (1999) for contributions as ``w_i dr/dw_i``.
    """

    @abstractmethod
    def of(self, w: Vector) -> float:
        """The risk of w, measured from w alone."""

    @abstractmethod
    def support(self, w: Vector) -> Vector:
        """(n,) a subgradient at w, made from data alone."""

    def contributions(self, w: Vector) -> Vector | None:
        """``w_i support(w)_i``, which add up to the risk."""
        return w * self.support(w)


class PlanarMeasure(SupportMeasure):
    """A measure that a program may hold by some of its planes ``support(v)'w``, which bound it from below.

    Attributes:
        planes: (k, n) supports at some weights; None = programs hold the measure itself.
        least: No value lies below it.
    """

    name: str
    unit: str
    scenarios: Scenarios
    planes: Matrix | None
    least = -np.inf

    @abstractmethod
    def with_planes(self, planes: Matrix) -> PlanarMeasure:
        """The measure, held by these planes."""

    @abstractmethod
    def write(self, builder: ProgramBuilder) -> Form:
        """Add rows that mean ``risk(w) <= form(x)`` itself and return the form."""

    def epigraph(self, builder: ProgramBuilder) -> Form:
        """The measure itself, or a variable above every plane, in units of their size."""
        if self.planes is None:
            return self.write(builder)
        size, count = float(np.abs(self.planes).max()) or 1.0, len(self.planes)
        t = builder.add_variables(1, lower=self.least)
        terms = [(builder.weights, self.planes / size), (t, np.full((count, 1), -1.0))]
        builder.add_rows((DEFINITION,) * count, Cone.NONNEGATIVE, terms, np.zeros(count))
        return [(t, np.array([size]))]
