"""Factor models through the service: lists, factor portfolios, analyses found again, and all that is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1 import factors_pb2
from portfolio_optimization.v1.factor_models_pb2 import CrossSectionalModel, StatisticalModel, TimeSeriesModel

from server.errors import InvalidRequest
from server.factor_specs import FactorModelSpec, StatisticalSpec
from server.loading_model_markets import ModelMarketLoader
from server.sample.facts import INDEX_ID, STOCKS
from tests.integration.server.factor_model_calls import ModelCalls, creation, exposures, matrix, specification
from tests.integration.server.open_service import OpenService
from tests.integration.server.sample_market import PORTFOLIO

NAMES = tuple(sorted(stock.id for stock in STOCKS))
FACTORS = ("momentum", "quality", "size", "minimum_volatility", "value")
MISSING, NOT_READY = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def calls(service: OpenService) -> ModelCalls:
    return ModelCalls(service)


# --- lists


def test_a_list_has_pages_and_is_light(calls: ModelCalls) -> None:
    made = [calls.create("listed", specification(lookback_days=days)) for days in (60, 61, 62, 63, 64)]
    seen: list[models_pb.FactorModel] = []
    token = ""
    while True:
        page = calls.call("ListFactorModels", pb.ListFactorModelsRequest(name="listed", page_size=2, page_token=token))
        seen += page.factor_models
        token = page.next_page_token
        if not token:
            break
    assert [model.factor_model_id for model in seen] == [model.factor_model_id for model in reversed(made)]
    for shown, model in zip(seen, reversed(made), strict=True):
        assert shown.instrument_count == len(NAMES)
        for field in ("factor_covariance", "data_findings"):
            model.ClearField(field)
        model.specification.ClearField("instrument_ids")
        assert shown == model


def test_a_list_of_all_names_is_newest_first(calls: ModelCalls) -> None:
    for name in ("list one", "list two"):
        calls.create(name, specification(lookback_days=70))
    page = calls.call("ListFactorModels", pb.ListFactorModelsRequest(page_size=2))
    assert [model.name for model in page.factor_models] == ["list two", "list one"]
    moments = [
        model.created_at.ToDatetime()
        for model in calls.call("ListFactorModels", pb.ListFactorModelsRequest()).factor_models
    ]
    assert moments == sorted(moments, reverse=True)
    assert not calls.call("ListFactorModels", pb.ListFactorModelsRequest(name="no such name")).factor_models


# --- factor portfolios


def test_factor_portfolios_have_exposure_to_one_factor_alone(calls: ModelCalls) -> None:
    model = calls.whole(calls.create("portfolios", specification()).factor_model_id)
    found = calls.call("GetFactorPortfolios", pb.GetFactorPortfoliosRequest(factor_model_id=model.factor_model_id))
    B, k = exposures(model), len(FACTORS)
    specific = np.array([row.specific_volatility for row in model.instruments]) ** 2
    assert [portfolio.factor for portfolio in found.portfolios] == list(FACTORS)
    for place, portfolio in enumerate(found.portfolios):
        w = np.array([portfolio.weights[name] for name in NAMES])
        np.testing.assert_allclose(B.T @ w, np.eye(k)[place], atol=1e-12)
        assert [portfolio.exposures[name] for name in FACTORS] == pytest.approx(list(np.eye(k)[place]), abs=1e-12)
        Sigma = B @ matrix(model.factor_covariance, k) @ B.T + np.diag(specific)
        assert portfolio.volatility == pytest.approx(np.sqrt(w @ Sigma @ w), rel=1e-9)
        assert portfolio.specific_volatility == pytest.approx(np.sqrt(specific @ w**2), rel=1e-9)
        assert portfolio.gross_leverage == pytest.approx(np.abs(w).sum(), rel=1e-12)
        assert portfolio.net_leverage == pytest.approx(w.sum(), rel=1e-9, abs=1e-12)


def test_factor_portfolios_of_some_factors_in_some_instruments(calls: ModelCalls) -> None:
    identifier = calls.create("portfolios", specification()).factor_model_id
    chosen = list(NAMES[3:12])
    wanted = {"factor_model_id": identifier, "factors": ["value", "momentum"]}
    found = [
        calls.call("GetFactorPortfolios", pb.GetFactorPortfoliosRequest(**wanted, instrument_ids=names)).portfolios
        for names in (chosen, chosen[::-1])
    ]
    assert found[0] == found[1]
    assert [portfolio.factor for portfolio in found[0]] == ["value", "momentum"]
    for portfolio in found[0]:
        assert sorted(portfolio.weights) == chosen
        # Those left out of the answer are hedged all the same.
        assert {name: round(value, 11) for name, value in portfolio.exposures.items()} == {
            name: float(name == portfolio.factor) for name in FACTORS
        }


def test_factor_portfolios_where_sectors_make_up_the_market(calls: ModelCalls) -> None:
    kind = CrossSectionalModel(styles=[models_pb.STYLE_SIZE], industries=True)
    model = calls.create("sectors", specification(kind, lookback_days=250))
    request = pb.GetFactorPortfoliosRequest(factor_model_id=model.factor_model_id, factors=["size", "market"])
    size, market = calls.call("GetFactorPortfolios", request).portfolios
    names = [factor.name for factor in model.factors]
    assert [size.exposures[name] for name in names] == pytest.approx(
        [float(name == "size") for name in names], abs=1e-10
    )
    # Exposure to the market is the sum of those to the sectors: it comes with them, about at their market weights.
    caps: dict[str, float] = {}
    for stock in STOCKS:
        caps[stock.sector] = caps.get(stock.sector, 0.0) + float(stock.market_cap)
    assert market.exposures["size"] == pytest.approx(0.0, abs=0.05)
    assert sum(market.exposures[sector] for sector in caps) == pytest.approx(market.exposures["market"], rel=1e-10)
    for sector, cap in caps.items():
        assert market.exposures[sector] == pytest.approx(cap / sum(caps.values()), abs=0.1)


def test_factor_portfolios_that_cannot_be(calls: ModelCalls) -> None:
    identifier = calls.create("portfolios", specification()).factor_model_id
    method, request = "GetFactorPortfolios", pb.GetFactorPortfoliosRequest
    wrong = request(factor_model_id=identifier, factors=["valu", "value"], instrument_ids=["KO", "GOLD"])
    found = calls.faults(method, wrong)
    assert found["factors"] == "names valu, which the model does not have"
    assert found["instrument_ids"] == "names GOLD, which the model does not have"
    twice = request(factor_model_id=identifier, factors=["value", "value"], instrument_ids=["KO", "KO", ""])
    assert set(calls.faults(method, twice)) == {"factors", "instrument_ids", "instrument_ids[2]"}
    assert set(calls.faults(method, request())) == {"factor_model_id"}
    calls.refused(method, request(factor_model_id="fm-none"), MISSING)
    few = request(factor_model_id=identifier, instrument_ids=["KO", "XOM"])
    assert any(field.startswith("factors[") for field in calls.faults(method, few))


# --- analyses


def test_analyses_are_found_again(service: OpenService, calls: ModelCalls) -> None:
    empty = calls.call("ListFactorAnalyses", pb.ListFactorAnalysesRequest(portfolio_id="sample-defensive"))
    assert not empty.analyses
    calls.refused(
        "GetLatestFactorAnalysis", pb.GetLatestFactorAnalysisRequest(portfolio_id="sample-defensive"), MISSING
    )
    made = [
        service.call(
            "AnalyzeFactorExposures",
            factors_pb2.FactorExposureRequest(portfolio_id=PORTFOLIO, lookback_days=days, include_instruments=True),
        )
        for days in (250, 300, 350)
    ]
    for answer in made:
        request = pb.GetFactorAnalysisRequest(analysis_id=answer.analysis_id)
        assert calls.call("GetFactorAnalysis", request).analysis == answer
    latest = calls.call("GetLatestFactorAnalysis", pb.GetLatestFactorAnalysisRequest(portfolio_id=PORTFOLIO))
    assert latest.analysis == made[-1]
    first = calls.call("ListFactorAnalyses", pb.ListFactorAnalysesRequest(portfolio_id=PORTFOLIO, page_size=2))
    rest = calls.call(
        "ListFactorAnalyses",
        pb.ListFactorAnalysesRequest(portfolio_id=PORTFOLIO, page_size=2, page_token=first.next_page_token),
    )
    listed = [*first.analyses, *rest.analyses]
    assert [row.analysis_id for row in listed] == [answer.analysis_id for answer in reversed(made)]
    assert not rest.next_page_token
    assert all(not row.instruments and not row.risk.instruments and row.exposures for row in listed)


def test_analyses_that_are_not_there(calls: ModelCalls) -> None:
    calls.refused("GetFactorAnalysis", pb.GetFactorAnalysisRequest(analysis_id="none"), MISSING)
    calls.refused("GetLatestFactorAnalysis", pb.GetLatestFactorAnalysisRequest(portfolio_id="nobody"), MISSING)
    calls.refused("ListFactorAnalyses", pb.ListFactorAnalysesRequest(portfolio_id="nobody"), MISSING)
    assert set(calls.faults("GetFactorAnalysis", pb.GetFactorAnalysisRequest())) == {"analysis_id"}
    assert set(calls.faults("GetLatestFactorAnalysis", pb.GetLatestFactorAnalysisRequest())) == {"portfolio_id"}
    assert set(calls.faults("ListFactorAnalyses", pb.ListFactorAnalysesRequest())) == {"portfolio_id"}
    bad = pb.ListFactorAnalysesRequest(portfolio_id=PORTFOLIO, page_token="?")
    assert set(calls.faults("ListFactorAnalyses", bad)) == {"page_token"}
    negative = pb.ListFactorAnalysesRequest(portfolio_id=PORTFOLIO, page_size=-1)
    assert set(calls.faults("ListFactorAnalyses", negative)) == {"page_size"}


# --- refused


def test_all_faults_of_a_creation_come_at_once(calls: ModelCalls) -> None:
    kind = TimeSeriesModel(factors=["size", "size"], half_life_days=float("nan"), drift=2.0)
    wrong = specification(kind, instrument_ids=["KO", "KO"], first_date="tomorrow", specific_shrinkage=-1.0)
    assert set(calls.faults("CreateFactorModel", creation("x" * 37, wrong))) == {
        "name",
        "specification.instrument_ids",
        "specification.first_date",
        "specification.specific_shrinkage",
        "specification.time_series.factors",
        "specification.time_series.half_life_days",
        "specification.time_series.drift",
    }


def test_a_creation_without_anything(calls: ModelCalls) -> None:
    found = calls.faults("CreateFactorModel", pb.CreateFactorModelRequest())
    assert found == {"name": "is required", "specification": "is required"}
    found = calls.faults("CreateFactorModel", creation(" a ", models_pb.FactorModelSpecification()))
    assert set(found) == {"name", "specification.kind"}


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        (specification(pricing_pack_id="pp-none"), MISSING, "pricing pack not found: pp-none"),
        (specification(instrument_ids=["KO", "GOLD"]), MISSING, "instrument not found: GOLD"),
        (specification(TimeSeriesModel(factor_set_id="fs-none")), MISSING, "factor set not found: fs-none"),
        (specification(TimeSeriesModel(factors=["size", "gold"])), NOT_READY, "none of gold"),
        (specification(TimeSeriesModel(risk_free_factor="rf")), NOT_READY, "none of rf"),
        (specification(CrossSectionalModel(factor_exposures_id="fe-none")), MISSING, "fe-none"),
        (specification(lookback_days=6), NOT_READY, "at least 7"),
        (specification(first_date="2022-12-27"), NOT_READY, "at least"),
        (specification(last_date="1980-01-01"), NOT_READY, "at least"),
        (specification(StatisticalModel(), instrument_ids=["KO"]), None, ""),
        (specification(TimeSeriesModel(lags=2263)), None, "lags"),
    ],
)
def test_what_cannot_be_estimated_is_answered_by_name(
    calls: ModelCalls, wanted: models_pb.FactorModelSpecification, code: grpc.StatusCode | None, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        calls.call("CreateFactorModel", creation("refused", wanted))
    assert caught.value.code() in ((code,) if code else (grpc.StatusCode.INVALID_ARGUMENT, NOT_READY, MISSING))
    assert said in (caught.value.details() or "")
    calls.refused("GetFactorModel", pb.GetFactorModelRequest(name="refused"), MISSING)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (specification(TimeSeriesModel(lags=2262), lookback_days=100), "specification.time_series.lags"),
        (specification(StatisticalModel(), instrument_ids=["KO"]), "specification.statistical"),
        (
            specification(CrossSectionalModel(industries=True), instrument_ids=["KO", "XOM"]),
            "specification.instrument_ids",
        ),
    ],
)
def test_what_the_data_refuse_is_named_by_its_path(
    calls: ModelCalls, wanted: models_pb.FactorModelSpecification, field: str
) -> None:
    assert list(calls.faults("CreateFactorModel", creation("refused", wanted))) == [field]


def test_a_factor_that_the_named_set_lacks_is_named(service: OpenService, calls: ModelCalls) -> None:
    used = calls.create("five factors", specification()).specification.time_series.factor_set_id
    error = calls.refused(
        "CreateFactorModel", creation("x", specification(TimeSeriesModel(factor_set_id=used, factors=["size", "gold"])))
    )
    assert "gold" in (error.details() or "")
    assert "momentum" in (error.details() or "")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.GetFactorModelRequest(), {"factor_model_id"}),
        (pb.GetFactorModelRequest(factor_model_id="fm-1", name="a"), {"name"}),
        (pb.GetFactorModelRequest(factor_model_id="fm-1", version=1), {"version"}),
        (pb.GetFactorModelRequest(factor_model_id="x" * 37, name="a\n", version=1), {"factor_model_id", "name"}),
    ],
)
def test_a_search_must_say_what_it_means(calls: ModelCalls, request_: Any, fields: set[str]) -> None:
    assert fields <= set(calls.faults("GetFactorModel", request_))


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetFactorModelRequest(factor_model_id="fm-none"),
        pb.GetFactorModelRequest(factor_model_id="fm-none", include_instruments=True),
        pb.GetFactorModelRequest(name="nothing of this name"),
        pb.GetFactorModelRequest(name="five factors", version=2**32 - 1),
    ],
)
def test_a_model_that_is_not_there(calls: ModelCalls, request_: Any) -> None:
    assert "factor model not found" in (calls.refused("GetFactorModel", request_, MISSING).details() or "")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListFactorModelsRequest(page_size=-1), "page_size"),
        (pb.ListFactorModelsRequest(page_token="no token"), "page_token"),
        (pb.ListFactorModelsRequest(name="x" * 37), "name"),
    ],
)
def test_a_list_that_cannot_be(calls: ModelCalls, request_: Any, field: str) -> None:
    assert set(calls.faults("ListFactorModels", request_)) == {field}


def test_more_instruments_than_the_service_allows(service: OpenService) -> None:
    application = service.application
    markets = ModelMarketLoader(application.database, application.loader, max_assets=5)
    for spec, whose in (
        (FactorModelSpec(StatisticalSpec()), "has 20 instruments, more than the service's 5 (all of pricing pack pp-"),
        (FactorModelSpec(StatisticalSpec(), instrument_ids=NAMES[:6]), "has 6 instruments, more than the service's 5"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            service.run(markets.market(spec, "specification"))
        (fault,) = refused.value.faults
        assert fault.field == "specification.instrument_ids"
        assert fault.description.startswith(whose)


def test_an_index_is_in_a_model_only_where_it_is_named(calls: ModelCalls) -> None:
    named = [*NAMES[:4], INDEX_ID]
    model = calls.create("with index", specification(lookback_days=80, instrument_ids=named))
    assert list(model.specification.instrument_ids) == sorted(named)
    assert INDEX_ID not in calls.create("without index", specification(lookback_days=80)).specification.instrument_ids


# --- given up


@contextmanager
def no_process_free(service: OpenService) -> Iterator[None]:
    """All solver processes are busy, so that a call waits for as long as this lasts."""
    pool, workers = service.application.pool, service.application.settings.workers

    async def occupy() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(pool.run(time.sleep, 60.0)) for _ in range(workers)]
        await asyncio.sleep(0)
        return tasks

    async def release(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    tasks = service.run(occupy())
    try:
        yield
    finally:
        service.run(release(tasks))


def test_a_cancelled_creation_stores_nothing(service: OpenService, calls: ModelCalls) -> None:
    async def give_up() -> None:
        call = calls.stub.CreateFactorModel(creation("cancelled", specification()))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with no_process_free(service):
        service.run(give_up())
    calls.create("after it", specification())
    calls.refused("GetFactorModel", pb.GetFactorModelRequest(name="cancelled"), MISSING)


def test_a_creation_out_of_time_stores_nothing(service: OpenService, calls: ModelCalls) -> None:
    async def hurry() -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.stub.CreateFactorModel(creation("late", specification()), timeout=0.2)
        return caught.value.code()

    with no_process_free(service):
        assert service.run(hurry()) is grpc.StatusCode.DEADLINE_EXCEEDED
    calls.create("after it", specification())
    calls.refused("GetFactorModel", pb.GetFactorModelRequest(name="late"), MISSING)
