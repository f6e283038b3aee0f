"""Schedules against numerical minimisation, and what holds for slices of any trade."""

import math
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from kernel.errors import ProblemError
from kernel.rebalancing.almgren_chriss import LinearImpact, almgren_chriss
from kernel.rebalancing.execution import (
    ExecutionSettings,
    Liquidity,
    days_needed,
    slice_trade,
    sliced_cost,
)


def least(periods, eta, variance_price, most=math.inf):
    """Parts of one that minimise eta sum n^2 + variance_price sum x^2, found by a general solver."""
    left = np.tril(np.ones((periods, periods)), -1).T
    quadratic = 2.0 * (eta * np.eye(periods) + variance_price * left.T @ left) / max(eta, variance_price)
    result = minimize(
        lambda n: 0.5 * n @ quadratic @ n,
        np.full(periods, 1.0 / periods),
        jac=lambda n: quadratic @ n,
        method="SLSQP",
        bounds=[(0.0, min(most, 1.0))] * periods,
        constraints=LinearConstraint(np.ones((1, periods)), 1.0, 1.0),
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert result.success
    return result.x


@pytest.mark.parametrize("periods", [1, 2, 5, 8])
@pytest.mark.parametrize("risk_aversion", [0.0, 1e-8, 1e-6, 1e-5])
@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_schedule_is_the_minimum(periods, risk_aversion, tau):
    shares, impact = 1e6, LinearImpact(0.95, 0.0625, 2.5e-6, 2.5e-7)
    schedule = almgren_chriss(shares, periods, impact, risk_aversion, tau)
    eta = (impact.temporary - impact.permanent * tau / 2) / tau
    wanted = least(periods, eta * 1e6, risk_aversion * impact.volatility**2 * tau * 1e6)
    np.testing.assert_allclose(np.array(schedule.trades) / shares, wanted, atol=2e-6)


@pytest.mark.parametrize("days", [4, 6, 9])
@pytest.mark.parametrize("risk_aversion", [0.0, 1e-9, 1e-8, 1e-7, 1e-6])
def test_capped_schedule_is_the_minimum(days, risk_aversion):
    """The largest slice is 26% of the trade, so that impatience meets it."""
    quantity, price, volume, volatility = Decimal(10**8), Decimal(50), Decimal(52 * 10**7), Decimal("0.02")
    liquidity = Liquidity(price, volume, volatility)
    settings = ExecutionSettings(Decimal("0.05"), days, risk_aversion, impact_coefficient=Decimal(1))
    slices = slice_trade(quantity, Decimal(1), liquidity, settings)
    part = float(quantity) / days
    eta = 0.02 * 50 / math.sqrt(part * float(volume))
    scale = 1.0 / eta
    wanted = least(days, 1.0, risk_aversion * (0.02 * 50) ** 2 * scale, most=0.26)
    found = np.array([float(shares / quantity) for shares in slices] + [0.0] * (days - len(slices)))
    np.testing.assert_allclose(found, wanted, atol=3e-6)


def test_schedule_without_overflow():
    schedule = almgren_chriss(1e6, 250, LinearImpact(100.0, 0.0, 1e-12), 1e3, 1.0)
    assert schedule.trades[0] == pytest.approx(1e6)
    assert all(math.isfinite(trade) and trade >= 0.0 for trade in schedule.trades)
    slow = almgren_chriss(1e6, 250, LinearImpact(1e-9, 0.0, 1.0), 1e-12, 1.0)
    np.testing.assert_allclose(slow.trades, 4000.0, rtol=1e-9)


def test_urgency_solves_its_equation():
    impact = LinearImpact(0.95, 0.0, 2.5e-6, 2.5e-7)
    for tau in (0.25, 1.0, 5.0):
        kappa = almgren_chriss(1e6, 4, impact, 1e-6, tau).kappa
        eta = impact.temporary - impact.permanent * tau / 2
        assert 2 / tau**2 * (math.cosh(kappa * tau) - 1) == pytest.approx(1e-6 * 0.95**2 / eta, rel=1e-12)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("shares", (0.0, 3, 0.0, 1.0)),
        ("shares", (math.nan, 3, 0.0, 1.0)),
        ("shares", (-5.0, 3, 0.0, 1.0)),
        ("periods", (1.0, 0, 0.0, 1.0)),
        ("risk_aversion", (1.0, 3, -1e-9, 1.0)),
        ("risk_aversion", (1.0, 3, math.inf, 1.0)),
        ("tau", (1.0, 3, 0.0, 0.0)),
        ("impact.temporary", (1.0, 3, 0.0, 100.0)),
    ],
)
def test_schedule_refusals(field, arguments):
    shares, periods, risk_aversion, tau = arguments
    with pytest.raises(ProblemError) as refused:
        almgren_chriss(shares, periods, LinearImpact(1.0, 0.1, 2.5e-6, 2.5e-7), risk_aversion, tau)
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["volatility", "half_spread", "temporary", "permanent"])
def test_impact_refusals(name):
    numbers = {"volatility": 1.0, "half_spread": 0.1, "temporary": 1.0, "permanent": 0.0}
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ProblemError, match=name):
            LinearImpact(**numbers | {name: wrong})


