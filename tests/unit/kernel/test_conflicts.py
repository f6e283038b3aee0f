"""Infeasible problems: the conflict is a smallest one, and the stated relaxation resolves it."""

from dataclasses import replace

import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, TurnoverLimit, WeightBounds, budget
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Problem
from kernel.solution import Minimality
from kernel.status import Status
from tests.unit.kernel.zoo import SETTINGS, factor_moments

N = 8
MOMENTS = factor_moments(51, N)
MEASURE = Volatility(MOMENTS)
LEAST = float(MEASURE.of(np.linalg.solve(MOMENTS.Sigma, np.ones(N)) / np.linalg.solve(MOMENTS.Sigma, np.ones(N)).sum()))
HELD = np.eye(N)[0]  # everything in the first asset
OBJECTIVES = [MinimizeRisk(), MaximizeReturn(), MaximizeUtility(3.0), MaximizeRatio(0.02)]


def member(*assets):
    row = np.zeros(N)
    row[list(assets)] = 1.0
    return row


def bounds(lower=0.0, upper=1.0, *, shared=True):
    low, high = np.broadcast_to(lower, N).astype(float), np.broadcast_to(upper, N).astype(float)
    if shared:
        return WeightBounds(low, high, ("min_position_size",) * N, ("max_position_size",) * N)
    return WeightBounds(
        low, high, tuple(f"min_weights[{i}]" for i in range(N)), tuple(f"max_weights[{i}]" for i in range(N))
    )


def long_only():
    return WeightBounds(np.zeros(N), np.ones(N), ("long_only",) * N, ("no_leverage",) * N)


def at_least(limit, *assets, name):
    return LinearLimit(member(*assets), limit, np.inf, name, f"{name} maximum")


def at_most(limit, *assets, name):
    return LinearLimit(member(*assets), -np.inf, limit, f"{name} minimum", name)


def exactly(limit, *assets, name):
    return LinearLimit(member(*assets), limit, limit, name, name)


FIXED = np.zeros(N)
FIXED[2] = 0.4

# name: (constraints beside the budget, the smallest conflict, the least total change)
CONFLICTS = {
    "caps too small": ([bounds(upper=0.1)], {"max_position_size"}, 0.025),
    "floors too large": ([bounds(lower=0.2)], {"min_position_size"}, 0.075),
    "own caps too small": (
        [bounds(upper=np.linspace(0.05, 0.15, N), shared=False)],
        {f"max_weights[{i}]" for i in range(N)},
        0.2,
    ),
    "floor above cap": (
        [bounds(lower=np.where(np.arange(N) == 3, 0.5, 0.0), upper=0.3, shared=False)],
        {"min_weights[3]", "max_weights[3]"},
        0.2,
    ),
    "two sector minima": (
        [bounds(), at_least(0.7, 0, 1, name="tech min"), at_least(0.6, 2, 3, name="energy min")],
        {"tech min", "energy min", "min_position_size"},
        None,
    ),
    "sector maxima": (
        [bounds(), at_most(0.3, 0, 1, 2, 3, name="tech max"), at_most(0.4, 4, 5, 6, 7, name="energy max")],
        {"tech max", "energy max"},
        0.3,
    ),
    "sector minimum against caps": (
        [bounds(upper=0.2), at_least(0.5, 0, 1, name="tech min")],
        {"tech min", "max_position_size"},
        None,
    ),
    "sector at an exact weight above its caps": (
        [bounds(upper=0.2), exactly(0.5, 0, 1, name="tech exactly")],
        {"tech exactly", "max_position_size"},
        None,
    ),
    "sector at an exact weight below its floors": (
        [bounds(lower=0.05), exactly(0.02, 0, 1, name="tech exactly")],
        {"tech exactly", "min_position_size"},
        None,
    ),
    "two exact weights": (
        [bounds(), exactly(0.4, 0, 1, name="tech exactly"), exactly(0.3, 0, 1, name="tech else")],
        {"tech exactly", "tech else"},
        0.1,
    ),
    "an exact total above the budget": (
        [bounds(upper=0.5), exactly(1.2, *range(N), name="invested exactly")],
        {"invested exactly"},
        0.2,
    ),
    "an exact total below the budget": (
        [bounds(upper=0.5), exactly(0.9, *range(N), name="invested exactly")],
        {"invested exactly"},
        0.1,
    ),
    "turnover against a cap": (
        [bounds(upper=0.5), TurnoverLimit("max_turnover", 0.2, HELD)],
        {"max_turnover", "max_position_size"},
        None,
    ),
    "turnover against an exclusion": (
        [bounds(upper=np.where(np.arange(N) == 0, 0.0, 1.0), shared=False), TurnoverLimit("max_turnover", 0.2, HELD)],
        {"max_turnover", "max_weights[0]"},
        0.8,
    ),
    "two-way turnover against a sector": (
        [bounds(), at_least(0.5, 4, 5, name="tech min"), TurnoverLimit("max_turnover", 0.3, HELD, 1.0)],
        {"max_turnover", "tech min"},
        None,
    ),
    "volatility below the least": (
        [bounds(lower=-5.0, upper=5.0), RiskLimit("target_volatility", MEASURE, 0.5 * LEAST)],
        {"target_volatility"},
        0.5 * LEAST,
    ),
    "volatility against a fixed weight": (
        [bounds(lower=FIXED, shared=False), RiskLimit("target_volatility", MEASURE, 0.09)],
        None,
        None,
    ),
    "volatility against turnover": (
        [bounds(), TurnoverLimit("max_turnover", 0.05, HELD), RiskLimit("target_volatility", MEASURE, 1.4 * LEAST)],
        {"max_turnover", "target_volatility"},
        None,
    ),
    "return against volatility": (
        [
            bounds(),
            LinearLimit(MOMENTS.mu, float(np.sort(MOMENTS.mu)[-2]), np.inf, "target_return", "none", "return"),
            RiskLimit("target_volatility", MEASURE, 0.1),
        ],
        None,
        None,
    ),
    "with limits that have nothing to do with it": (
        [
            bounds(upper=0.2),
            at_least(0.5, 0, 1, name="tech min"),
            at_most(0.9, 4, 5, name="energy max"),
            TurnoverLimit("max_turnover", 1.0, HELD),
            RiskLimit("target_volatility", MEASURE, 2.0),
        ],
        {"tech min", "max_position_size"},
        None,
    ),
}


