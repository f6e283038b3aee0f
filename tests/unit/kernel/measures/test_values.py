"""Measures of given weights against loops and closed forms written from the definitions."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from kernel.errors import ProblemError
from kernel.measures import SupportMeasure, registry
from kernel.measures.drawdowns import MaximumDrawdown
from kernel.measures.registry import MEASURES, MeasureSettings, make_measure
from kernel.performance import conditional_value_at_risk, downside_deviation, value_at_risk
from kernel.problem import Moments
from kernel.scenarios import Scenarios
from tests.unit.kernel.measures.markets import CONVEX, MARKETS, PERIODS, market

WORDS = (*CONVEX, "var")


def weights(n: int, seed: int = 1):
    w = np.random.default_rng(seed).normal(1.0, 1.0, n)
    return w / w.sum()


def one_asset(returns, p=None, word="cvar", settings=None):
    """A measure over a single asset, so that w = 1 has these returns."""
    R = np.asarray(returns, dtype=float)[:, None]
    p = np.full(len(R), 1.0 / len(R)) if p is None else np.asarray(p, dtype=float)
    moments = Moments(("A",), np.zeros(1), np.eye(1))
    return make_measure(word, moments, Scenarios(("A",), R, p, PERIODS), settings or MeasureSettings())


def by_loops(word: str, r, p, c: float, target: float | None) -> float:
    """The definition, one scenario at a time."""
    weighted = list(zip(p, r, strict=True))
    losses, falls = -np.asarray(r), drawdowns(r)
    mean = sum(pt * rt for pt, rt in weighted)
    level = mean if target is None else target
    pairs = itertools.product(weighted, repeat=2)
    annual = math.sqrt(PERIODS)
    definitions = {
        "semi_deviation": lambda: annual * math.sqrt(sum(pt * max(level - rt, 0.0) ** 2 for pt, rt in weighted)),
        "mad": lambda: annual * sum(pt * abs(rt - mean) for pt, rt in weighted),
        "gini": lambda: annual * sum(pa * pb * abs(ra - rb) for (pa, ra), (pb, rb) in pairs),
        "var": lambda: least_quantile(losses, p, c),
        "cvar": lambda: mean_of_worst(losses, p, 1.0 - c),
        "evar": lambda: chernoff(losses, p, c),
        "worst_realization": lambda: max(-rt for pt, rt in weighted if pt > 0.0),
        "max_drawdown": lambda: max(falls),
        "average_drawdown": lambda: sum(pt * d for pt, d in zip(p, falls, strict=True)),
        "cdar": lambda: mean_of_worst(falls, p, 1.0 - c),
        "ulcer": lambda: math.sqrt(sum(pt * d * d for pt, d in zip(p, falls, strict=True))),
    }
    return definitions[word]()


def drawdowns(r) -> list[float]:
    falls, total, peak = [], 0.0, 0.0
    for rt in r:
        total += rt
        peak = max(peak, total)
        falls.append(peak - total)
    return falls


def least_quantile(losses, p, c: float) -> float:
    return min(x for x in losses if p[losses <= x].sum() >= c - 1e-9)


def mean_of_worst(values, p, share: float) -> float:
    total, left = 0.0, share
    for value, probability in sorted(zip(values, p, strict=True), reverse=True):
        taken = min(probability, left)
        total, left = total + taken * value, left - taken
    return total / share


def chernoff(losses, p, c: float) -> float:
    losses, p = losses[p > 0.0], p[p > 0.0]
    worst, spread = losses.max(), np.ptp(losses)
    if spread == 0.0:
        return float(worst)

    def bound(log_z: float) -> float:
        z = math.exp(log_z) * spread
        return worst + z * (math.log(p @ np.exp((losses - worst) / z)) - math.log(1.0 - c))

    found = scipy.optimize.minimize_scalar(bound, bounds=(-20.0, 12.0), method="bounded", options={"xatol": 1e-12})
    return float(found.fun)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", MARKETS)
def test_of_agrees_with_the_definition(name, word):
    posed = market(name)
    for seed in range(3):
        w = weights(posed.n, seed)
        expected = by_loops(word, posed.R @ w, posed.p, posed.confidence_level, posed.target)
        assert posed.measure(word).of(w) == pytest.approx(expected, rel=1e-9, abs=1e-15 * posed.size)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", MARKETS)
def test_contributions_add_up_and_are_the_slopes(name, word):
    posed = market(name)
    measure, w = posed.measure(word), weights(posed.n, 5)
    parts = measure.contributions(w)
    if word == "semi_deviation" and posed.target is not None:
        assert parts is None
        return
    assert parts.sum() == pytest.approx(measure.of(w), rel=1e-9)
    for i in range(posed.n):
        step = 1e-6 * np.eye(posed.n)[i]
        slope = (measure.of(w + step) - measure.of(w - step)) / 2e-6
        assert parts[i] == pytest.approx(w[i] * slope, rel=1e-4, abs=1e-5 * abs(measure.of(w)))


@pytest.mark.parametrize("word", [*CONVEX, "volatility"])
def test_a_support_lies_below_the_risk_everywhere(word):
    posed = market("unequal")
    measure = posed.measure(word)
    if not isinstance(measure, SupportMeasure) and word != "volatility":
        return
    for seed in range(20):
        w, v = weights(posed.n, seed), weights(posed.n, seed + 100)
        g = measure.support(w)
        assert g @ w == pytest.approx(measure.of(w), rel=1e-9)
        assert g @ v <= measure.of(v) + 1e-12


@pytest.mark.parametrize("word", WORDS)
def test_nothing_held_has_no_risk_and_no_contributions(word):
    posed = market("plain")
    assert posed.measure(word).of(np.zeros(posed.n)) == 0.0
    assert not posed.measure(word).contributions(np.zeros(posed.n)).any()


def test_tails_agree_with_the_performance_report():
    returns = np.random.default_rng(9).standard_t(4, 101) * 0.01
    for c in (0.9, 0.95, 0.973, 0.99):
        settings = MeasureSettings(c)
        one = np.ones(1)
        assert one_asset(returns, word="var", settings=settings).of(one) == value_at_risk(returns, c)
        expected = conditional_value_at_risk(returns, c)
        assert one_asset(returns, word="cvar", settings=settings).of(one) == pytest.approx(expected, rel=1e-12)


def test_semi_deviation_below_a_target_is_the_downside_deviation():
    returns = np.random.default_rng(9).normal(0.001, 0.01, 300)
    measure = one_asset(returns, word="semi_deviation", settings=MeasureSettings(target=0.0004))
    assert measure.of(np.ones(1)) == pytest.approx(downside_deviation(returns, 0.0004, 252), rel=1e-12)


def test_normal_returns_have_the_textbook_values():
    T, sigma, c = 200_001, 0.01, 0.95
    normal = scipy.stats.norm
    returns = sigma * normal.ppf((np.arange(T) + 0.5) / T)
    z, one = normal.ppf(c), np.ones(1)
    expected = {
        "var": sigma * z,
        "cvar": sigma * normal.pdf(z) / (1.0 - c),
        "evar": sigma * math.sqrt(-2.0 * math.log(1.0 - c)),
        "mad": math.sqrt(PERIODS) * sigma * math.sqrt(2.0 / math.pi),
        "gini": math.sqrt(PERIODS) * 2.0 * sigma / math.sqrt(math.pi),
        "semi_deviation": math.sqrt(PERIODS) * sigma / math.sqrt(2.0),
    }
    for word, value in expected.items():
        assert one_asset(returns, word=word).of(one) == pytest.approx(value, rel=2e-3), word


def test_a_published_drawdown():
    """The path 100, 120, 90, 80, 130 of sums: the deepest fall is 40 of the first value."""
    returns = np.array([0.20, -0.30, -0.10, 0.50])
    assert one_asset(returns, word="max_drawdown").of(np.ones(1)) == pytest.approx(0.40)
    assert one_asset(returns, word="average_drawdown").of(np.ones(1)) == pytest.approx((0.0 + 0.3 + 0.4 + 0.0) / 4)
    assert one_asset(returns, word="ulcer").of(np.ones(1)) == pytest.approx(0.25)


def test_a_loss_from_the_start_is_a_drawdown():
    assert one_asset([-0.1, -0.2], word="max_drawdown").of(np.ones(1)) == pytest.approx(0.3)


def test_entropic_value_at_risk_is_the_worst_loss_when_that_fills_the_tail():
    settings = MeasureSettings(0.9)
    assert one_asset([0.01] * 8 + [-0.05, -0.05], word="evar", settings=settings).of(np.ones(1)) == 0.05
    nearly = one_asset([0.01] * 8 + [-0.05, -0.05 - 1e-14], word="evar", settings=settings).of(np.ones(1))
    assert nearly == pytest.approx(0.05, abs=1e-12)


def test_tails_are_ordered():
    posed = market("unequal")
    for seed in range(10):
        w = weights(posed.n, seed)
        values = [posed.measure(word).of(w) for word in ("var", "cvar", "evar", "worst_realization")]
        assert values == sorted(values)


def test_scenarios_that_cannot_happen_do_not_count():
    returns, p = [0.01, -0.02, -0.9, 0.03], [0.25, 0.5, 0.0, 0.25]
    for word in ("var", "cvar", "evar", "worst_realization", "mad", "gini", "semi_deviation"):
        without = one_asset([0.01, -0.02, 0.03], [0.25, 0.5, 0.25], word)
        assert one_asset(returns, p, word).of(np.ones(1)) == pytest.approx(without.of(np.ones(1)), rel=1e-12)


def test_drawdowns_refuse_scenarios_without_an_order():
    scenarios = Scenarios(("A",), np.zeros((2, 1)), np.full(2, 0.5), ordered=False)
    with pytest.raises(ProblemError, match="max_drawdown needs scenarios that follow each other in time"):
        MaximumDrawdown(scenarios)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sigma",), "must be one of volatility, variance"),
        (("cvar",), "cvar needs a history"),
        (("cvar", Scenarios(("B",), np.zeros((2, 1)), np.full(2, 0.5))), "the same assets"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    word, *rest = arguments
    with pytest.raises(ProblemError, match=message):
        make_measure(word, Moments(("A",), np.zeros(1), np.eye(1)), *rest)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_confidence_levels_lie_strictly_inside(level):
    with pytest.raises(ProblemError, match="strictly between 0 and 1"):
        MeasureSettings(level)


def test_the_table_defines_every_measure():
    posed = market("plain")
    for word, definition in MEASURES.items():
        measure = make_measure(word, posed.moments, posed.scenarios)
        assert (measure.name, measure.unit) == (word, definition.unit) == (definition.word, definition.unit)
        assert f"\n{word} " in registry.__doc__
    drawdowns = {"max_drawdown", "average_drawdown", "cdar", "ulcer"}
    assert {word for word, definition in MEASURES.items() if definition.needs_order} == drawdowns
