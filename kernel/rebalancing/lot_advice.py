"""Advice on lots: what waiting for the long term saves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kernel.rebalancing.lots import (
    GainRates,
    TaxLot,
    Term,
    first_date_beyond,
    holding_term,
)


@dataclass(frozen=True, slots=True)
class WaitAdvice:
    """What waiting for the long term changes.

    Attributes:
        long_term_from: First trade date on which a sale is long-term.
        days_to_wait: Calendar days until then, > 0.
        tax_saved: Tax saved at the same price, money, unrounded; negative for a loss, which is worth more while it is
            short-term.
    """

    long_term_from: date
    days_to_wait: int
    tax_saved: Decimal


def wait_or_sell(lot: TaxLot, price: Decimal, day: date, rates: GainRates, months: int) -> WaitAdvice | None:
    """What selling a whole lot when it is long-term saves against selling it on a day.

        tax saved = (price - unit cost) * quantity * (short-term rate - long-term rate)

    Args:
        lot: The lot.
        price: Money per share, on both days.
        day: Trade date of a sale now.
        rates: Of both terms.
        months: Long-term is what was held for more than this number of months.

    Returns:
        The advice; None when the lot is long-term already.
    """
    if holding_term(lot.held_from, day, months) is Term.LONG:
        return None
    first = first_date_beyond(lot.held_from, months)
    gain = (price - lot.unit_cost) * lot.quantity
    return WaitAdvice(first, (first - day).days, gain * (rates.short_term - rates.long_term))
