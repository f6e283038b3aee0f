"""The sample in a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from server.sample import files
from server.sample.data import build_sample
from server.sample.files import SampleUnavailableError
from server.sample.loading import load_sample, load_sample_if_empty
from storage.database import Database
from storage.factors import FactorRepository
from storage.portfolios import PortfolioRepository
from storage.pricing_packs import PricingPackRepository


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        files.read_levels(files.INDEX_FILE)
    except SampleUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, max_connections=2) as database:
        yield database


async def test_the_sample_comes_back_as_it_was_built(database: Database) -> None:
    loaded, sample = await load_sample(database), build_sample()
    async with database.transaction() as connection:
        prices = await PricingPackRepository(connection).read(loaded.pack_id, sample.prices.instrument_ids)
        factors = await FactorRepository(connection).read(loaded.factor_set_id)
        growth = await PortfolioRepository(connection).find("sample-growth")
    np.testing.assert_array_equal(prices.closes, sample.prices.closes)
    np.testing.assert_array_equal(factors.returns, sample.factors.returns)
    assert loaded.pack_id == sample.prices.content_id
    assert loaded.portfolio_ids == ("sample-growth", "sample-defensive")
    assert replace(growth, updated_at=sample.portfolios[0].updated_at) == sample.portfolios[0]


async def test_only_an_empty_database_gets_the_sample(database: Database) -> None:
    assert await load_sample_if_empty(database) is not None
    async with database.transaction() as connection:
        portfolios = PortfolioRepository(connection)
        await portfolios.put(replace(await portfolios.find("sample-growth"), cash=Decimal(1)))
    assert await load_sample_if_empty(database) is None
    async with database.transaction() as connection:
        assert (await PortfolioRepository(connection).find("sample-growth")).cash == 1


async def test_loading_again_restores_the_sample(database: Database) -> None:
    first = await load_sample(database)
    assert await load_sample(database) == first


async def test_nothing_is_kept_when_a_part_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object) -> None:
        raise RuntimeError("the last portfolio fails")

    monkeypatch.setattr(PortfolioRepository, "put", fail)
    with pytest.raises(RuntimeError, match="the last portfolio"):
        await load_sample(database)
    async with database.transaction() as connection:
        assert not await PricingPackRepository(connection).page(1)


async def test_an_empty_database_without_the_files_says_what_to_install(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(SampleUnavailableError, match="extra `sample`"):
        await load_sample_if_empty(database)
