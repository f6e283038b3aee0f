"""Styles against plain loops over days, and that they know nothing of the future."""

import numpy as np
import pytest

from kernel.errors import ProblemError
from kernel.factors.panel import Panel
from kernel.factors.styles import STYLES, rolling_sum, style_definition, style_exposures
from tests.unit.kernel.factors.price_panels import panel_of, random_closes, random_panel

DAYS = (0, 1, 30, 68)


def figures(panel, name, day):
    """The raw style of one close day, from the closes up to it."""
    closes = panel.closes[: day + 1]
    R = closes[1:] / closes[:-1] - 1.0
    shares = panel.closes / panel.closes[-1] * panel.caps
    if name == "market_beta":
        held = shares[day - 252 : day] / shares[day - 252 : day].sum(axis=1, keepdims=True)
        market = (held * R[-252:]).sum(axis=1)
        return np.array([np.polyfit(market, r, 1)[0] for r in R[-252:].T])
    if name == "momentum":
        return np.log(closes[-22] / closes[-253])
    if name == "volatility":
        return np.std(R[-63:], axis=0, ddof=1)
    return np.log(shares[day]) if name == "size" else panel.quality


def standard(y, caps, cut):
    """Cut and standardised, one day."""
    z = np.array([min(max(v, y.mean() - cut * y.std()), y.mean() + cut * y.std()) for v in y])
    return (z - np.average(z, weights=caps)) / np.sqrt(np.mean((z - z.mean()) ** 2))


@pytest.mark.parametrize("cut", [1.5, 3.0])
@pytest.mark.parametrize("name", STYLES)
def test_a_style_follows_its_definition_on_every_day(name, cut):
    panel = random_panel()
    made = style_exposures(panel, (name,), cut)
    assert made.X.shape == (1, len(panel.closes) - made.warm_up, 24)
    for day in DAYS:
        close = made.warm_up + day
        caps = panel.caps * panel.closes[close] / panel.closes[-1]
        expected = standard(figures(panel, name, close), caps, cut)
        np.testing.assert_allclose(made.X[0, day], expected, rtol=1e-9, atol=1e-10)


def test_every_day_has_mean_zero_by_capitalisation_and_standard_deviation_one():
    panel = random_panel(3)
    made = style_exposures(panel, None, 3.0)
    assert made.names == STYLES
    assert (made.warm_up, made.left_out) == (252, ())
    caps = (panel.caps * panel.closes / panel.closes[-1])[252:]
    shares = caps / caps.sum(axis=1, keepdims=True)
    np.testing.assert_allclose((made.X * shares).sum(axis=2), 0.0, atol=1e-12)
    np.testing.assert_allclose(made.X.std(axis=2), 1.0, rtol=1e-12)


def test_without_capitalisations_instruments_count_alike():
    made = style_exposures(random_panel(caps=None), ("momentum", "market_beta"), 3.0)
    np.testing.assert_allclose(made.X.mean(axis=2), 0.0, atol=1e-12)


@pytest.mark.parametrize("day", [0, 17, 60])
def test_a_style_of_a_day_does_not_change_with_later_prices(day):
    panel = random_panel(5)
    closes = panel.closes.copy()
    closes[252 + day + 1 :] *= np.random.default_rng(9).uniform(0.2, 3.0, closes[252 + day + 1 :].shape)
    later = random_panel(5, caps=panel.caps * closes[-1] / panel.closes[-1])
    changed = panel_of(closes, caps=later.caps, sectors=panel.sectors, quality=panel.quality)
    before, after = style_exposures(panel, STYLES, 3.0).X, style_exposures(changed, STYLES, 3.0).X
    np.testing.assert_allclose(after[:, : day + 1], before[:, : day + 1], rtol=1e-12, atol=1e-13)
    assert np.abs(after[:4, -1] - before[:4, -1]).max(axis=1).min() > 0.1


def test_without_capitalisations_not_a_bit_changes_with_later_prices():
    closes = random_closes(5)
    changed = closes.copy()
    changed[290:] *= 7.0
    names = ("market_beta", "momentum", "volatility")
    before, after = (style_exposures(panel_of(c), names, 3.0).X for c in (closes, changed))
    assert (before[:, :38] == after[:, :38]).all()
    assert (before[:, 38:] != after[:, 38:]).any()


def test_prices_in_another_currency_unit_are_the_same_styles():
    panel = random_panel(2)
    scaled = random_panel(2)
    units = np.resize([0.25, 8.0, 1.0], 24)
    other = panel_of(scaled.closes * units, caps=panel.caps * 1024.0, sectors=panel.sectors, quality=panel.quality)
    np.testing.assert_allclose(style_exposures(other, None, 3.0).X, style_exposures(panel, None, 3.0).X, atol=1e-12)


def test_the_order_of_instruments_does_not_matter():
    panel = random_panel(4)
    order = np.random.default_rng(1).permutation(24)
    other = panel_of(panel.closes[:, order], caps=panel.caps[order], quality=panel.quality[order])
    X = style_exposures(panel, None, 3.0).X
    np.testing.assert_allclose(style_exposures(other, None, 3.0).X, X[:, :, order], atol=1e-12)


