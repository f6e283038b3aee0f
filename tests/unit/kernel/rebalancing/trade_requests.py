"""Requests for trade plans, and an independent check of the plans."""

from decimal import Decimal

from kernel.rebalancing.mixed_integer import SearchSettings
from kernel.rebalancing.request import TradeRequest
from kernel.rebalancing.trades import TradeAction

ZERO = Decimal(0)
EXACT = SearchSettings(relative_gap=0.0)


def decimals(**numbers):
    return {name: Decimal(str(number)) for name, number in numbers.items()}


def request_of(holdings, cash, prices, targets, **rest):
    return TradeRequest(decimals(**holdings), Decimal(str(cash)), decimals(**prices), decimals(**targets), **rest)


def quantities_of(plan):
    return {t.instrument_id: t.quantity if t.action is TradeAction.BUY else -t.quantity for t in plan.trades}


def assert_valid(request, plan):
    """Every limit, re-derived from the trades alone."""
    limits, cash, traded = request.limits, request.cash, ZERO
    assert len({trade.instrument_id for trade in plan.trades}) == len(plan.trades)
    for trade in plan.trades:
        held = request.holdings.get(trade.instrument_id, ZERO)
        selling = trade.action is TradeAction.SELL
        leaving = selling and trade.quantity == held
        assert trade.quantity > 0
        assert trade.value == (trade.quantity * trade.price).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert leaving or trade.quantity % request.increments.get(trade.instrument_id, Decimal(1)) == 0
        assert leaving or trade.quantity * trade.price >= limits.min_trade_value
        assert not selling or trade.quantity <= held
        assert trade.instrument_id not in (limits.do_not_sell if selling else limits.do_not_buy)
        cash += (trade.value if selling else -trade.value) - trade.cost
        traded += trade.value
    assert plan.cash_after == cash
    assert cash >= limits.min_cash
    assert limits.max_trades is None or len(plan.trades) <= limits.max_trades
    turnover = (traded + abs(cash - request.cash)) / 2
    assert limits.max_turnover is None or turnover <= limits.max_turnover * plan.total_value
    assert ZERO <= plan.lower_bound <= plan.objective
