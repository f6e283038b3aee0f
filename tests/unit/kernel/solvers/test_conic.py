"""Cones: answers against closed forms and SciPy, polished from afar to the last digits."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone
from kernel.certificate import assess, proves_infeasible
from kernel.problem import Settings
from kernel.solvers import RawStatus, solve_convex
from kernel.solvers.clarabel_conic import ClarabelSolver
from kernel.solvers.conic_polish import polish_conic
from kernel.solvers.highs_lp import HighsSolver
from kernel.solvers.least_norm import LeastNorm
from kernel.solvers.piqp_qp import PiqpSolver
from kernel.solvers.scaling import Scaled
from tests.unit.kernel.solvers.programs import highest_return, least_risk, returns

SETTINGS = Settings()
ROUGH = Settings(tolerance=1e-3)


def ball(c, radius=1.0):
    """minimize c'x within a ball."""
    n = len(c)
    builder = ProgramBuilder(n)
    rows = np.vstack([np.zeros((1, n)), np.eye(n)])
    builder.add_rows(("ball",), Cone.SECOND_ORDER, [(builder.weights, rows)], np.append(radius, np.zeros(n)))
    builder.minimize_linear(builder.weights, c)
    return builder.build()


def log_sum_exp(C, d):
    """minimize t with log sum_k exp(c_k'x + d_k) <= t over the simplex."""
    K, n = C.shape
    builder = ProgramBuilder(n)
    builder.add_bounds(np.zeros(n), np.ones(n), (("low",) * n, ("high",) * n))
    builder.add_rows(("budget",), Cone.ZERO, [(builder.weights, np.ones((1, n)))], np.ones(1))
    t, v = builder.add_variables(1), builder.add_variables(K, lower=0.0)
    for k in range(K):
        loss = np.zeros((3, n))
        loss[0] = -C[k]
        own = slice(v.start + k, v.start + k + 1)
        terms = [(builder.weights, loss), (t, np.array([[1.0], [0.0], [0.0]])), (own, np.array([[0.0], [0.0], [-1.0]]))]
        builder.add_rows(("definition",), Cone.EXPONENTIAL, terms, np.array([d[k], 1.0, 0.0]))
    builder.add_rows(("definition",), Cone.NONNEGATIVE, [(v, np.ones((1, K)))], np.ones(1))
    builder.minimize_linear(t, np.ones(1))
    return builder.build()


def test_the_ball_is_left_where_the_objective_points():
    c = np.array([3.0, -1.0, 2.0, 0.5])
    raw = solve_convex(ball(c, 2.0), SETTINGS)
    np.testing.assert_allclose(raw.x, -2.0 * c / np.linalg.norm(c), rtol=1e-12)
    assert assess(ball(c, 2.0), raw.x, raw.z).gap <= 1e-12


def test_polishing_doubles_the_digits_of_a_rough_answer():
    rng = np.random.default_rng(4)
    for program in (ball(rng.normal(size=30)), log_sum_exp(rng.normal(size=(40, 6)), rng.normal(size=40))):
        raw = ClarabelSolver().solve(program, ROUGH)
        before = assess(program, raw.x, raw.z)
        x, z = polish_conic(program, raw.x, raw.z)
        after = assess(program, x, z)
        assert max(after.gap, after.violation) <= 1e-11
        assert max(before.gap, before.violation) >= 1e-7


def test_polishing_never_harms():
    program = log_sum_exp(np.random.default_rng(4).normal(size=(40, 6)), np.zeros(40))
    raw = solve_convex(program, SETTINGS)
    for noise in (1e-6, 1e-2, 1.0):
        x = raw.x + noise * np.random.default_rng(1).normal(size=program.size)
        before = assess(program, x, raw.z)
        after = assess(program, *polish_conic(program, x, raw.z))
        assert max(after.gap, after.violation) <= max(before.gap, before.violation)