def pose(constraints, objective=OBJECTIVES[0]) -> Problem:
    return Problem(MOMENTS, objective, MEASURE, (budget(N), *constraints))


def moved(constraint, changes):
    """The constraint with every named limit relaxed by its change, an equality to both sides."""
    get = changes.get
    match constraint:
        case WeightBounds():
            return replace(
                constraint,
                lower=constraint.lower - [get(n, 0.0) for n in constraint.lower_names],
                upper=constraint.upper + [get(n, 0.0) for n in constraint.upper_names],
            )
        case LinearLimit():
            lower, upper = (
                constraint.lower - get(constraint.lower_name, 0.0),
                constraint.upper + get(constraint.upper_name, 0.0),
            )
            return replace(constraint, lower=lower, upper=upper)
        case TurnoverLimit() | RiskLimit():
            return replace(constraint, limit=constraint.limit + get(constraint.name, 0.0))
    raise AssertionError(constraint)


def relaxed(problem: Problem, changes) -> Problem:
    return replace(problem, constraints=(problem.constraints[0], *(moved(c, changes) for c in problem.constraints[1:])))


def limit_names(problem: Problem) -> set[str]:
    return {m.name for c in problem.constraints for m in c.measure(HELD)} - {"budget"}


def feasible(problem: Problem) -> bool:
    solution = optimize(replace(problem, objective=MinimizeRisk()), SETTINGS)
    assert solution.status is not Status.NUMERICAL_FAILURE, solution.message
    return solution.weights is not None


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("name", CONFLICTS)
def test_every_objective_reports_the_conflict(name, objective):
    constraints, expected, _ = CONFLICTS[name]
    solution = optimize(pose(constraints, objective), SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    assert solution.weights is None
    assert expected is None or set(solution.explanation.conflicting) == expected
    for conflicting in solution.explanation.conflicting[:6]:
        assert conflicting in solution.message or len(solution.explanation.conflicting) > 6


@pytest.mark.parametrize("name", CONFLICTS)
def test_the_conflict_is_irreducible(name):
    """Alone it cannot hold; without any one of its members it can."""
    problem = pose(CONFLICTS[name][0])
    conflicting = set(optimize(problem, SETTINGS).explanation.conflicting)
    everything = limit_names(problem)
    assert conflicting <= everything
    wide = 10.0
    assert not feasible(relaxed(problem, dict.fromkeys(everything - conflicting, wide)))
    for member_name in conflicting:
        dropped = everything - conflicting | {member_name}
        assert feasible(relaxed(problem, dict.fromkeys(dropped, wide))), f"without {member_name} it should be feasible"


@pytest.mark.parametrize("name", CONFLICTS)
def test_no_conflict_has_fewer_limits(name):
    assert optimize(pose(CONFLICTS[name][0]), SETTINGS).explanation.minimality is Minimality.SMALLEST


def test_a_conflict_of_many_limits_alike_is_counted():
    """Every cap is needed; the other limit is named before them."""
    names = tuple(f"max_weights[{i}]" for i in range(N))
    caps = WeightBounds(np.zeros(N), np.linspace(0.05, 0.2, N), ("long_only",) * N, names)
    solution = optimize(pose([caps, at_most(0.02, 0, 1, 2, name="tech max")]), SETTINGS)
    assert set(solution.explanation.conflicting) == {"tech max", *names[3:]}
    assert len(solution.explanation.conflicting) == 6
    more = optimize(pose([caps, at_most(0.02, 0, 1, name="tech max")]), SETTINGS)
    assert more.message.startswith("tech max (2%) and 6 of max_weights (9.28571% to 20%) cannot hold together")


def test_a_floor_falls_to_zero_at_most():
    """Beyond zero it would mean to sell short: the rest has to come from another limit."""
    floors = WeightBounds(np.r_[0.1, np.zeros(N - 1)], np.ones(N), ("floor", *["long_only"] * (N - 1)), ("none",) * N)
    problem = pose([floors, at_least(1.05, *range(1, N), name="rest min")])
    explanation = optimize(problem, SETTINGS).explanation
    assert explanation.conflicting == ("rest min",)
    for plan in explanation.alternatives:
        relaxed = {r.name: r.relaxed_limit for r in plan.relaxations}
        assert relaxed["rest min"] <= 1.0 + 1e-9
        assert relaxed.get("floor", 0.0) >= 0.0


def test_the_smallest_conflict_is_found_beside_a_larger_one():
    """Three sectors that are too small together, and two limits that contradict each other."""
    limits = [at_most(0.2, *group, name=f"max {group}") for group in ((0, 1, 2), (3, 4, 5), (6, 7))]
    contradiction = [at_least(0.15, 0, name="A min"), at_most(0.1, 0, name="A max")]
    solution = optimize(pose([long_only(), *limits, *contradiction]), SETTINGS)
    assert solution.explanation.conflicting == ("A max", "A min")
    assert solution.explanation.minimality is Minimality.SMALLEST
    for plan in solution.explanation.alternatives:
        assert plan.verified
        assert {r.name for r in plan.relaxations} & {"A max", "A min"}


def test_one_more_percent_counts_alike_in_every_unit():
    """A percentage point of a weight is as much as one of volatility; so the cheaper of the two gives way."""
    risky = at_least(0.9, 0, name="tech min")
    limit = RiskLimit("target_volatility", MEASURE, 0.9 * MEASURE.of(HELD) - 0.02)
    first, *_ = optimize(pose([long_only(), risky, limit]), SETTINGS).explanation.alternatives
    by_risk = MEASURE.of(optimize(pose([long_only(), risky]), SETTINGS).weights) - limit.limit
    assert first.total <= by_risk + 1e-9
    assert first.total == pytest.approx(sum(r.change for r in first.relaxations), rel=1e-3)


@pytest.mark.parametrize("name", CONFLICTS)
def test_the_relaxation_resolves_the_conflict(name):
    problem = pose(CONFLICTS[name][0])
    explanation = optimize(problem, SETTINGS).explanation
    changes = {r.name: r.change for r in explanation.relaxations}
    assert changes
    assert all(change > 0 for change in changes.values())
    assert feasible(relaxed(problem, {n: c + 1e-7 for n, c in changes.items()}))
    assert not feasible(relaxed(problem, {n: 0.95 * c for n, c in changes.items()})), "the change is more than needed"


@pytest.mark.parametrize("name", [n for n, (*_, change) in CONFLICTS.items() if change is not None])
def test_the_relaxation_is_the_least(name):
    constraints, _, least = CONFLICTS[name]
    explanation = optimize(pose(constraints), SETTINGS).explanation
    assert explanation.alternatives[0].total == pytest.approx(least, rel=1e-6)
    # Beside a cone the proposed limits leave a little room.
    assert sum(r.change for r in explanation.relaxations) == pytest.approx(least, rel=1e-4)
