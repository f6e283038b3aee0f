"""How far the trades of a plan are executed, and which reports fit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.money import ZERO
from server.convert.faults import Faults
from server.listing import listed
from storage.plan_records import PlanExecution

FILLED = "filled"
PARTIALLY_FILLED = "partially_filled"
REJECTED = "rejected"
CANCELLED = "cancelled"
_ENDING = frozenset({FILLED, REJECTED, CANCELLED})

# Instrument and action: a plan has one trade of each.
TradeKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TradeProgress:
    """How far one trade is executed.

    Attributes:
        planned: Shares, > 0.
        filled: Shares, at most those planned.
        value: Sum of price times shares of the fills, unrounded.
        cost: Sum of the costs reported.
        closed: Whether nothing more will be filled.
    """

    instrument_id: str
    action: str
    planned: Decimal
    filled: Decimal = ZERO
    value: Decimal = ZERO
    cost: Decimal = ZERO
    closed: bool = False


Progress: TypeAlias = Mapping[TradeKey, TradeProgress]


def progress_of(
    trades: Iterable[trade_pb2.Trade], executions: Iterable[PlanExecution]
) -> dict[TradeKey, TradeProgress]:
    """The progress of every trade, in the order of the plan.

    Args:
        trades: Of the plan.
        executions: Reports that fit them.
    """
    found: dict[TradeKey, TradeProgress] = {}
    for trade in trades:
        key = (trade.instrument_id, trade.action)
        found[key] = TradeProgress(trade.instrument_id, trade.action, Decimal(trade.exact_quantity))
    for execution in executions:
        key = (execution.instrument_id, execution.action)
        found[key] = advanced(found[key], execution)
    return found


def advanced(trade: TradeProgress, execution: PlanExecution) -> TradeProgress:
    """The progress after one more report."""
    filled = trade.filled + execution.quantity
    return replace(
        trade,
        filled=filled,
        value=trade.value + execution.quantity * (execution.price or ZERO),
        cost=trade.cost + execution.cost,
        closed=filled >= trade.planned or execution.status in _ENDING,
    )


def check_fits(field: str, progress: Progress, execution: PlanExecution, faults: Faults) -> bool:
    """Whether a new report fits its trade; what does not is added to `faults`.

    Args:
        field: Path of the report.
        progress: Of the plan, with all reports before.
        execution: The report.
        faults: Of the request.
    """
    trade = progress.get((execution.instrument_id, execution.action))
    if trade is None:
        planned = listed(f"{action} {name}" for name, action in progress)
        text = f"the plan has no {execution.action} of {execution.instrument_id}; it has {planned}"
        faults.add(f"{field}.instrument_id", text)
        return False
    what = f"{trade.action} of {trade.planned:f} {trade.instrument_id}, of which {trade.filled:f} are filled"
    total = trade.filled + execution.quantity
    if trade.closed:
        faults.add(f"{field}.instrument_id", f"nothing more is open of the {what}")
    elif total > trade.planned:
        faults.add(f"{field}.quantity", f"{execution.quantity:f} is more than is left of the {what}")
    elif execution.status == FILLED and total < trade.planned:
        text = f"FILLED means that all is executed, but {execution.quantity:f} is less than is left of the {what}"
        faults.add(f"{field}.quantity", text)
    else:
        return True
    return False


def all_closed(progress: Progress) -> bool:
    """Whether nothing more will be filled."""
    return all(trade.closed for trade in progress.values())


def summary(progress: Progress) -> str:
    """What became of the trades, in words for the history."""
    trades: Sequence[TradeProgress] = tuple(progress.values())
    full = sum(trade.filled == trade.planned for trade in trades)
    part = sum(ZERO < trade.filled < trade.planned for trade in trades)
    return f"of {len(trades)} trades {full} filled, {part} filled in part, {len(trades) - full - part} not filled"
