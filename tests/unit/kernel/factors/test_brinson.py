"""Brinson-Fachler by sector: a textbook, exact arithmetic, and identities."""

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.factors.brinson import SectorMarket, brinson_fachler

REGIONS = ("UK equities", "Japanese equities", "US equities")
# Bacon (2008), Practical portfolio performance measurement and attribution, 2nd edition, tables 5.2 and 8.1: weights
# and returns by region in four quarters, of the portfolio and of its benchmark.
PORTFOLIO_WEIGHTS = [[0.4, 0.3, 0.3], [0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.3, 0.5, 0.2]]
BENCHMARK_WEIGHTS = [[0.4, 0.2, 0.4], [0.4, 0.3, 0.3], [0.5, 0.4, 0.1], [0.4, 0.4, 0.2]]
PORTFOLIO_RETURNS = [[0.2, -0.05, 0.06], [-0.05, 0.03, -0.05], [-0.2, 0.08, -0.15], [0.1, -0.07, 0.25]]
BENCHMARK_RETURNS = [[0.1, -0.04, 0.08], [-0.07, 0.04, -0.1], [-0.25, 0.05, -0.2], [0.05, -0.05, 0.1]]


def named(count):
    return tuple(f"day {place}" for place in range(count))


def bacon(quarters):
    """The portfolio holds one fund of each region, the benchmark another."""
    none = np.zeros((quarters, 3))
    market = SectorMarket(
        days=named(quarters),
        sectors=REGIONS + REGIONS,
        R=np.hstack([PORTFOLIO_RETURNS[:quarters], BENCHMARK_RETURNS[:quarters]]),
        cash_rate=np.zeros(quarters),
    )
    W, V = np.array(PORTFOLIO_WEIGHTS[:quarters]), np.array(BENCHMARK_WEIGHTS[:quarters])
    return brinson_fachler(market, np.hstack([W, none]), np.hstack([none, V]))


def by_sector(attribution):
    return {effect.sector: effect for effect in attribution.sectors}


def random_market(seed, periods=40, n=12, cash=0.1):
    rng = np.random.default_rng(seed)
    sectors = tuple(rng.choice(["Energy", "Health", "Tech", "", "Utilities"], size=n))
    market = SectorMarket(
        days=named(periods),
        sectors=sectors,
        R=0.02 * rng.standard_normal((periods, n)),
        cash_rate=np.full(periods, 1e-4),
    )
    W = (1.0 - cash) * rng.dirichlet(np.ones(n), size=periods)
    return market, W, rng.dirichlet(np.ones(n))


def exactly(market, W, V):
    """Effects per day and sector in exact arithmetic, and the compounded returns; for long-only weights."""
    days = []
    growth = [Fraction(1), Fraction(1)]
    for row, returns in enumerate(market.R.tolist()):
        sides = [_exact_day(market, row, returns, weights) for weights in (W[row].tolist(), V.tolist())]
        totals = [sum(part for _, part in side.values()) for side in sides]
        growth = [g * (1 + total) for g, total in zip(growth, totals, strict=True)]
        days.append((totals, {name: _exact_effects(*sides, name, totals[1]) for name in {**sides[0], **sides[1]}}))
    return days, [g - 1 for g in growth]


def _exact_day(market, row, returns, weights):
    side = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for sector, weight, value in zip(market.sectors, weights, returns, strict=True):
        side[sector][0] += Fraction(weight)
        side[sector][1] += Fraction(weight) * Fraction(value)
    rest = 1 - sum(Fraction(weight) for weight in weights)
    side["cash"][0] += rest
    side["cash"][1] += rest * Fraction(float(market.cash_rate[row]))
    return side


def _exact_effects(portfolio, benchmark, name, b):
    w, part = portfolio.get(name, (0, 0))
    v, reference = benchmark.get(name, (0, 0))
    if w == v == 0:
        return 0, 0, 0
    r = part / w if w else reference / v
    s = reference / v if v else r
    return (w - v) * (s - b), v * (r - s), (w - v) * (r - s)


def test_the_first_quarter_of_the_textbook():
    attribution = bacon(1)
    effects = by_sector(attribution)
    allocation = {"UK equities": 0.0, "Japanese equities": -0.0104, "US equities": -0.0016}
    selection = {"UK equities": 0.04, "Japanese equities": -0.002, "US equities": -0.008}
    interaction = {"UK equities": 0.0, "Japanese equities": -0.001, "US equities": 0.002}
    for region in REGIONS:
        assert effects[region].allocation == pytest.approx(allocation[region], abs=1e-15)
        assert effects[region].selection == pytest.approx(selection[region], abs=1e-15)
        assert effects[region].interaction == pytest.approx(interaction[region], abs=1e-15)
    sums = (attribution.allocation, attribution.selection, attribution.interaction, attribution.active_return)
    assert sums == pytest.approx((-0.012, 0.03, 0.001, 0.019), abs=1e-15)


