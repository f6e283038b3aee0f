"""Conflicts of portfolios that may be short: leverage, trade limits, exposures, smallest positions on both sides."""

import warnings
from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import (
    ExposureBudget,
    FixedExposures,
    LinearLimit,
    NumberOfPositions,
    RiskLimit,
    SmallestPosition,
    TradeLimits,
    WeightBounds,
    budget,
)
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Problem
from kernel.solution import Minimality
from kernel.status import Status
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import SETTINGS, factor_moments

N = 5
MOMENTS = factor_moments(23, N)
W0 = np.array([0.5, 0.3, 0.2, 0.1, -0.1])
BETA = np.array([1.3, 0.9, 0.4, 1.1, 0.7])
ALL = np.ones(N, dtype=bool)
WIDE = {
    "low": -3.0,
    "high": 3.0,
    "gross": 50.0,
    "short": 50.0,
    "trade": 50.0,
    "beta max": 50.0,
    "risk": 50.0,
    "return": -50.0,
}

CASES = {
    "beta under a cap on shorts": {"beta max": 0.2, "short": 0.1},
    "beta under gross leverage": {"beta max": 0.1, "gross": 1.5, "high": 1.0},
    "trades and a cap": {"trade": 0.1, "high": 0.3},
    "trades and beta": {"trade": 0.05, "beta max": 0.5, "gross": 3.0},
    "a floor above zero and no room": {"low": 0.25, "gross": 2.0},
    "return without leverage": {"return": 0.6, "gross": 2.0, "short": 0.8, "high": 2.0},
    "little risk and much beta": {"risk": 0.02, "gross": 1.6, "trade": 2.0},
    "return and risk": {"return": 0.2, "risk": 0.15, "gross": 2.5},
}


def pose(limits, objective=None, *more):
    given = {**WIDE, **limits}
    bounds = WeightBounds(np.full(N, given["low"]), np.full(N, given["high"]), ("low",) * N, ("high",) * N)
    constraints = [
        budget(N),
        bounds,
        ExposureBudget("gross", "gross", given["gross"], ALL),
        ExposureBudget("short", "short", given["short"], ALL),
        TradeLimits(("trade",) * N, np.full(N, given["trade"]), W0),
        LinearLimit(BETA, -np.inf, given["beta max"], "none", "beta max"),
        LinearLimit(MOMENTS.mu, given["return"], np.inf, "return", "none", "return"),
        RiskLimit("risk", Volatility(MOMENTS), given["risk"]),
        *more,
    ]
    return Problem(MOMENTS, objective or MinimizeRisk(), Volatility(MOMENTS), tuple(constraints))


def excess(limits) -> float:
    """The least t for which every limit holds but for t, by cvxpy; a floor above zero keeps the weights long."""
    given = {**WIDE, **limits}
    w, t = cp.Variable(N), cp.Variable()
    values = {
        "high": cp.max(w),
        "gross": cp.norm1(w),
        "short": cp.sum(cp.neg(w)),
        "trade": cp.max(cp.abs(w - W0)),
        "beta max": BETA @ w,
        "risk": cp.norm(root(MOMENTS.Sigma) @ w),
    }
    rows = [cp.sum(w) == 1, cp.min(w) >= given["low"] - t, MOMENTS.mu @ w >= given["return"] - t]
    rows += [value <= given[name] + t for name, value in values.items()]
    program = cp.Problem(cp.Minimize(t), rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        program.solve(solver=cp.CLARABEL)
    return float(program.value)


@pytest.mark.parametrize("name", CASES)
def test_conflict_and_alternatives(name):
    limits = CASES[name]
    assert excess(limits) > 1e-4
    solution = optimize(pose(limits), SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    explanation = solution.explanation
    conflict = explanation.conflicting
    assert explanation.minimality is Minimality.SMALLEST
    assert excess({n: limits[n] for n in conflict}) > 1e-6
    for size in range(len(conflict)):
        for fewer in combinations(limits, size):
            assert excess({n: limits[n] for n in fewer}) < 1e-6
    for plan in explanation.alternatives:
        assert plan.verified
        assert excess({**limits, **{r.name: r.relaxed_limit for r in plan.relaxations}}) < 1e-8
        assert excess({**limits, **{r.name: 0.5 * (r.limit + r.relaxed_limit) for r in plan.relaxations}}) > 1e-6
        relaxed = {**limits, **{r.name: r.relaxed_limit for r in plan.relaxations}}
        assert optimize(pose(relaxed, MaximizeReturn()), SETTINGS).weights is not None


def test_a_trade_limit_that_gives_way_lets_a_weight_become_short():
    """The range around a weight that is held is not a floor under it."""
    hedge = LinearLimit(np.eye(N)[0], -np.inf, -0.2, "none", "hedge")
    solution = optimize(pose({"trade": 0.4}, None, hedge), SETTINGS)
    assert solution.explanation.conflicting == ("hedge", "trade")
    relaxed = {
        plan.relaxations[0].name: plan.relaxations[0].relaxed_limit for plan in solution.explanation.alternatives
    }
    assert relaxed == {"trade": pytest.approx(0.7, rel=1e-4), "hedge": pytest.approx(0.1, abs=1e-4)}


def test_exposures_of_one_name_give_way_one_by_one():
    """Two exposures are held under one name; only the one that no long portfolio has moves, to where it can be had."""
    B = np.column_stack([BETA, np.arange(1.0, N + 1.0)])
    neutral = FixedExposures("neutral", B, np.array([0.9, 8.0]))
    explanation = optimize(pose({"low": 0.0, "high": 1.0}, None, neutral), SETTINGS).explanation
    assert explanation.conflicting == ("low", "neutral")
    (by_exposure,) = [p for p in explanation.alternatives if {r.name for r in p.relaxations} == {"neutral"}]
    (relaxation,) = by_exposure.relaxations
    w = cp.Variable(N, nonneg=True)
    highest = cp.Problem(cp.Maximize(B[:, 1] @ w), [cp.sum(w) == 1, B[:, 0] @ w == 0.9])
    highest.solve(solver=cp.SCIPY)
    assert relaxation.limit == 8.0
    assert relaxation.relaxed_limit == pytest.approx(highest.value, abs=1e-7)
    assert all(plan.verified for plan in explanation.alternatives)


@pytest.mark.parametrize(
    ("threshold", "most", "cap", "conflict"),
    [(0.35, 2, 0.4, {"high", "positions"}), (0.3, 4, 0.28, {"high", "smallest"}), (0.6, 3, 0.5, {"high", "smallest"})],
)
def test_smallest_positions_on_both_sides(threshold, most, cap, conflict):
    """With gross leverage of 1 nothing is short; caps, counts and sizes then conflict."""
    rules = [
        SmallestPosition("smallest", threshold, tuple(range(N))),
        NumberOfPositions("positions", most, tuple(range(N)), np.full(N, cap)),
    ]
    solution = optimize(pose({"low": -1.0, "high": cap, "gross": 1.0, "short": 0.0}, None, *rules), SETTINGS)
    assert solution.status is Status.INFEASIBLE, solution.message
    explanation = solution.explanation
    # A limit on leverage or on shorts keeps the portfolio long: either may belong to the conflict.
    assert set(explanation.conflicting) - {"gross", "short"} == conflict
    assert len(explanation.alternatives) > 1
    assert all(plan.verified for plan in explanation.alternatives)
