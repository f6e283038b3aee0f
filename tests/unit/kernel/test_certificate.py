"""The certificate's bound holds whatever multipliers it is given, and a wrong answer does not pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Program
from kernel.certificate import assess, lower_bound, project_dual, violation
from kernel.methods.mean_risk import canonicalize
from kernel.problem import Settings
from kernel.solvers import solve
from kernel.status import Status
from tests.unit.kernel.zoo import LIMITS, OBJECTIVES, SETTINGS, case


def program_of(objective: str, limits: str, universe: str = "bailey") -> Program:
    return canonicalize(case(universe, objective, limits).problem())


def solved(program: Program):
    raw = solve(program, SETTINGS)
    return raw.x, raw.z


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_multipliers_give_a_bound_above_the_optimum(objective, limits):
    """Random multipliers, of the size of the right ones and much larger, at the optimal and at other points x."""
    program = program_of(objective, limits)
    x, z = solved(program)
    best = program.objective(x)
    rng = np.random.default_rng(17)
    size = 1.0 + float(np.abs(z).max())
    for spread in (1e-3, 1.0, 30.0):
        for _ in range(20):
            wild = z + spread * size * rng.normal(size=len(z))
            other = x + 0.1 * rng.normal(size=len(x)) * rng.integers(0, 2)
            assert lower_bound(program, other, wild) <= best + 1e-9 * max(1.0, abs(best))


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_right_multipliers_close_the_gap(objective, limits):
    program = program_of(objective, limits)
    x, z = solved(program)
    assert assess(program, x, z).gap <= 1e-7
    assert assess(program, x, z).violation <= 1e-8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_wrong_answer_does_not_pass(objective):
    program = program_of(objective, "sectors")
    x, z = solved(program)
    weights = np.arange(10)
    swapped = x.copy()
    swapped[weights] = np.roll(x[weights], 1)
    spoiled = x.copy()
    spoiled[0] += 1e-4
    for wrong in (swapped, spoiled, np.zeros_like(x)):
        assert assess(program, wrong, z).status(SETTINGS) is Status.NUMERICAL_FAILURE
    assert assess(program, x, np.zeros_like(z)).gap > SETTINGS.loose_tolerance


def test_a_feasible_answer_that_is_not_the_best_shows_in_the_gap():
    program = program_of("risk", "none")
    x, z = solved(program)
    other = 0.99 * x + 0.01 * np.full(10, 0.1)
    judged = assess(program, other, z)
    assert judged.violation <= 1e-15
    true_gap = (program.objective(other) - program.objective(x)) / program.objective(other)
    assert judged.gap >= true_gap
    assert judged.status(SETTINGS) is Status.NUMERICAL_FAILURE


@pytest.mark.parametrize(
    ("gap", "status"),
    [(1e-9, Status.OPTIMAL), (1e-6, Status.OPTIMAL_TO_TOLERANCE), (1e-3, Status.NUMERICAL_FAILURE)],
)
def test_the_status_follows_the_worst_number(gap, status):
    builder = ProgramBuilder(1)
    builder.add_bounds(np.array([1.0]), np.array([2.0]), (["low"], ["high"]))
    builder.minimize_linear(builder.weights, np.array([1.0]))
    program = builder.build()
    assert assess(program, np.array([1.0 + gap]), np.zeros(0)).status(Settings()) is status
    assert assess(program, np.array([1.0 - gap]), np.zeros(0)).status(Settings()) is status


def test_violation_measures_every_kind_of_row():
    builder = ProgramBuilder(2)
    row = np.array([[1.0, 1.0]])
    builder.add_rows(["sum"], Cone.ZERO, [(builder.weights, row)], np.array([1.0]))
    builder.add_rows(["cap"], Cone.NONNEGATIVE, [(builder.weights, np.array([[1.0, 0.0]]))], np.array([0.5]))
    cone = np.vstack([np.zeros((1, 2)), -np.eye(2)])
    builder.add_rows(["ball"], Cone.SECOND_ORDER, [(builder.weights, cone)], np.array([0.9, 0.0, 0.0]))
    builder.add_bounds(np.zeros(2), np.ones(2), (["l", "l"], ["u", "u"]))
    builder.add_semicontinuous("smallest", 1, 0.4)
    program = builder.build()
    assert violation(program, np.array([0.5, 0.5])) == 0.0
    assert violation(program, np.array([0.5, 0.4])) == pytest.approx(0.1)
    assert violation(program, np.array([0.7, 0.3])) == pytest.approx(0.2)
    assert violation(program, np.array([-0.2, 1.2])) == pytest.approx(np.hypot(0.2, 1.2) - 0.9)
    assert violation(program, np.array([0.3, 0.35])) == pytest.approx(0.35)
    assert violation(program, np.array([0.5, 0.35])) == pytest.approx(0.15)


def test_violation_of_a_ratio_is_measured_in_weights():
    """The scaled variables of a ratio program may be large or small: what counts is what the weights violate."""
    program = program_of("ratio", "sectors")
    x, _ = solved(program)
    kappa = x[program.kappa]
    x[0] += 1e-3 * kappa
    assert violation(program, x) * max(kappa, 1.0) >= 1e-3 * min(kappa, 1.0)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=5))
@settings(max_examples=100, deadline=None)
def test_projection_onto_the_second_order_cone(values):
    """The projection lies in the cone, what is left is orthogonal to it and lies in the polar cone (Moreau)."""
    v = np.array(values)
    builder = ProgramBuilder(len(v) - 1)
    rows = np.vstack([np.zeros((1, len(v) - 1)), np.eye(len(v) - 1)])
    builder.add_rows(["cone"], Cone.SECOND_ORDER, [(builder.weights, rows)], np.zeros(len(v)))
    p = project_dual(builder.build(), v)
    rest = v - p
    assert np.linalg.norm(p[1:]) <= p[0] + 1e-9
    assert np.linalg.norm(rest[1:]) <= -rest[0] + 1e-9
    assert abs(p @ rest) <= 1e-8 * (1 + v @ v)
