"""Factor analyses of the sample portfolio, against regressions, risks and returns computed independently."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from factor_analysis_checks import adds_up, brinson, carino, carino_active, sum_of
from portfolio_optimization.v1 import factor_model_service_pb2 as models_pb
from portfolio_optimization.v1 import factor_models_pb2 as fm
from portfolio_optimization.v1 import factors_pb2 as pb
from portfolio_optimization.v1.factor_model_service_pb2_grpc import FactorModelServiceStub

from server.sample.facts import STOCKS
from storage.benchmarks import BenchmarkRepository
from storage.factors import FactorRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository
from tests.integration.server.open_service import OpenService, copied_database, open_service, violations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm

Floats = npt.NDArray[np.float64]
GROWTH = "sample-growth"
FACTORS = ("momentum", "quality", "size", "minimum_volatility", "value")
CASH_RATE = 0.02 / 252
Request = pb.FactorExposureRequest


@dataclass(frozen=True)
class Sample:
    """The sample's data on the days that stocks and factors have in common."""

    names: tuple[str, ...]
    days: npt.NDArray[np.datetime64]
    closes: Floats
    F: Floats
    quantities: Floats
    cash: float
    v: Floats

    @property
    def R(self) -> Floats:  # noqa: N802
        return self.closes[1:] / self.closes[:-1] - 1.0

    @property
    def w(self) -> Floats:
        worth = self.quantities * self.closes[-1]
        return worth / (worth.sum() + self.cash)

    @property
    def sectors(self) -> tuple[str, ...]:
        by_name = {stock.id: stock.sector for stock in STOCKS}
        return tuple(by_name[name] for name in self.names)


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    with copied_database(postgres_server, template_database) as url, open_service(url) as service:
        yield service


@pytest.fixture(scope="module")
def sample(service: OpenService) -> Sample:
    return service.run(_load(service))


async def _load(service: OpenService) -> Sample:
    async with service.application.database.transaction() as connection:
        portfolio = await PortfolioRepository(connection).find(GROWTH)
        benchmark = await BenchmarkRepository(connection).find("sample-sp500")
        factors = FactorRepository(connection)
        returns = await factors.read((await factors.latest()).id, FACTORS)
        packs = PricingPackRepository(connection)
        prices = await packs.read((await packs.latest()).id)
    names = tuple(sorted(stock.id for stock in STOCKS))
    closes = prices.closes[:, [prices.instrument_ids.index(name) for name in names]]
    first = np.flatnonzero(prices.dates == returns.dates[0])[0]
    assert np.array_equal(prices.dates[first:], returns.dates)
    held = {holding.instrument_id: float(holding.quantity) for holding in portfolio.holdings}
    return Sample(
        names=names,
        days=returns.dates,
        closes=closes[first - 1 :],
        F=returns.returns,
        quantities=np.array([held.get(name, 0.0) for name in names]),
        cash=float(portfolio.cash),
        v=np.array([float(benchmark.weights[name]) for name in names]),
    )


def ask(service: OpenService, **fields: Any) -> Any:
    return service.call("AnalyzeFactorExposures", Request(**{"portfolio_id": GROWTH, **fields}))


def refusal(service: OpenService, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(service, **fields)
    return caught.value


def regression(series: Floats, F: Floats, lags: int) -> Any:
    """Ordinary least squares with the errors of Newey and West."""
    return sm.OLS(series, sm.add_constant(F)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})


@pytest.fixture(scope="module")
def answer(service: OpenService) -> Any:
    return ask(service, include_instruments=True)