@pytest.mark.parametrize(("T", "window"), [(1, 1), (7, 1), (7, 7), (10, 3), (12, 4), (13, 4), (300, 63)])
def test_rolling_sums(T, window):
    X = np.random.default_rng(T).standard_normal((T, 3))
    expected = [X[t : t + window].sum(axis=0) for t in range(T - window + 1)]
    np.testing.assert_allclose(rolling_sum(X, window), expected, rtol=1e-12, atol=1e-13)


def test_an_extreme_row_leaves_no_rounding_behind():
    X = np.random.default_rng(8).standard_normal((200, 2))
    spoilt = X.copy()
    spoilt[50] = 1e12
    assert (rolling_sum(spoilt, 21)[51:] == rolling_sum(X, 21)[51:]).all()


@pytest.mark.parametrize(
    ("style", "facts", "reason"),
    [
        ("quality", {"quality": None}, "quality score of A00, A01, A02, A03, A04 and 19 more is not known"),
        ("quality", {"quality": np.where(np.arange(24) == 5, np.nan, 1.0 * np.arange(24))}, "score of A05 is not"),
        ("quality", {"quality": np.full(24, 7.1)}, "is the same for all instruments$"),
        ("size", {"caps": np.where(np.arange(24) == 3, 0.0, 1e9)}, "market capitalisation of A03 is not known"),
        ("momentum", {"days": 252}, "needs 252 returns and 1 more to explain; there are 252"),
        ("volatility", {"days": 40}, "needs 63 returns and 1 more to explain; there are 40"),
        ("value", {}, "is not a style; they are market_beta, momentum, volatility, size, quality"),
    ],
)
def test_a_style_that_cannot_be_computed_is_refused_by_name(style, facts, reason):
    with pytest.raises(ProblemError, match=reason) as error:
        style_exposures(random_panel(**facts), (style,), 3.0)
    assert error.value.field == f"styles[{style}]"


def test_styles_that_the_data_do_not_allow_are_left_out_with_the_reason():
    made = style_exposures(random_panel(days=150, caps=None, quality=np.ones(24)), None, 3.0)
    assert made.names == ("volatility",)
    reasons = dict(made.left_out)
    assert set(reasons) == {"market_beta", "momentum", "size", "quality"}
    assert reasons["momentum"] == "needs 252 returns and 63 more to explain; there are 150"
    assert reasons["quality"] == "is the same for all instruments"


def test_prices_that_never_move_have_no_styles():
    still = panel_of(np.full((320, 4), 10.0))
    for style in ("market_beta", "momentum", "volatility"):
        with pytest.raises(ProblemError, match="is the same for all instruments"):
            style_exposures(still, (style,), 3.0)


def test_steady_growth_is_no_volatility():
    closes = 10.0 * np.power(1.0 + np.array([1e-4, 3e-4, 2e-4]), np.arange(100)[:, np.newaxis])
    with pytest.raises(ProblemError, match="is the same for all instruments"):
        style_exposures(panel_of(closes), ("volatility",), 3.0)


def test_a_style_asked_for_twice_is_refused():
    with pytest.raises(ProblemError, match=r"styles\[size\]: is given twice"):
        style_exposures(random_panel(), ("size", "momentum", "size"), 3.0)


@pytest.mark.parametrize("cut", [0.5, 101.0, np.nan])
def test_cuts_out_of_range_are_refused(cut):
    with pytest.raises(ProblemError, match="winsorization"):
        style_exposures(random_panel(), None, cut)


def test_definitions_say_how_instruments_count():
    assert "instruments, by market capitalisation)" in style_definition("market_beta", 3.0, capitalised=True)
    assert "instruments, with all instruments alike)" in style_definition("market_beta", 3.0, capitalised=False)
    assert "later knowledge" in style_definition("quality", 2.5, capitalised=True)
    assert "cut at 2.5 standard deviations" in style_definition("quality", 2.5, capitalised=True)


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda closes: closes.__setitem__((4, 2), np.nan), r"closes\[A02\]"),
        (lambda closes: closes.__setitem__((4, 1), 0.0), r"closes\[A01\]"),
        (lambda closes: closes.__setitem__((4, 0), 1e-9), r"closes\[A00\]: has a daily return above"),
    ],
)
def test_prices_that_cannot_be_are_refused_by_name(spoil, field):
    closes = random_closes(days=20, n=4)
    spoil(closes)
    with pytest.raises(ProblemError, match=field):
        panel_of(closes)


@pytest.mark.parametrize("cap", [1e-12, 1e40, np.inf])
def test_capitalisations_that_cannot_be_are_refused_by_name(cap):
    with pytest.raises(ProblemError, match=r"caps\[A01\]: must be within 1e-06 and 1e\+30"):
        panel_of(random_closes(days=20, n=3), caps=np.array([1e9, cap, np.nan]))


def test_what_does_not_fit_the_instruments_is_refused():
    closes = random_closes(days=20, n=3)
    for field, column in (("caps", np.ones(2)), ("sectors", ("Tech",) * 4), ("quality", np.ones(4))):
        with pytest.raises(ProblemError, match=f"{field}: has {len(column)} values for 3 instruments"):
            panel_of(closes, **{field: column})
    with pytest.raises(ProblemError, match="instruments: has a name twice"):
        Panel(names=("A", "B", "A"), closes=closes)
    with pytest.raises(ProblemError, match="closes: must be two days or more"):
        panel_of(closes[:1])
