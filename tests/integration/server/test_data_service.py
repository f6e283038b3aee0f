"""Instruments and benchmarks over the wire: what goes in comes out, what is wrong is named and kept out."""

import math

import pytest
from data_examples import benchmark, instrument, store_instruments
from portfolio_optimization.v1 import instruments_pb2
from portfolio_optimization.v1 import portfolio_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import not_found, refused

Data = PortfolioDataServiceStub


def upsert(*instruments: instruments_pb2.Instrument, **options: bool) -> instruments_pb2.UpsertInstrumentsRequest:
    return instruments_pb2.UpsertInstrumentsRequest(instruments=instruments, **options)


async def test_an_instrument_comes_back_as_it_was(data: Data) -> None:
    answer = await data.UpsertInstruments(upsert(instrument("AAPL"), instrument("KO")))
    assert (answer.created, answer.updated) == (2, 0)
    found = await data.GetInstrument(instruments_pb2.GetInstrumentRequest(instrument_id="AAPL"))
    assert found.instrument == instrument("AAPL")


async def test_an_instrument_is_replaced_as_a_whole(data: Data) -> None:
    await store_instruments(data, "AAPL")
    plain = instruments_pb2.Instrument(
        instrument_id="AAPL",
        asset_class="fund",
        currency="EUR",
        status=instruments_pb2.INSTRUMENT_STATUS_ACTIVE,
        quality_score=0.0,
    )
    answer = await data.UpsertInstruments(upsert(plain, instrument("KO")))
    assert (answer.created, answer.updated) == (1, 1)
    found = (await data.GetInstrument(instruments_pb2.GetInstrumentRequest(instrument_id="AAPL"))).instrument
    plain.lot_size = "1"
    assert found == plain
    assert found.HasField("quality_score")
    assert not found.HasField("average_daily_volume")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"instrument_id": ""}, "instrument_id"),
        ({"instrument_id": "x" * 37}, "instrument_id"),
        ({"instrument_id": "A\0B"}, "instrument_id"),
        ({"instrument_id": "CASH"}, "instrument_id"),
        ({"name": "line\nbreak"}, "name"),
        ({"asset_class": ""}, "asset_class"),
        ({"sector": "x" * 201}, "sector"),
        ({"country": "USA"}, "country"),
        ({"currency": ""}, "currency"),
        ({"currency": "usd"}, "currency"),
        ({"lot_size": "0"}, "lot_size"),
        ({"lot_size": "one"}, "lot_size"),
        ({"quality_score": 10.1}, "quality_score"),
        ({"quality_score": math.nan}, "quality_score"),
        ({"average_daily_volume": -1.0}, "average_daily_volume"),
        ({"average_daily_volume": math.inf}, "average_daily_volume"),
        ({"market_cap_amount": "-5"}, "market_cap_amount"),
        ({"market_cap_amount": "NaN"}, "market_cap_amount"),
        ({"market_cap_amount": "1e400000"}, "market_cap_amount"),
        ({"status": instruments_pb2.INSTRUMENT_STATUS_UNSPECIFIED}, "status"),
        ({"status": 99}, "status"),
    ],
)
async def test_a_wrong_instrument_is_named_and_none_is_kept(data: Data, changes: dict[str, object], field: str) -> None:
    request = upsert(instrument("KO"), instrument(**{"instrument_id": "AAPL", **changes}))
    assert list(await refused(data.UpsertInstruments(request))) == [f"instruments[1].{field}"]
    assert not (await data.ListInstruments(instruments_pb2.ListInstrumentsRequest())).instruments


async def test_all_faults_of_all_instruments_come_at_once(data: Data) -> None:
    request = upsert(instrument("", currency=""), instrument("KO"), instrument("KO", lot_size="-1"))
    faults = await refused(data.UpsertInstruments(request))
    assert set(faults) == {
        "instruments",
        "instruments[0].instrument_id",
        "instruments[0].currency",
        "instruments[2].lot_size",
    }
    assert faults["instruments"] == "repeats KO"
    assert "instruments" in await refused(data.UpsertInstruments(upsert()))


async def test_instruments_can_be_checked_only(data: Data) -> None:
    await store_instruments(data, "KO")
    answer = await data.UpsertInstruments(upsert(instrument("AAPL"), instrument("KO"), validate_only=True))
    assert (answer.created, answer.updated) == (1, 1)
    listed = await data.ListInstruments(instruments_pb2.ListInstrumentsRequest())
    assert [item.instrument_id for item in listed.instruments] == ["KO"]


