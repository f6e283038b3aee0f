"""Conflicts with discrete rules, judged by enumerating which assets are held and cvxpy on what is left."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations, product

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import (
    LinearLimit,
    NumberOfPositions,
    RiskLimit,
    SmallestPosition,
    WeightBounds,
    WholeLots,
    budget,
)
from kernel.diagnosis import explain
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Problem, Settings
from kernel.solution import Minimality
from kernel.status import Status
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import SETTINGS, factor_moments

N = 6
MOMENTS = factor_moments(17, N)
LEAST = Volatility(MOMENTS).of(
    np.linalg.solve(MOMENTS.Sigma, np.ones(N)) / np.linalg.solve(MOMENTS.Sigma, np.ones(N)).sum()
)
TECH = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
ABSENT = {"cap": 1.0, "positions": float(N), "smallest": 0.0, "tech max": 1.0, "tech min": 0.0, "volatility": 10.0}

# Limits of long-only problems over six assets that nothing satisfies.
CASES = {
    "caps and few positions": {"cap": 0.2, "positions": 4},
    "caps and large positions": {"cap": 0.19, "smallest": 0.17},
    "sector and large positions": {"tech max": 0.08, "tech min": 0.02, "smallest": 0.1},
    "few positions and little risk": {"positions": 2, "volatility": 1.05 * LEAST, "cap": 0.9},
    "large positions and little risk": {"smallest": 0.45, "volatility": 1.02 * LEAST},
    "sector minimum, caps and few positions": {"tech min": 0.5, "cap": 0.26, "positions": 3, "smallest": 0.05},
    "all at once": {"tech min": 0.5, "cap": 0.3, "positions": 3, "smallest": 0.3, "volatility": 1.3 * LEAST},
}


def pose(limits: Mapping[str, float], objective=None) -> Problem:
    constraints = [budget(N)]
    cap = limits.get("cap")
    upper, name = (1.0, "no_leverage") if cap is None else (cap, "cap")
    constraints.append(WeightBounds(np.zeros(N), np.full(N, upper), ("long_only",) * N, (name,) * N))
    if "tech min" in limits:
        constraints.append(LinearLimit(TECH, limits["tech min"], np.inf, "tech min", "none"))
    if "tech max" in limits:
        constraints.append(LinearLimit(TECH, -np.inf, limits["tech max"], "none", "tech max"))
    if "positions" in limits:
        reach = np.full(N, upper)
        constraints.append(NumberOfPositions("positions", round(limits["positions"]), tuple(range(N)), reach))
    if "smallest" in limits:
        constraints.append(SmallestPosition("smallest", limits["smallest"], tuple(range(N))))
    if "volatility" in limits:
        constraints.append(RiskLimit("volatility", Volatility(MOMENTS), limits["volatility"]))
    return Problem(MOMENTS, objective or MinimizeRisk(), Volatility(MOMENTS), tuple(constraints))


def feasible(limits: Mapping[str, float], room: float = 1e-7) -> bool:
    """Whether some choice of held assets admits weights."""
    given = {**ABSENT, **limits}
    return any(
        _fits(given, held, room)
        for size in range(1, round(given["positions"]) + 1)
        for held in combinations(range(N), size)
    )


def _fits(given: Mapping[str, float], held: Iterable[int], room: float) -> bool:
    on = np.zeros(N)
    on[list(held)] = 1.0
    # Cheap to see: too many or too few for their sizes.
    if on.sum() * given["smallest"] > 1.0 + room * N or on.sum() * given["cap"] < 1.0 - room * N:
        return False
    w = cp.Variable(N)
    rows = [cp.sum(w) == 1, w >= (given["smallest"] - room) * on, w <= (given["cap"] + room) * on]
    rows += [w >= 0, TECH @ w <= given["tech max"] + room, TECH @ w >= given["tech min"] - room]
    risk = cp.norm(root(MOMENTS.Sigma) @ w)
    program = cp.Problem(cp.Minimize(risk), rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL)
    return program.status.startswith("optimal") and program.value <= given["volatility"] + room


@cache
def explained(name):
    limits = CASES[name]
    assert not feasible(limits)
    solution = optimize(pose(limits), SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    return limits, solution.explanation


@pytest.mark.parametrize("name", CASES)
def test_the_conflict_is_a_smallest_one(name):
    limits, explanation = explained(name)
    conflict = explanation.conflicting
    assert explanation.minimality is Minimality.SMALLEST
    assert not feasible({n: limits[n] for n in conflict})
    for size in range(len(conflict)):
        for fewer in combinations(limits, size):
            assert feasible({n: limits[n] for n in fewer}), f"{fewer} alone conflict"


@pytest.mark.parametrize("name", CASES)
def test_every_alternative_resolves_it_and_half_of_it_does_not(name):
    limits, explanation = explained(name)
    assert len(explanation.alternatives) >= 2
    for plan in explanation.alternatives:
        assert plan.verified, plan
        relaxed = {**limits, **{r.name: r.relaxed_limit for r in plan.relaxations}}
        assert feasible(relaxed), plan
        half = {r.name: 0.5 * (r.limit + r.relaxed_limit) for r in plan.relaxations}
        if "positions" in half:
            half["positions"] = np.floor(half["positions"])
        assert not feasible({**limits, **half}), plan


@pytest.mark.parametrize("name", CASES)
def test_no_alternative_changes_fewer_limits(name):
    limits, explanation = explained(name)
    fewest = {len(plan.relaxations) for plan in explanation.alternatives if plan.fewest}
    assert len(fewest) == 1
    (count,) = fewest
    for left_out in combinations(limits, count - 1):
        assert not feasible({n: limits[n] for n in limits if n not in left_out})


@pytest.mark.parametrize("name", CASES)
def test_the_changed_problem_is_solved(name):
    limits, explanation = explained(name)
    for plan in explanation.alternatives:
        relaxed = {**limits, **{r.name: r.relaxed_limit for r in plan.relaxations}}
        if relaxed.get("smallest") == 0.0:
            del relaxed["smallest"]
        for objective in (MinimizeRisk(), MaximizeReturn()):
            solution = optimize(pose(relaxed, objective), SETTINGS)
            assert solution.weights is not None, (plan, solution.message)


def lots_fit(steps, upper, room=1e-9) -> bool:
    counts = [range(int(u / s + 1e-9) + 1) for s, u in zip(steps, upper, strict=True)]
    return any(abs(np.dot(c, steps) - 1.0) <= room for c in product(*counts))


def test_lots_that_do_not_add_up():
    """Lots of 15% and 40% under caps of 50%: 15, 30, 45 and 40 make 85%, not 100%."""
    steps, upper = np.array([0.15, 0.40]), np.full(2, 0.5)
    moments = factor_moments(3, 2)
    assert not lots_fit(steps, upper)
    bounds = WeightBounds(np.zeros(2), upper, ("long_only",) * 2, ("cap",) * 2)
    lots = WholeLots("lots", steps, (0, 1))
    problem = Problem(moments, MinimizeRisk(), Volatility(moments), (budget(2), bounds, lots))
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    # Without the caps 4 x 15% and 40% fit; without the lots half and half does.
    assert solution.explanation.conflicting == ("cap", "lots")
    assert all(plan.verified for plan in solution.explanation.alternatives)
    by_cap = [plan for plan in solution.explanation.alternatives if {r.name for r in plan.relaxations} == {"cap"}]
    assert by_cap[0].relaxations[0].relaxed_limit == pytest.approx(0.6)


def test_a_stopped_search_claims_no_smallest_conflict():
    """Without time nothing is proven, and the sentence says so."""
    problem = pose(CASES["large positions and little risk"])
    ticks = iter(range(10_000))
    hurried = Settings(deadline=3.0, clock=lambda: float(next(ticks)), node_limit=1)
    explanation = explain(problem, hurried, proven=True)
    assert explanation.minimality is Minimality.UNPROVEN
    assert "the search was stopped" in explanation.sentence
    assert set(explanation.conflicting) == {"smallest", "volatility"}
