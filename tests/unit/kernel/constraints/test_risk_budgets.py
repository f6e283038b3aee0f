"""Risk budgets against a fine grid, many starts of SciPy's SLSQP, and what is certain of risk parity."""

import numpy as np
import pytest
from scipy import optimize as scipy_optimize

from kernel.constraints import LinearLimit, RiskBudgets, SmallestPosition, TurnoverLimit, WeightBounds, budget
from kernel.constraints.risk_budgets import TangentBudgets
from kernel.errors import ProblemError
from kernel.measures import Volatility
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments, Problem, Settings
from kernel.status import Status
from tests.unit.kernel.zoo import OBJECTIVES, RISK_FREE, SETTINGS, factor_moments, long_only

N = 6
MOMENTS = factor_moments(81, N)
W0 = long_only(MOMENTS).w0
CAP = 0.8
GROUPS = ((0, 1), (2, 3), (4, 5))


def posed(objective, budgets, *constraints, moments=MOMENTS, lower=0.0):
    n = moments.n
    box = WeightBounds(np.full(n, lower), np.full(n, CAP), ("min",) * n, ("max",) * n)
    posing = OBJECTIVES[objective] if isinstance(objective, str) else objective
    return Problem(moments, posing, Volatility(moments), (budget(n), box, budgets, *constraints))


def solved(problem):
    return optimize(problem, SETTINGS)


def shares(w, groups, moments=MOMENTS):
    parts = w * (moments.Sigma @ w)
    return np.array([parts[list(group)].sum() for group in groups]) / parts.sum()


def singles(share, n=N, moments=MOMENTS):
    names = tuple(f"risk_budgets[{i}]" for i in range(n))
    return RiskBudgets(names, tuple((i,) for i in range(n)), np.full(n, share), moments)


def value(objective, w, moments=MOMENTS):
    volatility = np.sqrt(w @ moments.Sigma @ w)
    match objective:
        case MinimizeRisk():
            return volatility
        case MaximizeReturn():
            return moments.mu @ w
        case MaximizeUtility(aversion):
            return moments.mu @ w - aversion / 2 * volatility**2
        case MaximizeRatio(reference):
            return (moments.mu @ w - reference) / volatility


def best_of_many_starts(objective, groups, limits, lower=0.0):
    """The best local optimum of SLSQP from random starts."""
    sign = 1.0 if isinstance(objective, MinimizeRisk) else -1.0
    rng = np.random.default_rng(5)
    rules = [
        {"type": "eq", "fun": lambda w: w.sum() - 1},
        {"type": "ineq", "fun": lambda w: limits - shares(w, groups)},
    ]
    best = np.inf
    for _ in range(25):
        start = rng.dirichlet(np.ones(N))
        found = scipy_optimize.minimize(
            lambda w: sign * value(objective, w),
            start,
            bounds=[(lower, CAP)] * N,
            constraints=rules,
            method="SLSQP",
            options={"ftol": 1e-13, "maxiter": 400},
        )
        kept = (shares(found.x, groups) <= limits + 1e-7).all() and abs(found.x.sum() - 1) < 1e-8
        if kept:
            best = min(best, found.fun)
    return sign * best


