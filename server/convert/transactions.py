"""Transactions, relations between instruments and tax rules, from the wire and back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from portfolio_optimization.v1 import taxes_pb2 as pb

from server.convert.faults import Faults
from server.convert.text_values import (
    MONEY,
    MONEY_ABOVE_ZERO,
    MONEY_NOT_NEGATIVE,
    SHARES_ABOVE_ZERO,
    Exact,
    read_day,
    read_decimal,
    refuse_repeats,
    write_day,
    write_decimal,
)
from server.settings import Settings
from server.specs import CASH
from storage.records import TaxRule, Transaction, utc_now

_MOST_TRANSACTIONS = 10_000
_MOST_IDENTICAL = 1000
_ACTIONS = ("buy", "sell")
# The clocks that are furthest ahead of UTC.
_FURTHEST_AHEAD = timedelta(hours=14)
_OF_SALES = ("acquired_on", "held_since", "gain_amount")


def read_transactions(
    message: pb.RecordTransactionsRequest, _settings: Settings, faults: Faults
) -> tuple[Transaction, ...]:
    """The transactions of a request; what is wrong with them is added to `faults`."""
    faults.identifier("portfolio_id", message.portfolio_id)
    field, count = "transactions", len(message.transactions)
    if not 1 <= count <= _MOST_TRANSACTIONS:
        faults.add(field, f"must have 1 to {_MOST_TRANSACTIONS} items, not {count}")
        return ()
    refuse_repeats(field, (row.transaction_id for row in message.transactions), faults)
    return tuple(
        _read_transaction(f"{field}[{k}]", message.portfolio_id, row, faults)
        for k, row in enumerate(message.transactions)
    )


def _read_transaction(field: str, portfolio_id: str, message: pb.PortfolioTransaction, faults: Faults) -> Transaction:
    faults.identifier(f"{field}.transaction_id", message.transaction_id)
    read_instrument_id(f"{field}.instrument_id", message.instrument_id, faults)
    if message.action not in _ACTIONS:
        faults.add(f"{field}.action", f"must be one of {', '.join(_ACTIONS)}, not {message.action[:40]!r}")
    if message.rebalance_id:
        faults.add(f"{field}.rebalance_id", "is set by the service")
    traded_on = _read_trade_date(f"{field}.traded_on", message.traded_on, faults)
    acquired_on, held_since = _read_holding_period(field, message, traded_on, faults)
    return Transaction(
        portfolio_id=portfolio_id,
        id=message.transaction_id,
        instrument_id=message.instrument_id,
        action=message.action,
        quantity=needed_decimal(f"{field}.quantity", message.quantity, SHARES_ABOVE_ZERO, faults),
        price=needed_decimal(f"{field}.price_amount", message.price_amount, MONEY_ABOVE_ZERO, faults),
        cost=read_decimal(f"{field}.cost_amount", message.cost_amount, MONEY_NOT_NEGATIVE, faults) or Decimal(0),
        traded_on=traded_on or date.min,
        lot_id=faults.identifier(f"{field}.lot_id", message.lot_id, required=False) or None,
        acquired_on=acquired_on,
        held_since=held_since,
        gain=read_decimal(f"{field}.gain_amount", message.gain_amount, MONEY, faults),
    )


def read_instrument_id(field: str, instrument_id: str, faults: Faults) -> str:
    """The id of something that can be traded."""
    if instrument_id == CASH:
        faults.add(field, f"must not be {CASH}")
    return faults.identifier(field, instrument_id)


def needed_decimal(field: str, text: str, exact: Exact, faults: Faults) -> Decimal:
    """A number that must be there; zero where it is not, which is noted."""
    if not text:
        faults.add(field, "is required")
    return read_decimal(field, text, exact, faults) or Decimal(0)


def _read_trade_date(field: str, text: str, faults: Faults) -> date | None:
    day = read_day(field, text, faults)
    if not text:
        faults.add(field, "is required")
    if day is not None and day > (utc_now() + _FURTHEST_AHEAD).date():
        faults.add(field, f"must not be in the future, and {day.isoformat()} is")
    return day


def _read_holding_period(
    field: str, message: pb.PortfolioTransaction, traded_on: date | None, faults: Faults
) -> tuple[date | None, date | None]:
    if message.action == "buy":
        for name in _OF_SALES:
            if getattr(message, name):
                faults.add(f"{field}.{name}", "belongs to a sale")
    acquired = read_day(f"{field}.acquired_on", message.acquired_on, faults)
    since = read_day(f"{field}.held_since", message.held_since, faults)
    if acquired is not None and traded_on is not None and acquired > traded_on:
        faults.add(f"{field}.acquired_on", f"must not be after the sale on {traded_on.isoformat()}")
    if since is not None and (acquired is None or since > acquired):
        faults.add(f"{field}.held_since", "must not be after acquired_on, which it needs")
    return acquired, since


def write_transaction(row: Transaction) -> pb.PortfolioTransaction:
    """One transaction."""
    return pb.PortfolioTransaction(
        transaction_id=row.id,
        instrument_id=row.instrument_id,
        action=row.action,
        quantity=write_decimal(row.quantity),
        price_amount=write_decimal(row.price),
        cost_amount=write_decimal(row.cost),
        traded_on=write_day(row.traded_on),
        lot_id=row.lot_id or "",
        acquired_on=write_day(row.acquired_on),
        held_since=write_day(row.held_since),
        gain_amount=write_decimal(row.gain),
        rebalance_id=row.rebalance_id or "",
    )


def read_identical(
    message: pb.SetIdenticalInstrumentsRequest, _settings: Settings, faults: Faults
) -> tuple[str, tuple[str, ...]]:
    """An instrument, and the ones that are substantially identical to it."""
    field, count = "identical_ids", len(message.identical_ids)
    instrument_id = read_instrument_id("instrument_id", message.instrument_id, faults)
    if count > _MOST_IDENTICAL:
        faults.add(field, f"must have at most {_MOST_IDENTICAL} items, not {count}")
        return instrument_id, ()
    refuse_repeats(field, message.identical_ids, faults)
    for k, name in enumerate(message.identical_ids):
        read_instrument_id(f"{field}[{k}]", name, faults)
        if name and name == instrument_id:
            faults.add(f"{field}[{k}]", f"must not be {name} itself")
    return instrument_id, tuple(message.identical_ids)


def write_rules(rule: TaxRule) -> pb.GetTaxRulesResponse:
    """The rules that hold on a day."""
    return pb.GetTaxRulesResponse(
        jurisdiction=rule.jurisdiction,
        valid_from=write_day(rule.valid_from),
        long_term_months=rule.long_term_months,
        wash_sale_days=rule.wash_sale_days,
        yearly_loss_limit_amount=write_decimal(rule.yearly_loss_limit),
        separate_loss_limit_amount=write_decimal(rule.separate_loss_limit),
        source=rule.source,
    )
