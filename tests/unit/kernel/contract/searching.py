"""The best value of a case by cvxpy and a solver of choice.

No ratio is homogenised here: it is found by Dinkelbach's iteration. Integers are searched depth first over cvxpy's
relaxations.

References: Dinkelbach (1967).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import Case
from tests.unit.kernel.contract.models import Model, cost, cost_of, pose, risk

_INTEGRAL = 1e-6
# What a node must promise beyond the best so far; values are of the size 0.01 to 1.
_WORTHWHILE = 1e-9
_OPTIONS = {
    "ECOS": {"abstol": 1e-11, "reltol": 1e-11, "feastol": 1e-11, "max_iters": 200},
    "CLARABEL": {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12},
    "HIGHS": {"mip_rel_gap": 1e-9, "mip_abs_gap": 1e-10, "mip_feasibility_tolerance": 1e-9},
}


class NoAnswerError(Exception):
    """The solver came to no conclusion."""


@dataclass
class Search:
    """The greatest value of a goal: one solve, or over whole expressions HiGHS where all is linear, else depth first.

    Attributes:
        known: A value that feasible weights have: only better ones are searched for.
    """

    model: Model
    goal: cp.Expression
    solver: str
    known: float = -np.inf
    best: float = -np.inf
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        model = self.model
        constraints = [row.left <= row.limit for row in model.rows if row.left is not None]
        constraints += model.definitions
        self._whole = cp.hstack(model.whole) if model.whole else None
        self._linear = None
        if self._whole is not None:
            size = self._whole.size
            if self.goal.is_pwl() and all(constraint.is_dcp() and _is_linear(constraint) for constraint in constraints):
                integers = [*constraints, self._whole == cp.Variable(size, integer=True)]
                self._linear = cp.Problem(cp.Maximize(self.goal), integers)
            self._low, self._high = cp.Parameter(size), cp.Parameter(size)
            constraints += [self._whole >= self._low, self._whole <= self._high]
        self._program = cp.Problem(cp.Maximize(self.goal), constraints)

    def run(self) -> float:
        """The greatest value; -inf where nothing is feasible."""
        self.best, self.weights = self.known, None
        if self._whole is None:
            if self._relax(self._program, self.solver):
                self._keep()
        elif self._linear is not None:
            if self._relax(self._linear, "HIGHS"):
                self._settle(np.round(self._whole.value))
        else:
            size = self._whole.size
            self._branch(np.full(size, -1e3), np.full(size, 1e3))
        return self.best

    def _branch(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low.value, self._high.value = low, high
        if not self._relax(self._program, self.solver) or self._program.value <= self.best + _WORTHWHILE:
            return
        values = self._whole.value
        distance = np.abs(values - np.round(values))
        k = int(np.argmax(distance))
        if distance[k] < _INTEGRAL:
            self._settle(np.round(values))
            return
        below, above = high.copy(), low.copy()
        below[k], above[k] = np.floor(values[k]), np.ceil(values[k])
        branches = [(low, below), (above, high)]
        for branch in branches if values[k] % 1.0 < 0.5 else reversed(branches):
            self._branch(*branch)

    def _settle(self, values: np.ndarray) -> None:
        """Exactly whole, so that big coefficients do not profit from what is nearly so."""
        self._low.value = self._high.value = values
        if self._relax(self._program, self.solver):
            self._keep()

    def _keep(self) -> None:
        if self._program.value > self.best:
            self.best, self.weights = float(self._program.value), np.array(self.model.w.value)

    def _relax(self, program: cp.Problem, solver: str) -> bool:
        """Solve; whether there is a solution."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            # cvxpy's own bounds of expressions multiply nothing by infinity.
            warnings.filterwarnings("ignore", message="invalid value encountered in matmul")
            try:
                program.solve(solver=solver, **_OPTIONS[solver])
            except cp.SolverError as error:
                raise NoAnswerError(str(error)) from error
        if program.status in ("infeasible", "infeasible_inaccurate"):
            return False
        if program.status not in ("optimal", "optimal_inaccurate"):
            raise NoAnswerError(program.status)
        return True


def _is_linear(constraint: cp.Constraint) -> bool:
    return isinstance(constraint, cp.constraints.Inequality) and constraint.expr.is_pwl()


def optimum(case: Case, solver: str, feasible: np.ndarray | None = None) -> float | None:
    """The best value of a case's objective; None for a ratio without a positive excess.

    Args:
        case: Of returns of the usual size.
        solver: For cvxpy.
        feasible: (n,) weights that meet all limits, from which a search over integers may begin.
    """
    model = pose(case)
    goal = _goal(model)
    known = -np.inf
    if feasible is not None and model.whole:
        known = value(case, feasible) * (-1.0 if case.objective == "risk" else 1.0)
    if case.objective == "ratio":
        return _best_ratio(model, goal, solver, max(known, 0.0))
    best = Search(model, goal, solver, known).run()
    return -best if case.objective == "risk" else best


def _goal(model: Model) -> cp.Expression:
    """What is maximised; of a ratio the excess return."""
    case = model.case
    charge = cost(model)
    net = case.market.mu @ model.w - charge
    if case.objective == "return":
        return net
    if case.objective == "ratio":
        return net - case.reference
    found = risk(model, case.measure)
    penalty = 0.5 * found if case.measure == "variance" else found
    if case.measure in definitions.QUADRATIC:
        penalty = 0.5 * cp.square(found)
    if case.objective == "risk":
        return -case.aversion * penalty - charge if case.has_cost else -found
    if case.objective == "utility":
        return net - case.aversion * penalty
    dislike = case.dislike
    return net - dislike["risk"] * found - dislike["concentration"] * cp.sum_squares(model.w)


def value(case: Case, w: np.ndarray) -> float:
    """The objective at w by the definitions."""
    found, charge = definitions.risk(case.measure, case.market, w), cost_of(case, w)
    penalty = definitions.penalty(case.measure, found)
    net = float(case.market.mu @ w) - charge
    match case.objective:
        case "risk":
            return case.aversion * penalty + charge if case.has_cost else found
        case "return":
            return net
        case "utility":
            return net - case.aversion * penalty
        case "ratio":
            return (net - case.reference) / found if found else 0.0
    return net - case.dislike["risk"] * found - case.dislike["concentration"] * float(w @ w)


def _best_ratio(model: Model, excess: cp.Expression, solver: str, known: float) -> float | None:
    """The theta at which the best of ``excess - theta risk`` is zero: each one's optimum gives the next."""
    case = model.case
    theta = cp.Parameter(nonneg=True, value=known)
    search = Search(model, excess - theta * risk(model, case.measure), solver, 0.0 if known else -np.inf)
    if search.run() <= _WORTHWHILE:
        return known or None
    for _ in range(50):
        found = value(case, search.weights)
        if found <= theta.value * (1.0 + 1e-9):
            return float(theta.value)
        theta.value, search.known = found, 0.0
        if search.run() <= 1e-12:
            return found
    raise NoAnswerError("the ratio has not settled")
