"""The trade plan: the valid set of trades closest to the target, with its certificate.

minimise  distance + cost + weight * tax  over all sets of trades within the limits. The distance is
sum_i |value after_i - target value_i|, where cash is what remains and is not counted, or the tracking risk in money.
No trade passes its target by more than an increment, not even to reach the smallest trade; only where cash is short,
or where nothing else keeps limits on weights or risk, may it go on. Tracking risk has no target of a single instrument.

The program is solved in floating point, read off in whole increments and checked in Decimals, to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from kernel.rebalancing.book import Book, Position, open_book
from kernel.rebalancing.conflicts import explain_conflict
from kernel.rebalancing.costs import CostModel, trade_cost
from kernel.rebalancing.limit_prices import price_limits
from kernel.rebalancing.limit_reports import report_limits
from kernel.rebalancing.lots import LotSale
from kernel.rebalancing.mixed_integer import SearchEnd
from kernel.rebalancing.money import CENT, ZERO, to_cents
from kernel.rebalancing.plan_search import Found, find_plan, no_trades, remaining
from kernel.rebalancing.quality import BoundSource, Concession, LimitPrice, LimitReport, PlanConflict, PlanQuality
from kernel.rebalancing.reasons import TargetMiss, target_misses, trade_reason
from kernel.rebalancing.request import CASH, TradeRequest
from kernel.rebalancing.settle import Quantities, lot_sales, sales_tax, settle, tracking_error
from kernel.rebalancing.tax import SalesTax
from kernel.status import Status

# An objective this close to its bound, relatively, equals it up to floating point.
_EQUAL = Decimal("1e-9")


class TradeAction(StrEnum):
    """Direction of a trade."""

    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade.

    Attributes:
        instrument_id: What is traded.
        action: Buy or sell.
        quantity: Shares, > 0.
        price: Money per share.
        value: quantity * price, to the cent.
        weight_change: Signed value / total value before trading.
        cost: Commission and impact, to the cent.
        priority: 1 is carried out first; sells come before buys, larger before smaller.
        reason: One sentence.
    """

    instrument_id: str
    action: TradeAction
    quantity: Decimal
    price: Decimal
    value: Decimal
    weight_change: Decimal
    cost: Decimal
    priority: int
    reason: str


@dataclass(frozen=True, slots=True)
class TradePlan:
    """Trades with what they lead to and how good they are.

    Attributes:
        status: OPTIMAL when no set of trades is better by a cent, OPTIMAL_TO_TOLERANCE when the gap says by how much
            one may be, LIMIT_REACHED when the search was stopped, INFEASIBLE when no trades keep the limits, or
            NUMERICAL_FAILURE.
        feasible: Whether the trades keep all limits; if not, there are none and ``message`` says why.
        message: One sentence on the outcome.
        trades: In order of priority.
        misses: Positions that stay away from their target, with the reason.
        objective: distance + unrounded cost + weight * unrounded tax, money.
        lower_bound: No set of trades has a smaller objective, money.
        gap: (objective - lower_bound) / |objective|, zero where they are equal.
        total_value: Money before trading.
        cash_before: Money.
        cash_after: Money, to the cent where cash_before is.
        total_cost: Money, sum of the trades' costs.
        turnover: One-way, 1/2 (sum |trade values| + |cash change|) / total value.
        current_allocation: Weight per instrument and "CASH" before trading; empty without value.
        planned_allocation: Weight per instrument and "CASH" after trading, of the value after costs.
        nodes: Branch-and-bound nodes of the search.
        quality: Objective, bound and their parts.
        tax: Tax that the sales add to the year's; None where sales are not taxed.
        lot_sales: By instrument, the lots that a sale is filled from; their quantities add up to the sale's.
        disallowed: Losses of the sales that a wash sale disallows and losses that purchases take back, money, >= 0.
        limits: Every limit at the planned trades.
        limit_prices: What limits cost, largest price first; empty where not asked for.
        conflict: What contradicts, where no trades keep the limits.
        concessions: What only the limits made necessary.
        tracking_error_before: Annual, before trading; None without a risk model.
        tracking_error_after: Annual, after trading.
    """

    status: Status
    feasible: bool
    message: str
    trades: tuple[Trade, ...]
    misses: tuple[TargetMiss, ...]
    objective: Decimal
    lower_bound: Decimal
    gap: float
    total_value: Decimal
    cash_before: Decimal
    cash_after: Decimal
    total_cost: Decimal
    turnover: Decimal
    current_allocation: Mapping[str, Decimal]
    planned_allocation: Mapping[str, Decimal]
    nodes: int
    quality: PlanQuality = field(default_factory=PlanQuality)
    tax: SalesTax | None = None
    lot_sales: Mapping[str, tuple[LotSale, ...]] = field(default_factory=dict)
    disallowed: Decimal = ZERO
    limits: tuple[LimitReport, ...] = ()
    limit_prices: tuple[LimitPrice, ...] = ()
    conflict: PlanConflict | None = None
    concessions: tuple[Concession, ...] = ()
    tracking_error_before: float | None = None
    tracking_error_after: float | None = None


