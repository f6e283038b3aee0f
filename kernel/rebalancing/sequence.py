"""The order of trades: which sales pay for which purchases, on which days, and what cash is left on each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.execution import ExecutionSettings, Liquidity, SlicedCost, slice_trade, sliced_cost
from kernel.rebalancing.funding import fund
from kernel.rebalancing.money import ZERO, require_amount, to_cents
from kernel.rebalancing.settlement import SettlementCalendar
from kernel.rebalancing.trades import TradeAction

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Order:
    """A trade to be put in order.

    Attributes:
        instrument_id: What is traded, once among all orders.
        action: Buy or sell.
        quantity: Shares, > 0.
        value: Money at the trade's price, >= 0.
        cost: Money paid for trading, >= 0; spread over the slices by shares.
        liquidity: Price, volume and volatility.
        increment: Smallest tradable number of shares.
        not_before: First day on which it can trade, e.g. after a halt; None = from the start.
        settlement_days: Of a security with a cycle of its own; None = the calendar's.
    """

    instrument_id: str
    action: TradeAction
    quantity: Decimal
    value: Decimal
    cost: Decimal
    liquidity: Liquidity
    increment: Decimal = _ONE
    not_before: date | None = None
    settlement_days: int | None = None

    def __post_init__(self) -> None:
        require_amount(f"orders[{self.instrument_id}].quantity", self.quantity, positive=True)
        require_amount(f"orders[{self.instrument_id}].value", self.value)
        require_amount(f"orders[{self.instrument_id}].cost", self.cost)
        require_amount(f"orders[{self.instrument_id}].increment", self.increment, positive=True)

    @property
    def cash_flow(self) -> Decimal:
        """Money that the order brings, negative for what it takes."""
        return (self.value if self.action is TradeAction.SELL else -self.value) - self.cost


@dataclass(frozen=True, slots=True)
class Funds:
    """Settled money.

    Attributes:
        cash: Before the trades; negative when overdrawn.
        floor: Least cash at the end of every settlement day; negative where the account may borrow.
    """

    cash: Decimal
    floor: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class TradeSlice:
    """A part of a trade.

    Attributes:
        day: Trading day.
        quantity: Shares, > 0.
        participation: Share of the daily volume; None where that is not known.
    """

    day: date
    quantity: Decimal
    participation: Decimal | None


@dataclass(frozen=True, slots=True)
class SequencedOrder:
    """An order in its place.

    Attributes:
        instrument_id: What is traded.
        action: Buy or sell.
        priority: 1 comes first.
        depends_on: Priorities of the sales that must be filled before it starts, ascending.
        slices: By day; they add up to the order.
        settlement_date: Of the last slice.
        funds_settle_on: Day on which the last of the sales that pay for it settles; None when cash does.
        execution: Expected cost and risk of the slices.
    """

    instrument_id: str
    action: TradeAction
    priority: int
    depends_on: tuple[int, ...]
    slices: tuple[TradeSlice, ...]
    settlement_date: date
    funds_settle_on: date | None
    execution: SlicedCost


@dataclass(frozen=True, slots=True)
class SequencedPlan:
    """Orders in sequence.

    Attributes:
        orders: By priority: sales that pay first, other sales, then purchases.
        cash_projection: Settlement days from the first settlement to the last, with the cash at their end.
    """

    orders: tuple[SequencedOrder, ...] = ()
    cash_projection: tuple[tuple[date, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class _Timed:
    """An order with the trading days over which it goes and its shares on each of them."""

    order: Order
    days: tuple[date, ...]
    shares: tuple[Decimal, ...]
    settles: date


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An order that takes money, with the places of the sales that pay for it."""

    timed: _Timed
    needs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Timetable:
    """Puts orders on days."""

    calendar: SettlementCalendar
    start: date
    shares: Mapping[str, tuple[Decimal, ...]]

    def settled(self, order: Order, day: date) -> date:
        return self.calendar.settlement_date(day, order.settlement_days)

    def at_once(self, order: Order, earliest: date) -> _Timed:
        """The order from the first day on which it can trade."""
        parts = self.shares[order.instrument_id]
        days = self.calendar.trading_days_from(max(self.start, earliest, order.not_before or earliest), len(parts))
        return _Timed(order, days, parts, self.settled(order, days[-1]))

    def after(self, order: Order, sales: Sequence[_Timed]) -> _Timed:
        """The order when the sales that pay for it are filled; it does not settle before they do."""
        timed = self.at_once(order, max((sale.days[-1] for sale in sales), default=self.start))
        paid_on = max((sale.settles for sale in sales), default=self.start)
        while self.settled(order, timed.days[0]) < paid_on:
            timed = self.at_once(order, timed.days[0] + timedelta(days=1))
        return timed


