"""Purchases outside of the service that replace shares which it sold at a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from kernel.rebalancing.household import RealizedLoss, WashMatch
from kernel.rebalancing.lots import GainRates, LotMethod
from kernel.rebalancing.wash_sales import AccountPurchase, record_purchase
from server.households import LoadedHousehold, load_household, rules_of, store_household, tax_settings
from server.plans.books import with_gains
from server.plans.ledger import Ledger, LedgerRules
from server.plans.remainders import as_stored, executed_losses
from server.tax_history import window_of
from storage.database import Connection
from storage.errors import NotFound
from storage.portfolios import PortfolioRepository
from storage.records import Portfolio, TaxLot, Transaction, utc_now
from storage.transactions import TransactionRepository


@dataclass(slots=True)
class OutsideWashSales:
    """What purchases outside of the service mean for losses of its own executions.

    Attributes:
        booked: Matches that are settled: the loss is taken back in its account, the lot has taken it over.
        pending: Matches of purchases whose lot is not there yet; they are settled when it is put.
    """

    booked: list[WashMatch] = field(default_factory=list)
    pending: list[WashMatch] = field(default_factory=list)


async def settle_purchases(
    connection: Connection, portfolio_id: str, purchases: Sequence[Transaction]
) -> OutsideWashSales:
    """Settle wash sales of purchases in a portfolio with losses that the service has executed in its household.

    What is settled once is not settled again.

    Args:
        connection: Of the transaction in which all accounts of the household are locked.
        portfolio_id: The portfolio.
        purchases: Its purchases outside of the service.

    Returns:
        The wash sales.

    Raises:
        NotReady: The settings of an account of the household are not what the contract says.
    """
    found = OutsideWashSales()
    repository = PortfolioRepository(connection)
    pending: dict[tuple[str, str], RealizedLoss] = {}
    for day, rows in (await _near_losses(connection, portfolio_id, purchases)).items():
        portfolio = await repository.find(portfolio_id)
        loaded = await load_household(connection, portfolio_id, day)
        used = await _settled_lots(connection, loaded, portfolio_id, day)
        lots = {lot.id: lot for lot in portfolio.lots if lot.acquired_on == day}
        fresh = {name for name, lot in lots.items() if _is_fresh(lot, rows) and name not in used}
        found.booked += await _book(connection, portfolio, loaded, day, fresh)
        missing = [row for row in rows if not any(_is_of(lot, row) for lot in lots.values()) and _name(row) not in used]
        if missing:
            for loss in await executed_losses(connection, loaded, day):
                pending.setdefault((loss.account_id, loss.sale_id), loss)
            found.pending += _expect(loaded, missing, pending)
    return found


async def settle_after_put(connection: Connection, portfolio_id: str) -> OutsideWashSales:
    """The same for the lots of a portfolio that was put, with the purchases that are recorded of it.

    Args:
        connection: Of the transaction in which all accounts of the household are locked.
        portfolio_id: The portfolio.

    Raises:
        NotReady: The settings of an account of the household are not what the contract says.
    """
    portfolio = await PortfolioRepository(connection).find(portfolio_id)
    days = [lot.acquired_on for lot in portfolio.lots if lot.acquired_on is not None and not lot.replaced_loss]
    if not days:
        return OutsideWashSales()
    rows = await TransactionRepository(connection).between([portfolio_id], min(days), max(days))
    held = set(days)
    return await settle_purchases(
        connection, portfolio_id, [row for row in rows if row.traded_on in held and _is_outside_purchase(row)]
    )


def _is_outside_purchase(row: Transaction) -> bool:
    return row.action == "buy" and row.rebalance_id is None


async def _near_losses(
    connection: Connection, portfolio_id: str, purchases: Iterable[Transaction]
) -> Mapping[date, list[Transaction]]:
    """Purchases by day, those around executed losses of the household alone."""
    rows = sorted((row for row in purchases if _is_outside_purchase(row)), key=lambda row: row.traded_on)
    if not rows:
        return {}
    repository = PortfolioRepository(connection)
    jurisdiction = tax_settings(await repository.find(portfolio_id)).jurisdiction
    try:
        rules = await rules_of(connection, jurisdiction, rows[-1].traded_on)
    except NotFound:
        # Without rules of the day there are no executions of it.
        return {}
    window = timedelta(days=rules.wash_sale_days)
    sales = await TransactionRepository(connection).between(
        await repository.household(portfolio_id), rows[0].traded_on - window, rows[-1].traded_on + window
    )
    sold = {row.traded_on for row in sales if row.action == "sell" and row.rebalance_id is not None}
    found: dict[date, list[Transaction]] = {}
    for row in rows:
        if any(abs(row.traded_on - day) <= window for day in sold):
            found.setdefault(row.traded_on, []).append(row)
    return found


async def _settled_lots(connection: Connection, loaded: LoadedHousehold, portfolio_id: str, day: date) -> set[str]:
    """Lots of a portfolio that have replaced shares in settled wash sales."""
    ids = [portfolio.id for portfolio in loaded.portfolios]
    matches = await TransactionRepository(connection).matches(ids, *window_of(day, loaded.rules))
    return {match.replacement_lot_id for match in matches if match.replacement_portfolio_id == portfolio_id}


def _is_fresh(lot: TaxLot, rows: Iterable[Transaction]) -> bool:
    """Whether a lot is one of the purchases and has taken over no loss yet."""
    is_known = lot.quantity > 0 and lot.cost_per_share is not None and not lot.replaced_loss
    return is_known and any(_is_of(lot, row) for row in rows)


def _is_of(lot: TaxLot, row: Transaction) -> bool:
    return lot.instrument_id == row.instrument_id and row.lot_id in (None, lot.id)


def _name(row: Transaction) -> str:
    return row.lot_id or row.id


async def _book(
    connection: Connection, portfolio: Portfolio, loaded: LoadedHousehold, day: date, lots: set[str]
) -> Sequence[WashMatch]:
    losses = await executed_losses(connection, loaded, day) if lots else ()
    if not losses:
        return ()
    before = replace(loaded, household=as_stored(loaded, portfolio.id, lots))
    rates = GainRates(portfolio.short_term_tax_rate, portfolio.long_term_tax_rate)
    terms = LedgerRules(loaded.rules, loaded.policies, LotMethod(portfolio.lot_method), rates)
    ledger = Ledger(portfolio.id, before.household, terms)
    known = max(day, *(loss.sold_on for loss in losses))
    ledger.replace_losses(known, losses, lots)
    if not ledger.matches:
        return ()
    repository = PortfolioRepository(connection)
    await store_household(connection, before, ledger.household, ledger.matches)
    for account in await repository.find_all(sorted({*ledger.gains, *ledger.amended})):
        changed = await with_gains(connection, account, [(known, ledger)])
        await repository.put(replace(changed, updated_at=utc_now()))
    return ledger.matches


def _expect(
    loaded: LoadedHousehold, rows: Iterable[Transaction], losses: dict[tuple[str, str], RealizedLoss]
) -> Iterable[WashMatch]:
    """What purchases without a lot replace; `losses` keeps what is left."""
    household = replace(loaded.household, lots=(), sold=(), losses=tuple(losses.values()))
    for row in rows:
        cost = (row.quantity * row.price + row.cost) / row.quantity
        bought = AccountPurchase(row.portfolio_id, _name(row), row.instrument_id, row.quantity, cost, row.traded_on)
        household, matches = record_purchase(replace(household, lots=()), bought, loaded.rules, loaded.policies)
        yield from (replace(match, lot_id=row.lot_id or "") for match in matches)
    losses.clear()
    losses.update({(loss.account_id, loss.sale_id): loss for loss in household.losses})
