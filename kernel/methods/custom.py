"""Custom objectives: a sum of named terms with coefficients, checked for convexity before anything is solved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.errors import ProblemError
from kernel.terms import Curvature, Term

if TYPE_CHECKING:
    from kernel.problem import Problem


@dataclass(frozen=True)
class WeightedTerm:
    """coefficient * term."""

    term: Term
    coefficient: float


@dataclass(frozen=True)
class MaximizeTerms:
    """Highest ``sum_k coefficient_k * term_k(w)``.

    Raises:
        ProblemError: A coefficient is not finite, or makes its term, and so the sum, other than concave.
    """

    terms: tuple[WeightedTerm, ...]
    homogeneous = False
    maximizes = True

    def __post_init__(self) -> None:
        if not any(weighted.coefficient != 0.0 for weighted in self.terms):
            raise ProblemError("terms", "needs at least one coefficient other than 0")
        for weighted in self.terms:
            _require_concave(weighted)

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write every term, its sign turned."""
        for weighted in self.terms:
            if weighted.coefficient != 0.0:
                weighted.term.minimize(builder, -weighted.coefficient)

    def value(self, problem: Problem, w: Vector) -> float:
        """The sum."""
        return sum(weighted.coefficient * weighted.term.of(w) for weighted in self.terms)

    def from_program(self, problem: Problem, value: float) -> float:
        """The sum."""
        return -value

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """1."""
        return 1.0


def _require_concave(weighted: WeightedTerm) -> None:
    term, coefficient = weighted.term, weighted.coefficient
    field = f"terms[{term.name}].coefficient"
    if not np.isfinite(coefficient):
        raise ProblemError(field, f"must be finite, not {coefficient}")
    if term.curvature is Curvature.CONVEX and coefficient > 0.0:
        raise ProblemError(
            field,
            f"must not be positive, not {coefficient:g}: {term.name} is convex, so more of it "
            "cannot be sought by a convex program",
        )
    if term.curvature is Curvature.CONCAVE and coefficient < 0.0:
        raise ProblemError(
            field,
            f"must not be negative, not {coefficient:g}: {term.name} is concave, so less of it "
            "cannot be sought by a convex program",
        )
