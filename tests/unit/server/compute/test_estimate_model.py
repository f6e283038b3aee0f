"""From a request and market data to a factor model of each kind."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from model_markets import SECTORS, factors_without, model_market, without_price

from kernel.errors import ProblemError
from kernel.estimation.data_checks import Code
from server.compute.factor_models import estimate_model, time_series_settings
from server.errors import NotReady
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, StatisticalSpec, TimeSeriesSpec

EXCESS = TimeSeriesSpec(risk_free_factor="bills")
KINDS = [
    EXCESS,
    replace(EXCESS, estimator="kalman"),
    replace(EXCESS, estimator="huber", standard_errors="classical"),
    replace(EXCESS, estimator="ridge", factors=("value", "market")),
    CrossSectionalSpec(),
    CrossSectionalSpec(styles=("volatility",), industries=False, weighting="equal"),
    CrossSectionalSpec(factor_exposures_id="fe-1", factors=("debt",), styles=(), industries=True),
    StatisticalSpec(),
    StatisticalSpec("fixed", 4, standardize=True),
]


def spec(kind, **settings):
    return FactorModelSpec(kind, **settings)


def given_only(market, kind):
    """The market as a request of this kind has it loaded."""
    named = isinstance(kind, CrossSectionalSpec) and kind.factor_exposures_id
    return market if named else replace(market, exposures=None)


def build(market, kind, **settings):
    return estimate_model(given_only(market, kind), spec(kind, **settings))


def test_time_series_exposures_are_slopes_above_the_risk_free_return():
    market = model_market()
    built = build(market, EXCESS)
    F, free = market.factors.F[:, :3], market.factors.F[:, 3]
    X = np.column_stack([np.ones(400), F])
    order = np.argsort(market.ids)
    R = (market.closes[1:] / market.closes[:-1] - 1.0)[:, order] - free[:, None]
    slopes, squares, _, _ = np.linalg.lstsq(X, R, rcond=None)
    model, inputs = built.inputs.model, built.inputs
    assert model.names == tuple(sorted(market.ids))
    assert model.factors == ("market", "size", "value")
    np.testing.assert_allclose(model.B, slopes[1:].T, rtol=1e-9)
    np.testing.assert_allclose(built.estimated.alpha, 252 * slopes[0], rtol=1e-9)
    np.testing.assert_allclose(built.estimated.unshrunk, 252 * squares / (400 - 4), rtol=1e-9)
    np.testing.assert_allclose(model.Phi, 252 * np.cov(F.T), rtol=1e-11)
    np.testing.assert_array_equal(inputs.F, F)
    np.testing.assert_array_equal(inputs.risk_free, free)
    np.testing.assert_array_equal(inputs.dates, market.dates[1:])
    assert inputs.id == ""
    assert inputs.kind == "time_series"
    assert inputs.factor_kinds == ("given",) * 3
    assert all(name in said for name, said in zip(model.factors, inputs.definitions, strict=True))
    assert (built.window.first_date, built.window.as_of) == (str(market.dates[1]), str(market.dates[-1]))
    assert built.window.observations == 400


def test_factors_come_in_the_order_asked_for():
    built = build(model_market(), replace(EXCESS, factors=("value", "market")))
    assert built.inputs.model.factors == ("value", "market")
    np.testing.assert_array_equal(built.inputs.F, model_market().factors.F[:, [2, 0]])
    whole = build(model_market(), TimeSeriesSpec())
    assert whole.inputs.model.factors == ("market", "size", "value", "bills")
    assert whole.inputs.risk_free is None


def test_days_that_factors_lack_are_left_out_of_all_series():
    market = factors_without(model_market(), [50, 51])
    built = build(market, EXCESS)
    assert built.window.observations == len(built.inputs.dates) == len(built.inputs.risk_free) == 398
    assert [finding.code for finding in built.window.findings] == [Code.LEFT_OUT]


def test_cross_sectional_models_have_all_that_the_data_allow():
    market = model_market(assets=40)
    built = build(market, CrossSectionalSpec())
    inputs, kind = built.inputs, built.spec.kind
    styles = ("market_beta", "momentum", "volatility", "size", "quality")
    assert inputs.model.factors == ("market", *styles, *SECTORS)
    assert inputs.factor_kinds == ("market", *["style"] * 5, *["industry"] * 4)
    assert inputs.kind == "cross_sectional"
    assert (kind.styles, kind.industries, kind.weighting) == (styles, True, "square_root_market_cap")
    assert built.window.observations == len(inputs.F) == 400 - 252
    np.testing.assert_array_equal(inputs.dates, market.dates[-148:])
    assert built.window.first_date == str(market.dates[1])
    place = {name: i for i, name in enumerate(market.ids)}
    for name, row in zip(inputs.model.names, inputs.model.B, strict=True):
        sectors = dict(zip(SECTORS, row[6:], strict=True))
        assert sectors == {sector: float(sector == market.sectors[place[name]]) for sector in SECTORS}


def test_styles_that_the_data_do_not_allow_are_told():
    market = model_market(assets=40)
    caps = market.market_caps.copy()
    caps[3] = np.nan
    built = build(replace(market, market_caps=caps), CrossSectionalSpec())
    assert "size" not in built.spec.kind.styles
    assert built.spec.kind.weighting == "equal"
    (finding,) = built.window.findings
    assert finding.code is Code.LEFT_OUT
    assert finding.message.startswith("size is left out: ")
    assert market.ids[3] in finding.message
    with pytest.raises(ProblemError, match=market.ids[3]):
        build(replace(market, market_caps=caps), CrossSectionalSpec(styles=("size",)))


def test_capitalisations_are_those_of_the_windows_end():
    """The same past window gives the same model whatever prices did after it."""
    market = model_market(assets=40)
    past = {"last_date": str(market.dates[350]), "lookback_days": 340}
    closes = market.closes.copy()
    closes[351:] *= np.linspace(0.5, 2.0, 40)
    later = replace(market, closes=closes, market_caps=market.market_caps * np.linspace(0.5, 2.0, 40))
    kind = CrossSectionalSpec(styles=("size", "volatility"))
    one, two = (build(table, kind, **past) for table in (market, later))
    np.testing.assert_allclose(one.inputs.model.B, two.inputs.model.B, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(one.inputs.F, two.inputs.F, rtol=1e-8, atol=1e-12)


def test_given_exposures_meet_their_instruments():
    market = model_market()
    built = build(market, CrossSectionalSpec("fe-1", ("debt", "growth"), styles=(), industries=False))
    given = market.exposures
    assert built.inputs.model.factors == ("debt", "growth")
    expected = {name: row[::-1].tolist() for name, row in zip(given.instrument_ids, given.B, strict=True)}
    assert dict(zip(built.inputs.model.names, built.inputs.model.B.tolist(), strict=True)) == expected
    R = market.closes[1:] / market.closes[:-1] - 1.0
    X = np.array([expected[name] for name in market.ids])
    weights = np.sqrt(market.market_caps * market.closes[:-1] / market.closes[-1])
    day = 123
    root = np.sqrt(weights[day])[:, None]
    oracle = np.linalg.lstsq(root * X, root[:, 0] * R[day], rcond=None)[0]
    np.testing.assert_allclose(built.inputs.F[day], oracle, rtol=1e-9)


def test_statistical_models_say_what_they_are():
    built = build(model_market(), StatisticalSpec())
    inputs = built.inputs
    assert inputs.kind == "statistical"
    assert inputs.model.factors == ("statistical_1", "statistical_2", "statistical_3")
    assert inputs.factor_kinds == ("statistical",) * 3
    assert inputs.definitions[2].startswith("Principal component 3")
    assert (inputs.variance_inflation == 1.0).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{type(kind).__name__}")
def test_the_same_request_gives_the_same_bits_in_any_order_and_when_filled_in(kind):
    market = model_market(assets=30)
    built = build(market, kind, lookback_days=380, specific_half_life=90.0)
    order = np.random.default_rng(7).permutation(30)
    shuffled = replace(
        market,
        ids=tuple(market.ids[i] for i in order),
        closes=market.closes[:, order],
        sectors=tuple(market.sectors[i] for i in order),
        market_caps=market.market_caps[order],
        quality_scores=market.quality_scores[order],
    )
    again = [
        build(shuffled, kind, lookback_days=380, specific_half_life=90.0),
        estimate_model(given_only(market, kind), built.spec),
        pickle.loads(pickle.dumps(built)),
    ]
    for other in again:
        assert other.spec == built.spec
        assert other.window == built.window
        for name in ("B", "Phi", "specific"):
            assert getattr(other.inputs.model, name).tobytes() == getattr(built.inputs.model, name).tobytes()
        assert other.inputs.F.tobytes() == built.inputs.F.tobytes()
    assert built.spec.instrument_ids == tuple(sorted(market.ids))
    assert (built.spec.pricing_pack_id, built.spec.lookback_days) == ("pp-1", 0)
    assert (built.spec.first_date, built.spec.last_date) == (str(market.dates[21]), str(market.dates[-1]))


def test_settings_of_risk_arrive():
    market = model_market()
    plain = build(market, EXCESS).inputs.model
    halved = build(market, EXCESS, factor_half_life=20.0, specific_half_life=15.0, specific_shrinkage=1.0)
    weights = 0.5 ** (np.arange(399, -1, -1) / 20.0)
    np.testing.assert_allclose(
        halved.inputs.model.Phi, 252 * np.cov(market.factors.F[:, :3].T, aweights=weights), rtol=1e-9
    )
    assert np.ptp(halved.inputs.model.specific) < 1e-15
    assert np.ptp(plain.specific) > 1e-4
    np.testing.assert_array_equal(halved.inputs.model.B, plain.B)


def test_what_the_data_chose_is_filled_in():
    market = model_market()
    assert build(market, EXCESS).spec.kind == replace(
        EXCESS, factor_set_id="fs-1", factors=("market", "size", "value"), lags=5
    )
    drifting = build(market, replace(EXCESS, estimator="kalman"))
    assert drifting.spec.kind.drift == drifting.estimated.diagnostics["drift"]
    assert drifting.spec.kind.lags is None
    classical = replace(EXCESS, standard_errors="classical")
    assert build(market, classical).spec.kind.lags is None


def test_settings_of_regressions_are_handed_on():
    settings = time_series_settings(
        TimeSeriesSpec(
            estimator="huber",
            half_life=3.0,
            ridge_penalty=0.5,
            huber_threshold=2.0,
            drift=0.25,
            standard_errors="classical",
            lags=9,
        )
    )
    found = (settings.estimator, settings.half_life, settings.ridge_penalty, settings.huber_threshold, settings.drift)
    assert found == ("huber", 3.0, 0.5, 2.0, 0.25)
    assert (settings.standard_errors, settings.lags) == ("classical", 9)


@pytest.mark.parametrize(
    ("kind", "field", "said"),
    [
        (
            replace(EXCESS, factors=("market", "momentum", "x")),
            "time_series.factors",
            "fs-1 has no momentum, x; it has",
        ),
        (TimeSeriesSpec(risk_free_factor="rf"), "time_series.risk_free_factor", "fs-1 has no rf; it has market"),
        (replace(EXCESS, factors=("bills", "size")), "time_series.risk_free_factor", "among the factors"),
        (CrossSectionalSpec("fe-1", ("growth", "momentum")), "cross_sectional.factors", "fe-1 have no momentum"),
        (StatisticalSpec("fixed", 16), "statistical.factor_count", "at most 15"),
    ],
)
def test_unknown_names_and_numbers_are_refused(kind, field, said):
    with pytest.raises(ProblemError, match=said) as refusal:
        build(model_market(), kind)
    assert refusal.value.field == field


def test_factors_of_exposures_that_are_not_given_are_refused():
    with pytest.raises(ProblemError, match="none are given"):
        build(model_market(), CrossSectionalSpec(factors=("growth",)))


def test_a_set_with_nothing_but_the_risk_free_return_explains_nothing():
    market = model_market()
    given = replace(market.factors, names=("bills",), F=market.factors.F[:, 3:])
    with pytest.raises(ProblemError, match="fs-1 has nothing but bills"):
        build(replace(market, factors=given), EXCESS)
    with pytest.raises(NotReady, match="no factor set"):
        build(replace(market, factors=None), EXCESS)


@pytest.mark.parametrize(("column", "said"), [(0, "constant"), (1, "linear combination of ")])
def test_constant_and_collinear_factors_are_refused_by_name(column, said):
    market = model_market()
    F = market.factors.F.copy()
    F[:, column] = 0.001 if column == 0 else F[:, 0] - 2.0 * F[:, 2]
    with pytest.raises(ProblemError, match=said) as refusal:
        build(replace(market, factors=replace(market.factors, F=F)), EXCESS)
    assert refusal.value.field.startswith("time_series.factors[")


@pytest.mark.parametrize(
    ("kind", "days", "said"),
    [
        (EXCESS, 4, "is 4; at least 5 are needed"),
        (StatisticalSpec(), 2, "is 2; at least 3 are needed"),
        (StatisticalSpec("fixed", 7), 8, "is 8; at least 9 are needed"),
    ],
)
def test_too_short_a_history_is_refused_with_what_is_needed(kind, days, said):
    with pytest.raises(NotReady, match=said):
        build(model_market(), kind, lookback_days=days)


def test_a_style_that_needs_more_history_is_refused_by_name():
    with pytest.raises(ProblemError, match="there are 200") as refusal:
        build(model_market(), CrossSectionalSpec(styles=("momentum",)), lookback_days=200)
    assert refusal.value.field == "cross_sectional.styles[momentum]"


def test_one_instrument_and_one_factor_are_enough_for_a_regression():
    market = model_market()
    built = build(market, replace(EXCESS, factors=("market",)), instrument_ids=("A03",), lookback_days=3)
    assert built.inputs.model.B.shape == (1, 1)
    assert built.estimated.shrinkage == 0.0
    assert built.window.observations == 3


def test_instruments_left_out_are_named_and_the_others_are_the_model():
    market = without_price(model_market(), "A05", 100)
    built = build(market, EXCESS)
    assert "A05" not in built.spec.instrument_ids
    assert [finding.instrument_id for finding in built.window.findings] == ["A05"]
    assert estimate_model(given_only(market, EXCESS), built.spec).window.findings == ()
