"""The trade plan: the valid set of trades closest to the target, with its certificate.

minimise  sum_i |value after_i - target value_i| + cost  over all sets of trades within the limits; cash is what
remains and is not counted in the distance. No trade passes its target by more than an increment, not even to reach
the smallest trade; only where cash is short may a sale go on, for lack of anything better to sell.

The program is solved in floating point, read off in whole increments and checked in Decimals, to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from kernel.rebalancing.book import Book, Position, open_book, settle
from kernel.rebalancing.costs import CostModel, trade_cost
from kernel.rebalancing.mixed_integer import SearchEnd, SearchSettings
from kernel.rebalancing.money import CENT, ZERO, to_cents
from kernel.rebalancing.program import SearchResult, TradeProgram, rounding_reserve
from kernel.rebalancing.reasons import TargetMiss, target_misses, trade_reason
from kernel.rebalancing.repair import Quantities, drop_least_useful
from kernel.rebalancing.request import CASH, TradeRequest
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
        objective: sum |value after - target value| + unrounded cost, money.
        lower_bound: No set of trades has a smaller objective, money.
        gap: (objective - lower_bound) / objective, zero for an objective of zero.
        total_value: Money before trading.
        cash_before: Money.
        cash_after: Money, to the cent where cash_before is.
        total_cost: Money, sum of the trades' costs.
        turnover: One-way, 1/2 (sum |trade values| + |cash change|) / total value.
        current_allocation: Weight per instrument and "CASH" before trading; empty without value.
        planned_allocation: Weight per instrument and "CASH" after trading, of the value after costs.
        nodes: Branch-and-bound nodes of the search.
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


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the search says about the trades that are kept."""

    status: Status
    message: str
    lower_bound: Decimal = ZERO
    nodes: int = 0
    feasible: bool = True


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
    program = TradeProgram(book)
    found = program.closest_plan(request.search)
    idle = (ZERO,) * len(book.positions)
    if found.end is SearchEnd.INFEASIBLE:
        return _report(book, idle, _infeasible(book, program, request.search))
    if found.end is SearchEnd.FAILED:
        return _report(book, idle, _nothing_found(found))
    quantities = _within_limits(book, found.quantities or idle, request.search)
    if quantities is None:
        return _report(book, idle, _nothing_found(found))
    return _report(book, quantities, _judge(book, quantities, found))


def _within_limits(book: Book, quantities: Quantities, search: SearchSettings) -> Quantities | None:
    """Trades that still keep every limit after rounding; None if there are none near."""
    if not settle(book, quantities).violation:
        return quantities
    narrowed = _same_directions(book, quantities)
    resized = TradeProgram(narrowed, rounding_reserve(narrowed)).closest_plan(search).quantities
    candidates = (resized and drop_least_useful(book, resized), drop_least_useful(book, quantities))
    valid = [candidate for candidate in candidates if candidate is not None]
    return min(valid, key=lambda candidate: settle(book, candidate).objective, default=None)


def _same_directions(book: Book, quantities: Quantities) -> Book:
    """The problem narrowed to what is bought and sold already, where only the sizes are left to decide."""
    pairs = zip(book.positions, quantities, strict=True)
    positions = (replace(p, can_buy=p.can_buy and q > ZERO, can_sell=p.can_sell and q < ZERO) for p, q in pairs)
    return replace(book, positions=tuple(positions))


def _judge(book: Book, quantities: Quantities, found: SearchResult) -> _Verdict:
    objective = settle(book, quantities).objective
    bound = min(found.lower_bound, objective)
    distance = objective - bound
    if distance < CENT or distance <= _EQUAL * objective:
        return _Verdict(Status.OPTIMAL, "No set of trades comes closer to the target.", bound, found.nodes)
    sentence = f"A better set of trades would gain at most {to_cents(distance)}."
    if found.end is SearchEnd.LIMIT:
        return _Verdict(Status.LIMIT_REACHED, f"The search was stopped. {sentence}", bound, found.nodes)
    return _Verdict(Status.OPTIMAL_TO_TOLERANCE, sentence, bound, found.nodes)


def _infeasible(book: Book, program: TradeProgram, search: SearchSettings) -> _Verdict:
    """Without trades only the minimum cash can be broken, so this is what cannot be reached."""
    sentence = f"No trades within the limits raise cash to {book.limits.min_cash}"
    best = program.most_cash(search).quantities
    if best is not None:
        sentence += f"; the most they reach is {to_cents(settle(book, best).cash)}"
    return _Verdict(Status.INFEASIBLE, f"{sentence}.", feasible=False)


def _nothing_found(found: SearchResult) -> _Verdict:
    """The search ended without trades where trades are needed, or with trades that rounding made invalid."""
    if found.end is SearchEnd.LIMIT:
        sentence = "The search was stopped before it found trades that keep the limits."
        return _Verdict(Status.LIMIT_REACHED, sentence, found.lower_bound, found.nodes, feasible=False)
    sentence = "No trades keep the limits once rounded to increments and cents."
    if found.end is SearchEnd.FAILED:
        sentence = "The solver failed."
    return _Verdict(Status.NUMERICAL_FAILURE, sentence, feasible=False)


def _report(book: Book, quantities: Quantities, verdict: _Verdict) -> TradePlan:
    outcome, total = settle(book, quantities), book.total_value
    bound = min(verdict.lower_bound, outcome.objective)
    return TradePlan(
        status=verdict.status,
        feasible=verdict.feasible,
        message=verdict.message,
        trades=_trades(book, quantities, total),
        misses=target_misses(book, quantities),
        objective=outcome.objective,
        lower_bound=bound,
        gap=float((outcome.objective - bound) / outcome.objective) if outcome.objective else 0.0,
        total_value=total,
        cash_before=book.cash,
        cash_after=outcome.cash,
        total_cost=outcome.cost,
        turnover=outcome.turnover_value / total if total else ZERO,
        current_allocation=_allocation(book, (ZERO,) * len(quantities), book.cash),
        planned_allocation=_allocation(book, quantities, outcome.cash),
        nodes=verdict.nodes,
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
        cost=trade_cost(abs(quantity), position.price, costs).total,
        priority=priority,
        reason=trade_reason(position, quantity, total),
    )


def _allocation(book: Book, quantities: Quantities, cash: Decimal) -> dict[str, Decimal]:
    values = {p.instrument_id: (p.held + q) * p.price for p, q in zip(book.positions, quantities, strict=True)}
    values[CASH] = cash
    total = sum(values.values(), ZERO)
    return {name: value / total for name, value in values.items()} if total > ZERO else {}
