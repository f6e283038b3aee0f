"""Import of policies from a JSON file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from server.convert.policies import LIMIT_BOUNDS, METHOD_VERSIONS
from server.imports.problems import Problems, refusal
from server.imports.progress import Progress, ProgressCallback, no_progress
from server.imports.report import ImportReport
from server.imports.rows import MAX_ID, MAX_TEXT
from storage.database import Database
from storage.errors import NotFound
from storage.policies import Policy, PolicyRepository

EXAMPLE = """{
  "schema_version": "1.0",
  "policies": [
    {
      "id": "quality_focused", "name": "Quality-Focused Balanced", "min_quality_score": 6.0,
      "max_single_position_pct": 0.10, "max_sector_pct": 0.25, "max_tracking_error_pct": 0.02,
      "max_turnover_pct": 0.20, "method_version": "v1"
    }
  ]
}"""
SCHEMA_VERSIONS = ("1.0",)
# Field of the file -> limit; numbers named pct are fractions.
LIMIT_FIELDS = {
    "min_quality_score": "min_quality_score",
    "max_single_position_pct": "max_single_position",
    "max_sector_pct": "max_sector",
    "max_tracking_error_pct": "max_tracking_error",
    "max_turnover_pct": "max_turnover",
}
TEXTS = ("id", "name", "method_version")


async def import_policies(database: Database, path: Path, progress: ProgressCallback = no_progress) -> ImportReport:
    """Loads policies: one whose content is new becomes a new version, one that is as the newest is left alone.

    Raises:
        ImportRefusedError: Anything in the file is wrong; nothing is stored.
        Conflict: Somebody else has added a version meanwhile.
    """
    policies = await asyncio.to_thread(parse_policies, path)
    added = 0
    async with database.transaction() as connection:
        repository = PolicyRepository(connection)
        for policy in policies:
            newest = await _newest(repository, policy.id)
            if newest is not None and _same(newest, policy):
                continue
            await repository.add(replace(policy, version=1 if newest is None else newest.version + 1))
            added += 1
    progress(Progress(path.name, len(policies), 1.0))
    counts = {"new versions": added, "unchanged": len(policies) - added}
    names = ", ".join(policy.id for policy in policies)
    return ImportReport(
        noun="policies", file=path.name, rows=len(policies), identifier=names, created=added > 0, counts=counts
    )


async def _newest(repository: PolicyRepository, policy_id: str) -> Policy | None:
    try:
        return await repository.find(policy_id)
    except NotFound:
        return None


def _same(stored: Policy, policy: Policy) -> bool:
    """Whether all but version and time are equal."""
    return replace(policy, version=stored.version, created_at=stored.created_at) == stored


def parse_policies(path: Path) -> tuple[Policy, ...]:
    """Reads policies as in `EXAMPLE`; a limit that is left out is not set, and a name that is left out is the id.

    Args:
        path: A JSON file.

    Raises:
        ImportRefusedError: With every fault, each under the path of its field.
    """
    content = _load(path)
    problems = Problems(path.name)
    for name in sorted(content.keys() - {"schema_version", "policies"}):
        problems.add(None, "is no field of this file", value=name)
    if content.get("schema_version") not in SCHEMA_VERSIONS:
        problems.add(None, f"is not one of {', '.join(SCHEMA_VERSIONS)}", column="schema_version")
    items = content.get("policies")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        problems.add(None, "is not a list of one or more objects", column="policies")
        items = []
    policies = tuple(_policy(f"policies[{place}]", item, problems) for place, item in enumerate(items))
    ids = [policy.id for policy in policies if policy.id]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        problems.add(None, "appears twice", column="policies", value=name)
    problems.raise_if_any()
    return policies


def _load(path: Path) -> dict[str, Any]:
    """The file's object, with every number as it is written."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(path.name, f"cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise refusal(path.name, "does not hold one JSON object")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _policy(at: str, item: dict[str, Any], problems: Problems) -> Policy:
    for name in sorted(item.keys() - {*TEXTS, *LIMIT_FIELDS}):
        problems.add(None, "is no field of a policy", column=at, value=name)
    policy_id = _text(f"{at}.id", item.get("id"), MAX_ID, problems)
    if not policy_id:
        problems.add(None, "is empty", column=f"{at}.id")
    version = _text(f"{at}.method_version", item.get("method_version"), MAX_TEXT, problems) or METHOD_VERSIONS[0]
    if version not in METHOD_VERSIONS:
        problems.add(None, f"is not one of {', '.join(METHOD_VERSIONS)}", column=f"{at}.method_version", value=version)
    limits: dict[str, Any] = {
        limit: _limit(f"{at}.{name}", item.get(name), limit, problems) for name, limit in LIMIT_FIELDS.items()
    }
    if all(limit is None for limit in limits.values()):
        problems.add(None, "sets no limit", column=at)
    name = _text(f"{at}.name", item.get("name"), MAX_TEXT, problems)
    return Policy(id=policy_id, name=name or policy_id, method_version=version, **limits)


def _text(at: str, value: object, longest: int, problems: Problems) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        problems.add(None, f"is not a text of at most {longest} characters", column=at)
        return ""
    return value


def _limit(at: str, value: object, limit: str, problems: Problems) -> Decimal | None:
    if value is None:
        return None
    if not isinstance(value, Decimal):
        problems.add(None, "is not a number", column=at, value=str(value)[:MAX_TEXT])
        return None
    bounds = LIMIT_BOUNDS[limit]
    if not bounds.hold(float(value)):
        problems.add(None, f"is not {bounds}", column=at, value=str(value)[:MAX_TEXT])
    return value
