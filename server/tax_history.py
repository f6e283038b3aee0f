"""What of a household's recorded transactions the wash-sale window still sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from kernel.rebalancing.household import (
    Household,
    HouseholdLot,
    RealizedLoss,
    SamePurchase,
    SettledSale,
    SoldPurchase,
    WashPolicies,
)
from kernel.rebalancing.lots import holding_term
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.tax_rules import TaxRuleSet
from kernel.rebalancing.wash_parts import is_same_purchase, open_loss, sold_purchase, stem_of
from storage.records import Transaction, WashSaleRecord

_SELL = "sell"


@dataclass(frozen=True, slots=True)
class History:
    """What is recorded of a household.

    Attributes:
        transactions: Oldest first.
        matches: Wash sales that executions have settled.
        undated: Account and id of the lots whose day of purchase is not known; they are no evidence of a replacement.
    """

    transactions: tuple[Transaction, ...] = ()
    matches: tuple[WashSaleRecord, ...] = ()
    undated: frozenset[tuple[str, str]] = frozenset()

    @property
    def sales(self) -> Iterable[Transaction]:
        """The sales, oldest first."""
        return (row for row in self.transactions if row.action == _SELL)

    def settled_of_sale(self, sale: Transaction) -> Decimal:
        """Shares of a sale that executions have matched with replacements."""
        key = (sale.portfolio_id, sale.id)
        return sum((m.quantity for m in self.matches if (m.portfolio_id, m.sale_id) == key), ZERO)

    def settled_of_lot(self, account_id: str, lot_id: str) -> Decimal:
        """Shares of a lot that have replaced others in executions."""
        key = (account_id, lot_id)
        matches = (m for m in self.matches if (m.replacement_portfolio_id, m.replacement_lot_id) == key)
        return sum((match.quantity for match in matches), ZERO)


@dataclass(slots=True)
class _Replacement:
    """Shares that can have replaced others.

    Attributes:
        held: The lot, or what stands for shares that are sold again.
        left: Shares that have replaced no others yet.
        gone: Whether they are sold again.
    """

    held: HouseholdLot | SoldPurchase
    left: Decimal
    gone: bool = False


def window_of(day: date, rules: TaxRuleSet) -> tuple[date, date]:
    """The days whose transactions matter on a day: sales within its window, and purchases within theirs."""
    days = timedelta(days=rules.wash_sale_days)
    return day - 2 * days, day + days


def with_history(household: Household, history: History, rules: TaxRuleSet, policies: WashPolicies) -> Household:
    """The household with the losses that a purchase may still disallow.

    A recorded loss is taken as replaced by shares that were bought within the window, in the order of the purchases,
    each once: those held, and those bought after the loss outside of the service and sold again. A lot all of whose
    shares have replaced others replaces no more; one of which a part has is left as it is, so that tax is never
    understated. Bases stay as they are: a lot's cost contains the losses that it took over.

    Args:
        household: Accounts, lots and identical instruments.
        history: Transactions, and the wash sales already settled.
        rules: Rules of the window.
        policies: How the rule is read.
    """
    taxable = {account.account_id for account in household.accounts if not account.retirement}
    pool = _replacements(household, history)
    losses = []
    for sale in history.sales:
        if sale.portfolio_id in taxable and sale.gain is not None and sale.gain < 0:
            part = _as_part(sale, rules)
            left = max(ZERO, sale.quantity - history.settled_of_sale(sale))
            losses += _still_open(part, _replaced(part, left, pool, _Window(household, rules, policies)))
    used = {id(found.held) for found in pool if not found.left}
    order = _order_of_purchase(history)
    lots = (_as_used(held) if id(held) in used else held for held in sorted(household.lots, key=order))
    sold = _sold_again(history, rules) if policies.count_sold_replacements else ()
    return replace(household, lots=tuple(lots), losses=tuple(losses), sold=tuple(sold))


@dataclass(frozen=True, slots=True)
class _Window:
    household: Household
    rules: TaxRuleSet
    policies: WashPolicies

    def replaces(self, found: _Replacement, part: SettledSale) -> bool:
        """Whether shares can have replaced those of a sale."""
        held, days = found.held, abs((found.held.acquired_on - part.sold_on).days)
        if not found.left or days > self.rules.wash_sale_days:
            return False
        # Shares that are gone and were bought before the loss may have been gone by then, too.
        if found.gone and held.acquired_on <= part.sold_on:
            return False
        # A sale whose lot is not known may be of that purchase: its loss then stays open.
        own = part if part.lot_id else replace(part, lot_id=held.lot_id)
        exempt = self.policies.same_purchase is SamePurchase.EXEMPT and is_same_purchase(own, held)
        return not exempt and self.household.identical.are_identical(held.instrument_id, part.instrument_id)


def _replaced(part: SettledSale, left: Decimal, pool: Sequence[_Replacement], window: _Window) -> Decimal:
    """Shares of a sale that nothing replaces; what replaces others is taken from the pool."""
    for found in pool:
        if left and window.replaces(found, part):
            taken = min(left, found.left)
            left, found.left = left - taken, found.left - taken
    return left


def _still_open(part: SettledSale, left: Decimal) -> list[RealizedLoss]:
    whole = open_loss(part)
    loss = whole.loss - to_cents(whole.loss * (part.quantity - left) / part.quantity)
    return [replace(whole, quantity=left, loss=loss)] if left and loss > 0 else []


def _as_used(held: HouseholdLot) -> HouseholdLot:
    return replace(held, lot=replace(held.lot, replaced_loss=True))


def _order_of_purchase(history: History) -> Callable[[HouseholdLot], tuple[date, int]]:
    """By day, and on one day in the order in which purchases were recorded; those that were not come first."""
    recorded = {
        (row.portfolio_id, stem_of(row.lot_id)): row.sequence
        for row in history.transactions
        if row.action != _SELL and row.lot_id is not None
    }

    def key(held: HouseholdLot) -> tuple[date, int]:
        return held.acquired_on, recorded.get((held.account_id, stem_of(held.lot_id)), 0)

    return key


def _replacements(household: Household, history: History) -> list[_Replacement]:
    """Purchases in their order, with the shares that no settled wash sale has used."""
    lots = [
        _Replacement(held, max(ZERO, held.quantity - history.settled_of_lot(held.account_id, held.lot_id)))
        for held in sorted(household.lots, key=_order_of_purchase(history))
        if (held.account_id, held.lot_id) not in history.undated
    ]
    # Of one day, what is held comes first.
    return sorted((*lots, *_gone(household, history)), key=lambda found: found.held.acquired_on)


def _gone(household: Household, history: History) -> Iterable[_Replacement]:
    """Shares bought outside of the service that are not held any more; executions have settled their own."""
    held: dict[tuple[str, str, date], Decimal] = {}
    for lot in household.lots:
        key = (lot.account_id, lot.instrument_id, lot.acquired_on)
        held[key] = held.get(key, ZERO) + lot.quantity
    for row in history.transactions:
        if row.action == _SELL or row.rebalance_id is not None:
            continue
        key = (row.portfolio_id, row.instrument_id, row.traded_on)
        still = min(row.quantity, held.get(key, ZERO))
        held[key] = held.get(key, ZERO) - still
        if gone := row.quantity - still:
            bought = SoldPurchase(
                row.portfolio_id, row.id, row.instrument_id, row.lot_id or "", gone, row.traded_on, row.traded_on
            )
            yield _Replacement(bought, gone, gone=True)


def _as_part(sale: Transaction, rules: TaxRuleSet) -> SettledSale:
    """A recorded sale as the engine settles one; shares of an unknown day count as bought on the day of the sale."""
    acquired = sale.acquired_on or sale.traded_on
    proceeds, gain = to_cents(sale.quantity * sale.price), sale.gain or ZERO
    return SettledSale(
        account_id=sale.portfolio_id,
        sale_id=sale.id,
        instrument_id=sale.instrument_id,
        lot_id=sale.lot_id or "",
        quantity=sale.quantity,
        proceeds=proceeds,
        cost_basis=proceeds - gain,
        gain=gain,
        term=holding_term(sale.held_since or acquired, sale.traded_on, rules.long_term_months),
        sold_on=sale.traded_on,
        acquired_on=acquired,
        held_since=sale.held_since,
    )


def _sold_again(history: History, rules: TaxRuleSet) -> Iterable[SoldPurchase]:
    """Sales of shares whose purchase is known, as far as they have replaced no others."""
    for sale in history.sales:
        if sale.acquired_on is not None:
            left = sale.quantity - history.settled_of_lot(sale.portfolio_id, sale.lot_id or "")
            if left > 0:
                yield replace(sold_purchase(_as_part(sale, rules)), quantity=left)
