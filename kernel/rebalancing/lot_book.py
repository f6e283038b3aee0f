"""The lots of a book as a sale meets them: in which order, at what gain, and what the wash-sale window says of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.lots import LotMethod, LotSale, Sale, TaxLot, Term, select_lots, select_specific, sell_from
from kernel.rebalancing.money import ZERO
from kernel.rebalancing.request import TradeTax
from kernel.rebalancing.wash_exposure import OpenLoss, WashExposure
from kernel.rebalancing.wash_parts import are_parts_of_one

# Shares of a lot are split no finer than this.
_PART = Decimal("0.000001")

LotParts = tuple[tuple["SaleLot", Decimal], ...]
"""Lots with the shares that are sold from each"""


@dataclass(frozen=True, slots=True)
class SaleLot:
    """A lot that a sale may be filled from.

    Attributes:
        lot: The lot.
        available: Shares that may be sold from it.
        gain: Per share at the trade price, money; negative for a loss.
        term: Short or long on the trade date.
        own: Shares of it that replace shares of other lots sold at a loss.
    """

    lot: TaxLot
    available: Decimal
    gain: Decimal
    term: Term
    own: Decimal

    @property
    def is_loss(self) -> bool:
        """Whether it is sold at a loss."""
        return self.gain < ZERO

    @property
    def is_short_term_gain(self) -> bool:
        """Whether it is sold at a short-term gain."""
        return self.gain > ZERO and self.term is Term.SHORT


@dataclass(frozen=True, slots=True)
class LotBook:
    """The lots of one position.

    Attributes:
        lots: In the order of the method.
        free: Whether the search chooses among them; otherwise each is sold only when those before it are exhausted.
        replacements: Shares bought within the window that are in none of the lots: as many shares sold at a loss are
            disallowed.
        open_losses: Losses that a purchase now would disallow, in the order of the sales.
        identical: Instruments that replace this one when they are bought.
        literal: Whether shares left of a purchase replace those sold from it.
    """

    lots: tuple[SaleLot, ...]
    free: bool
    replacements: Decimal
    open_losses: tuple[OpenLoss, ...]
    identical: frozenset[str]
    literal: bool = False

    @property
    def replacing(self) -> tuple[SaleLot, ...]:
        """The lots that hold replacements."""
        return tuple(lot for lot in self.lots if lot.own)

    def replaces(self, lot: SaleLot, sold: SaleLot) -> bool:
        """Whether what stays of a lot replaces what is sold from one; not when both are parts of one purchase."""
        one_day = lot.lot.acquired_on == sold.lot.acquired_on
        return self.literal or not (one_day and are_parts_of_one(lot.lot.lot_id, sold.lot.lot_id))

    def fill(self, quantity: Decimal) -> LotParts:
        """A sale filled in the order of the lots."""
        parts: list[tuple[SaleLot, Decimal]] = []
        for lot in self.lots:
            part = min(lot.available, quantity)
            if part > ZERO:
                parts.append((lot, part))
                quantity -= part
        return tuple(parts)


def open_lots(tax: TradeTax, holdings: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> dict[str, LotBook]:
    """Orders the lots of what is held and lays the wash-sale window over them.

    Args:
        tax: Lots, method and window.
        holdings: Shares of the positions, zero for those that are only wanted.
        prices: Money per share.

    Returns:
        One per position that has lots or an exposure.

    Raises:
        ProblemError: Lots hold fewer shares than the position, were acquired after the sale or are named wrongly.
    """
    free = tax.method is LotMethod.LEAST_TAX and tax.weight > ZERO
    losses = _losses_met(tax)
    return {
        name: _lot_book(tax, name, (held, prices[name]), free=free, losses=losses.get(name, ()))
        for name, held in holdings.items()
        if (held and tax.lots.get(name)) or name in losses or name in tax.wash
    }


def sold_lots(parts: LotParts, price: Decimal, tax: TradeTax) -> tuple[LotSale, ...]:
    """The lot sales of a sale, to the cent.

    Args:
        parts: Lots with the shares sold from each.
        price: Money per share.
        tax: Trade date and months of the long term.

    Returns:
        One per part; proceeds add up to the sale's.
    """
    sale = Sale(sum((quantity for _, quantity in parts), ZERO), price, tax.sold_on, tax.long_term_months)
    sales: list[LotSale] = []
    filled = ZERO
    for lot, quantity in parts:
        sales.append(sell_from(lot.lot, quantity, filled, sale))
        filled += quantity
    return tuple(sales)


def rounded_parts(wanted: Sequence[tuple[SaleLot, Decimal]], total: Decimal) -> LotParts:
    """Parts of a sale in numbers of few digits that add up to it exactly.

    Args:
        wanted: Lots with about the shares sold from each.
        total: Shares of the sale.

    Returns:
        The parts, each within its lot; what rounding leaves goes to the lot nearest to the middle of its range.
    """
    parts = [min(lot.available, quantity.quantize(_PART)) for lot, quantity in wanted]
    left = total - sum(parts, ZERO)
    while left:
        rooms = [lot.available - part if left > ZERO else part for (lot, _), part in zip(wanted, parts, strict=True)]
        k = max(range(len(parts)), key=lambda k: (bool(0 < parts[k] < wanted[k][0].available), rooms[k]))
        step = min(rooms[k], abs(left))
        if not step:
            break
        parts[k] += step if left > ZERO else -step
        left = total - sum(parts, ZERO)
    return tuple((lot, part) for (lot, _), part in zip(wanted, parts, strict=True) if part > ZERO)


def _losses_met(tax: TradeTax) -> dict[str, tuple[OpenLoss, ...]]:
    """Open losses that a purchase of each instrument meets, its own or those of what it is identical to."""
    met = {
        name: tuple(loss for loss in exposure.open_losses if tax.sold_on < loss.until and loss.quantity > ZERO)
        for name, exposure in tax.wash.items()
    }
    met = {name: losses for name, losses in met.items() if losses}
    for name, losses in tuple(met.items()):
        for other in sorted(tax.wash[name].identical):
            met.setdefault(other, losses)
    return met


def _lot_book(
    tax: TradeTax, name: str, held_at: tuple[Decimal, Decimal], *, free: bool, losses: tuple[OpenLoss, ...]
) -> LotBook:
    held, price = held_at
    exposure = tax.wash.get(name, WashExposure())
    own = dict(exposure.own)
    lots = tax.lots.get(name, ()) if held else ()
    parts = _ordered(tax, name, Sale(held, price, tax.sold_on, tax.long_term_months)) if lots else ()
    known = {lot.lot_id for lot in lots}
    elsewhere = exposure.replacements - sum((shares for lot_id, shares in own.items() if lot_id in known), ZERO)
    return LotBook(
        lots=tuple(
            SaleLot(part.lot, part.quantity, price - part.lot.unit_cost, part.term, own.get(part.lot.lot_id, ZERO))
            for part in parts
        ),
        free=free,
        replacements=max(ZERO, elsewhere),
        open_losses=losses,
        identical=exposure.identical,
        literal=exposure.literal,
    )


def _ordered(tax: TradeTax, name: str, everything: Sale) -> Sequence[LotSale]:
    """All lots, or all that are named, as one sale of everything would take them."""
    lots = tax.lots[name]
    held = _total(lot.quantity for lot in lots)
    if held < everything.quantity:
        raise ProblemError(f"tax.lots[{name}]", f"hold {held} shares, fewer than the holding of {everything.quantity}")
    named = tax.specific.get(name) if tax.method is LotMethod.SPECIFIC else None
    if named:
        known = {lot.lot_id: lot.quantity for lot in lots}
        if foreign := sorted(named.keys() - known.keys()):
            raise ProblemError(f"tax.specific[{name}][{foreign[0]}]", "is not a lot of the instrument")
        total = _total(known.get(lot_id, ZERO) if part is None else part for lot_id, part in named.items())
        return select_specific(lots, replace(everything, quantity=total), named)
    method = LotMethod.FIFO if tax.method is LotMethod.SPECIFIC else tax.method
    return select_lots(lots, replace(everything, quantity=held), method, tax.rules.rates)


def _total(quantities: Iterable[Decimal]) -> Decimal:
    return sum(quantities, ZERO)
