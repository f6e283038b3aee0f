"""Trades and remarks of a plan, to the wire."""

from __future__ import annotations

from portfolio_optimization.v1 import rebalancing_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.rebalancing.reasons import MissReason, TargetMiss
from kernel.rebalancing.trades import Trade

_NOTES = {
    MissReason.DO_NOT_BUY: ("restricted", "may not be bought"),
    MissReason.DO_NOT_SELL: ("restricted", "may not be sold"),
    MissReason.MIN_TRADE_SIZE: ("below_min_trade_size", "the trade would be smaller than the smallest allowed"),
    MissReason.WASH_SALE: ("wash_sale", "a purchase would disallow the loss of an earlier sale"),
    MissReason.LIMITS: ("limits", "turnover, number of trades, cash or cost leave no better trade"),
}


def write_trade(trade: Trade) -> trade_pb2.Trade:
    """One trade."""
    return trade_pb2.Trade(
        instrument_id=trade.instrument_id,
        action=trade.action.value,
        quantity=float(trade.quantity),
        exact_quantity=f"{trade.quantity:f}",
        estimated_value=float(trade.value),
        price_amount=f"{trade.price:f}",
        weight_change=float(trade.weight_change),
        priority=trade.priority,
        transaction_cost_amount=f"{trade.cost:f}",
        transaction_cost_fraction=float(trade.cost / trade.value) if trade.value else 0.0,
        reason=trade.reason,
    )


def write_note(miss: TargetMiss, frozen: tuple[str, str] | None = None) -> pb.PlanNote:
    """Why a position stays away from its target; `frozen` is the code and the phrase of what is not traded."""
    code, reason = _NOTES[miss.reason]
    if frozen is not None and miss.reason in (MissReason.DO_NOT_BUY, MissReason.DO_NOT_SELL):
        code, reason = frozen[0], f"it {frozen[1]}"
    direction = "above" if miss.value > 0 else "below"
    message = f"{miss.instrument_id} ends {abs(miss.value)} {direction} its target: {reason}"
    return pb.PlanNote(code=code, instrument_id=miss.instrument_id, message=message)
