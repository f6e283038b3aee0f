"""Tax of rebalance plans: what the search for trades knows of it, and what it makes of the trades found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from math import sqrt

from kernel.rebalancing.household import RealizedLoss
from kernel.rebalancing.lot_advice import WaitAdvice, wait_or_sell
from kernel.rebalancing.lots import first_date_beyond
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.request import TradeTax
from kernel.rebalancing.trades import TradeAction, TradePlan
from kernel.rebalancing.wash_exposure import PurchaseLock, purchase_locks, wash_exposure
from server.compute.lot_choice import choose_lots, compare_methods, named_lots
from server.compute.tax_context import TaxContext, Traded
from server.compute.taxed_trades import TaxedTrades, is_planned, settle_trades
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
class SlicedLot:
    """A lot that the first slices of a sale find short-term and the last ones long-term.

    Attributes:
        instrument_id: What is sold.
        lot_id: From which lot.
        long_term_from: First day on which a sale from it is long-term.
        last_day: Day of the last slice.
    """

    instrument_id: str
    lot_id: str
    long_term_from: date
    last_day: date


@dataclass(frozen=True, slots=True)
class TaxAssessment:
    """What a plan means for tax.

    Attributes:
        chosen: Under the plan's own choice of lots.
        alternatives: The same trades under FIFO and HIFO.
        locks: What should not be bought after the plan until a day.
        lots_to_wait_for: Lots at a gain that become long-term soon, first the soonest.
        sliced: Lots sold that become long-term between the first slice and the last.
    """

    chosen: TaxedTrades
    alternatives: tuple[TaxedTrades, ...]
    locks: Mapping[str, PurchaseLock] = field(default_factory=dict)
    lots_to_wait_for: tuple[LotToWaitFor, ...] = ()
    sliced: tuple[SlicedLot, ...] = ()


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
    *,
    last_days: Mapping[str, date] | None = None,
) -> TaxAssessment:
    """What a plan means for tax. Instruments without lots are sold without tax.

    Args:
        context: The account.
        choice: Of the request.
        plan: Trades, and the lots that the search chose.
        prices: Money per share of what is held.
        volatilities: Annual, by instrument; those not named have none.
        last_days: Day of the last slice of a trade, by instrument: the window of its loss ends that much later.

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
    return TaxAssessment(
        chosen=chosen,
        alternatives=compare_methods(context, sells, buys),
        locks=_locks(context, chosen.losses, last_days or {}),
        sliced=tuple(_sliced(context, chosen, last_days or {})),
        lots_to_wait_for=tuple(
            sorted(waiting, key=lambda lot: (lot.advice.days_to_wait, lot.instrument_id, lot.lot_id))
        ),
    )


def _locks(
    context: TaxContext, losses: Iterable[RealizedLoss], last_days: Mapping[str, date]
) -> dict[str, PurchaseLock]:
    """Until when losses lock purchases, those of the plan from the last slice of their sale on."""
    by_day: dict[date, list[RealizedLoss]] = {}
    for loss in losses:
        planned = is_planned(loss.sale_id)
        day = last_days.get(loss.instrument_id, context.sold_on) if planned else context.sold_on
        by_day.setdefault(day, []).append(replace(loss, sold_on=day) if planned else loss)
    locks: dict[str, PurchaseLock] = {}
    for day, of_day in by_day.items():
        household = replace(context.household, lots=(), sold=(), losses=tuple(of_day))
        for name, lock in purchase_locks(household, day, context.rules).items():
            known = locks.get(name, PurchaseLock(lock.until, ZERO))
            locks[name] = PurchaseLock(max(lock.until, known.until), lock.loss_at_risk + known.loss_at_risk)
    return dict(sorted(locks.items()))


def _sliced(context: TaxContext, chosen: TaxedTrades, last_days: Mapping[str, date]) -> Iterator[SlicedLot]:
    if context.retirement:
        return
    for sale in chosen.sales:
        long_term = first_date_beyond(sale.held_since or sale.acquired_on, context.rules.long_term_months)
        last = last_days.get(sale.instrument_id, context.sold_on)
        if sale.dated and context.sold_on < long_term <= last:
            yield SlicedLot(sale.instrument_id, sale.lot_id, long_term, last)


def _traded(plan: TradePlan, action: TradeAction) -> Iterator[Traded]:
    return (Traded(t.instrument_id, t.quantity, t.price, t.cost) for t in plan.trades if t.action is action)


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
