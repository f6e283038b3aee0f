"""Named SQL: found by its name, and all of it used."""

from pathlib import Path

import pytest

import storage
from storage.statements import load_statements, parse_statements

PACKAGE = Path(storage.__file__).parent
NOUNS = sorted(file.stem for file in (PACKAGE / "sql").glob("*.sql"))
CODE = "".join(file.read_text() for file in PACKAGE.glob("*.py"))


def test_a_file_is_split_at_its_names():
    text = "-- about the file\n\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT\n    2;\n"
    assert parse_statements(text) == {"one": b"-- why\nSELECT 1;", "two": b"SELECT\n    2;"}


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="not distinct"):
        parse_statements("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")


@pytest.mark.parametrize("noun", NOUNS)
def test_every_statement_is_one_and_used(noun: str):
    statements = load_statements(noun)
    assert statements
    for name, statement in statements.items():
        assert statement.endswith(b";")
        assert statement.count(b";") == 1
        assert f'"{name}"' in CODE
