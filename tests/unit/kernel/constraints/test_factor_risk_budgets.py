"""Risk budgets of factors against a fine grid, many starts of SciPy's SLSQP, and the shares of a factor model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize as scipy_optimize

from kernel.canonical import Quadratic
from kernel.constraints import FactorPart, LinearLimit, RiskBudgets, SmallestPosition, WeightBounds, budget
from kernel.constraints.risk_budgets import TangentBudgets
from kernel.errors import ProblemError
from kernel.factors.model import FactorModel
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.zoo import OBJECTIVES, SETTINGS

N, K = 6, 3
NAMES = tuple(f"factor_budgets[{k}]" for k in range(K))


def model_of(seed, n=N, k=K):
    rng = np.random.default_rng(seed)
    B = np.column_stack([rng.normal(1.0, 0.3, n), rng.normal(0.0, 0.6, (n, k - 1))])
    M = rng.normal(size=(k, k))
    Phi = 0.02 * (M @ M.T / k + np.diag([2.0, *([0.5] * (k - 1))]))
    names, factors = tuple(f"A{i}" for i in range(n)), tuple(f"f{j}" for j in range(k))
    return FactorModel(factors, names, B, (Phi + Phi.T) / 2, rng.uniform(0.05, 0.2, n) ** 2)


def moments_of(model, seed=0):
    low = model.low_rank()
    mu = 0.03 + 0.05 * model.B[:, 0] + np.random.default_rng(seed).normal(0.0, 0.03, len(model.names))
    return Moments(model.names, mu, Quadratic(None, low.factor, low.diagonal))


MODEL = model_of(3)
MOMENTS = moments_of(MODEL)


def part(model, k):
    return FactorPart(model.B[:, k], (model.B @ model.Phi)[:, k])


def budgets_of(shares, model=MODEL, moments=MOMENTS):
    shares = np.asarray(shares, dtype=float)
    parts = tuple(part(model, k) for k in range(len(shares)))
    return RiskBudgets(NAMES[: len(shares)], parts, shares, moments)


def shares(w, model=MODEL):
    """From the definition, with the covariance written out."""
    x = model.B.T @ w
    return x * (model.Phi @ x) / (w @ (model.B @ model.Phi @ model.B.T + np.diag(model.specific)) @ w)


def posed(objective, budgets, *constraints, moments=MOMENTS, lower=0.0, cap=0.8):
    n = moments.n
    box = WeightBounds(np.full(n, lower), np.full(n, cap), ("min",) * n, ("max",) * n)
    posing = OBJECTIVES[objective] if isinstance(objective, str) else objective
    return Problem(moments, posing, Volatility(moments), (budget(n), box, budgets, *constraints))


def value(objective, w, moments):
    volatility = moments.volatility(w)
    match objective:
        case MinimizeRisk():
            return volatility
        case MaximizeReturn():
            return moments.mu @ w
        case MaximizeUtility(aversion):
            return moments.mu @ w - aversion / 2 * volatility**2
        case MaximizeRatio(reference):
            return (moments.mu @ w - reference) / volatility


def best_of_many_starts(objective, limits, lower=0.0, model=MODEL, moments=MOMENTS):
    """The best local optimum of SLSQP from random starts."""
    sign = 1.0 if isinstance(objective, MinimizeRisk) else -1.0
    rng, k = np.random.default_rng(5), len(limits)
    rules = [
        {"type": "eq", "fun": lambda w: w.sum() - 1},
        {"type": "ineq", "fun": lambda w: limits - shares(w, model)[:k]},
    ]
    best = np.inf
    for _ in range(25):
        found = scipy_optimize.minimize(
            lambda w: sign * value(objective, w, moments),
            rng.dirichlet(np.ones(N)),
            bounds=[(lower, 0.8)] * N,
            constraints=rules,
            method="SLSQP",
            options={"ftol": 1e-13, "maxiter": 400},
        )
        if (shares(found.x, model)[:k] <= limits + 1e-7).all() and abs(found.x.sum() - 1) < 1e-8:
            best = min(best, found.fun)
    return sign * best


@pytest.mark.parametrize(("lower", "limits"), [(0.0, (0.7, 0.3, 0.1)), (-0.3, (0.5, 0.2, 0.2))])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_never_worse_than_many_starts(objective, lower, limits):
    limits = np.array(limits)
    solution = optimize(posed(objective, budgets_of(limits), lower=lower), SETTINGS)
    assert solution.weights is not None, solution.message
    assert (shares(solution.weights) <= limits + 1e-8).all()
    expected = best_of_many_starts(OBJECTIVES[objective], limits, lower)
    sign = 1.0 if objective == "risk" else -1.0
    assert sign * solution.certificate.objective <= sign * expected + 1e-6 * abs(expected)
    # The bound is of all portfolios, those of the many starts included.
    assert sign * solution.certificate.bound <= sign * expected + 1e-9


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("limit", [0.3, 0.6])
def test_two_assets_against_a_grid(objective, limit):
    model = FactorModel(
        ("market", "value"),
        ("A", "B"),
        np.array([[1.2, 0.5], [0.6, -0.4]]),
        np.array([[0.02, 0.004], [0.004, 0.01]]),
        np.array([0.01, 0.03]),
    )
    moments = moments_of(model)
    w = np.linspace(-0.5, 1.5, 800_001)
    w = np.column_stack([w, 1 - w])
    x = w @ model.B
    volatility = np.sqrt(((x @ model.Phi) * x).sum(axis=1) + w**2 @ model.specific)
    kept = x[:, 0] * (x @ model.Phi)[:, 0] / volatility**2 <= limit
    assert kept.any()
    assert not kept.all()
    mean = w @ moments.mu
    found = {
        "risk": volatility,
        "return": mean,
        "utility": mean - 2.0 * volatility**2,
        "ratio": (mean - 0.02) / volatility,
    }[objective][kept]
    expected = found.min() if objective == "risk" else found.max()
    budgets = budgets_of([limit], model, moments)
    solution = optimize(posed(objective, budgets, moments=moments, lower=-0.5, cap=1.5), SETTINGS)
    sign = 1.0 if objective == "risk" else -1.0
    assert shares(solution.weights, model)[0] <= limit + 1e-8
    assert sign * solution.certificate.bound <= sign * expected + 1e-9
    # The sequence ends in a local optimum; on a line of weights there are at most two of them.
    ends = np.flatnonzero(np.diff(kept.astype(int)) != 0)
    local = [expected, *(_value_at(objective, i, mean, volatility) for i in ends)]
    assert min(abs(solution.certificate.objective - v) / max(abs(v), 1e-3) for v in local) <= 1e-4


def _value_at(objective, i, mean, volatility):
    values = {"risk": volatility, "return": mean, "utility": mean - 2.0 * volatility**2}
    return values[objective][i] if objective in values else (mean[i] - 0.02) / volatility[i]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 0.9), st.floats(0.02, 0.6))
def test_what_is_found_keeps_every_share(seed, first, second):
    model = model_of(seed)
    moments = moments_of(model, seed)
    limits = np.array([first, second])
    solution = optimize(posed("utility", budgets_of(limits, model, moments), moments=moments, lower=-0.2), SETTINGS)
    assert solution.status in (Status.OPTIMAL, Status.LIMIT_REACHED), solution.message
    if solution.weights is None:
        assert "no portfolio within the risk budgets was found" in solution.message
        return
    assert (shares(solution.weights, model)[:2] <= limits + 1e-8).all()
    assert solution.certificate.objective <= solution.certificate.bound + 1e-12
    measured = {c.name: c.value for c in solution.constraints}
    np.testing.assert_allclose([measured[name] for name in NAMES[:2]], shares(solution.weights, model)[:2], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_tangents_are_stricter_and_exact_where_they_touch(seed):
    rng = np.random.default_rng(seed)
    budgets = budgets_of([0.7, 0.3, 0.1])
    start = optimize(posed("risk", budgets), SETTINGS).weights
    for w in (start, *rng.dirichlet(np.ones(N), 5)):
        budgets = budgets_of(np.clip(shares(w) + 1e-9, 1e-6, 1.0))
        tilted = Moments(MOMENTS.names, rng.normal(size=N), MOMENTS.covariance)
        box = WeightBounds(np.zeros(N), np.ones(N), ("",) * N, ("",) * N)
        limits = (budget(N), box, TangentBudgets(budgets, w))
        found = optimize(Problem(tilted, MaximizeReturn(), Volatility(MOMENTS), limits), SETTINGS)
        assert budgets.excess(found.weights) <= 1e-8
        assert tilted.mu @ found.weights >= tilted.mu @ w - 1e-8, "w itself is within its own tangents"


def test_factors_beside_assets_and_sectors():
    parts = ((0,), (1, 2), part(MODEL, 0))
    limits = np.array([0.2, 0.35, 0.6])
    budgets = RiskBudgets(("asset", "sector", "factor"), parts, limits, MOMENTS)
    solution = optimize(posed("return", budgets), SETTINGS)
    w = solution.weights
    own = w * (MOMENTS.Sigma @ w) / (w @ MOMENTS.Sigma @ w)
    measured = np.array([own[0], own[1] + own[2], shares(w)[0]])
    assert (measured <= limits + 1e-8).all()
    assert measured.max() > 0.15
    reports = {c.name: c for c in solution.constraints if c.unit == "risk share"}
    np.testing.assert_allclose([reports[name].value for name in budgets.names], measured, atol=1e-12)


def test_the_price_of_a_share():
    limits, step = np.array([0.7, 0.3, 0.1]), 1e-4

    def at(change):
        return optimize(posed("ratio", budgets_of([*(limits[:1] + change), *limits[1:]])), SETTINGS)

    (report,) = [c for c in at(0.0).constraints if c.name == NAMES[0]]
    slope = (at(step).certificate.objective - at(-step).certificate.objective) / (2 * step)
    assert slope > 1e-3, "the case must bind, or nothing is tested"
    assert report.shadow_price == pytest.approx(slope, rel=1e-2)


def test_a_factor_that_hedges_has_a_share_below_every_limit():
    model = FactorModel(
        ("a", "b"), ("A", "B"), np.eye(2), np.array([[0.04, -0.02], [-0.02, 0.02]]), np.array([0.001, 0.001])
    )
    moments = moments_of(model)
    w = np.array([0.75, 0.25])
    budgets = RiskBudgets(("b",), (part(model, 1),), np.array([1e-6]), moments)
    assert shares(w, model)[1] < 0.0
    assert budgets.excess(w) == 0.0


def test_a_factor_without_exposures_limits_nothing():
    nothing = FactorPart(np.zeros(N), np.zeros(N))
    budgets = RiskBudgets(("none", "first"), (nothing, part(MODEL, 0)), np.array([0.01, 0.6]), MOMENTS)
    alone = budgets_of([0.6])
    expected = optimize(posed("return", alone), SETTINGS)
    solution = optimize(posed("return", budgets), SETTINGS)
    np.testing.assert_allclose(solution.weights, expected.weights, atol=1e-7)
    assert {c.name: c.value for c in solution.constraints}["none"] == 0.0


def test_all_risk_from_one_factor_cannot_be_shared():
    """With one factor and hardly any specific risk the factor's share is one whatever the weights."""
    model = FactorModel(("m",), ("A", "B"), np.array([[1.0], [0.8]]), np.array([[0.04]]), np.array([1e-12, 1e-12]))
    moments = moments_of(model)
    solution = optimize(posed("risk", budgets_of([0.5], model, moments), moments=moments), SETTINGS)
    assert solution.status is Status.LIMIT_REACHED
    assert solution.weights is None
    assert "no portfolio within the risk budgets was found" in solution.message


