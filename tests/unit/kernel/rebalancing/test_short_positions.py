"""Short positions in trade plans: they can only be bought back."""

import itertools
import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.drift import DriftMeasure
from kernel.rebalancing.reasons import MissReason
from kernel.rebalancing.request import TradeLimits
from kernel.rebalancing.strategies import Strategy, StrategyKind, apply_strategy
from kernel.rebalancing.trades import TradeAction, plan_trades
from tests.unit.kernel.rebalancing.trade_requests import ZERO, decimals, quantities_of, request_of

PRICES = {"A": 70, "B": 30, "C": 110}
CENT = Decimal("0.01")


def cents(amount):
    return amount.quantize(CENT, "ROUND_HALF_UP")


def shares_tried(held, wanted, *, short_of_cash):
    """Trades up to a share past the target; a short position is only bought, and a long one sold for lack of cash."""
    steps = wanted - held
    most = max(math.ceil(steps), 0)
    if held < 0:
        return range(most + 1)
    least = -held if short_of_cash else max(math.floor(steps) - 1, -held) if steps < 0 else 0
    return range(min(least, 0), most + 1)


def least_objective(request):
    """Every set of whole trades, one by one."""
    total = request.cash + sum((q * request.prices[n] for n, q in request.holdings.items()), ZERO)
    names = sorted(request.holdings.keys() | request.target_weights.keys())
    aims = {name: request.target_weights.get(name, ZERO) * total for name in names}
    short_of_cash = request.cash < request.limits.min_cash
    tried = [
        shares_tried(int(request.holdings.get(name, 0)), aims[name] / request.prices[name], short_of_cash=short_of_cash)
        for name in names
    ]
    best = None
    for moves in itertools.product(*tried):
        cash, objective = request.cash, ZERO
        for name, move in zip(names, moves, strict=True):
            value = abs(move) * request.prices[name]
            cost = (request.costs.commission + value * request.costs.impact_rate) if move else ZERO
            objective += abs((request.holdings.get(name, ZERO) + move) * request.prices[name] - aims[name]) + cost
            cash -= move * request.prices[name] + cents(cost)
        if cash >= request.limits.min_cash and (best is None or objective < best):
            best = objective
    return best


@settings(deadline=None, max_examples=60)
@given(
    long=st.integers(0, 8),
    short=st.integers(1, 6),
    cash=st.integers(-200, 1500),
    weights=st.tuples(st.integers(0, 10), st.integers(0, 4), st.integers(0, 6)),
    commission=st.sampled_from([0, 1, 5]),
)
def test_plans_with_a_short_position_are_the_best_of_all(long, short, cash, weights, commission):
    if cash + 70 * long - 30 * short <= 0:
        return
    target = {name: Decimal(w) / 20 for name, w in zip(PRICES, weights, strict=True)}
    costs = CostModel(commission=Decimal(commission), impact_bps=Decimal(20))
    request = request_of({"A": long, "B": -short}, cash, PRICES, target, costs=costs)
    plan, least = plan_trades(request), least_objective(request)
    assert plan.feasible == (least is not None)
    if least is None:
        return
    assert abs(plan.objective - least) < CENT
    assert plan.lower_bound <= least + CENT
    bought = quantities_of(plan)
    assert bought.get("B", ZERO) >= 0
    assert plan.cash_after >= 0


def test_a_short_position_is_covered_with_a_reason():
    plan = plan_trades(request_of({"A": 10, "B": -4}, 400, {"A": 100, "B": 50}, {"A": 1}))
    trades = {trade.instrument_id: trade for trade in plan.trades}
    assert (trades["B"].action, trades["B"].quantity) == (TradeAction.BUY, 4)
    assert trades["B"].reason == "Buy back a short position: from -16.67% to 0.00%, target 0.00%."
    assert plan.current_allocation["B"] == Decimal(-200) / 1200


def test_a_short_position_is_never_sold_not_even_for_cash():
    request = request_of({"A": 2, "B": -4}, -50, {"A": 200, "B": 50}, {})
    plan = plan_trades(request)
    assert all(trade.action is TradeAction.BUY for trade in plan.trades if trade.instrument_id == "B")
    limits = TradeLimits(do_not_sell=frozenset({"A"}))
    assert not plan_trades(replace(request, limits=limits)).feasible