def sequence(
    orders: Iterable[Order], funds: Funds, calendar: SettlementCalendar, start: date, settings: ExecutionSettings
) -> SequencedPlan:
    """Puts orders in order, so that cash never falls below the floor.

    Sales start at once. Every purchase names the sales whose proceeds pay for it, and starts on the day on which the
    last of them is filled, or later where it would otherwise settle before they do. Then cash stays at the floor or
    above in whatever order fills come in, as long as no purchase starts before its sales are filled; and also at the
    end of every settlement day, because what settles by then was paid by what settles by then. Only cash that is
    below the floor before the trades stays there until the first sales have settled. A sale whose cost exceeds its
    proceeds takes cash, so it waits like a purchase.

    Purchases that take most days come first, then the larger ones: they get what is in cash, and the sales that are
    filled first.

    Args:
        orders: What is traded.
        funds: Cash and its floor.
        calendar: Trading days from `start` on, settlement days and cycles.
        start: First day.
        settings: Participation, urgency and cost of slices.

    Returns:
        The plan, empty without orders. Slices add up to the orders; the last cash is that after all trades.

    Raises:
        ProblemError: An instrument is given twice, the orders take more cash than there is above the floor, an order
            is too large for its daily volume, or the calendar ends too soon.
    """
    given = tuple(orders)
    if len({order.instrument_id for order in given}) < len(given):
        raise ProblemError("orders", "an instrument is given twice")
    if not given:
        return SequencedPlan()
    days = _Timetable(calendar, start, {order.instrument_id: _sliced(order, settings) for order in given})
    payers = [days.at_once(order, start) for order in given if order.cash_flow >= ZERO]
    payers.sort(key=lambda sale: (sale.settles, sale.days[-1], -sale.order.cash_flow, sale.order.instrument_id))
    takers = [order for order in given if order.cash_flow < ZERO]
    takers.sort(key=lambda order: _taker_rank(order, days))
    money = [-order.cash_flow for order in takers]
    needed = fund([sale.order.cash_flow for sale in payers], money, funds.cash - funds.floor)
    waiting = [
        _Waiting(days.after(order, [payers[k] for k in needs]), needs)
        for order, needs in zip(takers, needed, strict=True)
    ]
    return SequencedPlan(
        orders=tuple(_in_order(payers, waiting, settings)),
        cash_projection=_project([*payers, *(taker.timed for taker in waiting)], funds.cash, calendar),
    )


def _sliced(order: Order, settings: ExecutionSettings) -> tuple[Decimal, ...]:
    try:
        return slice_trade(order.quantity, order.increment, order.liquidity, settings)
    except ProblemError as error:
        raise ProblemError(f"{error.field}[{order.instrument_id}]", error.reason) from error


def _taker_rank(order: Order, days: _Timetable) -> tuple[bool, int, Decimal, str]:
    """Sales that cost money first, then what takes most days, then what is largest."""
    return (
        order.action is TradeAction.BUY,
        -len(days.shares[order.instrument_id]),
        -order.value,
        order.instrument_id,
    )


def _in_order(
    payers: Sequence[_Timed], waiting: Sequence[_Waiting], settings: ExecutionSettings
) -> Iterator[SequencedOrder]:
    """Sales that pay, sales that pay for nothing, sales that cost, purchases by their first day."""
    used = {k for taker in waiting for k in taker.needs}
    sales = sorted(range(len(payers)), key=lambda k: (k not in used, k))
    ranks = {k: rank for rank, k in enumerate(sales, 1)}
    for k in sales:
        yield _place(payers[k], ranks[k], settings)
    later = sorted(waiting, key=lambda taker: (taker.timed.order.action is TradeAction.BUY, taker.timed.days[0]))
    for rank, taker in enumerate(later, len(sales) + 1):
        paid_on = max((payers[k].settles for k in taker.needs), default=None)
        placed = _place(taker.timed, rank, settings)
        yield replace(placed, depends_on=tuple(sorted(ranks[k] for k in taker.needs)), funds_settle_on=paid_on)


def _place(timed: _Timed, priority: int, settings: ExecutionSettings) -> SequencedOrder:
    order = timed.order
    try:
        execution = sliced_cost(timed.shares, order.liquidity, settings)
    except ProblemError as error:
        raise ProblemError(f"{error.field}[{order.instrument_id}]", error.reason) from error
    volume = order.liquidity.daily_volume
    return SequencedOrder(
        instrument_id=order.instrument_id,
        action=order.action,
        priority=priority,
        depends_on=(),
        slices=tuple(
            TradeSlice(day, shares, None if volume is None else shares / volume)
            for day, shares in zip(timed.days, timed.shares, strict=True)
            if shares
        ),
        settlement_date=timed.settles,
        funds_settle_on=None,
        execution=execution,
    )


def _project(timed: Sequence[_Timed], cash: Decimal, calendar: SettlementCalendar) -> tuple[tuple[date, Decimal], ...]:
    """Cash at the end of each settlement day; the money of an order falls to its slices by shares, to the cent."""
    flows: dict[date, Decimal] = {}
    for part in timed:
        order, done, paid = part.order, ZERO, ZERO
        for day, shares in zip(part.days, part.shares, strict=True):
            done += shares
            reached = order.cash_flow if done == order.quantity else to_cents(order.cash_flow * done / order.quantity)
            settles = calendar.settlement_date(day, order.settlement_days)
            flows[settles] = flows.get(settles, ZERO) + reached - paid
            paid = reached
    if not flows:
        return ()
    projection = []
    for day in calendar.settlement_days_between(min(flows), max(flows)):
        cash += flows.get(day, ZERO)
        projection.append((day, cash))
    return tuple(projection)
