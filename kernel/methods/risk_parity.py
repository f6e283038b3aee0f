"""Risk parity and risk budgeting: who carries which share of the risk.

    min_w  f(w) = log(risk(w) + cost(w) / A) - sum_j b_j log(exposure_j(w))      within the limits

Without limits and costs the optimum has exactly the shares b. Where it meets the limits, or some multiple of it does
beside cash, it is the answer; otherwise the optimum within the limits is, the nearest in the sense of f, and the bound
of its certificate proves how near any portfolio can come.

References: Maillard, Roncalli & Teiletche (2010); Bruder & Roncalli (2012); Spinu (2013); Roncalli (2013), chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Vector
from kernel.constraints import WeightBounds
from kernel.errors import ProblemError
from kernel.measures.value_at_risk import ValueAtRisk
from kernel.measures.volatility import Variance, Volatility
from kernel.methods.balance_risk import BalanceRisk
from kernel.methods.budgets import Budgets
from kernel.methods.free_parity import FreeParity, free_parity, natural_sizes
from kernel.methods.held_measures import optimize_held
from kernel.methods.least_cash import beside_cash, least_cash
from kernel.methods.mean_risk import canonicalize, relative_gap
from kernel.methods.measured_again import largest_violation, measured_again
from kernel.methods.parity_limits import explain_failure, pose_limits, without_signs
from kernel.methods.risk_shares import gradient, risk_shares
from kernel.objectives import MaximizeReturn
from kernel.problem import Problem, Settings
from kernel.solution import Certificate, Solution
from kernel.status import Status

# A limit that is missed by no more than this is kept.
_KEPT = 1e-14
_ATTAINED = 1e-8
# Of logarithms of risks: a distance is proven where the bound exceeds it.
_ROUNDING = 1e-12
_SECTIONS = 60
# Times the portfolio that may be borrowed.
_LARGEST_CASH = 100.0


@dataclass(frozen=True, slots=True)
class RiskParity:
    """The answer, and how far it meets its budgets.

    Attributes:
        solution: Its objective is exp f, the risk for each unit of the weighted geometric mean of exposures.
        shares: (k,) of the risk; None without weights.
        distance: f less its least value without limits and costs, >= 0; None without weights, or without such a value.
        distance_bound: No portfolio within the limits has a smaller one. Above 0 it proves the budgets of assets out of
            reach where trading is free: a cost alone adds to every distance, and shares of fewer factors than assets
            may be met elsewhere.
        unconstrained: (n,) weights without limits and costs, adding up to 1; None where there are none such.
    """

    solution: Solution
    budgets: Budgets
    shares: Vector | None = None
    distance: float | None = None
    distance_bound: float | None = None
    unconstrained: Vector | None = None

    @property
    def largest_error(self) -> float:
        """Largest difference of a share and its budget relative to the budget; infinite without weights."""
        return np.inf if self.shares is None else float(np.abs(self.shares / self.budgets.b - 1.0).max())

    @property
    def attained(self) -> bool:
        """Whether the shares are the budgets."""
        return self.largest_error <= _ATTAINED


def risk_parity(
    problem: Problem, budgets: Budgets, settings: Settings, *, risk_aversion: float = 1.0, cash: int | None = None
) -> RiskParity:
    """The portfolio whose shares of the risk are the budgets, or are nearest to them within the limits.

    Args:
        problem: Whose measure, limits and cost count; its objective plays no part. Variance stands for volatility.
        budgets: Of the risk.
        settings: How far to go.
        risk_aversion: A: a cost counts as risk, divided by it.
        cash: The place of cash, which has no risk: of portfolios that differ in it alone, the one with least cash, or
            least borrowed, is the answer. None = there is no cash.

    Raises:
        ProblemError: The measure cannot be shared out, or a limit cannot be combined with budgets.
    """
    posed = pose_limits(_with_measure_of_degree_one(problem), budgets)
    free = free_parity(posed, budgets, settings)
    solution = (
        None if free is None or posed.cost is not None else _unhindered(posed, budgets, free, cash, settings.tolerance)
    )
    if solution is None:
        solution = _within_limits(posed, budgets, free, settings, risk_aversion)
        if solution.weights is not None and posed.cost is None and cash is not None:
            held = least_cash(posed, solution.weights, float(solution.weights[cash]), cash)
            solution = replace(solution, weights=beside_cash(solution.weights, held, cash))
    if solution.weights is not None:
        solution = measured_again(problem, solution, solution.weights)
    return _judged(posed, budgets, free, solution)


def _with_measure_of_degree_one(problem: Problem) -> Problem:
    measure = problem.measure
    if isinstance(measure, Variance):
        measure = Volatility(measure.moments)
    if isinstance(measure, ValueAtRisk):
        reason = "var is not convex, so it has no portfolio of given shares that could be certified; cvar is and has"
        raise ProblemError("risk_measure", reason)
    gradient(measure, np.ones(problem.moments.n))
    return replace(problem, measure=measure)


def _unhindered(
    problem: Problem, budgets: Budgets, free: FreeParity, cash: int | None, tolerance: float
) -> Solution | None:
    """The portfolio without limits, beside as little cash as they need, where it meets them."""
    total = float(free.w.sum())
    if not total > 0.0:
        return None
    w = free.w / total
    if cash is not None:
        held = _cash_within_limits(problem, free.w, cash)
        if held is None:
            return None
        w = beside_cash(free.w, held, cash)
    violation = largest_violation(problem, w)
    value, bound = (float(np.exp(f)) for f in (_f(problem, budgets, w), free.bound))
    gap = relative_gap(value, bound)
    if violation > _KEPT * max(1.0, float(np.abs(w).sum())) or gap > tolerance:
        return None
    certificate = Certificate(value, bound, gap, violation, free.iterations, free.solver)
    message = f"optimal: relative gap {gap:.1e}, largest violation {violation:.1e}; no limit is in the way"
    return Solution(Status.OPTIMAL, message, w, certificate)


def _cash_within_limits(problem: Problem, w: Vector, cash: int) -> float | None:
    """How much cash, or borrowing, is least beside assets in the ratios of `w`; None where no amount will do.

    What a limit is missed by is convex in the amount, so ternary search finds where it is least.
    """
    bounds = [c for c in problem.constraints if isinstance(c, WeightBounds)]
    low = max((float(c.lower[cash]) for c in bounds), default=0.0)
    high = min((float(c.upper[cash]) for c in bounds), default=0.0)
    wanted = min(max(0.0, low), high)
    if largest_violation(problem, beside_cash(w, wanted, cash)) <= _KEPT:
        return wanted
    low, high = max(low, -_LARGEST_CASH), min(high, 1.0)
    for _ in range(_SECTIONS):
        if not low < high:
            return None
        first, second = low + (high - low) / 3.0, high - (high - low) / 3.0
        missed = [largest_violation(problem, beside_cash(w, held, cash)) for held in (first, second)]
        if min(missed) <= _KEPT:
            return least_cash(problem, w, first if missed[0] <= _KEPT else second, cash)
        low, high = (low, second) if missed[0] < missed[1] else (first, high)
    return None


def _within_limits(
    problem: Problem, budgets: Budgets, free: FreeParity | None, settings: Settings, risk_aversion: float
) -> Solution:
    sizes = natural_sizes(problem, budgets, free)
    objective = BalanceRisk(budgets.b, budgets.exposures, sizes, risk_aversion)
    signless = replace(problem, objective=objective, constraints=without_signs(problem.constraints, budgets))
    program = canonicalize(replace(signless, objective=MaximizeReturn()))
    if not program.is_convex:
        chosen = {v.name for v in program.integral} | {v.name for v in program.semicontinuous}
        raise ProblemError(
            ", ".join(sorted(chosen)), "cannot be combined with budgets of risk: it needs integer choices"
        )
    found = optimize_held(signless, settings)
    if found.weights is None:
        return explain_failure(problem, budgets, found, settings)
    return found


def _f(problem: Problem, budgets: Budgets, w: Vector) -> float:
    """F without costs."""
    return float(np.log(problem.measure.of(w)) - budgets.b @ np.log(budgets.exposures @ w))


def _judged(problem: Problem, budgets: Budgets, free: FreeParity | None, solution: Solution) -> RiskParity:
    unconstrained = None
    if free is not None and float(free.w.sum()) > 0.0:
        unconstrained = free.w / free.w.sum()
    if solution.weights is None or solution.certificate is None:
        return RiskParity(solution, budgets, unconstrained=unconstrained)
    shares = risk_shares(problem.measure, solution.weights, budgets)
    distance = bound = None
    if free is not None:
        certificate = solution.certificate
        distance = max(float(np.log(certificate.objective)) - free.value, 0.0)
        proven = float(np.log(certificate.bound)) if certificate.bound > 0.0 else -np.inf
        bound = max(proven - free.value - _ROUNDING, 0.0)
    return RiskParity(solution, budgets, shares, distance, bound, unconstrained)
