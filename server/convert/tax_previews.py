"""Tax previews, from the wire and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_calls_pb2 as pb

from kernel.rebalancing.lots import LotMethod
from server.compute.taxed_trades import TaxedTrades
from server.convert.faults import Faults
from server.convert.taxes import write_estimate
from server.convert.text_values import (
    MONEY_ABOVE_ZERO,
    SHARES_ABOVE_ZERO,
    read_day,
    read_decimal,
    refuse_repeats,
)
from server.convert.trade_limits import read_lot_method, read_lot_selections
from server.convert.transactions import needed_decimal, read_instrument_id
from server.rebalance_specs import TaxChoice
from server.settings import Settings

_MOST_SALES = 10_000
# Windows and holding periods of days between these do not leave the calendar.
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)


@dataclass(frozen=True, slots=True)
class SaleSpec:
    """A sale to preview; `price` None = that of the pricing pack."""

    instrument_id: str
    quantity: Decimal
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PreviewSpec:
    """What is to be previewed: the trades of a plan, or sales of a portfolio.

    Attributes:
        choice: Its method is None where lots are chosen as the plan or the portfolio has it.
        sale_date: None = that of the plan, else the last day of the prices.
        pricing_pack_id: Empty = that of the plan, else the newest with prices of what is sold.
    """

    rebalance_id: str
    portfolio_id: str
    sales: tuple[SaleSpec, ...] = ()
    choice: TaxChoice = field(default_factory=TaxChoice)
    sale_date: date | None = None
    pricing_pack_id: str = ""


@dataclass(frozen=True, slots=True)
class TaxPreview:
    """The tax of trades under the choice asked for, and under others."""

    portfolio_id: str
    chosen: TaxedTrades
    alternatives: tuple[TaxedTrades, ...]
    pricing_pack_id: str


def read_preview(message: pb.PreviewTaxRequest, _settings: Settings, faults: Faults) -> PreviewSpec:
    """What a request for a preview means; what is wrong with it is added to `faults`."""
    has_plan = bool(message.rebalance_id)
    faults.identifier("rebalance_id", message.rebalance_id, required=False)
    faults.identifier("portfolio_id", message.portfolio_id, required=not has_plan)
    if has_plan and message.sales:
        faults.add("sales", "belong to a preview without rebalance_id")
    return PreviewSpec(
        rebalance_id=message.rebalance_id,
        portfolio_id=message.portfolio_id,
        sales=_read_sales(message, has_plan=has_plan, faults=faults),
        choice=_read_choice(message, faults),
        sale_date=_read_sale_date(message, faults),
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
    )


def _read_sale_date(message: pb.PreviewTaxRequest, faults: Faults) -> date | None:
    day = read_day("sale_date", message.sale_date, faults)
    if day is not None and not _FIRST_DAY <= day <= _LAST_DAY:
        faults.add("sale_date", f"must lie between {_FIRST_DAY.isoformat()} and {_LAST_DAY.isoformat()}")
    return day


def _read_sales(message: pb.PreviewTaxRequest, *, has_plan: bool, faults: Faults) -> tuple[SaleSpec, ...]:
    count = len(message.sales)
    if not has_plan and not 1 <= count <= _MOST_SALES:
        faults.add("sales", f"must have 1 to {_MOST_SALES} items, not {count}")
        return ()
    refuse_repeats("sales", (sale.instrument_id for sale in message.sales), faults)
    return tuple(_read_sale(f"sales[{k}]", sale, faults) for k, sale in enumerate(message.sales))


def _read_sale(at: str, message: pb.ProposedSale, faults: Faults) -> SaleSpec:
    return SaleSpec(
        instrument_id=read_instrument_id(f"{at}.instrument_id", message.instrument_id, faults),
        quantity=needed_decimal(f"{at}.quantity", message.quantity, SHARES_ABOVE_ZERO, faults),
        price=read_decimal(f"{at}.price_amount", message.price_amount, MONEY_ABOVE_ZERO, faults),
    )


def _read_choice(message: pb.PreviewTaxRequest, faults: Faults) -> TaxChoice:
    method = read_lot_method("lot_method", message.lot_method, faults) if message.HasField("lot_method") else None
    if bool(message.specific_lots) != (method is LotMethod.SPECIFIC):
        needs = "belong to LOT_METHOD_SPECIFIC" if message.specific_lots else "are required for LOT_METHOD_SPECIFIC"
        faults.add("specific_lots", needs)
    specific: Mapping[str, Decimal | None] = read_lot_selections("specific_lots", message.specific_lots, faults)
    return TaxChoice(lot_method=method, specific=specific)


def write_preview(preview: TaxPreview) -> pb.PreviewTaxResponse:
    """The tax of sales under several choices of lots."""
    return pb.PreviewTaxResponse(
        portfolio_id=preview.portfolio_id,
        chosen=write_estimate(preview.chosen),
        alternatives=map(write_estimate, preview.alternatives),
        pricing_pack_id=preview.pricing_pack_id,
    )
