"""The integer search on random programs of switches, lots and thresholds, against SciPy's milp and the enumeration."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import optimize as scipy_optimize

from kernel.builder import ProgramBuilder
from kernel.canonical import Cone, Quadratic
from kernel.certificate import violation
from kernel.problem import Settings
from kernel.solvers import highs_mip, solve_convex
from kernel.solvers.base import RawStatus
from kernel.solvers.branch_and_bound import BranchAndBound
from kernel.solvers.fixing import Choice, Fixing

SETTINGS = Settings()
N, M = 6, 5


class OwnSearch(BranchAndBound):
    """Without HiGHS' branch and cut for linear programs."""

    def _by_cuts(self, search, root):
        return None


def random_program(seed, *, quadratic=False, homogeneous=False):
    """Variables in [0, 1], some in lots; switches that let them in, cost, exclude and require each other."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder(N, homogeneous=homogeneous)
    builder.add_bounds(np.zeros(N), np.full(N, 0.7), (("low",) * N, ("high",) * N))
    builder.add_rows(("budget",), Cone.ZERO, [(builder.weights, np.ones((1, N)))], np.ones(1))
    z = builder.add_switches("switch", M)
    chosen, reach = np.eye(N)[:M], -np.diag(rng.uniform(0.3, 0.7, M))
    builder.add_rows(("link",) * M, Cone.NONNEGATIVE, [(builder.weights, chosen), (z, reach)], np.zeros(M))
    builder.add_limit("at most", [(z, np.ones(M))], 3.0)
    if seed % 2:
        builder.add_limit("at least", [(z, -np.ones(M))], -2.0)
    if seed % 3 == 0:
        builder.add_limit("either", [(z, np.eye(M)[0] + np.eye(M)[1])], 1.0)
    if seed % 3 == 1:
        builder.add_integral("lots", N - 1, 0.13)
    if seed % 3 == 2:
        builder.add_semicontinuous("smallest", 2, 0.35)
    gains = rng.normal(0.1, 0.1, N)
    if homogeneous:
        builder.add_normalisation("gain", [(builder.weights, np.abs(gains)[None, :])])
    else:
        builder.minimize_linear(builder.weights, -gains)
        builder.minimize_linear(z, rng.uniform(0.0, 0.05, M))
    if quadratic:
        F = rng.normal(size=(N, N)) * 0.3
        builder.minimize_quadratic(Quadratic(F.T @ F + 0.05 * np.eye(N)))
    return builder.build()


def by_milp(program):
    """SciPy's answer; thresholds as two cases."""
    best = np.inf
    cases = [()] if not program.semicontinuous else [(False,), (True,)]
    for case in cases:
        lower, upper = program.lower.copy(), program.upper.copy()
        for v, held in zip(program.semicontinuous, case, strict=True):
            lower[v.index], upper[v.index] = (v.threshold, upper[v.index]) if held else (0.0, 0.0)
        steps, whole = np.ones(program.size), np.zeros(program.size)
        for v in program.integral:
            steps[v.index], whole[v.index] = v.step, 1
        low = np.where(program.mask(Cone.ZERO), program.b, -np.inf)
        found = scipy_optimize.milp(
            program.q * steps,
            integrality=whole,
            bounds=scipy_optimize.Bounds(lower / steps, upper / steps),
            constraints=scipy_optimize.LinearConstraint(sp.csr_array(program.A * steps[None, :]), low, program.b),
            options={"mip_rel_gap": 0.0},
        )
        if found.status == 0:
            best = min(best, found.fun)
    return best + program.offset


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("search", [OwnSearch, BranchAndBound])
def test_linear_programs(search, seed):
    program = random_program(seed)
    expected, raw = by_milp(program), search(solve_convex).solve(program, SETTINGS)
    if np.isinf(expected):
        assert raw.status is RawStatus.INFEASIBLE
        return
    assert raw.status is RawStatus.SOLVED
    assert program.objective(raw.x) == pytest.approx(expected, abs=1e-7)
    assert raw.bound <= program.objective(raw.x) + 1e-12
    assert violation(program, raw.x) <= 1e-8


