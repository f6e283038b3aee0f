"""The parts of attributed returns add up to them, day by day, linked and in the mean."""

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.factors.return_attribution import (
    FactorPeriod,
    Side,
    attribute_mean,
    attribute_returns,
    cash_weights,
    held,
    series,
)


def named(count):
    return tuple(f"day {place}" for place in range(count))


def world(seed, periods=250, n=8, k=3, risk_free=None):
    """Factors, instruments that follow them, and their exposures."""
    rng = np.random.default_rng(seed)
    F = 0.01 * rng.standard_normal((periods, k)) + 0.0003
    B = rng.standard_normal((n, k))
    R = F @ B.T + 0.005 * rng.standard_normal((periods, n)) + 0.0001
    period = FactorPeriod(
        days=named(periods),
        factors=tuple(f"f{place}" for place in range(k)),
        F=F,
        cash_rate=np.full(periods, 0.0001),
        risk_free=risk_free,
    )
    return period, R, B, rng


def test_the_parts_of_one_day_by_hand():
    period = FactorPeriod(
        days=("2024-01-02",),
        factors=("market", "value"),
        F=np.array([[0.01, -0.02]]),
        cash_rate=np.array([0.0002]),
        risk_free=np.array([0.0001]),
    )
    B = np.array([[1.0, 0.5], [0.8, -0.25]])
    portfolio = held(np.array([0.5, 0.25]), np.array([[0.012, 0.02]]), B, period.cash_rate)
    attribution = attribute_returns(period, portfolio)
    assert attribution.sources == ("market", "value", "risk_free", "cash", "specific")
    expected = [0.7 * 0.01, 0.1875 * -0.02, 0.75 * 0.0001, 0.25 * 0.0002]
    total = 0.5 * 0.012 + 0.25 * 0.02 + 0.25 * 0.0002
    assert attribution.portfolio.total == pytest.approx(total, rel=1e-14)
    assert attribution.portfolio.parts == pytest.approx([*expected, total - sum(expected)], abs=1e-17)
    assert attribution.average_exposures.tolist() == pytest.approx([0.7, 0.1875, 0.0, 0.0, 0.0])
    assert attribution.benchmark is None
    assert attribution.active is None


def test_days_are_linked_as_the_formula_says():
    period, R, B, rng = world(1, periods=20)
    W, v = rng.dirichlet(np.ones(8), size=20), rng.dirichlet(np.ones(8))
    portfolio, benchmark = held(W, R, B, period.cash_rate), held(v, R, B, period.cash_rate)
    attribution = attribute_returns(period, portfolio, benchmark)
    r, b = (W * R).sum(axis=1), R @ v
    total, reference = np.prod(1 + r) - 1, np.prod(1 + b) - 1
    single = (np.log1p(r) / r) / (np.log1p(total) / total)
    active = (np.log1p(r) - np.log1p(b)) / (r - b) / ((np.log1p(total) - np.log1p(reference)) / (total - reference))
    factors = single @ (W @ B * period.F)
    difference = active @ ((W - v) @ B * period.F)
    assert attribution.portfolio.parts == pytest.approx([*factors, total - factors.sum()], abs=1e-13)
    assert attribution.active.parts == pytest.approx([*difference, total - reference - difference.sum()], abs=1e-12)
    assert attribution.benchmark.total == pytest.approx(reference, abs=1e-14)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    cash=st.floats(-2.0, 1.0),
    changing=st.booleans(),
    excess=st.booleans(),
)
def test_parts_add_up_to_compounded_returns(seed, cash, changing, excess):
    rate = 0.00005 * np.random.default_rng(seed).random(250) if excess else None
    period, R, B, rng = world(seed, risk_free=rate)
    W = (1.0 - cash) * rng.dirichlet(np.ones(8), size=250)
    w = W if changing else W[0]
    portfolio = held(w, R, B, period.cash_rate)
    benchmark = held(rng.dirichlet(np.ones(8)), R, B, period.cash_rate)
    attribution = attribute_returns(period, portfolio, benchmark)
    for side, returns in ((attribution.portfolio, portfolio.returns), (attribution.benchmark, benchmark.returns)):
        assert side.total == pytest.approx(float(np.prod(1 + returns) - 1), rel=1e-12, abs=1e-12)
        assert math.fsum(side.parts) == pytest.approx(side.total, abs=1e-12)
    assert attribution.active.total == attribution.portfolio.total - attribution.benchmark.total
    assert math.fsum(attribution.active.parts) == pytest.approx(attribution.active.total, abs=1e-12)
    assert attribution.residual <= 1e-12


def test_8000_days_of_500_instruments_and_40_factors_leave_less_than_a_trillionth():
    period, R, B, rng = world(2, periods=8000, n=500, k=40)
    W = rng.dirichlet(np.ones(500), size=8000)
    v = rng.dirichlet(np.ones(500))
    attribution = attribute_returns(period, held(W, R, B, period.cash_rate), held(v, R, B, period.cash_rate))
    assert attribution.residual <= 1e-12


def test_active_parts_are_those_of_the_active_weights():
    """One day is linked by one, so that active parts are exact differences."""
    period, R, B, rng = world(3, periods=1)
    w, v = rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(8))
    attribution = attribute_returns(period, held(w, R, B, period.cash_rate), held(v, R, B, period.cash_rate))
    assert attribution.active.parts == pytest.approx(
        attribution.portfolio.parts - attribution.benchmark.parts, abs=1e-16
    )
    assert attribution.active.parts[:3] == pytest.approx((w - v) @ B * period.F[0], abs=1e-16)


