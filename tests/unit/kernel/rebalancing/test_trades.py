"""The trade plan on known cases: certificate, edges and reasons."""

from dataclasses import replace
from decimal import Decimal

import pytest

from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.reasons import MissReason
from kernel.rebalancing.request import CASH, TradeLimits, TradeRequest
from kernel.rebalancing.trades import TradeAction, plan_trades
from kernel.status import Status
from tests.unit.kernel.rebalancing.trade_requests import EXACT, assert_valid, decimals, quantities_of, request_of


def test_a_plain_plan_with_its_certificate():
    """Fifteen shares of A reach the target, but leave 15.25 too little for the costs."""
    request = request_of({"A": 60, "B": 10}, 500, {"A": 100, "B": 250}, {"A": "0.5", "B": "0.5"})
    plan = plan_trades(replace(request, costs=CostModel(Decimal(5), Decimal(15)), search=EXACT))
    sell, buy = plan.trades
    assert quantities_of(plan) == decimals(A=-16, B=8)
    assert (sell.priority, sell.action, sell.value, sell.cost) == (1, TradeAction.SELL, 1600, Decimal("7.40"))
    assert (buy.priority, buy.action, buy.value, buy.cost) == (2, TradeAction.BUY, 2000, Decimal("8.00"))
    assert buy.weight_change == Decimal(2000) / 9000
    assert (plan.total_cost, plan.cash_after) == (Decimal("15.40"), Decimal("84.60"))
    assert plan.turnover == (Decimal(3600) + Decimal("415.40")) / 2 / 9000
    assert plan.objective == 100 + Decimal("15.40")
    assert (plan.status, plan.gap) == (Status.OPTIMAL, pytest.approx(0.0, abs=1e-9))
    assert plan.current_allocation == {"A": Decimal(6) / 9, "B": Decimal(25) / 90, CASH: Decimal(5) / 90}
    assert sum(plan.planned_allocation.values()) == pytest.approx(Decimal(1))
    assert "target 50.00%" in sell.reason


def test_at_target_nothing_is_traded():
    plan = plan_trades(request_of({"A": 50, "B": 20}, 0, {"A": 100, "B": 250}, {"A": "0.5", "B": "0.5"}))
    assert (plan.trades, plan.status, plan.objective, plan.gap) == ((), Status.OPTIMAL, 0, 0.0)
    assert plan.misses == ()


def test_an_empty_portfolio_has_nothing_to_trade():
    plan = plan_trades(request_of({}, 0, {"A": 10}, {"A": 1}))
    assert (plan.feasible, plan.trades, plan.turnover, plan.current_allocation) == (True, (), 0, {})


def test_cash_alone_is_invested():
    plan = plan_trades(request_of({}, 1000, {"A": 300}, {"A": 1}))
    assert quantities_of(plan) == decimals(A=3)
    assert plan.cash_after == 100
    assert plan.trades[0].reason == "Open a position of 90.00%, target 100.00%."


def test_one_holding_is_sold_to_cash():
    plan = plan_trades(request_of({"A": 3}, 0, {"A": 300}, {CASH: 1}))
    assert quantities_of(plan) == decimals(A=-3)
    assert plan.trades[0].reason == "Sell all of 100.00%, target 0.00%."


def test_an_overdraft_is_covered_by_sales():
    request = request_of({"A": 10, "B": 10}, -150, {"A": 100, "B": 100}, {"A": "0.6", "B": "0.4"})
    plan = plan_trades(request)
    assert plan.cash_after >= 0
    assert_valid(request, plan)


def test_raising_cash_is_the_reason_of_a_sale_below_target():
    limits = TradeLimits(min_cash=Decimal(500))
    plan = plan_trades(request_of({"A": 10}, 0, {"A": 100}, {"A": 1}, limits=limits))
    assert quantities_of(plan) == decimals(A=-5)
    assert plan.trades[0].reason == "Raise cash: reduce from 100.00% to 50.00%, target 100.00%."


