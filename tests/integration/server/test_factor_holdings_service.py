"""Factor analyses of small accounts made by hand: past holdings, benchmarks, shorts, and data that will not do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from data_examples import factor_header, factor_series, instrument, price_block, price_header
from factor_analysis_checks import adds_up, carino
from portfolio_optimization.v1 import factor_model_service_pb2 as models_pb
from portfolio_optimization.v1 import factor_models_pb2 as fm
from portfolio_optimization.v1 import factors_pb2 as pb
from portfolio_optimization.v1 import instruments_pb2, taxes_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as data_pb
from portfolio_optimization.v1.factor_model_service_pb2_grpc import FactorModelServiceStub
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub

from tests.integration.server.open_service import OpenService, copied_database, open_service, violations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm

Floats = npt.NDArray[np.float64]
ACTIVE = instruments_pb2.INSTRUMENT_STATUS_ACTIVE
NAMES = ("AA", "BB", "CC", "DD", "EE", "FF", "GG", "HH")
SECTORS = ("Energy", "Energy", "Utilities", "Utilities", "Materials", "Materials", "", "")
T = 130
DAYS = np.busday_offset("2022-01-03", np.arange(T + 1))
CASH_RATE = 0.02 / 252
RECORDED = pb.HOLDINGS_BASIS_RECORDED_TRANSACTIONS


def market() -> tuple[Floats, Floats, Floats]:
    """Returns of three factors and the risk-free rate, prices of the eight stocks, and levels of an index."""
    random = np.random.default_rng(20220103)
    F = np.column_stack([random.normal(0.0004, 0.01, (T, 2)), np.full(T, 0.0), np.abs(random.normal(1e-4, 2e-5, T))])
    F[:, 2] = 2.0 * F[:, 0] - F[:, 1]
    B = random.normal(0.8, 0.3, (len(NAMES), 2))
    R = F[:, 3:] + F[:, :2] @ B.T + random.normal(0.0, 0.008, (T, len(NAMES)))
    closes = 100.0 * np.vstack([np.ones(len(NAMES)), np.cumprod(1.0 + R, axis=0)])
    index = 1000.0 * np.append(1.0, np.cumprod(1.0 + R.mean(axis=1)))
    return F, closes, index


F, CLOSES, INDEX = market()
RETURNS = CLOSES[1:] / CLOSES[:-1] - 1.0
PRICE = dict(zip(NAMES, CLOSES[-1].tolist(), strict=True))


def accounts() -> list[data_pb.Portfolio]:
    margin = data_pb.AccountSettings(margin_enabled=True, shorting_enabled=True)
    return [
        account("series", {"AA": 10, "BB": 5}, "100", benchmark_id="index"),
        account("plain", {"AA": 10, "BB": 5}, "100"),
        account("weighted", {"AA": 10, "BB": 5}, "100", benchmark_id="mix"),
        account("foreign", {"AA": 10, "BB": 5}, "100", benchmark_id="unpriced"),
        account("short", {"AA": 10, "BB": -4, "CC": -2}, "900", account=margin),
        account("alone", {"DD": 3}, "0"),
        account("idle", {}, "1000", benchmark_id="mix"),
        account("traded", {"AA": 12, "BB": 5}, "250"),
        account("impossible", {"AA": 1}, "250"),
        account("owing", {"AA": 10, "BB": -16}, "660", account=margin),
    ]


def account(portfolio_id: str, shares: dict[str, int], cash: str, **fields: Any) -> data_pb.Portfolio:
    holdings = [data_pb.Holding(instrument_id=name, quantity=str(quantity)) for name, quantity in shares.items()]
    return data_pb.Portfolio(
        portfolio_id=portfolio_id, base_currency="USD", cash_amount=cash, holdings=holdings, **fields
    )


async def stock(stub: PortfolioDataServiceStub) -> None:
    """Instruments, prices, benchmarks and accounts."""
    stocks = [
        instrument(name, sector=sector, status=ACTIVE, market_cap_amount=str(1000 * (k + 1)))
        for k, (name, sector) in enumerate(zip(NAMES, SECTORS, strict=True))
    ]
    others = [instrument("IX", asset_class="index", sector="", status=ACTIVE), instrument("ZZ", status=ACTIVE)]
    await stub.UpsertInstruments(instruments_pb2.UpsertInstrumentsRequest(instruments=[*stocks, *others]))
    series = dict(zip(NAMES, CLOSES.T.tolist(), strict=True)) | {"IX": INDEX.tolist()}
    await stub.LoadPricingPack(iter([price_header([str(day) for day in DAYS]), price_block(**series)]))
    for benchmark in (
        data_pb.Benchmark(benchmark_id="index", index_instrument_id="IX"),
        data_pb.Benchmark(benchmark_id="mix", weights={"BB": 0.5, "CC": 0.25, "GG": 0.25}),
        data_pb.Benchmark(benchmark_id="unpriced", weights={"AA": 0.5, "ZZ": 0.5}),
    ):
        await stub.PutBenchmark(data_pb.PutBenchmarkRequest(benchmark=benchmark))
    for portfolio in accounts():
        await stub.PutPortfolio(data_pb.PutPortfolioRequest(portfolio=portfolio))


OTHER_SETS = {
    "excess": {"growth": F[:, 0], "rates": F[:, 1], "bills": F[:, 3]},
    "tied": {"growth": F[:, 0], "rates": F[:, 1], "both": F[:, 2]},
    "flat": {"growth": F[:, 0], "flat": np.full(T, 0.001)},
}


def set_id(service: OpenService, name: str) -> str:
    """The id of a set that is there: the same returns are the same set."""

    async def load() -> str:
        return await load_factors(PortfolioDataServiceStub(service.channel), **OTHER_SETS[name])

    return service.run(load())


async def load_factors(stub: PortfolioDataServiceStub, **returns: Floats) -> str:
    series = [factor_series(name, values.tolist()) for name, values in returns.items()]
    answer = await stub.LoadFactorReturns(iter([factor_header([str(day) for day in DAYS[1:]]), *series]))
    return str(answer.factor_set.factor_set_id)


@pytest.fixture(scope="module")
def bare(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    """Without any factor set."""
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        service.run(stock(PortfolioDataServiceStub(service.channel)))
        yield service


@pytest.fixture(scope="module")
def service(postgres_server: Any, template_database: str) -> Iterator[OpenService]:
    """With two factors and the risk-free rate."""
    with (
        copied_database(postgres_server, template_database) as url,
        open_service(url, load_sample=False) as service,
    ):
        stub = PortfolioDataServiceStub(service.channel)
        service.run(stock(stub))
        # The newest is the usual one; the others are for those who name them.
        for returns in (*OTHER_SETS.values(), {"growth": F[:, 0], "rates": F[:, 1]}):
            service.run(load_factors(stub, **returns))
        yield service


def ask(service: OpenService, portfolio_id: str, **fields: Any) -> Any:
    return service.call("AnalyzeFactorExposures", pb.FactorExposureRequest(portfolio_id=portfolio_id, **fields))


def refusal(service: OpenService, portfolio_id: str, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(service, portfolio_id, **fields)
    return caught.value


def weights(shares: dict[str, float], cash: float) -> Floats:
    """Weights of today in the order of the names."""
    value = sum(quantity * PRICE[name] for name, quantity in shares.items()) + cash
    return np.array([shares.get(name, 0.0) * PRICE[name] / value for name in NAMES])


LONG = weights({"AA": 10, "BB": 5}, 100.0)


def betas(series: Floats, factors: Floats) -> Floats:
    return np.asarray(sm.OLS(series, sm.add_constant(factors)).fit().params[1:])


def remarks(answer: Any) -> dict[str, str]:
    return {finding.code: finding.message for finding in answer.data_findings}


def test_a_benchmark_known_by_its_series(service: OpenService) -> None:
    answer = ask(service, "series", include_instruments=True)
    adds_up(answer)
    assert (answer.benchmark_id, answer.benchmark_basis) == ("index", pb.BENCHMARK_BASIS_SERIES)
    index = INDEX[1:] / INDEX[:-1] - 1.0
    expected = betas(index, F[:, :2])
    np.testing.assert_allclose([row.benchmark_exposure for row in answer.exposures], expected, rtol=1e-9)
    np.testing.assert_allclose(
        [row.active_exposure for row in answer.exposures], betas(RETURNS @ LONG - index, F[:, :2]), rtol=1e-8
    )
    assert answer.return_attribution.benchmark_return == pytest.approx(INDEX[-1] / INDEX[0] - 1.0, rel=1e-12)
    assert not answer.HasField("active_risk")
    assert not any(row.HasField("benchmark_weight") for row in answer.instruments)
    assert not remarks(answer)


def test_a_benchmark_known_by_its_weights(service: OpenService) -> None:
    """Its instruments come into the model, though the portfolio holds one of them only."""
    answer = ask(service, "weighted", include_instruments=True)
    adds_up(answer)
    assert answer.benchmark_basis == pb.BENCHMARK_BASIS_WEIGHTS
    v = np.array([0.0, 0.5, 0.25, 0, 0, 0, 0.25, 0])
    np.testing.assert_allclose(
        [row.benchmark_exposure for row in answer.exposures], betas(RETURNS @ v, F[:, :2]), rtol=1e-9
    )
    assert [row.instrument_id for row in answer.instruments] == ["AA", "BB"]
    assert [row.benchmark_weight for row in answer.instruments] == [0.0, 0.5]
    active = {row.instrument_id: row.weight for row in answer.active_risk.instruments}
    assert active == pytest.approx({"AA": LONG[0], "BB": LONG[1] - 0.5, "CC": -0.25, "GG": -0.25})
    assert {row.sector for row in answer.sector_attribution.sectors} == {"", "Energy", "Utilities", "cash"}


def test_a_benchmark_that_cannot_be_used_is_left_out_and_said(service: OpenService) -> None:
    answer = ask(service, "foreign")
    adds_up(answer)
    assert (answer.benchmark_id, answer.benchmark_basis) == ("", pb.BENCHMARK_BASIS_UNSPECIFIED)
    assert "ZZ" in remarks(answer)["benchmark"]
    components = fm.FactorModelSpecification(
        statistical=fm.StatisticalModel(count_rule=fm.FACTOR_COUNT_RULE_FIXED, factor_count=1)
    )
    left_out = ask(service, "series", model=components)
    assert not left_out.benchmark_basis
    assert "no exposures" in remarks(left_out)["benchmark"]


def test_without_a_benchmark_active_is_absolute(service: OpenService) -> None:
    answer = ask(service, "plain")
    adds_up(answer)
    assert not answer.benchmark_id
    for row in answer.exposures:
        assert (row.benchmark_exposure, row.active_exposure) == (0.0, row.exposure)
        assert not row.HasField("benchmark_standard_error")
    assert not answer.return_attribution.parts[0].HasField("benchmark")


def test_short_positions_and_borrowed_cash(service: OpenService) -> None:
    answer = ask(service, "short", include_instruments=True)
    adds_up(answer)
    w = weights({"AA": 10, "BB": -4, "CC": -2}, 900.0)
    np.testing.assert_allclose([row.exposure for row in answer.exposures], betas(RETURNS @ w, F[:, :2]), rtol=1e-9)
    daily = RETURNS @ w + (1.0 - w.sum()) * CASH_RATE
    assert answer.return_attribution.portfolio_return == pytest.approx(np.prod(1.0 + daily) - 1.0, rel=1e-11)
    assert answer.attribution[2].factor == "cash"
    assert answer.attribution[2].contribution == pytest.approx((1.0 - w.sum()) * 0.02)


def test_one_instrument_is_its_own_portfolio(service: OpenService) -> None:
    answer = ask(service, "alone", include_instruments=True)
    adds_up(answer)
    (row,) = answer.instruments
    assert row.weight == 1.0
    assert list(row.exposures) == [exposure.exposure for exposure in answer.exposures]
    assert list(row.standard_errors) == pytest.approx([e.standard_error for e in answer.exposures], rel=1e-9)
    assert row.specific_volatility == pytest.approx(answer.specific_volatility, rel=1e-9)
    assert "cash" not in {part.factor for part in answer.attribution}


def test_nothing_but_cash_is_refused(service: OpenService) -> None:
    error = refusal(service, "idle")
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "idle holds nothing but cash" in (error.details() or "")


def test_a_model_of_excess_returns(service: OpenService) -> None:
    """The risk-free rate is taken from what is invested, and is what cash earns."""
    riskless = F[:, 3]
    kind = fm.TimeSeriesModel(factor_set_id=set_id(service, "excess"), risk_free_factor="bills")
    model = fm.FactorModelSpecification(time_series=kind)
    answer = ask(service, "series", model=model)
    adds_up(answer)
    excess = RETURNS @ LONG - LONG.sum() * riskless
    np.testing.assert_allclose([row.exposure for row in answer.exposures], betas(excess, F[:, :2]), rtol=1e-9)
    index = INDEX[1:] / INDEX[:-1] - 1.0
    np.testing.assert_allclose(
        [row.benchmark_exposure for row in answer.exposures], betas(index - riskless, F[:, :2]), rtol=1e-9
    )
    parts = {part.factor: part.contribution for part in answer.attribution}
    assert parts["risk_free"] == pytest.approx(252 * LONG.sum() * riskless.mean())
    assert parts["cash"] == pytest.approx(252 * (1.0 - LONG.sum()) * riskless.mean())
    assert [part.source for part in answer.return_attribution.parts] == list(parts)


# --- stored models


def create_model(service: OpenService, name: str, kind: fm.TimeSeriesModel) -> str:
    specification = fm.FactorModelSpecification(time_series=kind, instrument_ids=["AA", "BB", "CC", "GG"])
    request = models_pb.CreateFactorModelRequest(name=name, specification=specification)

    async def create() -> Any:
        return await FactorModelServiceStub(service.channel).CreateFactorModel(request)

    return str(service.run(create()).factor_model.factor_model_id)


def test_a_stored_filter_drifts_as_it_did(service: OpenService) -> None:
    """The drift that was likeliest for the instruments of the model is that of the portfolio's series, too."""
    kind = fm.TimeSeriesModel(estimator=fm.REGRESSION_ESTIMATOR_KALMAN)
    stored = ask(service, "weighted", factor_model_id=create_model(service, "drifting", kind))
    adds_up(stored)
    model = fm.FactorModelSpecification(time_series=kind, instrument_ids=["AA", "BB", "CC", "GG"])
    inline = ask(service, "weighted", model=model)
    assert stored.standard_errors == inline.standard_errors == fm.STANDARD_ERROR_METHOD_CLASSICAL
    assert stored.lags == 0
    for mine, other in zip(stored.exposures, inline.exposures, strict=True):
        assert mine.exposure == pytest.approx(other.exposure, rel=1e-9)
        assert mine.standard_error == pytest.approx(other.standard_error, rel=1e-9)
        assert mine.active_standard_error == pytest.approx(other.active_standard_error, rel=1e-9)
    assert stored.r_squared == pytest.approx(inline.r_squared, rel=1e-9)