def test_a_benchmark_known_by_its_prices_has_the_exposures_of_its_regression():
    period, R, B, rng = world(4)
    b = R @ rng.dirichlet(np.ones(8))
    fit = sm.OLS(b, sm.add_constant(period.F)).fit()
    attribution = attribute_returns(period, held(np.full(8, 0.125), R, B, period.cash_rate), series(b, fit.params[1:]))
    assert attribution.sources[-1] == "specific"
    assert attribution.benchmark.total == pytest.approx(float(np.prod(1 + b) - 1), abs=1e-13)
    assert "cash" not in attribution.sources


def test_the_order_of_instruments_changes_nothing():
    period, R, B, rng = world(5)
    W, order = rng.dirichlet(np.ones(8), size=250), rng.permutation(8)
    one = attribute_returns(period, held(W, R, B, period.cash_rate))
    other = attribute_returns(period, held(W[:, order], R[:, order], B[order], period.cash_rate))
    assert one.portfolio.parts == pytest.approx(other.portfolio.parts, abs=1e-14)


def test_the_mean_return_is_that_of_the_regression():
    """With exposures from a regression over the same days the specific part is its intercept."""
    period, R, _, rng = world(6)
    w = rng.dirichlet(np.ones(8))
    fits = [sm.OLS(column, sm.add_constant(period.F)).fit() for column in R.T]
    B = np.array([fit.params[1:] for fit in fits])
    attribution = attribute_mean(period, held(w, R, B, period.cash_rate))
    whole = sm.OLS(R @ w, sm.add_constant(period.F)).fit()
    assert attribution.sources == ("f0", "f1", "f2", "specific")
    assert attribution.parts[:3] == pytest.approx(252 * whole.params[1:] * period.F.mean(axis=0), abs=1e-13)
    assert attribution.parts[3] == pytest.approx(252 * whole.params[0], abs=1e-13)
    assert attribution.total == pytest.approx(252 * float((R @ w).mean()), rel=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_the_mean_return(seed):
    period, R, B, rng = world(seed, risk_free=np.full(250, 0.00004))
    attribution = attribute_mean(period, held(1.4 * rng.dirichlet(np.ones(8)), R, B, period.cash_rate))
    assert attribution.sources == ("f0", "f1", "f2", "risk_free", "cash", "specific")
    assert attribution.parts[3] == pytest.approx(252 * 1.4 * 0.00004, rel=1e-12)
    assert attribution.parts[4] == pytest.approx(252 * -0.4 * 0.0001, rel=1e-12)
    assert attribution.total == pytest.approx(math.fsum(attribution.parts), abs=1e-15)
    assert abs(attribution.residual) <= 1e-15
    assert math.fsum(attribution.fractions) == pytest.approx(1.0, abs=1e-12)


def test_a_known_mix_is_attributed_to_its_factors():
    period, _, _, _ = world(7)
    r = 0.0001 + period.F @ np.array([1.0, 0.0, -0.5])
    attribution = attribute_mean(period, series(r, np.array([1.0, 0.0, -0.5])))
    means = 252 * period.F.mean(axis=0)
    assert attribution.parts == pytest.approx([*(means * [1.0, 0.0, -0.5]), 0.0252], abs=1e-12)


def test_a_total_of_zero_has_no_shares():
    period, _, _, _ = world(8)
    attribution = attribute_mean(period, series(np.zeros(250), np.zeros(3)))
    assert attribution.total == 0.0
    assert attribution.fractions.tolist() == [0.0] * 4


def test_cash_is_what_weights_leave():
    assert cash_weights(np.array([[0.5, 0.25], [0.7, 0.5]])).tolist() == pytest.approx([0.25, -0.2])
    assert cash_weights(np.full((2, 10), 0.1)).tolist() == [0.0, 0.0]
    assert cash_weights(np.zeros((1, 0))).tolist() == [1.0]


def test_cash_alone_earns_its_interest():
    period, R, B, _ = world(9, risk_free=np.full(250, 0.0001))
    attribution = attribute_returns(period, held(np.zeros(8), R, B, period.cash_rate))
    parts = dict(zip(attribution.sources, attribution.portfolio.parts.tolist(), strict=True))
    assert parts.pop("cash") == pytest.approx(1.0001**250 - 1, rel=1e-12)
    assert parts == dict.fromkeys(parts, 0.0)


def test_a_day_that_loses_everything_is_named():
    period, R, B, _ = world(10, periods=5)
    R[3] = -0.4
    with pytest.raises(ProblemError, match=r"portfolio: loses .* on day 3"):
        attribute_returns(period, held(np.full(8, 0.5), R, B, period.cash_rate))


def test_what_does_not_fit_is_refused():
    period, R, B, _ = world(11)
    w = np.full(8, 0.125)
    with pytest.raises(ProblemError, match=r"weights: have shape \(3,\)"):
        held(w[:3], R, B, period.cash_rate)
    with pytest.raises(ProblemError, match="weights: contain a number that is not finite"):
        held(np.where(w > 0, np.nan, w), R, B, period.cash_rate)
    with pytest.raises(ProblemError, match=r"exposures: have shape \(5, 3\)"):
        held(w, R, B[:5], period.cash_rate)
    with pytest.raises(ProblemError, match="returns: exposures of shape"):
        attribute_returns(period, held(w, R[:9], B, period.cash_rate[:9]))
    with pytest.raises(ProblemError, match="returns: exposures of shape"):
        attribute_returns(period, held(w, R, B[:, :2], period.cash_rate))
    with pytest.raises(ProblemError, match="risk_free: have shape"):
        replace(period, risk_free=np.zeros(3))
    empty = FactorPeriod(days=(), factors=(), F=np.zeros((0, 0)), cash_rate=np.zeros(0))
    with pytest.raises(ProblemError, match="portfolio: there is no day"):
        attribute_mean(empty, Side(np.zeros(0), np.zeros((0, 0)), np.zeros(0)))