def test_four_quarters_of_the_textbook_linked_by_carino():
    """Table 8.2, whose selection contains the interaction, printed in hundredths of a percent."""
    attribution = bacon(4)
    effects = by_sector(attribution)
    allocation = {"UK equities": 0.0165, "Japanese equities": -0.0060, "US equities": 0.0015}
    selection = {"UK equities": 0.0804, "Japanese equities": 0.0018, "US equities": 0.0385}
    for region in REGIONS:
        assert effects[region].allocation == pytest.approx(allocation[region], abs=1e-4)
        assert effects[region].selection + effects[region].interaction == pytest.approx(selection[region], abs=1e-4)
    assert attribution.allocation == pytest.approx(0.0120, abs=1e-4)
    assert attribution.selection + attribution.interaction == pytest.approx(0.1207, abs=1e-4)
    assert attribution.active_return == pytest.approx(0.1327, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_one_day_agrees_with_exact_arithmetic(seed):
    market, W, V = random_market(seed, periods=1)
    ((_, expected),), (total, reference) = exactly(market, W, V)
    attribution = brinson_fachler(market, W, V)
    assert attribution.active_return == pytest.approx(float(total - reference), abs=1e-15)
    for effect in attribution.sectors:
        numbers = (effect.allocation, effect.selection, effect.interaction)
        assert numbers == pytest.approx([float(value) for value in expected[effect.sector]], abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_linked_days_agree_with_exact_arithmetic_and_plain_logarithms(seed):
    market, W, V = random_market(seed, periods=8)
    days, (total, reference) = exactly(market, W, V)

    def smooth(x, y):
        return (np.log1p(float(x)) - np.log1p(float(y))) / float(x - y)

    expected = defaultdict(lambda: np.zeros(3))
    for (r, b), effects in days:
        for name, values in effects.items():
            expected[name] += smooth(r, b) / smooth(total, reference) * np.array([float(value) for value in values])
    for effect in brinson_fachler(market, W, V).sectors:
        numbers = (effect.allocation, effect.selection, effect.interaction)
        np.testing.assert_allclose(numbers, expected[effect.sector], rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.floats(-3.0, 1.0), st.sampled_from(["long", "short", "held by one"]))
def test_effects_add_up_to_the_active_return(seed, cash, kind):
    market, W, V = random_market(seed, cash=cash)
    if kind == "short":
        W = W * np.random.default_rng(seed).choice([-1.0, 1.0], size=W.shape)
    if kind == "held by one":
        W[:, np.array(market.sectors) == "Tech"] = 0.0
        V[np.array(market.sectors) == "Health"] = 0.0
    attribution = brinson_fachler(market, W, V)
    r, b = (X @ np.ones(12) for X in (W, np.broadcast_to(V, W.shape)))
    r, b = ((X * market.R).sum(axis=1) + (1 - sums) * 1e-4 for X, sums in ((W, r), (V, b)))
    assert attribution.active_return == pytest.approx(float(np.prod(1 + r) - np.prod(1 + b)), abs=1e-13)
    assert abs(attribution.residual) <= 1e-12
    rows = [effect.allocation + effect.selection + effect.interaction for effect in attribution.sectors]
    assert sum(rows) == pytest.approx(attribution.active_return, abs=1e-12)


def test_a_sector_earns_what_it_earns_where_it_is_held():
    market = SectorMarket(
        days=named(1), sectors=("A", "B", "C"), R=np.array([[0.1, 0.02, -0.03]]), cash_rate=np.zeros(1)
    )
    effects = by_sector(brinson_fachler(market, np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])))
    b = 0.5 * 0.02 - 0.5 * 0.03
    assert effects["A"].allocation == pytest.approx(0.5 * (0.1 - b), rel=1e-14)
    assert effects["C"].allocation == pytest.approx(-0.5 * (-0.03 - b), rel=1e-14)
    assert all(effect.selection == effect.interaction == 0.0 for effect in effects.values())
    assert (effects["A"].portfolio_return, effects["A"].benchmark_return) == (pytest.approx(0.1), None)
    assert (effects["C"].portfolio_return, effects["C"].benchmark_return) == (None, pytest.approx(-0.03))


def test_cash_is_a_sector_that_only_allocates():
    market = SectorMarket(days=named(1), sectors=("A",), R=np.array([[0.1]]), cash_rate=np.array([0.01]))
    effects = by_sector(brinson_fachler(market, np.array([0.75]), np.array([1.0])))
    assert list(effects) == ["A", "cash"]
    assert effects["cash"].allocation == pytest.approx(0.25 * (0.01 - 0.1), rel=1e-14)
    assert effects["cash"].portfolio_weight == pytest.approx(0.25)
    assert effects["cash"].selection == effects["cash"].interaction == 0.0