def test_a_riskless_optimum_keeps_every_share():
    moments = Moments(
        ("A", "CASH"), np.array([0.05, 0.02]), Quadratic(None, np.array([[0.2, 0.0]]), np.array([0.01, 0]))
    )
    budgets = RiskBudgets(("m",), (FactorPart(np.array([1.0, 0.0]), np.array([0.04, 0.0])),), np.array([0.5]), moments)
    solution = optimize(posed("risk", budgets, moments=moments, cap=1.0), SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    np.testing.assert_allclose(solution.weights, [0.0, 1.0], atol=1e-9)
    assert {c.name: c.value for c in solution.constraints}["m"] == 0.0


def test_many_assets_under_a_factor_model():
    model = model_of(1, n=400, k=12)
    moments = moments_of(model)
    limits = np.array([0.4, 0.1, 0.1])
    solution = optimize(posed("ratio", budgets_of(limits, model, moments), moments=moments, cap=0.05), SETTINGS)
    assert solution.weights is not None, solution.message
    assert (shares(solution.weights, model)[:3] <= limits + 1e-8).all()
    assert solution.certificate.objective > 0.5 * solution.certificate.bound


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (FactorPart(np.ones(N - 1), np.ones(N)), r"exposures of shape \(5,\) for 6 assets"),
        (FactorPart(np.ones(N), np.ones(N + 1)), r"covariances of shape \(7,\) for 6 assets"),
        (FactorPart(np.full(N, np.nan), np.ones(N)), "exposures must be finite"),
        (FactorPart(np.ones(N), np.full(N, np.inf)), "covariances must be finite"),
    ],
)
def test_refusals(broken, reason):
    with pytest.raises(ProblemError, match=f"momentum: {reason}"):
        RiskBudgets(("momentum",), (broken,), np.array([0.5]), MOMENTS)