def test_a_fractional_remainder_leaves_only_with_everything():
    out = plan_trades(request_of({"A": "10.37"}, 0, {"A": 100}, {}))
    assert quantities_of(out) == decimals(A="-10.37")
    part = plan_trades(request_of({"A": "10.37"}, 0, {"A": 100}, {"A": "0.5"}))
    assert quantities_of(part) == decimals(A=-5)


def test_a_small_trade_is_left_out_and_named():
    limits = TradeLimits(min_trade_value=Decimal(5000))
    request = request_of({"A": 10}, 90_000, {"A": 1000}, {"A": "0.14"}, limits=limits)
    plan = plan_trades(request)
    assert plan.trades == ()
    assert [(m.instrument_id, m.value, m.reason) for m in plan.misses] == [("A", -4000, MissReason.MIN_TRADE_SIZE)]


def test_leaving_a_small_position_is_allowed():
    limits = TradeLimits(min_trade_value=Decimal(500))
    plan = plan_trades(request_of({"A": 3, "B": 7}, 0, {"A": 100, "B": 100}, {"B": 1}, limits=limits))
    assert quantities_of(plan) == decimals(A=-3)


def test_forbidden_directions_are_named():
    limits = TradeLimits(do_not_buy=frozenset({"A"}), do_not_sell=frozenset({"B"}))
    plan = plan_trades(request_of({"A": 1, "B": 9}, 0, {"A": 100, "B": 100}, {"A": 1}, limits=limits))
    assert plan.trades == ()
    assert {m.instrument_id: m.reason for m in plan.misses} == {"A": MissReason.DO_NOT_BUY, "B": MissReason.DO_NOT_SELL}
    assert (plan.objective, plan.status) == (1800, Status.OPTIMAL)


def test_the_largest_number_of_trades_keeps_the_most_useful_ones():
    limits = TradeLimits(max_trades=2)
    holdings, prices = {"A": 40, "B": 30, "C": 30}, {"A": 10, "B": 10, "C": 10, "D": 10}
    plan = plan_trades(
        request_of(holdings, 0, prices, {"A": "0.35", "B": "0.10", "C": "0.25", "D": "0.3"}, limits=limits)
    )
    assert quantities_of(plan) == decimals(B=-20, D=20)
    assert {miss.reason for miss in plan.misses} == {MissReason.LIMITS}


def test_turnover_counts_cash():
    limits = TradeLimits(max_turnover=Decimal("0.1"))
    plan = plan_trades(request_of({"A": 40, "B": 40}, 200, {"A": 10, "B": 10}, {"A": "0.5", "B": "0.5"}, limits=limits))
    assert plan.turnover == Decimal("0.1")
    assert sum(quantities_of(plan).values()) == 10


def test_fractions_are_rounded_toward_zero():
    request = request_of({}, "100000", {"A": "33.37"}, {"A": 1}, increments=decimals(A="0.0001"))
    plan = plan_trades(request)
    assert quantities_of(plan) == {"A": Decimal("2996.7036")}
    assert_valid(request, plan)


def test_the_same_request_gives_the_same_plan():
    request = request_of(
        {f"N{i}": 10 + i for i in range(12)},
        500,
        {f"N{i}": 7 + 3 * i for i in range(12)},
        {f"N{i}": "0.08" for i in range(12)},
    )
    assert plan_trades(request) == plan_trades(request)


def test_five_hundred_names_are_planned_within_all_limits():
    names = [f"N{i:03d}" for i in range(500)]
    limits = TradeLimits(Decimal(100), max_trades=80, max_turnover=Decimal("0.15"))
    request = TradeRequest(
        holdings={name: Decimal(i * 37 % 60) for i, name in enumerate(names)},
        cash=Decimal("12345.67"),
        prices={name: Decimal(1000 + i * 7919 % 40_000) / 100 for i, name in enumerate(names)},
        target_weights=dict.fromkeys(names, Decimal("0.002")),
        limits=limits,
        costs=CostModel(Decimal(5), Decimal(15)),
    )
    plan = plan_trades(request)
    assert_valid(request, plan)
    assert plan.gap <= 1e-3


def test_an_instrument_neither_held_nor_wanted_needs_no_price():
    assert plan_trades(request_of({"A": 1, "B": 0}, 0, {"A": 100}, {"A": 1, "B": 0})).trades == ()
