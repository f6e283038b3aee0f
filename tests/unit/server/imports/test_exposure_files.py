"""Exposures to factors from CSV and Parquet: both forms, and every fault with its place."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.imports.exposures import ExposureOptions, parse_exposures
from server.imports.problems import ImportRefusedError
from storage.records import ExposureSet

DAY = date(2022, 12, 28)
KNOWN = frozenset({"AAPL", "KO"})
WIDE = "instrument_id,specific_volatility,Value,momentum\nKO,0.125,0.1,-2\nAAPL,,1e-3,0\n"
LONG = """factor,instrument_id,exposure
Value,KO,0.1
momentum,KO,-2
Value,AAPL,0.001
momentum,AAPL,0
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "exposures.csv"
    path.write_text(text, encoding="utf-8")
    return path


def parse(path: Path, **columns: str) -> ExposureSet:
    return parse_exposures(path, ExposureOptions(DAY, columns), KNOWN)[0]


def faults(path: Path, **columns: str) -> list[str]:
    with pytest.raises(ImportRefusedError) as refused:
        parse(path, **columns)
    return [str(problem).removeprefix("exposures.csv").removeprefix(": ").strip() for problem in refused.value.problems]


@pytest.mark.parametrize(("text", "rows", "specific"), [(WIDE, 2, [np.nan, 0.125]), (LONG, 4, [np.nan, np.nan])])
def test_wide_and_long_files_hold_the_same(tmp_path: Path, text: str, rows: int, specific: list[float]) -> None:
    found, count = parse_exposures(written(tmp_path, text), ExposureOptions(DAY), KNOWN)
    assert count == rows
    assert (found.as_of, found.factors, found.instrument_ids) == (DAY, ("Value", "momentum"), ("AAPL", "KO"))
    np.testing.assert_array_equal(found.B, [[0.001, 0.0], [0.1, -2.0]])
    np.testing.assert_array_equal(found.specific, specific)


def test_the_order_of_rows_is_no_content(tmp_path: Path) -> None:
    first = parse(written(tmp_path, WIDE)).id
    header, ko, aapl = WIDE.splitlines()
    assert parse(written(tmp_path, "\n".join((header, aapl, ko)))).id == first


def test_columns_of_other_names(tmp_path: Path) -> None:
    wide = WIDE.replace("instrument_id", "Ticker").replace("specific_volatility", "resid")
    assert parse(written(tmp_path, wide), instrument_id="Ticker", specific_volatility="resid").id == (
        parse(written(tmp_path, WIDE)).id
    )
    long = LONG.replace("exposure", "beta").replace("factor", "style")
    assert parse(written(tmp_path, long), factor="style", exposure="beta").id == parse(written(tmp_path, LONG)).id


def test_a_parquet_file_keeps_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "exposures.parquet"
    numbers = [0.1 + 0.2, -1.0 / 3.0]
    pq.write_table(pa.table({"instrument_id": ["AAPL", "KO"], "value": numbers}), path)
    np.testing.assert_array_equal(parse(path).B[:, 0], numbers)


def test_every_bad_cell_of_a_wide_file_is_named(tmp_path: Path) -> None:
    rows = ["KO,-0.1,nan,1", "KO,0.1,,inf", "GOLD,x,1e7,1", ",1,1,1_0"]
    text = "\n".join(("instrument_id,specific_volatility,value,size", *rows))
    assert faults(written(tmp_path, text)) == [
        "row 2, column value: 'nan' is not a finite number",
        "row 2, column specific_volatility: '-0.1' is not at least 0 and at most 1e+06",
        "row 3, column instrument_id: 'KO' appears twice",
        "row 3, column value: is empty",
        "row 3, column size: 'inf' is not a finite number",
        "row 4, column instrument_id: 'GOLD' is an unknown instrument",
        "row 4, column value: '1e7' is not at least -1e+06 and at most 1e+06",
        "row 4, column specific_volatility: 'x' is not a finite number",
        "row 5, column instrument_id: is empty",
        "row 5, column size: '1_0' is not a finite number",
    ]


def test_every_bad_row_of_a_long_file_is_named(tmp_path: Path) -> None:
    text = "instrument_id,factor,exposure\nKO,value,1\nKO,value,2\nAAPL,,1\nGOLD,value,\n"
    assert faults(written(tmp_path, text)) == [
        "row 3, column factor: 'value' appears twice for KO",
        "row 4, column factor: is empty",
        "row 5, column instrument_id: 'GOLD' is an unknown instrument",
        "row 5, column exposure: is empty",
    ]


def test_a_missing_exposure_of_a_long_file_is_named(tmp_path: Path) -> None:
    text = "instrument_id,factor,exposure\nKO,value,1\nAAPL,size,2\n"
    assert faults(written(tmp_path, text)) == ["has no exposure of KO to size", "has no exposure of AAPL to value"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ticker,value\nKO,1\n", "has no column 'instrument_id'"),
        ("instrument_id\nKO\n", "must have 1 to 1000 factors, not 0"),
        ("instrument_id,value,value\nKO,1,2\n", "'value' appears twice in the header"),
        ("instrument_id,value,\nKO,1,2\n", "column 3 has no name"),
        (f"instrument_id,{'v' * 201}\nKO,1\n", "a factor whose name is not a text of 1 to 200 characters: 'vvv"),
        ("instrument_id,value\n", "has no rows"),
        ("instrument_id,factor,exposure\n", "has no rows"),
        ("instrument_id,factor,exposure,specific_volatility\nKO,value,1,0.1\n", "has a column specific_volatility"),
        (f"instrument_id,{','.join(f'f{k}' for k in range(1001))}\n", "must have 1 to 1000 factors, not 1001"),
    ],
)
def test_a_file_that_cannot_be_exposures(tmp_path: Path, text: str, reason: str) -> None:
    assert any(reason in fault for fault in faults(written(tmp_path, text)))


def test_a_mapped_column_must_be_there(tmp_path: Path) -> None:
    assert faults(written(tmp_path, WIDE), exposure="beta") == [
        "has no column 'beta'; its columns are instrument_id, specific_volatility, Value, momentum"
    ]
