"""Account flags and tax settings: columns where storage has some, JSON with the contract's field names otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from server.convert.answers import to_json
from server.convert.faults import FRACTION, Faults
from server.convert.text_values import MONEY, MONEY_NOT_NEGATIVE, read_decimal, shortest_decimal
from server.errors import NotReady
from storage.records import Json, Portfolio

_HIGHEST_OPTION_LEVEL = 5
_ACCOUNT_TYPES = (pb.ACCOUNT_TYPE_TAXABLE, pb.ACCOUNT_TYPE_TAX_DEFERRED, pb.ACCOUNT_TYPE_TAX_EXEMPT)
_LOT_METHODS = {
    trade_pb2.LOT_METHOD_FIFO: "fifo",
    trade_pb2.LOT_METHOD_LIFO: "lifo",
    trade_pb2.LOT_METHOD_HIFO: "hifo",
    trade_pb2.LOT_METHOD_LEAST_TAX: "least_tax",
}
_LOT_METHOD_NUMBERS = {word: number for number, word in _LOT_METHODS.items()}
_AMOUNTS = {
    "yearly_loss_limit_amount": MONEY_NOT_NEGATIVE,
    "realized_short_term_amount": MONEY,
    "realized_long_term_amount": MONEY,
    "carried_short_term_loss_amount": MONEY_NOT_NEGATIVE,
    "carried_long_term_loss_amount": MONEY_NOT_NEGATIVE,
}
# Where the account's JSON keeps the state of the tax year.
_TAX = "tax"

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """Tax settings: rates as fractions, how lots are chosen, and the amounts of the tax year by field name."""

    short_term_rate: Decimal
    long_term_rate: Decimal
    lot_method: str
    amounts: Json


def read_account(field: str, message: pb.AccountSettings, faults: Faults) -> Json:
    """Flags and restrictions, as storage keeps them."""
    if message.HasField("account_type") and message.account_type not in _ACCOUNT_TYPES:
        accepted = ", ".join(map(pb.AccountType.Name, _ACCOUNT_TYPES))
        faults.add(f"{field}.account_type", f"must be one of {accepted}")
    faults.identifier(f"{field}.household_id", message.household_id, required=False)
    if message.option_approval_level > _HIGHEST_OPTION_LEVEL:
        found = message.option_approval_level
        faults.add(f"{field}.option_approval_level", f"must be at most {_HIGHEST_OPTION_LEVEL}, not {found}")
    for name in ("do_not_buy", "do_not_sell", "do_not_trade"):
        for k, instrument_id in enumerate(getattr(message, name)):
            faults.identifier(f"{field}.{name}[{k}]", instrument_id)
    return to_json(message)


def read_tax(field: str, message: pb.TaxSettings, faults: Faults) -> TaxTerms:
    """Tax settings; an absent message is no tax."""
    for name, exact in _AMOUNTS.items():
        read_decimal(f"{field}.{name}", getattr(message, name), exact, faults)
    short = faults.number(f"{field}.short_term_rate", message.short_term_rate, FRACTION)
    long = faults.number(f"{field}.long_term_rate", message.long_term_rate, FRACTION)
    return TaxTerms(
        short_term_rate=shortest_decimal(short),
        long_term_rate=shortest_decimal(long),
        lot_method=_read_lot_method(f"{field}.lot_method", message, faults),
        amounts={name: getattr(message, name) for name in _AMOUNTS if getattr(message, name)},
    )


def _read_lot_method(field: str, message: pb.TaxSettings, faults: Faults) -> str:
    method = message.lot_method if message.HasField("lot_method") else trade_pb2.LOT_METHOD_FIFO
    if method == trade_pb2.LOT_METHOD_SPECIFIC:
        faults.add(field, "must not be LOT_METHOD_SPECIFIC, which needs lots that only a plan's request can name")
    elif method not in _LOT_METHODS:
        accepted = ", ".join(map(trade_pb2.LotMethod.Name, _LOT_METHODS))
        faults.add(field, f"must be one of {accepted}")
    return _LOT_METHODS.get(method, "")


def account_json(account: Json, tax: TaxTerms) -> Json:
    """The account as storage keeps it: restrictions on top, where rebalancing looks for them."""
    return account | ({_TAX: tax.amounts} if tax.amounts else {})


def write_account(portfolio: Portfolio) -> pb.AccountSettings | None:
    """Flags and restrictions; None where there are none."""
    flags = {name: value for name, value in portfolio.account.items() if name != _TAX}
    return from_json(flags, pb.AccountSettings(), f"account of portfolio {portfolio.id}") if flags else None


def write_tax(portfolio: Portfolio) -> pb.TaxSettings | None:
    """Rates, method and amounts; None where no tax is charged and lots are sold in their order."""
    amounts = portfolio.account.get(_TAX, {})
    short, long = portfolio.short_term_tax_rate, portfolio.long_term_tax_rate
    method = _LOT_METHOD_NUMBERS.get(portfolio.lot_method, trade_pb2.LOT_METHOD_FIFO)
    if not (amounts or short or long or method != trade_pb2.LOT_METHOD_FIFO):
        return None
    message = from_json(amounts, pb.TaxSettings(), f"tax settings of portfolio {portfolio.id}")
    message.short_term_rate, message.long_term_rate = float(short), float(long)
    message.lot_method = method
    return message


def from_json(content: Json, message: MessageT, what: str) -> MessageT:
    """A message from JSON that a file may have brought in; fields it does not know are left out.

    Raises:
        NotReady: A field holds something else than the contract says.
    """
    try:
        return json_format.ParseDict(content, message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise NotReady(f"{what}: not what the contract says; store it again: {error}") from None
