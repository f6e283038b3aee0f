"""Loading the caller's own model inputs over the wire: by content, with every fault named, as a whole or not at all."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import numpy as np
import pytest
from data_examples import store_instruments
from model_examples import (
    covariance,
    covariance_header,
    covariance_rows,
    exposure_header,
    exposure_row,
    exposures,
    forecast,
    period,
    scenario,
    scenario_header,
    scenarios,
)
from portfolio_optimization.v1 import model_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import refused

from server.application import Application, open_application
from server.grpc_server import GrpcServer
from server.loading_models import ModelLoader
from server.settings import Settings
from storage.errors import NotFound

Data = PortfolioDataServiceStub
STREAMS: dict[str, Callable[[], list[Any]]] = {
    "LoadScenarios": scenarios,
    "LoadCovariance": covariance,
    "LoadFactorExposures": exposures,
}


async def load(data: Data, parts: Any) -> Any:
    """The answer to the parts of a stream, or to a forecast."""
    if isinstance(parts, pb.LoadForecastRequest):
        return await data.LoadForecast(parts)
    kind = type(parts[0]).__name__.removesuffix("Request")
    return await getattr(data, kind)(iter(parts))


async def rows(application: Application) -> list[int]:
    """How many rows each table of model data has."""
    async with application.database.transaction() as connection:
        found = [
            await (await connection.execute(f"SELECT COUNT(*) FROM {name}".encode())).fetchone()
            for name in ("model_data", "model_columns")
        ]
    return [row[0] for row in found if row is not None]


async def test_scenarios_come_back_to_the_bit(stocked: Data, application: Application) -> None:
    answer = await load(stocked, scenarios())
    assert answer.created
    stored = await application.models.scenarios(answer.scenarios_id)
    assert (stored.id, stored.days, str(stored.as_of)) == (answer.scenarios_id, 21, "2022-12-28")
    assert (stored.instrument_ids, stored.names) == (("AAPL", "KO"), ("crash", ""))
    np.testing.assert_array_equal(stored.probabilities, [0.125, 0.875])
    np.testing.assert_array_equal(stored.returns, [[-0.25, -0.4], [0.1 + 0.2, 0.01]])


async def test_scenarios_without_probabilities_have_equal_ones(stocked: Data, application: Application) -> None:
    draws = [(0.1, 0.2), (-0.1, 0.0), (0.0, 0.5)]
    answer = await load(stocked, [scenario_header(), *(scenario(*draw) for draw in draws)])
    stored = await application.models.scenarios(answer.scenarios_id)
    np.testing.assert_array_equal(stored.probabilities, [1 / 3] * 3)
    assert stored.names == ()
    said = [scenario_header(), *(scenario(*draw, probability=1 / 3) for draw in draws)]
    assert await load(stocked, said) == pb.LoadScenariosResponse(scenarios_id=answer.scenarios_id, created=False)


async def test_a_covariance_comes_with_its_smallest_eigenvalue(stocked: Data, application: Application) -> None:
    answer = await load(stocked, covariance())
    assert answer.created
    assert answer.smallest_eigenvalue == pytest.approx(0.065 - math.hypot(0.025, 0.01), rel=1e-13)
    stored = await application.models.covariance(answer.covariance_id)
    assert stored.instrument_ids == ("AAPL", "KO")
    np.testing.assert_array_equal(stored.Sigma, [[0.09, 0.01], [0.01, 0.04]])


async def test_a_covariance_that_is_none_is_kept_and_said(stocked: Data) -> None:
    """Eigenvalues of [[a, b], [b, a]] are a - b and a + b."""
    answer = await load(stocked, [covariance_header(), covariance_rows(0.04, 0.06, 0.06, 0.04)])
    assert answer.smallest_eigenvalue == pytest.approx(-0.02, rel=1e-13)


async def test_what_rounding_left_of_asymmetry_is_averaged_out(stocked: Data, application: Application) -> None:
    answer = await load(stocked, [covariance_header(), covariance_rows(0.04, 0.01 + 1e-13, 0.01, 0.09)])
    Sigma = (await application.models.covariance(answer.covariance_id)).Sigma
    assert Sigma[0, 1] == Sigma[1, 0] == pytest.approx(0.01 + 5e-14, abs=1e-16)


async def test_exposures_keep_the_order_of_their_factors(stocked: Data, application: Application) -> None:
    answer = await load(stocked, exposures())
    assert answer.created
    stored = await application.models.exposures(answer.factor_exposures_id)
    assert (stored.factors, stored.instrument_ids) == (("value", "momentum"), ("AAPL", "KO"))
    np.testing.assert_array_equal(stored.B, [[-2.0, 0.0], [0.5, -1.25]])
    np.testing.assert_array_equal(stored.specific, [np.nan, 0.125])


async def test_a_forecast_has_instruments_by_period(stocked: Data, application: Application) -> None:
    answer = await load(stocked, forecast())
    assert answer.created
    first, second = (await application.models.forecast(answer.forecast_id)).periods
    assert (first.days, first.expected_returns) == (21, {"AAPL": 0.1 + 0.2, "KO": 0.05})
    assert (second.days, second.expected_returns) == (231, {"KO": -0.01})


@pytest.mark.parametrize("parts", [scenarios(), covariance(), exposures(), forecast()], ids=lambda x: str(type(x)))
async def test_the_same_content_is_the_same_set(stocked: Data, application: Application, parts: Any) -> None:
    first = await load(stocked, parts)
    before = await rows(application)
    header = parts if isinstance(parts, pb.LoadForecastRequest) else parts[0].header
    header.source = "somebody else"
    again = await load(stocked, parts)
    assert (first.created, again.created) == (True, False)
    again.created = True
    assert again == first
    assert await rows(application) == before == [1, before[1]]
    header.as_of = "2022-12-29"
    assert (await load(stocked, parts)).created


async def test_the_order_of_instruments_is_no_content(stocked: Data) -> None:
    ones = [covariance(), exposures(), [scenario_header(["KO", "AAPL"]), scenario(1.0, 2.0), scenario(3.0, 4.0)]]
    turned = [
        [covariance_header(["AAPL", "KO"]), covariance_rows(0.09, 0.01, 0.01, 0.04)],
        [ones[1][0], ones[1][2], ones[1][1]],
        [scenario_header(["AAPL", "KO"]), scenario(2.0, 1.0), scenario(4.0, 3.0)],
    ]
    for one, other in zip(ones, turned, strict=True):
        await load(stocked, one)
        assert not (await load(stocked, other)).created
    assert (await load(stocked, [scenario_header(), scenario(3.0, 4.0), scenario(1.0, 2.0)])).created


async def test_of_concurrent_loads_one_creates(stocked: Data) -> None:
    answers = await asyncio.gather(*(load(stocked, scenarios()) for _ in range(6)))
    assert sorted(answer.created for answer in answers) == [False] * 5 + [True]
    assert len({answer.scenarios_id for answer in answers}) == 1


NAN, INF = math.nan, math.inf
LONG = "x" * 37
TWO = [scenario(0.1, 0.2), scenario(0.3, 0.4)]

WRONG_SCENARIOS = [
    ([TWO[0]], "header"),
    ([*TWO, scenario_header()], "header"),
    ([scenario_header(), scenario_header(), *TWO], "header"),
    ([scenario_header(), pb.LoadScenariosRequest(), *TWO], "part"),
    ([scenario_header([])], "header.instrument_ids"),
    ([scenario_header(["KO", ""]), *TWO], "header.instrument_ids[1]"),
    ([scenario_header(["KO", LONG]), *TWO], "header.instrument_ids[1]"),
    ([scenario_header(["KO", "KO"]), *TWO], "header.instrument_ids"),
    ([scenario_header(["KO", "CASH"]), *TWO], "header.instrument_ids"),
    ([scenario_header(["KO", "NEW"]), *TWO], "header.instrument_ids"),
    ([scenario_header(days=0), *TWO], "header.days"),
    ([scenario_header(days=2521), *TWO], "header.days"),
    ([scenario_header(as_of=""), *TWO], "header.as_of"),
    ([scenario_header(as_of="2022-13-01"), *TWO], "header.as_of"),
    ([scenario_header(source="\x1b"), *TWO], "header.source"),
    ([scenario_header()], "scenario"),
    ([scenario_header(), TWO[0]], "scenario"),
    ([scenario_header(), *TWO, scenario(0.1)], "scenario[2].returns"),
    ([scenario_header(), *TWO, scenario()], "scenario[2].returns"),
    ([scenario_header(), *TWO, scenario(0.1, NAN)], "scenario[2].returns[AAPL]"),
    ([scenario_header(), *TWO, scenario(-1.0, 0.1)], "scenario[2].returns[KO]"),
    ([scenario_header(), *TWO, scenario(INF, 0.1)], "scenario[2].returns[KO]"),
    ([scenario_header(), *TWO, scenario(0.1, 0.2, name="a\nb")], "scenario[2].name"),
    ([scenario_header(), scenario(0.1, 0.2, probability=0.5), scenario(0.1, 0.2, probability=0.5 + 2e-9)], "scenario"),
]
WRONG_PROBABILITIES = [
    ([0.5, 0.5, 0.0], {"scenario[2].probability"}),
    ([1.5, -0.5], {"scenario[0].probability", "scenario[1].probability"}),
    ([NAN, 0.5], {"scenario[0].probability", "scenario"}),
]
SQUARE = covariance_rows(0.04, 0.01, 0.01, 0.09)
WRONG_COVARIANCES = [
    ([SQUARE], "header"),
    ([covariance_header(), pb.LoadCovarianceRequest()], "part"),
    ([covariance_header(["KO", "KO"]), SQUARE], "header.instrument_ids"),
    ([covariance_header(["KO", "NEW"]), SQUARE], "header.instrument_ids"),
    ([covariance_header(as_of=""), SQUARE], "header.as_of"),
    ([covariance_header()], "rows"),
    ([covariance_header(), covariance_rows(0.04, 0.01)], "rows"),
    ([covariance_header(), covariance_rows(), SQUARE], "rows.values"),
    ([covariance_header(), covariance_rows(0.04, 0.01, 0.01)], "rows.values"),
    ([covariance_header(), SQUARE, covariance_rows(0.04, 0.01)], "rows.values"),
    ([covariance_header(), covariance_rows(0.04, NAN, 0.01, 0.09)], "rows.values[KO, AAPL]"),
    ([covariance_header(), covariance_rows(0.04, 0.01, 0.01, INF)], "rows.values[AAPL, AAPL]"),
    ([covariance_header(), covariance_rows(0.04, 0.01, 0.01, 1e13)], "rows.values[AAPL, AAPL]"),
    ([covariance_header(), covariance_rows(0.04, 0.01, 0.01, -0.09)], "rows.values[AAPL, AAPL]"),
    ([covariance_header(), covariance_rows(0.04, 0.01, 0.011, 0.09)], "rows.values[KO, AAPL]"),
]
ROW = exposure_row("KO", 0.5, 1.0)
WRONG_EXPOSURES = [
    ([ROW], "header"),
    ([exposure_header(), pb.LoadFactorExposuresRequest()], "part"),
    ([exposure_header([]), ROW], "header.factors"),
    ([exposure_header(["value", ""]), ROW], "header.factors[1]"),
    ([exposure_header(["value", "value"]), ROW], "header.factors"),
    ([exposure_header(as_of="yesterday"), ROW], "header.as_of"),
    ([exposure_header()], "row"),
    ([exposure_header(), ROW, ROW], "row"),
    ([exposure_header(), ROW, exposure_row("NEW", 0.5, 1.0)], "row"),
    ([exposure_header(), ROW, exposure_row("", 0.5, 1.0)], "row[1].instrument_id"),
    ([exposure_header(), ROW, exposure_row("AAPL", 0.5)], "row[AAPL].exposures"),
    ([exposure_header(), ROW, exposure_row("AAPL", 0.5, NAN)], "row[AAPL].exposures[momentum]"),
    ([exposure_header(), ROW, exposure_row("AAPL", 1e7, 0.0)], "row[AAPL].exposures[value]"),
    ([exposure_header(), exposure_row("KO", 0.5, 1.0, specific=-0.1)], "row[KO].specific_volatility"),
    ([exposure_header(), exposure_row("KO", 0.5, 1.0, specific=NAN)], "row[KO].specific_volatility"),
]
WRONG_FORECASTS = [
    (forecast(as_of=""), "as_of"),
    (pb.LoadForecastRequest(as_of="2022-12-28"), "periods"),
    (forecast(period(0, KO=0.1)), "periods[0].days"),
    (forecast(period(25_201, KO=0.1)), "periods[0].days"),
    (forecast(period(KO=0.1), period()), "periods[1].expected_returns"),
    (forecast(period(KO=0.1), period(KO=NAN)), "periods[1].expected_returns[KO]"),
    (forecast(period(KO=-1.0)), "periods[0].expected_returns[KO]"),
    (forecast(period(**{"": 0.1})), "periods[0].expected_returns[]"),
    (forecast(period(KO=0.1, NEW=0.1, CASH=0.02)), "periods"),
]


@pytest.mark.parametrize(("parts", "field"), [*WRONG_SCENARIOS, *WRONG_COVARIANCES, *WRONG_EXPOSURES, *WRONG_FORECASTS])
async def test_what_is_wrong_is_refused_and_nothing_kept(
    stocked: Data, application: Application, parts: Any, field: str
) -> None:
    faults = await refused(load(stocked, parts))
    assert list(faults) == [field], faults
    assert await rows(application) == [0, 0]


@pytest.mark.parametrize(("probabilities", "fields"), WRONG_PROBABILITIES)
async def test_wrong_probabilities_are_named(stocked: Data, probabilities: list[float], fields: set[str]) -> None:
    parts = [scenario_header(), *(scenario(0.1, 0.2, probability=p) for p in probabilities)]
    assert set(await refused(load(stocked, parts))) == fields


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_without_a_header_is_refused(stocked: Data, method: str) -> None:
    assert list(await refused(getattr(stocked, method)(iter([])))) == ["header"]


async def test_faults_say_what_was_wrong(stocked: Data) -> None:
    faults = await refused(load(stocked, [scenario_header(), *TWO, scenario(-2.0, NAN), scenario(1e7, 0.0)]))
    assert faults == {
        "scenario[2].returns[KO]": "must be above -1 and at most 1e+06, not -2",
        "scenario[2].returns[AAPL]": "must be above -1 and at most 1e+06, not nan",
        "scenario[3].returns[KO]": "must be above -1 and at most 1e+06, not 1e+07",
    }
    faults = await refused(load(stocked, [covariance_header(), covariance_rows(0.04, 0.01, 0.02, 0.09)]))
    assert faults == {"rows.values[KO, AAPL]": "is 0.01, but [AAPL, KO] is 0.02: it must be symmetric"}
    unknown = await refused(load(stocked, [exposure_header(), exposure_row("N2", 1.0, 1.0), exposure_row("N1", 1, 1)]))
    assert unknown == {"row": "names N1, N2, not known as an instrument"}


async def test_a_stream_of_faults_is_not_read_on(stocked: Data) -> None:
    faults = await refused(load(stocked, [scenario_header(), *[scenario(0.1)] * 1000]))
    assert len(faults) == 21
    assert faults["scenario"].endswith("what follows was not looked at")
    faults = await refused(load(stocked, [scenario_header(), *[scenario(NAN, NAN)] * 1000]))
    assert len(faults) == 21
    assert faults["scenario[10].returns[KO]"] == "is the first of 1980 more that are wrong"


@pytest.mark.parametrize(
    ("bound", "parts", "fault"),
    [
        ("model_streams.MOST_VALUES", scenarios(), {"scenario": "has more than 3 values in all"}),
        ("model_streams.MOST_VALUES", covariance(), {"rows": "has more than 3 values in all"}),
        ("model_streams.MOST_VALUES", exposures(), {"row": "has more than 3 values in all"}),
        ("model_data._MOST_SCENARIOS", [*scenarios(), *TWO], {"scenario": "must be at most 3 in all"}),
        ("model_data._MOST_PERIODS", forecast(*[period(KO=0.1)] * 4), {"periods": "must be 1 to 3, not 4"}),
    ],
)
async def test_a_load_is_bounded(
    stocked: Data,
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    parts: Any,
    fault: dict[str, str],
) -> None:
    monkeypatch.setattr(f"server.convert.{bound}", 3)
    assert await refused(load(stocked, parts)) == fault
    assert await rows(application) == [0, 0]


async def test_there_are_as_many_instruments_as_in_an_optimization(stocked: Data, application: Application) -> None:
    most = application.settings.max_assets
    ids = [f"N{k}" for k in range(most + 1)]
    faults = await refused(load(stocked, [covariance_header(ids)]))
    assert faults == {"header.instrument_ids": f"must be 1 to {most}, not {most + 1}"}
    many = [exposure_header(["value"]), *(exposure_row(name, 1.0) for name in ids)]
    assert await refused(load(stocked, many)) == {"row": f"must be at most {most} in all"}


@pytest.mark.parametrize("method", STREAMS)
async def test_a_load_that_is_broken_off_leaves_nothing(stocked: Data, application: Application, method: str) -> None:
    async def endless() -> AsyncIterator[Any]:
        for part in STREAMS[method]():
            yield part
        await asyncio.Event().wait()

    call = getattr(stocked, method)(endless())
    await asyncio.sleep(0.1)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await rows(application) == [0, 0]


async def test_a_set_may_be_larger_than_a_message(database_url: str) -> None:
    """The limit is one of single messages."""
    settings = Settings(
        database_url=database_url,
        grpc_address="127.0.0.1:0",
        metrics_address="",
        load_sample=False,
        max_message_megabytes=1,
    )
    draws = np.random.default_rng(5).normal(scale=0.01, size=(70_000, 2))
    async with AsyncExitStack() as stack:
        application = await stack.enter_async_context(open_application(settings))
        server = GrpcServer(application)
        await server.start()
        stack.push_async_callback(server.stop, 0.0)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        data = PortfolioDataServiceStub(channel)
        await store_instruments(data, "KO", "AAPL")
        answer = await load(data, [scenario_header(), *(scenario(*row) for row in draws.tolist())])
        stored = await application.models.scenarios(answer.scenarios_id)
        np.testing.assert_array_equal(stored.returns, draws[:, ::-1])
        await refused(load(data, [scenario_header(), scenario(*[0.0] * 140_000)]), grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_a_covariance_in_one_large_part(stocked: Data, application: Application) -> None:
    """Of equal correlations rho and variances v: the smallest eigenvalue is v (1 - rho)."""
    ids = [f"N{k:03d}" for k in range(120)]
    await store_instruments(stocked, *ids)
    Sigma = 0.04 * (0.75 * np.eye(120) + 0.25)
    answer = await load(stocked, [covariance_header(ids), covariance_rows(*Sigma.ravel().tolist())])
    assert answer.smallest_eigenvalue == pytest.approx(0.03, rel=1e-12)
    np.testing.assert_array_equal((await application.models.covariance(answer.covariance_id)).Sigma, Sigma)


async def test_what_is_loaded_is_read_once(stocked: Data, application: Application) -> None:
    scenarios_id = (await load(stocked, scenarios())).scenarios_id
    forecast_id = (await load(stocked, forecast())).forecast_id
    models = application.models
    assert await models.scenarios(scenarios_id) is await models.scenarios(scenarios_id)
    for search in (models.scenarios("sc-0"), models.scenarios(forecast_id), models.covariance(scenarios_id)):
        with pytest.raises(NotFound):
            await search


async def test_only_a_few_sets_stay_in_memory(stocked: Data, application: Application) -> None:
    models = ModelLoader(application.database, sets_kept=1)
    scenarios_id = (await load(stocked, scenarios())).scenarios_id
    forecast_id = (await load(stocked, forecast())).forecast_id
    first = await models.scenarios(scenarios_id)
    await models.forecast(forecast_id)
    again = await models.scenarios(scenarios_id)
    assert again is not first
    assert again.id == first.id
