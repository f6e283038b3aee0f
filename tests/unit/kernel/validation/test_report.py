"""The report of a validation against sums by hand, the band against simulated and tabled chi-squares."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from kernel.errors import ProblemError
from kernel.validation.report import Band, Judged, Prediction, ReportSettings, summarize
from kernel.validation.simulation import Realised, Trade

SETTINGS = ReportSettings(Band(), 0.02)


def judged(gross: list[float], predicted: float | None, cost: float = 0.0, turnover: float = 0.0) -> Judged:
    net = [(1.0 - cost) * (1.0 + gross[0]) - 1.0, *gross[1:]]
    prediction = None if predicted is None else Prediction(0.1, predicted)
    return Judged(prediction, Trade(turnover, cost), Realised(np.array(gross), np.array(net)))


FIRST, SECOND, THIRD = [0.01, -0.02, 0.015], [0.002, -0.001], [-0.03, 0.04, 0.0, 0.01]


def test_all_windows_together() -> None:
    windows = [judged(FIRST, 0.3, 0.003, 1.0), judged(SECOND, 0.2, 0.001, 0.4), judged(THIRD, None, 0.0, 0.0)]
    found = summarize(windows, SETTINGS)
    gross = [*FIRST, *SECOND, *THIRD]
    net = [0.997 * 1.01 - 1.0, *FIRST[1:], 0.999 * 1.002 - 1.0, *SECOND[1:], *THIRD]
    volatility = statistics.stdev(gross) * math.sqrt(252.0)
    wealth = [math.prod(1.0 + r for r in net[: k + 1]) for k in range(9)]
    assert found.wealth.tolist() == pytest.approx(wealth, rel=1e-13)
    assert found.realised_volatility == pytest.approx(volatility, rel=1e-12)
    assert found.realised_return == pytest.approx(252.0 * statistics.fmean(net), rel=1e-12)
    assert found.realised_sharpe == pytest.approx((252.0 * statistics.fmean(net) - 0.02) / volatility, rel=1e-12)
    assert found.turnover_per_year == pytest.approx(1.4 * 28.0)
    assert found.cost_per_year == pytest.approx(0.004 * 28.0)
    assert found.max_drawdown == pytest.approx(1.0 - min(w / max(wealth[: k + 1]) for k, w in enumerate(wealth)))
    assert found.predicted_volatility == pytest.approx(0.25)
    assert found.predicted_return == pytest.approx(0.1)
    # 0.3 against 0.30; 0.2 against 0.034: below the band.
    assert [SETTINGS.inside(window) for window in windows] == [True, False, None]
    assert found.share_inside == 0.5


def test_without_an_answer_nothing_is_predicted() -> None:
    found = summarize([judged(FIRST, None)], SETTINGS)
    absent = (found.share_inside, found.expected_share_inside, found.predicted_volatility, found.predicted_return)
    assert absent == (None, None, None, None)


def test_cash_alone_lies_inside_and_has_no_ratio() -> None:
    window = judged([0.02 / 252.0] * 5, 0.0)
    found = summarize([window], SETTINGS)
    assert (found.share_inside, found.realised_sharpe) == (1.0, None)


@pytest.mark.parametrize(("volatility", "inside"), [(0.0999, False), (0.1, True), (0.4, True), (0.4001, False)])
def test_the_limits_of_a_band_belong_to_it(volatility: float, inside: bool) -> None:
    assert Band().holds(0.2, volatility) is inside


@pytest.mark.parametrize("days", [2, 5, 21, 63])
def test_the_expected_share_is_the_one_of_simulated_normal_returns(days: int) -> None:
    draws = np.random.default_rng(days).normal(size=(200_000, days)).std(axis=1, ddof=1)
    share = float(((draws >= 0.5) & (draws <= 2.0)).mean())
    assert Band().expected_share(days) == pytest.approx(share, abs=0.004)
    exact = stats.chi2(days - 1).cdf(2.0**2 * (days - 1)) - stats.chi2(days - 1).cdf(0.5**2 * (days - 1))
    assert Band().expected_share(days) == pytest.approx(exact, rel=1e-12)


def test_a_band_of_two_days_is_that_of_one_normal() -> None:
    """With one degree of freedom s / sigma is the absolute value of a normal."""
    exact = 2.0 * (stats.norm.cdf(2.0) - stats.norm.cdf(0.5))
    assert Band().expected_share(2) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.5, math.inf), (math.nan, 1.0)])
def test_a_band_that_holds_nothing_is_refused(low: float, high: float) -> None:
    with pytest.raises(ProblemError, match="band"):
        Band(low, high)
