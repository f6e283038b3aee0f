"""Advice on lots: how much a budget of gains lets one sell, and what waiting for the long term saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from itertools import accumulate

from kernel.rebalancing.lots import (
    GainRates,
    LotMethod,
    LotSale,
    Sale,
    TaxLot,
    Term,
    first_date_beyond,
    holding_term,
    select_lots,
    sell_from,
)
from kernel.rebalancing.money import ZERO, require_amount

TAX_BUDGET = "TAX_BUDGET"


@dataclass(frozen=True, slots=True)
class GainsBudget:
    """How much gain a sale may realise.

    Attributes:
        max_realized_gains: Net gain of all terms, money, >= 0.
        increment: Smallest number of shares that is sold, > 0; the whole sale is exempt.
    """

    max_realized_gains: Decimal
    increment: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        require_amount("budget.max_realized_gains", self.max_realized_gains)
        require_amount("budget.increment", self.increment, positive=True)


@dataclass(frozen=True, slots=True)
class BudgetedSale:
    """As much of a sale as a budget allows.

    Attributes:
        sales: The lots sold, in order.
        unsold: Shares of the sale that are left, >= 0.
        reason: Why some are left: TAX_BUDGET; None when none are.
    """

    sales: tuple[LotSale, ...]
    unsold: Decimal
    reason: str | None

    @property
    def gain(self) -> Decimal:
        """Net gain realised, money."""
        return sum((sale.gain for sale in self.sales), ZERO)


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


def select_within_budget(
    lots: Sequence[TaxLot], sale: Sale, method: LotMethod, rates: GainRates, budget: GainsBudget
) -> BudgetedSale:
    """Sells as many shares of a sale as a budget of net gains allows, in the order of a method.

    The gain of the first k shares rises and falls with k where lots at a gain and at a loss alternate; the answer is
    the largest k whose gain, to the cent, is within the budget.

    Args:
        lots: The lots of one instrument.
        sale: What is to be sold.
        method: The order of the lots.
        rates: Used by LEAST_TAX only.
        budget: The limit.

    Returns:
        What is sold, and what is left and why.

    Raises:
        ProblemError: As select_lots.
    """
    whole = select_lots(lots, sale, method, rates)
    filled = list(accumulate((part.quantity for part in whole), initial=ZERO))
    gains = list(accumulate((part.gain for part in whole), initial=ZERO))
    if gains[-1] <= budget.max_realized_gains:
        return BudgetedSale(whole, ZERO, None)
    for part, before, gain in reversed(list(zip(whole, filled, gains, strict=False))):
        per_share = part.gain / part.quantity
        room = part.quantity if per_share <= ZERO else (budget.max_realized_gains - gain) / per_share
        most = _increments(before + min(part.quantity, room), budget)
        fewest = most - 1 if per_share <= ZERO else _increments(before, budget)
        sold = _largest_within(whole, sale, budget, (fewest, most))
        if sold:
            return BudgetedSale(sold, sale.quantity - sum((each.quantity for each in sold), ZERO), TAX_BUDGET)
    return BudgetedSale((), sale.quantity, TAX_BUDGET)


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


def _increments(shares: Decimal, budget: GainsBudget) -> int:
    return int((shares / budget.increment).to_integral_value(ROUND_FLOOR))


def _largest_within(
    whole: tuple[LotSale, ...], sale: Sale, budget: GainsBudget, between: tuple[int, int]
) -> tuple[LotSale, ...]:
    """The most increments above the first number and up to the second within the budget to the cent; none if none."""
    fewest, most = between
    best: tuple[LotSale, ...] = ()
    trial = most
    while trial > fewest:
        sold = _first_shares(whole, trial * budget.increment, sale)
        if sum((part.gain for part in sold), ZERO) <= budget.max_realized_gains:
            best, fewest = sold, trial
        else:
            most = trial - 1
        trial = (fewest + most + 1) // 2
    return best


def _first_shares(whole: tuple[LotSale, ...], shares: Decimal, sale: Sale) -> tuple[LotSale, ...]:
    sold: list[LotSale] = []
    filled = ZERO
    for part in whole:
        quantity = min(part.quantity, shares - filled)
        if quantity <= ZERO:
            break
        sold.append(sell_from(part.lot, quantity, filled, sale))
        filled += quantity
    return tuple(sold)
