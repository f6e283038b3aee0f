"""Custom objectives against cvxpy, and their refusals."""

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import budget
from kernel.constraints.term_limit import TermLimit
from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.measures.volatility import TrackingError, Variance
from kernel.methods.custom import MaximizeTerms, WeightedTerm
from kernel.methods.mean_risk import optimize
from kernel.problem import Problem
from kernel.terms import (
    Concentration,
    CostTerm,
    Entropy,
    ExposureSize,
    LinearTerm,
    RiskTerm,
    TurnoverTerm,
)
from tests.unit.kernel.oracle import root
from tests.unit.kernel.zoo import SETTINGS, bounds_of, universe

UNIVERSES = ("factor 30", "cash", "singular", "duplicates")
FINE = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
# Finer than doubles reach on some cases: the oracle then stops at its best and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")


def terms_of(u):
    """Each kind of term with a coefficient that suits it, and the same for cvxpy."""
    members = np.ones(u.n, dtype=bool)
    members[-1] = False
    beta = np.linspace(-0.5, 1.5, u.n)
    impact = 0.02 * u.dearness
    F = root(u.moments.Sigma)
    chosen = np.flatnonzero(members)
    return {
        "return": (LinearTerm("return", u.moments.mu), 1.0, lambda w: u.moments.mu @ w),
        "exposure": (LinearTerm("beta", beta, "exposure"), -0.05, lambda w: beta @ w),
        "variance": (RiskTerm("variance", Variance(u.moments)), -2.0, lambda w: cp.sum_squares(F @ w)),
        "volatility": (RiskTerm("volatility", Volatility(u.moments)), -0.7, lambda w: cp.norm(F @ w)),
        "tracking": (
            RiskTerm("tracking", TrackingError.against_weights(u.moments, u.w0)),
            -0.5,
            lambda w: cp.norm(F @ (w - u.w0)),
        ),
        "turnover": (TurnoverTerm("turnover", u.w0), -0.02, lambda w: 0.5 * cp.norm1(w - u.w0)),
        "cost": (
            CostTerm("cost", TradingCost(0.01 * u.dearness, u.w0, 0.005 * u.dearness, impact)),
            -1.0,
            lambda w: (
                0.01 * u.dearness @ cp.abs(w - u.w0)
                + 0.005 * u.dearness @ cp.pos(u.w0 - w)
                + impact @ cp.power(cp.abs(w - u.w0), 1.5)
            ),
        ),
        "concentration": (Concentration("concentration", members), -0.3, lambda w: cp.sum_squares(w[chosen])),
        "neutrality": (ExposureSize("neutrality", beta - 0.4), -0.2, lambda w: cp.abs((beta - 0.4) @ w)),
        "entropy": (Entropy("entropy", members), 0.01, lambda w: cp.sum(cp.entr(w[chosen]))),
    }


KINDS = tuple(terms_of(universe("factor 30")))


def judge(u, kinds):
    chosen = [terms_of(u)[kind] for kind in kinds]
    objective = MaximizeTerms(tuple(WeightedTerm(term, coefficient) for term, coefficient, _ in chosen))
    problem = Problem(u.moments, objective, Volatility(u.moments), (budget(u.n), bounds_of(u)))
    solution = optimize(problem, SETTINGS)
    assert solution.status.has_weights, solution.message

    w = cp.Variable(u.n)
    goal = cp.Maximize(sum(coefficient * of(w) for _, coefficient, of in chosen))
    oracle = cp.Problem(goal, [cp.sum(w) == 1, w >= u.lower, w <= u.upper])
    oracle.solve(solver=cp.CLARABEL, **FINE)
    size = max(abs(oracle.value), 1e-2)
    precision = 1e-5 if "entropy" in kinds or "cost" in kinds else 1e-6
    assert solution.certificate.objective == pytest.approx(oracle.value, abs=precision * size)
    assert solution.certificate.bound >= oracle.value - precision * size
    assert solution.certificate.violation <= 1e-8


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "return"])
@pytest.mark.parametrize("name", UNIVERSES)
def test_return_against_one_term(name, kind):
    judge(universe(name), ("return", kind))


@pytest.mark.parametrize("name", UNIVERSES)
def test_all_terms_at_once(name):
    judge(universe(name), KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_measures_itself_as_its_formula(kind):
    u = universe("factor 30")
    term, _, of = terms_of(u)[kind]
    rng = np.random.default_rng(5)
    for _ in range(5):
        w = rng.dirichlet(np.ones(u.n))
        assert term.of(w) == pytest.approx(float(np.asarray(of(cp.Constant(w)).value).item()), rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "coefficient"), [("variance", 1.0), ("turnover", 0.5), ("concentration", 0.1), ("entropy", -0.1)]
)
def test_a_sum_that_bends_the_wrong_way_is_refused_by_name(kind, coefficient):
    term = terms_of(universe("factor 30"))[kind][0]
    with pytest.raises(ProblemError, match=f"terms.{term.name}.*{'convex' if coefficient > 0 else 'concave'}"):
        MaximizeTerms((WeightedTerm(term, coefficient),))


def test_empty_and_unreal_sums_are_refused():
    term = terms_of(universe("factor 30"))["return"][0]
    with pytest.raises(ProblemError, match="at least one"):
        MaximizeTerms((WeightedTerm(term, 0.0),))
    with pytest.raises(ProblemError, match="finite"):
        MaximizeTerms((WeightedTerm(term, float("nan")),))


@pytest.mark.parametrize("kind", ["volatility", "turnover", "concentration", "neutrality", "exposure"])
def test_a_term_as_a_limit(kind):
    """Highest return with the term at most half way between its least and its value at the highest return."""
    u = universe("factor 30")
    term, _, of = terms_of(u)[kind]
    w = cp.Variable(u.n)
    rows = [cp.sum(w) == 1, w >= u.lower, w <= u.upper]
    cp.Problem(cp.Minimize(of(w)), rows).solve(solver=cp.CLARABEL)
    limit = 0.5 * (float(of(w).value) + term.of(u.w0)) + 0.02
    oracle = cp.Problem(cp.Maximize(u.moments.mu @ w), [*rows, of(w) <= limit])
    oracle.solve(solver=cp.CLARABEL, **FINE)
    objective = MaximizeTerms((WeightedTerm(LinearTerm("return", u.moments.mu), 1.0),))
    constraints = (budget(u.n), bounds_of(u), TermLimit("cap", term, limit))
    solution = optimize(Problem(u.moments, objective, Volatility(u.moments), constraints), SETTINGS)
    assert solution.certificate.objective == pytest.approx(oracle.value, rel=1e-6)


def test_a_limit_from_the_wrong_side_is_refused():
    terms = terms_of(universe("factor 30"))
    with pytest.raises(ProblemError, match="from below"):
        TermLimit("floor", terms["variance"][0], 0.01, at_least=True)
    with pytest.raises(ProblemError, match="from above"):
        TermLimit("cap", terms["entropy"][0], 0.01)
