"""Capital gains tax with true netting of short-term and long-term gains, the yearly loss limit and the carry-over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from kernel.errors import ProblemError
from kernel.rebalancing.household import SettledSale
from kernel.rebalancing.lots import GainRates, LotSale, Term
from kernel.rebalancing.money import ZERO, require_amount, to_cents


@dataclass(frozen=True, slots=True)
class TaxRules:
    """How net gains are taxed; every number is the caller's.

    Attributes:
        rates: On net short-term and net long-term gains.
        loss_limit: Net loss per year that reduces other income; zero if none does.
        ordinary_rate: Of the income so reduced; None takes the short-term rate.
        carried_loss_value: Present value of one unit of loss carried to later years, in [0, 1].
    """

    rates: GainRates
    loss_limit: Decimal = ZERO
    ordinary_rate: Decimal | None = None
    carried_loss_value: Decimal = ZERO

    def __post_init__(self) -> None:
        require_amount("tax.loss_limit", self.loss_limit)
        for name, rate in (("ordinary_rate", self.income_rate), ("carried_loss_value", self.carried_loss_value)):
            if not ZERO <= rate <= 1:
                raise ProblemError(f"tax.{name}", f"must lie in [0, 1], got {rate}")

    @property
    def income_rate(self) -> Decimal:
        """Rate of the income that a net loss reduces."""
        return self.rates.short_term if self.ordinary_rate is None else self.ordinary_rate


@dataclass(frozen=True, slots=True)
class NetGains:
    """Gains less losses of each term, money; losses carried in from earlier years count as losses here."""

    short_term: Decimal = ZERO
    long_term: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Net of both terms."""
        return self.short_term + self.long_term

    def less(self, other: NetGains) -> NetGains:
        """The difference term by term."""
        return NetGains(self.short_term - other.short_term, self.long_term - other.long_term)

    def plus(self, other: NetGains) -> NetGains:
        """The two added term by term."""
        return NetGains(self.short_term + other.short_term, self.long_term + other.long_term)


@dataclass(frozen=True, slots=True)
class TaxBill:
    """What net gains cost.

    Attributes:
        gains: Net gains of each term before netting across.
        tax: Money, to the cent; negative when a loss saves tax on other income or has a carried value.
        deduction: Loss used against other income this year.
        carried_short_term: Short-term loss carried to the next year, >= 0.
        carried_long_term: Long-term loss carried to the next year, >= 0.
    """

    gains: NetGains
    tax: Decimal
    deduction: Decimal
    carried_short_term: Decimal
    carried_long_term: Decimal

    @property
    def carried_total(self) -> Decimal:
        """Loss of both terms carried to the next year, >= 0."""
        return self.carried_short_term + self.carried_long_term

    @property
    def carried(self) -> NetGains:
        """What the next year starts from: each term keeps its character."""
        return NetGains(-self.carried_short_term, -self.carried_long_term)


@dataclass(frozen=True, slots=True)
class SalesTax:
    """What a set of sales adds to the year's tax.

    Attributes:
        gains: Net gains of the sales alone, as far as they count.
        before: The year's bill without them.
        after: The year's bill with them.
        additional_tax: after.tax - before.tax.
        disallowed: Losses of the sales that wash sales disallow, money, >= 0.
        lost: Part of `disallowed` that no basis takes over.
    """

    gains: NetGains
    before: TaxBill
    after: TaxBill
    additional_tax: Decimal
    disallowed: Decimal = ZERO
    lost: Decimal = ZERO


def net_gains(sales: Iterable[LotSale]) -> NetGains:
    """Adds gains and losses up by term.

    Args:
        sales: Lot sales of any instruments.

    Returns:
        Net gains of each term.
    """
    totals = {Term.SHORT: ZERO, Term.LONG: ZERO}
    for sale in sales:
        totals[sale.term] += sale.gain
    return NetGains(totals[Term.SHORT], totals[Term.LONG])


def recognised_gains(sales: Iterable[SettledSale]) -> NetGains:
    """Adds up by term what counts for tax: a disallowed loss does not, nor does a sale in a retirement account.

    Args:
        sales: Parts of sales of any instruments and accounts.

    Returns:
        Net gains of each term.
    """
    totals = {Term.SHORT: ZERO, Term.LONG: ZERO}
    for sale in sales:
        totals[sale.term] += sale.recognised
    return NetGains(totals[Term.SHORT], totals[Term.LONG])


def tax_on(gains: NetGains, rules: TaxRules) -> TaxBill:
    """Tax of a year's net gains x_S and x_L with x = x_S + x_L.

        r_L max(0, x) + (r_S - r_L) max(0, min(x_S, x)) - r_o min(limit, max(0, -x)) - v max(0, -x - limit)

    A net loss of one term first offsets the other; of a total loss the limit reduces other income, short-term losses
    first, and the rest is carried with its character.

    Args:
        gains: Net gains of the year, losses carried in included.
        rules: Rates, limit and the value of a carried loss.

    Returns:
        The bill.

    References:
        26 USC 1211(b), 1212(b), 1222; 26 CFR 1.1212-1(b).
    """
    total, loss = gains.total, max(ZERO, -gains.total)
    deduction = min(rules.loss_limit, loss)
    rates = rules.rates
    tax = (
        rates.long_term * max(ZERO, total)
        + (rates.short_term - rates.long_term) * max(ZERO, min(gains.short_term, total))
        - rules.income_rate * deduction
        - rules.carried_loss_value * (loss - deduction)
    )
    carried_short = max(ZERO, min(loss, -gains.short_term) - deduction)
    return TaxBill(gains, to_cents(tax), deduction, carried_short, loss - deduction - carried_short)


def tax_of_settled(
    sales: Iterable[SettledSale], year_to_date: NetGains, rules: TaxRules, used: NetGains | None = None
) -> SalesTax:
    """Tax that sales add to the year, with what wash sales disallow and without sales in retirement accounts.

    Args:
        sales: Parts of sales that the wash-sale engine settled.
        year_to_date: Net gains realised this year, losses carried in included.
        rules: Rates, limit and the value of a carried loss.
        used: Losses carried in that are not there any more after the sales, by term; None for none.

    Returns:
        The bills without and with the sales, their difference, and what is disallowed.
    """
    parts = tuple(sales)
    tax = _added(recognised_gains(parts), year_to_date, rules, used or NetGains())
    disallowed = sum((sale.disallowed for sale in parts), ZERO)
    return replace(tax, disallowed=disallowed, lost=sum((sale.lost for sale in parts), ZERO))


def _added(gains: NetGains, year_to_date: NetGains, rules: TaxRules, used: NetGains) -> SalesTax:
    before, after = tax_on(year_to_date, rules), tax_on(year_to_date.plus(gains).plus(used), rules)
    return SalesTax(gains, before, after, after.tax - before.tax)
