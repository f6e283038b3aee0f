"""Plans against an independent solver, against single periods, and against what must hold of any plan."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from kernel.costs import TradingCost
from kernel.errors import ProblemError
from kernel.measures.volatility import Volatility
from kernel.methods.mean_risk import canonicalize, optimize
from kernel.multi_period import HoldingRates, Plan, plan_problem, solve_plan
from kernel.objectives import MaximizeRatio
from kernel.problem import Moments, Problem, Settings
from kernel.status import Status
from tests.unit.kernel.multi_period.plans import Case, judged, limits, plan_of

SETTINGS = Settings()
END = np.array([0.2, 0.3, 0.1, 0.1, 0.2, 0.0, 0.1])
FADING = tuple(np.array([0.25, -0.05, 0.08, 0.15, 0.02, 0.1, 0.03]) * 0.5**h + 0.02 for h in range(4))
CASES = {
    "free": Case(),
    "one period": Case(H=1, rate=0.002),
    "two periods": Case(H=2, rate=0.002, turnover=0.1),
    "costs": Case(H=4, rate=0.001, seed=1),
    "turnover": Case(H=4, turnover=0.07, seed=2),
    "trade size": Case(H=3, trade=0.05, seed=3),
    "impact": Case(H=3, rate=0.0005, impact=0.02, seed=4),
    "flows": Case(H=4, flows=(0.1, -0.3, 0.0, 2.0), rate=0.002, turnover=0.8, seed=5),
    "paid out": Case(H=2, flows=(-0.9, 0.5), rate=0.002, cash=0.9, seed=6),
    "shorts": Case(H=3, shorts=True, gross=1.5, rate=0.001, seed=7),
    "holding": Case(H=3, holding=0.02, rate=0.001, seed=8),
    "borrowing": Case(H=3, shorts=True, gross=1.8, holding=0.01, borrow=0.03, seed=9),
    "volatility": Case(H=3, volatility=(0.10, 0.12, 0.09), rate=0.001, seed=10),
    "sector": Case(H=6, sector=0.4, turnover=0.2, rate=0.001, seed=11),
    "terminal": Case(H=3, terminal=END, turnover=0.5, rate=0.001, seed=12),
    "least return": Case(H=3, least=0.05, rate=0.0001, goal="risk", seed=13),
    "least risk": Case(H=3, goal="risk", turnover=0.1, rate=0.001, seed=14),
    "highest return": Case(H=3, goal="return", turnover=0.1, rate=0.001, volatility=(0.15,), seed=15),
    "linear": Case(H=5, goal="return", turnover=0.1, rate=0.001, seed=16),
    "lengths": Case(H=3, days=(5.0, 63.0, 252.0), rate=0.003, seed=17),
    "tax": Case(H=2, tax=0.05, rate=0.001, seed=18),
    "everything": Case(
        H=5,
        seed=19,
        days=(10.0, 21.0, 40.0),
        flows=(0.05, -0.1, 0.0),
        turnover=0.4,
        volatility=(0.14,),
        trade=0.3,
        rate=0.001,
        impact=0.01,
        holding=0.005,
        borrow=0.02,
        shorts=True,
        gross=1.4,
        sector=0.8,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_best_plan(name: str) -> None:
    case = CASES[name]
    plan = plan_of(case)
    found = solve_plan(plan, SETTINGS)
    certificate = found.solution.certificate
    assert certificate is not None, found.solution.message
    assert found.solution.status is Status.OPTIMAL, found.solution.message
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        best, _ = judged(case)
    sign = -1.0 if case.goal == "risk" else 1.0
    value = certificate.objective
    if case.goal == "risk" and plan_problem(plan).cost is None:
        value = float(plan_problem(plan).measure.penalty(value)) * case.aversion
    assert sign * value == pytest.approx(best, rel=1e-6, abs=1e-8)
    assert min(report.slack for report in found.solution.constraints) >= -1e-8
    assert found.solution.weights == pytest.approx(found.periods[0].weights, abs=0.0)


@pytest.mark.parametrize("goal", ["utility", "risk", "return"])
@pytest.mark.parametrize("seed", range(3))
def test_one_year_is_the_single_period(goal: str, seed: int) -> None:
    case = Case(H=1, days=(252.0,), goal=goal, rate=0.01, seed=seed, n=8, sector=0.5)
    plan = plan_of(case)
    moments = plan.periods[0].moments
    single = Problem(moments, plan.objective, Volatility(moments), tuple(limits(case, 0, moments)), plan.trading)
    alone, found = optimize(single, SETTINGS), solve_plan(plan, SETTINGS)
    assert alone.weights is not None
    assert alone.certificate is not None
    assert found.solution.weights == pytest.approx(alone.weights, abs=1e-9)
    assert found.solution.certificate is not None
    assert found.solution.certificate.objective == pytest.approx(alone.certificate.objective, rel=1e-10)
    assert [r.name for r in found.solution.constraints] == [r.name for r in alone.constraints]


def test_the_least_risk_of_one_period_is_its_volatility() -> None:
    case = Case(H=1, goal="risk", days=(21.0,))
    plan = plan_of(case)
    moments = plan.periods[0].moments
    alone = optimize(Problem(moments, plan.objective, Volatility(moments), tuple(limits(case, 0, moments))), SETTINGS)
    found = solve_plan(plan, SETTINGS)
    assert alone.certificate is not None
    assert found.solution.certificate is not None
    assert found.solution.certificate.objective == pytest.approx(alone.certificate.objective, rel=1e-10)


def test_without_costs_each_period_is_best_alone() -> None:
    case = Case(H=4, days=(5.0, 21.0, 63.0, 10.0), flows=(0.1, 0.0, -0.2, 0.0), seed=21)
    plan = plan_of(case)
    found = solve_plan(plan, SETTINGS)
    for h, period in enumerate(plan.periods):
        rules = tuple(limits(case, h, period.moments))
        alone = optimize(Problem(period.moments, plan.objective, Volatility(period.moments), rules), SETTINGS)
        assert found.periods[h].weights == pytest.approx(alone.weights, abs=1e-8)


def test_costs_make_fading_signals_trade_less() -> None:
    """The longer a signal lasts, the more of its trade is worth the cost."""
    traded = []
    for keep in (1, 2, 3):
        mus = tuple(FADING[0] if h < keep else np.append(np.full(6, 0.05), 0.03) for h in range(3))
        plan = plan_of(Case(H=3, mus=mus, rate=0.008))
        traded.append(solve_plan(plan, SETTINGS).periods[0].turnover)
    myopic = solve_plan(plan_of(Case(H=3, mus=(FADING[0],))), SETTINGS).periods[0].turnover
    assert traded[0] < traded[1] < traded[2] < myopic


def test_the_order_of_assets_plays_no_part() -> None:
    case = Case(H=3, rate=0.002, turnover=0.2, seed=23)
    plan = plan_of(case)
    order = np.array([3, 1, 5, 0, 2, 4, 6])
    swapped = []
    for period in plan.periods:
        m = period.moments
        moments = Moments(tuple(m.names[i] for i in order), m.mu[order], m.Sigma[np.ix_(order, order)].copy())
        swapped.append(replace(period, moments=moments, measure=Volatility(moments)))
    assert plan.trading is not None
    trading = replace(plan.trading, rates=plan.trading.rates[order], w0=plan.w0[order])
    other = solve_plan(replace(plan, periods=tuple(swapped), w0=plan.w0[order], trading=trading), SETTINGS)
    for one, two in zip(solve_plan(plan, SETTINGS).periods, other.periods, strict=True):
        assert two.weights == pytest.approx(one.weights[order], abs=1e-8)


def test_evidence_adds_up() -> None:
    case = CASES["flows"]
    found = solve_plan(plan_of(case), SETTINGS)
    value, before, total = 1.0, case.w0, 0.0
    for h, period in enumerate(found.periods):
        flow = case.period(case.flows, h)
        value += flow
        held = value * period.weights
        z = held - before
        z[-1] -= flow
        assert period.value == pytest.approx(value)
        assert period.trades == pytest.approx(z, abs=1e-12)
        assert z.sum() == pytest.approx(0.0, abs=1e-9)
        assert period.turnover == pytest.approx(0.5 * np.abs(z).sum() / value)
        assert period.trading_cost == pytest.approx(case.rate * np.abs(z[:-1]).sum())
        assert period.volatility**2 == pytest.approx(period.weights @ case.Sigma(h) @ period.weights)
        utility = period.expected_return - 0.5 * case.aversion * period.volatility**2
        total += case.years(h) * value * utility - period.trading_cost - period.holding_cost
        before = held
    assert found.solution.certificate is not None
    assert found.solution.certificate.objective == pytest.approx(total, rel=1e-12)


def test_an_end_out_of_reach() -> None:
    terminal = np.append(np.eye(6)[0] * 0.6, 0.4)
    found = solve_plan(plan_of(Case(H=3, turnover=0.02, terminal=terminal)), SETTINGS)
    assert found.solution.status is Status.INFEASIBLE
    assert not found.periods
    explanation = found.solution.explanation
    assert explanation is not None
    conflicting = set(explanation.conflicting)
    assert {f"max_turnover in period {h}" for h in (1, 2, 3)} <= conflicting
    assert any(name.startswith("terminal_weights[") for name in conflicting)
    for name in conflicting:
        assert name in explanation.sentence
    assert all(plan.verified for plan in explanation.alternatives)


def test_a_limit_that_fails_in_one_period_is_named_there() -> None:
    case = Case(H=3, volatility=(0.3, 1e-4, 0.3), cash=0.0)
    found = solve_plan(plan_of(case), SETTINGS)
    assert found.solution.explanation is not None
    assert found.solution.explanation.conflicting == ("max_cash_weight in period 2", "target_volatility in period 2")


def test_a_plan_without_end_is_unbounded() -> None:
    case = Case(H=2, goal="return", n=3)
    plan = plan_of(case)
    periods = tuple(replace(p, constraints=tuple(c for c in p.constraints[1:])) for p in plan.periods)
    found = solve_plan(replace(plan, periods=periods), SETTINGS)
    assert found.solution.status is Status.UNBOUNDED
    assert any(name.endswith("in period 1") for name in found.solution.direction)


def test_the_price_of_a_limit_is_what_it_brings() -> None:
    case = Case(H=3, turnover=0.05, rate=0.001, seed=2)
    at = solve_plan(plan_of(case), SETTINGS)
    step = 1e-5
    plan = plan_of(case)
    eased = (replace(plan.periods[0], max_turnover=0.05 + step), *plan.periods[1:])
    more = solve_plan(replace(plan, periods=eased), SETTINGS)
    price = next(r.shadow_price for r in at.solution.constraints if r.name == "max_turnover in period 1")
    assert at.solution.certificate is not None
    assert more.solution.certificate is not None
    gain = more.solution.certificate.objective - at.solution.certificate.objective
    assert price == pytest.approx(gain / step, rel=1e-3)


def test_the_covariance_stays_in_blocks() -> None:
    program = canonicalize(plan_problem(plan_of(Case(H=30, rate=0.001, turnover=0.1))))
    assert len(program.P.parts) == 30
    assert program.A.nnz <= 30 * 100


def test_a_long_plan_is_exact() -> None:
    found = solve_plan(plan_of(Case(n=10, H=60, rate=0.001, turnover=0.1)), SETTINGS)
    assert found.solution.certificate is not None
    assert found.solution.certificate.gap <= 1e-12
    assert found.solution.certificate.violation <= 1e-12


def refusals() -> dict[str, tuple[dict[str, object], str]]:
    base = plan_of(Case(H=2))
    assert base.periods[0].max_turnover is None
    first, second = base.periods
    nan, inf = float("nan"), float("inf")
    return {
        "no periods": ({"periods": ()}, "periods"),
        "no length": ({"periods": (first, replace(second, years=0.0))}, "periods[1].days"),
        "endless": ({"periods": (replace(first, years=inf), second)}, "periods[0].days"),
        "flow": ({"periods": (first, replace(second, cash_flow=nan))}, "periods[1].cash_flow"),
        "all paid out": ({"periods": (first, replace(second, cash_flow=-1.0))}, "periods[1].cash_flow"),
        "turnover": ({"periods": (replace(first, max_turnover=-0.1), second)}, "max_turnover"),
        "ratio": ({"objective": MaximizeRatio(0.0)}, "objective"),
        "terminal": ({"terminal": np.zeros(7)}, "terminal_weights"),
        "terminal nan": ({"terminal": np.full(7, nan)}, "terminal_weights"),
        "impact of cash": (
            {"trading": TradingCost(np.zeros(7), base.w0, impact=np.full(7, 0.1))},
            "cost.impact",
        ),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_cannot_be_planned(name: str) -> None:
    changes, field = refusals()[name]
    base = plan_of(Case(H=2))
    asked: dict[str, object] = {"periods": base.periods, "w0": base.w0, "objective": base.objective, **changes}
    with pytest.raises(ProblemError) as error:
        solve_plan(Plan(**asked), SETTINGS)  # type: ignore[arg-type]
    assert error.value.field == field


@pytest.mark.parametrize("rates", [(-0.1, 0.0), (0.0, float("nan")), (float("inf"), 0.0)])
def test_rates_of_holding_are_finite_and_not_negative(rates: tuple[float, float]) -> None:
    with pytest.raises(ProblemError):
        HoldingRates(*rates)