def test_instruments_that_a_stored_model_lacks(service: OpenService) -> None:
    model_id = create_model(service, "four", fm.TimeSeriesModel())
    refused = violations(refusal(service, "alone", factor_model_id=model_id))
    assert "DD" in refused["factor_model_id"]
    # The benchmark's series serves, where it has no weights in the model's instruments.
    assert ask(service, "series", factor_model_id=model_id).benchmark_basis == pb.BENCHMARK_BASIS_SERIES


def test_prices_that_are_missing_on_days_of_a_stored_model(service: OpenService) -> None:
    model_id = create_model(service, "four", fm.TimeSeriesModel())
    late, holes = CLOSES[:-1].T.tolist(), CLOSES[:-1].T.tolist()
    late[1][:30], holes[1][50] = [math.nan] * 30, math.nan

    async def load(columns: list[list[float]]) -> str:
        stub = PortfolioDataServiceStub(service.channel)
        series = dict(zip(NAMES, columns, strict=True))
        answer = await stub.LoadPricingPack(
            iter([price_header([str(day) for day in DAYS[:-1]]), price_block(**series)])
        )
        return str(answer.pricing_pack.pricing_pack_id)

    started = ask(service, "plain", factor_model_id=model_id, pricing_pack_id=service.run(load(late)))
    adds_up(started)
    assert (started.first_date, started.observations) == (str(DAYS[31]), T - 31)
    assert f"on {T - 31} of the {T} days" in remarks(started)["window"]
    pack = service.run(load(holes))
    error = refusal(service, "plain", factor_model_id=model_id, pricing_pack_id=pack)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"no return on 2 days between {DAYS[1]} and {DAYS[-2]}, first {DAYS[50]}, of BB" in (error.details() or "")
    after = ask(service, "plain", factor_model_id=model_id, pricing_pack_id=pack, first_date=str(DAYS[52]))
    assert after.first_date == str(DAYS[52])
    unstored = refusal(service, "plain", pricing_pack_id=pack)
    assert "BB lacks 1 price" in (unstored.details() or "")


