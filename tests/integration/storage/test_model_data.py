"""Model data: addressed by content, immutable, and the same numbers to the bit."""

import asyncio
import hashlib
import json
from datetime import date

import numpy as np
import pytest

from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.model_data import ModelDataRepository
from storage.records import CovarianceSet, ExposureSet, ForecastPeriod, ForecastSet, ModelSet, ScenarioSet

DAY = date(2022, 12, 28)
BOTH = ("STOCK", "BOND")


def scenarios(**changes: object) -> ScenarioSet:
    plain = {
        "as_of": DAY,
        "instrument_ids": BOTH,
        "days": 21,
        "probabilities": np.array([0.25, 0.5, 0.25]),
        "returns": np.array([[0.1 + 0.2, -0.5], [1e-300, 0.0], [-0.25, 0.125]]),
        "names": ("", "crash", ""),
    }
    return ScenarioSet(**{**plain, **changes})


def forecast(**changes: object) -> ForecastSet:
    periods = (ForecastPeriod(21, {"STOCK": 0.3, "BOND": 0.02}), ForecastPeriod(252, {"BOND": -0.01}))
    return ForecastSet(**{"as_of": DAY, "periods": periods, **changes})


def covariance(**changes: object) -> CovarianceSet:
    plain = {"as_of": DAY, "instrument_ids": BOTH, "Sigma": np.array([[0.09, -0.01], [-0.01, 0.0004]])}
    return CovarianceSet(**{**plain, **changes})


def exposures(**changes: object) -> ExposureSet:
    plain = {
        "as_of": DAY,
        "factors": ("value", "momentum", "size"),
        "instrument_ids": BOTH,
        "B": np.array([[1.0, -2.0, 0.0], [0.5, 1e-9, 3.0]]),
        "specific": np.array([np.nan, 0.01]),
    }
    return ExposureSet(**{**plain, **changes})


SETS = (scenarios(), forecast(), covariance(), exposures())
TABLES = ("model_data", "model_columns")


async def store(database: Database, model: ModelSet, source: str = "by hand") -> bool:
    async with database.transaction() as connection:
        return await ModelDataRepository(connection).store(model, source)


async def read(database: Database, model: ModelSet) -> ModelSet:
    async with database.transaction() as connection:
        models = ModelDataRepository(connection)
        kinds = {
            ScenarioSet: models.scenarios,
            ForecastSet: models.forecast,
            CovarianceSet: models.covariance,
            ExposureSet: models.exposures,
        }
        return await kinds[type(model)](model.id)


async def counts(database: Database) -> list[int]:
    async with database.transaction() as connection:
        found = [
            await (await connection.execute(f"SELECT count(*) FROM {name}".encode())).fetchone() for name in TABLES
        ]
    return [row[0] for row in found if row is not None]


@pytest.mark.parametrize("model", SETS, ids=lambda model: type(model).__name__)
async def test_a_set_comes_back_to_the_bit(filled: Database, model: ModelSet):
    assert await store(filled, model)
    again = await read(filled, model)
    assert type(again) is type(model)
    assert again.id == model.id
    one, other = model.packed(), again.packed()
    np.testing.assert_array_equal(one.columns, other.columns)
    assert (one.as_of, one.instrument_ids, one.labels, one.days) == (
        other.as_of,
        other.instrument_ids,
        other.labels,
        other.days,
    )


def test_instruments_stand_in_the_order_of_their_ids():
    assert scenarios().instrument_ids == covariance().instrument_ids == exposures().instrument_ids == ("BOND", "STOCK")
    np.testing.assert_array_equal(scenarios().returns[0], [-0.5, 0.1 + 0.2])
    np.testing.assert_array_equal(covariance().Sigma, [[0.0004, -0.01], [-0.01, 0.09]])
    np.testing.assert_array_equal(exposures().B[0], [0.5, 1e-9, 3.0])
    np.testing.assert_array_equal(exposures().specific, [0.01, np.nan])
    assert forecast().instrument_ids == ("BOND", "STOCK")


