"""Which instruments and days a factor model is estimated from."""

from dataclasses import replace

import numpy as np
import pytest
from model_markets import factors_without, model_market, without_price

from kernel.estimation.data_checks import Code
from server.compute.model_market import ModelMarket, ModelWindow, model_window
from server.errors import NotReady
from server.factor_specs import FactorModelSpec

ALL = FactorModelSpec()


def cut(market: ModelMarket, spec: FactorModelSpec = ALL, needed: int = 5) -> ModelWindow:
    """The window on the days of the factors."""
    return model_window(market, spec, market.factors, needed)


def returns_of(market, name):
    prices = market.closes[:, market.ids.index(name)]
    return prices[1:] / prices[:-1] - 1.0


def test_everything_is_taken_in_the_order_of_the_ids():
    market = model_market()
    window = cut(market)
    assert window.ids == tuple(sorted(market.ids))
    assert [market.ids[i] for i in window.columns] == list(window.ids)
    np.testing.assert_array_equal(window.days, market.dates[1:])
    for i, name in enumerate(window.ids):
        np.testing.assert_array_equal(window.R[:, i], returns_of(market, name))
    np.testing.assert_array_equal(window.F, market.factors.F)
    np.testing.assert_array_equal(window.growth, 1.0)
    assert not window.findings


def test_dates_bound_the_days_of_returns():
    market = model_market()
    days = market.dates[1:]
    window = cut(market, FactorModelSpec(first_date=str(days[10]), last_date=str(days[59])))
    np.testing.assert_array_equal(window.days, days[10:60])
    np.testing.assert_array_equal(window.F, market.factors.F[10:60])
    np.testing.assert_array_equal(window.R[:, 0], returns_of(market, window.ids[0])[10:60])
    assert len(window.closes) == 51
    np.testing.assert_allclose(window.growth, (market.closes[60] / market.closes[-1])[window.columns], rtol=1e-15)


def test_dates_between_days_take_the_days_inside():
    market = model_market()
    window = cut(market, FactorModelSpec(first_date="2021-01-09", last_date="2021-02-07"))
    assert str(window.days[0]) == "2021-01-11"
    assert str(window.days[-1]) == "2021-02-05"


def test_a_look_back_takes_the_last_days_that_the_factors_have():
    market = factors_without(model_market(), [395, 399])
    window = cut(market, FactorModelSpec(lookback_days=6))
    np.testing.assert_array_equal(window.days, market.dates[1:][[392, 393, 394, 396, 397, 398]])
    np.testing.assert_array_equal(window.R[:, 3], returns_of(market, window.ids[3])[[392, 393, 394, 396, 397, 398]])
    np.testing.assert_array_equal(window.F, market.factors.F[-6:])
    assert len(window.closes) == 8


def test_days_that_the_factors_lack_inside_the_window_are_told():
    market = factors_without(model_market(), [0, 50, 51, 399])
    (finding,) = cut(market).findings
    assert finding.code is Code.LEFT_OUT
    assert finding.instrument_id is None
    assert str(finding.date) == str(market.dates[51])
    assert "fs-1 lacks 2 days" in finding.message


def test_a_factor_without_a_number_lacks_the_day():
    market = model_market()
    F = market.factors.F.copy()
    F[7, 1] = np.nan
    window = cut(replace(market, factors=replace(market.factors, F=F)))
    assert len(window.days) == 399
    assert np.isfinite(window.F).all()


@pytest.mark.parametrize(
    ("rows", "code"),
    [(slice(0, 3), Code.LATE_START), (slice(398, None), Code.ENDED_EARLY), (20, Code.MISSING)],
)
def test_instruments_without_all_prices_are_left_out_and_named(rows, code):
    window = cut(without_price(model_market(), "A05", rows))
    assert "A05" not in window.ids
    assert len(window.ids) == 15
    assert [(f.code, f.instrument_id) for f in window.findings] == [(code, "A05")]


def test_a_named_instrument_without_all_prices_is_refused():
    market = without_price(model_market(), "A05", 20)
    assert len(cut(market, FactorModelSpec(instrument_ids=("A01", "A02"))).ids) == 2
    with pytest.raises(NotReady, match=r"pp-1 from 2021-01-04 .* A05 lacks 1 price"):
        cut(market, FactorModelSpec(instrument_ids=("A01", "A05")))


@pytest.mark.parametrize("wrong", [0.0, -3.0])
def test_a_wrong_price_after_the_window_does_not_matter(wrong):
    market = model_market()
    closes = market.closes.copy()
    closes[400, 3] = wrong
    spec = FactorModelSpec(last_date=str(market.dates[398]))
    window = cut(replace(market, closes=closes), spec)
    last = np.where(np.arange(16) == 3, closes[399], closes[400])
    expected = closes[398] / last
    np.testing.assert_allclose(window.growth, expected[window.columns], rtol=1e-15)


