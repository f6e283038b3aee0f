"""The sample: real prices, and portfolios that are made for them."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from kernel.estimation.data_checks import CheckSettings, Severity, check_prices
from server.sample import files
from server.sample.data import SampleData, build_sample
from server.sample.facts import STOCKS
from server.sample.files import STOCKS_FILE, SampleUnavailableError, read_levels
from storage.records import Portfolio

LAST_DAY = date(2022, 12, 28)


@pytest.fixture(scope="module")
def sample() -> SampleData:
    try:
        return build_sample()
    except SampleUnavailableError as error:
        pytest.skip(str(error))


def value(sample: SampleData, portfolio: Portfolio) -> dict[str, Decimal]:
    last = dict(zip(sample.prices.instrument_ids, sample.prices.closes[-1].tolist(), strict=True))
    values = {h.instrument_id: h.quantity * Decimal(repr(last[h.instrument_id])) for h in portfolio.holdings}
    return values | {"CASH": portfolio.cash}


def test_prices_are_complete(sample: SampleData) -> None:
    assert sample.prices.closes.shape == (8313, 21)
    assert (sample.prices.dates[0], sample.prices.dates[-1]) == (np.datetime64("1990-01-02"), np.datetime64(LAST_DAY))
    assert {instrument.id for instrument in sample.instruments} == set(sample.prices.instrument_ids)
    prices = sample.prices
    findings = check_prices(prices.instrument_ids, prices.dates, prices.closes, CheckSettings())
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]


def test_published_prices_stand_where_they_should(sample: SampleData) -> None:
    prices = sample.prices
    row = int(np.searchsorted(prices.dates, np.datetime64("2020-03-23")))
    closes = dict(zip(prices.instrument_ids, prices.closes[row].tolist(), strict=True))
    assert (closes["AAPL"], closes["UNH"], closes["SP500"]) == (54.923, 186.036, 2237.4)


def test_it_is_the_same_every_time(sample: SampleData) -> None:
    again = build_sample()
    assert again.prices.content_id == sample.prices.content_id
    assert again.factors.content_id == sample.factors.content_id
    assert again.benchmark == sample.benchmark


def test_factors_are_daily_returns_by_name(sample: SampleData) -> None:
    assert sample.factors.factors == ("momentum", "quality", "size", "minimum_volatility", "value")
    assert sample.factors.returns.shape == (2263, 5)
    assert np.abs(sample.factors.returns).max() < 0.15
    assert not np.isnan(sample.factors.returns).any()


def test_the_benchmark_is_weighted_by_capitalisation(sample: SampleData) -> None:
    weights = sample.benchmark.weights
    assert sum(weights.values()) == 1
    assert sample.benchmark.index_instrument_id == "SP500"
    caps = {stock.id: stock.market_cap for stock in STOCKS}
    assert float(weights["KO"] / weights["XOM"]) == pytest.approx(caps["KO"] / caps["XOM"], rel=1e-7)


def test_sectors_and_classes(sample: SampleData) -> None:
    classes = {instrument.id: instrument.asset_class for instrument in sample.instruments}
    assert classes.pop("SP500") == "index"
    assert set(classes.values()) == {"equity"}
    assert len({stock.sector for stock in STOCKS}) == 7


def test_the_growth_portfolio_is_uneven_with_some_cash(sample: SampleData) -> None:
    values = value(sample, sample.portfolios[0])
    total = sum(values.values())
    assert sample.portfolios[0].id == "sample-growth"
    assert len(sample.portfolios[0].holdings) == 20
    assert 1_000_000 < total < 2_000_000
    assert Decimal("0.02") < values["CASH"] / total < Decimal("0.04")
    assert max(values.values()) / min(values.values()) > 4


def test_the_growth_portfolio_has_every_kind_of_lot(sample: SampleData) -> None:
    last = dict(zip(sample.prices.instrument_ids, sample.prices.closes[-1].tolist(), strict=True))
    kinds = {
        ((LAST_DAY - lot.acquired_on).days > 365, last[lot.instrument_id] > float(lot.cost_per_share))
        for lot in sample.portfolios[0].lots
        if lot.acquired_on and lot.cost_per_share
    }
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}
    assert any(lot.acquired_on and (LAST_DAY - lot.acquired_on).days <= 30 for lot in sample.portfolios[0].lots)


def test_the_defensive_portfolio_is_smaller(sample: SampleData) -> None:
    growth, defensive = (sum(value(sample, portfolio).values()) for portfolio in sample.portfolios)
    assert sample.portfolios[1].id == "sample-defensive"
    assert len(sample.portfolios[1].holdings) == 8
    assert defensive < growth / 2


def test_lots_add_up_and_were_bought_at_closing_prices(sample: SampleData) -> None:
    prices = sample.prices
    for portfolio in sample.portfolios:
        for holding in portfolio.holdings:
            lots = [lot for lot in portfolio.lots if lot.instrument_id == holding.instrument_id]
            assert sum(lot.quantity for lot in lots) == holding.quantity
        for lot in portfolio.lots:
            row = np.flatnonzero(prices.dates == np.datetime64(lot.acquired_on))[0]
            assert float(lot.cost_per_share or 0) == prices.closes[row, prices.instrument_ids.index(lot.instrument_id)]
        assert len({lot.id for lot in portfolio.lots}) == len(portfolio.lots)


@pytest.mark.parametrize("spec", [None, ModuleSpec("skfolio", None)])
def test_without_its_files_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: spec)
    with pytest.raises(SampleUnavailableError, match="extra `sample`"):
        read_levels(STOCKS_FILE)


def test_the_package_of_the_files_is_not_executed(sample: SampleData) -> None:
    code = "import sys; from server.sample.data import build_sample; build_sample(); sys.exit('skfolio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
