"""Generated requests for factor models: whatever is asked, the service answers, and says what is wrong."""

from __future__ import annotations

import math
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given
from portfolio_optimization.v1 import factor_model_service_pb2 as pb
from portfolio_optimization.v1 import factor_models_pb2 as models_pb
from portfolio_optimization.v1.factor_models_pb2 import CrossSectionalModel, StatisticalModel, TimeSeriesModel

from tests.integration.server.factor_model_calls import ModelCalls, creation, specification
from tests.integration.server.open_service import OpenService
from tests.integration.server.test_generated_requests import changed, check_refusal, examples

KINDS = {
    "time_series": TimeSeriesModel(),
    "huber": TimeSeriesModel(estimator=models_pb.REGRESSION_ESTIMATOR_HUBER),
    "kalman": TimeSeriesModel(estimator=models_pb.REGRESSION_ESTIMATOR_KALMAN, drift=1e-4),
    "styles": CrossSectionalModel(styles=[models_pb.STYLE_SIZE, models_pb.STYLE_VOLATILITY]),
    "sectors": CrossSectionalModel(industries=True),
    "components": StatisticalModel(),
}


@pytest.fixture(scope="module")
def calls(service: OpenService) -> ModelCalls:
    return ModelCalls(service)


def judge(calls: ModelCalls, method: str, request: Message) -> Any:
    """The answer, or None for a refusal that tells the caller what to do."""
    try:
        return calls.call(method, request)
    except grpc.aio.AioRpcError as error:
        check_refusal(error)
        return None


def check_model(model: models_pb.FactorModel) -> None:
    """The numbers of a model are numbers, and as many as there are names."""
    k, n = len(model.factors), model.instrument_count
    assert (len(model.factor_covariance), len(model.instruments)) == (k * k, n)
    assert len(model.factor_returns) == k * len(model.dates) == k * model.observations
    assert {len(row.exposures) for row in model.instruments} == {k}
    values = [*model.factor_covariance, *model.factor_returns, model.mean_r_squared, model.specific_shrinkage]
    for row in model.instruments:
        values += [*row.exposures, *row.standard_errors, row.alpha, row.r_squared, row.specific_volatility]
    for factor in model.factors:
        assert factor.definition
        assert factor.kind
        values += [factor.mean_return, factor.volatility, factor.t_statistic]
    assert all(map(math.isfinite, values))
    assert model.condition_number >= 1.0
    assert all(factor.variance_inflation >= 1.0 - 1e-12 for factor in model.factors)


@pytest.mark.parametrize("kind", KINDS)
def test_no_specification_breaks_a_creation(calls: ModelCalls, kind: str) -> None:
    made = 0

    @examples(40)
    @given(changed(creation("generated", specification(KINDS[kind], lookback_days=120))))
    def each(request: pb.CreateFactorModelRequest) -> None:
        nonlocal made
        answer = judge(calls, "CreateFactorModel", request)
        if answer is not None and not request.validate_only:
            check_model(calls.whole(answer.factor_model.factor_model_id))
            made += 1

    each()
    assert made


REQUESTS: dict[str, Message] = {
    "GetFactorModel": pb.GetFactorModelRequest(name="asked for", include_instruments=True),
    "ListFactorModels": pb.ListFactorModelsRequest(name="asked for"),
    "GetFactorPortfolios": pb.GetFactorPortfoliosRequest(),
    "GetFactorAnalysis": pb.GetFactorAnalysisRequest(analysis_id="none"),
    "GetLatestFactorAnalysis": pb.GetLatestFactorAnalysisRequest(portfolio_id="sample-growth"),
    "ListFactorAnalyses": pb.ListFactorAnalysesRequest(portfolio_id="sample-growth"),
}


@pytest.mark.parametrize("method", REQUESTS)
def test_no_request_breaks_another_call(calls: ModelCalls, method: str) -> None:
    model, whole = calls.create("asked for", specification(lookback_days=120)), REQUESTS[method]
    if method == "GetFactorPortfolios":
        whole = pb.GetFactorPortfoliosRequest(factor_model_id=model.factor_model_id)

    @examples(40)
    @given(changed(whole))
    def each(request: Message) -> None:
        judge(calls, method, request)

    each()
