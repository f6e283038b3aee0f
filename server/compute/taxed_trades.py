"""Trades carried out on a copy of the household, with what the wash-sale rule and netting make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, TypeVar

from kernel.rebalancing.household import Household, RealizedLoss, SettledSale, WashMatch
from kernel.rebalancing.lots import LotMethod
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.tax import SalesTax, tax_of_settled
from kernel.rebalancing.wash_parts import with_matches
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from server.compute.tax_context import TaxContext, Traded

# Begins ids of sales and lots that are not there yet; no stored id has a control character.
_PLANNED = "\0"

Picks = Mapping[str, tuple[tuple[str, Decimal], ...]]


@dataclass(frozen=True, slots=True)
class TaxedTrades:
    """The tax of trades under one choice of lots.

    Attributes:
        method: How lots were chosen.
        sales: The lots sold, with what disallows their losses.
        earlier: What changes in the tax of earlier sales, each as a line without shares: losses that the purchases take
            back, losses that shares sold again take over.
        tax: Of both together, netted.
        losses: Losses that a later purchase may still disallow.
    """

    method: LotMethod
    sales: tuple[SettledSale, ...]
    earlier: tuple[SettledSale, ...]
    tax: SalesTax
    losses: tuple[RealizedLoss, ...]


def settle_trades(
    context: TaxContext, method: LotMethod, picks: Picks, sells: Sequence[Traded], buys: Sequence[Traded]
) -> TaxedTrades:
    """Carries trades out on a copy of the household, sales first, and nets what counts.

    Args:
        context: The account.
        method: How lots were chosen, for the report.
        picks: Lots and shares of every sale.
        sells: Sales, each instrument once.
        buys: Purchases, each instrument once.

    Returns:
        Sales in their order, with the tax that they add to the year's.

    Raises:
        ProblemError: A lot is not there, or holds fewer shares.
    """
    shelves = _Shelves(context)
    lines = [line for sell in sells for line in shelves.sell(sell, picks[sell.instrument_id])]
    matches = [match for buy in buys for match in shelves.buy(buy)]
    sales = tuple(_with_own_matches(line, matches) for line in lines if line.quantity)
    own = {(sale.sale_id, sale.lot_id) for sale in sales}
    taken_back = [_taken_back(match, context) for match in matches if (match.sale_id, match.sold_lot_id) not in own]
    earlier = (*(line for line in lines if not line.quantity), *taken_back)
    tax = tax_of_settled((*sales, *earlier), context.year_to_date, context.terms)
    return TaxedTrades(method, sales, earlier, tax, shelves.losses())


def _with_own_matches(sale: SettledSale, matches: Iterable[WashMatch]) -> SettledSale:
    own = (sale.sale_id, sale.lot_id)
    return with_matches(sale, [match for match in matches if (match.sale_id, match.sold_lot_id) == own])


def _taken_back(match: WashMatch, context: TaxContext) -> SettledSale:
    """A loss of an earlier sale that a purchase takes back: it counts as a gain of the loss's term."""
    key = (match.sale_account_id, match.sale_id, match.sold_lot_id)
    loss = next(loss for loss in context.household.losses if (loss.account_id, loss.sale_id, loss.lot_id) == key)
    line = SettledSale(
        account_id=loss.account_id,
        sale_id=loss.sale_id,
        instrument_id=loss.instrument_id,
        lot_id=loss.lot_id,
        quantity=ZERO,
        proceeds=ZERO,
        cost_basis=ZERO,
        gain=ZERO,
        term=loss.term,
        sold_on=loss.sold_on,
        acquired_on=loss.acquired_on,
        held_since=loss.held_since,
    )
    return with_matches(line, [match])


class _Shelves:
    """The household in parts that do not touch each other: instruments with all that are identical to them."""

    def __init__(self, context: TaxContext) -> None:
        self._context = context
        self._lots = _by_instrument(context.household.lots)
        self._losses = _by_instrument(context.household.losses)
        self._sold = _by_instrument(context.household.sold)
        self._parts: dict[frozenset[str], Household] = {}

    def sell(self, sell: Traded, lots: tuple[tuple[str, Decimal], ...]) -> tuple[SettledSale, ...]:
        """Carries out a sale."""
        key, name = self._open(sell.instrument_id), sell.instrument_id
        sale = AccountSale(self._context.portfolio_id, _own_id(name), name, lots, sell.price, self._context.sold_on)
        self._parts[key], settled = record_sale(self._parts[key], sale, self._context.rules, self._context.policies)
        return settled

    def buy(self, buy: Traded) -> tuple[WashMatch, ...]:
        """Carries out a purchase; its lot has no id yet."""
        key, name, day = self._open(buy.instrument_id), buy.instrument_id, self._context.sold_on
        bought = AccountPurchase(self._context.portfolio_id, _own_id(name), name, buy.quantity, buy.price, day)
        self._parts[key], matches = record_purchase(
            self._parts[key], bought, self._context.rules, self._context.policies
        )
        return matches

    def losses(self) -> tuple[RealizedLoss, ...]:
        """All losses that are open now."""
        opened = frozenset[str]().union(*self._parts)
        kept = [loss for loss in self._context.household.losses if loss.instrument_id not in opened]
        return (*kept, *(loss for part in self._parts.values() for loss in part.losses))

    def _open(self, instrument_id: str) -> frozenset[str]:
        names = _closure(self._context.household, instrument_id)
        if names not in self._parts:
            every = sorted(names)
            lots = [held for name in every for held in self._lots.get(name, ())]
            self._parts[names] = replace(
                self._context.household,
                lots=tuple(sorted(lots, key=lambda held: held.acquired_on)),
                losses=tuple(loss for name in every for loss in self._losses.get(name, ())),
                sold=tuple(sold for name in every for sold in self._sold.get(name, ())),
            )
        return names


class _OfInstrument(Protocol):
    @property
    def instrument_id(self) -> str: ...


PartT = TypeVar("PartT", bound=_OfInstrument)


def _by_instrument(parts: Iterable[PartT]) -> dict[str, list[PartT]]:
    found: dict[str, list[PartT]] = {}
    for part in parts:
        found.setdefault(part.instrument_id, []).append(part)
    return found


def _closure(household: Household, instrument_id: str) -> frozenset[str]:
    """The instrument with all that are identical to it, to those, and so on."""
    names, before = frozenset({instrument_id}), frozenset[str]()
    while names != before:
        names, before = names.union(*(household.identical.to(name) for name in names - before)), names
    return names


def _own_id(instrument_id: str) -> str:
    return f"{_PLANNED}{instrument_id}"


def is_planned(identifier: str) -> bool:
    """Whether a sale or a lot is one of the trades themselves."""
    return identifier.startswith(_PLANNED)
