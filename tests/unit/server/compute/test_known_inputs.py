"""A validation on made-up prices: no decision knows what comes after it, and the walk is the one of a plain ledger."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.validation.report import Band
from kernel.validation.schedule import ScheduleSettings, Window
from server.compute.inputs import Asset, BenchmarkInputs, FactorReturns, MarketInputs
from server.compute.validation import ValidationAnswer, conclude, known_inputs, plan_windows, run_windows
from server.errors import NotReady
from server.limit_specs import ConstraintSpec
from server.method_specs import RiskBudgetingSpec
from server.specs import CostSpec, ModelSpec, OptimizationSpec, ReturnsSpec, RiskSpec
from server.validation_specs import ValidationSpec

DAYS, NAMES = 200, ("A", "B", "C", "D")
RATE, COST = 0.02, 0.002


def market(seed: int = 3) -> MarketInputs:
    """Four assets with a benchmark, a market and a factor that are known on the same days."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0005, 0.008, (DAYS, 1))
    R = common + rng.normal(0.0002, 0.01, (DAYS, len(NAMES)))
    closes = 50.0 * np.vstack([np.ones(len(NAMES)), np.cumprod(1.0 + R, axis=0)])
    index = 100.0 * np.concatenate([[1.0], np.cumprod(1.0 + common[:, 0])])
    dates = np.datetime64("2020-01-01") + np.arange(DAYS + 1)
    assets = tuple(
        Asset(name, "S", "equity", 1e9 * (k + 1), quality_score=5.0, daily_volume=Decimal(9), price=Decimal(1))
        for k, name in enumerate(NAMES)
    )
    return MarketInputs(
        portfolio_id="p",
        pricing_pack_id="pp-test",
        assets=assets,
        dates=dates,
        closes=closes,
        w0=np.array([0.7, 0.1, 0.1, 0.1]),
        cash_weight=0.0,
        value=Decimal(1_000_000),
        benchmark=BenchmarkInputs("index", index, has_series=True),
        market=BenchmarkInputs("index", index, has_series=True),
        factor_sets={"": FactorReturns("fs-test", ("common",), dates[1:], common.copy())},
    )


def corrupted(inputs: MarketInputs, after: int) -> MarketInputs:
    """The same past with another future behind day `after`."""
    rng = np.random.default_rng(99)

    def other(series: np.ndarray) -> np.ndarray:
        changed = series.copy()
        changed[after + 1 :] *= rng.uniform(0.5, 2.0, changed[after + 1 :].shape)
        return changed

    assert inputs.benchmark is not None
    assert inputs.market is not None
    (factors,) = inputs.factor_sets.values()
    F = np.vstack([factors.F[:after], rng.normal(0.0, 0.05, factors.F[after:].shape)])
    return replace(
        inputs,
        closes=other(inputs.closes),
        benchmark=replace(inputs.benchmark, closes=other(inputs.benchmark.closes)),
        market=replace(inputs.market, closes=other(inputs.market.closes)),
        factor_sets={"": replace(factors, F=F)},
    )


def optimization(kind: str = "minimum_variance", objective: str = "minimize_risk", **fields: Any) -> OptimizationSpec:
    model = fields.pop("model", ModelSpec(RATE))
    return OptimizationSpec("p", kind, objective, fields.pop("measure", "volatility"), model, 10.0, **fields)


def validation(asked: OptimizationSpec, **rhythm: Any) -> ValidationSpec:
    return ValidationSpec(asked, ScheduleSettings(**{"train_days": 60, "rebalance_days": 20} | rhythm), COST, Band())


def walked(inputs: MarketInputs, spec: ValidationSpec) -> ValidationAnswer:
    return conclude(inputs, spec, run_windows(inputs, spec))


CASES = {
    "minimum variance": optimization(),
    "sharpe ratio": optimization("mean_variance", "maximize_sharpe", fallback="minimize_risk"),
    "turnover and costs": optimization(
        constraints=ConstraintSpec(max_turnover=0.1, max_cash_weight=0.2), cost=CostSpec(0.001)
    ),
    "tail": optimization("mean_variance", measure="cvar"),
    "tracking error": optimization(
        "mean_variance", "maximize_return", constraints=ConstraintSpec(max_tracking_error=0.12)
    ),
    "capm": optimization(
        "mean_variance",
        "maximize_utility",
        model=ModelSpec(RATE, returns=ReturnsSpec("capm", market_benchmark_id="index")),
        risk_aversion=5.0,
    ),
    "factors": optimization(model=ModelSpec(RATE, risk=RiskSpec("factor_model"))),
    "few positions": optimization(constraints=ConstraintSpec(max_positions=2)),
    "equal weight": optimization("equal_weight", "equal_weight"),
    "risk parity": optimization("risk_parity", "risk_parity", method=RiskBudgetingSpec()),
}


