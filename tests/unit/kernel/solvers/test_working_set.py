"""Programs solved by parts: the answers are those of independent solvers on the whole, and certified there."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog

from kernel.canonical import Cone, Quadratic
from kernel.certificate import assess
from kernel.problem import Settings
from kernel.solvers import RawStatus, solve_convex
from kernel.solvers import _solve_part as solve_part
from kernel.solvers.working_set import solve_on_working_set
from tests.unit.kernel.solvers.programs import (
    WORDS,
    add_risk,
    highest_return,
    invested,
    least_risk,
    returns,
    textbook_risk,
)

SETTINGS = Settings()
T, N, CAP = 320, 150, 0.08
P = np.full(T, 1.0 / T)
FINE = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def certified(program, raw):
    assert raw.status is RawStatus.SOLVED
    assessment = assess(program, raw.x, raw.z)
    assert max(assessment.gap, assessment.violation) <= 1e-8
    return assessment.objective


def by_parts(program, start=None):
    """The solution by parts, and the sizes of the parts."""
    sizes = []

    def solve(part, settings):
        sizes.append((part.size, len(part.b)))
        return solve_part(part, settings)

    raw = solve_on_working_set(program, SETTINGS, start, solve)
    assert raw is not None
    return raw, sizes


def textbook(goal, limits, w):
    problem = cp.Problem(goal, [cp.sum(w) == 1, w >= 0, w <= CAP, *limits])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=cp.CLARABEL, **FINE)
    return problem.value


def variance_program(*, ratio=False, n=300, factor=True, scale=1.0):
    R = returns(400, n)
    X = (R - R.mean(axis=0)) * np.sqrt(252 / (len(R) - 1)) * scale
    builder = invested(n, CAP, homogeneous=ratio, sectors=True)
    builder.minimize_quadratic(Quadratic(factor=X) if factor else Quadratic(X.T @ X))
    if ratio:
        builder.add_normalisation("return", [(builder.weights, 252 * R.mean(axis=0)[None, :])])
    return builder.build(), X, 252 * R.mean(axis=0)


def textbook_variance(X, mu, *, ratio=False):
    y, scale = cp.Variable(X.shape[1]), cp.Variable(nonneg=True) if ratio else 1.0
    caps = [cp.sum(y[k::7]) <= 0.25 * scale for k in range(7)]
    limits = [cp.sum(y) == scale, y >= 0, y <= CAP * scale, *caps, *([mu @ y == 1] if ratio else [])]
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(X @ y)), limits)
    problem.solve(solver=cp.CLARABEL, **FINE)
    return problem.value


@pytest.mark.parametrize("factor", [True, False])
@pytest.mark.parametrize("ratio", [True, False])
def test_quadratic_programs_on_some_of_the_weights(ratio, factor):
    program, X, mu = variance_program(ratio=ratio, factor=factor)
    raw, sizes = by_parts(program)
    assert certified(program, raw) == pytest.approx(textbook_variance(X, mu, ratio=ratio), rel=1e-7)
    assert max(size for size, _ in sizes) < 0.6 * program.size


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scaled_data_scale_the_answer(scale):
    plain, scaled = (variance_program(scale=s)[0] for s in (1.0, scale))
    least, expected = (certified(p, solve_convex(p, SETTINGS)) for p in (scaled, plain))
    assert least == pytest.approx(scale**2 * expected, rel=1e-8)


@pytest.mark.parametrize("word", WORDS)
def test_least_risk_agrees_with_the_textbook(word):
    R = returns(T, N)
    program = least_risk(R, P, word, CAP)
    raw, sizes = by_parts(program)
    w = cp.Variable(N)
    expected = textbook(cp.Minimize(textbook_risk(R, P, word, w)), [], w)
    assert certified(program, raw) == pytest.approx(expected, rel=1e-6)
    assert max(size for size, _ in sizes) < 0.6 * program.size


@pytest.mark.parametrize("word", WORDS)
def test_least_risk_at_unequal_probabilities(word):
    R = returns(T, N)
    p = np.random.default_rng(5).dirichlet(np.full(T, 2.0))
    program = least_risk(R, p, word, CAP)
    w = cp.Variable(N)
    expected = textbook(cp.Minimize(textbook_risk(R, p, word, w)), [], w)
    assert certified(program, solve_convex(program, SETTINGS)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("word", WORDS)
def test_highest_return_within_a_limit_agrees_with_the_textbook(word):
    R = returns(T, N)
    w = cp.Variable(N)
    limit = 1.2 * textbook(cp.Minimize(textbook_risk(R, P, word, w)), [], w)
    program = highest_return(R, P, word, CAP, limit)
    expected = textbook(cp.Maximize(P @ R @ w), [textbook_risk(R, P, word, w) <= limit], w)
    assert -certified(program, solve_convex(program, SETTINGS)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("word", WORDS)
def test_the_ratio_is_return_over_the_least_risk(word):
    """Posed the other way round: highest return at a unit of risk."""
    R = returns(T, N)
    program = least_risk(R, P, word, CAP, ratio=True)
    y, scale = cp.Variable(N, nonneg=True), cp.Variable(nonneg=True)
    limits = [cp.sum(y) == scale, y <= CAP * scale, textbook_risk(R, P, word, y) <= 1]
    problem = cp.Problem(cp.Maximize(P @ R @ y), limits)
    problem.solve(solver=cp.CLARABEL, **FINE)
    assert 1.0 / certified(program, solve_convex(program, SETTINGS)) == pytest.approx(problem.value, rel=1e-6)


def test_many_scenarios_are_looked_at_in_groups():
    R = returns(6_000, 12)
    p = np.full(len(R), 1.0 / len(R))
    program = least_risk(R, p, "cvar", 0.5)
    raw, sizes = by_parts(program)
    equal = program.mask(Cone.ZERO)
    expected = linprog(
        program.q,
        A_ub=program.A[~equal],
        b_ub=program.b[~equal],
        A_eq=program.A[equal],
        b_eq=program.b[equal],
        bounds=np.column_stack([program.lower, program.upper]),
        method="highs-ipm",
    )
    assert certified(program, raw) == pytest.approx(expected.fun, rel=1e-8)
    assert max(size for size, _ in sizes) < 0.2 * program.size


def test_two_families_of_hinges():
    R = returns(T, N)
    builder = invested(N, CAP)
    place, coefficients = add_risk(builder, R, P, "mad")
    builder.minimize_linear(place, coefficients)
    builder.add_limit("tail", [add_risk(builder, R, P, "cvar")], 0.024)
    program = builder.build()
    w = cp.Variable(N)
    expected = textbook(cp.Minimize(textbook_risk(R, P, "mad", w)), [textbook_risk(R, P, "cvar", w) <= 0.024], w)
    assert certified(program, solve_convex(program, SETTINGS)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("word", WORDS)
def test_a_start_changes_the_way_and_not_the_answer(word):
    R = returns(T, N)
    first = least_risk(R, P, word, CAP)
    cold, rounds = by_parts(first)
    warm, fewer = by_parts(first, cold.x)
    assert certified(first, warm) == pytest.approx(certified(first, cold), rel=1e-9)
    assert len(fewer) <= len(rounds)
    other = least_risk(R, P, word, 0.7 * CAP)
    expected = certified(other, by_parts(other)[0])
    for start in (cold.x, np.zeros(other.size), np.full(other.size, 9.0), np.ones(3)):
        assert certified(other, solve_convex(other, SETTINGS, start)) == pytest.approx(expected, rel=1e-9)


def test_limits_that_need_nearly_every_asset():
    """At a cap little above 1/n most weights are at it, so that no part is small."""
    R = returns(T, N)
    program = least_risk(R, P, "mad", 1.05 / N)
    w = cp.Variable(N)
    limits = [cp.sum(w) == 1, w >= 0, w <= 1.05 / N]
    problem = cp.Problem(cp.Minimize(textbook_risk(R, P, "mad", w)), limits)
    problem.solve(solver=cp.CLARABEL, **FINE)
    assert certified(program, solve_convex(program, SETTINGS)) == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("word", WORDS)
def test_what_cannot_be_is_said_to_be_infeasible(word):
    R = returns(T, N)
    assert solve_convex(least_risk(R, P, word, 0.9 / N), SETTINGS).status is RawStatus.INFEASIBLE
    assert solve_convex(highest_return(R, P, word, CAP, 1e-6), SETTINGS).status is RawStatus.INFEASIBLE


def test_small_programs_are_solved_whole():
    assert (
        solve_on_working_set(least_risk(returns(50, 20), np.full(50, 0.02), "cvar", 0.5), SETTINGS, None, solve_part)
        is None
    )
