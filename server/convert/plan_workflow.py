"""The way of a plan, to the wire, and what callers say about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from google.protobuf.timestamp_pb2 import Timestamp
from portfolio_optimization.v1 import plan_workflow_pb2 as pb
from portfolio_optimization.v1 import rebalancing_calls_pb2 as calls
from portfolio_optimization.v1 import trade_pb2

from server.convert.answers import timestamp
from server.convert.faults import Bounds, Faults
from server.convert.text_values import MONEY_ABOVE_ZERO, MONEY_NOT_NEGATIVE, Exact, read_decimal, write_decimal
from server.plans.positions import Position, from_stored, weights
from server.plans.progress import CANCELLED, FILLED, PARTIALLY_FILLED, REJECTED, TradeProgress, progress_of
from server.plans.states import PlanStatus, possible_statuses
from server.vocabulary import Vocabulary
from storage.plan_records import PlanExecution, PlanState, PlanTransition

_ZERO, _CENT = Decimal(0), Decimal("0.01")
_SHARES_NOT_NEGATIVE = Exact(Bounds(0.0), 12, 12)
_MOST_REPORTS = 1000
# Of as many digits as money has before the point, so that sums stay exact.
_MOST_VALUE = 10**18
_ACTIONS = Vocabulary(("buy", "sell"))
_AVERAGE = Decimal(1).scaleb(-8)
# Clocks differ a little; a report of what has not happened yet is wrong.
CLOCK_DIFFERENCE = timedelta(minutes=5)
_STATUSES = {status: pb.RebalancePlanStatus.Value(f"REBALANCE_PLAN_STATUS_{status.name}") for status in PlanStatus}
_STATUS_WORDS = {number: status for status, number in _STATUSES.items()}
_EXECUTION_STATUSES = {
    word: pb.ExecutionStatus.Value(f"EXECUTION_STATUS_{word.upper()}")
    for word in (PARTIALLY_FILLED, FILLED, REJECTED, CANCELLED)
}
_EXECUTION_WORDS = {number: word for word, number in _EXECUTION_STATUSES.items()}


@dataclass(frozen=True, slots=True)
class WorkflowParts:
    """All that is stored of the way of a plan, and its trades."""

    state: PlanState
    transitions: Sequence[PlanTransition]
    executions: Sequence[PlanExecution]
    trades: Sequence[trade_pb2.Trade]


@dataclass(frozen=True, slots=True)
class Report:
    """An execution report as it was sent. Of two that are equal one is a repetition."""

    execution_id: str
    instrument_id: str
    action: str
    status: str
    quantity: Decimal
    price: Decimal | None
    cost: Decimal
    executed_at: datetime | None
    comment: str


def as_report(execution: PlanExecution) -> Report:
    """A stored report as it was sent."""
    return Report(**{name: getattr(execution, name) for name in Report.__slots__})


def read_comment(rebalance_id: str, comment: str, *, required: bool = False) -> None:
    """Check the fields of every step.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.identifier("rebalance_id", rebalance_id)
    faults.text("comment", comment)
    if required and not comment.strip():
        faults.add("comment", "is required: say why the plan is rejected")
    faults.check()


