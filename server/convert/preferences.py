"""Preferences of portfolios: checked, kept as JSON with the contract's field names, and given with their defaults."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from portfolio_optimization.v1 import drift_pb2, policies_pb2, rebalancing_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as pb

from server.convert.answers import to_json
from server.convert.faults import FRACTION, POSITIVE, Faults
from server.convert.strategies import RELAXABLE, read_drift_settings
from server.convert.text_values import MONEY_NOT_NEGATIVE, read_decimal
from server.convert.trade_limits import (
    read_costs,
    read_distance,
    read_execution,
    read_limits,
    read_min_trade_fraction,
    read_positions,
    read_tax_choice,
    read_two_way,
)
from server.notifications.addresses import email_fault
from server.plans.terms import read_terms
from server.settings import Settings
from server.trading_days import DEFAULT_EXCHANGE
from server.vocabulary import TARGET_TYPES
from storage.records import Json

# 0 = not set, in each of them.
_OPTIMIZATION_NUMBERS = {
    "risk_aversion": POSITIVE,
    "transaction_cost_model": FRACTION,
    "market_impact.coefficient": POSITIVE,
}
_REBALANCING_NUMBERS = ("approval_validity_hours", "max_price_move", "max_weight_move")
_SUM_TOLERANCE = 1e-9
_MARKET = re.compile(r"[A-Z0-9]{4}")
_MOST_ADDRESSES = 100
_DEFAULT_THRESHOLD = 0.05


def read_preferences(field: str, message: pb.PortfolioPreferences, settings: Settings, faults: Faults) -> Json:
    """Preferences as storage keeps them; what is wrong with them is added to `faults`."""
    at = f"{field}.optimization"
    for path, bounds in _OPTIMIZATION_NUMBERS.items():
        faults.limit(f"{at}.{path}", operator.attrgetter(path)(message.optimization), bounds)
    commission = message.optimization.commission_per_trade_amount
    read_decimal(f"{at}.commission_per_trade_amount", commission, MONEY_NOT_NEGATIVE, faults)
    _check_leaves(at, message.optimization, faults)
    if message.HasField("rebalancing"):
        read_rebalancing(f"{field}.rebalancing", message.rebalancing, settings, faults)
    return to_json(message)


def read_rebalancing(
    field: str, message: policies_pb2.RebalancingPreferences, settings: Settings, faults: Faults
) -> Json:
    """How a portfolio is rebalanced, as storage keeps it; what is wrong with it is added to `faults`."""
    _read_target(field, message, faults)
    _read_policy(field, message, faults)
    if message.HasField("drift"):
        read_drift_settings(f"{field}.drift", message.drift, faults)
    for name in _REBALANCING_NUMBERS:
        faults.limit(f"{field}.{name}", getattr(message, name), POSITIVE)
    read_decimal(f"{field}.approval_limit_amount", message.approval_limit_amount, MONEY_NOT_NEGATIVE, faults)
    if message.exchange and not _MARKET.fullmatch(message.exchange):
        faults.add(f"{field}.exchange", f"must be a market identifier code such as XNYS, not {message.exchange[:40]!r}")
    _read_addresses(f"{field}.alert_emails", message, faults)
    _read_constraints(field, message.constraints, settings, faults)
    _check_leaves(field, message, faults)
    return to_json(message)


def _read_target(field: str, message: policies_pb2.RebalancingPreferences, faults: Faults) -> None:
    if message.target_type:
        faults.word(f"{field}.target_type", message.target_type, TARGET_TYPES)
    weights = faults.numbers(f"{field}.custom_target", message.custom_target, FRACTION)
    if (total := sum(weights.values())) > 1.0 + _SUM_TOLERANCE:
        faults.add(f"{field}.custom_target", f"must add to at most 1, not {total:g}")
    if message.target_type == "custom" and not weights:
        faults.add(f"{field}.custom_target", "is required for the target type custom")
    faults.identifier(f"{field}.optimization_id", message.optimization_id, required=False)


def _read_policy(field: str, message: policies_pb2.RebalancingPreferences, faults: Faults) -> None:
    required = message.target_type == "policy"
    faults.identifier(f"{field}.policy_id", message.policy_id, required=required)
    relaxes = message.on_conflict == rebalancing_pb2.POLICY_CONFLICT_HANDLING_RELAX
    if relaxes and not message.relax_order:
        faults.add(f"{field}.relax_order", f"is required for on_conflict RELAX: some of {', '.join(RELAXABLE)}")
    if message.relax_order and not relaxes:
        faults.add(f"{field}.relax_order", "belongs to on_conflict RELAX")
    for k, name in enumerate(message.relax_order):
        if name not in RELAXABLE:
            faults.add(f"{field}.relax_order[{k}]", f"must be one of {', '.join(RELAXABLE)}, not {name[:40]!r}")
    faults.distinct(f"{field}.relax_order", message.relax_order)


def _read_addresses(field: str, message: policies_pb2.RebalancingPreferences, faults: Faults) -> None:
    if len(message.alert_emails) > _MOST_ADDRESSES:
        faults.add(field, f"must have at most {_MOST_ADDRESSES} items, not {len(message.alert_emails)}")
    for k, address in enumerate(message.alert_emails):
        if fault := email_fault(address):
            faults.add(f"{field}[{k}]", f"{fault}, not {address[:40]!r}")
    faults.distinct(field, message.alert_emails)


def _read_constraints(
    field: str, message: rebalancing_pb2.RebalanceConstraints, settings: Settings, faults: Faults
) -> None:
    """Limits and costs as the request of a plan may have them."""
    part = Faults()
    read_two_way(message, part)
    read_limits(message, settings, part)
    read_costs(message, settings, part)
    for read in (read_distance, read_execution, read_min_trade_fraction, read_positions, read_tax_choice):
        read(message, part)
    faults.include(field, part)


def _check_leaves(field: str, message: Message, faults: Faults) -> None:
    for at, descriptor, value in _leaves(field, message):
        _check_leaf(at, descriptor, value, faults)


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


def with_defaults(
    stored: policies_pb2.RebalancingPreferences, settings: Settings
) -> policies_pb2.RebalancingPreferences:
    """The preferences with what holds where they say nothing; limits that are not set stay away."""
    filled, terms = policies_pb2.RebalancingPreferences(), read_terms(stored, settings)
    filled.CopyFrom(stored)
    filled.target_type = stored.target_type or "optimal"
    filled.exchange = stored.exchange or DEFAULT_EXCHANGE
    for name, default in _DEFAULT_WORDS.items():
        if not stored.HasField(name):  # type: ignore[arg-type]
            setattr(filled, name, default)
    if not stored.HasField("drift"):
        filled.drift.measure = drift_pb2.DRIFT_MEASURE_MAX_ABSOLUTE
    filled.drift.threshold = filled.drift.threshold or _DEFAULT_THRESHOLD
    filled.approval_limit_amount = f"{terms.approval_limit:f}"
    filled.approval_validity_hours = terms.validity_hours
    filled.max_price_move = float(terms.max_price_move)
    filled.max_weight_move = float(terms.max_weight_move)
    return filled


_DEFAULT_WORDS = {
    "on_conflict": rebalancing_pb2.POLICY_CONFLICT_HANDLING_FAIL,
    "strategy": rebalancing_pb2.REBALANCE_STRATEGY_FULL,
    "schedule": policies_pb2.REBALANCE_SCHEDULE_MANUAL,
    "scheduled_action": policies_pb2.SCHEDULED_ACTION_PROPOSE,
}