@pytest.mark.parametrize("rhythm", [{}, {"embargo_days": 7}, {"expanding": True}], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_another_future_changes_no_decision(name: str, rhythm: dict[str, Any]) -> None:
    inputs, spec = market(), validation(CASES[name], **rhythm)
    answer = walked(inputs, spec)
    after = answer.windows[3].place.seen_until
    other = walked(corrupted(inputs, after), spec)
    pairs = list(zip(answer.windows, other.windows, strict=True))
    # Limits on trades start from the own holdings at the rebalance, which is later with an embargo.
    own = name == "turnover and costs"
    decided = [pair for pair in pairs if (pair[0].place.start if own else pair[0].place.seen_until) <= after]
    assert len(decided) == (3 if own and "embargo_days" in rhythm else 4)
    for was, now in decided:
        assert was.outcome == now.outcome == "optimal"
        assert was.judged.prediction == now.judged.prediction
        assert was.weights.tolist() == now.weights.tolist()
    judged = [pair for pair in pairs if pair[0].place.stop <= after]
    assert all(was.judged.realised.net.tolist() == now.judged.realised.net.tolist() for was, now in judged)
    assert answer.windows[-1].judged.realised.total != other.windows[-1].judged.realised.total


def test_what_is_known_ends_with_the_last_day_seen_and_has_no_facts_of_today() -> None:
    inputs, w = market(), np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    known = known_inputs(inputs, Window(10, 90, 95, 110), w, 1.25)
    last = inputs.dates[90]
    assert (known.dates[0], known.dates[-1]) == (inputs.dates[10], last)
    assert known.closes.tolist() == inputs.closes[10:91].tolist()
    assert known.benchmark is not None
    assert known.benchmark.closes is not None
    assert inputs.benchmark is not None
    assert inputs.benchmark.closes is not None
    assert known.benchmark.closes.tolist() == inputs.benchmark.closes[10:91].tolist()
    assert known.factor_sets[""].dates[-1] == last
    assert known.weights_with_cash.tolist() == w.tolist()
    assert known.value == Decimal("1250000.00")
    for k, asset in enumerate(known.assets):
        assert asset.price == Decimal(repr(float(inputs.closes[90, k])))
        assert (asset.market_cap, asset.quality_score, asset.daily_volume, asset.sale_tax_rate) == (None, None, None, 0)


def ledger(inputs: MarketInputs, answer: ValidationAnswer) -> tuple[list[float], list[float], list[float]]:
    """Wealth by day, and turnover and cost by window, of equal weights kept by hand in money."""
    n = len(inputs.ids)
    money, wealth, turnovers, costs = [*inputs.w0.tolist(), inputs.cash_weight], [], [], []
    for window in answer.windows:
        total = sum(money)
        weights = [held / total for held in money]
        target = [1.0 / n] * n + [0.0]
        turnovers.append(0.5 * sum(abs(a - b) for a, b in zip(weights, target, strict=True)))
        costs.append(COST * sum(abs(a - b) for a, b in zip(weights[:n], target[:n], strict=True)))
        money = [share * total * (1.0 - costs[-1]) for share in target]
        for day in range(window.place.start + 1, window.place.stop + 1):
            for k in range(n):
                money[k] *= float(inputs.closes[day, k] / inputs.closes[day - 1, k])
            money[n] *= 1.0 + RATE / 252.0
            wealth.append(sum(money))
    return wealth, turnovers, costs


@pytest.mark.parametrize("rhythm", [{}, {"embargo_days": 7}, {"expanding": True}], ids=str)
def test_equal_weights_walk_as_a_ledger_says(rhythm: dict[str, Any]) -> None:
    inputs = market()
    answer = walked(inputs, validation(CASES["equal weight"], **rhythm))
    wealth, turnovers, costs = ledger(inputs, answer)
    np.testing.assert_allclose(answer.report.wealth, wealth, rtol=1e-10)
    np.testing.assert_allclose([w.judged.trade.turnover for w in answer.windows], turnovers, rtol=1e-8)
    np.testing.assert_allclose([w.judged.trade.cost for w in answer.windows], costs, rtol=1e-8)
    assert answer.report.turnover_per_year == pytest.approx(252.0 * sum(turnovers) / len(wealth), rel=1e-8)


def test_without_an_answer_the_portfolio_drifts_on() -> None:
    limits = ConstraintSpec(max_position_size=0.1)
    inputs = market()
    answer = walked(inputs, validation(optimization(constraints=limits)))
    assert {window.outcome for window in answer.windows} == {"infeasible"}
    assert all(window.judged.trade.turnover == 0.0 for window in answer.windows)
    first, last = answer.windows[0].place.start, answer.windows[-1].place.stop
    held = inputs.w0 * inputs.closes[first : last + 1] / inputs.closes[first]
    np.testing.assert_allclose(answer.report.wealth, held.sum(axis=1)[1:], rtol=1e-12)
    assert answer.report.share_inside is None


def test_turnover_is_limited_from_the_drifted_weights() -> None:
    answer = walked(market(), validation(CASES["turnover and costs"]))
    assert max(window.judged.trade.turnover for window in answer.windows) <= 0.1 + 1e-8
    assert max(window.judged.trade.turnover for window in answer.windows) > 0.05


def test_every_window_is_told_of() -> None:
    told: list[int] = []
    inputs, spec = market(), validation(CASES["equal weight"])
    answers = run_windows(inputs, spec, found=told.append)
    assert told == list(range(1, len(answers) + 1))


@pytest.mark.parametrize("name", ["turnover and costs", "equal weight"])
def test_a_walk_in_turns_is_the_walk_at_once(name: str) -> None:
    inputs, spec = market(), validation(CASES[name], embargo_days=7)
    told: list[int] = []
    done = list(run_windows(inputs, spec, seconds=0.0, found=told.append))
    while len(done) < len(plan_windows(inputs, spec)):
        done += run_windows(inputs, spec, done, 0.0, told.append)
    assert told == list(range(1, len(done) + 1))
    at_once = walked(inputs, spec)
    assert conclude(inputs, spec, done).report.wealth.tolist() == at_once.report.wealth.tolist()
    assert [w.weights.tolist() for w in done] == [w.weights.tolist() for w in at_once.windows]


def test_a_missing_price_is_named_with_its_day() -> None:
    inputs = market()
    closes = inputs.closes.copy()
    closes[100, 2] = np.nan
    closes[[30, 31], 1] = 0.0
    with pytest.raises(NotReady) as caught:
        plan_windows(replace(inputs, closes=closes), validation(CASES["minimum variance"]))
    assert str(caught.value) == (
        "pp-test has no price above zero of B on 2020-01-31 (2 days in all); C on 2020-04-10; from 2020-04-11 on "
        "there are all prices"
    )


def test_prices_that_no_window_needs_may_be_missing() -> None:
    inputs = market()
    closes = inputs.closes.copy()
    closes[:40, 0] = np.nan
    rhythm = {"first_date": inputs.dates[120]}
    spec = validation(CASES["minimum variance"], **rhythm)
    assert plan_windows(replace(inputs, closes=closes), spec)[0].seen_from == 59
    assert len(walked(replace(inputs, closes=closes), spec).windows) == 4


def test_data_that_an_optimization_cannot_use_are_named_with_its_day() -> None:
    inputs = market()
    closes = inputs.closes.copy()
    closes[60:140, 3] = closes[60, 3]
    with pytest.raises(NotReady, match=r"D.*\(optimization of 2020-04-30\)"):
        walked(replace(inputs, closes=closes), validation(CASES["minimum variance"]))


def test_a_ruined_portfolio_is_an_error_that_names_its_days() -> None:
    """Twice the money in one asset on borrowed cash, and it loses three quarters within a day."""
    inputs = market()
    closes = inputs.closes.copy()
    closes[70:] *= 0.25
    limits = ConstraintSpec(min_cash_weight=-1.0, max_cash_weight=-1.0)
    with pytest.raises(ProblemError, match="on 2020-03-01 that are worth nothing on 2020-03-11"):
        walked(replace(inputs, closes=closes), validation(optimization(constraints=limits)))


def test_a_cost_of_all_value_is_refused() -> None:
    spec = replace(validation(CASES["equal weight"]), cost_rate=1.0)
    inputs = replace(market(), w0=np.array([2.0, -1.0, 1.0, -1.0]))
    with pytest.raises(ProblemError, match="cost_rate: takes"):
        walked(inputs, spec)