# --- recorded holdings


def bought(name: str, action: str, quantity: str, price: str, day: int, cost: str = "") -> Any:
    return taxes_pb2.PortfolioTransaction(
        transaction_id=f"{action}-{name}-{day}",
        instrument_id=name,
        action=action,
        quantity=quantity,
        price_amount=price,
        cost_amount=cost,
        traded_on=str(DAYS[day]),
    )


@pytest.fixture(scope="module")
def recorded(service: OpenService) -> None:
    stub = PortfolioDataServiceStub(service.channel)
    trades = [
        bought("CC", "buy", "4", "99.5", 3),
        bought("AA", "buy", "5", f"{CLOSES[40, 0] - 1:.2f}", 40, "1.50"),
        bought("CC", "sell", "4", f"{CLOSES[90, 2] + 2:.2f}", 90, "0.75"),
        bought("AA", "sell", "3", "101", T),
    ]

    async def record(portfolio_id: str, rows: list[Any]) -> None:
        await stub.RecordTransactions(taxes_pb2.RecordTransactionsRequest(portfolio_id=portfolio_id, transactions=rows))

    service.run(record("traded", trades))
    service.run(record("impossible", [bought("AA", "buy", "5", "100", 60)]))


@pytest.mark.usefixtures("recorded")
def test_recorded_transactions_are_those_of_the_account(service: OpenService) -> None:
    """Kept by hand, forward: value of shares and cash at every close, and the return of every day."""
    shares = np.zeros((T + 1, len(NAMES)))
    shares[:, 0] = [10.0 if day < 40 else 15.0 if day < T else 12.0 for day in range(T + 1)]
    shares[:, 1] = 5.0
    shares[:, 2] = [4.0 if 3 <= day < 90 else 0.0 for day in range(T + 1)]
    cash = np.full(T + 1, 250.0 - 3 * 101.0)
    cash[:90] -= 4 * round(CLOSES[90, 2] + 2, 2) - 0.75
    cash[:40] += 5 * round(CLOSES[40, 0] - 1, 2) + 1.5
    cash[:3] += 4 * 99.5
    cash[T] = 250.0
    value = (shares * CLOSES).sum(axis=1) + cash
    daily = (value[1:] + cash[:-1] * CASH_RATE) / value[:-1] - 1.0
    answer = ask(service, "traded", holdings_basis=RECORDED)
    adds_up(answer)
    assert answer.holdings_basis == RECORDED
    assert answer.return_attribution.portfolio_return == pytest.approx(np.prod(1.0 + daily) - 1.0, rel=1e-11)
    W = shares[:-1] * CLOSES[:-1] / value[:-1, None]
    B = np.array([betas(RETURNS[:, k], F[:, :2]) for k in range(len(NAMES))])
    parts = {name: (W @ B)[:, k] * F[:, k] for k, name in enumerate(("growth", "rates"))}
    parts["cash"] = (1.0 - W.sum(axis=1)) * CASH_RATE
    parts["specific"] = daily - sum(parts.values())
    linked = carino(parts, daily)
    for part in answer.return_attribution.parts:
        assert part.portfolio == pytest.approx(linked[part.source], abs=1e-12), part.source
    assert "4 in number" in remarks(answer)["recorded_holdings"]
    held = weights({"AA": 12, "BB": 5}, 250.0)
    np.testing.assert_allclose([row.exposure for row in answer.exposures], betas(RETURNS @ held, F[:, :2]), rtol=1e-9)


