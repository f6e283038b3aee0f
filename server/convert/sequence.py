"""Sequences of trades, to the wire."""

from __future__ import annotations

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.money import to_cents
from kernel.rebalancing.sequence import SequencedOrder
from server.compute.sequence import Sequenced


def write_sequence(message: pb.RebalancePlanResponse, sequenced: Sequenced) -> None:
    """Adds to a plan the order of its trades, their slices, settlement and cash, and what is noted.

    Args:
        message: The plan, with its trades.
        sequenced: Of the same trades.
    """
    orders = {order.instrument_id: order for order in sequenced.plan.orders}
    for trade in message.trades:
        _write_order(trade, orders[trade.instrument_id])
        if sequenced.with_slices:
            _write_slices(trade, orders[trade.instrument_id])
    message.trades.sort(key=lambda trade: trade.priority)
    message.cash_projection.extend(
        pb.CashProjection(date=day.isoformat(), cash_amount=f"{cash:f}") for day, cash in sequenced.plan.cash_projection
    )
    message.notes.extend(
        pb.PlanNote(code=remark.code, instrument_id=remark.instrument_id, message=remark.message)
        for remark in sequenced.remarks
    )


def _write_order(trade: trade_pb2.Trade, order: SequencedOrder) -> None:
    trade.priority = order.priority
    trade.depends_on.extend(order.depends_on)
    trade.settlement_date = order.settlement_date.isoformat()


def _write_slices(trade: trade_pb2.Trade, order: SequencedOrder) -> None:
    for part in order.slices:
        written = trade.slices.add(date=part.day.isoformat(), quantity=f"{part.quantity:f}")
        if part.participation is not None:
            written.participation = float(part.participation)
    trade.expected_execution_cost_amount = f"{to_cents(order.execution.expected):f}"
    if order.execution.risk is not None:
        trade.execution_risk_amount = f"{to_cents(order.execution.risk):f}"
