"""Measures by their supporting planes against cvxpy's whole forms of them."""

import itertools
import warnings

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import RiskLimit, SmallestPosition
from kernel.methods import supporting_planes
from kernel.methods.custom import MaximizeTerms, WeightedTerm
from kernel.methods.mean_risk import canonicalize, certify, optimize, recover
from kernel.methods.supporting_planes import needs_planes, solve_with_planes
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Settings
from kernel.solvers import RawStatus
from kernel.status import Status
from kernel.terms import LinearTerm, RiskTerm
from tests.unit.kernel.measures.markets import MARKETS, Judge, Market, market, returns

SETTINGS = Settings()
# Of few scenarios: planes are asked for all the same.
PLANAR = ("gini", "evar")
MODERATE = tuple(name for name in MARKETS if name not in ("tiny", "huge"))


@pytest.fixture(autouse=True)
def _planes_always(monkeypatch):
    monkeypatch.setattr(supporting_planes, "_MOST_SCENARIOS", {"gini": 0, "evar": 0})


def certified(problem, settings=SETTINGS):
    assert needs_planes(problem)
    _, program, raw = solve_with_planes(problem, canonicalize, settings)
    return raw, certify(problem, program, raw, recover(problem, program, raw))


def check(problem, expected):
    raw, certificate = certified(problem)
    assert raw.status is RawStatus.SOLVED
    assert certificate.objective == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert certificate.gap <= 1e-8
    assert certificate.violation <= 1e-8
    return certificate


@pytest.mark.parametrize("word", PLANAR)
@pytest.mark.parametrize("name", MODERATE)
def test_least_risk(name, word):
    judge = Judge(market(name), word)
    check(market(name).problem(MinimizeRisk(), word), judge.best(cp.Minimize(judge.risk)))


@pytest.mark.parametrize("word", PLANAR)
@pytest.mark.parametrize("name", MODERATE)
def test_highest_utility_with_costs(name, word):
    judge = Judge(market(name), word)
    expected = judge.best(cp.Maximize(judge.mean - judge.cost - 0.3 * judge.risk))
    check(market(name).problem(MaximizeUtility(0.3), word, costs=True), expected)


@pytest.mark.parametrize("word", PLANAR)
@pytest.mark.parametrize("name", MODERATE)
def test_highest_return_within_a_limit(name, word):
    judge, posed = Judge(market(name), word), market(name)
    easiest = Judge(market(name), word)
    limit = 1.2 * easiest.best(cp.Minimize(easiest.risk)) + 1e-4
    expected = judge.best(cp.Maximize(judge.mean), judge.risk <= limit)
    cap = RiskLimit("cap", posed.measure(word), limit)
    check(posed.problem(MaximizeReturn(), "volatility", cap), expected)


@pytest.mark.parametrize("costs", [False, True])
@pytest.mark.parametrize("word", PLANAR)
@pytest.mark.parametrize("name", MODERATE)
def test_highest_ratio(name, word, costs):
    posed = market(name)
    judge = Judge(posed, word, homogeneous=True)
    net = judge.mean - (judge.cost if costs else 0.0)
    expected = judge.best(cp.Maximize(net - posed.reference * judge.scale), judge.risk <= 1.0)
    check(posed.problem(MaximizeRatio(posed.reference), word, costs=costs), expected)


def test_a_limit_beside_the_objective():
    """Least volatility within a limit on Gini's mean difference that binds."""
    posed = market("shorts")
    judge = Judge(posed, "gini")
    least = judge.best(cp.Minimize(judge.risk))
    root = np.linalg.cholesky(posed.moments.Sigma).T
    expected = judge.best(cp.Minimize(cp.norm(root @ judge.y)), judge.risk <= 1.001 * least)
    cap = RiskLimit("max_gini", posed.measure("gini"), 1.001 * least)
    check(posed.problem(MinimizeRisk(), "volatility", cap), expected)


