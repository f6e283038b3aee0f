"""The objective of risk budgeting: least risk for a given weighted geometric mean of exposures.

    f(w) = log(risk(w) + cost(w) / A) - sum_j b_j log(a_j'w),      sum_j b_j = 1, b > 0

For a risk of degree one f does not change with the scale of w. So it is minimised over the cone of the limits as

    min_{y, kappa}  risk(y) + kappa cost(y / kappa) / A - sum_j b_j log(a_j'y)      y / kappa within the limits

which is convex, and whose least value is 1 + f at the scale of unit risk. Where no limit binds and trading is free, the
optimum has ``a_j'w (dr/da_j'w) = b_j risk``: the budgets are the shares. Where limits bind it is the nearest portfolio
in the sense of f, and no portfolio of the same risk has a larger geometric mean.

References: Maillard, Roncalli & Teiletche (2010), appendix; Bruder & Roncalli (2012); Roncalli (2013), section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernel.builder import ProgramBuilder
from kernel.canonical import DEFINITION, Cone, Matrix, Vector
from kernel.problem import Problem

_ONE = np.ones((1, 1))


@dataclass(frozen=True, slots=True)
class BalanceRisk:
    """Least ``exp f(w)``: the risk per unit of the weighted geometric mean of the exposures.

    Attributes:
        b: (k,) budgets, > 0, adding up to 1.
        exposures: (k, n) rows a_j: unit vectors, negative for short assets, or exposures to factors.
        sizes: (k,) > 0, exposures of a portfolio of unit risk: the units of the logarithms' arguments.
        risk_aversion: A.
    """

    b: Vector
    exposures: Matrix
    sizes: Vector
    risk_aversion: float = 1.0
    homogeneous = True
    maximizes = False

    def add_to(self, builder: ProgramBuilder, problem: Problem) -> None:
        """Write risk, cost, and variables u with ``exp(u_j) <= a_j'y / size_j``."""
        if problem.cost is None:
            problem.measure.minimize(builder, 1.0)
        else:
            builder.minimize_form(problem.measure.epigraph(builder))
            builder.minimize_form(problem.cost.form(builder), 1.0 / self.risk_aversion)
            builder.add_offset(problem.cost.offset / self.risk_aversion)
        one, u = builder.add_variables(1), builder.add_variables(len(self.b))
        builder.add_normalisation(DEFINITION, [(one, _ONE)])
        builder.minimize_linear(u, -self.b)
        first, second, third = -np.eye(3)[:, :, None]
        for j, row in enumerate(self.exposures / self.sizes[:, None]):
            own = slice(u.start + j, u.start + j + 1)
            terms = [(own, first), (one, second), (builder.weights, third * row)]
            builder.add_rows((DEFINITION,), Cone.EXPONENTIAL, terms, np.zeros(3))

    def value(self, problem: Problem, w: Vector) -> float:
        """Exp f(w); infinite where an exposure is not positive."""
        exposed = self.exposures @ w
        if not (exposed > 0.0).all():
            return np.inf
        cost = 0.0 if problem.cost is None else problem.cost.of(w) / self.risk_aversion
        return float((problem.measure.of(w) + cost) * np.exp(-self.b @ np.log(exposed)))

    def from_program(self, problem: Problem, value: float) -> float:
        """Exp f, from the value at the best scale: at unit risk, which volatility enters through half its square."""
        at_unit_risk = problem.measure.penalty(1.0) if problem.cost is None else 1.0
        return float(np.exp(value - at_unit_risk - self.b @ np.log(self.sizes)))

    def price_scale(self, problem: Problem, w: Vector, kappa: float) -> float:
        """The value, as its logarithm is what the program has, times kappa."""
        return self.value(problem, w) * kappa
