"""Trades of the household that came after a plan was made and change what its tax was computed from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from portfolio_optimization.v1 import rebalancing_pb2 as pb

from server.households import is_retirement, load_household, rules_of, tax_settings
from server.plans.exposure import day_of, exposed_trades, exposure_of, growth
from storage.database import Connection
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.plan_records import LaterTrades, PlanState
from storage.plans import PlanRepository
from storage.portfolios import PortfolioRepository
from storage.records import Portfolio


async def later_wash_sale(
    connection: Connection, state: PlanState, portfolio: Portfolio, plan: pb.RebalancePlanResponse
) -> str:
    """Why a trade of the household after the plan was made is a wash sale with one of the plan's own.

    Args:
        connection: Of the transaction.
        state: The plan.
        portfolio: Its portfolio.
        plan: Its trades, and the gains of its sales.

    Returns:
        One sentence that names the trade: a purchase of what the plan sells at a loss, or a sale at a loss of what it
        buys; empty where there is none.

    Raises:
        NotFound, NotReady: The portfolio names tax rules that nobody knows, or that do not hold on the day.
    """
    bought = {trade.instrument_id for trade in plan.trades if trade.action == "buy"}
    losses = {sale.instrument_id for sale in plan.tax.sales if Decimal(sale.gain_amount or "0") < 0}
    if is_retirement(portfolio):
        losses = set()
    # Days are counted from the making of the plan: only trades within the window around it matter.
    day = state.created_at.date()
    rules = await rules_of(connection, tax_settings(portfolio).jurisdiction, day)
    wanted = LaterTrades(
        portfolio_ids=await PortfolioRepository(connection).household(portfolio.id),
        after=state.last_transaction,
        since=day - timedelta(days=rules.wash_sale_days),
        sold_at_loss=await _with_identical(connection, bought),
        bought=await _with_identical(connection, losses),
    )
    trade = await PlanRepository(connection).first_later_trade(wanted)
    if trade is None:
        return ""
    what = "was bought, and the plan sells it or its like at a loss"
    if trade.action == "sell":
        what = "was sold at a loss, and the plan buys it or its like"
    return (
        f"{trade.instrument_id} {what}: portfolio {trade.portfolio_id}, transaction {trade.id} of "
        f"{trade.traded_on.isoformat()}, recorded after the plan was made, is a wash sale with it"
    )


async def worse_exposure(
    connection: Connection, state: PlanState, portfolio: Portfolio, plan: pb.RebalancePlanResponse
) -> str:
    """Why the plan's trades meet more in the household's wash-sale window than when it was made.

    Other accounts can be put without a word of their trades, and instruments can become identical.

    Args:
        connection: Of the transaction.
        state: The plan.
        portfolio: Its portfolio.
        plan: Its trades, and the gains of its sales.

    Returns:
        One sentence that names instrument and account; empty where nothing is worse.

    Raises:
        NotFound, NotReady: Tax rules or accounts of the household are not what the contract says.
    """
    if state.exposure is None:
        return ""
    day = day_of(state.exposure)
    trades = exposed_trades(plan, portfolio.id, day)
    if not trades.losses and not trades.bought:
        return ""
    loaded = await load_household(connection, portfolio.id, day, portfolio)
    reason = growth(state.exposure, exposure_of(loaded.household, trades, loaded.rules))
    return f"what the household holds has changed: {reason}" if reason else ""


async def _with_identical(connection: Connection, names: Iterable[str]) -> tuple[str, ...]:
    """The instruments and all that are substantially identical to them."""
    own = set(names)
    pairs = await IdenticalInstrumentRepository(connection).pairs(own)
    return tuple(sorted(own.union(*pairs)))