def plan_trades(request: TradeRequest) -> TradePlan:
    """Plans the trades that bring holdings closest to their target weights within the limits.

    Args:
        request: Holdings, prices, targets and limits.

    Returns:
        The plan. Where ``feasible``, every limit holds exactly: shares in whole increments, money to the cent.

    Raises:
        ProblemError: The request cannot be posed: a missing price, a number out of range, targets above the whole.
    """
    book = open_book(request)
    found = find_plan(book, request.search)
    left = remaining(request.search, found.seconds)
    if found.end is SearchEnd.INFEASIBLE:
        conflict = explain_conflict(book, left)
        return replace(_report(found, Status.INFEASIBLE, conflict.sentence), conflict=conflict)
    if found.trades is None:
        return _report(found, *_nothing_found(found))
    plan = _report(found, *_judge(found))
    if not request.price_limits:
        return plan
    prices = price_limits(found, left)
    priced = {price.name for price in prices}
    limits = tuple(replace(limit, binding=limit.binding or limit.name in priced) for limit in plan.limits)
    return replace(plan, limits=limits, limit_prices=prices)


def _judge(found: Found) -> tuple[Status, str]:
    objective = found.settlement.objective
    distance = objective - min(found.lower_bound, objective)
    if distance < CENT or distance <= _EQUAL * abs(objective):
        return Status.OPTIMAL, "No set of trades comes closer to the target."
    sentence = f"A better set of trades would gain at most {to_cents(distance)}."
    if found.end is SearchEnd.LIMIT:
        return Status.LIMIT_REACHED, f"The search was stopped. {sentence}"
    return Status.OPTIMAL_TO_TOLERANCE, sentence


def _nothing_found(found: Found) -> tuple[Status, str]:
    """The search ended without trades where trades are needed, or with trades that rounding made invalid."""
    if found.end is SearchEnd.LIMIT:
        return Status.LIMIT_REACHED, "The search was stopped before it found trades that keep the limits."
    if found.end is SearchEnd.FAILED:
        return Status.NUMERICAL_FAILURE, "The solver failed."
    return Status.NUMERICAL_FAILURE, "No trades keep the limits once rounded to increments and cents."


def _report(found: Found, status: Status, message: str) -> TradePlan:
    book, outcome, total = found.book, found.settlement, found.book.total_value
    trades = found.trades or no_trades(book)
    quality = _quality(found)
    return TradePlan(
        status=status,
        feasible=found.trades is not None,
        message=message,
        trades=_trades(book, trades.quantities, total),
        misses=target_misses(book, trades.quantities),
        objective=quality.objective,
        lower_bound=quality.lower_bound,
        gap=quality.gap,
        total_value=total,
        cash_before=book.cash,
        cash_after=outcome.cash,
        total_cost=outcome.cost,
        turnover=outcome.turnover_value / total if total else ZERO,
        current_allocation=_allocation(book, no_trades(book).quantities, book.cash),
        planned_allocation=_allocation(book, trades.quantities, outcome.cash),
        nodes=found.nodes,
        quality=quality,
        tax=sales_tax(book, trades),
        lot_sales=lot_sales(book, trades),
        disallowed=outcome.gains.disallowed,
        limits=report_limits(book, trades.quantities, outcome),
        concessions=found.concessions if found.trades is not None else (),
        tracking_error_before=tracking_error(book, no_trades(book).quantities),
        tracking_error_after=outcome.tracking_error,
    )


def _quality(found: Found) -> PlanQuality:
    outcome, idle = found.settlement, settle(found.book, no_trades(found.book))
    bound = min(found.lower_bound, outcome.objective) if found.trades is not None else outcome.objective
    source = BoundSource.EXACT if found.end is SearchEnd.SOLVED else BoundSource.SEARCH
    relaxation = min(found.relaxation, bound)
    return PlanQuality(
        objective=outcome.objective,
        lower_bound=bound,
        bound_source=BoundSource.RELAXATION if source is BoundSource.SEARCH and relaxation == bound else source,
        relaxation_bound=relaxation,
        distance=outcome.distance,
        cost=outcome.unrounded_cost,
        tax=outcome.tax,
        no_trade_objective=None if idle.violation else idle.objective,
    )


def _trades(book: Book, quantities: Quantities, total: Decimal) -> tuple[Trade, ...]:
    pairs = [(p, quantity) for p, quantity in zip(book.positions, quantities, strict=True) if quantity]
    pairs.sort(key=lambda pair: (pair[1] > ZERO, -abs(pair[1]) * pair[0].price, pair[0].instrument_id))
    return tuple(_trade(p, quantity, book.costs, total, rank) for rank, (p, quantity) in enumerate(pairs, 1))


def _trade(position: Position, quantity: Decimal, costs: CostModel, total: Decimal, priority: int) -> Trade:
    return Trade(
        instrument_id=position.instrument_id,
        action=TradeAction.BUY if quantity > ZERO else TradeAction.SELL,
        quantity=abs(quantity),
        price=position.price,
        value=to_cents(abs(quantity) * position.price),
        weight_change=quantity * position.price / total,
        cost=trade_cost(abs(quantity), position.price, costs, position.power).total,
        priority=priority,
        reason=trade_reason(position, quantity, total),
    )


def _allocation(book: Book, quantities: Quantities, cash: Decimal) -> dict[str, Decimal]:
    values = {p.instrument_id: (p.held + q) * p.price for p, q in zip(book.positions, quantities, strict=True)}
    values[CASH] = cash
    total = sum(values.values(), ZERO)
    return {name: value / total for name, value in values.items()} if total > ZERO else {}
