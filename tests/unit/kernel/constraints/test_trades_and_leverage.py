"""Trade limits, leverage and limits on risk: against cvxpy, and their prices against solving again beside them."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from kernel.constraints import ExposureBudget, LinearLimit, RiskLimit, TradeLimits, TurnoverLimit, WeightBounds, budget
from kernel.errors import ProblemError
from kernel.measures.volatility import TrackingError, Volatility
from kernel.methods.mean_risk import measurements, optimize
from kernel.objectives import MinimizeRisk
from kernel.problem import Moments, Problem
from kernel.status import Status
from tests.unit.kernel.constraints.judge import best
from tests.unit.kernel.zoo import OBJECTIVES, SETTINGS, factor_moments, long_only

N = 9
MOMENTS = factor_moments(41, N)
W0 = long_only(MOMENTS).w0
RISKY = np.array([True] * (N - 1) + [False])
FLOOR, CAP = -0.3, 0.6
STEP = 2e-5


def bounds(lower=FLOOR, upper=CAP, n=N):
    return WeightBounds(np.full(n, lower), np.full(n, upper), ("min",) * n, ("max",) * n)


def posed(objective, *constraints, box=None):
    return Problem(MOMENTS, OBJECTIVES[objective], Volatility(MOMENTS), (budget(N), box or bounds(), *constraints))


def written(*more, lower=FLOOR, upper=CAP):
    """The same limits for the judge."""

    def limits(y, scale):
        rows = [cp.sum(y) == scale, y >= lower * scale, y <= upper * scale]
        return [*rows, *(row for extra in more for row in extra(y, scale))]

    return limits


def solved(problem):
    solution = optimize(problem, SETTINGS)
    assert solution.status is Status.OPTIMAL, solution.message
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8
    return solution


SIDES = {
    "gross": lambda y: cp.norm1(y[RISKY]),
    "long": lambda y: cp.sum(cp.pos(y[RISKY])),
    "short": lambda y: cp.sum(cp.neg(y[RISKY])),
}
TIGHT = {"gross": 1.1, "long": 1.05, "short": 0.12}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_leverage_equals_the_judge(objective, side):
    limit = TIGHT[side]
    solution = solved(posed(objective, ExposureBudget(side, side, limit, RISKY)))
    expected = best(MOMENTS, OBJECTIVES[objective], written(lambda y, s: [SIDES[side](y) <= limit * s]))
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    assert float(SIDES[side](solution.weights).value) <= limit + 1e-8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_all_of_leverage_with_net_and_a_neutral_factor(objective):
    beta = MOMENTS.Sigma @ W0 / (W0 @ MOMENTS.Sigma @ W0)
    limits = [
        ExposureBudget("gross", "gross", 1.4, RISKY),
        ExposureBudget("long", "long", 1.15, RISKY),
        ExposureBudget("short", "short", 0.3, RISKY),
        LinearLimit(RISKY.astype(float), 0.7, 0.9, "net min", "net max", unit="leverage"),
        LinearLimit(beta, 0.5, 0.5, "market", "market", unit="exposure"),
    ]
    expected = best(
        MOMENTS,
        OBJECTIVES[objective],
        written(
            lambda y, s: [SIDES["gross"](y) <= 1.4 * s, SIDES["long"](y) <= 1.15 * s, SIDES["short"](y) <= 0.3 * s],
            lambda y, s: [cp.sum(y[RISKY]) >= 0.7 * s, cp.sum(y[RISKY]) <= 0.9 * s, beta @ y == 0.5 * s],
        ),
    )
    assert solved(posed(objective, *limits)).certificate.objective == pytest.approx(expected, rel=1e-6)


def test_a_budget_on_a_long_only_portfolio_changes_nothing():
    loose = ExposureBudget("gross", "gross", 1.0, np.ones(N, dtype=bool))
    free = solved(posed("risk", box=bounds(0.0)))
    assert solved(posed("risk", loose, box=bounds(0.0))).certificate.objective == pytest.approx(
        free.certificate.objective, rel=1e-9
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trade_limits_equal_the_judge(objective):
    sizes = np.linspace(0.01, 0.12, N)
    limits = TradeLimits(tuple(f"trade {i}" for i in range(N)), sizes, W0)
    expected = best(MOMENTS, OBJECTIVES[objective], written(lambda y, s: [cp.abs(y - W0 * s) <= sizes * s]))
    solution = solved(posed(objective, limits))
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    assert (np.abs(solution.weights - W0) <= sizes + 1e-8).all()


@pytest.mark.parametrize("first", ["bounds", "trades"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_tighter_of_two_bounds_stands_under_its_own_name(objective, first):
    """The order in which they come must not matter."""
    sizes, tight = np.full(N, 0.05), bounds(0.0, 0.14)
    trades = TradeLimits(tuple(f"trade {i}" for i in range(N)), sizes, W0)
    pair = (tight, trades) if first == "bounds" else (trades, tight)
    problem = Problem(MOMENTS, OBJECTIVES[objective], Volatility(MOMENTS), (budget(N), *pair))
    solution = solved(problem)
    expected = best(
        MOMENTS,
        OBJECTIVES[objective],
        written(lambda y, s: [cp.abs(y - W0 * s) <= sizes * s], lower=0.0, upper=0.14),
    )
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    priced = {c.name for c in solution.constraints if c.shadow_price and abs(c.shadow_price) > 1e-6}
    w = solution.weights
    touched = {f"trade {i}" for i in range(N) if abs(abs(w[i] - W0[i]) - sizes[i]) < 1e-9}
    assert priced - {"budget", "min", "max"} <= touched


def test_assets_may_share_a_trade_limit():
    limits = TradeLimits(("max_trade_size",) * N, np.append(np.full(N - 1, 0.03), np.inf), W0)
    (measured,) = limits.measure(W0 + np.linspace(0.0, 0.08, N))
    assert measured.name == "max_trade_size"
    assert measured.value == pytest.approx(0.07)
    assert measured.slack == pytest.approx(-0.04)
    solved(posed("return", limits))


def test_nothing_may_be_traded():
    held = solved(posed("ratio", TradeLimits(("none",) * N, np.zeros(N), W0)))
    np.testing.assert_allclose(held.weights, W0, atol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_everything_together(objective):
    tracking = TrackingError.against_weights(MOMENTS, W0)
    sizes = np.full(N, 0.09)
    limits = (
        TradeLimits(("trade",) * N, sizes, W0),
        ExposureBudget("gross", "gross", 1.04, RISKY),
        ExposureBudget("short", "short", 0.02, RISKY),
        TurnoverLimit("turnover", 0.2, W0),
        RiskLimit("tracking error", tracking, 0.03),
    )
    factor = np.linalg.cholesky(MOMENTS.Sigma).T
    expected = best(
        MOMENTS,
        OBJECTIVES[objective],
        written(
            lambda y, s: [cp.abs(y - W0 * s) <= sizes * s, 0.5 * cp.norm1(y - W0 * s) <= 0.2 * s],
            lambda y, s: [SIDES["gross"](y) <= 1.04 * s, SIDES["short"](y) <= 0.02 * s],
            lambda y, s: [cp.norm(factor @ (y - W0 * s)) <= 0.03 * s],
        ),
    )
    problem = posed(objective, *limits)
    solution = optimize(problem, SETTINGS)
    assert solution.status.has_weights, solution.message
    assert solution.certificate.objective == pytest.approx(expected, rel=1e-6)
    assert min(m.slack for m in measurements(problem, solution.weights)) >= -1e-8


def priced(make, limit, objective):
    """The reported price of a limit and the slope of the objective beside it."""

    def value(at):
        solution = optimize(posed(objective, make(at)), SETTINGS)
        sign = -1.0 if isinstance(OBJECTIVES[objective], MinimizeRisk) else 1.0
        return sign * solution.certificate.objective, solution

    _, here = value(limit)
    price = sum(c.shadow_price for c in here.constraints if c.name == "limit")
    return price, (value(limit + STEP)[0] - value(limit - STEP)[0]) / (2 * STEP)


PRICED = {
    "gross": (lambda limit: ExposureBudget("limit", "gross", limit, RISKY), 1.1),
    "long": (lambda limit: ExposureBudget("limit", "long", limit, RISKY), 1.05),
    "short": (lambda limit: ExposureBudget("limit", "short", limit, RISKY), 0.12),
    "trades": (lambda limit: TradeLimits(("limit",) * N, np.full(N, limit), W0), 0.04),
    "tracking error": (lambda limit: RiskLimit("limit", TrackingError.against_weights(MOMENTS, W0), limit), 0.02),
}


# Little risk needs no shorts, so there the budgets of leverage leave it alone.
BINDING = [
    (objective, kind)
    for kind in PRICED
    for objective in OBJECTIVES
    if kind in ("trades", "tracking error")
    or objective in ("return", "ratio")
    or (objective, kind) == ("utility", "gross")
]


@pytest.mark.parametrize(("objective", "kind"), BINDING)
def test_prices(objective, kind):
    make, limit = PRICED[kind]
    price, slope = priced(make, limit, objective)
    assert slope > 1e-4, "the case must bind, or nothing is tested"
    assert price == pytest.approx(slope, rel=1e-3)


def test_one_asset():
    moments = Moments(("A",), np.array([0.05]), np.array([[0.04]]))
    constraints = (
        budget(1),
        bounds(-1.0, 1.0, 1),
        TradeLimits(("t",), np.array([0.3]), np.array([0.8])),
        ExposureBudget("gross", "gross", 1.0, np.ones(1, dtype=bool)),
    )
    solution = optimize(Problem(moments, MinimizeRisk(), Volatility(moments), constraints), SETTINGS)
    assert solution.weights == pytest.approx([1.0])


def test_contradictory_limits_are_explained():
    """Weights that add up to 1 need a gross exposure of 1."""
    too_small = ExposureBudget("gross", "gross", 0.9, np.ones(N, dtype=bool))
    solution = optimize(posed("risk", too_small), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert "gross" in solution.explanation.conflicting


def test_a_trade_limit_against_a_floor_is_explained():
    box = replace(bounds(0.0), lower=np.where(np.arange(N) == 0, 0.4, 0.0))
    solution = optimize(posed("risk", TradeLimits(("trade",) * N, np.full(N, 0.01), W0), box=box), SETTINGS)
    assert solution.status is Status.INFEASIBLE
    assert set(solution.explanation.conflicting) == {"trade", "min"}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ExposureBudget("gross", "gross", -0.1, RISKY), "gross: must not be negative"),
        (lambda: ExposureBudget("gross", "gross", float("nan"), RISKY), "gross: must not be negative"),
        (lambda: ExposureBudget("short", "short", 0.1, np.zeros(N, dtype=bool)), "short: has no assets"),
        (lambda: TradeLimits(("t",), np.array([-0.1]), np.zeros(1)), "t: must not be negative"),
        (lambda: TradeLimits(("t",), np.ones(2), np.zeros(1)), "trade_limits: 1 names"),
        (lambda: RiskLimit("vol", Volatility(MOMENTS), 0.0), "vol: must be positive"),
        (lambda: RiskLimit("vol", Volatility(MOMENTS), float("inf")), "vol: must be finite"),
    ],
)
def test_refusals(make, reason):
    with pytest.raises(ProblemError, match=reason):
        make()


def test_a_loss_may_be_limited_to_a_gain():
    class Loss(Volatility):
        name = "cvar"

    assert RiskLimit("cvar", Loss(MOMENTS, "cvar"), -0.01).limit == -0.01
