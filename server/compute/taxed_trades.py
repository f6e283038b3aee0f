"""Trades carried out on a copy of the household, with what the wash-sale rule and netting make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Protocol, TypeAlias, TypeVar

from kernel.errors import ProblemError
from kernel.rebalancing.household import Household, HouseholdLot, RealizedLoss, SettledSale, WashMatch
from kernel.rebalancing.lots import LotMethod
from kernel.rebalancing.money import ZERO, to_cents
from kernel.rebalancing.tax import SalesTax, recognised_gains, tax_of_settled
from kernel.rebalancing.wash_parts import stem_of, unit_cost, with_matches
from kernel.rebalancing.wash_sales import AccountPurchase, AccountSale, record_purchase, record_sale
from server.compute.tax_context import TaxContext, Traded

# Before the number of a part of a lot; those that the engine splits off begin with 1.
_PART = "~"
_FIRST_OWN = 10**6
# Begins ids of sales and lots that are not there yet; no stored id has a control character.
_PLANNED = "\0"

Picks = Mapping[str, tuple[tuple[str, Decimal], ...]]


@dataclass(frozen=True, slots=True)
class TaxedTrades:
    """The tax of trades under one choice of lots.

    Attributes:
        account_id: Account of the trades.
        method: How lots were chosen.
        sold_on: Day of the trades.
        sales: The lots sold, with what disallows their losses.
        earlier: What changes in the tax of earlier sales, each as a line without shares: losses that the purchases take
            back, losses that shares sold again take over.
        tax: Of the trades and of what changes in earlier sales of the account, netted: those of this year as gains,
            those before it by the losses carried in. What the trades disallow in other accounts is theirs; it counts
            in `disallowed` and `lost` alone.
        losses: Losses that a later purchase may still disallow.
    """

    account_id: str
    method: LotMethod
    sold_on: date
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
    lines = shelves.sell(sells, picks)
    matches = [match for buy in buys for match in shelves.buy(buy)]
    sales = [_with_own_matches(line, matches) for line in lines if line.quantity]
    own = {(sale.sale_id, sale.lot_id) for sale in sales}
    taken_back = [_taken_back(match, context) for match in matches if (match.sale_id, match.sold_lot_id) not in own]
    earlier = (*(line for line in lines if not line.quantity), *taken_back)
    shown = _Shown(context, shelves.names)
    return TaxedTrades(
        account_id=context.portfolio_id,
        method=method,
        sold_on=context.sold_on,
        sales=tuple(map(shown.sale, sales)),
        earlier=tuple(map(shown.sale, earlier)),
        tax=_tax(context, sales, earlier),
        losses=shelves.losses(),
    )


def _tax(context: TaxContext, sales: Sequence[SettledSale], earlier: Sequence[SettledSale]) -> SalesTax:
    own = [line for line in earlier if line.account_id == context.portfolio_id]
    of_year = [line for line in own if line.sold_on.year == context.sold_on.year]
    before = recognised_gains(line for line in own if line.sold_on.year < context.sold_on.year)
    figures = context.figures
    used = figures.amended(before).carried.less(figures.carried)
    tax = tax_of_settled((*sales, *of_year), figures.net, context.terms, used)
    lines = (*sales, *earlier)
    disallowed = sum((line.disallowed for line in lines), ZERO)
    return replace(tax, disallowed=disallowed, lost=sum((line.lost for line in lines), ZERO))


def _with_own_matches(sale: SettledSale, matches: Iterable[WashMatch]) -> SettledSale:
    own = (sale.sale_id, sale.lot_id)
    return with_matches(sale, [match for match in matches if (match.sale_id, match.sold_lot_id) == own])


class _Shown:
    """Names lots as they are stored: parts that these trades split off have no name of their own yet."""

    def __init__(self, context: TaxContext, sold: Mapping[str, str]) -> None:
        self._sold = sold
        # Only what has replaced nothing yet can be split.
        self._stored = {
            (held.account_id, held.acquired_on, stem_of(held.lot_id)): held.lot_id
            for held in context.household.lots
            if not held.lot.replaced_loss
        }
        self._whole = {(held.account_id, held.lot_id) for held in context.household.lots}

    def sale(self, sale: SettledSale) -> SettledSale:
        """A part of a sale with the lots of the account."""
        lot_id = self._sold.get(sale.lot_id) or self._name(sale.account_id, sale.acquired_on, sale.lot_id)
        return replace(sale, lot_id=lot_id, matches=tuple(map(self._match, sale.matches)))

    def _match(self, match: WashMatch) -> WashMatch:
        return replace(match, lot_id=self._name(match.account_id, match.acquired_on, match.lot_id))

    def _name(self, account_id: str, acquired_on: date, lot_id: str) -> str:
        if (account_id, lot_id) in self._whole:
            return lot_id
        return self._stored.get((account_id, acquired_on, stem_of(lot_id)), lot_id)


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


@dataclass(frozen=True, slots=True)
class _Apart:
    """Shares of a lot that are sold, with the instruments that touch them and the price that gives their proceeds."""

    key: frozenset[str]
    held: HouseholdLot
    price: Decimal


class _Shelves:
    """The household in parts that do not touch each other: instruments with all that are identical to them."""

    def __init__(self, context: TaxContext) -> None:
        self._context = context
        self._lots = _by_instrument(context.household.lots)
        self._losses = _by_instrument(context.household.losses)
        self._sold = _by_instrument(context.household.sold)
        self._parts: dict[frozenset[str], Household] = {}
        # Lots by the ids that their shares have while they are set apart.
        self.names: dict[str, str] = {}

    def sell(self, sells: Sequence[Traded], picks: Picks) -> list[SettledSale]:
        """Carries out sales: losses count in the order in which the shares were bought, whatever they are of.

        Shares of one sale do not replace those of another: all are gone at the end of the day.
        """
        parts = [part for sell in sells for part in self._set_apart(sell, picks[sell.instrument_id])]
        order = sorted(range(len(parts)), key=lambda place: parts[place].held.acquired_on)
        settled = {place: self._sell(parts[place]) for place in order}
        lines = [settled[place] for place in range(len(parts))]
        return [*(line for line, *_ in lines), *(line for _, *corrections in lines for line in corrections)]

    def _set_apart(self, sell: Traded, picks: Sequence[tuple[str, Decimal]]) -> list[_Apart]:
        """Takes what is sold out of its lots, as lots of their own that only their sale sees."""
        key, name, price = self._open(sell.instrument_id), sell.instrument_id, sell.proceeds_per_share
        lots, found, filled = list(self._parts[key].lots), [], ZERO
        for lot_id, quantity in picks:
            at = self._find(lots, name, lot_id, quantity)
            held, lot = lots[at], lots[at].lot
            cost = unit_cost(lot, quantity, lot.basis_of(quantity))
            own_id = f"{stem_of(lot_id)}{_PART}{_FIRST_OWN + len(self.names)}"
            self.names[own_id] = lot_id
            part = replace(held, lot=replace(lot, lot_id=own_id, quantity=quantity, unit_cost=cost))
            # Differences of rounded totals, so that no cent is lost between the lots of a sale.
            proceeds = to_cents((filled + quantity) * price) - to_cents(filled * price)
            found.append(_Apart(key, part, proceeds / quantity))
            filled += quantity
            left = lot.quantity - quantity
            lots[at : at + 1] = [replace(held, lot=replace(lot, quantity=left))] if left else []
        self._parts[key] = replace(self._parts[key], lots=tuple(lots))
        return found

    def _find(self, lots: Sequence[HouseholdLot], name: str, lot_id: str, quantity: Decimal) -> int:
        wanted = (self._context.portfolio_id, name, lot_id)
        for at, held in enumerate(lots):
            if (held.account_id, held.instrument_id, held.lot_id) == wanted and held.quantity >= quantity:
                return at
        raise ProblemError(f"lots[{lot_id}]", f"is no lot of {quantity:f} shares of {name} in {wanted[0]}")

    def _sell(self, part: _Apart) -> tuple[SettledSale, ...]:
        held, before = part.held, self._parts[part.key]
        sale = AccountSale(
            account_id=held.account_id,
            sale_id=_own_id(held.instrument_id),
            instrument_id=held.instrument_id,
            lots=((held.lot_id, held.quantity),),
            price=part.price,
            sold_on=self._context.sold_on,
        )
        whole = replace(before, lots=(held, *before.lots))
        after, settled = record_sale(whole, sale, self._context.rules, self._context.policies)
        sold = tuple(sold for sold in after.sold if not is_planned(sold.sale_id))
        self._parts[part.key] = replace(after, sold=sold)
        return settled

    def buy(self, buy: Traded) -> tuple[WashMatch, ...]:
        """Carries out a purchase; its lot has no id yet."""
        key, name, day = self._open(buy.instrument_id), buy.instrument_id, self._context.sold_on
        bought = AccountPurchase(self._context.portfolio_id, _own_id(name), name, buy.quantity, buy.cost_per_share, day)
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
        names = touching(self._context.household, instrument_id)
        if names not in self._parts:
            self._parts[names] = replace(
                self._context.household,
                lots=_of(names, self._lots),
                losses=_of(names, self._losses),
                sold=_of(names, self._sold),
            )
        return names


class _OfInstrument(Protocol):
    @property
    def instrument_id(self) -> str: ...


PartT = TypeVar("PartT", bound=_OfInstrument)


_Places: TypeAlias = dict[str, list[tuple[int, PartT]]]


def _by_instrument(parts: Iterable[PartT]) -> _Places[PartT]:
    """What there is of every instrument, with its place in the order."""
    found: _Places[PartT] = {}
    for place, part in enumerate(parts):
        found.setdefault(part.instrument_id, []).append((place, part))
    return found


def _of(names: Iterable[str], places: _Places[PartT]) -> tuple[PartT, ...]:
    """What there is of some instruments, in its order."""
    found = [pair for name in names for pair in places.get(name, ())]
    return tuple(part for _, part in sorted(found, key=lambda pair: pair[0]))


def touching(household: Household, instrument_id: str) -> frozenset[str]:
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