def test_exposures_are_those_of_independent_regressions(answer: Any, sample: Sample) -> None:
    """The sample against the five factor funds: portfolio, benchmark and the difference, with robust errors."""
    assert [row.factor for row in answer.exposures] == list(FACTORS)
    assert (answer.observations, answer.lags, answer.benchmark_basis) == (len(sample.F), 8, pb.BENCHMARK_BASIS_WEIGHTS)
    assert answer.standard_errors == fm.STANDARD_ERROR_METHOD_NEWEY_WEST
    portfolio, benchmark = sample.R @ sample.w, sample.R @ sample.v
    for field, series in (("", portfolio), ("benchmark_", benchmark), ("active_", portfolio - benchmark)):
        fit = regression(series, sample.F, 8)
        found = [getattr(row, f"{field}exposure") for row in answer.exposures]
        errors = [getattr(row, f"{field}standard_error") for row in answer.exposures]
        np.testing.assert_allclose(found, fit.params[1:], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(errors, fit.bse[1:], rtol=1e-9)
    fit = regression(portfolio, sample.F, 8)
    np.testing.assert_allclose([row.t_statistic for row in answer.exposures], fit.tvalues[1:], rtol=1e-9)
    assert answer.r_squared == pytest.approx(fit.rsquared, rel=1e-10)
    assert answer.specific_volatility == pytest.approx(np.sqrt(252 * fit.scale), rel=1e-10)


def test_exposures_make_sense(answer: Any) -> None:
    """Large stocks, half of them defensive, held as long-only funds hold them: a beta near one in all."""
    exposures = {row.factor: row.exposure for row in answer.exposures}
    assert 0.85 < sum(exposures.values()) < 1.1
    assert exposures["size"] < 0 < exposures["quality"]
    assert answer.r_squared > 0.85
    assert 0.15 < answer.risk.volatility < 0.25
    assert answer.active_risk.volatility < 0.06


@pytest.mark.parametrize("basis", [0, 1, 2, 3])
@pytest.mark.parametrize("period", [{}, {"lookback_days": 40}, {"first_date": "2020-02-01", "last_date": "2020-06-30"}])
def test_parts_add_up(service: OpenService, basis: int, period: dict[str, Any]) -> None:
    answer = ask(service, holdings_basis=basis, include_instruments=True, **period)
    adds_up(answer)
    assert answer.holdings_basis == max(basis, 1)
    assert (
        answer.observations
        == answer.return_attribution.observations
        == (period.get("lookback_days") or answer.observations)
    )


MODELS = {
    "weighted": fm.FactorModelSpecification(
        time_series=fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_EXPONENTIALLY_WEIGHTED)
    ),
    "ridge": fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_RIDGE)),
    "huber": fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_HUBER)),
    "kalman": fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_KALMAN)),
    "excess": fm.FactorModelSpecification(
        time_series=fm.TimeSeriesModel(factors=["value", "quality"], risk_free_factor="minimum_volatility")
    ),
    "styles": fm.FactorModelSpecification(cross_sectional=fm.CrossSectionalModel()),
    "components": fm.FactorModelSpecification(
        statistical=fm.StatisticalModel(count_rule=fm.FACTOR_COUNT_RULE_FIXED, factor_count=3)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_adds_up(service: OpenService, sample: Sample, name: str) -> None:
    answer = ask(service, model=MODELS[name], include_instruments=True, first_date="2015-01-02")
    adds_up(answer)
    B, w = (np.array([getattr(row, field) for row in answer.instruments]) for field in ("exposures", "weight"))
    exposures = [row.exposure for row in answer.exposures]
    np.testing.assert_allclose(w @ B, exposures, rtol=0, atol=1e-13)
    np.testing.assert_allclose(w, sample.w, rtol=1e-12)
    np.testing.assert_allclose(sample.v @ B, [row.benchmark_exposure for row in answer.exposures], rtol=0, atol=1e-13)
    assert not answer.factor_model_id
    assert answer.model.WhichOneof("kind") == MODELS[name].WhichOneof("kind")
    assert list(answer.model.instrument_ids) == list(sample.names)
    given = name == "styles"
    assert (answer.standard_errors == fm.STANDARD_ERROR_METHOD_UNSPECIFIED) == given
    assert all((row.standard_error == 0) == given for row in answer.exposures)


def test_risk_is_that_of_the_model(answer: Any, sample: Sample) -> None:
    """x'Phi x and w'Dw from the exposures and specific volatilities of the instruments, and their own derivatives."""
    B = np.array([row.exposures for row in answer.instruments])
    d = np.array([row.specific_volatility for row in answer.instruments]) ** 2
    Phi = 252 * np.cov(sample.F, rowvar=False)
    fit = np.linalg.lstsq(np.column_stack([np.ones(len(sample.F)), sample.F]), sample.R, rcond=None)[0]
    np.testing.assert_allclose(B, fit[1:].T, rtol=1e-8, atol=1e-11)
    for risk, w in ((answer.risk, sample.w), (answer.active_risk, sample.w - sample.v)):
        Sigma = B @ Phi @ B.T + np.diag(d)
        sigma = np.sqrt(w @ Sigma @ w)
        assert risk.volatility == pytest.approx(sigma, rel=1e-10)
        parts = [part.contribution for part in risk.instruments]
        np.testing.assert_allclose(parts, w * (Sigma @ w) / sigma, rtol=0, atol=1e-13)
        x = B.T @ w
        np.testing.assert_allclose(
            [part.contribution for part in risk.factors], x * (Phi @ x) / sigma, rtol=0, atol=1e-13
        )
        np.testing.assert_allclose([part.exposure for part in risk.factors], x, rtol=0, atol=1e-13)


def test_compounded_returns_are_linked_by_carino(answer: Any, sample: Sample) -> None:
    x = np.array([row.exposure for row in answer.exposures])
    b = np.array([row.benchmark_exposure for row in answer.exposures])
    cash = 1.0 - sample.w.sum()
    r, s = sample.R @ sample.w + cash * CASH_RATE, sample.R @ sample.v
    own = {name: x[k] * sample.F[:, k] for k, name in enumerate(FACTORS)} | {"cash": np.full(len(r), cash * CASH_RATE)}
    own["specific"] = r - sum(own.values())
    other = {name: b[k] * sample.F[:, k] for k, name in enumerate(FACTORS)} | {"cash": np.zeros(len(r))}
    other["specific"] = s - sum(other.values())
    found = answer.return_attribution
    assert [part.source for part in found.parts] == list(own)
    assert found.portfolio_return == pytest.approx(np.prod(1 + r) - 1, rel=1e-12)
    assert found.benchmark_return == pytest.approx(np.prod(1 + s) - 1, rel=1e-12)
    expected = {
        "portfolio": carino(own, r),
        "benchmark": carino(other, s),
        "active": carino_active({name: own[name] - other[name] for name in own}, r, s),
    }
    for field, parts in expected.items():
        np.testing.assert_allclose([getattr(p, field) for p in found.parts], list(parts.values()), rtol=0, atol=1e-10)
    means = {name: 252 * part.mean() for name, part in own.items()}
    np.testing.assert_allclose([p.contribution for p in answer.attribution], list(means.values()), rtol=0, atol=1e-12)
    assert answer.total_return == pytest.approx(252 * r.mean(), rel=1e-12)
    assert [part.average_exposure for part in found.parts[:5]] == pytest.approx(list(x), abs=1e-12)


def test_active_return_by_sector_is_that_of_brinson_and_fachler(answer: Any, sample: Sample) -> None:
    """Cash is a sector whose return the benchmark, which has none, is taken to share."""
    cash = 1.0 - sample.w.sum()
    r, s = sample.R @ sample.w + cash * CASH_RATE, sample.R @ sample.v
    daily = brinson(np.tile(sample.w, (len(r), 1)), sample.v, sample.R, sample.sectors)
    daily["cash"] = [cash * (CASH_RATE - s), np.zeros(len(s)), np.zeros(len(s))]
    found = {row.sector: row for row in answer.sector_attribution.sectors}
    assert sorted(found) == sorted(daily)
    for k, effect in enumerate(("allocation", "selection", "interaction")):
        linked = carino_active({name: parts[k] for name, parts in daily.items()}, r, s)
        for name, expected in linked.items():
            assert getattr(found[name], effect) == pytest.approx(expected, abs=1e-10), (name, effect)
    assert found["Energy"].portfolio_weight == pytest.approx(
        sum(w for w, sector in zip(sample.w, sample.sectors, strict=True) if sector == "Energy")
    )


def test_current_shares_earn_what_the_account_earned(service: OpenService, sample: Sample) -> None:
    answer = ask(service, holdings_basis=pb.HOLDINGS_BASIS_CURRENT_SHARES, lookback_days=250)
    closes = sample.closes[-251:]
    worth = closes @ sample.quantities + sample.cash
    r = (np.diff(worth) + sample.cash * CASH_RATE) / worth[:-1]
    assert answer.return_attribution.portfolio_return == pytest.approx(np.prod(1 + r) - 1, rel=1e-12)
    assert answer.total_return == pytest.approx(252 * r.mean(), rel=1e-12)
    weights = closes[:-1] * sample.quantities / worth[:-1, None]
    fit = np.linalg.lstsq(np.column_stack([np.ones(250), sample.F[-250:]]), sample.R[-250:], rcond=None)[0]
    exposures = [part.average_exposure for part in answer.return_attribution.parts[:5]]
    np.testing.assert_allclose(exposures, (weights @ fit[1:].T).mean(axis=0), rtol=0, atol=1e-11)
    # Exposures and risk are those of today's weights all the same.
    np.testing.assert_allclose([row.exposure for row in answer.exposures], fit[1:] @ sample.w, rtol=0, atol=1e-11)


def test_factors_asked_for_are_regressed_on_alone(service: OpenService, sample: Sample) -> None:
    answer = ask(service, factors=["value", "momentum"])
    adds_up(answer)
    fit = regression(sample.R @ sample.w, sample.F[:, [4, 0]], 8)
    np.testing.assert_allclose([row.exposure for row in answer.exposures], fit.params[1:], rtol=1e-9)
    assert [part.factor for part in answer.attribution] == ["value", "momentum", "cash", "specific"]
    assert list(answer.model.time_series.factors) == ["value", "momentum"]


def test_a_regression_is_recomputed_exactly_from_the_model_it_names(service: OpenService) -> None:
    """The model of an answer, asked for again with its window, gives the same answer."""
    first = ask(service, lookback_days=300)
    given = fm.FactorModelSpecification()
    given.CopyFrom(first.model)
    for field in ("pricing_pack_id", "first_date", "last_date"):
        given.ClearField(field)
    again = ask(service, model=given, first_date=first.model.first_date, last_date=first.model.last_date)
    for message in (first, again):
        for field in ("analysis_id", "created_at"):
            message.ClearField(field)
    assert again == first


# --- stored models


@pytest.fixture(scope="module")
def model_id(service: OpenService) -> str:
    request = models_pb.CreateFactorModelRequest(
        name="five funds", specification=fm.FactorModelSpecification(time_series=fm.TimeSeriesModel())
    )
    stub = FactorModelServiceStub(service.channel)

    async def create() -> Any:
        return await stub.CreateFactorModel(request)

    return str(service.run(create()).factor_model.factor_model_id)


def test_a_stored_model_means_the_same(service: OpenService, model_id: str, answer: Any) -> None:
    stored = ask(service, factor_model_id=model_id, include_instruments=True)
    adds_up(stored)
    assert stored.factor_model_id == model_id
    assert not stored.HasField("model")
    assert stored.factor_set_id == answer.factor_set_id
    assert len(stored.instruments) == len(answer.instruments)
    np.testing.assert_allclose(
        [(row.exposure, row.standard_error, row.active_standard_error) for row in stored.exposures],
        [(row.exposure, row.standard_error, row.active_standard_error) for row in answer.exposures],
        rtol=1e-9,
    )
    assert stored.risk.volatility == pytest.approx(answer.risk.volatility, rel=1e-9)
    assert stored.return_attribution.portfolio_return == answer.return_attribution.portfolio_return


def test_factors_not_asked_for_are_summed(service: OpenService, model_id: str) -> None:
    whole, few = (
        ask(service, factor_model_id=model_id),
        ask(service, factor_model_id=model_id, factors=["value", "size"]),
    )
    adds_up(few)
    assert [row.factor for row in few.exposures] == ["size", "value"]
    assert list(few.exposures) == [whole.exposures[2], whole.exposures[4]]
    rest = ("momentum", "quality", "minimum_volatility")
    for mine, other, name, field in (
        (few.attribution, whole.attribution, "factor", "contribution"),
        (few.risk.factors, whole.risk.factors, "factor", "contribution"),
        (few.return_attribution.parts, whole.return_attribution.parts, "source", "active"),
    ):
        (summed,) = [row for row in mine if getattr(row, name) == "other_factors"]
        expected = sum_of([row for row in other if getattr(row, name) in rest], field)
        assert getattr(summed, field) == pytest.approx(expected, abs=1e-14)
    assert few.r_squared == whole.r_squared


def test_the_period_lies_within_the_window_of_a_stored_model(service: OpenService, model_id: str, answer: Any) -> None:
    day = ask(service, factor_model_id=model_id, first_date="2022-12-28")
    adds_up(day)
    assert day.observations == 1
    assert [row.exposure for row in day.exposures] == pytest.approx([row.exposure for row in answer.exposures])
    refused = violations(refusal(service, factor_model_id=model_id, first_date="2013-12-31", last_date="2023-01-01"))
    assert set(refused) == {"first_date", "last_date"}
    assert "2014-01-03 to 2022-12-28" in refused["first_date"]
    assert "lookback_days" in violations(refusal(service, factor_model_id=model_id, lookback_days=100_000))
    weekend = refusal(service, factor_model_id=model_id, first_date="2022-12-24", last_date="2022-12-25")
    assert weekend.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_what_a_stored_model_lacks_is_named(service: OpenService, model_id: str) -> None:
    refused = violations(refusal(service, factor_model_id=model_id, factors=["value", "carry"]))
    assert "carry" in refused["factors[1]"]
    assert "momentum" in refused["factors[1]"]
    missing = refusal(service, factor_model_id="fm-" + 32 * "0")
    assert missing.code() is grpc.StatusCode.NOT_FOUND
    small = fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(), instrument_ids=["AAPL", "KO"])
    refused = violations(refusal(service, model=small))
    assert "AMD" in refused["model.instrument_ids"]


