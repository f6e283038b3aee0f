"""Tax rules from small tables."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from server.imports.problems import ImportRefusedError
from server.imports.rows import TableOptions
from server.imports.tax_rules import parse_tax_rules
from storage.records import TaxRule

HEADER = "jurisdiction,valid_from,long_term_months,wash_sale_days,yearly_loss_limit,separate_loss_limit,source\n"
ROW = "US,1978-01-01,12,30,3000,1500.50,26 USC\n"


def table(directory: Path, *rows: str) -> Path:
    path = directory / "rules.csv"
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def test_rules_with_and_without_a_source(tmp_path: Path) -> None:
    rules = parse_tax_rules(table(tmp_path, ROW, "XX,2020-01-01,0,0,0,0,\n"), TableOptions())
    first = TaxRule(
        jurisdiction="US",
        valid_from=date(1978, 1, 1),
        long_term_months=12,
        wash_sale_days=30,
        yearly_loss_limit=Decimal(3000),
        separate_loss_limit=Decimal("1500.50"),
        source="26 USC",
    )
    assert rules[0] == first
    assert (rules[1].long_term_months, rules[1].wash_sale_days, rules[1].source) == (0, 0, "rules.csv")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (",1978-01-01,12,30,3000,1500,\n", "jurisdiction"),
        ("X" * 37 + ",1978-01-01,12,30,3000,1500,\n", "jurisdiction"),
        ("US,,12,30,3000,1500,\n", "valid_from"),
        ("US,1.1.78,12,30,3000,1500,\n", "valid_from"),
        ("US,1978-01-01,,30,3000,1500,\n", "long_term_months"),
        ("US,1978-01-01,12.5,30,3000,1500,\n", "long_term_months"),
        ("US,1978-01-01,-1,30,3000,1500,\n", "long_term_months"),
        ("US,1978-01-01,1201,30,3000,1500,\n", "long_term_months"),
        ("US,1978-01-01,12,367,3000,1500,\n", "wash_sale_days"),
        ("US,1978-01-01,12,30,-1,1500,\n", "yearly_loss_limit"),
        ("US,1978-01-01,12,30,3000,nan,\n", "separate_loss_limit"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, column: str) -> None:
    with pytest.raises(ImportRefusedError) as caught:
        parse_tax_rules(table(tmp_path, "YY,1978-01-01,12,30,3000,1500,\n", row), TableOptions())
    assert {(problem.row, problem.column) for problem in caught.value.problems} == {(3, column)}


def test_rules_that_begin_twice(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as caught:
        parse_tax_rules(table(tmp_path, ROW, ROW), TableOptions())
    assert [problem.column for problem in caught.value.problems] == ["valid_from"]
