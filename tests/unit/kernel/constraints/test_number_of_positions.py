"""The number of positions against the enumeration of every set of positions, each solved by cvxpy."""

from itertools import combinations, product

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, NumberOfPositions, SmallestPosition, TurnoverLimit, WeightBounds, budget
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import canonicalize, measurements, optimize
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.solvers import solve_convex
from kernel.solvers.base import RawStatus
from kernel.solvers.branch_and_bound import BranchAndBound
from kernel.status import Status
from tests.unit.kernel.constraints.judge import best, better, zero_outside
from tests.unit.kernel.zoo import OBJECTIVES, SETTINGS, factor_moments, long_only

N = 6
MOMENTS = factor_moments(51, N)
W0 = long_only(MOMENTS).w0
CAP = 0.6
EVERY = tuple(range(N))


def bounds(lower, upper=CAP):
    return WeightBounds(np.full(N, lower), np.full(N, upper), ("min",) * N, ("max",) * N)


def positions(largest, indices=EVERY, smallest=0, **more):
    return NumberOfPositions("positions", largest, indices, np.full(N, CAP), smallest, **more)


def posed(objective, *constraints, lower=0.0):
    objective = OBJECTIVES[objective] if isinstance(objective, str) else objective
    return Problem(MOMENTS, objective, Volatility(MOMENTS), (budget(N), bounds(lower), *constraints))


def solved(problem):
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-7
    return solution


def supports(largest, indices=EVERY):
    """Every largest set of assets that may be held, as a mask."""
    others = [i not in indices for i in EVERY]
    for chosen in combinations(indices, min(largest, len(indices))):
        yield [i in chosen or others[i] for i in EVERY]


def enumerated(objective, largest, indices=EVERY, lower=0.0, extra=lambda y, s: []):
    def limits(support):
        return lambda y, s: [
            cp.sum(y) == s,
            y >= lower * s,
            y <= CAP * s,
            *zero_outside(y, support),
            *extra(y, s),
        ]

    values = [best(MOMENTS, OBJECTIVES[objective], limits(support)) for support in supports(largest, indices)]
    return better(OBJECTIVES[objective], values)


@pytest.mark.parametrize("largest", [2, 3, 4])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equals_the_enumeration(objective, largest):
    solution = solved(posed(objective, positions(largest)))
    assert (solution.weights != 0).sum() <= largest
    assert solution.certificate.objective == pytest.approx(enumerated(objective, largest), rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_shorts(objective):
    solution = solved(posed(objective, positions(3), lower=-0.3))
    assert solution.certificate.objective == pytest.approx(enumerated(objective, 3, lower=-0.3), rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_only_the_named_assets_are_positions(objective):
    indices = (0, 2, 3, 5)
    solution = solved(posed(objective, positions(2, indices)))
    assert (solution.weights[list(indices)] != 0).sum() <= 2
    assert solution.certificate.objective == pytest.approx(enumerated(objective, 2, indices), rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_turnover_and_a_group(objective):
    group = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    limits = (TurnoverLimit("turnover", 0.6, W0), LinearLimit(group, 0.3, 0.7, "low", "high"), positions(4))
    expected = enumerated(
        objective,
        4,
        extra=lambda y, s: [0.5 * cp.norm1(y - W0 * s) <= 0.6 * s, group @ y >= 0.3 * s, group @ y <= 0.7 * s],
    )
    assert solved(posed(objective, *limits)).certificate.objective == pytest.approx(expected, rel=1e-6)


def with_thresholds(objective, largest, threshold, lower, smallest=0):
    """Every choice of none, long or short per asset, with at most (and at least) so many positions."""
    signs = (0, 1) if lower == 0.0 else (0, 1, -1)
    values = []
    for choice in product(signs, repeat=N):
        held = sum(map(abs, choice))
        if not smallest <= held <= largest:
            continue

        def limits(y, s, choice=choice):
            rows = [cp.sum(y) == s, y >= lower * s, y <= CAP * s]
            for i, sign in enumerate(choice):
                rows.append(sign * y[i] >= threshold * s if sign else y[i] == 0)
            return rows

        values.append(best(MOMENTS, OBJECTIVES[objective], limits))
    return better(OBJECTIVES[objective], values)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_a_smallest_position(objective):
    threshold = 0.22
    limits = (positions(3), SmallestPosition("smallest", threshold, EVERY))
    solution = solved(posed(objective, *limits))
    expected = with_thresholds(objective, 3, threshold, 0.0)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    # The order of the two must not matter.
    turned = solved(posed(objective, *limits[::-1]))
    assert turned.certificate.objective == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("objective", ["risk", "return", "ratio"])
def test_at_least_so_many(objective):
    """From 0.1 on a position counts towards the least; smaller ones may stand beside."""
    counted = 0.1
    solution = solved(posed(objective, positions(N, smallest=5, counted_from=counted)))
    assert (solution.weights >= counted - 1e-8).sum() >= 5

    def limits(chosen):
        return lambda y, s: [cp.sum(y) == s, y >= 0, y <= CAP * s, *(y[i] >= counted * s for i in chosen)]

    values = [best(MOMENTS, OBJECTIVES[objective], limits(chosen)) for chosen in combinations(EVERY, 5)]
    assert solution.certificate.objective == pytest.approx(better(OBJECTIVES[objective], values), rel=1e-6)


@pytest.mark.parametrize("objective", ["risk", "return"])
def test_at_least_so_many_with_shorts_and_a_smallest_position(objective):
    threshold = 0.15
    limits = (
        positions(5, smallest=5, counted_from=threshold),
        SmallestPosition("smallest", threshold, EVERY),
    )
    solution = solved(posed(objective, *limits, lower=-0.3))
    expected = with_thresholds(objective, 5, threshold, -0.3, smallest=5)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_limit_without_effect(objective):
    free = solved(posed(objective))
    limited = solved(posed(objective, positions(N - 1 if objective == "return" else N)))
    assert limited.certificate.objective == pytest.approx(free.certificate.objective, rel=1e-8)


def test_one_position():
    """The single asset that is best, since a cap of 1 lets it be all."""
    n = 8
    moments = factor_moments(52, n)
    wide = WeightBounds(np.zeros(n), np.ones(n), ("min",) * n, ("max",) * n)
    one = NumberOfPositions("positions", 1, tuple(range(n)), np.ones(n))
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(n), wide, one))
    solution = optimize(problem, SETTINGS)
    assert solution.certificate.objective == pytest.approx(np.sqrt(np.diag(moments.Sigma).min()), rel=1e-9)


def test_too_few_for_the_caps():
    """One position of at most 0.6 cannot hold everything."""
    solution = optimize(posed("risk", positions(1)), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert "positions" in solution.explanation.conflicting


def test_expiry_returns_the_incumbent_and_a_true_bound():
    n = 40
    moments = factor_moments(53, n)
    wide = WeightBounds(np.zeros(n), np.full(n, 0.3), ("min",) * n, ("max",) * n)
    few = NumberOfPositions("positions", 8, tuple(range(n)), np.full(n, 0.3))
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(n), wide, few))
    short, long = optimize(problem, Settings(node_limit=5)), optimize(problem, Settings(node_limit=300))
    assert short.status is Status.LIMIT_REACHED
    assert (short.weights != 0).sum() <= 8
    assert short.certificate.bound <= long.certificate.bound + 1e-12
    assert long.certificate.bound <= long.certificate.objective <= short.certificate.objective
    assert short.certificate.gap == pytest.approx(1 - short.certificate.bound / short.certificate.objective, rel=1e-9)
    assert optimize(problem, Settings(node_limit=5)).weights == pytest.approx(short.weights, abs=0.0)


