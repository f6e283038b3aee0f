"""Drift and costs against a plain ledger of money, and against closed forms."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from kernel.validation.simulation import Floats, drift, realised, trade

DAYS = 252.0


def market(days: int = 30, assets: int = 4) -> Floats:
    R = np.random.default_rng(7).normal(0.001, 0.02, (days, assets + 1))
    R[:, -1] = 0.02 / DAYS
    return R


def ledger(w: list[float], R: list[list[float]]) -> tuple[list[float], list[list[float]]]:
    """Wealth and weights by moving money of each asset by hand, a day at a time."""
    money, wealth, weights = list(w), [], []
    for day in R:
        money = [held * (1.0 + change) for held, change in zip(money, day, strict=True)]
        total = math.fsum(money)
        wealth.append(total)
        weights.append([held / total for held in money])
    return wealth, weights


@pytest.mark.parametrize(
    "w", [[0.2, 0.3, 0.1, 0.3, 0.1], [0.7, -0.3, 0.4, -0.2, 0.4], [0.5, 0.5, 0.4, 0.0, -0.4]], ids=str
)
def test_a_path_is_the_one_of_a_ledger(w: list[float]) -> None:
    R = market()
    path = drift(np.array(w), R)
    wealth, weights = ledger(w, R.tolist())
    np.testing.assert_allclose(path.wealth, wealth, rtol=1e-13)
    np.testing.assert_allclose(path.weights, weights, rtol=1e-12, atol=1e-15)
    assert path.weights.sum(axis=1) == pytest.approx(1.0, abs=1e-14)


def test_what_is_realised_is_what_the_ledger_says() -> None:
    w, R, cost = [0.2, 0.3, 0.1, 0.3, 0.1], market(), 0.004
    wealth, _ = ledger(w, R.tolist())
    daily = [after / before - 1.0 for before, after in zip([1.0, *wealth], wealth, strict=False)]
    values = [1.0, *((1.0 - cost) * value for value in wealth)]
    peak, deepest = 0.0, 0.0
    for value in values:
        peak = max(peak, value)
        deepest = max(deepest, 1.0 - value / peak)
    found = realised(drift(np.array(w), R), cost)
    assert found.volatility(DAYS) == pytest.approx(statistics.stdev(daily) * math.sqrt(DAYS), rel=1e-12)
    assert found.total == pytest.approx(values[-1] - 1.0, rel=1e-12)
    assert found.maximum_drawdown == pytest.approx(deepest, rel=1e-12)
    assert found.net[1:].tolist() == found.gross[1:].tolist()


def test_two_assets_drift_apart_as_compound_interest_says() -> None:
    """Half in each: after t days the share of the first is 1 / (1 + ((1 + b) / (1 + a))^t)."""
    a, b, t = 0.01, -0.005, np.arange(1, 22)
    path = drift(np.array([0.5, 0.5, 0.0]), np.tile([a, b, 0.0], (21, 1)))
    np.testing.assert_allclose(path.weights[:, 0], 1.0 / (1.0 + ((1.0 + b) / (1.0 + a)) ** t), rtol=1e-13)
    np.testing.assert_allclose(path.wealth, 0.5 * (1.0 + a) ** t + 0.5 * (1.0 + b) ** t, rtol=1e-13)
    back = trade(path.weights[-1], np.array([0.5, 0.5, 0.0]), 0.002)
    moved = path.weights[-1, 0] - 0.5
    assert (back.turnover, back.cost) == pytest.approx((moved, 0.002 * 2.0 * moved), rel=1e-12)


def test_equal_returns_move_no_weights_and_have_no_risk() -> None:
    path = drift(np.array([0.25, 0.75, 0.0]), np.full((10, 3), 0.001))
    found = realised(path, 0.0)
    np.testing.assert_allclose(path.weights, np.tile([0.25, 0.75, 0.0], (10, 1)), atol=1e-15)
    assert found.volatility(DAYS) == pytest.approx(0.0, abs=1e-13)
    assert found.total == pytest.approx(1.001**10 - 1.0, rel=1e-12)
    assert found.maximum_drawdown == 0.0


def test_trading_cash_costs_nothing_and_counts_as_turnover() -> None:
    found = trade(np.array([0.0, 0.0, 1.0]), np.array([0.6, 0.4, 0.0]), 0.01)
    assert (found.turnover, found.cost) == pytest.approx((1.0, 0.01))
    assert trade(np.array([0.6, 0.4, 0.0]), np.array([0.6, 0.4, 0.0]), 0.01).cost == 0.0


def test_debt_beyond_all_value_leaves_no_wealth() -> None:
    path = drift(np.array([-1.0, 2.0]), np.array([[1.0, 0.0], [0.5, 0.0]]))
    assert path.wealth.tolist() == [0.0, -1.0]
    assert np.isfinite(path.weights).all()
