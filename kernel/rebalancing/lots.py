"""Tax lots: which are sold, in which order, with what gain and what term."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from kernel.errors import ProblemError
from kernel.rebalancing.money import ZERO, require_amount, to_cents


class Term(StrEnum):
    """Whether a gain is taxed as short-term or long-term."""

    SHORT = "short"
    LONG = "long"


class LotMethod(StrEnum):
    """The order in which lots are sold."""

    FIFO = "fifo"
    """Oldest first."""
    LIFO = "lifo"
    """Newest first."""
    HIFO = "hifo"
    """Highest unit cost first."""
    LEAST_TAX = "least_tax"
    """Lowest rate times gain per share first, at the rates of each lot's term."""
    AVOID_SHORT_TERM = "avoid_short_term"
    """Losses (largest first), then long-term gains, then short-term gains (smallest first)."""
    SPECIFIC = "specific"
    """The lots that the caller names."""


@dataclass(frozen=True, slots=True)
class TaxLot:
    """Shares bought together.

    Attributes:
        lot_id: Unique within the instrument. Parts that a wash sale split off one purchase share what stands before
            the last "~".
        quantity: Shares, > 0.
        unit_cost: Money per share, losses taken over in wash sales included, >= 0.
        acquired_on: Trade date of the purchase.
        held_since: Day from which the holding period counts, where a wash sale moved it; on or before acquired_on.
        replaced_loss: Whether these shares have replaced shares sold at a loss; they replace no others.
        dated: Whether the trade date is known; otherwise ``acquired_on`` is no earlier than it was.
        priced: Whether the cost is known; otherwise ``unit_cost`` is no more than it was.
    """

    lot_id: str
    quantity: Decimal
    unit_cost: Decimal
    acquired_on: date
    held_since: date | None = None
    replaced_loss: bool = False
    dated: bool = True
    priced: bool = True

    def __post_init__(self) -> None:
        require_amount(f"lots[{self.lot_id}].quantity", self.quantity, positive=True)
        require_amount(f"lots[{self.lot_id}].unit_cost", self.unit_cost)
        if self.held_since is not None and self.held_since > self.acquired_on:
            moved, bought = self.held_since.isoformat(), self.acquired_on.isoformat()
            raise ProblemError(f"lots[{self.lot_id}].held_since", f"{moved} is after the purchase on {bought}")

    @property
    def held_from(self) -> date:
        """Day from which the holding period counts."""
        return self.acquired_on if self.held_since is None else self.held_since

    @property
    def basis(self) -> Decimal:
        """Cost of all shares, money to the cent."""
        return to_cents(self.quantity * self.unit_cost)

    def term(self, price: Decimal, sold_on: date, months: int) -> Term:
        """Term of a sale; of a lot without a date, that in which a gain costs most and a loss saves least.

        Args:
            price: Money per share.
            sold_on: Trade date of the sale.
            months: Long-term is what was held for more than this number of months.
        """
        if not self.dated:
            return Term.SHORT if price >= self.unit_cost else Term.LONG
        return holding_term(self.held_from, sold_on, months)

    def basis_of(self, quantity: Decimal) -> Decimal:
        """Cost of some shares, money to the cent: what the lot costs less what the rest costs, so no cent is lost."""
        return self.basis - to_cents((self.quantity - quantity) * self.unit_cost)


