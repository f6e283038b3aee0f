"""Problems without an optimum: what is said of them is true by an independent model."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import LinearLimit, RiskLimit, WeightBounds, budget
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Problem
from kernel.solution import Minimality
from kernel.status import Status
from tests.unit.kernel.contract import definitions
from tests.unit.kernel.contract.cases import MEASURES, Case, kernel_measure, moments
from tests.unit.kernel.contract.judging import SETTINGS
from tests.unit.kernel.contract.markets import market
from tests.unit.kernel.contract.models import Row, limit_risk, pose
from tests.unit.kernel.contract.searching import Search

CLEAR, NONE = 1e-7, 1e-8
# The oracle stops at its best where that is short of its last digits.
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
CONVEX = [
    *(("family", family) for family in ("groups", "turnover one-way", "turnover two-way", "trades", "tracking error")),
    *(("family", family) for family in ("leverage", "neutrality", "linear")),
    *(("measure", word) for word in MEASURES if word != "var"),
]
INTEGER = ("positions", "smallest position", "lots")


# Ratios without a positive excess


@pytest.mark.parametrize("families", [("none",), ("groups", "proportional costs"), ("turnover one-way", "positions")])
@pytest.mark.parametrize("measure", MEASURES)
def test_a_ratio_without_excess_is_ill_posed_with_its_numbers(measure, families):
    case = Case("negative means", "ratio", measure, families)
    case = replace(case, objective="utility") if measure == "tracking_error" else case
    problem = replace(case.problem(), objective=MaximizeRatio(case.market.risk_free))
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.ILL_POSED, solution.message
    model = pose(case)
    best = Search(model, case.market.mu @ model.w, "CLARABEL").run()
    costly = "proportional costs" in families
    numbers = solution.numbers
    assert numbers["best_expected_return"] <= best + 1e-9 if costly else True
    if not costly:
        assert numbers["best_expected_return"] == pytest.approx(best, abs=1e-9)
    assert numbers["best_excess_return"] == pytest.approx(numbers["best_expected_return"] - case.market.risk_free)


@pytest.mark.parametrize("measure", [word for word in MEASURES if word != "tracking_error"])
def test_the_fallback_that_was_named_is_optimised_instead(measure):
    case = Case("negative means", "risk", measure, ("groups",))
    problem = case.problem()
    ratio = replace(problem, objective=MaximizeRatio(case.market.risk_free, MinimizeRisk()))
    instead, plain = optimize(ratio, SETTINGS), optimize(problem, SETTINGS)
    np.testing.assert_array_equal(instead.weights, plain.weights)
    assert "fallback" in instead.message
    assert instead.numbers["best_excess_return"] < 0


# Endless improvement


def unbounded(objective, measure="volatility", *, name="well-posed", short=True, invested=False):
    data = market(name)
    constraints = [LinearLimit(data.neutral, 0.0, 0.0, "neutral", "neutral", "exposure")]
    if invested:
        constraints.append(budget(data.n))
    if not short:
        free, names = np.full(data.n, np.inf), data.names
        constraints.append(WeightBounds(np.zeros(data.n), free, names, names))
    return data, Problem(moments(data), objective, kernel_measure(measure, data), tuple(constraints))


@pytest.mark.parametrize(
    ("objective", "measure", "options"),
    [
        (MaximizeReturn(), "volatility", {}),
        (MaximizeReturn(), "volatility", {"short": False}),
        (MaximizeReturn(), "cvar", {"invested": True}),
        (MaximizeUtility(1e-3), "mad", {"invested": True}),
        (MaximizeUtility(1e-3), "max_drawdown", {}),
        (MaximizeUtility(1e-3), "cvar", {"short": False}),
        (MinimizeRisk(), "worst_realization", {"name": "singular"}),
        (MinimizeRisk(), "cvar", {"name": "singular"}),
    ],
)
def test_an_unbounded_problem_names_a_direction_that_improves_for_ever(objective, measure, options):
    data, problem = unbounded(objective, measure, **options)
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.UNBOUNDED, (solution.status, solution.message)
    d = np.array([solution.direction.get(name, 0.0) for name in data.names])
    size = np.abs(d).max()
    assert size > 0
    assert abs(data.neutral @ d) <= NONE * size
    if options.get("invested"):
        assert abs(d.sum()) <= NONE * size
    if not options.get("short", True):
        assert d.min() >= -NONE * size
    risk = definitions.risk(measure, data, d)
    gain = data.mu @ d
    if isinstance(objective, MinimizeRisk):
        assert risk < 0
    else:
        aversion = objective.risk_aversion if isinstance(objective, MaximizeUtility) else 0.0
        assert gain > aversion * risk


# Limits that cannot hold together


def excess(rows, definitions_, names):
    """The least amount by which the limits of some names must be missed, the budget held."""
    t = cp.Variable(nonneg=True)
    kept = [row.left <= row.limit + (0.0 if row.name == "budget" else t) for row in rows if row.name in names]
    kept += [row.left <= row.limit for row in rows if row.name == "budget" and row.name not in names]
    program = cp.Problem(cp.Minimize(t), kept + definitions_)
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert program.status in ("optimal", "optimal_inaccurate"), program.status
    return float(t.value)


def conflicting(kind, word):
    """A case, its model and the kernel's problem with a return that the limits of interest do not allow."""
    family, measure = (word, "volatility") if kind == "family" else ("none", word)
    case = Case("well-posed", "utility", measure, (family,))
    model = pose(case)
    extra = []
    if kind == "measure":
        limit_risk(model, "risk", word)
        extra = [RiskLimit("risk", kernel_measure(word, case.market), case.risk_limit(word))]
    mu, free = case.market.mu, pose(replace(case, families=("none",)))
    best, loose = Search(model, mu @ model.w, "CLARABEL").run(), Search(free, mu @ free.w, "CLARABEL").run()
    floor = 0.5 * (best + loose) if loose > best + 1e-3 else best + 5e-3
    model.rows.append(Row("must", -mu @ model.w, -floor, sign=-1.0))
    problem = case.problem()
    must = LinearLimit(mu, floor, np.inf, "must", "no limit", "return")
    return model, replace(problem, constraints=(*problem.constraints, *extra, must))


