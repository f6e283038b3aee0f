"""Reads the shared known-answer cases, where they stand beside the project."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

GOLDENS = Path(__file__).resolve().parents[5] / "shared" / "goldens" / "rebalancing"


def load_cases(group):
    """The cases of a group by id, all numbers as Decimals; skips the test module if there are none."""
    path = GOLDENS / f"{group}.json"
    if not path.exists():
        pytest.skip(f"the shared {group} cases are not beside the project", allow_module_level=True)
    cases = json.loads(path.read_text(), parse_float=Decimal)["cases"]
    return {case["id"]: case for case in cases}
