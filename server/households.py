"""Households as the wash-sale engine knows them, from storage and back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Context, Decimal

from portfolio_optimization.v1 import portfolio_data_pb2, taxes_pb2

from kernel.rebalancing.household import (
    Account,
    HoldingPeriod,
    Household,
    HouseholdLot,
    IdenticalInstruments,
    SamePurchase,
    WashMatch,
    WashPolicies,
)
from kernel.rebalancing.lots import TaxLot
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import is_part_of
from server.convert.accounts import write_account, write_tax
from server.errors import NotReady
from server.tax_history import History, window_of, with_history
from storage import records
from storage.database import Connection
from storage.identical_instruments import IdenticalInstrumentRepository
from storage.portfolios import PortfolioRepository
from storage.records import Holding, Portfolio, WashSaleRecord, utc_now
from storage.tax_rules import TaxRuleRepository
from storage.transactions import TransactionRepository

USUAL_RULES = "US"
_RETIREMENT = (portfolio_data_pb2.ACCOUNT_TYPE_TAX_DEFERRED, portfolio_data_pb2.ACCOUNT_TYPE_TAX_EXEMPT)
_LAST_DECIMAL, _WIDE = Decimal(1).scaleb(-20), Context(prec=60)
_Policies = taxes_pb2.WashSalePolicies


@dataclass(frozen=True, slots=True)
class LoadedHousehold:
    """A household as it stands in storage, and as the engine knows it.

    Attributes:
        household: Accounts and sales have the ids of portfolios and of their transactions.
        portfolios: All accounts, in the order of their ids.
        rules: The rules that hold on the day, for the portfolio that was asked for.
        policies: Its readings of the wash-sale rule.
    """

    household: Household
    portfolios: tuple[Portfolio, ...]
    rules: TaxRuleSet
    policies: WashPolicies


async def load_household(
    connection: Connection,
    portfolio_id: str,
    day: date,
    own: Portfolio | None = None,
    members: Sequence[str] | None = None,
) -> LoadedHousehold:
    """The household of a portfolio, with the losses of the days around `day`.

    A caller that changes it locks it first (`PortfolioRepository.lock_household`).

    Args:
        connection: Of the transaction.
        portfolio_id: One of its accounts: its rules and readings hold.
        day: Day of the trades that are looked at.
        own: That account as it was read before, where it is to be seen like that. Its lots may be newer than `day`,
            that of the prices, and then count as bought on it.
        members: The accounts that the caller has locked: who joins later is none of them.

    Raises:
        NotFound: There is no such portfolio, or no rules of the name that it has hold on the day.
        NotReady: Its account is not what the contract says, or another of the household has another currency.
    """
    repository = PortfolioRepository(connection)
    portfolios = await repository.find_all(members or await repository.household(portfolio_id))
    if own is not None:
        portfolios = tuple(_seen_on(day, own) if stored.id == own.id else stored for stored in portfolios)
    asked = next(portfolio for portfolio in portfolios if portfolio.id == portfolio_id)
    _require_one_currency(asked, portfolios)
    settings = tax_settings(asked)
    rules = await rules_of(connection, settings.jurisdiction, day)
    policies = read_policies(settings.wash_sale_policies)
    transactions = TransactionRepository(connection)
    ids, window = [portfolio.id for portfolio in portfolios], window_of(day, rules)
    history = History(
        tuple(_as_seen(row, day, own) for row in await transactions.between(ids, *window)),
        await transactions.matches(ids, *window),
        _undated(portfolios),
    )
    names = {lot.instrument_id for portfolio in portfolios for lot in portfolio.lots}
    names |= {row.instrument_id for row in history.transactions}
    pairs = await IdenticalInstrumentRepository(connection).pairs(names)
    plain = Household(
        accounts=tuple(Account(portfolio.id, retirement=is_retirement(portfolio)) for portfolio in portfolios),
        lots=engine_lots(portfolios, day),
        identical=IdenticalInstruments.of_pairs(pairs),
    )
    return LoadedHousehold(with_history(plain, history, rules, policies), portfolios, rules, policies)


def _require_one_currency(asked: Portfolio, portfolios: Iterable[Portfolio]) -> None:
    """A loss in one currency cannot be added to a cost in another."""
    for other in portfolios:
        if other.base_currency != asked.base_currency:
            both = f"portfolio {asked.id} is in {asked.base_currency}, portfolio {other.id} in {other.base_currency}"
            raise NotReady(f"{both}: losses of one household need one currency; give them different household_ids")


def _seen_on(day: date, portfolio: Portfolio) -> Portfolio:
    lots = (
        lot if lot.acquired_on is None or lot.acquired_on <= day else _bought_on(day, lot) for lot in portfolio.lots
    )
    return replace(portfolio, lots=tuple(lots))


def _as_seen(row: records.Transaction, day: date, own: Portfolio | None) -> records.Transaction:
    """A purchase of a lot that counts as bought on the day counts so, too: else its shares would count twice."""
    newer = own is not None and row.portfolio_id == own.id and row.action == "buy" and row.traded_on > day
    return replace(row, traded_on=day) if newer else row


def _bought_on(day: date, lot: records.TaxLot) -> records.TaxLot:
    since = None if lot.held_since is None else min(lot.held_since, day)
    return replace(lot, acquired_on=day, held_since=since)


def tax_settings(portfolio: Portfolio) -> portfolio_data_pb2.TaxSettings:
    """The tax settings; empty where there are none.

    Raises:
        NotReady: A file brought in something else than the contract says.
    """
    return write_tax(portfolio) or portfolio_data_pb2.TaxSettings()


def is_retirement(portfolio: Portfolio) -> bool:
    """Whether sales in the account are not taxed."""
    account = write_account(portfolio)
    return account is not None and account.account_type in _RETIREMENT


def read_policies(message: taxes_pb2.WashSalePolicies) -> WashPolicies:
    """Readings of the wash-sale rule; what is not set is the default."""
    literal = message.same_purchase == _Policies.SAME_PURCHASE_LITERAL
    copied = message.holding_period == _Policies.HOLDING_PERIOD_COPY_DATE
    return WashPolicies(
        same_purchase=SamePurchase.LITERAL if literal else SamePurchase.EXEMPT,
        holding_period=HoldingPeriod.COPY_DATE if copied else HoldingPeriod.ADD_DAYS,
        count_sold_replacements=message.count_sold_replacements,
    )


async def rules_of(connection: Connection, jurisdiction: str, day: date) -> TaxRuleSet:
    """The tax rules of a name that hold on a day; an empty name is that of the usual ones.

    Raises:
        NotFound: There are none of this name, or they begin later.
    """
    rule = await TaxRuleRepository(connection).find_on(jurisdiction or USUAL_RULES, day)
    return TaxRuleSet(
        jurisdiction=rule.jurisdiction,
        valid_from=rule.valid_from,
        long_term_months=rule.long_term_months,
        wash_sale_days=rule.wash_sale_days,
        loss_limit=rule.yearly_loss_limit,
        separate_loss_limit=rule.separate_loss_limit,
        source=rule.source,
    )


def engine_lots(portfolios: Iterable[Portfolio], day: date) -> tuple[HouseholdLot, ...]:
    """The lots in the order of purchase.

    An unknown cost counts as zero, an unknown date as `day` with the worse of both terms: tax is never understated.
    Short positions are no lots.
    """
    lots = [
        HouseholdLot(portfolio.id, lot.instrument_id, _engine_lot(lot, day))
        for portfolio in portfolios
        for lot in portfolio.lots
        if lot.quantity > 0
    ]
    return tuple(sorted(lots, key=lambda held: held.acquired_on))


def _engine_lot(lot: records.TaxLot, day: date) -> TaxLot:
    return TaxLot(
        lot_id=lot.id,
        quantity=lot.quantity,
        unit_cost=ZERO if lot.cost_per_share is None else lot.cost_per_share,
        acquired_on=lot.acquired_on or day,
        held_since=lot.held_since if lot.acquired_on is not None else None,
        replaced_loss=lot.replaced_loss,
        dated=lot.acquired_on is not None,
        priced=lot.cost_per_share is not None,
    )


def _undated(portfolios: Iterable[Portfolio]) -> frozenset[tuple[str, str]]:
    return frozenset((p.id, lot.id) for p in portfolios for lot in p.lots if lot.acquired_on is None)


async def store_household(
    connection: Connection, loaded: LoadedHousehold, after: Household, matches: Sequence[WashMatch] = ()
) -> tuple[Portfolio, ...]:
    """Keeps lots and holdings of the accounts that the engine changed, and the wash sales that it settled.

    Cash and the figures of the tax year are the caller's. The sales of the matches are stored as transactions before.

    Args:
        connection: Of the transaction that has locked the household.
        loaded: The household before.
        after: The same after sales and purchases.
        matches: What the engine matched on the way.

    Returns:
        All portfolios of the household as they are now, in the order of their ids.

    Raises:
        NotFound: An instrument bought, or the transaction of a sale, does not exist.
    """
    repository = PortfolioRepository(connection)
    portfolios = []
    for portfolio in loaded.portfolios:
        changed = changed_portfolio(portfolio, loaded.household, after)
        if changed is not portfolio:
            await repository.put(changed)
        portfolios.append(changed)
    settled = [
        WashSaleRecord(
            portfolio_id=match.sale_account_id,
            sale_id=match.sale_id,
            replacement_portfolio_id=match.account_id,
            replacement_lot_id=match.lot_id,
            quantity=match.quantity,
        )
        for match in matches
    ]
    if settled:
        await TransactionRepository(connection).append_matches(settled)
    return tuple(portfolios)


def changed_portfolio(portfolio: Portfolio, before: Household, after: Household) -> Portfolio:
    """The portfolio with the lots and holdings of its account after the engine; itself where nothing changed."""
    old = {held.lot_id: held for held in before.lots if held.account_id == portfolio.id}
    new = {held.lot_id: held for held in after.lots if held.account_id == portfolio.id}
    if old == new:
        return portfolio
    stored = {lot.id: lot for lot in portfolio.lots}
    lots = [lot for lot in portfolio.lots if lot.id not in old]
    lots += [
        stored[lot_id] if old.get(lot_id) == held and lot_id in stored else _stored_lot(held, stored)
        for lot_id, held in new.items()
    ]
    quantities = {holding.instrument_id: holding.quantity for holding in portfolio.holdings}
    for sign, state in ((-1, old), (1, new)):
        for held in state.values():
            quantities[held.instrument_id] = quantities.get(held.instrument_id, ZERO) + sign * held.quantity
    holdings = tuple(Holding(name, quantity) for name, quantity in sorted(quantities.items()) if quantity)
    return replace(portfolio, holdings=holdings, lots=(*lots, *_without_lot(lots, quantities)), updated_at=utc_now())


def _stored_lot(held: HouseholdLot, stored: Mapping[str, records.TaxLot]) -> records.TaxLot:
    """A lot of the engine. What was not known of the lot, or of the one that it was split off, stays unknown."""
    lot = held.lot
    known = stored.get(lot.lot_id) or next((old for old in stored.values() if is_part_of(lot.lot_id, old.id)), None)
    undated = known is not None and known.acquired_on is None
    return records.TaxLot(
        id=lot.lot_id,
        instrument_id=held.instrument_id,
        quantity=lot.quantity,
        acquired_on=None if undated else lot.acquired_on,
        cost_per_share=None if known is not None and known.cost_per_share is None else _writable(lot.unit_cost),
        held_since=None if undated else lot.held_since,
        replaced_loss=lot.replaced_loss,
    )


def _writable(cost: Decimal) -> Decimal:
    """A cost per share with as many decimals as the contract carries: what is left out is no part of a cent."""
    rounded = cost.quantize(_LAST_DECIMAL, context=_WIDE)
    return cost if cost == rounded else rounded


def _without_lot(lots: Iterable[records.TaxLot], quantities: Mapping[str, Decimal]) -> Iterable[records.TaxLot]:
    """Shares that were held without a lot, where others of the instrument have one now: of unknown date and cost."""
    sums: dict[str, Decimal] = {}
    for lot in lots:
        sums[lot.instrument_id] = sums.get(lot.instrument_id, ZERO) + lot.quantity
    for name, total in sums.items():
        if rest := quantities.get(name, ZERO) - total:
            yield records.TaxLot(id=uuid.uuid4().hex, instrument_id=name, quantity=rest)