trades = st.builds(
    dict,
    quantity=st.decimals("0.001", 50_000, places=3),
    increment=st.sampled_from([Decimal("0.001"), Decimal("0.5"), Decimal(1), Decimal(7), Decimal(100)]),
    volume=st.decimals(200, 10**6, places=0),
    participation=st.decimals("0.01", 1, places=2),
    days=st.integers(0, 40),
    risk_aversion=st.sampled_from([0.0, 1e-7, 1e-5, 1e-3, 10.0]),
    coefficient=st.sampled_from([Decimal(0), Decimal(1)]),
    volatility=st.sampled_from([None, Decimal(0), Decimal("0.02")]),
)


@given(trades)
def test_slices_of_any_trade(trade):
    liquidity = Liquidity(Decimal("12.34"), trade["volume"], trade["volatility"])
    settings = ExecutionSettings(
        trade["participation"],
        trade["days"],
        trade["risk_aversion"],
        impact_coefficient=trade["coefficient"],
        most_days=10**6,
    )
    quantity, increment, most = trade["quantity"], trade["increment"], trade["participation"] * trade["volume"]
    if quantity > most and increment > most:
        with pytest.raises(ProblemError, match="max_participation"):
            slice_trade(quantity, increment, liquidity, settings)
        return
    if quantity > 2000 * most:
        return
    slices = slice_trade(quantity, increment, liquidity, settings)
    assert sum(slices) == quantity
    assert all(0 <= shares <= most for shares in slices)
    assert slices[-1] > 0
    assert sum(1 for shares in slices if shares % increment) == (1 if quantity % increment else 0)
    if quantity <= most:
        assert slices == (quantity,)
    else:
        fewest = days_needed(quantity, most // increment * increment)
        assert len(slices) <= max(fewest, trade["days"])
        assert len([shares for shares in slices if shares]) >= fewest
    if trade["risk_aversion"]:
        whole = [shares - shares % increment for shares in slices]
        assert all(later <= earlier + increment for earlier, later in pairwise(whole))


@given(
    largest=st.integers(10**9, 10**17),
    full=st.integers(1, 12),
    beyond=st.integers(-5, 5),
    days=st.integers(0, 15),
    risk_aversion=st.sampled_from([0.0, 1e-12, 1e-9, 1e-6]),
    coefficient=st.sampled_from([Decimal(0), Decimal(1)]),
)
def test_slices_of_more_shares_than_floating_point_counts(largest, full, beyond, days, risk_aversion, coefficient):
    quantity, liquidity = Decimal(largest * full + beyond), Liquidity(Decimal(50), Decimal(largest), Decimal("0.02"))
    settings = ExecutionSettings(Decimal(1), days, risk_aversion, impact_coefficient=coefficient)
    slices = slice_trade(quantity, Decimal(1), liquidity, settings)
    assert sum(slices) == quantity
    assert all(0 <= shares <= largest for shares in slices)
    assert all(shares == int(shares) for shares in slices)
    assert len(slices) <= max(days, days_needed(quantity, Decimal(largest)))


@pytest.mark.parametrize("impatient", [0.0, 1e-6])
def test_more_days_than_needed(impatient):
    liquidity = Liquidity(Decimal(50), Decimal(1000), Decimal("0.02"))
    settings = ExecutionSettings(Decimal("0.1"), 20, impatient, impact_coefficient=Decimal(1))
    assert len(slice_trade(Decimal(1000), Decimal(1), liquidity, settings)) == 20
    assert slice_trade(Decimal(100), Decimal(1), liquidity, settings) == (Decimal(100),)


def test_impatience_without_impact_is_as_early_as_possible():
    liquidity = Liquidity(Decimal(50), Decimal(1000), Decimal("0.02"))
    settings = ExecutionSettings(Decimal("0.1"), 10, 1e-9)
    expected = (Decimal(100), Decimal(100), Decimal("50.5"))
    assert slice_trade(Decimal("250.5"), Decimal(1), liquidity, settings) == expected


@pytest.mark.parametrize("full", [1, 2, 7])
@pytest.mark.parametrize("coefficient", [Decimal(0), Decimal("1e-320"), Decimal("1e-400"), Decimal("1e-18")])
@pytest.mark.parametrize("rest", ["0.000000000001", "0.00000000000000000001"])
def test_what_floating_point_does_not_see_beyond_full_slices_has_a_day_of_its_own(full, coefficient, rest):
    most, rest = Decimal(10**6), Decimal(rest)
    quantity, liquidity = full * most + rest, Liquidity(Decimal(10), most, Decimal("0.02"))
    settings = ExecutionSettings(Decimal(1), 0, 1.0, impact_coefficient=coefficient)
    assert slice_trade(quantity, Decimal(1), liquidity, settings) == (most,) * full + (rest,)


@pytest.mark.parametrize("coefficient", ["1e-320", "1e-324", "1e-400"])
def test_an_impact_too_small_to_count_is_none(coefficient):
    liquidity = Liquidity(Decimal(10), Decimal(10**6), Decimal("0.02"))
    slices = [
        slice_trade(
            Decimal(2_500_000), Decimal(1), liquidity, ExecutionSettings(Decimal(1), 6, 1.0, Decimal(0), impact)
        )
        for impact in (Decimal(coefficient), Decimal(0))
    ]
    assert slices[0] == slices[1] == (Decimal(10**6), Decimal(10**6), Decimal(500_000))


def test_days_of_a_trade_with_more_digits_than_a_quotient_has():
    assert days_needed(Decimal("300000000.00000000000000000001"), Decimal(10**8)) == 4
    assert days_needed(Decimal(300_000_000), Decimal(10**8)) == 3


def test_more_aversion_means_less_risk_and_more_cost():
    liquidity = Liquidity(Decimal(50), Decimal(10**6), Decimal("0.02"))
    costs = []
    for risk_aversion in (0.0, 1e-7, 1e-6, 1e-5):
        settings = ExecutionSettings(Decimal("0.5"), 10, risk_aversion, Decimal("0.0005"), Decimal(1))
        costs.append(sliced_cost(slice_trade(Decimal(10**6), Decimal(1), liquidity, settings), liquidity, settings))
    assert [cost.risk for cost in costs] == sorted((cost.risk for cost in costs), reverse=True)
    assert [cost.expected for cost in costs] == sorted(cost.expected for cost in costs)
    assert len({cost.expected for cost in costs}) == 4


def test_cost_and_risk_of_slices_by_hand():
    """Two days of 300 and 100 shares at 20: 100 shares wait a night with 2% volatility, 40 of risk."""
    liquidity = Liquidity(Decimal(20), Decimal(10_000), Decimal("0.02"))
    settings = ExecutionSettings(half_spread=Decimal("0.001"), impact_coefficient=Decimal(1))
    cost = sliced_cost((Decimal(300), Decimal(100)), liquidity, settings)
    assert cost.risk == 40
    spread, impact = 8.0, 0.02 * 20 * (300 * math.sqrt(0.03) + 100 * math.sqrt(0.01))
    assert float(cost.expected) == pytest.approx(spread + impact, rel=1e-12)


def test_unknown_volatility_leaves_the_risk_open():
    liquidity = Liquidity(Decimal(20), Decimal(10_000))
    cost = sliced_cost((Decimal(300), Decimal(100)), liquidity, ExecutionSettings(half_spread=Decimal("0.001")))
    assert (cost.expected, cost.risk) == (Decimal(8), None)
    with pytest.raises(ProblemError, match="impact_coefficient"):
        sliced_cost((Decimal(300),), liquidity, ExecutionSettings(impact_coefficient=Decimal(1)))


def test_unknown_volume_or_too_many_days():
    limited = ExecutionSettings(Decimal("0.1"))
    with pytest.raises(ProblemError, match="average daily volume"):
        slice_trade(Decimal(10), Decimal(1), Liquidity(Decimal(20)), limited)
    with pytest.raises(ProblemError, match="2501 days, more than 250"):
        slice_trade(Decimal("2500.1"), Decimal("0.1"), Liquidity(Decimal(20), Decimal(10)), limited)
    assert len(slice_trade(Decimal(250), Decimal(1), Liquidity(Decimal(20), Decimal(10)), limited)) == 250


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("max_participation", Decimal(0)),
        ("max_participation", Decimal("1.01")),
        ("max_participation", Decimal("NaN")),
        ("days", -1),
        ("risk_aversion", math.nan),
        ("risk_aversion", -1.0),
        ("half_spread", Decimal(-1)),
        ("impact_coefficient", Decimal("Infinity")),
    ],
)
def test_settings_refusals(name, wrong):
    with pytest.raises(ProblemError, match=name):
        ExecutionSettings(**{name: wrong})
