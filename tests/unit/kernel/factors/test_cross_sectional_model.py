"""Cross-sectional models: what they recover, how their parts add up, and what they refuse."""

import numpy as np
import pytest
import statsmodels.api as sm

from kernel.errors import ProblemError
from kernel.factors.cross_sectional_model import CrossSectionSettings, cross_sectional_model
from kernel.factors.model import RiskSettings
from kernel.factors.panel import LoadedExposures
from kernel.factors.styles import STYLES, style_exposures
from tests.unit.kernel.factors.price_panels import SECTORS, panel_of, random_closes, random_panel

RISK = RiskSettings()
GIVEN_ONLY = CrossSectionSettings(styles=(), industries=False)
SECTORS_ONLY = CrossSectionSettings(styles=(), industries=True)


def loaded(B, *names):
    return LoadedExposures(names, np.asarray(B, dtype=float))


def given_panel(seed=0, days=60, n=12, **facts):
    """Prices that move by two factors of given exposures and something of their own."""
    rng = np.random.default_rng(seed)
    B = np.column_stack([np.ones(n), rng.normal(0.0, 1.0, n)])
    F = rng.normal(0.0005, [0.01, 0.004], (days, 2))
    u = rng.uniform(0.004, 0.02, n) * rng.standard_normal((days, n))
    closes = 50.0 * np.cumprod(np.vstack([np.ones(n), 1.0 + F @ B.T + u]), axis=0)
    return panel_of(closes, given=loaded(B, "world", "rates"), **facts), B, F


