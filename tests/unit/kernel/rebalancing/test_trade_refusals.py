"""What a trade plan says when there is no plan, and what it refuses."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.mixed_integer import SearchEnd
from kernel.rebalancing.program import SearchResult, TradeProgram
from kernel.rebalancing.request import TrackingRisk, TradeDistance, TradeLimits, WeightLimit
from kernel.rebalancing.trades import plan_trades
from kernel.status import Status
from tests.unit.kernel.rebalancing.trade_requests import ZERO, decimals, quantities_of, request_of


def test_cash_that_cannot_be_raised_is_explained():
    limits = TradeLimits(do_not_sell=frozenset({"A"}))
    request = request_of({"A": 10, "B": 1}, -150, {"A": 100, "B": 100}, {"A": 1}, limits=limits)
    plan = plan_trades(request)
    assert (plan.status, plan.feasible, plan.trades) == (Status.INFEASIBLE, False, ())
    assert plan.message == "No trades within the limits raise cash to 0; the most they reach is -50.00."


def test_cash_that_cannot_be_raised_without_anything_to_trade():
    plan = plan_trades(request_of({}, 50, {}, {}, limits=TradeLimits(min_cash=Decimal(60))))
    assert plan.status is Status.INFEASIBLE
    assert plan.message.endswith("the most they reach is 50.00.")


def test_rounding_that_breaks_a_limit_is_repaired(monkeypatch):
    """A solver that overspends by one share each time: the plan drops what matters least."""
    request = request_of({}, 100, {"A": 30, "B": 9}, {"A": "0.6", "B": "0.4"})
    overspent = (Decimal(3), Decimal(4))
    found = SearchResult(SearchEnd.SOLVED, overspent, ZERO, 1)
    monkeypatch.setattr(TradeProgram, "closest_plan", lambda self, search: found)
    plan = plan_trades(request)
    assert quantities_of(plan) == decimals(B=4)
    assert plan.status is Status.OPTIMAL_TO_TOLERANCE


@pytest.mark.parametrize(
    ("end", "cash", "status", "feasible"),
    [
        (SearchEnd.FAILED, 100, Status.NUMERICAL_FAILURE, False),
        (SearchEnd.LIMIT, -10, Status.LIMIT_REACHED, False),
        (SearchEnd.LIMIT, 100, Status.LIMIT_REACHED, True),
        (SearchEnd.SOLVED, -10, Status.NUMERICAL_FAILURE, False),
    ],
)
def test_a_search_without_an_answer_is_reported_as_such(monkeypatch, end, cash, status, feasible):
    found = SearchResult(end, None, ZERO, 0)
    monkeypatch.setattr(TradeProgram, "closest_plan", lambda self, search: found)
    plan = plan_trades(request_of({"A": 5}, cash, {"A": 10}, {}))
    assert (plan.status, plan.feasible, plan.trades) == (status, feasible, ())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prices": {}}, "prices[A]"),
        ({"prices": decimals(A=0)}, "prices[A]"),
        ({"holdings": decimals(A="NaN")}, "holdings[A]"),
        ({"holdings": decimals(A=-1)}, "cash"),
        ({"holdings": decimals(CASH=1)}, "holdings[CASH]"),
        ({"cash": Decimal("NaN")}, "cash"),
        ({"cash": Decimal(-101)}, "cash"),
        ({"target_weights": decimals(A="1.1")}, "target_weights"),
        ({"target_weights": decimals(A="0.5", CASH="0.4")}, "target_weights"),
        ({"target_weights": decimals(A="-0.5")}, "target_weights[A]"),
        ({"target_weights": decimals(B="0.5")}, "prices[B]"),
        ({"increments": decimals(A=0)}, "increments[A]"),
    ],
)
def test_malformed_requests_are_refused(change, field):
    request = request_of({"A": 1}, 10, {"A": 100}, {"A": "0.5"})
    with pytest.raises(ProblemError) as raised:
        plan_trades(replace(request, **change))
    assert raised.value.field == field


def risk_of(*names, **changes):
    n = len(names)
    return replace(TrackingRisk(names, np.zeros((n, 1)), np.ones(n), np.zeros(n)), **changes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"distance": TradeDistance.TRACKING_RISK}, "risk"),
        ({"limits": TradeLimits(max_tracking_error=Decimal("0.1"))}, "limits.max_tracking_error"),
        ({"limits": TradeLimits(max_tax=Decimal(1))}, "limits.max_tax"),
        ({"limits": TradeLimits(max_realized_gain=Decimal(1))}, "limits.max_realized_gain"),
        ({"limits": TradeLimits(weights=(WeightLimit("x", {}), WeightLimit("x", {})))}, "limits.weights[x]"),
        ({"risk": risk_of("B")}, "risk.names"),
        ({"risk": risk_of("A", specific=np.array([-1.0]))}, "risk.specific"),
        ({"risk": risk_of("A", reference=np.array([np.nan]))}, "risk"),
        ({"risk": risk_of("A", reference=np.zeros(2))}, "risk"),
        ({"risk": risk_of("A", aversion=0.0)}, "risk.aversion"),
    ],
)
def test_limits_without_their_measure_are_refused(change, field):
    with pytest.raises(ProblemError) as raised:
        plan_trades(replace(request_of({"A": 1}, 10, {"A": 100}, {"A": "0.5"}), **change))
    assert raised.value.field == field


@pytest.mark.parametrize(
    "limits", [{"min_trade_value": -1}, {"min_cash": "NaN"}, {"max_turnover": -1}, {"max_trades": -1}]
)
def test_malformed_limits_are_refused(limits):
    with pytest.raises(ProblemError, match=next(iter(limits))):
        TradeLimits(**{name: Decimal(value) for name, value in limits.items()})
