"""Factor models: versions by name, immutable, and the same numbers to the bit."""

import asyncio
from dataclasses import fields, replace
from datetime import UTC, date, datetime

import numpy as np
import psycopg
import pytest
from storage_examples import PORTFOLIO, analysis, analysis_result, prices

from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.factor_analyses import FactorAnalysisRepository
from storage.factor_model_records import FactorModelHead, FactorModelNumbers, StoredFactorModel
from storage.factor_models import FactorModelRepository
from storage.pricing_packs import PricingPackRepository
from storage.records import Cursor

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
async def pack_id(filled: Database) -> str:
    async with filled.transaction() as connection:
        return (await PricingPackRepository(connection).store(prices(), "by hand")).id


def head(pack_id: str, digit: str = "a", **changes: object) -> FactorModelHead:
    plain = {
        "id": f"fm-{digit * 32}",
        "name": "Styles ü",
        "version": 0,
        "created_at": NEVER,
        "kind": "time_series",
        "pricing_pack_id": pack_id,
        "specification": {"instrument_ids": ["BOND", "STOCK"], "time_series": {"factors": ["value", "size"]}},
        "first_date": date(2022, 12, 26),
        "as_of": date(2022, 12, 28),
        "observations": 2,
        "factors": ("value", "size"),
        "factor_kinds": ("given", "given"),
        "definitions": ("Cheap less dear.", ""),
        "instrument_ids": ("BOND", "STOCK"),
        "summary": {
            "condition_number": 1.25,
            "diagnostics": {"lags": 3.0},
            "factor_covariance": [0.1],
            "data_findings": [{"message": "left out"}],
        },
    }
    return FactorModelHead(**{**plain, **changes})


def numbers(**changes: object) -> FactorModelNumbers:
    plain = {
        "B": np.array([[0.1 + 0.2, -1e-300], [5e-324, 2.0]]),
        "Phi": np.array([[0.04, 0.01 / 3.0], [0.01 / 3.0, 0.09]]),
        "specific": np.array([0.0, 1.0 / 3.0]),
        "unshrunk": np.array([1e-9, 0.5]),
        "alpha": np.array([-0.01, 0.02]),
        "r_squared": np.array([1.0, -0.5]),
        "standard_errors": np.array([[0.1, 0.2], [0.3, 1.0 / 7.0]]),
        "dates": np.array(["2022-12-27", "2022-12-28"], dtype="datetime64[D]"),
        "F": np.array([[0.01, -0.02], [1.0 / 9.0, -0.0]]),
        "risk_free": np.array([1e-4, 1e-5]),
    }
    return FactorModelNumbers(**{**plain, **changes})


async def store(database: Database, model: StoredFactorModel) -> tuple[FactorModelHead, bool]:
    async with database.transaction() as connection:
        return await FactorModelRepository(connection).store(model)


@pytest.mark.parametrize("absent", [(), ("standard_errors", "risk_free")])
async def test_a_model_comes_back_to_the_bit(filled: Database, pack_id: str, absent: tuple[str, ...]) -> None:
    model = StoredFactorModel(head(pack_id), numbers(**dict.fromkeys(absent)))
    stored, created = await store(filled, model)
    assert created
    async with filled.transaction() as connection:
        again = await FactorModelRepository(connection).read(stored.id)
    assert again.head == stored == replace(model.head, version=1, created_at=stored.created_at)
    assert stored.created_at > NEVER
    for field in fields(FactorModelNumbers):
        wanted, found = getattr(model.numbers, field.name), getattr(again.numbers, field.name)
        if field.name in absent:
            assert found is None
            continue
        assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
        assert not found.flags.writeable


async def test_the_same_model_is_stored_once(filled: Database, pack_id: str) -> None:
    first, _ = await store(filled, StoredFactorModel(head(pack_id), numbers()))
    again, created = await store(filled, StoredFactorModel(head(pack_id), numbers(alpha=np.zeros(2))))
    assert not created
    assert again == first
    async with filled.transaction() as connection:
        kept = await FactorModelRepository(connection).numbers(first.id)
    np.testing.assert_array_equal(kept.alpha, numbers().alpha)


async def test_versions_of_a_name_follow_each_other(filled: Database, pack_id: str) -> None:
    for digit, name, version in (("a", "one", 1), ("b", "one", 2), ("c", "two", 1), ("d", "one", 3)):
        stored, _ = await store(filled, StoredFactorModel(head(pack_id, digit, name=name), numbers()))
        assert (stored.name, stored.version) == (name, version)
    async with filled.transaction() as connection:
        models = FactorModelRepository(connection)
        assert (await models.find_by_name("one")).id == f"fm-{'d' * 32}"
        assert (await models.find_by_name("one", 2)).id == f"fm-{'b' * 32}"
        assert (await models.find_by_name("two")).version == 1


@pytest.mark.parametrize("version", [4, 2**31 - 1, 2**31, 2**32 - 1])
async def test_no_other_version_is_found(filled: Database, pack_id: str, version: int) -> None:
    await store(filled, StoredFactorModel(head(pack_id), numbers()))
    with pytest.raises(NotFound, match=f"Styles ü version {version}"):
        async with filled.transaction() as connection:
            await FactorModelRepository(connection).find_by_name("Styles ü", version)


async def test_what_is_not_there_is_not_found(filled: Database, pack_id: str) -> None:
    async with filled.transaction() as connection:
        models = FactorModelRepository(connection)
        for search in (models.find("fm-none"), models.numbers("fm-none"), models.read(""), models.find_by_name("x")):
            with pytest.raises(NotFound, match="factor model"):
                await search


