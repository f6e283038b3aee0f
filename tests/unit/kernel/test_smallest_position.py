"""Smallest positions against the exhaustive enumeration of every choice of held assets."""

from dataclasses import replace
from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, SmallestPosition, WeightBounds, budget
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import canonicalize, measurements, objective_value, optimize, recover
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.solvers import solve_convex
from kernel.solvers.base import RawStatus
from kernel.solvers.branch_and_bound import BranchAndBound
from kernel.status import Status
from tests.unit.kernel.constraints.judge import best, better
from tests.unit.kernel.zoo import OBJECTIVES, RISK_FREE, SETTINGS, Case, Limits, factor_moments, long_only

N = 7
LIMITS = {
    "none": Limits(),
    "turnover": Limits(turnover=0.3),
    "sectors": Limits(sectors=True),
    "target volatility": Limits(volatility=0.97),
    "wide volatility": Limits(volatility=1.3),
    "costs": Limits(cost_rate=0.02),
}


def convex_problem(objective, limits, *, seed=21, cap=0.45):
    universe = long_only(factor_moments(seed, N), cap=cap, sectors=2)
    return Case(universe, OBJECTIVES[objective], LIMITS[limits]).problem()


def with_threshold(problem: Problem, threshold: float, indices=tuple(range(N))) -> Problem:
    return replace(problem, constraints=(*problem.constraints, SmallestPosition("smallest", threshold, indices)))


def with_bounds(problem: Problem, lower, upper) -> Problem:
    def changed(c):
        return replace(c, lower=lower, upper=upper) if isinstance(c, WeightBounds) else c

    return replace(problem, constraints=tuple(changed(c) for c in problem.constraints))


