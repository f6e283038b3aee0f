"""A shadow price is the derivative of the optimal objective by its limit: measured by solving again beside it."""

from dataclasses import replace

import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, budget
from kernel.costs import TradingCost
from kernel.measures.volatility import Variance
from kernel.methods.mean_risk import optimize
from kernel.objectives import MinimizeRisk
from kernel.problem import Problem
from kernel.solution import Solution
from tests.unit.kernel.zoo import (
    OBJECTIVES,
    SETTINGS,
    Case,
    Limits,
    Universe,
    bounds_of,
    factor_moments,
    long_only,
)

STEP = 2e-5
UNIVERSE = long_only(factor_moments(31, 15), cap=0.35)


def improvement(base: Problem, other: Solution, better_than: Solution) -> float:
    sign = -1.0 if isinstance(base.objective, MinimizeRisk) else 1.0
    return sign * (other.certificate.objective - better_than.certificate.objective)


def solve(problem: Problem) -> Solution:
    solution = optimize(problem, SETTINGS)
    assert solution.certificate is not None, solution.message
    return solution


def price_of(solution: Solution, name: str) -> float:
    (report,) = [c for c in solution.constraints if c.name == name]
    return report.shadow_price


def check(pose, name: str, limit: float, relaxing: float) -> None:
    """`pose(limit)` is a problem with the limit `name`; `relaxing` is the sign of a change that relaxes it."""
    here = solve(pose(limit))
    above, below = solve(pose(limit + STEP)), solve(pose(limit - STEP))
    slope = relaxing * improvement(pose(limit), above, below) / (2 * STEP)
    assert abs(slope) > 1e-4, "the case must bind, or nothing is tested"
    assert price_of(here, name) == pytest.approx(slope, rel=1e-4)


def base(objective: str, *, costs: bool = False, universe: Universe = UNIVERSE) -> Problem:
    problem = Case(universe, OBJECTIVES[objective], Limits()).problem()
    if not costs:
        return problem
    # With an aversion of 20 variance and costs weigh about the same.
    weighed = MinimizeRisk(20.0) if objective == "risk" else problem.objective
    return replace(problem, objective=weighed, cost=TradingCost(0.01 * universe.dearness, universe.w0))


def plus(problem: Problem, constraint) -> Problem:
    return replace(problem, constraints=(*problem.constraints, constraint))


def sector(number: int):
    return np.array([float(s == number) for s in UNIVERSE.sectors])


@pytest.fixture(params=[False, True], ids=["no costs", "costs"])
def costs(request):
    return request.param


@pytest.fixture(params=OBJECTIVES)
def problem(request, costs):
    return base(request.param, costs=costs)


def largest_sector(problem):
    weights = [float(sector(k) @ solve(problem).weights) for k in range(4)]
    return int(np.argmax(weights)), max(weights)


def test_sector_maximum(problem):
    number, weight = largest_sector(problem)

    def pose(limit):
        return plus(problem, LinearLimit(sector(number), -np.inf, limit, "least", "most"))

    check(pose, "most", 0.7 * weight, relaxing=1.0)


def test_sector_minimum(problem):
    weights = [float(sector(k) @ solve(problem).weights) for k in range(4)]
    number = int(np.argmin(weights))

    def pose(limit):
        return plus(problem, LinearLimit(sector(number), limit, np.inf, "least", "most"))

    check(pose, "least", weights[number] + 0.08, relaxing=-1.0)


def test_sector_at_an_exact_weight(problem):
    """Of an equality the price is per unit by which it is raised, whatever its sign."""
    number, weight = largest_sector(problem)

    def pose(limit):
        return plus(problem, LinearLimit(sector(number), limit, limit, "exact", "exact"))

    check(pose, "exact", 0.7 * weight, relaxing=1.0)


def test_budget(problem):
    def pose(total):
        return replace(problem, constraints=(budget(UNIVERSE.n, total), *problem.constraints[1:]))

    check(pose, "budget", 0.97, relaxing=1.0)


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_turnover(problem, factor):
    wanted = factor * float(np.abs(solve(problem).weights - UNIVERSE.w0).sum())

    def pose(limit):
        return plus(problem, TurnoverLimit("turnover", limit, UNIVERSE.w0, factor))

    check(pose, "turnover", 0.55 * wanted, relaxing=1.0)