def test_expiry_of_a_linear_program():
    ticks = iter(range(10_000))
    problem = posed("return", positions(2), TurnoverLimit("turnover", 0.7, W0))
    stopped = optimize(problem, Settings(deadline=0.0, clock=lambda: float(next(ticks))))
    proven = solved(problem)
    assert stopped.status is Status.LIMIT_REACHED
    if stopped.certificate is not None:
        assert stopped.certificate.objective <= proven.certificate.objective <= stopped.certificate.bound + 1e-12


def test_linear_programs_agree_with_the_search_over_relaxations():
    """HiGHS' branch and cut and our own search solve the same programs."""

    class NoLinear(BranchAndBound):
        def _by_cuts(self, search, root):
            return None

    problem = posed("return", positions(3), SmallestPosition("smallest", 0.2, EVERY), TurnoverLimit("t", 0.5, W0))
    program = canonicalize(problem)
    own, cuts = NoLinear(solve_convex).solve(program, SETTINGS), BranchAndBound(solve_convex).solve(program, SETTINGS)
    assert own.status is cuts.status is RawStatus.SOLVED
    assert program.objective(own.x) == pytest.approx(program.objective(cuts.x), rel=1e-8)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: positions(-1), "must not be negative"),
        (lambda: positions(2, smallest=3), "minimum 3 is above the maximum 2"),
        (lambda: positions(9, (0, 1), smallest=4), "asks for 4 positions among 2"),
        (lambda: NumberOfPositions("positions", 2, (0,), np.array([np.inf])), "finite largest position"),
        (lambda: NumberOfPositions("positions", 2, (0,), np.array([0.0])), "finite largest position"),
        (lambda: positions(4, smallest=2, counted_from=0.0), "count from above zero"),
    ],
)
def test_refusals(make, reason):
    with pytest.raises(ProblemError, match=f"positions: .*{reason}"):
        make()


def test_one_asset():
    moments = Moments(("A",), np.array([0.05]), np.array([[0.04]]))
    one = WeightBounds(np.zeros(1), np.ones(1), ("min",), ("max",))
    limits = (budget(1), one, NumberOfPositions("positions", 1, (0,), np.ones(1), smallest=1))
    solution = optimize(Problem(moments, OBJECTIVES["ratio"], Volatility(moments), limits), SETTINGS)
    assert solution.weights == pytest.approx([1.0])


def test_nothing_can_be_a_position():
    limits = (NumberOfPositions("positions", 0, (), np.ones(N)),)
    assert solved(posed("risk", *limits)).status is Status.OPTIMAL
