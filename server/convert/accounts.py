"""Account flags and tax settings: columns where storage has some, JSON with the contract's field names otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1 import taxes_pb2, trade_pb2

from kernel.rebalancing.tax_years import TaxYear
from server.convert.answers import to_json
from server.convert.faults import FRACTION, Faults
from server.convert.text_values import (
    MONEY,
    MONEY_NOT_NEGATIVE,
    read_day,
    read_decimal,
    shortest_decimal,
    write_decimal,
)
from server.errors import NotReady
from storage.records import Json, Portfolio

_HIGHEST_OPTION_LEVEL = 5
_MOST_DATED_RATES = 1000
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
# The calendar year of those that are realised, and years that it can be.
_YEAR = "realized_year"
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_FRACTIONS = ("ordinary_rate", "carried_loss_value")
# Where storage has columns for them.
_IN_COLUMNS = ("short_term_rate", "long_term_rate", "lot_method")
# Where the account's JSON keeps the tax settings.
TAX = "tax"

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """Tax settings: rates as fractions, how lots are chosen, and all others by field name."""

    short_term_rate: Decimal
    long_term_rate: Decimal
    lot_method: str
    others: Json


def read_account(field: str, message: pb.AccountSettings, faults: Faults) -> Json:
    """Flags and restrictions, as storage keeps them."""
    if message.HasField("account_type") and message.account_type not in _ACCOUNT_TYPES:
        accepted = ", ".join(map(pb.AccountType.Name, _ACCOUNT_TYPES))
        faults.add(f"{field}.account_type", f"must be one of {accepted}")
    faults.identifier(f"{field}.household_id", message.household_id, required=False)
    if message.option_approval_level > _HIGHEST_OPTION_LEVEL:
        found = message.option_approval_level
        faults.add(f"{field}.option_approval_level", f"must be at most {_HIGHEST_OPTION_LEVEL}, not {found}")
    faults.limit(f"{field}.maintenance_margin", message.maintenance_margin)
    for name in ("do_not_buy", "do_not_sell", "do_not_trade"):
        for k, instrument_id in enumerate(getattr(message, name)):
            faults.identifier(f"{field}.{name}[{k}]", instrument_id)
    return to_json(message)


def read_tax(field: str, message: pb.TaxSettings, faults: Faults) -> TaxTerms:
    """Tax settings; an absent message is no tax."""
    for name, exact in _AMOUNTS.items():
        read_decimal(f"{field}.{name}", getattr(message, name), exact, faults)
    for name in _FRACTIONS:
        # An absent one reads as zero, which is right too.
        faults.number(f"{field}.{name}", getattr(message, name), FRACTION)
    if message.realized_year and not _FIRST_YEAR <= message.realized_year <= _LAST_YEAR:
        allowed = f"must be 0 or lie between {_FIRST_YEAR} and {_LAST_YEAR}"
        faults.add(f"{field}.{_YEAR}", f"{allowed}, not {message.realized_year}")
    faults.identifier(f"{field}.jurisdiction", message.jurisdiction, required=False)
    _check_dated_rates(f"{field}.dated_rates", message, faults)
    _check_policies(f"{field}.wash_sale_policies", message.wash_sale_policies, faults)
    short = faults.number(f"{field}.short_term_rate", message.short_term_rate, FRACTION)
    long = faults.number(f"{field}.long_term_rate", message.long_term_rate, FRACTION)
    return TaxTerms(
        short_term_rate=shortest_decimal(short),
        long_term_rate=shortest_decimal(long),
        lot_method=_read_lot_method(f"{field}.lot_method", message, faults),
        others={name: value for name, value in to_json(message).items() if name not in _IN_COLUMNS},
    )


def _check_dated_rates(field: str, message: pb.TaxSettings, faults: Faults) -> None:
    if len(message.dated_rates) > _MOST_DATED_RATES:
        faults.add(field, f"must have at most {_MOST_DATED_RATES} items, not {len(message.dated_rates)}")
        return
    days = []
    for k, rates in enumerate(message.dated_rates):
        at = f"{field}[{k}]"
        days.append(read_day(f"{at}.from_date", rates.from_date, faults))
        if not rates.from_date:
            faults.add(f"{at}.from_date", "is required")
        faults.number(f"{at}.short_term_rate", rates.short_term_rate, FRACTION)
        faults.number(f"{at}.long_term_rate", rates.long_term_rate, FRACTION)
    for k, (earlier, later) in enumerate(pairwise(days), 1):
        if earlier and later and earlier >= later:
            faults.add(f"{field}[{k}].from_date", f"must be after {earlier.isoformat()}, not {later.isoformat()}")


def _check_policies(field: str, message: taxes_pb2.WashSalePolicies, faults: Faults) -> None:
    for name, kind in (
        ("same_purchase", taxes_pb2.WashSalePolicies.SamePurchase),
        ("holding_period", taxes_pb2.WashSalePolicies.HoldingPeriod),
    ):
        if getattr(message, name) not in kind.values():
            faults.add(f"{field}.{name}", f"must be one of {', '.join(kind.keys())}")


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
    return account | ({TAX: tax.others} if tax.others else {})


def with_figures(account: Json, figures: TaxYear) -> Json:
    """The account with other figures of the tax year.

    Args:
        account: As storage keeps it.
        figures: What the year has realised and carried in.
    """
    amounts = {
        "realized_short_term_amount": figures.realised.short_term,
        "realized_long_term_amount": figures.realised.long_term,
        "carried_short_term_loss_amount": -figures.carried.short_term,
        "carried_long_term_loss_amount": -figures.carried.long_term,
    }
    kept = {name: value for name, value in account.get(TAX, {}).items() if name not in amounts}
    written = {name: write_decimal(amount) for name, amount in amounts.items() if amount}
    return account | {TAX: kept | written | {_YEAR: figures.year}}


def write_account(portfolio: Portfolio) -> pb.AccountSettings | None:
    """Flags and restrictions; None where there are none."""
    flags = {name: value for name, value in portfolio.account.items() if name != TAX}
    return from_json(flags, pb.AccountSettings(), f"account of portfolio {portfolio.id}") if flags else None


def write_tax(portfolio: Portfolio) -> pb.TaxSettings | None:
    """Rates, method and all others; None where no tax is charged and lots are sold in their order."""
    others = portfolio.account.get(TAX, {})
    short, long = portfolio.short_term_tax_rate, portfolio.long_term_tax_rate
    method = _LOT_METHOD_NUMBERS.get(portfolio.lot_method, trade_pb2.LOT_METHOD_FIFO)
    if not (others or short or long or method != trade_pb2.LOT_METHOD_FIFO):
        return None
    message = from_json(others, pb.TaxSettings(), f"tax settings of portfolio {portfolio.id}")
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