def test_without_cash_there_is_no_such_sector():
    market, W, V = random_market(3, cash=0.0)
    assert [effect.sector for effect in brinson_fachler(market, W, V).sectors] == sorted(set(market.sectors))


def test_a_pair_within_a_sector_is_selection():
    market = SectorMarket(
        days=named(2), sectors=("A", "A", "B"), R=np.array([[0.1, 0.02, 0.0]] * 2), cash_rate=np.zeros(2)
    )
    attribution = brinson_fachler(market, np.array([0.4, -0.4, 1.0]), np.array([0.0, 0.0, 1.0]))
    effects = by_sector(attribution)
    assert attribution.active_return == pytest.approx(1.032**2 - 1)
    assert effects["A"].selection == pytest.approx(attribution.active_return, rel=1e-14)
    assert effects["A"].portfolio_return is None
    assert effects["A"].allocation == effects["A"].interaction == 0.0


def test_trades_within_the_day_have_a_row_of_their_own():
    market = SectorMarket(
        days=named(2),
        sectors=("A", "B"),
        R=np.array([[0.01, 0.02], [0.03, -0.01]]),
        cash_rate=np.zeros(2),
        trading=np.array([0.0, -0.002]),
    )
    attribution = brinson_fachler(market, np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    effects = by_sector(attribution)
    assert attribution.active_return == pytest.approx(-1.015 * 0.002, rel=1e-13)
    assert effects["trading"].selection == pytest.approx(attribution.active_return, abs=1e-16)
    assert (effects["trading"].portfolio_weight, effects["trading"].portfolio_return) == (0.0, None)


def test_the_return_of_a_sector_is_compounded():
    market, W, V = random_market(7)
    tech = np.array(market.sectors) == "Tech"
    daily = (W[:, tech] * market.R[:, tech]).sum(axis=1) / W[:, tech].sum(axis=1)
    effect = by_sector(brinson_fachler(market, W, V))["Tech"]
    assert effect.portfolio_return == pytest.approx(float(np.prod(1 + daily) - 1), abs=1e-14)
    assert effect.portfolio_weight == pytest.approx(float(W[:, tech].sum(axis=1).mean()), abs=1e-15)


def test_a_portfolio_that_is_its_benchmark_has_no_effects():
    market, _, V = random_market(1)
    attribution = brinson_fachler(market, V, V)
    assert attribution.active_return == 0.0
    assert all(e.allocation == e.selection == e.interaction == 0.0 for e in attribution.sectors)


def test_the_order_of_instruments_changes_nothing():
    market, W, V = random_market(4)
    order = np.random.default_rng(0).permutation(12)
    moved = SectorMarket(
        days=market.days,
        sectors=tuple(np.array(market.sectors)[order]),
        R=market.R[:, order],
        cash_rate=market.cash_rate,
    )
    for one, other in zip(
        brinson_fachler(market, W, V).sectors, brinson_fachler(moved, W[:, order], V[order]).sectors, strict=True
    ):
        assert one.sector == other.sector
        assert one.allocation == pytest.approx(other.allocation, abs=1e-15)
        assert one.selection == pytest.approx(other.selection, abs=1e-15)
        assert one.interaction == pytest.approx(other.interaction, abs=1e-15)


def test_what_does_not_fit_is_refused():
    market, W, V = random_market(0)
    with pytest.raises(ProblemError, match="benchmark_weights: must be finite numbers for 12 instruments"):
        brinson_fachler(market, W, V[:3])
    with pytest.raises(ProblemError, match="weights: must be finite"):
        brinson_fachler(market, np.where(W > 0.1, np.nan, W), V)
    with pytest.raises(ProblemError, match=r"portfolio: loses .* on day"):
        brinson_fachler(market, 1000 * W, V)
    with pytest.raises(ProblemError, match="returns: must be"):
        SectorMarket(days=named(2), sectors=("A",), R=np.zeros((3, 1)), cash_rate=np.zeros(2))


def test_a_sector_that_grows_beyond_all_numbers_has_no_compounded_return():
    R = np.column_stack([np.full(250, 0.001), np.full(250, 20.0)])
    market = SectorMarket(days=tuple(map(str, range(250))), sectors=("calm", "wild"), R=R, cash_rate=np.zeros(250))
    found = brinson_fachler(market, np.array([1.0 - 1e-6, 1e-6]), np.array([1.0, 0.0]))
    calm, wild = found.sectors
    assert calm.portfolio_return == pytest.approx(1.001**250 - 1.0, rel=1e-12)
    assert wild.portfolio_return is None
    assert abs(found.residual) < 1e-12
