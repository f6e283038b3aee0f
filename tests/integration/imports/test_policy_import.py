"""Policies from a file into the database: new versions where something is new, and all or nothing."""

import argparse
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from server.imports.commands import add_policies_command, run_import
from server.imports.policies import import_policies
from server.imports.problems import ImportRefusedError
from storage.database import Database
from storage.policies import PolicyRepository


def file_of(tmp_path: Path, **limits: float) -> Path:
    path = tmp_path / "policies.json"
    policies = [{"id": name, "max_turnover_pct": limit} for name, limit in limits.items()]
    path.write_text(json.dumps({"schema_version": "1.0", "policies": policies}))
    return path


async def versions(database: Database, policy_id: str) -> list[Decimal | None]:
    async with database.transaction() as connection:
        found = await PolicyRepository(connection).page(100, (policy_id, 0), older=True)
    return [policy.max_turnover for policy in found if policy.id == policy_id]


async def test_what_is_new_is_a_version_and_what_is_not_is_left_alone(database: Database, tmp_path: Path):
    report = await import_policies(database, file_of(tmp_path, a=0.1, b=0.2))
    assert (report.counts, report.created) == ({"new versions": 2, "unchanged": 0}, True)
    again = await import_policies(database, file_of(tmp_path, a=0.1, b=0.2))
    assert (again.counts, again.created) == ({"new versions": 0, "unchanged": 2}, False)
    changed = await import_policies(database, file_of(tmp_path, a=0.1, b=0.3))
    assert changed.counts == {"new versions": 1, "unchanged": 1}
    assert await versions(database, "a") == [Decimal("0.1")]
    assert await versions(database, "b") == [Decimal("0.2"), Decimal("0.3")]


async def test_a_bad_policy_keeps_the_good_ones_out(database: Database, tmp_path: Path):
    with pytest.raises(ImportRefusedError, match=r"policies\[1\]\.max_turnover_pct"):
        await import_policies(database, file_of(tmp_path, a=0.1, b=1.2))
    assert await versions(database, "a") == []


async def test_the_command(database: Database, tmp_path: Path):
    parser = argparse.ArgumentParser()
    add_policies_command(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["load-policies", str(file_of(tmp_path, a=0.1))])
    output, errors = io.StringIO(), io.StringIO()
    assert await run_import(database, arguments, output, errors) == 0
    assert output.getvalue() == "policies a: stored; policies.json, 1 rows, 1 new versions, 0 unchanged\n"
    arguments.file.write_text("{}")
    assert await run_import(database, arguments, output, errors) == 1
    assert "nothing was imported" in errors.getvalue()