# --- stored analyses


def test_an_analysis_is_read_back_as_it_was(service: OpenService) -> None:
    stub = FactorModelServiceStub(service.channel)

    async def read(answer: Any) -> tuple[Any, Any, Any]:
        one = await stub.GetFactorAnalysis(models_pb.GetFactorAnalysisRequest(analysis_id=answer.analysis_id))
        latest = await stub.GetLatestFactorAnalysis(models_pb.GetLatestFactorAnalysisRequest(portfolio_id=GROWTH))
        page = await stub.ListFactorAnalyses(models_pb.ListFactorAnalysesRequest(portfolio_id=GROWTH, page_size=1))
        return one.analysis, latest.analysis, page.analyses[0]

    for fields in ({"include_instruments": True}, {"model": MODELS["styles"]}, {"model": MODELS["kalman"]}):
        answer = ask(service, **fields)
        one, latest, listed = service.run(read(answer))
        assert one == latest == answer
        assert listed.analysis_id == answer.analysis_id
        for message in (listed, listed.risk, listed.active_risk):
            assert not message.instruments
        assert listed.exposures == answer.exposures


def test_a_cancelled_analysis_leaves_nothing(service: OpenService) -> None:
    async def count() -> int:
        async with service.application.database.transaction() as connection:
            found = await (await connection.execute("SELECT COUNT(*) FROM factor_analysis_requests")).fetchone()
        return int(found[0]) if found else -1

    async def cancel() -> tuple[int, int]:
        before = await count()
        call = service.stub.AnalyzeFactorExposures(Request(portfolio_id=GROWTH, model=MODELS["kalman"]))
        await asyncio.sleep(0.05)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.3)
        return before, await count()

    before, after = service.run(cancel())
    assert after == before