@pytest.mark.parametrize("lower", [0.0, -0.2])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_single_assets_are_never_worse_than_many_starts(objective, lower):
    problem = posed(objective, singles(0.25), lower=lower)
    solution = solved(problem)
    assert solution.weights is not None, solution.message
    groups = [(i,) for i in range(N)]
    assert (shares(solution.weights, groups) <= 0.25 + 1e-8).all()
    expected = best_of_many_starts(OBJECTIVES[objective], groups, 0.25, lower)
    sign = 1.0 if objective == "risk" else -1.0
    assert sign * solution.certificate.objective <= sign * expected + 1e-6 * abs(expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_groups_are_never_worse_than_many_starts(objective):
    limits = np.array([0.4, 0.35, 0.3])
    budgets = RiskBudgets(("a", "b", "c"), GROUPS, limits, MOMENTS)
    solution = solved(posed(objective, budgets))
    assert (shares(solution.weights, GROUPS) <= limits + 1e-8).all()
    expected = best_of_many_starts(OBJECTIVES[objective], GROUPS, limits)
    sign = 1.0 if objective == "risk" else -1.0
    assert sign * solution.certificate.objective <= sign * expected + 1e-6 * abs(expected)
    free = optimize(posed(objective, singles(1.0)), SETTINGS)
    assert solution.certificate.bound == pytest.approx(free.certificate.bound, rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_assets_against_a_grid(objective):
    moments = Moments(("A", "B"), np.array([0.09, 0.05]), np.array([[0.09, 0.01], [0.01, 0.02]]))
    budgets = RiskBudgets(("a", "b"), ((0,), (1,)), np.array([0.6, 0.7]), moments)
    w = np.linspace(0.0, CAP, 800_001)
    w = np.column_stack([w, 1 - w])
    w = w[w[:, 1] <= CAP]
    parts = w * (w @ moments.Sigma)
    kept = (parts / parts.sum(axis=1, keepdims=True) <= [0.6, 0.7]).all(axis=1)
    volatility = np.sqrt(parts.sum(axis=1))
    mean = w @ moments.mu
    found = {
        "risk": volatility,
        "return": mean,
        "utility": mean - 2.0 * volatility**2,
        "ratio": (mean - RISK_FREE) / volatility,
    }[objective][kept]
    expected = found.min() if objective == "risk" else found.max()
    solution = solved(posed(objective, budgets, moments=moments))
    assert solution.certificate.objective == pytest.approx(expected, rel=2e-6)


def test_the_tightest_shares_are_risk_parity():
    """All shares 1/n leave one long-only portfolio, which solves ``w_i (Sigma w)_i = const``."""
    parity = scipy_optimize.minimize(
        lambda y: 0.5 * y @ MOMENTS.Sigma @ y - np.log(y).sum() / N,
        np.ones(N),
        jac=lambda y: MOMENTS.Sigma @ y - 1 / (N * y),
        bounds=[(1e-6, None)] * N,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 1000},
    ).x
    solution = solved(posed("return", singles(1 / N + 1e-6)))
    np.testing.assert_allclose(solution.weights, parity / parity.sum(), atol=1e-3)


def test_budgets_that_do_not_bind_leave_the_optimum():
    solution = solved(posed("risk", singles(1.0)))
    assert solution.status is Status.OPTIMAL, solution.message
    assert {c.name for c in solution.constraints} >= {"risk_budgets[0]"}
    assert all(c.shadow_price == pytest.approx(0.0, abs=1e-6) for c in solution.constraints if c.unit == "risk share")


@pytest.mark.parametrize("objective", ["return", "ratio"])
def test_with_other_limits(objective):
    group = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    limits = (TurnoverLimit("turnover", 0.3, W0), LinearLimit(group, 0.1, 0.4, "low", "high"))
    problem = posed(objective, singles(0.3), *limits)
    solution = solved(problem)
    assert solution.status is Status.LIMIT_REACHED
    assert "local optimum" in solution.message
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8
    assert solution.certificate.objective <= solution.certificate.bound


def test_the_price_of_a_share():
    limits = np.array([0.4, 0.35, 0.3])
    step = 1e-4

    def at(first):
        budgets = RiskBudgets(("a", "b", "c"), GROUPS, np.array([first, *limits[1:]]), MOMENTS)
        return solved(posed("ratio", budgets))

    (report,) = [c for c in at(0.4).constraints if c.name == "a"]
    slope = (at(0.4 + step).certificate.objective - at(0.4 - step).certificate.objective) / (2 * step)
    assert slope > 1e-3, "the case must bind, or nothing is tested"
    assert report.shadow_price == pytest.approx(slope, rel=1e-2)


def test_tangents_are_stricter_and_exact_where_they_touch():
    budgets = RiskBudgets(("a", "b", "c"), GROUPS, np.array([0.4, 0.35, 0.3]), MOMENTS)
    rng = np.random.default_rng(8)
    start = solved(posed("risk", budgets)).weights
    for w in rng.dirichlet(np.ones(N), 20):
        found = optimize(
            Problem(
                MOMENTS,
                MaximizeReturn(),
                Volatility(MOMENTS),
                (
                    budget(N),
                    WeightBounds(np.zeros(N), np.ones(N), ("",) * N, ("",) * N),
                    TangentBudgets(budgets, start),
                ),
            ),
            SETTINGS,
        )
        assert budgets.excess(found.weights) <= 1e-8
        start = found.weights
        assert budgets.excess(w) == pytest.approx(max(0.0, (shares(w, GROUPS) - budgets.shares).max()), abs=1e-12)


def test_no_portfolio_within_the_budgets():
    """Weights of at least 0.6 in one asset make more than 20% of the risk."""
    floor = LinearLimit(np.eye(N)[0], 0.6, np.inf, "floor", "floor")
    solution = solved(posed("risk", singles(0.2), floor))
    assert solution.status is Status.LIMIT_REACHED
    assert solution.weights is None
    assert "no portfolio within the risk budgets was found" in solution.message


def test_the_deadline_ends_the_steps():
    ticks = iter(range(10_000))
    late = Settings(deadline=0.0, clock=lambda: float(next(ticks) > 0))
    solution = optimize(posed("return", singles(0.25)), late)
    assert solution.status is Status.LIMIT_REACHED


def test_a_riskless_portfolio_has_no_shares():
    moments = Moments(("A", "CASH"), np.array([0.05, 0.02]), np.diag([0.04, 0.0]))
    budgets = RiskBudgets(("a",), ((0,),), np.array([0.5]), moments)
    (measured,) = budgets.measure(np.array([0.0, 1.0]))
    assert measured.value == 0.0


def test_an_ill_posed_ratio_names_its_numbers_or_falls_back():
    poor = Moments(MOMENTS.names, np.full(N, -0.01), MOMENTS.Sigma.copy())
    budgets = singles(0.3, moments=poor)
    assert solved(posed(MaximizeRatio(RISK_FREE), budgets, moments=poor)).status is Status.ILL_POSED
    fallen = solved(posed(MaximizeRatio(RISK_FREE, fallback=MinimizeRisk()), budgets, moments=poor))
    assert "fallback" in fallen.message
    assert (shares(fallen.weights, [(i,) for i in range(N)], poor) <= 0.3 + 1e-8).all()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: RiskBudgets(("a",), ((0,),), np.array([0.0]), MOMENTS), "a: must be above 0"),
        (lambda: RiskBudgets(("a",), ((0,),), np.array([1.2]), MOMENTS), "a: must be above 0"),
        (lambda: RiskBudgets(("a",), ((),), np.array([0.2]), MOMENTS), "a: has no assets"),
        (lambda: RiskBudgets(("a",), ((0,), (1,)), np.array([0.2]), MOMENTS), "risk_budgets: 1 names"),
        (lambda: singles(0.1), "together they carry all the risk"),
    ],
)
def test_refusals(make, reason):
    with pytest.raises(ProblemError, match=reason):
        make()


def test_integer_rules_beside_budgets_are_refused():
    problem = posed("risk", singles(0.3), SmallestPosition("min_position_size", 0.1, tuple(range(N))))
    with pytest.raises(ProblemError, match=r"risk_budgets\[0\]: cannot be combined with min_position_size"):
        solved(problem)