def best_by_enumeration(problem: Problem, threshold: float, indices=tuple(range(N))) -> float:
    """The best objective over all choices of held (>= threshold) and not held (0) assets."""
    bounds = next(c for c in problem.constraints if isinstance(c, WeightBounds))
    sign = -1.0 if isinstance(problem.objective, MinimizeRisk) else 1.0
    best = -np.inf
    for held in product([True, False], repeat=len(indices)):
        lower, upper = bounds.lower.copy(), bounds.upper.copy()
        for i, is_held in zip(indices, held, strict=True):
            lower[i], upper[i] = (max(lower[i], threshold), upper[i]) if is_held else (lower[i], 0.0)
        if (lower > upper).any() or lower.sum() > 1 or upper.sum() < 1:
            continue
        chosen = with_bounds(problem, lower, upper)
        program = canonicalize(chosen)
        raw = solve_convex(program, SETTINGS)
        if raw.status is RawStatus.SOLVED:
            best = max(best, sign * objective_value(chosen, recover(chosen, program, raw)))
    return sign * best


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equals_the_enumeration(objective, limits):
    problem, threshold = convex_problem(objective, limits), 0.12
    solution = optimize(with_threshold(problem, threshold), SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert solution.certificate.objective == pytest.approx(best_by_enumeration(problem, threshold), rel=1e-7)
    w = solution.weights
    assert ((w == 0) | (w >= threshold - 1e-8)).all()
    assert solution.certificate.gap <= SETTINGS.loose_tolerance


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_large_threshold(objective):
    """A threshold so large that at most four assets fit: residues of the others must not count as positions."""
    problem, threshold = convex_problem(objective, "wide volatility", cap=1.0), 0.24
    solution = optimize(with_threshold(problem, threshold), SETTINGS)
    assert solution.certificate is not None, solution.message
    assert solution.certificate.objective == pytest.approx(best_by_enumeration(problem, threshold), rel=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_only_the_named_assets_are_positions(objective):
    """Cash, say, may hold any amount."""
    problem, threshold, indices = convex_problem(objective, "none"), 0.2, (0, 2, 3, 5)
    solution = optimize(with_threshold(problem, threshold, indices), SETTINGS)
    expected = best_by_enumeration(problem, threshold, indices)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_floor_on_a_held_asset(objective):
    """An asset that must be held, below and above the threshold."""
    problem, threshold = convex_problem(objective, "none"), 0.12
    lower = np.zeros(N)
    lower[1], lower[4] = 0.03, 0.15
    bounded = with_bounds(problem, lower, np.full(N, 0.45))
    solution = optimize(with_threshold(bounded, threshold), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    assert solution.certificate.objective == pytest.approx(best_by_enumeration(bounded, threshold), rel=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_threshold_without_effect(objective):
    problem = convex_problem(objective, "none")
    free = optimize(problem, SETTINGS)
    held = optimize(with_threshold(problem, 1e-6), SETTINGS)
    assert held.certificate.objective == pytest.approx(free.certificate.objective, rel=1e-8)


def test_node_limit_returns_the_incumbent_and_a_valid_bound():
    universe = long_only(factor_moments(22, 30))
    problem = with_threshold(Case(universe, MinimizeRisk(), Limits()).problem(), 0.08, tuple(range(30)))
    proven = optimize(problem, SETTINGS)
    assert proven.status is Status.OPTIMAL
    stopped = optimize(problem, Settings(node_limit=3))
    assert stopped.status is Status.LIMIT_REACHED
    assert stopped.certificate.bound <= proven.certificate.objective <= stopped.certificate.objective
    assert stopped.certificate.bound > 0.5 * proven.certificate.objective
    assert stopped.certificate.gap > SETTINGS.tolerance
    assert min(m.slack for m in measurements(problem, stopped.weights)) >= -1e-8
    assert "limit" in stopped.message


def test_time_limit_counts_the_callers_clock():
    ticks = iter(range(1000))
    universe = long_only(factor_moments(22, 30))
    problem = with_threshold(Case(universe, MinimizeRisk(), Limits()).problem(), 0.08, tuple(range(30)))
    stopped = optimize(problem, Settings(deadline=2.0, clock=lambda: float(next(ticks))))
    assert stopped.status is Status.LIMIT_REACHED


def test_the_root_is_looked_at_whatever_the_limit():
    problem = with_threshold(convex_problem("risk", "none"), 0.12)
    proven = optimize(problem, SETTINGS)
    stopped = optimize(problem, Settings(node_limit=0))
    assert stopped.status is Status.LIMIT_REACHED
    assert stopped.certificate.bound <= proven.certificate.objective <= stopped.certificate.objective


def test_a_limit_before_any_portfolio_is_found():
    """The root holds both of a pair that cannot be held together; that one of them is enough only nodes could tell."""
    moments = Moments(("A", "B", "C", "D"), np.zeros(4), np.diag([0.01, 0.01, 0.02, 0.021]))
    bounds = WeightBounds(np.zeros(4), np.full(4, 0.45), ("min",) * 4, ("max",) * 4)
    pair = LinearLimit(np.array([1.0, 1.0, 0.0, 0.0]), -np.inf, 0.55, "pair", "pair")
    free = Problem(moments, MinimizeRisk(), Volatility(moments), (bounds, budget(4), pair))
    problem = with_threshold(free, 0.3, range(4))
    stopped = optimize(problem, Settings(node_limit=0))
    assert stopped.status is Status.LIMIT_REACHED
    assert stopped.weights is None
    assert optimize(problem, SETTINGS).status is Status.OPTIMAL


def test_positions_that_cannot_add_up_are_infeasible():
    """Seven assets of at most 0.2, each zero or at least 0.19: five make 0.95 to 1.0, which fits; of 0.14 none does."""
    problem = convex_problem("risk", "none", cap=0.15)
    assert optimize(with_threshold(problem, 0.14), SETTINGS).status is Status.OPTIMAL
    solution = optimize(with_threshold(with_bounds(problem, np.zeros(N), np.full(N, 0.16)), 0.145), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert "smallest" in solution.explanation.conflicting


def best_with_shorts(problem: Problem, threshold: float, low: float, high: float) -> float:
    """The best objective, by cvxpy, over all choices of not held, long and short assets."""
    values = []
    for choice in product([0, 1, -1], repeat=problem.moments.n):
        if low > -threshold and -1 in choice:
            continue

        def limits(y, s, choice=choice):
            rows = [cp.sum(y) == s, y >= low * s, y <= high * s]
            for i, sign in enumerate(choice):
                rows.append(sign * y[i] >= threshold * s if sign else y[i] == 0)
            return rows

        values.append(best(problem.moments, problem.objective, limits))
    return better(problem.objective, values)


@pytest.mark.parametrize("low", [-0.3, -0.1])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_short_positions_are_as_large(objective, low):
    """Short by 0.3 is enough for a position of 0.15; by 0.1 it never is, so that nothing is sold short."""
    moments, n, high, threshold = factor_moments(23, 4), 4, 0.7, 0.15
    bounds = WeightBounds(np.full(n, low), np.full(n, high), ("min",) * n, ("max",) * n)
    posed = Problem(moments, OBJECTIVES[objective], Volatility(moments), (budget(n), bounds))
    problem = with_threshold(posed, threshold, tuple(range(n)))
    solution = optimize(problem, SETTINGS)
    assert solution.certificate is not None, solution.message
    expected = best_with_shorts(posed, threshold, low, high)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.5, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(threshold):
    with pytest.raises(ProblemError, match="smallest"):
        SmallestPosition("smallest", threshold, (0,))


def test_nodes_whose_relaxation_fails_are_not_counted_as_empty():
    """A node that no solver could settle proves nothing: the search may not call its rest optimal."""
    problem = with_threshold(convex_problem("risk", "none"), 0.12)
    program = canonicalize(problem)
    optimal = BranchAndBound(solve_convex).solve(program, SETTINGS)
    calls = iter(range(10_000))

    def flaky(node, settings):
        raw = solve_convex(node, settings)
        return replace(raw, status=RawStatus.FAILED) if next(calls) > 0 else raw

    raw = BranchAndBound(flaky).solve(program, SETTINGS)
    assert raw.status not in (RawStatus.SOLVED, RawStatus.INFEASIBLE)
    assert raw.bound is None or raw.bound <= program.objective(optimal.x) * (1 + 1e-8)


def test_excess_return_is_judged_on_what_may_be_held():
    """The ratio of a position problem keeps the caller's risk-free rate."""
    problem = with_threshold(convex_problem("ratio", "none"), 0.12)
    solution = optimize(problem, SETTINGS)
    w = solution.weights
    ratio = (problem.moments.mu @ w - RISK_FREE) / problem.moments.volatility(w)
    assert solution.certificate.objective == pytest.approx(ratio, rel=1e-12)