def test_an_id_is_the_hash_of_the_content():
    """Names as JSON, then the numbers as little-endian float8, column by column."""
    names = ["2022-12-28", ["BOND", "STOCK"], [], [], [2, 2]]
    numbers = np.array([0.0004, -0.01, -0.01, 0.09], dtype="<f8").tobytes()
    assert covariance().id == f"cv-{hashlib.sha256(json.dumps(names).encode() + numbers).hexdigest()[:32]}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (covariance(), covariance(instrument_ids=BOTH[::-1], Sigma=covariance().Sigma)),
        (exposures(), exposures(instrument_ids=("BOND", "STOCK"), B=exposures().B, specific=exposures().specific)),
        (scenarios(), scenarios(returns=np.array([[0.1 + 0.2, -0.5], [1e-300, -0.0], [-0.25, 0.125]]))),
        (scenarios(names=()), scenarios(names=("", "", ""))),
        (
            forecast(),
            forecast(periods=tuple(ForecastPeriod(p.days, {**p.expected_returns}) for p in forecast().periods)),
        ),
    ],
)
def test_what_is_no_content_does_not_change_the_id(one: ModelSet, other: ModelSet):
    assert one.id == other.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scenarios(), scenarios(days=22)),
        (scenarios(), scenarios(names=("crash", "", ""))),
        (scenarios(), scenarios(probabilities=np.array([0.25, 0.25, 0.5]))),
        (scenarios(), scenarios(instrument_ids=BOTH, returns=scenarios().returns)),
        (forecast(), forecast(periods=forecast().periods[::-1])),
        (covariance(), covariance(as_of=date(2022, 12, 29))),
        (covariance(), covariance(instrument_ids=("BOND", "STOCK"))),
        (exposures(), exposures(factors=("momentum", "value", "size"))),
        (exposures(), exposures(specific=np.array([0.0, 0.01]))),
    ],
)
def test_what_is_content_changes_the_id(one: ModelSet, other: ModelSet):
    assert one.id != other.id


@pytest.mark.parametrize("model", SETS, ids=lambda model: type(model).__name__)
async def test_the_same_content_is_the_same_set(filled: Database, model: ModelSet):
    assert await store(filled, model, "first")
    before = await counts(filled)
    assert not await store(filled, model, "second")
    assert await counts(filled) == before
    async with filled.transaction() as connection:
        assert await (await connection.execute("SELECT source FROM model_data")).fetchone() == ("first",)


async def test_of_concurrent_loads_one_writes(filled: Database):
    created = await asyncio.gather(*(store(filled, scenarios(), str(place)) for place in range(4)))
    assert sorted(created) == [False, False, False, True]


async def test_a_set_with_unknown_instruments_leaves_nothing(filled: Database):
    for model in (covariance(instrument_ids=("GOLD", "STOCK")), scenarios(instrument_ids=("GOLD", "STOCK"))):
        with pytest.raises(NotFound, match="GOLD"):
            await store(filled, model)
    assert await counts(filled) == [0, 0]


async def test_a_set_is_found_as_what_it_is(filled: Database):
    await store(filled, scenarios())
    async with filled.transaction() as connection:
        models = ModelDataRepository(connection)
        for search in (
            models.scenarios("sc-none"),
            models.covariance(scenarios().id),
            models.forecast(""),
            models.exposures("fe-none"),
        ):
            with pytest.raises(NotFound):
                await search


async def test_a_large_set_comes_back_whole(filled: Database):
    """Columns far above the size that stays in a row."""
    rng = np.random.default_rng(3)
    returns = rng.normal(scale=0.01, size=(100_000, 2))
    weights = rng.uniform(1.0, 2.0, size=100_000)
    large = scenarios(probabilities=weights / weights.sum(), returns=returns, names=())
    assert await store(filled, large)
    again = await read(filled, large)
    assert isinstance(again, ScenarioSet)
    np.testing.assert_array_equal(again.returns, returns[:, ::-1])
    assert again.id == large.id


CHANGES = [
    "UPDATE model_data SET source = 'x'",
    "DELETE FROM model_data",
    "TRUNCATE model_data",
    "UPDATE model_columns SET numbers = ''",
    "DELETE FROM model_columns",
    "TRUNCATE model_columns",
    "INSERT INTO model_columns SELECT number, 100, '' FROM model_data",
    "INSERT INTO model_columns VALUES (1000, 0, '')",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_stored_never_changes(filled: Database, change: str):
    await store(filled, covariance())
    with pytest.raises(Conflict, match="immutable"):
        async with filled.transaction() as connection:
            await connection.execute(change)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: scenarios(probabilities=np.ones(2)),
        lambda: scenarios(names=("crash",)),
        lambda: scenarios(returns=np.full((3, 2), np.nan)),
        lambda: scenarios(instrument_ids=("BOND", "BOND")),
        lambda: covariance(Sigma=np.array([[1.0, 0.5], [0.4, 1.0]])),
        lambda: covariance(Sigma=np.full((2, 2), np.inf)),
        lambda: covariance(Sigma=np.eye(3)),
        lambda: exposures(factors=("value", "value", "size")),
        lambda: exposures(specific=np.array([np.inf, 0.0])),
        lambda: exposures(B=np.eye(2)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"shape|finite|distinct|symmetric|names of"):
        wrong()


@pytest.mark.parametrize("array", [scenarios().returns, scenarios().probabilities, covariance().Sigma, exposures().B])
def test_arrays_are_closed_for_writing(array: np.ndarray):
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0.0