@pytest.mark.parametrize(("kind", "word"), CONVEX)
def test_a_conflict_is_irreducible_and_its_relaxations_resolve_it(kind, word):
    model, problem = conflicting(kind, word)
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.INFEASIBLE, (solution.status, solution.message)
    names = {row.name for row in model.rows} - {"budget"}
    conflict = set(solution.explanation.conflicting)
    assert conflict <= names
    assert "must" in conflict
    assert excess(model.rows, model.definitions, conflict) > CLEAR
    for name in conflict:
        assert excess(model.rows, model.definitions, conflict - {name}) < CLEAR, f"it remains without {name}"
    assert len(solution.explanation.alternatives) >= 2
    for plan in solution.explanation.alternatives:
        assert plan.verified
        assert excess(moved(model.rows, plan, 1.0), model.definitions, names) <= NONE, plan
        assert excess(moved(model.rows, plan, 0.5), model.definitions, names) > CLEAR, plan


def moved(rows, plan, share):
    """The rows with a share of the plan's changes."""
    changes = {r.name: share * (r.relaxed_limit - r.limit) for r in plan.relaxations}
    return [replace(row, limit=row.limit + row.sign * changes.get(row.name, 0.0)) for row in rows]


@pytest.mark.parametrize("family", INTEGER)
def test_an_integer_conflict_is_one(family):
    case = Case("well-posed", "utility", "volatility", (family,))
    model = pose(case)
    mu = case.market.mu
    best = Search(model, mu @ model.w, "CLARABEL").run()
    problem = case.problem()
    must = LinearLimit(mu, best + 1e-4, np.inf, "must", "no limit", "return")
    solution = optimize(replace(problem, constraints=(*problem.constraints, must)), SETTINGS)
    assert solution.status is Status.INFEASIBLE, (solution.status, solution.message)
    explanation = solution.explanation
    assert "must" in explanation.conflicting
    model.rows = [row for row in model.rows if row.name in {*explanation.conflicting, "budget"}]
    model.rows.append(Row("must", -mu @ model.w, -best - 1e-4, sign=-1.0))
    assert Search(model, mu @ model.w, "CLARABEL").run() == -np.inf
    assert explanation.minimality in Minimality


def test_contradictory_volatility_limits_need_no_budget():
    data = market("well-posed")
    posed = moments(data)
    names = data.names
    at_least = WeightBounds(np.full(data.n, 0.5), np.full(data.n, np.inf), names, names)
    limit = LinearLimit(np.ones(data.n), -np.inf, 1.0, "none", "most invested")
    problem = Problem(posed, MinimizeRisk(), Volatility(posed), (at_least, limit))
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert "most invested" in solution.explanation.conflicting