@pytest.mark.usefixtures("recorded")
def test_what_trades_earn_is_a_sector_of_the_active_return(service: OpenService) -> None:
    answer = ask(service, "traded", holdings_basis=RECORDED, benchmark_id="mix")
    adds_up(answer)
    sectors = {row.sector: row for row in answer.sector_attribution.sectors}
    assert sectors["trading"].portfolio_weight == 0.0
    assert sectors["trading"].selection > 0.0
    assert sectors["trading"].allocation == sectors["trading"].interaction == 0.0


@pytest.mark.usefixtures("recorded")
def test_a_short_period_knows_only_its_own_transactions(service: OpenService) -> None:
    answer = ask(service, "traded", holdings_basis=RECORDED, lookback_days=20)
    adds_up(answer)
    assert list(answer.model.instrument_ids) == ["AA", "BB"]
    assert f"since {DAYS[-21]}, 1 in number" in remarks(answer)["recorded_holdings"]
    whole = ask(service, "traded", holdings_basis=RECORDED, first_date="0001-01-01", last_date="9999-12-31")
    assert whole.observations == T


@pytest.mark.usefixtures("recorded")
def test_holdings_that_cannot_have_been_are_refused(service: OpenService) -> None:
    error = refusal(service, "impossible", holdings_basis=RECORDED)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert f"-4 shares of AA were held on {DAYS[59]}" in (error.details() or "")
    assert ask(service, "impossible", holdings_basis=RECORDED, lookback_days=20).observations == 20


