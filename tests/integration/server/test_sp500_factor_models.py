"""Factor models of all S&P 500 names with a full history, through the service, against independent implementations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1.factor_models_pb2 import CrossSectionalModel, StatisticalModel, TimeSeriesModel
from sklearn.decomposition import PCA

from server.imports.factors import FactorOptions, import_factors
from storage.factors import FactorRepository
from storage.instruments import InstrumentRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import FactorTable, PriceTable
from tests.integration.server.factor_model_calls import ModelCalls, exposures, matrix, specification
from tests.integration.server.open_service import OpenService, sp500_service
from tests.sp500 import FACTORS_FILE, FIVE_FACTORS, RISK_FREE, needs_factors, needs_prices

SHOWN = ("AAPL", "JPM", "KO", "XOM", "NFLX")

pytestmark = [needs_prices, needs_factors]

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with sp500_service(postgres_server, template_database) as service:
        service.run(import_factors(service.application.database, FACTORS_FILE, FactorOptions()))
        yield service


@pytest.fixture(scope="module")
def calls(service: OpenService) -> ModelCalls:
    return ModelCalls(service)


class Market:
    """Prices of a model's instruments, what is known of them, and the factors' returns."""

    def __init__(self, table: PriceTable, factors: FactorTable, facts: dict[str, tuple[str, float]]) -> None:
        self._table, self._factors, self.facts = table, factors, facts

    def closes(self, names: list[str]) -> Floats:
        columns = [self._table.instrument_ids.index(name) for name in names]
        closes: Floats = self._table.closes[:, columns]
        return closes

    def returns(self, names: list[str]) -> Floats:
        closes = self.closes(names)
        return closes[1:] / closes[:-1] - 1.0

    def factors(self, names: tuple[str, ...]) -> Floats:
        rows = np.isin(self._factors.dates, self._table.dates[1:])
        assert rows.sum() == len(self._table.dates) - 1
        F: Floats = self._factors.returns[np.ix_(rows, [self._factors.factors.index(name) for name in names])]
        return F


@pytest.fixture(scope="module")
def market(service: OpenService) -> Market:
    return service.run(_load(service))


async def _load(service: OpenService) -> Market:
    async with service.application.database.transaction() as connection:
        packs, sets = PricingPackRepository(connection), FactorRepository(connection)
        table = await packs.read((await packs.latest()).id)
        factors = await sets.read((await sets.latest()).id)
        instruments = await InstrumentRepository(connection).find(table.instrument_ids)
    facts = {found.id: (found.sector, float(found.market_cap or "nan")) for found in instruments}
    return Market(table, factors, facts)


def names_of(model: models_pb.FactorModel) -> list[str]:
    return list(model.specification.instrument_ids)


def test_five_factors_against_statsmodels(calls: ModelCalls, market: Market) -> None:
    kind = TimeSeriesModel(factors=FIVE_FACTORS, risk_free_factor=RISK_FREE, lags=6)
    model = calls.whole(calls.create("Fama-French", specification(kind)).factor_model_id)
    rows = {row.instrument_id: row for row in model.instruments}
    F, risk_free = market.factors(FIVE_FACTORS), market.factors((RISK_FREE,))[:, 0]
    R = market.returns(list(SHOWN)) - risk_free[:, None]
    for column, name in enumerate(SHOWN):
        kernel = {"maxlags": 6, "use_correction": True}
        fit = sm.OLS(R[:, column], sm.add_constant(F)).fit(cov_type="HAC", cov_kwds=kernel)
        np.testing.assert_allclose(rows[name].exposures, fit.params[1:], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(rows[name].standard_errors, fit.bse[1:], rtol=1e-10)
        assert rows[name].r_squared == pytest.approx(fit.rsquared, rel=1e-10)
        assert rows[name].alpha == pytest.approx(252.0 * fit.params[0], rel=1e-9)
        unshrunk = np.sqrt(252.0 * fit.mse_resid)
        assert rows[name].unshrunk_specific_volatility == pytest.approx(unshrunk, rel=1e-10)
    assert model.observations == len(F)
    assert model.instrument_count == len(model.instruments) > 450


def test_names_without_a_full_history_are_left_out_by_name(calls: ModelCalls, market: Market) -> None:
    model = calls.create("Fama-French", specification(TimeSeriesModel(factors=FIVE_FACTORS)))
    whole = np.isfinite(market.closes(sorted(market.facts))).all(axis=0)
    complete = {name for name, full in zip(sorted(market.facts), whole, strict=True) if full}
    used = set(names_of(model))
    assert used <= complete
    findings = {finding.instrument_id for finding in model.data_findings}
    assert set(market.facts) - used <= findings


def test_styles_and_sectors(calls: ModelCalls, market: Market) -> None:
    model = calls.whole(calls.create("styles", specification(CrossSectionalModel())).factor_model_id)
    names = [row.instrument_id for row in model.instruments]
    kinds = [factor.kind for factor in model.factors]
    F, k = matrix(model.factor_returns, len(kinds)), len(kinds)
    closes = market.closes(names)
    caps = np.array([market.facts[name][1] for name in names]) * closes / closes[-1]
    weights = caps[:-1] / caps[:-1].sum(axis=1, keepdims=True)
    index = (weights * market.returns(names)).sum(axis=1)[-len(F) :]
    assert np.corrcoef(F[:, 0], index)[0, 1] > 0.95
    assert 0.05 < model.factors[0].volatility < 0.2
    # The industries' returns, weighted by market capitalisation the day before, add up to zero.
    places = [place for place, kind in enumerate(kinds) if kind == models_pb.FACTOR_KIND_INDUSTRY]
    sectors = [model.factors[place].name for place in places]
    member = np.array([[float(market.facts[name][0] == sector) for sector in sectors] for name in names])
    assert len(sectors) == 11
    np.testing.assert_array_equal(exposures(model)[:, places], member)
    np.testing.assert_allclose(((weights @ member)[-len(F) :] * F[:, places]).sum(axis=1), 0.0, atol=1e-13)
    assert model.mean_r_squared > 0.2
    assert model.observations == len(closes) - 1 - 252
    styles = [factor.name for factor in model.factors if factor.kind == models_pb.FACTOR_KIND_STYLE]
    assert styles == ["market_beta", "momentum", "volatility", "size"]
    assert k == 1 + len(styles) + len(sectors)


def test_components_against_scikit_learn(calls: ModelCalls, market: Market) -> None:
    kind = StatisticalModel(count_rule=models_pb.FACTOR_COUNT_RULE_FIXED, factor_count=5)
    model = calls.whole(calls.create("components", specification(kind)).factor_model_id)
    names = [row.instrument_id for row in model.instruments]
    found = PCA(n_components=5, svd_solver="full").fit(market.returns(names))
    B = exposures(model)
    cosines = np.abs(np.sum(B.T * found.components_, axis=1)) / np.linalg.norm(B, axis=0)
    np.testing.assert_allclose(cosines, 1.0, rtol=1e-10)
    variances = np.array([factor.volatility for factor in model.factors]) ** 2 * len(names)
    np.testing.assert_allclose(variances, 252.0 * found.explained_variance_, rtol=1e-10)
    request = pb.GetFactorPortfoliosRequest(factor_model_id=model.factor_model_id, factors=["statistical_2"])
    (portfolio,) = calls.call("GetFactorPortfolios", request).portfolios
    w = np.array([portfolio.weights[name] for name in names])
    np.testing.assert_allclose(B.T @ w, [0.0, 1.0, 0.0, 0.0, 0.0], atol=1e-10)


def test_the_order_of_a_callers_list_is_no_content(calls: ModelCalls) -> None:
    kind = StatisticalModel(count_rule=models_pb.FACTOR_COUNT_RULE_MARCHENKO_PASTUR)
    model = calls.create("order", specification(kind))
    turned = models_pb.FactorModelSpecification()
    turned.CopyFrom(model.specification)
    del turned.instrument_ids[:]
    turned.instrument_ids.extend(reversed(names_of(model)))
    assert calls.create("order", turned) == model
