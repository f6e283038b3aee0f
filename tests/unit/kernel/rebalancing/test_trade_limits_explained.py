"""What limits of a trade plan cost, and what contradicts where there is no plan."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kernel.rebalancing.limit_reports import in_words
from kernel.rebalancing.quality import LimitSense
from kernel.rebalancing.request import TrackingRisk, TradeLimits, WeightLimit
from kernel.rebalancing.trades import plan_trades
from kernel.status import Status
from tests.unit.kernel.rebalancing.small_cases import random_case
from tests.unit.kernel.rebalancing.test_trade_taxes import SHORT, lot, taxed
from tests.unit.kernel.rebalancing.trade_requests import request_of

PLAIN = TradeLimits()
AT_MOST_30 = WeightLimit("max_position[A]", {"A": Decimal(1)}, maximum=Decimal("0.3"))


def independent(names, reference):
    """Each name with a volatility of 20%, none correlated."""
    n = len(names)
    return TrackingRisk(tuple(names), np.zeros((n, 0)), np.full(n, 0.04), np.array(reference))


def test_a_tracking_limit_costs_tax():
    """Without the limit the winner stays: a share that moves to B saves 200 of distance and costs 0.5 * 900 of tax."""
    lots = {"A": [lot("a", 100, 100, SHORT)]}
    limits = TradeLimits(max_tracking_error=Decimal("0.02"))
    request = taxed({"A": 100, "B": 100}, {"A": 1000, "B": 1000}, {"A": "0.4", "B": "0.6"}, lots, limits=limits)
    request = replace(
        request,
        risk=independent(["A", "B"], [0.4, 0.6]),
        price_limits=True,
        tax=replace(request.tax, weight=Decimal(5)),
    )
    plan = plan_trades(request)
    free = plan_trades(replace(request, limits=PLAIN))
    assert free.trades == ()
    price = next(price for price in plan.limit_prices if price.name == "max_tracking_error")
    assert price.price == (plan.objective - free.objective).quantize(Decimal("0.01"))
    assert price.tax == 5 * plan.tax.additional_tax > 0
    assert price.distance == plan.quality.distance - free.quality.distance < 0
    assert price.uncertainty < Decimal("0.01")
    assert (
        price.sentence
        == f"max_tracking_error (2%) costs {price.price}: {price.tax} of tax, {price.distance} of distance"
    )
    assert next(limit for limit in plan.limits if limit.name == "max_tracking_error").binding


def test_the_price_of_a_limit_is_said_in_money():
    limits = TradeLimits(max_turnover=Decimal("0.1"))
    request = request_of({"A": 40, "B": 60}, 0, {"A": 10, "B": 10}, {"A": "0.6", "B": "0.4"}, limits=limits)
    plan = plan_trades(replace(request, price_limits=True))
    (price,) = plan.limit_prices
    assert (price.name, price.limit, price.value, price.price) == ("max_turnover", Decimal("0.1"), Decimal("0.2"), 200)
    assert price.sentence == "max_turnover (10%) costs 200.00 of distance"


@pytest.mark.parametrize("seed", range(0, 60, 2))
def test_prices_are_differences_of_plans(seed):
    request = replace(random_case(seed), price_limits=True)
    plan = plan_trades(request)
    for price in plan.limit_prices:
        if price.name == "max_turnover":
            free = plan_trades(replace(request, limits=replace(request.limits, max_turnover=None), price_limits=False))
            assert abs(plan.objective - free.objective - price.price) <= price.uncertainty + Decimal("0.01")
    assert all(limit.slack >= 0 for limit in plan.limits) or not plan.feasible
    assert [price.price for price in plan.limit_prices] == sorted((p.price for p in plan.limit_prices), reverse=True)


def test_two_limits_that_contradict_are_named_both_ways():
    """Equal weights of two names against all in the first: one step in turnover takes one step of tracking error."""
    limits = TradeLimits(max_turnover=Decimal("0.2"), max_tracking_error=Decimal("0.02"))
    request = request_of({"A": 50, "B": 50}, 0, {"A": 10, "B": 10}, {"A": 1}, limits=limits)
    plan = plan_trades(replace(request, risk=independent(["A", "B"], [1.0, 0.0])))
    assert (plan.status, plan.trades) == (Status.INFEASIBLE, ())
    assert plan.conflict.limits == ("max_turnover", "max_tracking_error")
    # 0.2 sqrt(2) (0.5 - turnover) is the tracking error.
    turnover, error = (relaxation.relaxed for relaxation in plan.conflict.relaxations)
    assert turnover == Decimal("0.43")
    assert float(error) == pytest.approx(0.2 * 2**0.5 * 0.3)
    assert plan.message == plan.conflict.sentence
    assert plan.message == (
        "max_turnover (20%) and max_tracking_error (2%) contradict each other: max_tracking_error of 2% needs "
        "max_turnover of 43%; with max_turnover of 20% the least is max_tracking_error of 8.49%."
    )


def test_each_way_out_of_a_conflict_is_one():
    limits = TradeLimits(
        max_turnover=Decimal("0.05"),
        weights=(AT_MOST_30,),
    )
    request = request_of({"A": 50, "B": 50}, 0, {"A": 10, "B": 10}, {"A": "0.5", "B": "0.5"}, limits=limits)
    conflict = plan_trades(request).conflict
    assert conflict.limits == ("max_turnover", "max_position[A]")
    turnover, position = (relaxation.relaxed for relaxation in conflict.relaxations)
    assert (turnover, position) == (Decimal("0.2"), Decimal("0.45"))
    assert plan_trades(replace(request, limits=replace(limits, max_turnover=turnover))).feasible
    loosened = (replace(limits.weights[0], maximum=position),)
    assert plan_trades(replace(request, limits=replace(limits, weights=loosened))).feasible


def test_a_list_that_contradicts_is_named():
    limits = TradeLimits(
        do_not_sell=frozenset({"A"}),
        weights=(AT_MOST_30,),
    )
    conflict = plan_trades(
        request_of({"A": 50, "B": 50}, 0, {"A": 10, "B": 10}, {"A": "0.5", "B": "0.5"}, limits=limits)
    ).conflict
    assert conflict.limits == ("do_not_sell", "max_position[A]")
    assert "no do_not_sell" in conflict.sentence


def test_both_sides_of_a_weight_are_reported():
    both = WeightLimit("sector[X]", {"A": Decimal(1)}, Decimal("0.2"), Decimal("0.6"))
    plan = plan_trades(request_of({"A": 50}, 500, {"A": 10}, {"A": "0.6"}, limits=TradeLimits(weights=(both,))))
    sides = {limit.sense: limit for limit in plan.limits if limit.name == "sector[X]"}
    assert sides[LimitSense.AT_MOST].binding
    assert sides[LimitSense.AT_LEAST].slack == Decimal("0.4")


@pytest.mark.parametrize(
    ("value", "unit", "words"), [("0.02", "volatility", "2%"), ("412", "money", "412.00"), ("3", "positions", "3")]
)
def test_values_in_words(value, unit, words):
    assert in_words(Decimal(value), unit) == words