def test_a_day_on_which_nothing_was_left_is_refused(service: OpenService) -> None:
    """Today's long, short and borrowed positions had no value on some day of the past."""
    value = CLOSES @ np.array([10.0, -16.0, 0, 0, 0, 0, 0, 0]) + 660.0
    assert value[-1] > 0 > value.min()
    day = DAYS[int(np.argmax(value <= 0))]
    error = refusal(service, "owing", holdings_basis=pb.HOLDINGS_BASIS_CURRENT_SHARES)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert str(day) in (error.details() or "")


# --- without a factor set, and factors that will not do


def test_styles_and_sectors_where_no_factor_set_was_loaded(bare: OpenService) -> None:
    answer = ask(bare, "weighted", include_instruments=True)
    adds_up(answer)
    assert answer.model.WhichOneof("kind") == "cross_sectional"
    assert list(answer.model.instrument_ids) == list(NAMES)
    assert not answer.factor_set_id
    kinds = {row.factor: row.kind for row in answer.exposures}
    assert kinds["market"] == fm.FACTOR_KIND_MARKET
    assert fm.FACTOR_KIND_STYLE in kinds.values()
    assert any("industries is left out" in finding.message for finding in answer.data_findings)
    (market,) = [row for row in answer.exposures if row.factor == "market"]
    assert (market.exposure, market.benchmark_exposure) == pytest.approx((LONG.sum(), 1.0))
    assert {row.standard_error for row in answer.exposures} == {0.0}
    assert answer.standard_errors == fm.STANDARD_ERROR_METHOD_UNSPECIFIED


