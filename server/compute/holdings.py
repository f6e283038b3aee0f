"""What a portfolio held on every day of a period: its weights before each day's return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from server.compute.inputs import Floats
from server.errors import NotReady

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Trade:
    """A recorded purchase or sale.

    Attributes:
        day: On which it was made.
        column: Of the instrument among those of the period.
        quantity: Shares, negative for a sale.
        price: Per share.
        cost: Of trading, >= 0.
    """

    day: date
    column: int
    quantity: Decimal
    price: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """The holdings of today.

    Attributes:
        quantities: (n,) shares.
        cash: In the portfolio's currency.
        may_be_short: Whether quantities may be negative.
        trades: Recorded since the first day of the period, oldest first, also those after its last day.
    """

    quantities: tuple[Decimal, ...]
    cash: Decimal
    may_be_short: bool = False
    trades: tuple[Trade, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Prices around the days of a period.

    Attributes:
        ids: The n instruments.
        days: (T,) days of the returns.
        before: (T,) day of the price before each.
        opening: (T, n) prices of the days before.
        closing: (T, n) prices of the days.
    """

    ids: tuple[str, ...]
    days: npt.NDArray[np.datetime64]
    before: npt.NDArray[np.datetime64]
    opening: Floats
    closing: Floats

    @property
    def R(self) -> Floats:  # noqa: N802 - the literature's symbol
        """(T, n) simple returns."""
        return np.asarray(self.closing / self.opening - 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class HeldDays:
    """What was held over every day of a period.

    Attributes:
        W: (T, n) weights at the close before, fractions of the value then, or (n,) the same on all days; the rest is
            cash.
        trading: (T,) return of the day's trades from their price to the close, less their cost.
        owed: Days on which cash was negative.
    """

    W: Floats
    trading: Floats
    owed: tuple[str, ...] = ()


def current_weights(w: Floats, days: int) -> HeldDays:
    """The same weights on every day, as if rebalanced daily."""
    return HeldDays(w, np.zeros(days))


def current_shares(prices: Prices, account: Account) -> HeldDays:
    """The same shares and cash on every day: W_t = q P_(t-1) / (q P_(t-1) + cash).

    Raises:
        NotReady: They were worth nothing, or less, on a day, which is named.
    """
    quantities = np.array([float(quantity) for quantity in account.quantities])
    return _weighed(prices, prices.opening * quantities, np.full(len(prices.days), float(account.cash)))


def recorded_shares(prices: Prices, account: Account) -> HeldDays:
    """The shares and the cash of every day: today's, walked back through the recorded trades.

    A trade counts from the close of its day; what it earned from its own price to that close, less its cost, is a
    return of the day.

        q_(t-1) = q_t - bought + sold,  cash_(t-1) = cash_t + paid + costs - received

    Args:
        prices: Of the period.
        account: Holdings of today, and every trade since the first of the period's prices.

    Raises:
        NotReady: A quantity turns negative in an account that may not be short, or all of it was worth nothing, or
            less, on a day; instrument and day are named.
    """
    held, money = list(account.quantities), account.cash
    may_be_short = [account.may_be_short or quantity < _ZERO for quantity in held]
    trades, later = account.trades, len(account.trades)
    starts, ends = _places(trades, prices.before), _places(trades, prices.days)
    quantities, cash, gains = np.empty(prices.opening.shape), np.empty(len(ends)), np.zeros(len(ends))
    shares = np.array([float(quantity) for quantity in held])
    for row in reversed(range(len(ends))):
        # Also those after the day but before the next of the period, which need not be the next trading day.
        for trade in trades[starts[row] : later]:
            money = _undo(trade, held, money)
            shares[trade.column] = float(held[trade.column])
        for trade in trades[starts[row] : ends[row]]:
            gains[row] += float(trade.quantity) * (prices.closing[row, trade.column] - float(trade.price))
            gains[row] -= float(trade.cost)
        for column in sorted({trade.column for trade in trades[starts[row] : later]}):
            if held[column] < _ZERO and not may_be_short[column]:
                raise NotReady(_impossible(prices, row, column, held[column]))
        quantities[row], cash[row], later = shares, float(money), starts[row]
    return _weighed(prices, prices.opening * quantities, cash, gains)


def _places(trades: Sequence[Trade], days: npt.NDArray[np.datetime64]) -> list[int]:
    """How many of the trades were made until each of the days."""
    made = np.array([trade.day for trade in trades], dtype="datetime64[D]")
    return [int(place) for place in np.searchsorted(made, days, side="right")]


def _undo(trade: Trade, held: list[Decimal], money: Decimal) -> Decimal:
    held[trade.column] -= trade.quantity
    return money + trade.quantity * trade.price + trade.cost


def _impossible(prices: Prices, row: int, column: int, quantity: Decimal) -> str:
    found = (
        f"by the recorded transactions, {quantity:f} shares of {prices.ids[column]} were held on {prices.before[row]}"
    )
    return f"{found}, and the account may not be short: transactions are missing"


def _weighed(prices: Prices, worth: Floats, cash: Floats, gains: Floats | None = None) -> HeldDays:
    value = worth.sum(axis=1) + cash
    if (value <= 0.0).any():
        row = int(np.argmax(value <= 0.0))
        raise NotReady(
            f"the holdings of the portfolio were worth {value[row]:.2f} on {prices.before[row]}: "
            "weights have no meaning; choose a later first_date or HOLDINGS_BASIS_CURRENT_WEIGHTS"
        )
    trading = np.zeros(len(value)) if gains is None else gains / value
    owed = tuple(str(day) for day in prices.before[cash < 0.0])
    return HeldDays(worth / value[:, None], trading, owed)