@dataclass(frozen=True, slots=True)
class GainRates:
    """Tax rates on gains, as fractions.

    Attributes:
        short_term: On short-term gains.
        long_term: On long-term gains.
    """

    short_term: Decimal
    long_term: Decimal

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not ZERO <= getattr(self, name) <= 1:
                raise ProblemError(f"rates.{name}", f"must lie in [0, 1], got {getattr(self, name)}")

    def of(self, term: Term) -> Decimal:
        """The rate of a term."""
        return self.long_term if term is Term.LONG else self.short_term


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale to be filled from lots.

    Attributes:
        quantity: Shares, > 0.
        price: Money per share. Pass it net of selling expenses where these reduce the amount realised.
        sold_on: Trade date; it, not the settlement date, ends the holding period.
        long_term_months: A gain is long-term when the lot was held for more than this number of months.
    """

    quantity: Decimal
    price: Decimal
    sold_on: date
    long_term_months: int


@dataclass(frozen=True, slots=True)
class LotSale:
    """The part of a sale that one lot fills.

    Attributes:
        lot: The lot sold from.
        quantity: Shares sold, at most the lot's.
        proceeds: Money, to the cent; the parts of a sale add up to its rounded value exactly.
        cost_basis: Money, to the cent.
        gain: proceeds - cost_basis.
        term: Short or long.
    """

    lot: TaxLot
    quantity: Decimal
    proceeds: Decimal
    cost_basis: Decimal
    gain: Decimal
    term: Term


def first_date_beyond(acquired_on: date, months: int) -> date:
    """First trade date on which a lot has been held for more than a number of months.

    The period starts on the day after the trade date of the purchase and includes the trade date of the sale, so the
    answer is the same day of the month as that start, ``months`` later; where that month has no such day, the first
    of the next one. Counting days fails in leap years; adding a year to the purchase date fails at the end of
    February.

    Args:
        acquired_on: Trade date of the purchase.
        months: Whole months, >= 0.

    Returns:
        The date.

    References:
        26 USC 1222; Rev. Rul. 66-7 and 66-97; Caspe v. United States, 694 F.2d 1116 (8th Cir. 1982).
    """
    if acquired_on == date.max:
        return date.max
    start = acquired_on + timedelta(days=1)
    years, month = divmod(start.month - 1 + months, 12)
    following = divmod(month + 1, 12)
    if start.year + years + following[0] > date.max.year:
        return date.max
    try:
        return date(start.year + years, month + 1, start.day)
    except ValueError:
        return date(start.year + years + following[0], following[1] + 1, 1)


def holding_term(held_from: date, sold_on: date, months: int) -> Term:
    """Term of a sale.

    Args:
        held_from: Trade date of the purchase, or the earlier day that a wash sale moved it to.
        sold_on: Trade date of the sale.
        months: Long-term is what was held for more than this number of months, >= 0.

    Returns:
        Long or short.
    """
    return Term.LONG if sold_on >= first_date_beyond(held_from, months) else Term.SHORT


def select_lots(lots: Sequence[TaxLot], sale: Sale, method: LotMethod, rates: GainRates) -> tuple[LotSale, ...]:
    """Fills a sale from lots in the order of a method; the last lot may be sold in part.

    LEAST_TAX is the least tax at the given rates taken lot by lot; what netting against other gains changes is
    measured afterwards, on all sales together.

    Args:
        lots: The lots of one instrument.
        sale: What is sold.
        method: The order; ties go to the older lot, then to the smaller id.
        rates: Used by LEAST_TAX only.

    Returns:
        The lot sales in order; their quantities add up to the sale's exactly.

    Raises:
        ProblemError: The lots hold fewer shares than are sold, one was acquired after the sale, or an id is doubled.
    """
    _check_sale(lots, sale)
    return _fill(((lot, lot.quantity) for lot in _ordered(lots, sale, method, rates)), sale)


def select_specific(lots: Sequence[TaxLot], sale: Sale, named: Mapping[str, Decimal | None]) -> tuple[LotSale, ...]:
    """Fills a sale from the lots that are named, in their order.

    Args:
        lots: The lots of one instrument.
        sale: What is sold.
        named: Largest quantity per lot id, > 0; None for all that the lot holds.

    Returns:
        The lot sales in order; their quantities add up to the sale's exactly.

    Raises:
        ProblemError: As select_lots; or a lot that is named is not there or holds fewer shares, or all that are named
            hold fewer than are sold.
    """
    _check_sale(lots, sale)
    known = {lot.lot_id: lot for lot in lots}
    for lot_id, quantity in named.items():
        if lot_id not in known:
            raise ProblemError(f"lots[{lot_id}]", "is not a lot of the instrument sold")
        if quantity is not None:
            require_amount(f"lots[{lot_id}].quantity", quantity, positive=True)
            if quantity > known[lot_id].quantity:
                raise ProblemError(
                    f"lots[{lot_id}].quantity", f"must not exceed the {known[lot_id].quantity} held, got {quantity}"
                )
    parts = [(known[lot_id], quantity or known[lot_id].quantity) for lot_id, quantity in named.items()]
    total = sum((quantity for _, quantity in parts), ZERO)
    if total < sale.quantity:
        raise ProblemError("lots", f"the lots named hold {total} shares, fewer than the {sale.quantity} to be sold")
    return _fill(parts, sale)


def sell_from(lot: TaxLot, quantity: Decimal, filled: Decimal, sale: Sale) -> LotSale:
    """The part of a sale that one lot fills.

    Proceeds and basis are differences of rounded totals, so that no cent is lost between the lots of a sale or the
    sales of a lot.

    Args:
        lot: The lot.
        quantity: Shares sold from it, at most all.
        filled: Shares of the sale that lots before it filled.
        sale: The sale.

    Returns:
        The part.
    """
    proceeds = to_cents((filled + quantity) * sale.price) - to_cents(filled * sale.price)
    basis = lot.basis_of(quantity)
    term = lot.term(sale.price, sale.sold_on, sale.long_term_months)
    return LotSale(lot, quantity, proceeds, basis, proceeds - basis, term)


def _ordered(lots: Sequence[TaxLot], sale: Sale, method: LotMethod, rates: GainRates) -> list[TaxLot]:
    return sorted(lots, key=_order(method, sale, rates))


def _fill(parts: Iterable[tuple[TaxLot, Decimal]], sale: Sale) -> tuple[LotSale, ...]:
    sales: list[LotSale] = []
    filled = ZERO
    for lot, available in parts:
        quantity = min(available, sale.quantity - filled)
        if not quantity:
            break
        sales.append(sell_from(lot, quantity, filled, sale))
        filled += quantity
    return tuple(sales)


_Key = tuple[Decimal, Decimal, int, str]


def _order(method: LotMethod, sale: Sale, rates: GainRates) -> Callable[[TaxLot], _Key]:
    def key(lot: TaxLot) -> _Key:
        group, rank = _rank(method, lot, sale, rates)
        return group, rank, lot.acquired_on.toordinal(), lot.lot_id

    return key


def _rank(method: LotMethod, lot: TaxLot, sale: Sale, rates: GainRates) -> tuple[Decimal, Decimal]:
    """Group and rank of a lot, both ascending; FIFO is the tie-break alone."""
    gain, term = sale.price - lot.unit_cost, lot.term(sale.price, sale.sold_on, sale.long_term_months)
    match method:
        case LotMethod.FIFO:
            return ZERO, ZERO
        case LotMethod.LIFO:
            return ZERO, Decimal(-lot.acquired_on.toordinal())
        case LotMethod.HIFO:
            return ZERO, -lot.unit_cost
        case LotMethod.LEAST_TAX:
            return ZERO, gain * rates.of(term)
        case LotMethod.AVOID_SHORT_TERM:
            return Decimal(0 if gain <= ZERO else 1 if term is Term.LONG else 2), gain
        case LotMethod.SPECIFIC:
            raise ProblemError("lots", "the method SPECIFIC needs the lots named: use select_specific")


def _check_sale(lots: Sequence[TaxLot], sale: Sale) -> None:
    require_amount("sale.quantity", sale.quantity, positive=True)
    require_amount("sale.price", sale.price)
    if len({lot.lot_id for lot in lots}) < len(lots):
        raise ProblemError("lots", "a lot id is given twice")
    held = sum((lot.quantity for lot in lots), ZERO)
    if held < sale.quantity:
        raise ProblemError("lots", f"hold {held} shares, fewer than the {sale.quantity} to be sold")
    for lot in lots:
        if lot.acquired_on > sale.sold_on:
            raise ProblemError(f"lots[{lot.lot_id}].acquired_on", f"is after the sale on {sale.sold_on.isoformat()}")
