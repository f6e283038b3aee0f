"""Versions of policies: added in turn, never changed, and the same for every reader."""

from dataclasses import replace
from decimal import Decimal

import pytest

from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.policies import Policy, PolicyRepository

FIRST = Policy(id="mine", name="Mine", min_quality_score=Decimal("6.50"), max_turnover=Decimal("0.2"))
SECOND = replace(FIRST, version=2, max_turnover=None, max_sector=Decimal("0.3000000000000000001"))


async def test_versions_come_back_as_they_were(database: Database):
    async with database.transaction() as connection:
        policies = PolicyRepository(connection)
        await policies.add(FIRST)
        await policies.add(SECOND)
        assert await policies.find("mine") == SECOND
        assert await policies.find("mine", 1) == FIRST
        assert await policies.newest_version("mine") == 2
        assert await policies.newest_version("other") == 0


async def test_lists_are_in_order_with_older_versions_on_request(database: Database):
    async with database.transaction() as connection:
        policies = PolicyRepository(connection)
        await policies.add(FIRST)
        await policies.add(SECOND)
        newest = await policies.page(10)
        assert [policy.id for policy in newest] == sorted(policy.id for policy in newest)
        assert SECOND in newest
        assert FIRST not in newest
        assert [policy.version for policy in await policies.page(2, ("mine", 0), older=True)] == [1, 2]
        assert (await policies.page(1, ("mine", 1), older=True)) == (SECOND,)


@pytest.mark.parametrize("version", [1, 3])
async def test_versions_out_of_turn_are_refused(database: Database, version: int):
    async with database.transaction() as connection:
        await PolicyRepository(connection).add(FIRST)
    with pytest.raises(Conflict, match=f"previous_version is {version - 1}, but its newest version is 1"):
        async with database.transaction() as connection:
            await PolicyRepository(connection).add(replace(FIRST, version=version))


async def test_the_table_itself_refuses_holes_and_changes(database: Database):
    async with database.transaction() as connection:
        await PolicyRepository(connection).add(FIRST)
    for statement in (
        "UPDATE policies SET name = 'Yours'",
        "DELETE FROM policies",
        "TRUNCATE policies",
        "INSERT INTO policies (id, version, name, max_sector, method_version) VALUES ('mine', 3, '', 0.1, 'v1')",
    ):
        with pytest.raises(Conflict, match=r"refused|no version 2"):
            async with database.transaction() as connection:
                await connection.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "x" * 37},
        {"min_quality_score": Decimal("10.1")},
        {"min_quality_score": Decimal("NaN")},
        {"max_single_position": Decimal(0)},
        {"max_sector": Decimal("1.1")},
        {"max_tracking_error": Decimal("Infinity")},
        {"max_tracking_error": Decimal("NaN")},
        {"max_turnover": Decimal("-0.1")},
        {"name": "a\0b"},
    ],
)
async def test_impossible_policies_are_a_conflict(database: Database, change: dict[str, object]):
    with pytest.raises(Conflict):
        async with database.transaction() as connection:
            await PolicyRepository(connection).add(replace(FIRST, **change))


async def test_what_is_not_there_is_named(database: Database):
    async with database.transaction() as connection:
        policies = PolicyRepository(connection)
        with pytest.raises(NotFound, match="policy not found: nothing"):
            await policies.find("nothing")
        with pytest.raises(NotFound, match="quality_focused version 9"):
            await policies.find("quality_focused", 9)
