"""Limits on every convex risk measure that no portfolio keeps: the least that must be allowed is cvxpy's minimum."""

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, WeightBounds, budget
from kernel.diagnosis import explain
from kernel.measures.registry import make_measure
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeReturn, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.scenarios import Scenarios
from kernel.solution import Minimality, PlanKind
from tests.unit.kernel.zoo import SETTINGS, asset_names, symmetric

N, T, YEAR = 5, 60, 252.0
R = np.random.default_rng(77).normal(0.0006, 0.01, (T, N)) * np.linspace(0.6, 1.6, N)
MOMENTS = Moments(asset_names(N), YEAR * R.mean(axis=0), symmetric(YEAR * np.cov(R.T)))
SCENARIOS = Scenarios.history(MOMENTS.names, R)
C = 0.9


def _cvar(losses, level=C):
    count = losses.shape[0] * (1 - level)
    return cp.sum_largest(losses, round(count)) / round(count)


def _drawdowns(w):
    peak = cp.Variable(T)
    path = np.cumsum(R, axis=0) @ w
    return peak - path, [peak >= 0, peak >= path, peak[1:] >= peak[:-1]]


def risk(word, w):
    """The textbook's formula, and rows that it needs."""
    r, root_year = R @ w, np.sqrt(YEAR)
    mean = cp.sum(r) / T
    falls, rows = _drawdowns(w) if word in ("max_drawdown", "average_drawdown", "cdar", "ulcer") else (None, [])
    formulas = {
        "volatility": lambda: cp.norm(r - mean) * np.sqrt(YEAR / (T - 1)),
        "variance": lambda: cp.sum_squares(r - mean) * YEAR / (T - 1),
        "semi_deviation": lambda: cp.norm(cp.pos(mean - r)) * root_year / np.sqrt(T),
        "mad": lambda: cp.norm1(r - mean) * root_year / T,
        "gini": lambda: sum(cp.norm1(r - r[t]) for t in range(T)) * root_year / T**2,
        "cvar": lambda: _cvar(-r),
        "worst_realization": lambda: cp.max(-r),
        "max_drawdown": lambda: cp.max(falls),
        "average_drawdown": lambda: cp.sum(falls) / T,
        "cdar": lambda: _cvar(falls),
        "ulcer": lambda: cp.norm(falls) / np.sqrt(T),
    }
    return formulas[word](), rows


WORDS = [
    "volatility", "variance", "semi_deviation", "mad", "gini", "cvar", "worst_realization",
    "max_drawdown", "average_drawdown", "cdar", "ulcer",
]  # fmt: skip


def least(word, *more):
    w = cp.Variable(N)
    value, rows = risk(word, w)
    program = cp.Problem(cp.Minimize(value), [cp.sum(w) == 1, w >= 0, *rows, *(row(w) for row in more)])
    program.solve(solver=cp.CLARABEL)
    return float(program.value)


def pose(word, limit, *more, objective=None):
    measure = make_measure(word, MOMENTS, SCENARIOS)
    measure = measure if word not in ("cvar", "cdar") else type(measure)(SCENARIOS, C)
    bounds = WeightBounds(np.zeros(N), np.ones(N), ("long_only",) * N, ("no_leverage",) * N)
    limits = (budget(N), bounds, RiskLimit(f"max_{word}", measure, limit), *more)
    return Problem(MOMENTS, objective or MinimizeRisk(), measure, limits)


@pytest.mark.parametrize("word", WORDS)
def test_a_limit_below_the_least_risk(word):
    smallest = least(word)
    explanation = explain(pose(word, 0.7 * smallest), SETTINGS)
    assert explanation.conflicting == (f"max_{word}",)
    (plan,) = explanation.alternatives
    (relaxation,) = plan.relaxations
    assert plan.verified
    assert relaxation.relaxed_limit == pytest.approx(smallest, rel=1e-4)
    assert relaxation.relaxed_limit >= smallest * (1 - 1e-7)
    assert optimize(pose(word, relaxation.relaxed_limit, objective=MaximizeReturn()), SETTINGS).weights is not None


@pytest.mark.parametrize("word", WORDS)
def test_a_limit_against_a_holding(word):
    """Half of the riskiest asset, and less risk than that leaves."""
    holding = np.eye(N)[N - 1]
    floor = LinearLimit(holding, 0.5, np.inf, "min_weights[last]", "none")
    forced = least(word, lambda w: holding @ w >= 0.5)
    limit = 0.5 * (least(word) + forced)
    explanation = explain(pose(word, limit, floor), SETTINGS)
    assert explanation.conflicting == (f"max_{word}", "min_weights[last]")
    assert explanation.minimality is Minimality.SMALLEST
    kinds = {plan.kind: plan for plan in explanation.alternatives}
    assert set(kinds) >= {PlanKind.LEAST_TOTAL}
    assert len(kinds) >= 2
    for plan in explanation.alternatives:
        assert plan.verified
        given = {f"max_{word}": limit, "min_weights[last]": 0.5}
        full = {**given, **{r.name: r.relaxed_limit for r in plan.relaxations}}
        half = {**given, **{r.name: 0.5 * (r.limit + r.relaxed_limit) for r in plan.relaxations}}
        assert _holds(word, full, 1e-7)
        assert not _holds(word, half, 1e-7)


def _holds(word, given, room):
    holding = np.eye(N)[N - 1]
    return least(word, lambda w: holding @ w >= given["min_weights[last]"] - room) <= given[f"max_{word}"] * (1 + room)


def test_the_entropic_value_at_risk():
    explanation = explain(pose("evar", 1e-4), SETTINGS)
    assert explanation.conflicting == ("max_evar",)
    (plan,) = explanation.alternatives
    w, z, t, u = cp.Variable(N), cp.Variable(nonneg=True), cp.Variable(), cp.Variable(T)
    rows = [cp.sum(w) == 1, w >= 0, cp.sum(u) <= z]
    rows += [cp.ExpCone(-R[k] @ w - t, z, u[k]) for k in range(T)]
    smallest = cp.Problem(cp.Minimize(t - z * np.log(T * 0.05)), rows)
    smallest.solve(solver=cp.CLARABEL)
    assert plan.verified
    assert plan.relaxations[0].relaxed_limit == pytest.approx(smallest.value, rel=1e-4)