def test_given_exposures_are_the_model_and_the_parts_add_up():
    panel, B, _ = given_panel()
    made = cross_sectional_model(panel, GIVEN_ONLY, RISK)
    estimated, R = made.estimated, panel.returns
    assert estimated.model.factors == ("world", "rates")
    assert made.kinds == ("given", "given")
    assert (made.styles, made.industries, made.weighting, made.warm_up) == ((), False, "equal", 0)
    np.testing.assert_array_equal(estimated.model.B, B)
    F = np.array([sm.OLS(r, B).fit().params for r in R])
    np.testing.assert_allclose(estimated.F, F, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(estimated.model.Phi, 252.0 * np.cov(F, rowvar=False), rtol=1e-10)
    u = R - F @ B.T
    np.testing.assert_allclose(estimated.alpha, 252.0 * u.mean(axis=0), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(estimated.unshrunk, 252.0 * u.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(estimated.r_squared, 1.0 - u.var(axis=0) / R.var(axis=0), rtol=1e-9)
    assert estimated.standard_errors is None
    assert estimated.diagnostics["degrees_of_freedom"] == 59.0
    assert estimated.diagnostics["instruments_per_factor"] == 6.0


def test_returns_without_specific_parts_are_recovered_exactly():
    panel, B, F = given_panel()
    closes = 50.0 * np.cumprod(np.vstack([np.ones(12), 1.0 + F @ B.T]), axis=0)
    estimated = cross_sectional_model(panel_of(closes, given=panel.given), GIVEN_ONLY, RISK).estimated
    np.testing.assert_allclose(estimated.F, F, atol=1e-14)
    assert (estimated.model.specific == 0.0).all()
    assert (estimated.alpha == 0.0).all()
    assert (estimated.r_squared == 1.0).all()


def test_exposures_are_those_of_the_last_day_and_returns_follow_those_of_the_day_before():
    panel = random_panel(n=30)
    settings = CrossSectionSettings(styles=("momentum", "size"), industries=False, weighting="equal")
    made = cross_sectional_model(panel, settings, RISK)
    X = style_exposures(panel, ("momentum", "size"), 3.0).X
    np.testing.assert_array_equal(made.estimated.model.B, np.column_stack([np.ones(30), *X[:, -1]]))
    R = panel.returns[252:]
    F = [sm.OLS(r, sm.add_constant(X[:, t].T)).fit().params for t, r in enumerate(R)]
    np.testing.assert_allclose(made.estimated.F, F, rtol=1e-9, atol=1e-15)
    assert made.kinds == ("market", "style", "style")
    assert made.warm_up == made.estimated.diagnostics["warm_up_days"] == 252


def test_sectors_weighted_by_capitalisation_add_up_to_zero_on_every_day():
    panel = random_panel(days=40)
    made = cross_sectional_model(panel, SECTORS_ONLY, RISK)
    assert made.estimated.model.factors == ("market", *SECTORS)
    assert made.weighting == "square_root_market_cap"
    caps = panel.caps * panel.closes[:-1] / panel.closes[-1]
    weights = np.array([caps[:, np.array(panel.sectors) == name].sum(axis=1) for name in SECTORS]).T
    np.testing.assert_allclose((weights * made.estimated.F[:, 1:]).sum(axis=1) / weights.sum(axis=1), 0.0, atol=1e-16)
    # By the square root of capitalisation, a sector earns its own weighted mean.
    means = [
        [np.average(r[members], weights=np.sqrt(cap[members])) for name in SECTORS
         for members in [np.array(panel.sectors) == name]]
        for r, cap in zip(panel.returns, caps, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(made.estimated.F[:, :1] + made.estimated.F[:, 1:], means, rtol=1e-10, atol=1e-16)


def test_diagnostics_are_those_of_the_last_day():
    panel = random_panel()
    made = cross_sectional_model(panel, CrossSectionSettings(styles=("momentum", "volatility")), RISK).estimated
    H = made.model.B[:, 1:] * np.power(panel.caps, 0.25)[:, np.newaxis]
    lengths = np.linalg.norm(H, axis=0)
    assert made.condition_number == pytest.approx(np.linalg.cond(H / lengths), rel=1e-9)
    # A style beside the market alone, and beside the sectors and the other style.
    X, root = made.model.B, np.power(panel.caps, 0.25)
    full = np.linalg.inv(H.T @ H)[0, 0]
    alone = np.linalg.inv((X[:, :2] * root[:, np.newaxis]).T @ (X[:, :2] * root[:, np.newaxis]))[1, 1]
    assert made.variance_inflation[1] == pytest.approx(full / alone, rel=1e-8)


def test_covariance_is_that_of_the_sectors_whatever_the_market_is():
    panel = random_panel(days=80)
    made = cross_sectional_model(panel, SECTORS_ONLY, RISK).estimated
    H = made.F[:, :1] + made.F[:, 1:]
    D = made.model.B[:, 1:]
    expected = D @ (252.0 * np.cov(H, rowvar=False)) @ D.T
    np.testing.assert_allclose(made.model.B @ made.model.Phi @ made.model.B.T, expected, rtol=1e-10)


def test_inverse_specific_variances_are_those_of_an_equal_first_pass():
    panel, B, _ = given_panel()
    settings = CrossSectionSettings(styles=(), industries=False, weighting="inverse_specific_variance")
    R = panel.returns
    first = np.array([sm.OLS(r, B).fit().resid for r in R])
    F = [sm.WLS(r, B, weights=1.0 / first.var(axis=0)).fit().params for r in R]
    np.testing.assert_allclose(cross_sectional_model(panel, settings, RISK).estimated.F, F, rtol=1e-9, atol=1e-15)


def test_an_instrument_that_is_alone_in_its_sector_has_no_specific_risk_and_no_boundless_weight():
    closes = random_closes(days=60, n=9)
    panel = panel_of(closes, sectors=("Tech",) * 4 + ("Energy",) * 4 + ("Utilities",))
    for weighting in ("equal", "inverse_specific_variance"):
        settings = CrossSectionSettings(styles=(), industries=True, weighting=weighting)
        whole = cross_sectional_model(panel, settings, RISK)
        made = whole.estimated
        assert "the only one is A08" in whole.definitions[3]
        assert "only" not in "".join(whole.definitions[:3])
        assert made.model.specific[8] == 0.0 < made.model.specific[:8].min()
        assert made.r_squared[8] == 1.0
        own = 252.0 * np.var(panel.returns[:, 8], ddof=1)
        assert made.model.B[8] @ made.model.Phi @ made.model.B[8] == pytest.approx(own, rel=1e-9)


def test_a_sector_of_nearly_all_the_weight_has_finite_diagnostics():
    caps = np.where(np.arange(24) % 3 == 0, 1e30, 1e-6)
    estimated = cross_sectional_model(random_panel(caps=caps), SECTORS_ONLY, RISK).estimated
    assert np.isfinite(estimated.variance_inflation).all()
    assert (estimated.variance_inflation >= 1.0).all()
    assert np.isfinite(estimated.condition_number)


def test_instruments_without_a_sector_are_one_of_their_own():
    panel = random_panel(days=60, sectors=("Tech", "") * 12)
    made = cross_sectional_model(panel, SECTORS_ONLY, RISK)
    assert made.estimated.model.factors == ("market", "Tech", "no sector")
    assert made.definitions[2] == "Instruments without a sector have exposure 1, all others 0."
    assert made.kinds == ("market", "industry", "industry")


def test_a_price_that_does_not_move_is_explained_less_than_not_at_all():
    closes = random_closes(days=60, n=8)
    closes[:, 3] = 10.0
    closes[1:, 4] = 10.0 + 0.001 * np.arange(60)
    closes[0, 4] = 10.0
    panel = panel_of(closes, given=loaded(np.ones((8, 1)), "world"))
    r_squared = cross_sectional_model(panel, GIVEN_ONLY, RISK).estimated.r_squared
    assert r_squared[3] == 0.0
    assert r_squared[4] < -1.0
    assert np.isfinite(r_squared).all()


def test_without_a_choice_all_that_the_data_allow_is_used():
    made = cross_sectional_model(random_panel(), CrossSectionSettings(), RISK)
    assert made.estimated.model.factors == ("market", *STYLES, *SECTORS)
    assert made.left_out == ()
    assert (made.styles, made.industries) == (STYLES, True)
    again = CrossSectionSettings(styles=made.styles, industries=made.industries, weighting=made.weighting)
    resolved = cross_sectional_model(random_panel(), again, RISK)
    np.testing.assert_array_equal(resolved.estimated.F, made.estimated.F)


@pytest.mark.parametrize(
    ("n", "facts", "factors", "left_out"),
    [
        # 1 + 5 + 3 - 1 = 8 factors ask for 24 instruments, 6 without sectors for 18, 5 for 15, 4 for 12.
        (23, {}, ("market", *STYLES), {"industries"}),
        (17, {}, ("market", *STYLES[:4]), {"industries", "quality"}),
        (14, {}, ("market", *STYLES[:3]), {"industries", "quality", "size"}),
        (24, {"sectors": None}, ("market", *STYLES), {"industries"}),
        (24, {"sectors": ("Tech",) * 24}, ("market", *STYLES), {"industries"}),
        (24, {"quality": None, "caps": None}, ("market", *STYLES[:3], *SECTORS), {"size", "quality"}),
        (24, {"quality": np.resize([1.0, 2.0, 5.0], 24)}, ("market", *STYLES[:4], *SECTORS), {"quality"}),
        (24, {"days": 200}, ("market", *STYLES[2:], *SECTORS), {"market_beta", "momentum"}),
        (2, {"quality": None, "days": 50}, ("market",), {*STYLES, "industries"}),
    ],
)
def test_what_the_data_do_not_allow_is_left_out_by_name(n, facts, factors, left_out):
    made = cross_sectional_model(random_panel(n=n, **facts), CrossSectionSettings(), RISK)
    assert made.estimated.model.factors == factors
    assert {name for name, _ in made.left_out} == left_out
    assert all(reason for _, reason in made.left_out)
    assert len(made.estimated.F) == facts.get("days", 320) - made.warm_up


def test_a_style_that_repeats_another_on_an_early_day_is_left_out():
    closes = random_closes()
    # While one price alone moves, it alone has a beta and a volatility.
    closes[:253] = np.where(np.arange(24) == 2, closes[:253], closes[253])
    known = random_panel()
    panel = panel_of(closes, caps=known.caps, sectors=known.sectors, quality=known.quality)
    made = cross_sectional_model(panel, CrossSectionSettings(), RISK)
    assert "market_beta" in made.styles
    assert "momentum" not in made.styles
    assert ("momentum", "is a linear combination of market_beta over the instruments") in made.left_out


def test_the_order_of_instruments_does_not_matter():
    panel = random_panel(6)
    order = np.random.default_rng(2).permutation(24)
    other = panel_of(
        panel.closes[:, order],
        caps=panel.caps[order],
        sectors=tuple(panel.sectors[i] for i in order),
        quality=panel.quality[order],
    )
    for weighting in ("square_root_market_cap", "inverse_specific_variance"):
        settings = CrossSectionSettings(weighting=weighting)
        a, b = (cross_sectional_model(p, settings, RISK).estimated for p in (panel, other))
        np.testing.assert_allclose(b.F, a.F, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(b.model.B, a.model.B[order], atol=1e-12)
        np.testing.assert_allclose(b.model.specific, a.model.specific[order], rtol=1e-10)
        np.testing.assert_allclose(b.variance_inflation, a.variance_inflation, rtol=1e-10)


def test_the_same_panel_gives_the_same_bits():
    a, b = (cross_sectional_model(random_panel(7), CrossSectionSettings(), RISK).estimated for _ in range(2))
    assert (a.F == b.F).all()
    assert (a.model.Phi == b.model.Phi).all()
    assert (a.model.specific == b.model.specific).all()


@pytest.mark.parametrize(
    ("panel", "settings", "message"),
    [
        (random_panel(n=1), CrossSectionSettings(), "instruments: at least 2 are needed for 1 factor; 1 given"),
        (
            random_panel(n=3, days=40, quality=None, given=loaded(np.eye(3), "x", "y", "z")),
            CrossSectionSettings(),
            "instruments: at least 5 are needed for 4 factors; 3 given",
        ),
        (
            random_panel(days=40, given=loaded(1e-9 * np.arange(24.0)[:, np.newaxis], "tiny")),
            GIVEN_ONLY,
            r"factors\[tiny\]: earns .* on a day: its exposures are too small",
        ),
        (random_panel(n=3, days=40), SECTORS_ONLY, "instruments: at least 4 are needed for 4 factors; 3 given"),
        (random_panel(days=258), CrossSectionSettings(styles=("momentum", "size")), "window: at least 260 returns"),
        (random_panel(days=5), SECTORS_ONLY, "window: at least 6 returns are needed for 4 factors; 5 given"),
        (random_panel(days=40), GIVEN_ONLY, "factors: there are none"),
        (random_panel(days=40, sectors=("Tech",) * 24), SECTORS_ONLY, "industries: all instruments are in one sector"),
        (random_panel(days=40, sectors=None), SECTORS_ONLY, "industries: no instrument has a sector"),
        (random_panel(days=40), CrossSectionSettings(styles=("beta",)), r"styles\[beta\]: is not a style"),
        (random_panel(days=40), CrossSectionSettings(weighting="value"), "weighting: value is not known"),
        (
            random_panel(days=40, caps=np.where(np.arange(24) == 7, np.nan, 1e9)),
            CrossSectionSettings(styles=(), weighting="square_root_market_cap"),
            "weighting: the market capitalisation of A07 is not known",
        ),
        (
            random_panel(days=40, given=loaded(np.arange(24)[:, np.newaxis], "Tech")),
            SECTORS_ONLY,
            r"factors\[Tech\]: is the name of two factors",
        ),
        (
            random_panel(days=40, given=loaded(np.full((24, 1), 1.5), "world")),
            SECTORS_ONLY,
            r"factors\[world\]: is a linear combination of market over the instruments",
        ),
        (
            random_panel(quality=np.resize([1.0, 2.0, 5.0], 24)),
            CrossSectionSettings(styles=("quality",)),
            r"factors\[quality\]: is a linear combination of Energy, Health, Tech",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused_by_name(panel, settings, message):
    with pytest.raises(ProblemError, match=message):
        cross_sectional_model(panel, settings, RISK)


def test_loaded_exposures_that_are_no_numbers_are_refused_by_name():
    B = np.ones((24, 2))
    B[3, 1] = np.nan
    with pytest.raises(ProblemError, match=r"factors\[oil\]: the exposure of A03 is not finite and within 1e\+06"):
        random_panel(days=40, given=loaded(B, "world", "oil"))
    B[3] = 1e7, 1.0
    with pytest.raises(ProblemError, match=r"factors\[world\]: the exposure of A03"):
        random_panel(days=40, given=loaded(B, "world", "oil"))
    with pytest.raises(ProblemError, match=r"given: has shape \(23, 1\)"):
        random_panel(days=40, given=loaded(np.ones((23, 1)), "world"))