async def test_instruments_are_listed_by_page_and_filter(data: Data) -> None:
    funds = [instrument(name, asset_class="fund", sector="") for name in ("C", "E")]
    await data.UpsertInstruments(upsert(*(instrument(name) for name in "ABD"), *funds))

    async def page(**request: object) -> tuple[list[str], str]:
        answer = await data.ListInstruments(instruments_pb2.ListInstrumentsRequest(**request))
        return [item.instrument_id for item in answer.instruments], answer.next_page_token

    first, token = await page(page_size=3)
    assert first == ["A", "B", "C"]
    assert await page(page_size=3, page_token=token) == (["D", "E"], "")
    assert await page(page_size=5) == (["A", "B", "C", "D", "E"], "")
    assert await page(asset_class="fund") == (["C", "E"], "")
    assert await page(sector="Energy", asset_class="equity") == (["A", "B", "D"], "")
    assert await page(sector="energy") == ([], "")


@pytest.mark.parametrize("request_", [{"page_size": -1}, {"page_token": "no token"}, {"page_token": "AA=="}])
async def test_a_wrong_page_is_refused(data: Data, request_: dict[str, object]) -> None:
    assert list(await refused(data.ListInstruments(instruments_pb2.ListInstrumentsRequest(**request_)))) == [*request_]
    assert list(await refused(data.ListPortfolios(pb.ListPortfoliosRequest(**request_)))) == [*request_]
    assert list(await refused(data.ListBenchmarks(pb.ListBenchmarksRequest(**request_)))) == [*request_]


async def test_what_is_not_there_is_not_found(data: Data) -> None:
    assert "nowhere" in await not_found(
        data.GetInstrument(instruments_pb2.GetInstrumentRequest(instrument_id="nowhere"))
    )
    assert "nowhere" in await not_found(data.GetPortfolio(pb.GetPortfolioRequest(portfolio_id="nowhere")))
    assert "nowhere" in await not_found(data.GetBenchmark(pb.GetBenchmarkRequest(benchmark_id="nowhere")))
    assert list(await refused(data.GetInstrument(instruments_pb2.GetInstrumentRequest()))) == ["instrument_id"]
    faults = await refused(data.GetPortfolio(pb.GetPortfolioRequest(pricing_pack_id="x" * 37)))
    assert set(faults) == {"portfolio_id", "pricing_pack_id"}


async def test_a_benchmark_comes_back_as_it_was(data: Data) -> None:
    await store_instruments(data, "AAPL", "KO", "XOM")
    answer = await data.PutBenchmark(pb.PutBenchmarkRequest(benchmark=benchmark()))
    found = await data.GetBenchmark(pb.GetBenchmarkRequest(benchmark_id="half"))
    assert answer.created
    assert answer.benchmark == found.benchmark == benchmark()
    index_only = benchmark(weights={})
    again = await data.PutBenchmark(pb.PutBenchmarkRequest(benchmark=index_only))
    assert not again.created
    assert again.benchmark == index_only


async def test_the_last_digits_of_a_benchmark_are_normalised(stocked: Data) -> None:
    thirds = {"AAPL": 0.333333, "KO": 0.333333, "XOM": 0.333333}
    request = pb.PutBenchmarkRequest(benchmark=benchmark(benchmark_id="thirds", weights=thirds), validate_only=True)
    weights = (await stocked.PutBenchmark(request)).benchmark.weights
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-15)
    assert dict(weights) == pytest.approx(dict.fromkeys(thirds, 1 / 3), abs=1e-9)
    await not_found(stocked.GetBenchmark(pb.GetBenchmarkRequest(benchmark_id="thirds")))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"benchmark_id": ""}, "benchmark_id"),
        ({"weights": {}, "index_instrument_id": ""}, "weights"),
        ({"weights": {"AAPL": 0.5, "KO": 0.4}}, "weights"),
        ({"weights": {"AAPL": 0.0}}, "weights"),
        ({"weights": {"NEW": 1.0}}, "weights"),
        ({"index_instrument_id": "NEW"}, "index_instrument_id"),
        ({"source": "\x1b[2J"}, "source"),
    ],
)
async def test_a_wrong_benchmark_is_refused(stocked: Data, changes: dict[str, object], field: str) -> None:
    before = await stocked.ListBenchmarks(pb.ListBenchmarksRequest())
    wrong = pb.PutBenchmarkRequest(benchmark=benchmark(**changes))
    assert list(await refused(stocked.PutBenchmark(wrong))) == [f"benchmark.{field}"]
    assert await stocked.ListBenchmarks(pb.ListBenchmarksRequest()) == before


@pytest.mark.parametrize("weight", [math.nan, -0.1, 1.1, math.inf])
async def test_a_wrong_weight_is_named(stocked: Data, weight: float) -> None:
    wrong = pb.PutBenchmarkRequest(benchmark=benchmark(weights={"AAPL": weight, "KO": 0.5, "CASH": 0.5}))
    faults = await refused(stocked.PutBenchmark(wrong))
    assert {"benchmark.weights[AAPL]", "benchmark.weights[CASH]"} <= set(faults)
