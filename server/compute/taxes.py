"""Tax of rebalance plans: what the search for trades knows of it, and what it makes of the trades found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import sqrt

from kernel.rebalancing.lot_advice import WaitAdvice, wait_or_sell
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.request import TradeTax
from kernel.rebalancing.trades import TradeAction, TradePlan
from kernel.rebalancing.wash_exposure import PurchaseLock, purchase_locks, wash_exposure
from server.compute.lot_choice import choose_lots, compare_methods, named_lots
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import TaxedTrades, settle_trades
from server.rebalance_specs import TaxChoice

# Lots that become long-term later are not worth a remark.
_ADVICE_DAYS = 60
_DAYS_OF_YEAR = 365


@dataclass(frozen=True, slots=True)
class LotToWaitFor:
    """A lot that becomes long-term soon.

    Attributes:
        advice: From when, and what waiting saves.
        risk: Volatility of its value until then, money.
        sold: Whether the plan sells from it.
    """

    instrument_id: str
    lot_id: str
    advice: WaitAdvice
    risk: Decimal
    sold: bool


@dataclass(frozen=True, slots=True)
class TaxAssessment:
    """What a plan means for tax.

    Attributes:
        chosen: Under the plan's own choice of lots.
        alternatives: The same trades under FIFO and HIFO.
        locks: What should not be bought after the plan until a day.
        lots_to_wait_for: Lots at a gain that become long-term soon, first the soonest.
    """

    chosen: TaxedTrades
    alternatives: tuple[TaxedTrades, ...]
    locks: Mapping[str, PurchaseLock] = field(default_factory=dict)
    lots_to_wait_for: tuple[LotToWaitFor, ...] = ()


def trade_tax(context: TaxContext, choice: TaxChoice, instruments: Iterable[str]) -> TradeTax | None:
    """What the search for trades knows of tax.

    Args:
        context: The account.
        choice: Of the request.
        instruments: What may be traded.

    Returns:
        None for a retirement account whose purchases replace no loss of the household.

    Raises:
        ProblemError: A lot that is named is not there, or holds fewer shares.
    """
    names = sorted(instruments)
    wash = wash_exposure(
        context.household, context.portfolio_id, context.sold_on, names, context.rules, policies=context.policies
    )
    if context.retirement:
        # Its own sales at a loss need no replacement to mean nothing.
        wash = {name: replace(met, identical=frozenset()) for name, met in wash.items() if met.open_losses}
        if not wash:
            return None
    return TradeTax(
        lots=context.lots,
        rules=context.terms,
        year_to_date=context.year_to_date,
        sold_on=context.sold_on,
        long_term_months=context.rules.long_term_months,
        method=context.lot_method(choice),
        weight=choice.weight if choice.considered and not context.retirement else ZERO,
        wash=wash,
        # Without rates a wash sale costs nothing, and there is none to avoid.
        price_wash_sales=choice.price_wash_sales or not (context.is_taxed or context.retirement),
        avoid_short_term_gains=choice.avoid_short_term_gains and not context.retirement,
        harvest_losses=choice.harvest_losses and not context.retirement,
        specific=named_lots(context, choice.specific),
    )


def assess(
    context: TaxContext,
    choice: TaxChoice,
    plan: TradePlan,
    prices: Mapping[str, Decimal],
    volatilities: Mapping[str, float],
) -> TaxAssessment:
    """What a plan means for tax. Instruments without lots are sold without tax.

    Args:
        context: The account.
        choice: Of the request.
        plan: Trades, and the lots that the search chose.
        prices: Money per share of what is held.
        volatilities: Annual, by instrument; those not named have none.

    Returns:
        The assessment.
    """
    lots = context.lots
    sells = [trade for trade in _traded(plan, TradeAction.SELL) if trade.instrument_id in lots]
    buys = list(_traded(plan, TradeAction.BUY))
    method = context.lot_method(choice)
    searched = {
        name: tuple((sale.lot.lot_id, sale.quantity) for sale in sales)
        for name, sales in plan.lot_sales.items()
        if sales
    }
    left = [sell for sell in sells if sell.instrument_id not in searched]
    picks = {**choose_lots(context, choice, left, buys), **searched}
    chosen = settle_trades(context, method, picks, sells, buys)
    sold = frozenset((sale.instrument_id, sale.lot_id) for sale in chosen.sales)
    waiting = _lots_to_wait_for(context, prices, volatilities, sold)
    after = replace(context.household, lots=(), sold=(), losses=chosen.losses)
    return TaxAssessment(
        chosen=chosen,
        alternatives=compare_methods(context, sells, buys),
        locks=purchase_locks(after, context.sold_on, context.rules),
        lots_to_wait_for=tuple(
            sorted(waiting, key=lambda lot: (lot.advice.days_to_wait, lot.instrument_id, lot.lot_id))
        ),
    )


def _traded(plan: TradePlan, action: TradeAction) -> Iterator[Traded]:
    return (Traded(t.instrument_id, t.quantity, t.price) for t in plan.trades if t.action is action)


def _lots_to_wait_for(
    context: TaxContext,
    prices: Mapping[str, Decimal],
    volatilities: Mapping[str, float],
    sold: frozenset[tuple[str, str]],
) -> Iterator[LotToWaitFor]:
    """Lots whose gain is taxed less soon."""
    if context.retirement:
        return
    for name, lots in context.lots.items():
        for lot in lots if name in prices else ():
            advice = wait_or_sell(
                lot, prices[name], context.sold_on, context.terms.rates, context.rules.long_term_months
            )
            if advice is not None and advice.days_to_wait <= _ADVICE_DAYS and to_cents(advice.tax_saved) > 0:
                spread = volatilities.get(name, 0.0) * sqrt(advice.days_to_wait / _DAYS_OF_YEAR)
                risk = to_cents(lot.quantity * prices[name] * Decimal(repr(spread)))
                yield LotToWaitFor(name, lot.lot_id, advice, risk, sold=(name, lot.lot_id) in sold)
