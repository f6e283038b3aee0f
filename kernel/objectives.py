"""Objectives: each writes itself into a program, is measured on weights, and translates the program's values back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import Vector
from kernel.errors import ProblemError

if TYPE_CHECKING:
    from kernel.problem import Problem

_ROUNDING = 1e-12


class Objective(Protocol):
    """What is best. A program is always minimised; `maximizes` says which way the caller's value goes."""

    @property
    def homogeneous(self) -> bool:
        """Whether it is posed as a ratio program."""

    @property
    def maximizes(self) -> bool:
        """Whether larger values are better."""

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write the objective."""

    def value(self, problem: Problem, w: Vector) -> float:
        """The caller's value at w, measured from w alone."""

    def from_program(self, problem: Problem, value: float) -> float:
        """The caller's value that a program's value stands for."""

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """d(improvement)/d(program's value) at w: turns multipliers into the caller's units."""


@dataclass(frozen=True, slots=True)
class MinimizeRisk:
    """Least risk. With costs: least ``risk_aversion * penalty(risk) + cost``, the utility at zero expected returns."""

    risk_aversion: float = 1.0
    homogeneous = False
    maximizes = False

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write the risk, and the cost where there is one."""
        problem.measure.minimize(builder, 1.0 if problem.cost is None else self.risk_aversion)
        _add_cost(builder, problem)

    def value(self, problem: Problem, w: Vector) -> float:
        """The risk, or its utility with costs."""
        risk = problem.measure.of(w)
        if problem.cost is None:
            return risk
        return self.risk_aversion * problem.measure.penalty(risk) + problem.cost.of(w)

    def from_program(self, problem: Problem, value: float) -> float:
        """The risk, or its utility with costs."""
        return problem.measure.from_program(value) if problem.cost is None else value

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """The measure's slope without costs."""
        return problem.measure.slope(problem.measure.of(w)) if problem.cost is None else 1.0


@dataclass(frozen=True, slots=True)
class MaximizeReturn:
    """Highest ``mu'w - cost``."""

    homogeneous = False
    maximizes = True

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write return and cost."""
        builder.minimize_linear(builder.weights, -problem.moments.mu)
        _add_cost(builder, problem)

    def value(self, problem: Problem, w: Vector) -> float:
        """The net return."""
        return problem.net_return(w)

    def from_program(self, problem: Problem, value: float) -> float:
        """The net return."""
        return -value

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, slots=True)
class MaximizeUtility:
    """Highest ``mu'w - cost - risk_aversion * penalty(risk)``; volatility's penalty is half the variance."""

    risk_aversion: float
    homogeneous = False
    maximizes = True

    def __post_init__(self) -> None:
        if not (np.isfinite(self.risk_aversion) and self.risk_aversion > 0):
            raise ProblemError("preferences.risk_aversion", f"must be positive, not {self.risk_aversion}")

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write risk, return and cost."""
        problem.measure.minimize(builder, self.risk_aversion)
        builder.minimize_linear(builder.weights, -problem.moments.mu)
        _add_cost(builder, problem)

    def value(self, problem: Problem, w: Vector) -> float:
        """The utility."""
        penalty = problem.measure.penalty(problem.measure.of(w))
        return problem.net_return(w) - self.risk_aversion * penalty

    def from_program(self, problem: Problem, value: float) -> float:
        """The utility."""
        return -value

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, slots=True)
class MaximizeRatio:
    """Highest ``(mu'w - cost - reference) / risk(w)``.

    Sharpe, Sortino, CVaR and every other reward-to-risk ratio with the risk-free rate as reference; the information
    ratio with the benchmark's return as reference and the tracking error as measure. The program is least risk at an
    excess of the size of single assets', so that its variables stay near one for returns of any unit.

    Attributes:
        reference: Annual return that counts as nothing.
        fallback: What to optimise instead when no portfolio has a positive excess; None = the answer is ill-posed.
    """

    reference: float
    fallback: Objective | None = None
    homogeneous = True
    maximizes = True

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write the risk, and the row ``(mu'y - cost - reference kappa) / size = 1``."""
        assert builder.kappa is not None
        problem.measure.minimize(builder, 1.0)
        cost = problem.cost
        offset = self.reference + (0.0 if cost is None else cost.offset)
        kappa = slice(builder.kappa, builder.kappa + 1)
        terms = [(builder.weights, problem.moments.mu), (kappa, np.array([-offset]))]
        costs = [] if cost is None else cost.form(builder)
        terms += [(place, -c) for place, c in costs]
        size = self._size(problem)
        builder.add_normalisation("excess return", [(place, c[None, :] / size) for place, c in terms])

    def value(self, problem: Problem, w: Vector) -> float:
        """The ratio; infinite without risk."""
        risk, excess = problem.measure.of(w), problem.net_return(w) - self.reference
        return excess / risk if risk != 0.0 else float(np.copysign(np.inf, excess))

    def from_program(self, problem: Problem, value: float) -> float:
        """The ratio."""
        least_risk = problem.measure.from_program(value)
        return self._size(problem) / least_risk if least_risk > 0 else np.inf

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """ratio^2 / size * slope * kappa."""
        ratio, size = self.value(problem, w), self._size(problem)
        return ratio**2 / size * problem.measure.slope(size / ratio) * kappa if ratio else 0.0

    def _size(self, problem: Problem) -> float:
        """The largest excess of a single asset; 1 where there is none but rounding."""
        size = float(np.abs(problem.moments.mu - self.reference).max())
        return size if size > _ROUNDING * abs(self.reference) else 1.0


def _add_cost(builder: ProgramBuilder, problem: Problem) -> None:
    if problem.cost is not None:
        builder.minimize_form(problem.cost.form(builder))
        builder.add_offset(problem.cost.offset)