def read_reports(message: calls.RecordExecutionRequest, now: datetime) -> tuple[Report, ...]:
    """The reports of a request, each id once.

    Args:
        message: The request.
        now: The present moment: nothing can have been executed after it.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.identifier("rebalance_id", message.rebalance_id)
    if not 1 <= len(message.reports) <= _MOST_REPORTS:
        faults.add("reports", f"must have 1 to {_MOST_REPORTS} items, not {len(message.reports)}")
        faults.check()
    found: dict[str, Report] = {}
    for k, item in enumerate(message.reports):
        report = _read_report(f"reports[{k}]", item, now, faults)
        if found.setdefault(report.execution_id, report) != report:
            text = f"{report.execution_id} stands for two different reports of this request"
            faults.add(f"reports[{k}].execution_id", text)
    faults.check()
    return tuple(found.values())


def _read_report(field: str, message: pb.ExecutionReport, now: datetime, faults: Faults) -> Report:
    status = _EXECUTION_WORDS.get(message.status, "")
    if not status:
        accepted = ", ".join(pb.ExecutionStatus.Name(number) for number in _EXECUTION_WORDS)
        faults.add(f"{field}.status", f"must be one of {accepted}")
    quantity = read_decimal(f"{field}.quantity", message.quantity, _SHARES_NOT_NEGATIVE, faults)
    price = read_decimal(f"{field}.price_amount", message.price_amount, MONEY_ABOVE_ZERO, faults)
    cost = read_decimal(f"{field}.cost_amount", message.cost_amount, MONEY_NOT_NEGATIVE, faults) or _ZERO
    _check_amounts(field, message, status, quantity, faults)
    if quantity and price and quantity * price >= _MOST_VALUE:
        faults.add(f"{field}.price_amount", f"times {message.quantity} shares must be below {_MOST_VALUE}, not {price}")
    if cost != cost.quantize(_CENT):
        faults.add(f"{field}.cost_amount", f"must be whole cents, not {message.cost_amount}")
    return Report(
        execution_id=faults.identifier(f"{field}.execution_id", message.execution_id),
        instrument_id=faults.identifier(f"{field}.instrument_id", message.instrument_id),
        action=faults.word(f"{field}.action", message.action, _ACTIONS),
        status=status,
        quantity=quantity or _ZERO,
        price=price if quantity else None,
        cost=cost,
        executed_at=_read_moment(f"{field}.executed_at", message, now, faults),
        comment=faults.text(f"{field}.comment", message.comment),
    )


def _check_amounts(
    field: str, message: pb.ExecutionReport, status: str, quantity: Decimal | None, faults: Faults
) -> None:
    """Quantity, price and status tell the same story."""
    if quantity is None and message.quantity:
        return
    if not quantity and status in (FILLED, PARTIALLY_FILLED):
        found = f"must be above 0 for {status}, not {message.quantity}" if message.quantity else "is required"
        faults.add(f"{field}.quantity", found)
    elif not quantity and message.price_amount:
        faults.add(f"{field}.price_amount", "must be empty where nothing was executed")
    elif quantity and not message.price_amount:
        faults.add(f"{field}.price_amount", f"is required where {message.quantity} shares were executed")
    if quantity and status == REJECTED:
        faults.add(f"{field}.quantity", f"must be 0 for an order that was rejected, not {message.quantity}")


def _read_moment(field: str, message: pb.ExecutionReport, now: datetime, faults: Faults) -> datetime | None:
    if not message.HasField("executed_at"):
        return None
    try:
        moment = message.executed_at.ToDatetime(UTC)
    except (ValueError, OverflowError):
        faults.add(field, "is no moment of the calendar")
        return None
    if moment > now + CLOCK_DIFFERENCE:
        faults.add(field, f"must not be after now, {now.isoformat(timespec='seconds')}")
    return moment


def read_status(message: calls.ListRebalancePlansRequest, faults: Faults) -> PlanStatus | None:
    """The status that a list is asked for; None for all."""
    if not message.HasField("status"):
        return None
    if message.status not in _STATUS_WORDS:
        accepted = ", ".join(pb.RebalancePlanStatus.Name(number) for number in _STATUS_WORDS)
        faults.add("status", f"must be one of {accepted}")
        return None
    return _STATUS_WORDS[message.status]


def status_number(status: str) -> pb.RebalancePlanStatus.ValueType:
    """A status on the wire."""
    return _STATUSES[PlanStatus(status)]


def write_workflow(parts: WorkflowParts) -> pb.PlanWorkflow:
    """State and history of a plan."""
    state = parts.state
    prices = {name: Decimal(price) for name, price in state.prices.items()}
    executing = state.position_after is not None
    progress = progress_of(parts.trades, parts.executions).values()
    return pb.PlanWorkflow(
        status=status_number(state.status),
        approval_required=state.gross_amount > state.approval_limit,
        approval_limit_amount=write_decimal(state.approval_limit),
        expires_at=None if state.expires_at is None else timestamp(state.expires_at),
        max_price_move=float(state.max_price_move),
        max_weight_move=float(state.max_weight_move),
        transitions=map(write_transition, parts.transitions),
        executions=map(write_execution, parts.executions),
        possible=[_STATUSES[status] for status in possible_statuses(PlanStatus(state.status), executing=executing)],
        input_hash=state.input_hash,
        before=_write_position(from_stored(state.position_before), prices),
        after=None if state.position_after is None else _write_position(from_stored(state.position_after), prices),
        progress=_write_progress(progress),
    )


def write_transition(transition: PlanTransition) -> pb.PlanTransition:
    """A change of status."""
    return pb.PlanTransition(
        status=status_number(transition.status),
        at=timestamp(transition.at),
        actor=transition.actor,
        comment=transition.comment,
    )


def write_execution(execution: PlanExecution) -> pb.ExecutionReport:
    """An execution report, as it was sent."""
    return pb.ExecutionReport(
        execution_id=execution.execution_id,
        instrument_id=execution.instrument_id,
        action=execution.action,
        status=_EXECUTION_STATUSES[execution.status],
        quantity=write_decimal(execution.quantity),
        price_amount=write_decimal(execution.price),
        cost_amount=write_decimal(execution.cost),
        executed_at=_moment(execution.executed_at),
        comment=execution.comment,
    )


def _moment(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else timestamp(moment)


def _write_position(position: Position, prices: Mapping[str, Decimal]) -> pb.PositionSnapshot:
    return pb.PositionSnapshot(
        quantities={name: write_decimal(held) for name, held in position.quantities.items()},
        cash_amount=write_decimal(position.cash),
        weights=weights(position, prices),
    )


def _write_progress(trades: Iterable[TradeProgress]) -> Iterable[pb.TradeProgress]:
    for trade in trades:
        average = (trade.value / trade.filled).quantize(_AVERAGE, ROUND_HALF_UP) if trade.filled else None
        yield pb.TradeProgress(
            instrument_id=trade.instrument_id,
            action=trade.action,
            planned_quantity=write_decimal(trade.planned),
            filled_quantity=write_decimal(trade.filled),
            average_price_amount=write_decimal(average),
            cost_amount=write_decimal(trade.cost),
            closed=trade.closed,
        )
