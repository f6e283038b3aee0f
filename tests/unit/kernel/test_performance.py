"""Performance measures against closed forms, definitions and identities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.performance import (
    Benchmark,
    PerformanceSettings,
    conditional_value_at_risk,
    downside_deviation,
    effective_number_of_assets,
    maximum_drawdown,
    measure,
    portfolio_returns,
    risk_contributions,
    value_at_risk,
)
from kernel.problem import Moments


def moments_of(mu, Sigma):
    return Moments(tuple(f"asset {k}" for k in range(len(mu))), mu, (Sigma + Sigma.T) / 2)


MOMENTS = moments_of(np.array([0.08, 0.12]), np.array([[0.04, 0.01], [0.01, 0.09]]))
HISTORY = np.array([[0.01, -0.02], [-0.03, 0.01], [0.02, 0.02], [0.00, -0.01]])
HALVES = np.array([0.5, 0.5])


def random_problem(seed, n=12, periods=250):
    rng = np.random.default_rng(seed)
    R = 0.01 * rng.standard_normal((periods, n)) + 0.0004
    w = rng.dirichlet(np.ones(n))
    return R, w, moments_of(252 * R.mean(axis=0), 252 * np.cov(R, rowvar=False))


def test_return_volatility_and_sharpe_have_their_closed_forms():
    report = measure(HALVES, MOMENTS, HISTORY, settings=PerformanceSettings(risk_free_rate=0.02))
    assert report.expected_return == pytest.approx(0.10, rel=1e-15)
    assert report.volatility == pytest.approx(math.sqrt(0.0375), rel=1e-15)
    assert report.sharpe_ratio == pytest.approx(0.08 / math.sqrt(0.0375), rel=1e-14)


def test_sortino_takes_the_downside_of_all_periods():
    report = measure(HALVES, MOMENTS, HISTORY)
    downside = math.sqrt(252 * (0.005**2 + 0.01**2 + 0.005**2) / 4)
    assert downside_deviation(portfolio_returns(HISTORY, HALVES), 0.0, 252) == pytest.approx(downside, rel=1e-12)
    assert report.sortino_ratio == pytest.approx(0.10 / downside, rel=1e-12)


def test_drawdown_counts_from_the_start_and_over_several_periods():
    assert maximum_drawdown(np.array([-0.1, 0.5])) == pytest.approx(0.1)
    assert maximum_drawdown(np.array([0.25, -0.2, -0.25, 1.0])) == pytest.approx(0.4)
    assert maximum_drawdown(np.array([0.01, 0.02])) == 0.0


def test_a_ruined_path_stays_ruined():
    assert maximum_drawdown(np.array([0.1, -1.5, 3.0])) == 1.0


@pytest.mark.parametrize(
    ("confidence", "var", "cvar"),
    [(0.5, 5.0, 8.0), (0.8, 8.0, 9.5), (0.9, 9.0, 10.0), (0.95, 10.0, 10.0), (0.75, 8.0, (10 + 9 + 0.5 * 8) / 2.5)],
)
def test_tail_measures_of_ten_losses(confidence, var, cvar):
    returns = -np.array([3.0, 1, 10, 4, 8, 2, 9, 5, 7, 6])
    assert value_at_risk(returns, confidence) == var
    assert conditional_value_at_risk(returns, confidence) == pytest.approx(cvar, rel=1e-12)


def test_quantile_rank_is_not_moved_by_rounding():
    assert 0.57 * 100 < 57
    assert value_at_risk(-np.arange(1.0, 101.0), 0.57) == 57.0


@given(seed=st.integers(0, 10_000), size=st.integers(2, 40), confidence=st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_cvar_is_the_minimum_of_the_rockafellar_uryasev_function(seed, size, confidence):
    returns = np.random.default_rng(seed).standard_normal(size)
    values = [x + np.maximum(-returns - x, 0).sum() / ((1 - confidence) * size) for x in -returns]
    assert conditional_value_at_risk(returns, confidence) == pytest.approx(min(values), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_risk_contributions_add_up_to_the_volatility(seed):
    R, w, moments = random_problem(seed)
    report = measure(w, moments, R)
    assert abs(math.fsum(report.risk_contributions) / report.volatility - 1) <= 1e-15
    assert report.volatility == pytest.approx(math.sqrt(w @ moments.Sigma @ w), rel=1e-14)


def test_risk_contributions_are_weights_times_the_gradient_of_volatility():
    _, w, moments = random_problem(3)

    def volatility(x):
        return math.sqrt(x @ moments.Sigma @ x)

    step = 1e-6
    gradient = [(volatility(w + step * e) - volatility(w - step * e)) / (2 * step) for e in np.eye(w.size)]
    np.testing.assert_allclose(risk_contributions(w, moments.Sigma), w * gradient, rtol=1e-6)


def test_effective_number_is_the_number_of_equal_weights():
    assert effective_number_of_assets(np.full(8, 0.125)) == pytest.approx(8.0)
    assert effective_number_of_assets(np.array([1.0, 0.0])) == 1.0
    assert effective_number_of_assets(np.zeros(2)) is None


def test_benchmark_weights_compare_ex_ante():
    report = measure(HALVES, MOMENTS, HISTORY, Benchmark(weights=np.array([1.0, 0.0])))
    bets = np.array([-0.5, 0.5])
    assert report.tracking_error == pytest.approx(math.sqrt(bets @ MOMENTS.Sigma @ bets), rel=1e-14)
    assert report.information_ratio == pytest.approx(0.02 / report.tracking_error, rel=1e-12)


def test_benchmark_returns_compare_ex_post():
    series = np.array([0.0, 0.01, 0.01, -0.02])
    report = measure(HALVES, MOMENTS, HISTORY, Benchmark(returns=series))
    active = portfolio_returns(HISTORY, HALVES) - series
    assert report.tracking_error == pytest.approx(active.std(ddof=1) * math.sqrt(252), rel=1e-14)
    assert report.information_ratio == pytest.approx(active.mean() * 252 / report.tracking_error, rel=1e-12)


def test_undefined_ratios_are_none():
    riskless = moments_of(np.array([0.02]), np.zeros((1, 1)))
    report = measure(np.ones(1), riskless, np.full((5, 1), 0.0001), Benchmark(weights=np.ones(1)))
    assert (report.sharpe_ratio, report.sortino_ratio, report.information_ratio) == (None, None, None)
    assert report.tracking_error == 0.0
    assert report.volatility == 0.0


def test_holding_the_benchmark_has_no_information_ratio():
    R, w, moments = random_problem(5)
    report = measure(w, moments, R, Benchmark(returns=portfolio_returns(R, w)))
    assert report.tracking_error == 0.0
    assert report.information_ratio is None


def test_the_order_of_assets_does_not_matter():
    R, w, moments = random_problem(7)
    order = np.random.default_rng(0).permutation(w.size)
    straight = measure(w, moments, R)
    shuffled = measure(w[order], moments_of(moments.mu[order], moments.Sigma[np.ix_(order, order)]), R[:, order])
    np.testing.assert_allclose(shuffled.risk_contributions, straight.risk_contributions[order], rtol=1e-12)
    assert shuffled.sortino_ratio == pytest.approx(straight.sortino_ratio, rel=1e-10)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"weights": np.ones(3)}, "moments"),
        ({"moments": moments_of(np.zeros(3), np.eye(3))}, "moments"),
        ({"history": np.ones((4, 3))}, "history"),
        ({"history": np.ones((1, 2))}, "history"),
        ({"history": np.full((4, 2), np.nan)}, "history"),
        ({"benchmark": Benchmark(returns=np.ones(3))}, "benchmark.returns"),
        ({"benchmark": Benchmark(weights=np.ones(3))}, "benchmark.weights"),
    ],
)
def test_misfits_are_named(arguments, field):
    with pytest.raises(ProblemError) as raised:
        measure(**({"weights": HALVES, "moments": MOMENTS, "history": HISTORY} | arguments))
    assert raised.value.field == field


def test_settings_and_benchmark_are_checked():
    with pytest.raises(ProblemError, match="confidence_level"):
        PerformanceSettings(confidence_level=1.0)
    with pytest.raises(ProblemError, match="periods_per_year"):
        PerformanceSettings(periods_per_year=0)
    with pytest.raises(ProblemError, match="benchmark"):
        Benchmark()