def test_what_an_instrument_lacks_outside_of_the_window_is_no_fault():
    market = without_price(model_market(), "A05", slice(0, 21))
    spec = FactorModelSpec(instrument_ids=("A05", "A01"), first_date=str(market.dates[22]))
    window = cut(market, spec)
    assert window.ids == ("A01", "A05")
    assert len(window.days) == 379
    with pytest.raises(NotReady, match="A05"):
        cut(market, replace(spec, first_date=str(market.dates[21])))


def test_days_without_any_price_of_the_instruments_are_none():
    market = model_market()
    closes = market.closes.copy()
    closes[100] = np.nan
    closes[100, 0] = 50.0
    market = replace(market, closes=closes)
    chosen = tuple(market.ids[1:5])
    window = model_window(market, FactorModelSpec(instrument_ids=chosen), None, 5)
    assert market.dates[100] not in window.days
    assert len(window.days) == 399
    np.testing.assert_allclose(window.R[99], (closes[101] / closes[99] - 1.0)[window.columns], rtol=1e-15)


@pytest.mark.parametrize("chosen", [("A05",), ("A05", "A06")])
def test_returns_over_more_days_than_those_of_the_factors_are_left_out_and_told(chosen):
    market = model_market()
    for name in chosen:
        market = without_price(market, name, slice(20, 40))
    window = cut(market, FactorModelSpec(instrument_ids=chosen))
    # The price of row 40 follows that of row 19: a return over 21 days, of which the factors of the last know nothing.
    used = np.delete(np.arange(400), np.arange(19, 40))
    np.testing.assert_array_equal(window.days, market.dates[1:][used])
    np.testing.assert_array_equal(window.F, market.factors.F[used])
    np.testing.assert_array_equal(window.R[:, 0], returns_of(market, "A05")[used])
    (finding,) = window.findings
    assert finding.code is Code.LEFT_OUT
    assert finding.message.startswith("1 returns span days of factor set fs-1 without prices and are not used: 2021-")


def test_given_exposures_bound_the_instruments():
    market = model_market()
    given = replace(market.exposures, instrument_ids=("X", *market.exposures.instrument_ids[1:]))
    market = replace(market, exposures=given)
    window = model_window(market, ALL, None, 5)
    assert "A00" not in window.ids
    assert [(f.code, f.instrument_id) for f in window.findings] == [(Code.LEFT_OUT, "A00")]
    with pytest.raises(NotReady, match="fe-1 have none of A00"):
        model_window(market, FactorModelSpec(instrument_ids=("A00", "A01")), None, 5)
    nothing = replace(given, instrument_ids=tuple(f"X{i}" for i in range(16)))
    with pytest.raises(NotReady, match="fe-1 have none of the instruments"):
        model_window(replace(market, exposures=nothing), ALL, None, 5)


def test_unknown_instruments_are_refused_by_name():
    with pytest.raises(NotReady, match="pricing pack pp-1 has no prices of A77, B1"):
        cut(model_market(), FactorModelSpec(instrument_ids=("A77", "A01", "B1")))


def test_too_short_a_history_says_how_much_there_is_and_is_needed():
    market = model_market()
    with pytest.raises(NotReady, match=r"fs-1 have in common is 4; at least 5 are needed"):
        cut(market, FactorModelSpec(lookback_days=4))
    with pytest.raises(NotReady, match=r"from 2030-01-01 to the last one .* is 0; at least 5 are needed"):
        cut(market, FactorModelSpec(first_date="2030-01-01"))
    with pytest.raises(NotReady, match=r"returns of pricing pack pp-1 is 3; at least 5 are needed"):
        model_window(market, FactorModelSpec(lookback_days=3), None, 5)
    empty = replace(market, closes=np.full_like(market.closes, np.nan))
    with pytest.raises(NotReady, match="is 0; at least 5"):
        cut(empty)


def test_nothing_complete_is_refused():
    market = model_market(assets=2)
    market = without_price(without_price(market, "A00", 5), "A01", 9)
    with pytest.raises(NotReady, match=r"complete for no instrument: A00 lacks 1 price .*; A01 lacks 1 price"):
        cut(market)


@pytest.mark.parametrize(
    ("price", "said"),
    [(-1.0, "not above 0"), (1e9, "A05 has a return of 9.48239e\\+06 on 2021-10-11; the limit is 1e\\+06")],
)
def test_impossible_prices_are_refused_by_name(price, said):
    market = model_market()
    closes = market.closes.copy()
    closes[200, market.ids.index("A05")] = price
    with pytest.raises(NotReady, match=said):
        cut(replace(market, closes=closes), FactorModelSpec(instrument_ids=("A05", "A06")))
