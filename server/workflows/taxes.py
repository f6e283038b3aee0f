"""Tax previews: what sales would cost before anything is approved. Nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, localcontext

from google.protobuf import json_format
from portfolio_optimization.v1 import rebalancing_calls_pb2 as pb
from portfolio_optimization.v1 import trade_pb2

from kernel.errors import ProblemError
from kernel.rebalancing.lots import LotMethod
from server.checks.tax_previews import check_sales, named_faults
from server.compute.lot_choice import choose_lots, compare_methods
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import Picks, settle_trades
from server.convert.faults import checked
from server.convert.tax_previews import PreviewSpec, TaxPreview, read_preview
from server.convert.trade_limits import lot_method_of
from server.errors import Fault, InvalidRequest, NotReady
from server.households import load_household
from server.listing import listed
from server.settings import Settings
from server.taxes import as_context
from storage.database import Connection, Database
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.rebalances import RebalanceRepository
from storage.records import Portfolio, PricingPack

_BUY = "buy"
# Digits that hold the value of the largest sale at the highest price to the last decimal.
_DIGITS = 100


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a preview takes from a plan: its trades, and the lots that it chose."""

    trades: tuple[trade_pb2.Trade, ...]
    pricing_pack_id: str
    method: LotMethod | None
    picks: Picks
    sold_on: date | None


@dataclass(frozen=True, slots=True)
class _Question:
    """Trades at their prices on a day, with what their tax depends on."""

    spec: PreviewSpec
    portfolio: Portfolio
    context: TaxContext
    sells: tuple[Traded, ...]
    buys: tuple[Traded, ...]
    picks: Picks
    pack: PricingPack | None