def test_factors_are_still_looked_for_where_they_are_named(bare: OpenService) -> None:
    error = refusal(bare, "plain", factors=["growth"])
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "there is no factor set, so that there are no returns of growth" in (error.details() or "")


def test_factors_that_cannot_be_told_apart_are_named(service: OpenService) -> None:
    tied, flat = set_id(service, "tied"), set_id(service, "flat")
    error = refusal(service, "plain", factor_set_id=tied)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    ((field, reason),) = violations(error).items()
    assert field in ("factors[growth]", "factors[rates]", "factors[both]")
    assert all(name in field + reason for name in ("growth", "rates", "both"))
    assert ask(service, "plain", factor_set_id=tied, factors=["both"]).exposures[0].factor == "both"
    refused = violations(refusal(service, "plain", factor_set_id=flat))
    assert list(refused) == ["factors[flat]"]
    model = fm.FactorModelSpecification(time_series=fm.TimeSeriesModel(factor_set_id=flat))
    assert list(violations(refusal(service, "plain", model=model))) == ["model.time_series.factors[flat]"]
    unknown = violations(refusal(service, "plain", factor_set_id=flat, factors=["growth", "carry"]))
    assert "carry" in unknown["factors"]


def test_too_short_a_history_says_what_is_needed(service: OpenService) -> None:
    assert ask(service, "plain", lookback_days=4).observations == 4
    error = refusal(service, "plain", lookback_days=3)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "at least 4 are needed" in (error.details() or "")
    assert not math.isnan(ask(service, "plain", lookback_days=4).r_squared)
