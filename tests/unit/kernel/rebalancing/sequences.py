"""Orders on a calendar of their own, and a judge of sequences that shares nothing with the code."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations

from kernel.rebalancing.execution import Liquidity
from kernel.rebalancing.sequence import Order
from kernel.rebalancing.settlement import SettlementCalendar, SettlementCycle
from kernel.rebalancing.trades import TradeAction

START = date(2026, 11, 2)
BANK_HOLIDAY = date(2026, 11, 11)


def weekdays(first, count):
    days = []
    while len(days) < count:
        if first.weekday() < 5:
            days.append(first)
        first += timedelta(days=1)
    return tuple(days)


DAYS = weekdays(START, 600)


def calendar(cycle=1):
    """Weekdays from Monday, 2 November 2026, on; on Wednesday of the next week no money moves."""
    settling = tuple(day for day in DAYS if day != BANK_HOLIDAY)
    return SettlementCalendar(DAYS, settling, (SettlementCycle(date(2020, 1, 1), cycle),))


def order(name, action, value, cost="1.00", *, days=1, **others):
    """An order of 100 shares per day, at a participation of 10% of 1000."""
    quantity = Decimal(100 * days)
    liquidity = Liquidity(Decimal(value) / quantity, Decimal(1000), Decimal("0.02"))
    return Order(name, TradeAction(action), quantity, Decimal(value), Decimal(cost), liquidity, **others)


def sale(name, value, cost="1.00", **others):
    return order(name, "sell", value, cost, **others)


def purchase(name, value, cost="1.00", **others):
    return order(name, "buy", value, cost, **others)


def judge(plan, orders, cash, floor, most=None):
    """Everything that must hold for a sequence of orders, recomputed."""
    given = {order.instrument_id: order for order in orders}
    assert sorted(given) == sorted(placed.instrument_id for placed in plan.orders)
    assert [placed.priority for placed in plan.orders] == list(range(1, len(given) + 1))
    by_rank = {placed.priority: placed for placed in plan.orders}
    for placed in plan.orders:
        asked = given[placed.instrument_id]
        assert sum(part.quantity for part in placed.slices) == asked.quantity
        assert all(part.quantity > 0 for part in placed.slices)
        assert [part.day for part in placed.slices] == sorted({part.day for part in placed.slices})
        assert {part.day for part in placed.slices} <= set(DAYS)
        if most is not None:
            assert all(part.quantity <= most * asked.liquidity.daily_volume for part in placed.slices)
        for rank in placed.depends_on:
            payer = by_rank[rank]
            assert rank < placed.priority
            assert payer.action is TradeAction.SELL
            assert payer.slices[-1].day <= placed.slices[0].day
    _judge_any_order(plan, given, cash, floor)
    _judge_projection(plan, given, cash, floor)


def _flow(order):
    return order.value - order.cost if order.action is TradeAction.SELL else -order.value - order.cost


def _judge_any_order(plan, given, cash, floor):
    """Whatever takers are filled, with the payers they wait for and no other, cash is at the floor or above."""
    flows = {placed.priority: _flow(given[placed.instrument_id]) for placed in plan.orders}
    takers = [placed for placed in plan.orders if flows[placed.priority] < 0]
    sets = (chosen for size in range(1, len(takers) + 1) for chosen in combinations(takers, size))
    for chosen in sets:
        filled = {taker.priority for taker in chosen} | {rank for taker in chosen for rank in taker.depends_on}
        assert cash + sum(flows[rank] for rank in filled) >= floor


def _judge_projection(plan, given, cash, floor):
    days = [day for day, _ in plan.cash_projection]
    assert days == [day for day in DAYS if days[0] <= day <= days[-1] and day != BANK_HOLIDAY]
    assert days[-1] == max(placed.settlement_date for placed in plan.orders)
    assert plan.cash_projection[-1][1] == cash + sum(map(_flow, given.values()))
    lowest = min(amount for _, amount in plan.cash_projection)
    assert lowest >= min(floor, cash)
    reached = [amount >= floor for _, amount in plan.cash_projection]
    assert reached == sorted(reached)
    assert cash < floor or all(reached)