def test_log_sum_exp_agrees_with_scipy():
    rng = np.random.default_rng(9)
    C, d = rng.normal(size=(60, 5)), rng.normal(size=60)
    raw = solve_convex(log_sum_exp(C, d), SETTINGS)

    def value(x):
        return float(scipy.special.logsumexp(C @ x + d))

    expected = scipy.optimize.minimize(
        value,
        np.full(5, 0.2),
        jac=lambda x: scipy.special.softmax(C @ x + d) @ C,
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1.0, "jac": lambda x: np.ones(5)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert value(raw.x[:5]) == pytest.approx(expected.fun, abs=1e-9)
    assert raw.x[5] == pytest.approx(value(raw.x[:5]), abs=1e-10)


@pytest.mark.parametrize("shape", [(60, 8), (5, 8), (300, 40)])
def test_least_norms_agree_with_nonnegative_least_squares(shape):
    """Lawson & Hanson's method, through SciPy. With more unknowns than equations the residual is zero."""
    rng = np.random.default_rng(sum(shape))
    M = rng.normal(size=shape)
    m = M @ rng.uniform(size=shape[1]) if shape[0] < shape[1] else rng.normal(size=shape[0])
    builder = ProgramBuilder(shape[1])
    builder.add_bounds(np.zeros(shape[1]), np.full(shape[1], np.inf), (("low",) * shape[1], ("high",) * shape[1]))
    t = builder.add_norm([(builder.weights, M)], m)
    builder.minimize_linear(t, np.array([3.0]))
    program = builder.build()
    assert LeastNorm.of(program) is not None
    raw = solve_convex(program, SETTINGS)
    _, norm = scipy.optimize.nnls(M, m)
    assert program.objective(raw.x) == pytest.approx(3.0 * norm, rel=1e-9, abs=1e-9)
    assessment = assess(program, raw.x, raw.z)
    assert assessment.objective - assessment.bound <= 1e-8
    assert assessment.violation <= 1e-9


def test_only_programs_that_minimise_one_norm_are_quadratic():
    R = returns(60, 8)
    p = np.full(60, 1 / 60)
    assert LeastNorm.of(least_risk(R, p, "semi_deviation", 0.5)) is not None
    assert LeastNorm.of(highest_return(R, p, "semi_deviation", 0.5, 0.01)) is None
    assert LeastNorm.of(least_risk(R, p, "cvar", 0.5)) is None
    builder = ProgramBuilder(3)
    t = builder.add_norm([(builder.weights, np.eye(3))], np.ones(3))
    builder.minimize_linear(t, np.ones(1))
    builder.minimize_linear(builder.weights, np.array([1.0, 0.0, 0.0]))
    assert LeastNorm.of(builder.build()) is None


@pytest.mark.parametrize("factor", [1e-9, 1e-4, 1.0, 1e5])
def test_rows_of_any_size_mean_the_same(factor):
    """Two limits on three returns, in units far from one: at the vertex that a hand calculation gives."""
    builder = ProgramBuilder(3)
    builder.add_bounds(np.zeros(3), np.ones(3), (("low",) * 3, ("high",) * 3))
    builder.add_rows(("budget",), Cone.ZERO, [(builder.weights, np.ones((1, 3)))], np.ones(1))
    builder.add_limit("risk", [(builder.weights, factor * np.array([1.0, 2.0, 4.0]))], factor * 2.5)
    builder.minimize_linear(builder.weights, -factor * np.array([1.0, 2.0, 5.0]))
    program = builder.build()
    raw = solve_convex(program, SETTINGS)
    np.testing.assert_allclose(raw.x, [0.5, 0.0, 0.5], atol=1e-9)
    assert raw.z[1] == pytest.approx(4.0 / 3.0, rel=1e-8), "four of return for three of risk"
    factors = Scaled.of(program).rows
    assert (factors is None) == (factor == 1.0)


def test_long_rows_are_lifted_without_a_change_of_the_answer():
    program = log_sum_exp(np.random.default_rng(12).normal(size=(80, 20)), np.zeros(80))
    raw = ClarabelSolver().solve(program, SETTINGS)
    assert raw.x.shape == (program.size,)
    assert raw.z.shape == (len(program.b),)
    assert raw.x[20] == pytest.approx(scipy.special.logsumexp(np.asarray(_losses(program) @ raw.x[:20])), abs=1e-7)


def _losses(program):
    return -program.A[1:241:3][:, :20].toarray()


def test_sparse_and_dense_quadratic_programs_agree():
    n = 450
    rng = np.random.default_rng(3)
    builder = ProgramBuilder(n)
    builder.add_bounds(np.zeros(n), np.ones(n), (("low",) * n, ("high",) * n))
    chain = sp.csr_array(sp.diags_array([np.ones(n - 1), -np.ones(n)], offsets=[-1, 0], shape=(n, n)))
    builder.add_rows(("step",) * n, Cone.NONNEGATIVE, [(builder.weights, chain)], rng.normal(0.0, 0.05, n))
    t = builder.add_norm([(builder.weights, sp.csr_array(sp.eye_array(n)))], rng.uniform(0.0, 1.0, n))
    builder.minimize_linear(t, np.ones(1))
    norm = LeastNorm.of(builder.build())
    assert norm is not None
    sparse = PiqpSolver().solve(norm.program, SETTINGS)
    conic = ClarabelSolver().solve(norm.program, SETTINGS)
    assert sparse.status is RawStatus.SOLVED
    np.testing.assert_allclose(sparse.x, conic.x, atol=1e-6)


def test_a_contradiction_is_proven_and_nothing_else():
    R = returns(60, 8)
    p = np.full(60, 1 / 60)
    impossible = highest_return(R, p, "cvar", 0.5, 1e-6)
    raw = HighsSolver().solve(impossible, SETTINGS)
    assert raw.status is RawStatus.INFEASIBLE
    assert proves_infeasible(impossible, raw.z)
    possible = highest_return(R, p, "cvar", 0.5, 1.0)
    rng = np.random.default_rng(0)
    assert not proves_infeasible(possible, raw.z)
    assert not any(proves_infeasible(possible, rng.normal(size=len(possible.b))) for _ in range(50))
    assert not proves_infeasible(impossible, np.zeros(len(impossible.b)))
