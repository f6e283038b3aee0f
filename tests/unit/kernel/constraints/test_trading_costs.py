"""Impact of power 3/2 and fixed charges inside every objective: against cvxpy's power cones, and the enumeration of
which assets trade."""

from itertools import product

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import NetReturnFloor, NumberOfPositions, WeightBounds, budget
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.status import Status
from tests.unit.kernel.constraints.judge import best, better
from tests.unit.kernel.zoo import OBJECTIVES, SETTINGS, factor_moments, long_only

N = 5
MOMENTS = factor_moments(71, N)
W0 = long_only(MOMENTS).w0
CAP = 0.6
RATES = np.linspace(0.001, 0.004, N)
IMPACT = np.linspace(0.01, 0.08, N)
FIXED = np.array([0.002, 0.001, 0.0, 0.003, 0.002])
LARGEST = np.maximum(W0, CAP - W0)


def posed(objective, cost, *constraints, lower=0.0):
    box = WeightBounds(np.full(N, lower), np.full(N, CAP), ("min",) * N, ("max",) * N)
    posing = MinimizeRisk(20.0) if objective == "risk" else OBJECTIVES[objective]
    return Problem(MOMENTS, posing, Volatility(MOMENTS), (budget(N), box, *constraints), cost)


def limits(y, s):
    return [cp.sum(y) == s, y >= 0, y <= CAP * s]


def impact_charge(y, s, trading=tuple(range(N))):
    """e >= |d|^(3/2) / sqrt(s) as ``e^(2/3) s^(1/3) >= |d|``."""
    chosen = sorted(trading)
    d, e = (y - W0 * s)[chosen], cp.Variable(len(chosen))
    scale = cp.Constant(np.ones(len(chosen))) if isinstance(s, float) else s * np.ones(len(chosen))
    cones = cp.constraints.PowCone3D(e, scale, d, np.full(len(chosen), 2 / 3))
    return RATES @ cp.abs(y - W0 * s) + IMPACT[chosen] @ e, [cones]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_impact_equals_the_judge(objective):
    problem = posed(objective, TradingCost(RATES, W0, impact=IMPACT))
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    expected = best(MOMENTS, problem.objective, limits, impact_charge)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_impact_without_size_changes_nothing(objective):
    plain = optimize(posed(objective, TradingCost(RATES, W0)), SETTINGS)
    same = optimize(
        posed(objective, TradingCost(RATES, W0, impact=np.zeros(N), fixed=np.zeros(N), largest=LARGEST)), SETTINGS
    )
    assert same.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-9)


def fixed_enumerated(objective, extra=lambda y, s: [], impact=False):
    """The best over every choice of which assets with a charge may trade."""
    charged = np.flatnonzero(FIXED).tolist()
    values = []
    for choice in product([True, False], repeat=len(charged)):
        trading = {i for i, trades in zip(charged, choice, strict=True) if trades}
        total = float(FIXED[list(trading)].sum()) if trading else 0.0

        def rows(y, s, trading=trading):
            still = [y[i] == W0[i] * s for i in charged if i not in trading]
            return [*limits(y, s), *still, *extra(y, s)]

        def charge(y, s, total=total, trading=trading):
            free = trading | set(np.flatnonzero(FIXED == 0.0).tolist())
            variable, more = impact_charge(y, s, free) if impact else (RATES @ cp.abs(y - W0 * s), [])
            return variable + total * s, more

        values.append(best(MOMENTS, objective, rows, charge))
    return better(objective, values)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_fixed_charge_equals_the_enumeration(objective):
    problem = posed(objective, TradingCost(RATES, W0, fixed=FIXED, largest=LARGEST))
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert solution.certificate.objective == pytest.approx(fixed_enumerated(problem.objective), rel=1e-6)


@pytest.mark.parametrize("objective", ["risk", "ratio"])
def test_a_fixed_charge_beside_impact(objective):
    problem = posed(objective, TradingCost(RATES, W0, impact=IMPACT, fixed=FIXED, largest=LARGEST))
    solution = optimize(problem, SETTINGS)
    assert solution.certificate is not None, solution.message
    expected = fixed_enumerated(problem.objective, impact=True)
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)


def test_a_charge_so_high_that_nothing_trades():
    charge = np.full(N, 0.5)
    solution = optimize(posed("utility", TradingCost(RATES, W0, fixed=charge, largest=LARGEST)), SETTINGS)
    np.testing.assert_array_equal(solution.weights, W0)


def test_charges_and_few_positions():
    """Getting down to three positions takes at least two trades."""
    cost = TradingCost(RATES, W0, fixed=FIXED, largest=LARGEST)
    few = NumberOfPositions("positions", 3, tuple(range(N)), np.full(N, CAP))
    problem = posed("return", cost, few)
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    values = []
    for held in product([True, False], repeat=N):
        if sum(held) == 3:
            outside = [i for i in range(N) if not held[i]]
            values.append(
                fixed_enumerated(problem.objective, lambda y, s, outside=outside: [y[i] == 0 for i in outside])
                if any(held)
                else None
            )
    assert solution.certificate.objective == pytest.approx(better(problem.objective, values), rel=1e-6)


def test_a_floor_under_the_return_after_charges():
    cost = TradingCost(RATES, W0, fixed=FIXED, largest=LARGEST)
    floor = float(MOMENTS.mu @ W0) + 0.01
    problem = posed("risk", None, NetReturnFloor("floor", MOMENTS.mu, floor, cost))
    solution = optimize(problem, SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.OPTIMAL_TO_TOLERANCE), solution.message
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8
    charged = np.flatnonzero(FIXED).tolist()
    values = []
    for choice in product([True, False], repeat=len(charged)):
        trading = [i for i, trades in zip(charged, choice, strict=True) if trades]

        def rows(y, s, trading=trading):
            still = [y[i] == W0[i] * s for i in charged if i not in trading]
            left = MOMENTS.mu @ y - RATES @ cp.abs(y - W0 * s) - FIXED[trading].sum() * s
            return [*limits(y, s), *still, left >= floor * s]

        values.append(best(MOMENTS, OBJECTIVES["risk"], rows))
    assert solution.certificate.objective == pytest.approx(better(OBJECTIVES["risk"], values), rel=1e-6)


def test_expiry_with_charges_returns_an_incumbent():
    n = 40
    moments = factor_moments(72, n)
    w0 = long_only(moments).w0
    box = WeightBounds(np.zeros(n), np.full(n, 0.2), ("min",) * n, ("max",) * n)
    cost = TradingCost(np.full(n, 0.001), w0, fixed=np.full(n, 5e-4), largest=np.full(n, 0.2))
    problem = Problem(moments, OBJECTIVES["utility"], Volatility(moments), (budget(n), box), cost)
    stopped = optimize(problem, Settings(node_limit=5))
    assert stopped.status is Status.LIMIT_REACHED
    assert stopped.certificate.objective <= stopped.certificate.bound


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fixed": FIXED}, "cost.largest: is needed"),
        ({"fixed": FIXED, "largest": np.zeros(N)}, "cost.largest: must be positive"),
        ({"fixed": -FIXED, "largest": LARGEST}, "cost.fixed: must be finite"),
        ({"impact": np.full(N, np.nan)}, "cost.impact: must be finite"),
    ],
)
def test_refusals(change, reason):
    with pytest.raises(ProblemError, match=reason):
        TradingCost(RATES, W0, **change)
