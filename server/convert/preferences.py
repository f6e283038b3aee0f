"""Preferences of portfolios: checked, and kept as JSON with the contract's field names."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from portfolio_optimization.v1 import policies_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from server.convert.answers import to_json
from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.convert.text_values import MONEY_NOT_NEGATIVE, SHARES_ABOVE_ZERO, read_decimal
from server.vocabulary import TARGET_TYPES, Vocabulary
from storage.records import Json

# A preference may name what a later version serves.
_TARGET_TYPES = Vocabulary((*TARGET_TYPES.served, *TARGET_TYPES.planned))
_NOT_NEGATIVE = Bounds(0.0)
# 0 = not set, in each of them.
_NUMBERS = {
    "optimization.risk_aversion": POSITIVE,
    "optimization.transaction_cost_model": FRACTION,
    "optimization.market_impact.coefficient": POSITIVE,
    "rebalancing.drift.threshold": POSITIVE,
    "rebalancing.approval_validity_hours": POSITIVE,
    "rebalancing.max_price_move": POSITIVE,
    "rebalancing.max_weight_move": POSITIVE,
    "rebalancing.constraints.max_turnover": Bounds(0.0, 2.0),
    "rebalancing.constraints.min_trade_size": _NOT_NEGATIVE,
    "rebalancing.constraints.max_trades": _NOT_NEGATIVE,
    "rebalancing.constraints.market_impact_bps": Bounds(0.0, 10_000.0),
    "rebalancing.constraints.max_participation": FRACTION,
}
_AMOUNTS = (
    "optimization.commission_per_trade_amount",
    "rebalancing.approval_limit_amount",
    "rebalancing.constraints.min_cash_amount",
    "rebalancing.constraints.commission_per_trade_amount",
)
_SUM_TOLERANCE = 1e-9


def read_preferences(field: str, message: pb.PortfolioPreferences, faults: Faults) -> Json:
    """Preferences as storage keeps them; what is wrong with them is added to `faults`."""
    for path, bounds in _NUMBERS.items():
        faults.limit(f"{field}.{path}", operator.attrgetter(path)(message), bounds)
    for path in _AMOUNTS:
        read_decimal(f"{field}.{path}", operator.attrgetter(path)(message), MONEY_NOT_NEGATIVE, faults)
    for k, lot in enumerate(message.rebalancing.constraints.specific_lots):
        at = f"{field}.rebalancing.constraints.specific_lots[{k}]"
        faults.identifier(f"{at}.lot_id", lot.lot_id)
        read_decimal(f"{at}.quantity", lot.quantity, SHARES_ABOVE_ZERO, faults)
    _read_target(f"{field}.rebalancing", message.rebalancing, faults)
    for at, descriptor, value in _leaves(field, message):
        _check_leaf(at, descriptor, value, faults)
    return to_json(message)


def _read_target(field: str, message: policies_pb2.RebalancingPreferences, faults: Faults) -> None:
    if message.target_type:
        faults.word(f"{field}.target_type", message.target_type, _TARGET_TYPES)
    faults.identifier(f"{field}.policy_id", message.policy_id, required=False)
    weights = faults.numbers(f"{field}.custom_target", message.custom_target, FRACTION)
    if (total := sum(weights.values())) > 1.0 + _SUM_TOLERANCE:
        faults.add(f"{field}.custom_target", f"must add to at most 1, not {total:g}")
    if message.target_type == "custom" and not weights:
        faults.add(f"{field}.custom_target", "is required for the target type custom")


def _leaves(field: str, message: Message) -> Iterator[tuple[str, FieldDescriptor, Any]]:
    """Path, field and value of every text and every enumeration that is set; maps are left to their own checks."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            continue
        at = f"{field}.{descriptor.name}"
        items = [(f"{at}[{k}]", item) for k, item in enumerate(value)] if descriptor.is_repeated else [(at, value)]
        for place, item in items:
            if isinstance(item, Message):
                yield from _leaves(place, item)
            elif isinstance(item, str) or descriptor.enum_type is not None:
                yield place, descriptor, item


def _check_leaf(field: str, descriptor: FieldDescriptor, value: str | int, faults: Faults) -> None:
    if isinstance(value, str):
        faults.name(field, value)
        return
    assert descriptor.enum_type is not None
    names = {item.number: item.name for item in descriptor.enum_type.values if item.number}
    if value not in names:
        faults.add(field, f"must be one of {', '.join(names.values())}")
