"""The books of a portfolio after executions: cash, holdings, lots, transactions and the gains of the year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import NetGains
from server.convert.accounts import with_figures
from server.errors import Fault, InvalidRequest, NotReady
from server.households import LoadedHousehold, load_household, store_household, tax_settings
from server.plans.changes import LockedPlan
from server.plans.ledger import Ledger, LedgerRules, net_of
from server.plans.positions import Position, after_execution, position_of, replay
from server.plans.remainders import StillSold, as_stored, executed_losses, sales_are_closed, still_sold
from server.plans.trade_days import trade_day
from server.tax_figures import figures_after
from storage.database import Connection
from storage.plan_records import PlanExecution
from storage.portfolios import PortfolioRepository
from storage.records import Holding, Portfolio
from storage.transactions import TransactionRepository

_SHORTING = "shorting_enabled"


async def enter_fills(
    connection: Connection, plan: LockedPlan, known: Sequence[PlanExecution], executions: Sequence[PlanExecution]
) -> Portfolio:
    """Enter executions into the books of the portfolio and its household.

    Args:
        connection: Of the transaction in which all accounts of the household are locked.
        plan: The plan.
        known: What was entered before.
        executions: What is new; reports without shares change the cash by their costs only.

    Returns:
        The portfolio as it is stored now.

    Raises:
        InvalidRequest: More was sold than is held.
    """
    fills = sorted((fill for fill in executions if fill.quantity), key=lambda fill: fill.traded_on)
    ended = [execution for execution in executions if not execution.quantity]
    position, done, made = position_of(plan.portfolio), list(known), await plan.made()
    entered: list[tuple[date, Ledger]] = []
    for day, of_day in groupby(fills, key=lambda fill: fill.traded_on):
        # What was to be sold with losses of the days before is held after them.
        entered += await _settle_kept(connection, plan, day, after_day=False)
        loaded = await load_household(connection, plan.portfolio.id, day, members=plan.members)
        household = loaded.household
        if await executed_losses(connection, loaded, day, plan.state.rebalance_id):
            # Losses of earlier fills are no sign that what the plan still sells has replaced them.
            household = as_stored(loaded, plan.portfolio.id, {sale.lot_id for sale in made.tax.sales})
        ledger = Ledger(plan.portfolio.id, household, _terms(plan.portfolio, loaded))
        for fill in of_day:
            coming = [*fills[len(done) - len(known) + 1 :], *ended]
            _enter(ledger, plan.portfolio, position, fill, still_sold(made, done, fill, coming))
            position = after_execution(position, fill)
            done.append(fill)
        await TransactionRepository(connection).append(ledger.transactions)
        await store_household(connection, loaded, ledger.household, ledger.matches)
        entered.append((day, ledger))
    if sales_are_closed(made, [*known, *executions]):
        last = max(execution.traded_on for execution in executions)
        entered += await _settle_kept(connection, plan, last, after_day=True)
    after = replay(position_of(plan.portfolio), executions)
    return await _store(connection, plan, after, entered)


async def close_books(connection: Connection, plan: LockedPlan) -> Portfolio:
    """Settle what depends on sales that a plan has not made, as it makes none any more.

    Args:
        connection: Of the transaction in which all accounts of the household are locked.
        plan: The plan, cancelled after executions.

    Returns:
        The portfolio as it is stored now.
    """
    day = await trade_day(plan.portfolio, plan.now)
    settled = await _settle_kept(connection, plan, day, after_day=True)
    return await _store(connection, plan, position_of(plan.portfolio), settled) if settled else plan.portfolio


async def _settle_kept(
    connection: Connection, plan: LockedPlan, day: date, *, after_day: bool
) -> list[tuple[date, Ledger]]:
    """Matches losses of the plan's sales with shares that it was to sell on the same day and that are held still.

    Losses of the day itself count once the day's sales are made.
    """
    names = {sale.lot_id for sale in (await plan.made()).tax.sales}
    loaded = await load_household(connection, plan.portfolio.id, day, members=plan.members)
    losses = [
        loss
        for loss in await executed_losses(connection, loaded, day, plan.state.rebalance_id)
        if after_day or loss.sold_on < day
    ]
    if not losses:
        return []
    before = replace(loaded, household=as_stored(loaded, plan.portfolio.id, names))
    ledger = Ledger(plan.portfolio.id, before.household, _terms(plan.portfolio, loaded))
    ledger.replace_losses(day, losses, names)
    await store_household(connection, before, ledger.household, ledger.matches)
    return [(day, ledger)]


def _terms(portfolio: Portfolio, loaded: LoadedHousehold) -> LedgerRules:
    rates = GainRates(portfolio.short_term_tax_rate, portfolio.long_term_tax_rate)
    return LedgerRules(loaded.rules, loaded.policies, LotMethod(portfolio.lot_method), rates)


def _enter(ledger: Ledger, portfolio: Portfolio, position: Position, fill: PlanExecution, still: StillSold) -> None:
    held = position.quantities.get(fill.instrument_id, ZERO)
    if fill.action == "sell" and fill.quantity > held and not portfolio.account.get(_SHORTING):
        raise _refusal(fill, f"portfolio {portfolio.id} holds {held:f}, fewer than the {fill.quantity:f} sold")
    try:
        ledger.enter(fill, held, still.lots, still.others)
    except ProblemError as error:
        raise _refusal(fill, f"{error.field} {error.reason}") from error


def _refusal(fill: PlanExecution, reason: str) -> InvalidRequest:
    text = f"{fill.action} of {fill.quantity:f} {fill.instrument_id} in execution {fill.execution_id}: {reason}"
    return InvalidRequest([Fault("reports.quantity", text)])


async def _store(
    connection: Connection, plan: LockedPlan, after: Position, entered: Sequence[tuple[date, Ledger]]
) -> Portfolio:
    repository = PortfolioRepository(connection)
    names = sorted({plan.portfolio.id}.union(*((*ledger.gains, *ledger.amended) for _, ledger in entered)))
    for portfolio in await repository.find_all(names):
        changed = replace(await with_gains(connection, portfolio, entered), updated_at=plan.now)
        if portfolio.id == plan.portfolio.id:
            holdings = tuple(Holding(name, held) for name, held in sorted(after.quantities.items()))
            changed = replace(changed, cash=after.cash, holdings=holdings)
        await repository.put(changed)
    return await repository.find(plan.portfolio.id)


async def with_gains(connection: Connection, portfolio: Portfolio, entered: Sequence[tuple[date, Ledger]]) -> Portfolio:
    """The portfolio with what the fills of each day realised in it, in the figures of their year."""
    for day, ledger in entered:
        gains, earlier = net_of(ledger.gains, portfolio.id), net_of(ledger.amended, portfolio.id)
        if (gains, earlier) != (NetGains(), NetGains()):
            settings, rules = tax_settings(portfolio), ledger.terms.rules
            try:
                figures = await figures_after(connection, settings, rules, day.year, gains=gains, earlier=earlier)
            except (ArithmeticError, ValueError) as error:
                raise NotReady(f"tax settings of portfolio {portfolio.id}: store them again: {error}") from None
            portfolio = replace(portfolio, account=with_figures(portfolio.account, figures))
    return portfolio