def enumerated(program):
    """The best over every choice of all discrete variables, each a convex program without them."""
    values = []
    options = []
    for v in program.integral:
        most = 1 if v.step == 1.0 else int(0.7 / v.step)
        options.append([Choice(v.index, k * v.step, k * v.step) for k in range(most + 1)])
    options += [[Choice(v.index, 0.0, 0.0), Choice(v.index, lower=v.threshold)] for v in program.semicontinuous]
    free = replace(program, integral=(), semicontinuous=())
    for choices in product(*options):
        rows = []
        for c in choices:
            for sign, bound in ((1.0, c.upper), (-1.0, -c.lower)):
                if np.isfinite(bound):
                    row = np.zeros(program.size)
                    row[c.index] = sign
                    if program.kappa is not None:
                        row[program.kappa] -= bound
                    rows.append((row, bound if program.kappa is None else 0.0))
        A = sp.csr_array(sp.vstack([free.A, sp.csr_array(np.array([r for r, _ in rows]))]))
        start = len(free.b)
        block = replace(free.blocks[0], names=(), cone=Cone.NONNEGATIVE, start=start, stop=start + len(rows))
        b = np.append(free.b, [bound for _, bound in rows])
        raw = solve_convex(replace(free, A=A, b=b, blocks=(*free.blocks, block)), SETTINGS)
        if raw.status is RawStatus.SOLVED:
            values.append(program.objective(raw.x))
    return min(values, default=np.inf)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("homogeneous", [False, True])
def test_quadratic_programs(seed, homogeneous):
    program = random_program(seed, quadratic=True, homogeneous=homogeneous)
    expected, raw = enumerated(program), BranchAndBound(solve_convex).solve(program, SETTINGS)
    if np.isinf(expected):
        assert raw.status is RawStatus.INFEASIBLE
        return
    assert raw.status is RawStatus.SOLVED
    assert program.objective(raw.x) == pytest.approx(expected, rel=1e-6)
    assert violation(program, raw.x) <= 1e-7


@pytest.mark.parametrize("homogeneous", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_taken_out_changes_nothing(seed, homogeneous):
    """A reduced program's solution, expanded, keeps the choices and every row, and its bound is the reduced one's."""
    program = random_program(seed, quadratic=True, homogeneous=homogeneous)
    fixing = Fixing(program)
    first = program.integral[0].index
    for choice in (Choice(first, upper=0.0), Choice(first, lower=1.0)):
        reduced = fixing.reduce((choice,))
        if reduced is None:
            continue
        raw = solve_convex(reduced.program, SETTINGS)
        if raw.status is not RawStatus.SOLVED:
            continue
        x, _ = reduced.expand(raw.x, raw.z)
        assert reduced.program.size < program.size
        assert program.objective(x) == pytest.approx(reduced.program.objective(raw.x), rel=1e-10)
        assert violation(replace(program, integral=(), semicontinuous=()), x) <= 1e-8
        scale = 1.0 if program.kappa is None else x[program.kappa]
        assert x[first] / scale == pytest.approx(0.0 if choice.upper == 0.0 else 1.0, abs=1e-9)


def test_contradictory_choices_leave_nothing():
    program = random_program(0)
    first, second = program.integral[0].index, program.integral[1].index
    assert Fixing(program).reduce((Choice(first, lower=1.0), Choice(second, lower=1.0))) is None


def test_a_search_is_the_same_every_time():
    program = random_program(3, quadratic=True)
    first, second = (BranchAndBound(solve_convex).solve(program, Settings(node_limit=6)) for _ in range(2))
    assert first.bound == second.bound
    np.testing.assert_array_equal(first.x, second.x)


def test_highs_refuses_what_it_cannot_take():
    """Shorts with a smallest position, ratio programs and quadratic ones go to the other search."""
    assert highs_mip.accepts(random_program(2))
    assert not highs_mip.accepts(random_program(2, quadratic=True))
    assert not highs_mip.accepts(random_program(2, homogeneous=True))
    program = random_program(2)
    assert not highs_mip.accepts(replace(program, lower=program.lower - 0.1))


def test_a_search_that_fails_is_not_an_answer():
    program = random_program(3, quadratic=True)
    root = solve_convex(replace(program, integral=(), semicontinuous=()), SETTINGS)

    def broken(relaxed, settings):
        return replace(root, status=RawStatus.FAILED)

    assert BranchAndBound(broken).solve(program, SETTINGS).status is RawStatus.FAILED
