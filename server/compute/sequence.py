"""A plan's trades on the calendar: their order, slices, settlement and cash, from what the plan was made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from kernel.errors import ProblemError
from kernel.rebalancing.execution import ExecutionSettings, Liquidity
from kernel.rebalancing.remarks import Remark
from kernel.rebalancing.request import TradeRequest
from kernel.rebalancing.sequence import Funds, Order, SequencedOrder, SequencedPlan, sequence
from kernel.rebalancing.settlement import SettlementCalendar, good_faith_violation
from kernel.rebalancing.trades import TradeAction, TradePlan
from server.compute.inputs import Floats, MarketInputs
from server.rebalance_specs import ExecutionSpec
from server.trading_days import Closure, TradingDays

_ZERO = Decimal(0)
_LONGEST_WAIT = timedelta(days=366)
# Lots bought this long ago have settled under every cycle.
_LOOK_BACK = timedelta(days=30)
# Sales and then purchases of the most days that a trade may take, with their settlement.
_HORIZON = timedelta(days=800)
_LISTED = 10
_OF_REQUEST = ("max_participation", "impact_coefficient")


@dataclass(frozen=True, slots=True)
class SequenceContext:
    """When and how trades are carried out.

    Attributes:
        calendar: From some weeks before `start` on.
        start: First trading day of the plan.
        asked_start: Day that the request asked for and that is no trading day; None otherwise.
        exchange: Whose calendar it is.
        execution: How large trades are spread over days.
        margin_account: Whether purchases may be paid with money that is not settled.
    """

    calendar: SettlementCalendar
    start: date
    asked_start: date | None
    exchange: str
    execution: ExecutionSpec
    margin_account: bool


@dataclass(frozen=True, slots=True)
class Sequenced:
    """Trades on the calendar, with what a reader of the plan should know.

    Attributes:
        plan: The sequence.
        with_slices: Whether the trades are shown in slices, because a participation limits them.
        remarks: What is noted.
    """

    plan: SequencedPlan
    with_slices: bool
    remarks: tuple[Remark, ...]


def sequence_context(
    exchange: str, as_of: date, execution: ExecutionSpec, closures: Collection[Closure], *, margin_account: bool
) -> SequenceContext:
    """Loads the calendar of a plan.

    Args:
        exchange: Market identifier code; empty = XNYS.
        as_of: Day of the plan's prices. The trades start on the next trading day, unless the request names another.
        execution: As the request asks.
        closures: Days on which trading is cancelled.
        margin_account: Whether the account may borrow.

    Raises:
        ProblemError: The exchange has no calendar or no known settlement cycle, or the first day is before the prices
            or more than a year after them.
    """
    days, asked = TradingDays(exchange, closures), execution.start
    if asked is not None and not as_of <= asked <= as_of + _LONGEST_WAIT:
        span = f"{as_of.isoformat()}, the day of the prices, and at most a year later"
        raise ProblemError("constraints.execution.start_date", f"must be at least {span}, not {asked.isoformat()}")
    start = days.first_after(as_of) if asked is None else days.first_on_or_after(asked)
    return SequenceContext(
        calendar=days.settlement_calendar(start - _LOOK_BACK, start + _HORIZON),
        start=start,
        asked_start=None if asked in (None, start) else asked,
        exchange=days.exchange,
        execution=execution,
        margin_account=margin_account,
    )


def daily_volatilities(market: MarketInputs) -> dict[str, Decimal]:
    """Standard deviation of the daily returns of each instrument over the window.

    Args:
        market: The universe with its closes.

    Returns:
        By instrument; those with fewer than two returns are left out.
    """
    closes = market.closes
    returns = closes[1:] / closes[:-1] - 1.0
    found = {name: _deviation(returns[:, k]) for k, name in enumerate(market.ids)}
    return {name: Decimal(repr(value)) for name, value in found.items() if value is not None}


def sequence_plan(plan: TradePlan, request: TradeRequest, market: MarketInputs, context: SequenceContext) -> Sequenced:
    """Puts the trades of a plan on the calendar.

    Args:
        plan: The trades.
        request: What the plan was asked for: floor of cash, increments and costs.
        market: Volumes and history of the instruments.
        context: Calendar and execution.

    Returns:
        The sequence; empty for a plan without trades.

    Raises:
        ProblemError: A trade needs a daily volume or a volatility that is not known, or takes too many days.
    """
    settings, volatilities = _settings(request, context.execution), daily_volatilities(market)
    volumes = {asset.id: asset.daily_volume for asset in market.assets}
    orders = [
        Order(
            instrument_id=trade.instrument_id,
            action=trade.action,
            quantity=trade.quantity,
            value=trade.value,
            cost=trade.cost,
            liquidity=Liquidity(
                trade.price, volumes.get(trade.instrument_id) or None, volatilities.get(trade.instrument_id)
            ),
            increment=request.increments.get(trade.instrument_id, Decimal(1)),
        )
        for trade in plan.trades
    ]
    funds = Funds(plan.cash_before, request.limits.min_cash)
    try:
        sequenced = sequence(orders, funds, context.calendar, context.start, settings)
    except ProblemError as error:
        of_request = error.field.startswith(_OF_REQUEST)
        raise ProblemError(f"constraints.{error.field}" if of_request else error.field, error.reason) from error
    remarks = tuple(_remarks(plan, sequenced, funds, context))
    return Sequenced(sequenced, settings.max_participation is not None, remarks)


def _settings(request: TradeRequest, execution: ExecutionSpec) -> ExecutionSettings:
    return ExecutionSettings(
        max_participation=execution.max_participation,
        days=execution.days,
        risk_aversion=execution.risk_aversion,
        half_spread=request.costs.impact_rate if execution.half_spread is None else execution.half_spread,
        impact_coefficient=execution.impact_coefficient or _ZERO,
    )


def _deviation(returns: Floats) -> float | None:
    known = returns[np.isfinite(returns)]
    return float(np.std(known, ddof=1)) if len(known) >= 2 else None


def _remarks(plan: TradePlan, sequenced: SequencedPlan, funds: Funds, context: SequenceContext) -> Iterator[Remark]:
    if context.asked_start is not None and sequenced.orders:
        asked, start = context.asked_start.isoformat(), context.start.isoformat()
        yield Remark("market_closed", "", f"{context.exchange} does not trade on {asked}; the trades start on {start}")
    yield from _below_floor(sequenced, funds)
    if not context.margin_account:
        yield from _unsettled_purchases(sequenced)
        yield from _unsettled_lots(plan, sequenced, context.calendar)


def _below_floor(sequenced: SequencedPlan, funds: Funds) -> Iterator[Remark]:
    """Only cash that is below its floor before the trades can be below it on a settlement day."""
    if funds.cash < funds.floor and sequenced.cash_projection:
        reached = next(day for day, cash in sequenced.cash_projection if cash >= funds.floor)
        text = f"cash of {funds.cash} is below {funds.floor} until sales settle on {reached.isoformat()}"
        yield Remark("negative_cash" if funds.cash < _ZERO else "too_little_cash", "", text)


def _unsettled_purchases(sequenced: SequencedPlan) -> Iterator[Remark]:
    """Purchases on the day on which they were made possible by sales that settle later."""
    bought: dict[date, list[str]] = {}
    for order in sequenced.orders:
        if order.action is TradeAction.BUY and order.funds_settle_on is not None and _early(order):
            bought.setdefault(order.funds_settle_on, []).append(order.instrument_id)
    for settles_on, names in sorted(bought.items()):
        rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        text = f"{', '.join(names[:_LISTED])}{rest}: bought with proceeds that settle on {settles_on.isoformat()}"
        text += "; a sale before that day would be a good-faith violation in a cash account"
        yield Remark("good_faith_violation", names[0] if len(names) == 1 else "", text)


def _early(order: SequencedOrder) -> bool:
    return order.funds_settle_on is not None and good_faith_violation(order.funds_settle_on, order.slices[0].day)


def _unsettled_lots(plan: TradePlan, sequenced: SequencedPlan, calendar: SettlementCalendar) -> Iterator[Remark]:
    """Sales of lots whose purchase has not settled, which money that has not settled may have paid for."""
    days = {order.instrument_id: order.slices[0].day for order in sequenced.orders}
    for name, sales in plan.lot_sales.items():
        for sale in sales:
            bought = sale.lot.acquired_on
            if name not in days or not sale.lot.dated or bought not in calendar.trading_days:
                continue
            settles = calendar.settlement_date(bought)
            if good_faith_violation(settles, days[name]):
                text = f"lot {sale.lot.lot_id} of {name}, bought on {bought.isoformat()}, settles on "
                text += f"{settles.isoformat()}; unless settled cash paid for it, its sale is a good-faith violation"
                yield Remark("good_faith_violation", name, text)
