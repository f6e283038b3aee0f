"""Records of what taxes look at beside portfolios: transactions, settled wash sales, rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A purchase or a sale that happened. Money is in the portfolio's currency.

    Attributes:
        id: Unique in the portfolio.
        action: ``buy`` or ``sell``.
        quantity: Shares, > 0.
        price: Per share, > 0.
        cost: Of trading, >= 0.
        lot_id: Lot that a purchase opened or a sale took from; None if unknown.
        acquired_on: For a sale: day on which its shares were acquired; None if unknown.
        held_since: For a sale: day from which the holding period of its shares counted, where a wash sale moved it.
        gain: For a sale: negative for a loss, before any wash sale; None if unknown.
        rebalance_id: Plan whose execution it was; None for what happened outside of the service.
        sequence: Place in the order of recording, given by the database.
    """

    portfolio_id: str
    id: str
    instrument_id: str
    action: str
    quantity: Decimal
    price: Decimal
    traded_on: date
    cost: Decimal = Decimal(0)
    lot_id: str | None = None
    acquired_on: date | None = None
    held_since: date | None = None
    gain: Decimal | None = None
    rebalance_id: str | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class TransactionPlace:
    """The place of a transaction in the list of its portfolio, which is ordered by days, oldest first."""

    traded_on: date
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WashSaleRecord:
    """Shares of a sale at a loss that shares of a lot have replaced.

    Attributes:
        portfolio_id: Of the sale.
        sale_id: The sale's transaction.
        quantity: Shares, > 0.
    """

    portfolio_id: str
    sale_id: str
    replacement_portfolio_id: str
    replacement_lot_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRule:
    """Rules on gains and losses that hold for sales from a day on.

    Attributes:
        jurisdiction: Name of the rules, e.g. ``US``.
        long_term_months: A gain is long-term when held for more than this number of months.
        wash_sale_days: Days before and after a sale at a loss within which a purchase disallows it.
        yearly_loss_limit: Net loss that reduces other income in a year.
        separate_loss_limit: The same for those who file separately.
        source: Section of law.
    """

    jurisdiction: str
    valid_from: date
    long_term_months: int
    wash_sale_days: int
    yearly_loss_limit: Decimal
    separate_loss_limit: Decimal
    source: str = ""
