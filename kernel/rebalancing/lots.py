"""Tax lots: which are sold, in which order, with what gain and what term."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from kernel.errors import ProblemError
from kernel.rebalancing.money import ZERO, require_amount, to_cents

_MONTHS = 12


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
        lot_id: Unique within the instrument.
        quantity: Shares, > 0.
        unit_cost: Money per share, >= 0.
        acquired_on: Trade date of the purchase.
    """

    lot_id: str
    quantity: Decimal
    unit_cost: Decimal
    acquired_on: date

    def __post_init__(self) -> None:
        require_amount(f"lots[{self.lot_id}].quantity", self.quantity, positive=True)
        require_amount(f"lots[{self.lot_id}].unit_cost", self.unit_cost)


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
    """

    quantity: Decimal
    price: Decimal
    sold_on: date


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
    start = acquired_on + timedelta(days=1)
    years, month = divmod(start.month - 1 + months, 12)
    following = divmod(month + 1, 12)
    try:
        return date(start.year + years, month + 1, start.day)
    except ValueError:
        return date(start.year + years + following[0], following[1] + 1, 1)


def first_long_term_date(acquired_on: date) -> date:
    """First trade date on which a sale is long-term: held for more than one year.

    Args:
        acquired_on: Trade date of the purchase.

    Returns:
        The date.
    """
    return first_date_beyond(acquired_on, _MONTHS)


def holding_term(acquired_on: date, sold_on: date) -> Term:
    """Term of a sale.

    Args:
        acquired_on: Trade date of the purchase.
        sold_on: Trade date of the sale.

    Returns:
        Long if held for more than one year, else short.
    """
    return Term.LONG if sold_on >= first_long_term_date(acquired_on) else Term.SHORT


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
    ordered = sorted(lots, key=_order(method, sale, rates))
    sales: list[LotSale] = []
    filled = ZERO
    for lot in ordered:
        quantity = min(lot.quantity, sale.quantity - filled)
        if not quantity:
            break
        sales.append(_sell(lot, quantity, filled, sale))
        filled += quantity
    return tuple(sales)


def _sell(lot: TaxLot, quantity: Decimal, filled: Decimal, sale: Sale) -> LotSale:
    """Proceeds are differences of rounded running totals, so that no cent is lost between lots."""
    proceeds = to_cents((filled + quantity) * sale.price) - to_cents(filled * sale.price)
    basis = to_cents(quantity * lot.unit_cost)
    return LotSale(lot, quantity, proceeds, basis, proceeds - basis, holding_term(lot.acquired_on, sale.sold_on))


_Key = tuple[Decimal, Decimal, int, str]


def _order(method: LotMethod, sale: Sale, rates: GainRates) -> Callable[[TaxLot], _Key]:
    def key(lot: TaxLot) -> _Key:
        group, rank = _rank(method, lot, sale, rates)
        return group, rank, lot.acquired_on.toordinal(), lot.lot_id

    return key


def _rank(method: LotMethod, lot: TaxLot, sale: Sale, rates: GainRates) -> tuple[Decimal, Decimal]:
    """Group and rank of a lot, both ascending; FIFO is the tie-break alone."""
    gain, term = sale.price - lot.unit_cost, holding_term(lot.acquired_on, sale.sold_on)
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
            raise ProblemError("lots", "the method SPECIFIC takes the lots that are named, in their order")


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