@pytest.mark.parametrize("objective", ["return", "utility", "ratio"])
def test_target_volatility(objective, costs):
    problem = base(objective, costs=costs)
    least = problem.measure.of(solve(replace(problem, objective=MinimizeRisk(), cost=None)).weights)
    wanted = problem.measure.of(solve(problem).weights)

    def pose(limit):
        return plus(problem, RiskLimit("target volatility", problem.measure, limit))

    check(pose, "target volatility", 0.4 * least + 0.6 * wanted, relaxing=1.0)


def test_largest_variance():
    """Its price is of the variance, in whose unit the limit is, not of the volatility that it stands for."""
    problem = base("return")
    variance = Variance(problem.moments)
    least = variance.of(solve(replace(problem, objective=MinimizeRisk())).weights)
    wanted = variance.of(solve(problem).weights)

    def pose(limit):
        return plus(problem, RiskLimit("max_variance", variance, limit))

    check(pose, "max_variance", 0.5 * least + 0.5 * wanted, relaxing=1.0)


def test_target_volatility_of_the_least_risk(costs):
    """Only costs can hold the least-risk objective above its least volatility."""
    problem = replace(base("risk", costs=True), objective=MinimizeRisk(0.5))
    here, least = (problem.measure.of(solve(p).weights) for p in (problem, replace(problem, cost=None)))

    def pose(limit):
        return plus(problem, RiskLimit("target volatility", problem.measure, limit))

    check(pose, "target volatility", 0.5 * (here + least), relaxing=1.0)


def test_largest_position(problem):
    """Of one asset, and of a cap that all assets share."""
    w = solve(problem).weights
    asset = int(np.argmax(w))

    def pose(limit):
        upper = UNIVERSE.upper.copy()
        upper[asset] = limit
        return replace(problem, constraints=(budget(15), bounds_of(replace(UNIVERSE, upper=upper))))

    check(pose, f"max {UNIVERSE.moments.names[asset]}", 0.7 * float(w[asset]), relaxing=1.0)


def test_a_cap_that_all_assets_share(problem):
    def pose(limit):
        bounds = replace(bounds_of(replace(UNIVERSE, upper=np.full(15, limit))), upper_names=("max position",) * 15)
        return replace(problem, constraints=(budget(15), bounds))

    check(pose, "max position", 0.131, relaxing=1.0)


def with_floor(problem: Problem, asset: int, floor: float) -> Problem:
    lower = UNIVERSE.lower.copy()
    lower[asset] = floor
    return replace(problem, constraints=(budget(15), bounds_of(replace(UNIVERSE, lower=lower))))


def test_smallest_weight(problem):
    w = solve(problem).weights
    asset = int(np.argmin(w))

    def pose(limit):
        return with_floor(problem, asset, limit)

    check(pose, f"min {UNIVERSE.moments.names[asset]}", float(w[asset]) + 0.02, relaxing=-1.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_long_only(objective):
    """A floor of zero, which in a ratio program is a bound where any other is a row."""
    problem = base(objective)
    at_zero = solve(problem)
    asset = int(np.argmin(at_zero.weights))
    below, above = (solve(with_floor(problem, asset, floor)) for floor in (-STEP, STEP))
    slope = improvement(problem, below, above) / (2 * STEP)
    assert slope > 1e-3
    assert price_of(at_zero, f"min {UNIVERSE.moments.names[asset]}") == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_limit_with_room_has_no_price(objective):
    problem = base(objective)
    number, weight = largest_sector(problem)
    relaxed = solve(plus(problem, LinearLimit(sector(number), -np.inf, weight + 0.01, "least", "most")))
    (report,) = [c for c in relaxed.constraints if c.name == "most"]
    assert not report.binding
    assert report.slack == pytest.approx(0.01, abs=1e-6)
    assert report.shadow_price == pytest.approx(0.0, abs=1e-7)