# --- wrong requests


def test_all_faults_are_named_at_once(service: OpenService) -> None:
    error = refusal(
        service,
        factors=["value", "value", ""],
        factor_set_id="fs-1",
        factor_model_id="fm-1",
        model=fm.FactorModelSpecification(
            time_series=fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_RIDGE, ridge_penalty=float("nan")),
            pricing_pack_id="pp-1",
            first_date="2020-01-01",
            last_date="2020-02-01",
        ),
        first_date="2020-13-01",
        last_date="28.12.2022",
        lookback_days=5,
        holdings_basis=9,
        benchmark_id="x" * 100,
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations(error)) == {
        "factors",
        "factors[2]",
        "factor_set_id",
        "model",
        "model.time_series.ridge_penalty",
        "model.pricing_pack_id",
        "model.first_date",
        "model.last_date",
        "first_date",
        "last_date",
        "lookback_days",
        "holdings_basis",
        "benchmark_id",
    }
    assert set(violations(refusal(service, portfolio_id="", model=fm.FactorModelSpecification()))) == {
        "portfolio_id",
        "model.kind",
    }


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"portfolio_id": "nobody"}, grpc.StatusCode.NOT_FOUND, "nobody"),
        ({"factors": ["carry"]}, grpc.StatusCode.FAILED_PRECONDITION, "has none of carry, but of momentum"),
        ({"factor_set_id": "fs-0"}, grpc.StatusCode.NOT_FOUND, "fs-0"),
        ({"benchmark_id": "none"}, grpc.StatusCode.NOT_FOUND, "none"),
        ({"pricing_pack_id": "pp-0"}, grpc.StatusCode.NOT_FOUND, "pp-0"),
        ({"lookback_days": 6}, grpc.StatusCode.FAILED_PRECONDITION, "at least 7 are needed"),
        ({"last_date": "2000-01-01"}, grpc.StatusCode.FAILED_PRECONDITION, "0 days in common"),
        ({"first_date": "2022-12-31"}, grpc.StatusCode.FAILED_PRECONDITION, "0 days in common"),
        ({"first_date": "2022-12-28", "last_date": "2022-12-27"}, grpc.StatusCode.INVALID_ARGUMENT, "after last_date"),
        (
            {"model": fm.FactorModelSpecification(statistical=fm.StatisticalModel()), "factors": ["statistical_99"]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "statistical_99 is no factor",
        ),
        (
            {"model": fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(), instrument_ids=["KO", "NOTHING"])},
            grpc.StatusCode.NOT_FOUND,
            "NOTHING",
        ),
    ],
)
def test_a_wrong_request_is_answered_by_name(
    service: OpenService, fields: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    error = refusal(service, **fields)
    assert error.code() is code
    assert words in (error.details() or "")
