"""Factor analyses with sets that lack a day, name a factor as a part of every return, or have tiny returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from data_examples import factor_header, factor_series
from portfolio_optimization.v1 import factor_model_service_pb2 as models_pb
from portfolio_optimization.v1 import factor_models_pb2 as fm
from portfolio_optimization.v1.factor_model_service_pb2_grpc import FactorModelServiceStub
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from test_factor_holdings_service import CASH_RATE, DAYS, LONG, RETURNS, F, T, ask, refusal, remarks, stock

from tests.integration.server.open_service import OpenService, copied_database, open_service, violations


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        service.run(stock(PortfolioDataServiceStub(service.channel)))
        yield service


def load(service: OpenService, kept: list[int], **returns: Any) -> str:
    """The id of a set with the returns of some days."""
    stub = PortfolioDataServiceStub(service.channel)

    async def loaded() -> str:
        series = [factor_series(name, values[kept].tolist()) for name, values in returns.items()]
        header = factor_header([str(DAYS[1:][day]) for day in kept])
        return str((await stub.LoadFactorReturns(iter([header, *series]))).factor_set.factor_set_id)

    return service.run(loaded())


def create(service: OpenService, set_id: str) -> str:
    stub: Any = FactorModelServiceStub(service.channel)
    spec = fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(factor_set_id=set_id))

    async def created() -> str:
        answer = await stub.CreateFactorModel(models_pb.CreateFactorModelRequest(name="odd", specification=spec))
        return str(answer.factor_model.factor_model_id)

    return service.run(created())


def test_days_that_a_stored_model_lacks_are_told(service: OpenService) -> None:
    """What the portfolio earned on them is not in the compounded return."""
    kept = [day for day in range(T) if day != 70]
    answer = ask(service, "plain", factor_model_id=create(service, load(service, kept, growth=F[:, 0], rates=F[:, 1])))
    daily = RETURNS[kept] @ LONG + (1.0 - LONG.sum()) * CASH_RATE
    assert answer.return_attribution.portfolio_return == pytest.approx(np.prod(1.0 + daily) - 1.0, rel=1e-11)
    assert f"lacks 1 days of the period, whose returns are not counted: {DAYS[71]}" in remarks(answer)["window"]


@pytest.mark.parametrize("name", ["specific", "cash", "risk_free", "other_factors"])
def test_a_factor_is_not_called_as_a_part_of_every_return(service: OpenService, name: str) -> None:
    set_id = load(service, list(range(T)), **{name: F[:, 0], "rates": F[:, 1]})
    assert list(violations(refusal(service, "plain", factor_set_id=set_id))) == [f"factors[{name}]"]


def test_exposures_of_any_size_reconcile(service: OpenService) -> None:
    """Returns of a factor in another unit make exposures as large, and their rounding with them."""
    answer = ask(service, "short", factor_set_id=load(service, list(range(T)), growth=1e-12 * F[:, 0], rates=F[:, 1]))
    assert abs(answer.exposures[0].exposure) > 1e10
    assert answer.reconciliation <= 1e-12
