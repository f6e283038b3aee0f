"""Weights of past days from today's holdings, against accounts kept by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.compute.holdings import Account, Prices, Trade, current_shares, current_weights, recorded_shares
from server.errors import NotReady

DAYS = np.array(["2022-01-03", "2022-01-04", "2022-01-05", "2022-01-06"], dtype="datetime64[D]")
CLOSES = np.array([[10.0, 50.0], [11.0, 48.0], [12.0, 45.0], [9.0, 60.0]])
PRICES = Prices(("A", "B"), DAYS[1:], DAYS[:-1], CLOSES[:-1], CLOSES[1:])


def trade(day: int, column: int, quantity: str, price: str, cost: str = "0") -> Trade:
    return Trade(date(2022, 1, day), column, Decimal(quantity), Decimal(price), Decimal(cost))


def account(*quantities: str, cash: str = "0", **changes: object) -> Account:
    return replace(Account(tuple(map(Decimal, quantities)), Decimal(cash)), **changes)


def test_current_weights_are_the_same_on_all_days() -> None:
    held = current_weights(np.array([0.25, 0.5]), 3)
    np.testing.assert_array_equal(held.W, [0.25, 0.5])
    np.testing.assert_array_equal(held.trading, np.zeros(3))


def test_current_shares_follow_prices() -> None:
    held = current_shares(PRICES, account("10", "2", cash="100"))
    value = np.array([300.0, 306.0, 310.0])
    np.testing.assert_allclose(held.W, np.array([[100.0, 100.0], [110.0, 96.0], [120.0, 90.0]]) / value[:, None])
    assert held.owed == ()


def test_recorded_trades_are_walked_back() -> None:
    """On the 4th, 4 A were bought at 10.5 for 1 of cost, and on the 6th 1 B sold at 59 for 2; the 7th is after all."""
    trades = (trade(4, 0, "4", "10.5", "1"), trade(6, 1, "-1", "59", "2"), trade(7, 0, "5", "9"))
    held = recorded_shares(PRICES, account("19", "2", cash="100", trades=trades))
    # Cash, from the end: 100 + 45 = 145 on the 6th, less 59 - 2 before, and 42 + 1 more before the 4th.
    shares, cash = np.array([[10.0, 3.0], [14.0, 3.0], [14.0, 3.0]]), np.array([131.0, 88.0, 88.0])
    value = (shares * CLOSES[:-1]).sum(axis=1) + cash
    np.testing.assert_allclose(held.W, shares * CLOSES[:-1] / value[:, None], rtol=1e-14)
    gains = np.array([4 * (11.0 - 10.5) - 1.0, 0.0, -1 * (60.0 - 59.0) - 2.0])
    np.testing.assert_allclose(held.trading, gains / value, rtol=1e-14)
    # What weights and trades earn is what the account was worth more at the end of each day.
    ends = np.array([11.0 * 14 + 48 * 3 + 88, 12.0 * 14 + 45 * 3 + 88, 9.0 * 14 + 60 * 2 + 145])
    earned = (held.W * PRICES.R).sum(axis=1) + held.trading
    np.testing.assert_allclose(earned, ends / value - 1.0, rtol=0, atol=1e-15)


def test_a_trade_between_trading_days_counts_on_the_next() -> None:
    days = np.array(["2022-01-07", "2022-01-10"], dtype="datetime64[D]")
    prices = Prices(("A",), days[1:], days[:1], np.array([[10.0]]), np.array([[12.0]]))
    held = recorded_shares(prices, account("3", cash="70", trades=(trade(8, 0, "1", "11"),)))
    np.testing.assert_allclose(held.W, [[20.0 / 101.0]])
    np.testing.assert_allclose(held.trading, [1.0 / 101.0])


def test_a_trade_on_a_day_that_is_left_out_is_walked_back_too() -> None:
    """The factors lack the 5th: its return does not count, but the 4 A bought on it were not held before."""
    kept = [0, 2]
    prices = Prices(("A", "B"), DAYS[1:][kept], DAYS[:-1][kept], CLOSES[:-1][kept], CLOSES[1:][kept])
    held = recorded_shares(prices, account("14", "2", cash="100", trades=(trade(5, 0, "4", "12.5", "1"),)))
    worth = np.array([[10.0 * 10, 50.0 * 2], [12.0 * 14, 45.0 * 2]])
    value = worth.sum(axis=1) + np.array([100.0 + 51.0, 100.0])
    np.testing.assert_allclose(held.W, worth / value[:, None], rtol=1e-14)
    np.testing.assert_array_equal(held.trading, [0.0, 0.0])


def test_trades_before_the_period_do_not_count() -> None:
    kept = account("10", "2", cash="100")
    early = replace(kept, trades=(trade(3, 0, "10", "10"),))
    np.testing.assert_array_equal(recorded_shares(PRICES, early).W, current_shares(PRICES, kept).W)


def test_shares_that_cannot_have_been_held_are_refused_by_name_and_day() -> None:
    bought = account("3", "2", cash="100", trades=(trade(5, 0, "5", "12"),))
    with pytest.raises(NotReady, match="-2 shares of A were held on 2022-01-04"):
        recorded_shares(PRICES, bought)
    shorted = recorded_shares(PRICES, replace(bought, may_be_short=True))
    assert shorted.W[0, 0] < 0
    with pytest.raises(NotReady, match="-2 shares of A were held on 2022-01-05"):
        recorded_shares(PRICES, replace(bought, trades=(trade(7, 0, "5", "12"),)))
    covered = account("-3", "2", cash="100", trades=(trade(5, 0, "5", "12"),))
    assert recorded_shares(PRICES, covered).W[0, 0] < 0


def test_a_day_without_value_is_refused_by_name() -> None:
    with pytest.raises(NotReady, match=r"worth -0\.50 on 2022-01-05"):
        current_shares(PRICES, account("-10", "2", cash="29.5"))
    with pytest.raises(NotReady, match=r"worth 0\.00 on 2022-01-03"):
        current_shares(PRICES, account("10", "-2"))


def test_days_of_negative_cash_are_told() -> None:
    spent = account("10", "2", cash="10", trades=(trade(6, 1, "-1", "60"),))
    assert recorded_shares(PRICES, spent).owed == ("2022-01-03", "2022-01-04", "2022-01-05")


@given(
    st.lists(
        st.tuples(
            st.integers(3, 8), st.integers(0, 1), st.decimals("-3", "3", places=6), st.decimals("1", "90", places=2)
        ),
        max_size=8,
    )
)
def test_the_account_earns_what_its_value_gains(rows: list[tuple[int, int, Decimal, Decimal]]) -> None:
    """In exact arithmetic, from the first holdings forward: what the walk back finds is what was there."""
    trades = tuple(
        Trade(date(2022, 1, day), column, quantity, price, Decimal("0.5"))
        for day, column, quantity, price in sorted(rows, key=lambda row: row[0])
    )
    shares, cash = [Fraction(100), Fraction(100)], Fraction(5000)
    values, returns = [], []
    for row, day in enumerate(DAYS):
        for made in (t for t in trades if t.day == day.item() and row):
            shares[made.column] += Fraction(made.quantity)
            cash -= Fraction(made.quantity) * Fraction(made.price) + Fraction(made.cost)
        worth = sum(Fraction(price) * held for price, held in zip(CLOSES[row].tolist(), shares, strict=True)) + cash
        if values:
            returns.append(worth / values[-1] - 1)
        values.append(worth)
    for made in (t for t in trades if t.day > DAYS[-1].item()):
        shares[made.column] += Fraction(made.quantity)
        cash -= Fraction(made.quantity) * Fraction(made.price) + Fraction(made.cost)
    quantities = tuple(Decimal(part.numerator) / Decimal(part.denominator) for part in shares)
    today = Account(quantities, Decimal(cash.numerator) / Decimal(cash.denominator), trades=trades)
    held = recorded_shares(PRICES, today)
    earned = (held.W * PRICES.R).sum(axis=1) + held.trading
    np.testing.assert_allclose(earned, [float(part) for part in returns], rtol=0, atol=1e-12)