async def test_ten_writers_at_once_make_ten_versions(filled: Database, pack_id: str) -> None:
    models = [StoredFactorModel(head(pack_id, digit), numbers()) for digit in "0123456789"]
    stored = await asyncio.gather(*(store(filled, model) for model in models))
    assert sorted(found.version for found, _ in stored) == list(range(1, 11))
    assert all(created for _, created in stored)
    in_order = sorted((found for found, _ in stored), key=lambda found: found.version)
    assert [found.created_at for found in in_order] == sorted(found.created_at for found in in_order)


async def test_of_ten_writers_of_one_model_one_creates(filled: Database, pack_id: str) -> None:
    stored = await asyncio.gather(*(store(filled, StoredFactorModel(head(pack_id), numbers())) for _ in range(10)))
    assert sorted(created for _, created in stored) == [False] * 9 + [True]
    assert len({found.created_at for found, _ in stored}) == 1
    assert {found.version for found, _ in stored} == {1}


async def test_a_list_is_newest_first_and_light(filled: Database, pack_id: str) -> None:
    for digit, name in zip("abcde", ("one", "two", "one", "two", "one"), strict=True):
        await store(filled, StoredFactorModel(head(pack_id, digit, name=name), numbers()))
    seen: list[FactorModelHead] = []
    before: Cursor | None = None
    async with filled.transaction() as connection:
        models = FactorModelRepository(connection)
        while page := await models.newest(2, before):
            seen += page
            before = Cursor(page[-1].created_at, page[-1].id)
        of_one = await models.newest(10, name="one")
    assert [found.id[-1] for found in seen] == list("edcba")
    assert [found.version for found in of_one] == [3, 2, 1]
    assert {found.instrument_ids for found in seen} == {()}
    assert seen[0].summary == {"condition_number": 1.25, "diagnostics": {"lags": 3.0}}
    assert seen[0].specification == {"time_series": {"factors": ["value", "size"]}}


async def test_a_model_of_no_pricing_pack_is_refused(filled: Database) -> None:
    with pytest.raises(NotFound):
        await store(filled, StoredFactorModel(head("pp-none"), numbers()))


@pytest.mark.parametrize(
    "wrong", [{"name": "x" * 37}, {"name": ""}, {"id": "fm-1"}, {"kind": "magic"}, {"first_date": None}]
)
async def test_a_head_that_cannot_be_is_refused_and_nothing_kept(
    filled: Database, pack_id: str, wrong: dict[str, object]
) -> None:
    with pytest.raises(Conflict):
        await store(filled, StoredFactorModel(head(pack_id, **wrong), numbers()))
    async with filled.transaction() as connection:
        assert await FactorModelRepository(connection).newest(10) == ()


CHANGES = [
    "UPDATE factor_models SET name = 'x'",
    "DELETE FROM factor_models",
    "TRUNCATE factor_models",
    "UPDATE factor_model_numbers SET numbers = ''",
    "DELETE FROM factor_model_numbers",
    "TRUNCATE factor_model_numbers",
    "INSERT INTO factor_model_numbers SELECT number, 'more', '{0}', '' FROM factor_models",
    "INSERT INTO factor_model_numbers VALUES (1000, 'B', '{0}', '')",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_stored_never_changes(filled: Database, pack_id: str, change: str) -> None:
    stored, _ = await store(filled, StoredFactorModel(head(pack_id), numbers()))
    with pytest.raises(Conflict, match="immutable"):
        async with filled.transaction() as connection:
            await connection.execute(change)
    async with filled.transaction() as connection:
        again = await FactorModelRepository(connection).read(stored.id)
    assert again.head == stored
    np.testing.assert_array_equal(again.numbers.B, numbers().B)


async def test_a_second_model_of_a_version_is_refused(filled: Database, database_url: str, pack_id: str) -> None:
    await store(filled, StoredFactorModel(head(pack_id), numbers()))
    columns = (
        "name, version, kind, pricing_pack_id, specification, first_date, as_of, observations, factors, factor_kinds, "
        "definitions, instrument_ids, days, summary"
    )
    copy = f"INSERT INTO factor_models (id, {columns}) SELECT 'fm-{'f' * 32}', {columns} FROM factor_models"
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(copy.encode())


async def test_the_latest_analysis_is_the_one_completed_and_made_last(filled: Database) -> None:
    async with filled.transaction() as connection:
        analyses = FactorAnalysisRepository(connection)
        with pytest.raises(NotFound, match=PORTFOLIO.id):
            await analyses.latest(PORTFOLIO.id)
        made = [analysis(created_at=datetime(2022, 12, day, tzinfo=UTC)) for day in (1, 3, 2, 4)]
        for request in made:
            await analyses.create(request)
        for request in made[:3]:
            await analyses.complete(request.id, "completed", analysis_result(request.id), None)
        assert (await analyses.latest(PORTFOLIO.id)).request.id == made[1].id


async def test_a_list_of_analyses_can_leave_instruments_out(filled: Database) -> None:
    risk = {"volatility": 0.2, "instruments": [{"instrument_id": "STOCK"}]}
    details = {"instruments": [{"instrument_id": "STOCK"}], "r_squared": 0.5, "risk": risk, "active_risk": risk}
    async with filled.transaction() as connection:
        analyses = FactorAnalysisRepository(connection)
        request = analysis()
        await analyses.create(request)
        await analyses.complete(request.id, "completed", replace(analysis_result(request.id), details=details), None)
        (whole,) = await analyses.page(PORTFOLIO.id, 10)
        (light,) = await analyses.page_without_instruments(PORTFOLIO.id, 10)
    assert whole.result is not None
    assert whole.result.details == details
    left = {"r_squared": 0.5, "risk": {"volatility": 0.2}, "active_risk": {"volatility": 0.2}}
    assert light.result == replace(whole.result, details=left)