class TaxWorkflow:
    """Computes taxes of sales that nobody has made yet."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def preview(self, message: pb.PreviewTaxRequest) -> TaxPreview:
        """The tax of a plan's trades or of any sales; nothing is written.

        Raises:
            InvalidRequest: With every fault.
            NotFound: The plan, the portfolio, the pricing pack or the tax rules do not exist.
            NotReady: The lots of a plan are not there any more.
        """
        spec = checked(read_preview, message, self._settings)
        async with self._database.transaction() as connection:
            question = await _ask(connection, spec)
        return await asyncio.to_thread(_answer_exactly, question)


async def _ask(connection: Connection, spec: PreviewSpec) -> _Question:
    plan = None
    if spec.rebalance_id:
        owner, plan = await _find_plan(connection, spec.rebalance_id)
        if spec.portfolio_id not in ("", owner):
            raise InvalidRequest([Fault("portfolio_id", f"must be empty or {owner}, that of the plan")])
        spec = replace(spec, portfolio_id=owner)
    portfolio = await PortfolioRepository(connection).find(spec.portfolio_id)
    pack = await _pack(connection, spec, plan)
    sells, buys = await _trades(connection, spec, plan, pack)
    planned = None if plan is None else plan.sold_on
    day = spec.sale_date or planned or (pack.as_of if pack is not None else date.min)
    # On a day that the request names, lots bought later are later; newer lots than the prices are as of the prices.
    own = portfolio if spec.sale_date is None else None
    loaded = await load_household(connection, portfolio.id, day, own)
    context = await as_context(connection, portfolio, loaded, day)
    picks: Picks = {}
    if plan is not None and spec.choice.lot_method is None:
        picks = plan.picks
        spec = replace(spec, choice=replace(spec.choice, lot_method=plan.method))
    if plan is not None:
        # As in the plan, what has no lots is sold without tax.
        sells = tuple(sell for sell in sells if sell.instrument_id in context.lots)
    return _Question(spec, portfolio, context, sells, buys, picks, pack)


def _answer_exactly(question: _Question) -> TaxPreview:
    with localcontext(prec=_DIGITS):
        return _answer(question)


def _answer(question: _Question) -> TaxPreview:
    spec, context, sells = question.spec, question.context, question.sells
    if not spec.rebalance_id:
        check_sales(question.portfolio, context, sells, spec.choice)
        return _compute(question)
    if not question.picks and (faults := named_faults(context, sells, spec.choice)):
        raise InvalidRequest(faults)
    try:
        return _compute(question)
    except ProblemError as error:
        changed = f"plan {spec.rebalance_id} was made from other lots than portfolio {context.portfolio_id} has now"
        raise NotReady(f"{changed}: {error}") from None


def _compute(question: _Question) -> TaxPreview:
    context, sells, buys, choice = question.context, question.sells, question.buys, question.spec.choice
    picks = question.picks or choose_lots(context, choice, sells, buys)
    return TaxPreview(
        portfolio_id=context.portfolio_id,
        chosen=settle_trades(context, context.lot_method(choice), picks, sells, buys),
        alternatives=compare_methods(context, sells, buys),
        pricing_pack_id="" if question.pack is None else question.pack.id,
    )


async def _find_plan(connection: Connection, rebalance_id: str) -> tuple[str, _Plan]:
    """The portfolio of a plan, and the plan."""
    stored = await RebalanceRepository(connection).find(rebalance_id)
    if stored.result is None:
        raise NotReady(f"plan {rebalance_id} is {stored.request.status} and has no trades")
    trades = [json_format.ParseDict(trade, trade_pb2.Trade()) for trade in stored.result.trades]
    tax = json_format.ParseDict(stored.result.details.get("tax", {}), trade_pb2.TaxEstimate())
    picks: dict[str, tuple[tuple[str, Decimal], ...]] = {}
    for sale in tax.sales:
        picks[sale.instrument_id] = (*picks.get(sale.instrument_id, ()), (sale.lot_id, Decimal(sale.quantity)))
    pack_id = stored.request.pricing_pack_id or ""
    sold_on = date.fromisoformat(tax.sale_date) if tax.sale_date else None
    method = lot_method_of(tax.lot_method)
    return stored.request.portfolio_id, _Plan(tuple(trades), pack_id, method, picks, sold_on)


async def _pack(connection: Connection, spec: PreviewSpec, plan: _Plan | None) -> PricingPack | None:
    """The prices; None where the request has all of them and the day."""
    packs = PricingPackRepository(connection)
    if named := spec.pricing_pack_id or (plan.pricing_pack_id if plan is not None else ""):
        return await packs.find(named)
    if spec.sale_date is not None and all(sale.price is not None for sale in spec.sales):
        return None
    return await packs.latest([sale.instrument_id for sale in spec.sales])


async def _trades(
    connection: Connection, spec: PreviewSpec, plan: _Plan | None, pack: PricingPack | None
) -> tuple[tuple[Traded, ...], tuple[Traded, ...]]:
    """Sales and purchases with their prices."""
    if plan is None:
        wanted = [sale.instrument_id for sale in spec.sales if sale.price is None]
        closes = await _closes(connection, pack, wanted)
        sells = tuple(
            Traded(sale.instrument_id, sale.quantity, sale.price or closes[sale.instrument_id]) for sale in spec.sales
        )
        return sells, ()
    repriced = [trade.instrument_id for trade in plan.trades] if spec.pricing_pack_id else []
    closes = await _closes(connection, pack, repriced)
    traded = [
        Traded(
            trade.instrument_id,
            Decimal(trade.exact_quantity),
            closes.get(trade.instrument_id) or Decimal(trade.price_amount),
            Decimal(trade.transaction_cost_amount or "0"),
        )
        for trade in plan.trades
    ]
    pairs = list(zip(plan.trades, traded, strict=True))
    sells = tuple(found for trade, found in pairs if trade.action != _BUY)
    return sells, tuple(found for trade, found in pairs if trade.action == _BUY)


async def _closes(connection: Connection, pack: PricingPack | None, names: Sequence[str]) -> Mapping[str, Decimal]:
    """The last prices of a pack, as the shortest decimals that are the stored numbers.

    Raises:
        InvalidRequest: It has none of some of them.
    """
    if pack is None or not names:
        return {}
    closes = await PricingPackRepository(connection).last_closes(pack.id, names)
    if missing := _not_in(names, closes):
        raise InvalidRequest([Fault("pricing_pack_id", f"{pack.id} has no price of {listed(missing)}")])
    return {name: Decimal(repr(close)) for name, close in closes.items()}


def _not_in(names: Iterable[str], closes: Mapping[str, float]) -> list[str]:
    return sorted(name for name in names if name not in closes)
