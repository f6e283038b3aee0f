"""The books of a portfolio after executions: cash, holdings, lots, transactions and the gains of the year."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby

from portfolio_optimization.v1 import trade_pb2

from kernel.errors import ProblemError
from kernel.rebalancing.lots import GainRates, LotMethod, Term
from kernel.rebalancing.money import ZERO
from server.convert.accounts import with_realized
from server.errors import Fault, InvalidRequest
from server.households import load_household, store_household
from server.plan_changes import LockedPlan
from server.plan_ledger import Ledger, LedgerRules, PlannedLot, add_gains, left_of_plan
from server.plan_positions import Position, after_execution, position_of, replay
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
    position, done = position_of(plan.portfolio), list(known)
    chosen = (await plan.made()).tax.sales
    gains: dict[str, dict[Term, Decimal]] = {}
    for day, of_day in groupby(fills, key=lambda fill: fill.traded_on):
        loaded = await load_household(connection, plan.portfolio.id, day)
        rates = GainRates(plan.portfolio.short_term_tax_rate, plan.portfolio.long_term_tax_rate)
        terms = LedgerRules(loaded.rules, loaded.policies, LotMethod(plan.portfolio.lot_method), rates)
        ledger = Ledger(plan.portfolio.id, loaded.household, terms)
        for fill in of_day:
            _enter(ledger, plan.portfolio, position, _planned(chosen, done, fill), fill)
            position = after_execution(position, fill)
            done.append(fill)
        await TransactionRepository(connection).append(ledger.transactions)
        await store_household(connection, loaded, ledger.household, ledger.matches)
        add_gains(gains, ledger.gains)
    after = replay(position_of(plan.portfolio), executions)
    return await _store(connection, plan, after, gains)


def _enter(
    ledger: Ledger, portfolio: Portfolio, position: Position, planned: Sequence[PlannedLot], fill: PlanExecution
) -> None:
    held = position.quantities.get(fill.instrument_id, ZERO)
    if fill.action == "sell" and fill.quantity > held and not portfolio.account.get(_SHORTING):
        raise _refusal(fill, f"portfolio {portfolio.id} holds {held:f}, fewer than the {fill.quantity:f} sold")
    try:
        ledger.enter(fill, held, planned)
    except ProblemError as error:
        raise _refusal(fill, f"{error.field} {error.reason}") from error


def _refusal(fill: PlanExecution, reason: str) -> InvalidRequest:
    text = f"{fill.action} of {fill.quantity:f} {fill.instrument_id} in execution {fill.execution_id}: {reason}"
    return InvalidRequest([Fault("reports.quantity", text)])


def _planned(
    chosen: Iterable[trade_pb2.TaxLotSale], done: Sequence[PlanExecution], fill: PlanExecution
) -> tuple[PlannedLot, ...]:
    """The lots that the plan chose for a sale, without those that went with earlier fills."""
    own = [
        PlannedLot(sale.lot_id, Decimal(sale.quantity)) for sale in chosen if sale.instrument_id == fill.instrument_id
    ]
    key = (fill.instrument_id, "sell")
    return left_of_plan(own, sum((one.quantity for one in done if (one.instrument_id, one.action) == key), ZERO))


async def _store(
    connection: Connection, plan: LockedPlan, after: Position, gains: Mapping[str, Mapping[Term, Decimal]]
) -> Portfolio:
    repository = PortfolioRepository(connection)
    names = sorted({plan.portfolio.id, *gains})
    for portfolio in await repository.find_all(names):
        of_account = gains.get(portfolio.id, {})
        account = with_realized(portfolio.account, of_account.get(Term.SHORT, ZERO), of_account.get(Term.LONG, ZERO))
        changed = replace(portfolio, account=account, updated_at=plan.now)
        if portfolio.id == plan.portfolio.id:
            holdings = tuple(Holding(name, held) for name, held in sorted(after.quantities.items()))
            changed = replace(changed, cash=after.cash, holdings=holdings)
        await repository.put(changed)
    return await repository.find(plan.portfolio.id)