def test_a_short_position_that_may_not_be_bought_is_a_miss():
    limits = TradeLimits(do_not_buy=frozenset({"B"}))
    plan = plan_trades(request_of({"A": 10, "B": -4}, 400, {"A": 100, "B": 50}, {"A": 1}, limits=limits))
    (miss,) = [miss for miss in plan.misses if miss.instrument_id == "B"]
    assert (miss.value, miss.reason) == (Decimal(-200), MissReason.DO_NOT_BUY)


def test_a_part_of_a_share_stays_short():
    holdings = {"A": 10, "B": "-2.5"}
    plan = plan_trades(request_of(holdings, 400, {"A": 100, "B": 50}, {"A": 1}))
    assert quantities_of(plan)["B"] in decimals(low=2, high=3).values()


@pytest.mark.parametrize(("weight", "refused"), [("-0.1", False), ("-0.1666", False), ("-0.2", True)])
def test_a_target_below_zero_is_no_lower_than_the_position(weight, refused):
    request = request_of({"A": 10, "B": -4}, 400, {"A": 100, "B": 50}, {"A": "0.5", "B": weight})
    if refused:
        with pytest.raises(ProblemError, match="opens no short position") as raised:
            plan_trades(request)
        assert raised.value.field == "target_weights[B]"
    else:
        assert quantities_of(plan_trades(request)).get("B", ZERO) == (2 if weight == "-0.1" else 0)


@pytest.mark.parametrize(("cash", "total", "refused"), [(-250, "1.25", False), (-250, "1.26", True), (0, "1.01", True)])
def test_targets_exceed_the_whole_by_what_is_owed_alone(cash, total, refused):
    request = request_of({"A": 1000 - cash}, cash, {"A": 1}, {"A": total})
    if refused:
        with pytest.raises(ProblemError) as raised:
            plan_trades(request)
        assert raised.value.field == "target_weights"
    else:
        limits = TradeLimits(min_cash=Decimal(cash))
        assert not plan_trades(replace(request, limits=limits)).trades


def test_what_is_short_may_leave_no_value():
    with pytest.raises(ProblemError, match="what is short leaves no value") as raised:
        plan_trades(request_of({"B": -4}, 100, {"B": 50}, {}))
    assert raised.value.field == "cash"


@pytest.mark.parametrize("measure", [DriftMeasure.MAX_ABSOLUTE, DriftMeasure.HALF_L1])
def test_a_drift_below_its_threshold_leaves_short_positions_and_loans_alone(measure):
    request = request_of({"A": 15, "B": -4}, -100, {"A": 100, "B": 50}, {"A": 1})
    request = replace(request, limits=TradeLimits(min_cash=Decimal(-100)))
    calm = Strategy(StrategyKind.THRESHOLD, measure=measure, threshold=Decimal(9))
    outcome = apply_strategy(request, calm)
    assert not outcome.fired
    assert not plan_trades(outcome.request).trades


def test_a_threshold_leads_a_short_position_to_the_edge_of_its_band():
    request = request_of({"A": 11, "B": -4}, 100, {"A": 100, "B": 50}, {"A": "0.95"})
    fired = Strategy(StrategyKind.THRESHOLD, threshold=Decimal("0.05"))
    outcome = apply_strategy(request, fired)
    assert outcome.fired
    assert outcome.request.target_weights["B"] == Decimal("-0.05")
    assert quantities_of(plan_trades(outcome.request))["B"] == 3


def test_a_deposit_covers_what_is_furthest_below_its_target():
    request = request_of({"A": 10, "B": -4}, 300, {"A": 100, "B": 50}, {"A": "0.8"})
    outcome = apply_strategy(request, Strategy(StrategyKind.CASH_FLOW, cash_flow=Decimal(100)))
    assert quantities_of(plan_trades(outcome.request)) == decimals(B=2)


def test_a_withdrawal_sells_no_short_position():
    request = request_of({"A": 10, "B": -4}, 200, {"A": 100, "B": 50}, {"A": 1})
    outcome = apply_strategy(request, Strategy(StrategyKind.CASH_FLOW, cash_flow=Decimal(-500)))
    assert quantities_of(plan_trades(outcome.request)) == decimals(A=-3)
