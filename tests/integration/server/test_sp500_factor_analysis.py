"""The S&P 500 names with a full history on the five factors of Fama and French, asked of the service."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from factor_analysis_checks import adds_up
from portfolio_optimization.v1 import factor_models_pb2 as fm
from portfolio_optimization.v1 import factors_pb2 as pb

from storage.benchmarks import BenchmarkRepository
from storage.factors import FactorRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Benchmark, FactorTable, Holding, Portfolio
from tests.integration.server.open_service import OpenService, sp500_service
from tests.sp500 import FIVE_FACTORS, RISK_FREE, WRONG_SPLIT, factor_returns, needs_factors, needs_prices

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm

pytestmark = [needs_prices, needs_factors]

Floats = npt.NDArray[np.float64]


class Market:
    """Names, their returns on the days of the factors, the factors, and the weights of one share of each name."""

    def __init__(self, names: tuple[str, ...], closes: Floats, factors: FactorTable, days: Any) -> None:
        self.names = names
        rows = np.isin(factors.dates, days[1:])
        assert rows.sum() == len(days) - 1
        self.F, self.riskless = factors.returns[rows, :-1], factors.returns[rows, -1]
        self.R = closes[1:] / closes[:-1] - 1.0
        self.w = closes[-1] / closes[-1].sum()


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with sp500_service(postgres_server, template_database) as service:
        yield service


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return service.run(_load(service))


async def _load(service: OpenService) -> Market:
    given = FactorTable((*FIVE_FACTORS, RISK_FREE), *factor_returns(*FIVE_FACTORS, RISK_FREE))
    async with service.application.database.transaction() as connection:
        packs = PricingPackRepository(connection)
        prices = await packs.read((await packs.latest()).id)
        whole = ~np.isnan(prices.closes).any(axis=0) & (np.array(prices.instrument_ids) != WRONG_SPLIT)
        names = tuple(np.array(prices.instrument_ids)[whole].tolist())
        await FactorRepository(connection).store(given, "Fama and French")
        weights = {name: Decimal(1) / Decimal(4) for name in names[:4]}
        await BenchmarkRepository(connection).put(Benchmark(id="four", name="", weights=weights))
        holdings = tuple(Holding(instrument_id=name, quantity=Decimal(1)) for name in names)
        await PortfolioRepository(connection).put(Portfolio(id="all", name="", holdings=holdings, benchmark_id="four"))
    return Market(names, prices.closes[:, whole], given, prices.dates)


@pytest.fixture(scope="module")
def answer(service: OpenService, market: Market) -> Any:
    model = fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(risk_free_factor="RF"))
    request = pb.FactorExposureRequest(portfolio_id="all", model=model, include_instruments=True)
    return service.call("AnalyzeFactorExposures", request)


def test_the_portfolio_has_the_exposures_of_its_regression(answer: Any, market: Market) -> None:
    adds_up(answer)
    assert answer.observations == len(market.R) == 1258
    excess = market.R @ market.w - market.riskless
    fit = sm.OLS(excess, sm.add_constant(market.F)).fit(
        cov_type="HAC", cov_kwds={"maxlags": answer.lags, "use_correction": True}
    )
    rows = answer.exposures
    np.testing.assert_allclose([row.exposure for row in rows], fit.params[1:], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose([row.standard_error for row in rows], fit.bse[1:], rtol=1e-9)
    assert answer.r_squared == pytest.approx(fit.rsquared, rel=1e-10)
    # A broad portfolio of large companies has the market's risk and little else.
    assert rows[0].exposure == pytest.approx(1.0, abs=0.1)
    assert answer.r_squared > 0.97


def test_instruments_have_the_exposures_of_their_regressions(answer: Any, market: Market) -> None:
    found = {row.instrument_id: row for row in answer.instruments}
    assert list(found) == list(market.names)
    design = sm.add_constant(market.F)
    for place in range(0, len(market.names), 47):
        row = found[market.names[place]]
        fit = sm.OLS(market.R[:, place] - market.riskless, design).fit(
            cov_type="HAC", cov_kwds={"maxlags": answer.lags, "use_correction": True}
        )
        np.testing.assert_allclose(list(row.exposures), fit.params[1:], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(list(row.standard_errors), fit.bse[1:], rtol=1e-9)
        assert row.r_squared == pytest.approx(fit.rsquared, rel=1e-9)


def test_the_compounded_return_is_that_of_prices(answer: Any, market: Market) -> None:
    daily = market.R @ market.w
    assert answer.return_attribution.portfolio_return == pytest.approx(np.prod(1.0 + daily) - 1.0, rel=1e-12)
    assert answer.return_attribution.benchmark_return == pytest.approx(
        np.prod(1.0 + market.R[:, :4].mean(axis=1)) - 1.0, rel=1e-12
    )
    assert [part.source for part in answer.return_attribution.parts] == [*FIVE_FACTORS, "risk_free", "specific"]


def test_styles_and_sectors_explain_the_same_names(service: OpenService, market: Market) -> None:
    model = fm.FactorModelSpecification(cross_sectional=fm.CrossSectionalModel())
    answer = service.call("AnalyzeFactorExposures", pb.FactorExposureRequest(portfolio_id="all", model=model))
    adds_up(answer)
    exposures = {row.factor: row.exposure for row in answer.exposures}
    assert exposures["market"] == pytest.approx(1.0)
    assert sum(row.exposure for row in answer.exposures if row.kind == fm.FACTOR_KIND_INDUSTRY) == pytest.approx(1.0)
    assert answer.r_squared > 0.9
    assert 0.08 < answer.risk.volatility < 0.2
