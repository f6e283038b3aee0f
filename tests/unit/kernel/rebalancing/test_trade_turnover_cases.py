"""Turnover limits of trade plans against the shared known answers."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kernel.rebalancing.request import CASH, TrackingRisk, TradeDistance, TradeLimits, TradeRequest
from kernel.rebalancing.trades import plan_trades
from tests.unit.kernel.rebalancing.golden_cases import load_cases
from tests.unit.kernel.rebalancing.trade_requests import EXACT, quantities_of

CASES = load_cases("turnover")
VALUE = 1000


def at_weights(weights, target, max_turnover=None, cash=0):
    """Holdings of shares worth 1 at some weights of 1000, and their targets."""
    names = [f"N{i}" for i in range(len(weights))]
    return TradeRequest(
        {name: Decimal(weight) * VALUE for name, weight in zip(names, weights, strict=True)},
        Decimal(cash) * VALUE,
        dict.fromkeys(names, Decimal(1)),
        {name: Decimal(weight) for name, weight in zip(names, target, strict=True)},
        limits=TradeLimits(max_turnover=max_turnover),
        search=EXACT,
    )


def weights_after(request, plan):
    traded = quantities_of(plan)
    return [(held + traded.get(name, 0)) / VALUE for name, held in request.holdings.items()]


def test_one_way_turnover_is_half_the_sum_of_changes():
    case = CASES["to-01"]
    plan = plan_trades(at_weights(case["inputs"]["w0"], case["inputs"]["w1"]))
    assert plan.turnover == case["expected"]["one_way"]
    assert sum(trade.value for trade in plan.trades) / VALUE == case["expected"]["two_way"]


def test_a_capped_step_is_the_closest_point_and_not_the_scaled_one():
    inputs, expected = CASES["to-02"]["inputs"], CASES["to-02"]["expected"]["optimal_l2"]
    request = at_weights(inputs["w0"], inputs["target"], inputs["max_one_way"])
    n = len(inputs["w0"])
    risk = TrackingRisk(
        tuple(request.holdings), np.zeros((n, 0)), np.ones(n), np.array(inputs["target"], dtype=float), aversion=2.0
    )
    plan = plan_trades(replace(request, distance=TradeDistance.TRACKING_RISK, risk=risk))
    assert weights_after(request, plan) == expected["w"]
    assert float(plan.quality.distance) / VALUE == pytest.approx(float(expected["sq_dist"]), abs=1e-9)
    assert len(plan.trades) == expected["trades"]


def test_a_cap_is_used_in_full_where_trades_may_be_partial():
    inputs = CASES["to-03"]["inputs"]
    request = TradeRequest(
        {},
        Decimal(inputs["cash"]),
        {name: Decimal(price) for name, price in inputs["prices"].items()},
        inputs["target"],
        limits=TradeLimits(max_turnover=inputs["max_turnover"]),
        search=EXACT,
    )
    plan = plan_trades(request)
    assert plan.turnover == inputs["max_turnover"]


def test_a_full_rebalance_above_the_cap_stops_at_it():
    inputs, expected = CASES["to-04"]["inputs"], CASES["to-04"]["expected"]
    full = plan_trades(at_weights(inputs["w0"], inputs["target"]))
    request = at_weights(inputs["w0"], inputs["target"], inputs["max_one_way"])
    capped = plan_trades(request)
    assert (full.turnover, full.turnover <= inputs["max_one_way"]) == (expected["full_one_way"], expected["feasible"])
    assert weights_after(request, capped) == expected["capped_w"]


def test_investing_idle_cash_counts():
    inputs, expected = CASES["to-05"]["inputs"], CASES["to-05"]["expected"]
    before, after = inputs["w0"], inputs["w1"]
    request = at_weights(
        [before["A"], before["B"]], [after["A"], after["B"]], expected["half_l1_with_cash"], before["cash"]
    )
    plan = plan_trades(request)
    assert plan.turnover == expected["half_l1_with_cash"] == expected["max_of_buys_and_sells"]
    assert plan.planned_allocation[CASH] == after["cash"]
    limit = next(limit for limit in plan.limits if limit.name == "max_turnover")
    assert (limit.slack, limit.binding) == (0, True)
