"""Accounts with lots, and questions about the tax of selling them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1 import rebalancing_calls_pb2, rebalancing_pb2, trade_pb2
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from portfolio_optimization.v1.rebalancing_service_pb2_grpc import RebalancingServiceStub

Data = PortfolioDataServiceStub
Rebalancing = RebalancingServiceStub
Preview = rebalancing_calls_pb2.PreviewTaxResponse
SOLD_ON = "2026-03-20"
FIFO, LIFO, HIFO = trade_pb2.LOT_METHOD_FIFO, trade_pb2.LOT_METHOD_LIFO, trade_pb2.LOT_METHOD_HIFO
LEAST_TAX, SPECIFIC = trade_pb2.LOT_METHOD_LEAST_TAX, trade_pb2.LOT_METHOD_SPECIFIC
SHORT, LONG = trade_pb2.HOLDING_TERM_SHORT, trade_pb2.HOLDING_TERM_LONG
# The highest federal rates of the United States with the tax on net investment income.
TOP_RATES = pb.TaxSettings(short_term_rate=0.408, long_term_rate=0.238)
IRA = pb.AccountSettings(account_type=pb.ACCOUNT_TYPE_TAX_DEFERRED, household_id="home")
TAXABLE = pb.AccountSettings(household_id="home")


def tax_lot(lot_id: str, quantity: object, cost: object, acquired: str, **changes: object) -> pb.TaxLot:
    plain = {
        "lot_id": lot_id,
        "instrument_id": "AAPL",
        "quantity": str(quantity),
        "cost_per_share_amount": f"{Decimal(str(cost)):f}",
        "acquired_on": acquired,
    }
    return pb.TaxLot(**{**plain, **changes})


async def put_account(
    data: Data,
    lots: Iterable[pb.TaxLot],
    *,
    portfolio_id: str = "account",
    tax: pb.TaxSettings | None = TOP_RATES,
    account: pb.AccountSettings | None = None,
) -> None:
    """An account that holds what its lots add up to."""
    rows = list(lots)
    sums: dict[str, Decimal] = {}
    for lot in rows:
        sums[lot.instrument_id] = sums.get(lot.instrument_id, Decimal(0)) + Decimal(lot.quantity)
    portfolio = pb.Portfolio(
        portfolio_id=portfolio_id,
        base_currency="USD",
        cash_amount="1000",
        holdings=[pb.Holding(instrument_id=name, quantity=f"{quantity:f}") for name, quantity in sums.items()],
        lots=rows,
        tax=tax,
        account=account,
    )
    await data.PutPortfolio(pb.PutPortfolioRequest(portfolio=portfolio))


def sale(quantity: object, price: object = "", instrument_id: str = "AAPL") -> rebalancing_calls_pb2.ProposedSale:
    return rebalancing_calls_pb2.ProposedSale(
        instrument_id=instrument_id, quantity=str(quantity), price_amount=str(price)
    )


def named(lot_id: str, quantity: object = "") -> rebalancing_pb2.LotSelection:
    return rebalancing_pb2.LotSelection(lot_id=lot_id, quantity=str(quantity))


async def preview(rebalancing: Rebalancing, *sales: rebalancing_calls_pb2.ProposedSale, **changes: object) -> Preview:
    plain = {"portfolio_id": "account", "sales": sales, "sale_date": SOLD_ON}
    return await rebalancing.PreviewTax(rebalancing_calls_pb2.PreviewTaxRequest(**{**plain, **changes}))


def total(sales: Iterable[trade_pb2.TaxLotSale], field: str) -> Decimal:
    """The sum of an amount over the lots sold."""
    return sum((Decimal(getattr(lot, field)) for lot in sales), Decimal(0))


def sold_by_lot(estimate: trade_pb2.TaxEstimate) -> dict[str, Decimal]:
    return {lot.lot_id: Decimal(lot.quantity) for lot in estimate.sales}


def day_before(day: str) -> str:
    return date.fromordinal(date.fromisoformat(day).toordinal() - 1).isoformat()