def test_integer_rules_beside_budgets_are_refused():
    problem = posed("risk", budgets_of([0.3]), SmallestPosition("min_position_size", 0.1, tuple(range(N))))
    with pytest.raises(ProblemError, match=r"factor_budgets\[0\]: cannot be combined with min_position_size"):
        optimize(problem, SETTINGS)


def test_limits_that_conflict_without_budgets_are_named():
    floor = LinearLimit(np.ones(N), 1.5, np.inf, "floor", "floor")
    solution = optimize(posed("risk", budgets_of([0.5]), floor), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert "floor" in solution.message


def test_a_portfolio_within_the_budgets_is_found_among_alike_assets():
    """Four alike assets: where the penalty ends nowhere from two places, others lead inside."""
    B = np.array([[1.12, -0.34, 0.66], [1.31, 1.23, 0.62], [1.12, 0.74, 0.67], [1.18, 1.23, 0.63]])
    Phi = np.array([[0.02513, 0.00212, -0.00264], [0.00212, 0.02738, 0.00096], [-0.00264, 0.00096, 0.02279]])
    names, factors = tuple("abcd"), ("growth", "rates", "q")
    model = FactorModel(factors, names, B, Phi, np.array([0.018, 0.016, 0.017, 0.015]))
    moments = moments_of(model)
    parts = (part(model, 0), part(model, 2))
    limits = RiskBudgets(NAMES[:2], parts, np.array([0.46, 0.9]), moments)
    within = np.array([0.084, 0.0, 0.916, 0.0])
    assert (shares(within, model)[[0, 2]] <= [0.46, 0.9]).all()
    solution = optimize(posed(MinimizeRisk(), limits, moments=moments, cap=1.0), SETTINGS)
    assert solution.weights is not None, solution.message
    assert (shares(solution.weights, model)[[0, 2]] <= np.array([0.46, 0.9]) + 1e-7).all()
    assert moments.volatility(solution.weights) <= moments.volatility(within) + 1e-9
