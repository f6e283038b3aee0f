"""Files of policies: what they say exactly, and every fault under the path of its field."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from server.imports.policies import EXAMPLE, parse_policies
from server.imports.problems import ImportRefusedError

TEMPLATES = Path(__file__).resolve().parents[5] / "shared" / "spec" / "policy" / "policy_templates.json"


def written(tmp_path, text):
    path = tmp_path / "policies.json"
    path.write_text(text)
    return path


def file_of(tmp_path, *policies, **changes):
    return written(tmp_path, json.dumps({"schema_version": "1.0", "policies": list(policies), **changes}))


def complaints(path):
    with pytest.raises(ImportRefusedError) as caught:
        parse_policies(path)
    return [(problem.column, problem.reason) for problem in caught.value.problems]


def test_the_example_is_one(tmp_path):
    (policy,) = parse_policies(written(tmp_path, EXAMPLE))
    assert (policy.id, policy.name, policy.method_version) == ("quality_focused", "Quality-Focused Balanced", "v1")
    assert policy.min_quality_score == Decimal("6.0")
    assert policy.max_tracking_error == Decimal("0.02")


def test_the_templates_are_three():
    if not TEMPLATES.exists():
        pytest.skip("the shared policy templates are not beside the project")
    policies = parse_policies(TEMPLATES)
    assert [policy.id for policy in policies] == ["quality_focused", "aggressive_growth", "conservative_income"]
    assert [str(policy.max_tracking_error) for policy in policies] == ["0.02", "0.05", "0.015"]


def test_numbers_stay_as_they_are_written_and_absent_ones_are_not_set(tmp_path):
    text = '{"schema_version": "1.0", "policies": [{"id": "p", "max_sector_pct": 0.1234567890123456789}]}'
    (policy,) = parse_policies(written(tmp_path, text))
    assert policy.max_sector == Decimal("0.1234567890123456789")
    assert policy.max_turnover is None
    assert (policy.name, policy.method_version) == ("p", "v1")


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"id": ""}, "policies[0].id"),
        ({"id": 7}, "policies[0].id"),
        ({"id": "x" * 37}, "policies[0].id"),
        ({"name": "a\nb"}, "policies[0].name"),
        ({"method_version": "v9"}, "policies[0].method_version"),
        ({"min_quality_score": -1}, "policies[0].min_quality_score"),
        ({"min_quality_score": "6"}, "policies[0].min_quality_score"),
        ({"min_quality_score": True}, "policies[0].min_quality_score"),
        ({"max_single_position_pct": 0}, "policies[0].max_single_position_pct"),
        ({"max_sector_pct": 25}, "policies[0].max_sector_pct"),
        ({"max_tracking_error_pct": -0.1}, "policies[0].max_tracking_error_pct"),
        ({"max_turnover_pct": 1.1}, "policies[0].max_turnover_pct"),
        ({"max_turnover": 0.1}, "policies[0]"),
    ],
)
def test_faults_have_their_place(tmp_path, change, column):
    found = complaints(file_of(tmp_path, {"id": "p", "max_turnover_pct": 0.2, **change}))
    assert column in [place for place, _ in found]


def test_faults_of_the_whole_file(tmp_path):
    assert complaints(file_of(tmp_path, {"id": "p"})) == [("policies[0]", "sets no limit")]
    twice = {"id": "p", "max_turnover_pct": 0.2}
    assert complaints(file_of(tmp_path, twice, twice)) == [("policies", "appears twice")]
    assert complaints(file_of(tmp_path)) == [("policies", "is not a list of one or more objects")]
    assert complaints(file_of(tmp_path, twice, schema_version="2.0")) == [("schema_version", "is not one of 1.0")]
    assert complaints(file_of(tmp_path, twice, more=1)) == [(None, "is no field of this file")]


@pytest.mark.parametrize("text", ["", "[]", '{"policies": NaN}', "[" * 100_000, '{"schema_version": "1.0"}'])
def test_what_is_no_file_of_policies(tmp_path, text):
    assert complaints(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path):
    assert complaints(tmp_path / "none.json")
