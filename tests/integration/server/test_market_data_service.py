"""Loading prices and factor returns over the wire: by content, with findings, as a whole or not at all."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable

import numpy as np
import pytest
from data_examples import (
    DAYS,
    Prices,
    Returns,
    factor_header,
    factor_series,
    price_block,
    price_header,
    prices,
    returns,
)
from portfolio_optimization.v1 import estimation_pb2
from portfolio_optimization.v1 import market_data_pb2 as pb
from portfolio_optimization.v1.portfolio_data_service_pb2_grpc import PortfolioDataServiceStub
from refusals import not_found, refused

from server.application import Application
from storage.factors import FactorRepository
from storage.pricing_packs import PricingPackRepository

Data = PortfolioDataServiceStub
TABLES = ("pricing_packs", "prices", "factor_sets", "factor_returns")


async def load(data: Data, parts: Iterable[Prices]) -> pb.LoadPricingPackResponse:
    return await data.LoadPricingPack(iter(parts))


async def load_factors(data: Data, parts: Iterable[Returns]) -> pb.LoadFactorReturnsResponse:
    return await data.LoadFactorReturns(iter(parts))


async def rows(application: Application) -> list[int]:
    """How many rows each table of market data has."""
    async with application.database.transaction() as connection:
        found = [
            await (await connection.execute(f"SELECT COUNT(*) FROM {name}".encode())).fetchone() for name in TABLES
        ]
    return [row[0] for row in found if row is not None]


async def test_a_pack_says_what_is_in_it(stocked: Data, application: Application) -> None:
    answer = await load(stocked, prices())
    pack = answer.pricing_pack
    assert answer.created
    assert (pack.source, pack.first_date, pack.as_of, pack.observations) == ("by hand", DAYS[0], DAYS[-1], 3)
    assert list(pack.instrument_ids) == ["AAPL", "KO"]
    assert await stocked.GetPricingPack(pb.GetPricingPackRequest(pricing_pack_id=pack.pricing_pack_id)) == (
        pb.GetPricingPackResponse(pricing_pack=pack)
    )
    async with application.database.transaction() as connection:
        table = await PricingPackRepository(connection).read(pack.pricing_pack_id)
    np.testing.assert_array_equal(table.closes, [[np.nan, 63.5], [130.0, 64.0], [126.04, 63.25]])


async def test_the_checks_name_what_they_find(stocked: Data) -> None:
    closes = [100.0 + k for k in range(70)]
    days = [str(day) for day in np.datetime64("2022-01-01") + np.arange(70)]
    jumped = [*closes[:60], *(3 * close for close in closes[60:])]
    answer = await load(stocked, [price_header(days), price_block(AAPL=closes, KO=jumped, XOM=[math.nan] * 70)])
    found = {(finding.instrument_id, finding.code): finding for finding in answer.data_findings}
    assert set(found) == {("KO", "jump"), ("XOM", "too_short")}
    assert found["KO", "jump"].severity == estimation_pb2.DATA_FINDING_SEVERITY_WARNING
    assert found["KO", "jump"].date == days[60]
    assert found["XOM", "too_short"].severity == estimation_pb2.DATA_FINDING_SEVERITY_ERROR
    assert list(answer.pricing_pack.instrument_ids) == ["AAPL", "KO"]


async def test_the_same_content_is_the_same_pack(stocked: Data, application: Application) -> None:
    first = await load(stocked, prices())
    before = await rows(application)
    header, one, other = prices()
    header.header.source = "somebody else"
    again = await load(stocked, [header, other, one])
    assert not again.created
    assert again.pricing_pack == first.pricing_pack
    assert await rows(application) == before


async def test_of_concurrent_loads_one_creates(stocked: Data) -> None:
    answers = await asyncio.gather(*(load(stocked, prices()) for _ in range(6)))
    assert sorted(answer.created for answer in answers) == [False] * 5 + [True]
    assert len({answer.pricing_pack.pricing_pack_id for answer in answers}) == 1


async def test_a_pack_can_be_checked_only(stocked: Data, application: Application) -> None:
    parts = prices()
    parts[0].header.validate_only = True
    checked = await load(stocked, parts)
    assert checked.created
    assert await rows(application) == [0, 0, 0, 0]
    stored = (await load(stocked, prices())).pricing_pack
    assert not (await load(stocked, parts)).created
    stored.ClearField("created_at")
    assert checked.pricing_pack == stored


THREE = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([], "header"),
        ([price_block(KO=THREE)], "header"),
        ([price_block(KO=THREE), price_header()], "header"),
        ([price_header(), price_header(), price_block(KO=THREE)], "header"),
        ([price_header(), Prices(), price_block(KO=THREE)], "part"),
        ([price_header([])], "header.dates"),
        ([price_header(DAYS[:1]), price_block(KO=[1.0])], "header.dates"),
        ([price_header(["2022-12-26", ""]), price_block(KO=[1.0, 2.0])], "header.dates[1]"),
        ([price_header(["2022-12-26", "2022-13-01"]), price_block(KO=[1.0, 2.0])], "header.dates[1]"),
        ([price_header(["20221226", "20221227"]), price_block(KO=[1.0, 2.0])], "header.dates[0]"),
        ([price_header(["2022-12-26", "2022-12-26"]), price_block(KO=[1.0, 2.0])], "header.dates[1]"),
        ([price_header(["2022-12-27", "2022-12-26"]), price_block(KO=[1.0, 2.0])], "header.dates[1]"),
        ([price_header(source="x" * 201), price_block(KO=THREE)], "header.source"),
        ([price_header()], "block.series"),
        ([price_header(), price_block()], "block.series"),
        ([price_header(), price_block(KO=[math.nan] * 3)], "block.series"),
        ([price_header(), price_block(KO=THREE[:2])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[*THREE, 4.0])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[1.0, 0.0, 1.0])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[1.0, -3.0, 1.0])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[1.0, math.inf, 1.0])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=[1.0, 1e300, 1.0])], "block.series[KO].closes"),
        ([price_header(), price_block(KO=THREE), price_block(KO=THREE)], "block.series[KO]"),
        ([price_header(), price_block(**{"": THREE})], "block.series[]"),
        ([price_header(), price_block(**{"x" * 37: THREE})], f"block.series[{'x' * 37}]"),
        ([price_header(), price_block(KO=THREE, CASH=THREE)], "block.series"),
        ([price_header(), price_block(KO=THREE, NEW=THREE, OTHER=THREE)], "block.series"),
    ],
)
async def test_a_wrong_pack_is_refused_and_nothing_kept(
    stocked: Data, application: Application, parts: list[Prices], field: str
) -> None:
    assert list(await refused(load(stocked, parts))) == [field]
    assert await rows(application) == [0, 0, 0, 0]


async def test_faults_name_day_value_and_instrument(stocked: Data) -> None:
    bad = price_block(KO=[1.0, -3.0, 0.0], AAPL=[1.0], XOM=THREE)
    faults = await refused(load(stocked, [price_header(), bad]))
    assert faults == {
        "block.series[KO].closes": "must be above 0 and below 1e+12, not -3 on 2022-12-27, and 1 more",
        "block.series[AAPL].closes": "must have 3 values, one for every day, not 1",
    }
    unknown = await refused(load(stocked, [price_header(), price_block(KO=THREE, N2=THREE, N1=THREE)]))
    assert unknown["block.series"] == "names N1, N2, not known as an instrument"


async def test_a_stream_of_faults_is_not_read_on(stocked: Data) -> None:
    bad = price_block(**{f"N{k}": [0.0] * 3 for k in range(1000)})
    faults = await refused(load(stocked, [price_header(), *[bad] * 10]))
    assert len(faults) == 21
    assert faults["block.series"].endswith("what follows was not looked at")


async def test_a_load_is_bounded(stocked: Data, monkeypatch: pytest.MonkeyPatch, application: Application) -> None:
    monkeypatch.setattr("server.convert.market_data._MOST_VALUES", 5)
    faults = await refused(load(stocked, prices()))
    assert faults == {"block.series": "has more than 5 values in all"}
    assert await rows(application) == [0, 0, 0, 0]


async def test_a_load_that_is_broken_off_leaves_nothing(stocked: Data, application: Application) -> None:
    async def endless() -> AsyncIterator[Prices]:
        for part in prices():
            yield part
        await asyncio.Event().wait()

    call = stocked.LoadPricingPack(endless())
    await asyncio.sleep(0.1)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await rows(application) == [0, 0, 0, 0]


async def test_packs_are_listed_newest_first(stocked: Data) -> None:
    packs = ({"KO": THREE}, {"AAPL": THREE}, {"KO": THREE[::-1], "AAPL": THREE})
    loaded = [await load(stocked, [price_header(), price_block(**closes)]) for closes in packs]
    ids = [answer.pricing_pack.pricing_pack_id for answer in loaded]

    async def page(**request: object) -> tuple[list[str], str]:
        answer = await stocked.ListPricingPacks(pb.ListPricingPacksRequest(**request))
        assert not any(pack.instrument_ids for pack in answer.pricing_packs)
        return [pack.pricing_pack_id for pack in answer.pricing_packs], answer.next_page_token

    first, token = await page(page_size=2)
    assert first == ids[:0:-1]
    assert await page(page_size=2, page_token=token) == (ids[:1], "")
    assert await page(instrument_id="KO") == ([ids[2], ids[0]], "")
    assert await page(instrument_id="XOM") == ([], "")


async def test_market_data_that_are_not_there(stocked: Data) -> None:
    assert "pp-0" in await not_found(stocked.GetPricingPack(pb.GetPricingPackRequest(pricing_pack_id="pp-0")))
    assert "fs-0" in await not_found(stocked.GetFactorSet(pb.GetFactorSetRequest(factor_set_id="fs-0")))
    assert await refused(stocked.GetPricingPack(pb.GetPricingPackRequest()))
    assert await refused(stocked.GetFactorSet(pb.GetFactorSetRequest(factor_set_id="\n")))
    assert await refused(stocked.ListPricingPacks(pb.ListPricingPacksRequest(page_token="x")))
    assert await refused(stocked.ListFactorSets(pb.ListFactorSetsRequest(page_size=-5)))


async def test_a_factor_set_keeps_the_order_of_its_factors(data: Data, application: Application) -> None:
    answer = await load_factors(data, returns())
    loaded = answer.factor_set
    assert answer.created
    assert (loaded.source, loaded.first_date, loaded.as_of, loaded.observations) == ("by hand", DAYS[0], DAYS[-1], 3)
    assert list(loaded.factors) == ["value", "momentum"]
    found = await data.GetFactorSet(pb.GetFactorSetRequest(factor_set_id=loaded.factor_set_id))
    assert found.factor_set == loaded
    async with application.database.transaction() as connection:
        table = await FactorRepository(connection).read(loaded.factor_set_id)
    np.testing.assert_array_equal(table.returns, [[0.01, 0.0], [0.0, 1e-9], [-0.02, 2.0]])


async def test_the_same_returns_are_the_same_set(data: Data, application: Application) -> None:
    first, again = await load_factors(data, returns()), await load_factors(data, returns())
    assert (first.created, again.created) == (True, False)
    assert first.factor_set == again.factor_set
    header, one, other = returns()
    turned = await load_factors(data, [header, other, one])
    assert turned.created
    listed = (await data.ListFactorSets(pb.ListFactorSetsRequest(page_size=1))).factor_sets
    assert list(listed) == [turned.factor_set]


async def test_a_factor_set_can_be_checked_only(data: Data, application: Application) -> None:
    parts = returns()
    parts[0].header.validate_only = True
    checked = await load_factors(data, parts)
    assert await rows(application) == [0, 0, 0, 0]
    stored = (await load_factors(data, returns())).factor_set
    stored.ClearField("created_at")
    assert checked.factor_set == stored
    assert (checked.created, (await load_factors(data, parts)).created) == (True, False)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([], "header"),
        ([factor_series("value", [0.0] * 3)], "header"),
        ([factor_header(), factor_header()], "header"),
        ([factor_header(), Returns()], "part"),
        ([factor_header()], "series"),
        ([factor_header(DAYS[:1])], "header.dates"),
        ([factor_header(), factor_series("", [0.0] * 3)], "series[]"),
        ([factor_header(), factor_series("value", [0.0] * 2)], "series[value].returns"),
        ([factor_header(), factor_series("value", [0.0, math.nan, 0.0])], "series[value].returns"),
        ([factor_header(), factor_series("value", [0.0, -1.0, 0.0])], "series[value].returns"),
        ([factor_header(), factor_series("value", [0.0, math.inf, 0.0])], "series[value].returns"),
        ([factor_header(), *[factor_series("value", [0.0] * 3)] * 2], "series[value]"),
    ],
)
async def test_a_wrong_factor_set_is_refused_and_nothing_kept(
    data: Data, application: Application, parts: list[Returns], field: str
) -> None:
    assert list(await refused(load_factors(data, parts))) == [field]
    assert await rows(application) == [0, 0, 0, 0]