def test_a_term_of_a_custom_objective():
    posed = market("plain")
    judge = Judge(posed, "gini")
    expected = judge.best(cp.Maximize(judge.mean - 0.5 * judge.risk))
    terms = (
        WeightedTerm(LinearTerm("return", posed.moments.mu), 1.0),
        WeightedTerm(RiskTerm("gini", posed.measure("gini")), -0.5),
    )
    check(posed.problem(MaximizeTerms(terms), "volatility"), expected)


def test_integer_choices_are_made_over_the_planes():
    posed = market("plain")
    floor = SmallestPosition("smallest", 0.3, tuple(range(posed.n)))
    _, certificate = certified(posed.problem(MinimizeRisk(), "gini", floor))
    judge = Judge(posed, "gini")
    held = cp.Variable(posed.n, boolean=True)
    rows = [*judge.rows, judge.y >= 0.3 * held, judge.y <= held]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cvxpy multiplies infinite bounds by zero
        expected = cp.Problem(cp.Minimize(judge.risk), rows).solve(solver=cp.HIGHS)
    assert certificate.objective == pytest.approx(expected, rel=1e-6)
    assert certificate.gap <= 1e-6


def test_a_contradiction_comes_back_with_the_planes_that_measure_it():
    posed = market("plain")
    cap = RiskLimit("max_gini", posed.measure("gini"), 1e-4)
    stated, _, raw = solve_with_planes(posed.problem(MaximizeReturn(), "volatility", cap), canonicalize, SETTINGS)
    assert raw.status is RawStatus.INFEASIBLE
    judge = Judge(posed, "gini")
    planes = stated.constraints[-1].measure_of_risk.planes
    y = cp.Variable(posed.n)
    least = cp.Problem(cp.Minimize(cp.max(planes @ y)), [cp.sum(y) == 1, y >= posed.lower, y <= posed.upper])
    assert least.solve(solver=cp.CLARABEL) == pytest.approx(judge.best(cp.Minimize(judge.risk)), rel=1e-6)


def test_time_that_ends_leaves_a_point_and_a_bound():
    posed = Market(returns(50, 300, 20), np.ones(300), 0.0, 1.0)
    problem = posed.problem(MinimizeRisk(), "gini")
    seconds = itertools.count()
    raw, certificate = certified(problem, Settings(clock=lambda: float(next(seconds)), deadline=20.0))
    _, done = certified(problem)
    assert raw.status is RawStatus.LIMIT
    assert certificate.bound <= done.objective * (1.0 + 1e-9) <= certificate.objective * (1.0 + 1e-8)


def test_a_thousand_scenarios_agree_with_their_pairs_sampled():
    """Many scenarios: the answer is no worse than any portfolio near it, and its bound is closed."""
    posed = Market(returns(51, 1000, 30), np.ones(1000), 0.0, 0.2)
    problem = posed.problem(MinimizeRisk(), "gini")
    _, program, raw = solve_with_planes(problem, canonicalize, SETTINGS)
    w = recover(problem, program, raw)
    certificate = certify(problem, program, raw, w)
    assert certificate.gap <= 1e-8
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = 0.98 * w + 0.02 * rng.dirichlet(np.ones(30))
        assert posed.measure("gini").of(other) >= certificate.objective


def test_a_limit_that_no_portfolio_meets_is_explained_by_the_least_value():
    posed = Market(returns(52, 60, 5), np.ones(60), 0.0, 1.0)
    cap = RiskLimit("max_gini", posed.measure("gini"), 0.05)
    least = optimize(posed.problem(MinimizeRisk(), "gini"), SETTINGS)
    solution = optimize(posed.problem(MaximizeReturn(), "volatility", cap), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    relaxed = next(r.relaxed_limit for r in solution.explanation.relaxations if r.name == "max_gini")
    assert relaxed == pytest.approx(least.certificate.objective, rel=1e-4)


def test_a_fallback_is_solved_for_the_measure_itself():
    posed = market("plain")
    least = optimize(posed.problem(MinimizeRisk(), "gini"), SETTINGS)
    fallen = optimize(posed.problem(MaximizeRatio(0.5, MinimizeRisk()), "gini"), SETTINGS)
    assert fallen.certificate.objective == pytest.approx(least.certificate.objective, rel=1e-7)
