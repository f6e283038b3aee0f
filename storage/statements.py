"""Named SQL: every statement of this package stands in ``storage/sql`` under a line ``-- name: ...``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TypeAlias

Statements: TypeAlias = Mapping[str, bytes]

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def parse_statements(text: str) -> Statements:
    """Splits a file into its statements.

    Returns:
        Name to SQL, as bytes: what the driver takes as is, and what no caller builds by accident from other strings.

    Raises:
        ValueError: Two statements have one name.
    """
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"statement names are not distinct: {sorted(names)}")
    return MappingProxyType({name: body.strip().encode() for name, body in zip(names, bodies, strict=True)})


@cache
def load_statements(noun: str) -> Statements:
    """The statements of ``storage/sql/<noun>.sql``, read once."""
    return parse_statements((resources.files("storage") / "sql" / f"{noun}.sql").read_text(encoding="utf-8"))
