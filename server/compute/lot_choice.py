"""Which lots sales take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.lots import LotMethod, LotSale, Sale, TaxLot, select_lots, select_specific
from server.compute.lot_exchange import Outcome, Pick, exchange_lots
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import Picks, TaxedTrades, settle_trades, touching
from server.rebalance_specs import TaxChoice

_ALTERNATIVES = (LotMethod.FIFO, LotMethod.HIFO)
# Where the tax after netting is the same, the first is taken.
_ORDERS = (LotMethod.LEAST_TAX, LotMethod.AVOID_SHORT_TERM, LotMethod.HIFO, LotMethod.FIFO, LotMethod.LIFO)
# Lots of a single sale up to which they are exchanged one by one.
_MOST_EXCHANGED = 12
# Where there are more sales, orders are compared for all of them at once only.
_MOST_COMPARED = 20


def named_lots(context: TaxContext, named: Mapping[str, Decimal | None]) -> dict[str, dict[str, Decimal]]:
    """The lots that a request names, by instrument, in its order; a missing quantity is all of the lot.

    Raises:
        ProblemError: A lot is not there, or holds fewer shares.
    """
    known = {lot.lot_id: (name, lot) for name, lots in context.lots.items() for lot in lots}
    found: dict[str, dict[str, Decimal]] = {}
    for lot_id, quantity in named.items():
        at = f"specific_lots[{lot_id}]"
        if lot_id not in known:
            raise ProblemError(at, f"is not a lot of portfolio {context.portfolio_id}")
        name, lot = known[lot_id]
        if quantity is not None and quantity > lot.quantity:
            raise ProblemError(
                at, f"must be at most the {lot.quantity:f} shares of {name} in the lot, not {quantity:f}"
            )
        found.setdefault(name, {})[lot_id] = lot.quantity if quantity is None else quantity
    return found


def compare_methods(context: TaxContext, sells: Sequence[Traded], buys: Sequence[Traded]) -> tuple[TaxedTrades, ...]:
    """The same trades under FIFO and HIFO."""
    return tuple(
        settle_trades(context, method, _ordered_lots(context, sells, method), sells, buys) for method in _ALTERNATIVES
    )


def choose_lots(context: TaxContext, choice: TaxChoice, sells: Sequence[Traded], buys: Sequence[Traded]) -> Picks:
    """The lots that sales take.

    SPECIFIC takes the lots named, in their order, and the oldest where none of an instrument is named. LEAST_TAX takes,
    of several orders, those whose tax is the least after netting and wash sales; the orders are compared for all sales
    together, and then sale by sale where they are few. Of a single sale from few lots, shares of one lot are exchanged
    for those of another from there on, while that lowers the tax.

    Raises:
        ProblemError: The lots hold fewer shares than are sold, or one that is named is not there.
    """
    method = context.lot_method(choice)
    if method is LotMethod.LEAST_TAX and context.is_taxed and not context.retirement:
        return _least_tax(context, sells, buys)
    if method is not LotMethod.SPECIFIC:
        return _ordered_lots(context, sells, method)
    named, lots = named_lots(context, choice.specific), context.lots
    oldest = _ordered_lots(context, [sell for sell in sells if sell.instrument_id not in named], LotMethod.FIFO)
    picked = {
        name: _as_pick(select_specific(_available(lots[name], context), _sale(sell, context), named[name]))
        for sell in sells
        if (name := sell.instrument_id) in named
    }
    return {**oldest, **picked}


def _ordered_lots(context: TaxContext, sells: Iterable[Traded], method: LotMethod) -> Picks:
    order = LotMethod.FIFO if method is LotMethod.SPECIFIC else method
    lots, rates = context.lots, context.terms.rates
    return {
        name: _as_pick(select_lots(_available(lots.get(name, ()), context), _sale(sell, context), order, rates))
        for sell in sells
        if (name := sell.instrument_id)
    }


def _as_pick(sales: Iterable[LotSale]) -> tuple[tuple[str, Decimal], ...]:
    return tuple((sale.lot.lot_id, sale.quantity) for sale in sales)


def _available(lots: Iterable[TaxLot], context: TaxContext) -> list[TaxLot]:
    """The lots that are there on the day; those bought later only replace."""
    return [lot for lot in lots if lot.acquired_on <= context.sold_on]


def _sale(sell: Traded, context: TaxContext) -> Sale:
    return Sale(sell.quantity, sell.proceeds_per_share, context.sold_on, context.rules.long_term_months)


def _least_tax(context: TaxContext, sells: Sequence[Traded], buys: Sequence[Traded]) -> Picks:
    near = _near(context, (*sells, *buys))

    def tax(picks: Picks) -> Decimal:
        return settle_trades(near, LotMethod.LEAST_TAX, picks, sells, buys).tax.additional_tax

    orders = [_ordered_lots(context, sells, method) for method in _ORDERS]
    if len(sells) == 1 and len(context.lots[sells[0].instrument_id]) <= _MOST_EXCHANGED:
        orders += _exchanged(near, sells[0], buys, orders)
    best = min(orders, key=tax)
    if len(sells) > _MOST_COMPARED:
        return best
    least = tax(best)
    for sell in sells:
        name = sell.instrument_id
        for picks in orders:
            trial = {**best, name: picks[name]}
            if picks[name] != best[name] and (found := tax(trial)) < least:
                best, least = trial, found
    return best


def _exchanged(context: TaxContext, sell: Traded, buys: Sequence[Traded], orders: Iterable[Picks]) -> list[Picks]:
    name = sell.instrument_id

    def outcome(pick: Pick) -> Outcome:
        tax = settle_trades(context, LotMethod.LEAST_TAX, {name: pick}, [sell], buys).tax
        return tax.additional_tax, tax.after.gains

    lots = _available(context.lots[name], context)
    starts = dict.fromkeys(picks[name] for picks in orders)
    return [{name: exchange_lots(context, sell, lots, pick, outcome)} for pick in starts]


def _near(context: TaxContext, trades: Iterable[Traded]) -> TaxContext:
    """The context with only what trades can touch."""
    household = context.household
    names = frozenset[str]().union(*(touching(household, trade.instrument_id) for trade in trades))
    kept = replace(
        household,
        lots=tuple(held for held in household.lots if held.instrument_id in names),
        losses=tuple(loss for loss in household.losses if loss.instrument_id in names),
        sold=tuple(sold for sold in household.sold if sold.instrument_id in names),
    )
    return replace(context, household=kept)
