"""Terms of custom and multiple objectives: named functions of the weights whose curvature is known.

================  ==========================================  ==========
term              value at w                                  curvature
================  ==========================================  ==========
`LinearTerm`      coefficients'w (return, factor exposure)    affine
`RiskTerm`        any risk measure                            convex
`TurnoverTerm`    factor * sum |w - w0|                       convex
`CostTerm`        cost of trading from w0 to w                convex
`Concentration`   sum w_i^2 over the members                  convex
`ExposureSize`    |coefficients'w|                            convex
`Entropy`         -sum w_i ln w_i over the members            concave
================  ==========================================  ==========

A sum of terms is concave, and can be maximised, when convex terms have coefficients <= 0 and concave ones >= 0
(Boyd & Vandenberghe 2004, section 3.2.1); affine ones may have any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

import numpy as np
import scipy.sparse as sp

from kernel.builder import Form, ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Mask, Quadratic, Vector
from kernel.costs import TradingCost
from kernel.measures import RiskMeasure
from kernel.measures.volatility import Variance

_ONE = np.ones(1)


class Curvature(Enum):
    """How a term bends."""

    AFFINE = "affine"
    CONVEX = "convex"
    CONCAVE = "concave"


class Term(ABC):
    """A function of the weights that programs can bound from the side on which that is convex.

    Attributes:
        name: The caller's name.
        unit: Of its values.
        curvature: Convex terms can be made small, concave ones large, affine ones both.
    """

    name: str
    unit: str
    curvature: Curvature

    @abstractmethod
    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """Rows that mean ``sign * term(w) <= form(x) + constant``; `sign` is +1 or -1, as the curvature allows."""

    @abstractmethod
    def of(self, w: Vector) -> float:
        """The value at w, from w alone."""

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add ``weight * term(w)`` to the objective; the sign of `weight` must suit the curvature."""
        form, constant = self.bounded_by(builder, float(np.sign(weight)))
        builder.minimize_form(form, abs(weight))
        builder.add_offset(abs(weight) * constant)


@dataclass(frozen=True)
class LinearTerm(Term):
    """coefficients'w: the expected return, an exposure to a factor, a stress scenario's return."""

    name: str
    coefficients: Vector
    unit: str = "return"
    curvature = Curvature.AFFINE

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """The coefficients."""
        return [(builder.weights, sign * self.coefficients)], 0.0

    def of(self, w: Vector) -> float:
        """The sum."""
        return float(self.coefficients @ w)


@dataclass(frozen=True)
class RiskTerm(Term):
    """A risk measure."""

    name: str
    measure: RiskMeasure
    curvature = Curvature.CONVEX

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The measure's."""
        return self.measure.unit

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """The measure's epigraph."""
        return self.measure.epigraph(builder), 0.0

    def of(self, w: Vector) -> float:
        """The risk."""
        return self.measure.of(w)

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Variance stays quadratic; everything else goes through its epigraph."""
        if isinstance(self.measure, Variance):
            self.measure.minimize(builder, 2.0 * weight)
        else:
            builder.minimize_form(self.measure.epigraph(builder), weight)


@dataclass(frozen=True)
class TurnoverTerm(Term):
    """factor * sum |w - w0|; factor 1/2 is the one-way definition."""

    name: str
    w0: Vector
    factor: float = 0.5
    unit: str = "turnover"
    curvature = Curvature.CONVEX

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """The shared variables t >= |w - w0|."""
        return [(builder.absolute_change(self.w0), np.full(builder.n, self.factor))], 0.0

    def of(self, w: Vector) -> float:
        """The turnover."""
        return self.factor * float(np.abs(w - self.w0).sum())


@dataclass(frozen=True)
class CostTerm(Term):
    """The cost of trading from w0 to w."""

    name: str
    cost: TradingCost
    unit: str = "return"
    curvature = Curvature.CONVEX

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """The cost's own form."""
        return self.cost.form(builder), self.cost.offset

    def of(self, w: Vector) -> float:
        """The cost."""
        return self.cost.of(w)


@dataclass(frozen=True)
class Concentration(Term):
    """The Herfindahl index ``sum w_i^2`` of the members, whose reciprocal is the effective number of assets."""

    name: str
    members: Mask
    unit: str = "concentration"
    curvature = Curvature.CONVEX

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """A variable e >= ||w||^2."""
        chosen = sp.csr_array(sp.eye_array(builder.n, format="csr")[np.flatnonzero(self.members)])
        t = builder.add_norm([(builder.weights, chosen)], np.zeros(chosen.shape[0]))
        return [(builder.add_squares(t, 1.0), _ONE)], 0.0

    def of(self, w: Vector) -> float:
        """The sum of squares."""
        return float((w[self.members] ** 2).sum())

    def minimize(self, builder: ProgramBuilder, weight: float) -> None:
        """Add it as a quadratic."""
        builder.minimize_quadratic(Quadratic(np.diag(2.0 * weight * self.members)))


@dataclass(frozen=True)
class ExposureSize(Term):
    """|coefficients'w|: the distance of an exposure from neutral."""

    name: str
    coefficients: Vector
    unit: str = "exposure"
    curvature = Curvature.CONVEX

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """A variable t above both signs."""
        t = builder.add_variables(1, lower=0.0)
        row = self.coefficients[None, :]
        for side in (row, -row):
            terms = [(builder.weights, side), (t, np.array([[-1.0]]))]
            builder.add_rows((DEFINITION,), Cone.NONNEGATIVE, terms, np.zeros(1))
        return [(t, _ONE)], 0.0

    def of(self, w: Vector) -> float:
        """The absolute exposure."""
        return abs(float(self.coefficients @ w))


@dataclass(frozen=True)
class Entropy(Term):
    """Shannon's ``-sum w_i ln w_i`` over the members, which must not be negative: high when weights are even.

    References: Bera & Park (2008), optimal portfolio diversification using the maximum entropy principle.
    """

    name: str
    members: Mask
    unit: str = "entropy"
    curvature = Curvature.CONCAVE

    def bounded_by(self, builder: ProgramBuilder, sign: float) -> tuple[Form, float]:
        """Variables h with ``w exp(h / w) <= 1``, that is h <= -w ln w, and their sum with a minus."""
        chosen = np.flatnonzero(self.members)
        h = builder.add_variables(len(chosen))
        first, second, third = np.eye(3)[:, :, None]
        for k, i in enumerate(chosen.tolist()):
            terms = [(slice(h.start + k, h.start + k + 1), -first), (slice(i, i + 1), -second)]
            builder.add_rows((DEFINITION,), Cone.EXPONENTIAL, terms, third.ravel())
        return [(h, -np.ones(len(chosen)))], 0.0

    def of(self, w: Vector) -> float:
        """The entropy; nothing held counts as nothing."""
        held = w[self.members & (w > 0.0)]
        return float(-(held * np.log(held)).sum())
