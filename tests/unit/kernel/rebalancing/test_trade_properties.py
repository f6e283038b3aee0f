"""Trade plans against exhaustive search, and their limits under random requests."""

import itertools
import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel.rebalancing.book import open_book
from kernel.rebalancing.costs import CostModel
from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.request import TradeLimits, TradeRequest
from kernel.rebalancing.settle import Trades, settle
from kernel.rebalancing.trades import plan_trades
from kernel.status import Status
from tests.unit.kernel.rebalancing.trade_requests import EXACT, ZERO, assert_valid


def moves_of(position, short_of_cash):
    """All whole-share trades that do not pass the target by more than a share, or sell for cash; and the exit."""
    aim = position.target_value / position.price - position.held
    most_sold = min(position.held, position.held if short_of_cash else (math.floor(-aim) + 1 if aim < 0 else 0))
    moves = {ZERO} | {Decimal(q) for q in range(1, math.ceil(aim) + 1) if position.can_buy}
    return moves | {Decimal(-q) for q in range(1, int(most_sold) + 1) if position.can_sell}


def best_by_enumeration(request):
    """The least objective over all whole-share trades within the limits, or None."""
    book = open_book(request)
    short_of_cash = book.cash < book.limits.min_cash
    choices = [moves_of(position, short_of_cash) for position in book.positions]
    outcomes = (settle(book, Trades(quantities)) for quantities in itertools.product(*choices))
    return min((outcome.objective for outcome in outcomes if not outcome.violation), default=None)


@st.composite
def requests(draw, sizes, *, whole=True):
    names = [f"N{i}" for i in range(draw(sizes))]
    shares = st.integers(0, 6) if whole else st.decimals(0, 500, places=4)
    price = st.integers(3, 40) if whole else st.decimals("0.5", 900, places=2)
    holdings = {name: Decimal(draw(shares)) for name in names}
    prices = {name: Decimal(draw(price)) for name in names}
    value = sum((holdings[name] * prices[name] for name in names), ZERO)
    cash = Decimal(draw(st.integers(-5, 60))) + round(ZERO if whole else value / 20, 2)
    assume(sum((holdings[name] * prices[name] for name in names), cash) > 0)
    parts = [draw(st.integers(0, 5)) for _ in names]
    whole_parts = sum(parts) + draw(st.integers(0, 2)) or 1
    targets = {name: Decimal(part) / whole_parts for name, part in zip(names, parts, strict=True)}
    maybe = st.one_of(st.none(), st.integers(0, len(names)))
    limits = TradeLimits(
        min_trade_value=Decimal(draw(st.sampled_from([0, 15, 60]))),
        max_trades=draw(maybe),
        max_turnover=draw(st.sampled_from([None, Decimal("0.1"), Decimal("0.35")])),
        min_cash=Decimal(draw(st.sampled_from([0, 0, 10]))),
        do_not_buy=frozenset(draw(st.sets(st.sampled_from(names), max_size=1))),
        do_not_sell=frozenset(draw(st.sets(st.sampled_from(names), max_size=1))),
    )
    costs = CostModel(Decimal(draw(st.sampled_from([0, 1]))), Decimal(draw(st.sampled_from([0, 100]))))
    increments = (
        {} if whole else {name: Decimal(draw(st.sampled_from(["1", "0.5", "0.001", "0.000001"]))) for name in names}
    )
    return TradeRequest(holdings, cash, prices, targets, increments, limits, costs, EXACT)


@given(requests(st.integers(1, 2)))
@settings(max_examples=120, deadline=None)
def test_no_enumerated_set_of_trades_is_better(request):
    plan = plan_trades(request)
    best = best_by_enumeration(request)
    if best is None:
        assert plan.status is Status.INFEASIBLE
        assert plan.trades == ()
        return
    assert_valid(request, plan)
    assert plan.status is Status.OPTIMAL
    assert plan.objective == pytest.approx(best, abs=Decimal("1e-6"))
    assert plan.lower_bound <= best + Decimal("1e-6")


@given(requests(st.integers(1, 7), whole=False))
@settings(max_examples=100, deadline=None)
def test_no_limit_is_ever_broken(request):
    plan = plan_trades(replace(request, search=SearchSettings(node_limit=200)))
    if plan.feasible:
        assert_valid(request, plan)
    else:
        assert plan.trades == ()
        assert plan.message


@given(requests(st.integers(2, 6)))
@settings(max_examples=40, deadline=None)
def test_a_tighter_limit_never_comes_closer(request):
    loose = plan_trades(replace(request, limits=replace(request.limits, max_turnover=None)))
    tight = plan_trades(replace(request, limits=replace(request.limits, max_turnover=Decimal("0.1"))))
    if tight.feasible and Status.LIMIT_REACHED not in (loose.status, tight.status):
        assert tight.objective >= loose.objective - Decimal("0.01")
