"""Tables by day from CSV and Parquet: both forms, and every fault with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.imports.problems import SHOWN_PROBLEMS, ImportRefusedError
from server.imports.progress import Progress, no_progress
from server.imports.series import PRICES, Series, SeriesFile, SeriesKind, read_series

FACTORS = SeriesKind("factor", "return", above=-1.0, complete=True)
KNOWN = frozenset({"AAPL", "KO"})


def read(path: Path, *, kind=PRICES, columns=None, known=None, progress=no_progress) -> Series:
    return read_series(SeriesFile(path, kind, columns or {}, known, progress))


def csv_file(directory: Path, text: str, name: str = "prices.csv") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def parquet_file(directory: Path, columns: dict[str, object]) -> Path:
    path = directory / "prices.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def faults(refused: pytest.ExceptionInfo[ImportRefusedError]) -> list[tuple[int | None, str | None, str | None]]:
    return [(problem.row, problem.column, problem.value) for problem in refused.value.problems]


WIDE = "date,AAPL,KO\n2020-01-02,10,20.5\n2020-01-03,11,\n"
LONG = "date,instrument_id,close\n2020-01-03,AAPL,11\n2020-01-02,KO,20.5\n2020-01-02,AAPL,10\n"


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_wide_and_long_files_hold_the_same(tmp_path: Path, text: str) -> None:
    series = read(csv_file(tmp_path, text), known=KNOWN)
    assert series.names == ("AAPL", "KO")
    assert series.dates.tolist() == np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[D]").tolist()
    np.testing.assert_array_equal(series.values, [[10, 20.5], [11, np.nan]])


def test_days_are_sorted(tmp_path: Path) -> None:
    series = read(csv_file(tmp_path, "date,KO\n2020-01-03,2\n2020-01-02,1\n"))
    assert series.values[:, 0].tolist() == [1, 2]
    assert series.dates[0] == np.datetime64("2020-01-02")


def test_a_compressed_file_with_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf"date","A,B"\r\n"20200102"," 5 "\r\n\r\n'))
    series = read(path)
    assert series.names == ("A,B",)
    assert series.values.tolist() == [[5.0]]


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Day,Ticker,Last\n2020-01-02,KO,3\n")
    series = read(path, columns={"date": "Day", "instrument_id": "Ticker", "close": "Last"})
    assert series.names == ("KO",)


def test_a_mapped_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="has no column 'Tag'; its columns are date, KO"):
        read(csv_file(tmp_path, "date,KO\n2020-01-02,3\n"), columns={"date": "Tag"})


def test_a_table_without_days(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="has no column 'date'"):
        read(csv_file(tmp_path, "day,KO\n2020-01-02,3\n"))


def test_all_bad_cells_of_a_wide_file_are_named(tmp_path: Path) -> None:
    text = "date,AAPL,KO\n2020-01-02,abc,1\n2020-13-01,1,1\n2020-01-04,-1,nan\n2020-01-05,0,inf\n2020-01-06,1_0,1\n"
    with pytest.raises(ImportRefusedError) as refused:
        read(csv_file(tmp_path, text))
    assert faults(refused) == [
        (2, "AAPL", "abc"),
        (3, "date", "2020-13-01"),
        (4, "AAPL", "-1"),
        (4, "KO", "nan"),
        (5, "AAPL", "0"),
        (5, "KO", "inf"),
        (6, "AAPL", "1_0"),
    ]
    assert "prices.csv row 2, column AAPL: 'abc' is not a finite number" in str(refused.value)
    assert "prices.csv row 4, column AAPL: '-1' is not above 0" in str(refused.value)


def test_all_bad_rows_of_a_long_file_are_named(tmp_path: Path) -> None:
    text = (
        "date,instrument_id,close\n2020-01-02,AAPL,1\n2020-01-02,AAPL,2\n,KO,1\n,KO,1\n2020-01-02,XXX,1\n"
        "2020-01-03,KO,\n2020-01-04,,1\n2020-01-05 15:30,KO,1\n"
    )
    with pytest.raises(ImportRefusedError) as refused:
        read(csv_file(tmp_path, text), known=KNOWN)
    assert faults(refused) == [
        (3, None, None),
        (4, "date", ""),
        (5, "date", ""),
        (6, "instrument_id", "XXX"),
        (7, "close", ""),
        (8, "instrument_id", None),
        (9, "date", "2020-01-05 15:30"),
    ]
    assert "row 3: day 2020-01-02 of AAPL appears twice, before in row 2" in str(refused.value)


def test_a_day_twice_in_a_wide_file(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="row 4: day 2020-01-02 appears twice, before in row 2"):
        read(csv_file(tmp_path, "date,KO\n2020-01-02,1\n2020-01-03,1\n2020-01-02,1\n"))


def test_unknown_instruments_of_a_wide_file(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        read(csv_file(tmp_path, "date,KO,YYY,ZZZ\n2020-01-02,1,1,1\n"), known=KNOWN)
    assert faults(refused) == [(1, "YYY", None), (1, "ZZZ", None)]


def test_rows_of_another_length(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        read(csv_file(tmp_path, "date,KO\n2020-01-02,1,9\n2020-01-03\n2020-01-04,1\n"))
    assert [problem.reason for problem in refused.value.problems] == [
        "has 3 cells, the header has 2",
        "has 1 cells, the header has 2",
    ]


def test_only_the_first_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-{day:02},x,y,z,u,v\n" for day in range(1, 32))
    with pytest.raises(ImportRefusedError, match="and 55 more") as refused:
        read(csv_file(tmp_path, "date,A,B,C,D,E\n" + rows))
    assert refused.value.count == 155
    assert len(refused.value.problems) == SHOWN_PROBLEMS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("prices.xlsx", b"", "is of no known kind"),
        ("prices.csv", b"", "has no header row"),
        ("prices.csv", b"date,KO\n", "has no rows"),
        ("prices.csv", b"date\n2020-01-02\n", "has no column beside the date"),
        ("prices.csv", b"date,KO,KO\n", "'KO' appears twice in the header"),
        ("prices.csv", b"date,KO,\n", "column 3 has no name"),
        ("prices.csv", b"date,\xff\n", "is not a CSV file in UTF-8"),
        ("prices.csv", b'date,KO\n2020-01-02,"1\n', "row 3: cannot be read: unexpected end of data"),
        ("prices.csv.gz", b"date,KO\n", "is not a CSV file"),
        ("prices.parquet", b"PAR1 and more that is not Parquet", "is not a Parquet file"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError, match=reason):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="there is no such file"):
        read(tmp_path / "prices.csv")


def test_text_that_turns_out_not_to_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"date,KO\n" + b"".join(b"%d-01-02,1\n" % year for year in range(1000, 9999)) + b"\xff,1\n")
    with pytest.raises(ImportRefusedError, match="cannot be read: 'utf-8' codec"):
        read(path)


# --- Parquet


def days(*texts: str) -> pa.Array:
    return pa.array(np.array(texts, dtype="datetime64[us]"))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.decimal128(10, 2), pa.string()])
def test_a_wide_parquet_file_with_holes(tmp_path: Path, kind: pa.DataType) -> None:
    closes = pa.array(["5", None], type=pa.string()).cast(kind)
    series = read(parquet_file(tmp_path, {"KO": closes, "date": days("2020-01-03", "2020-01-02")}))
    assert series.names == ("KO",)
    np.testing.assert_array_equal(series.values, [[np.nan], [5.0]])


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("ns"), pa.timestamp("s", tz="UTC"), pa.string()])
def test_days_of_a_parquet_file(tmp_path: Path, kind: pa.DataType) -> None:
    column = days("2020-01-02").cast(pa.date32()).cast(kind)
    series = read(parquet_file(tmp_path, {"date": column, "KO": pa.array([1.0])}))
    assert series.dates.tolist() == [np.datetime64("2020-01-02").item()]


def test_days_as_whole_numbers(tmp_path: Path) -> None:
    series = read(parquet_file(tmp_path, {"date": pa.array([20200102]), "KO": pa.array([1.0])}))
    assert series.dates[0] == np.datetime64("2020-01-02")


def test_a_long_parquet_file_with_a_dictionary_of_names(tmp_path: Path) -> None:
    names = pa.array(["KO", "AAPL", "KO"]).dictionary_encode()
    columns = {
        "date": days("2020-01-02", "2020-01-02", "2020-01-03"),
        "instrument_id": names,
        "close": pa.array([1.0, 2, 3]),
    }
    series = read(parquet_file(tmp_path, columns), known=KNOWN)
    assert series.names == ("KO", "AAPL")
    np.testing.assert_array_equal(series.values, [[1, 2], [3, np.nan]])


def test_bad_rows_of_a_parquet_file_count_from_one(tmp_path: Path) -> None:
    path = parquet_file(
        tmp_path, {"date": days("2020-01-02", "2020-01-03T10", "NaT"), "KO": pa.array([np.inf, -1.0, np.nan])}
    )
    with pytest.raises(ImportRefusedError) as refused:
        read(path)
    assert [(problem.row, problem.column) for problem in refused.value.problems] == [
        (1, "KO"),
        (2, "date"),
        (2, "KO"),
        (3, "date"),
    ]


# --- factors: every value is needed


def test_factor_returns_may_be_negative_and_not_below_everything(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        read(csv_file(tmp_path, "date,value,size\n2020-01-02,-0.5,-1.2\n2020-01-03,,0\n"), kind=FACTORS)
    assert faults(refused) == [(2, "size", "-1.2"), (3, "value", "")]


def test_factor_returns_of_a_long_file_must_be_complete(tmp_path: Path) -> None:
    text = "date,factor,return\n2020-01-02,size,0.1\n2020-01-03,size,0.1\n2020-01-03,value,0.1\n"
    with pytest.raises(ImportRefusedError, match="has no value of value on 2020-01-02"):
        read(csv_file(tmp_path, text), kind=FACTORS)


# --- progress


@pytest.mark.parametrize("compressed", [False, True])
def test_progress_grows_to_the_end(tmp_path: Path, compressed: bool) -> None:
    start = np.datetime64("1990-01-01")
    text = "date,KO\n" + "".join(f"{start + day},1\n" for day in range(10_000))
    path = tmp_path / ("prices.csv.gz" if compressed else "prices.csv")
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    seen: list[Progress] = []
    read(path, progress=seen.append)
    assert [progress.rows for progress in seen] == [4096, 8192, 10_000, 10_000]
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_progress_of_a_parquet_file(tmp_path: Path) -> None:
    dates = np.datetime64("1990-01-01", "us") + np.arange(5000) * np.timedelta64(1, "D")
    seen: list[Progress] = []
    read(parquet_file(tmp_path, {"date": pa.array(dates), "KO": pa.array(np.ones(5000))}), progress=seen.append)
    assert [progress.rows for progress in seen] == [4096, 5000, 5000]
    assert seen[0].fraction == pytest.approx(4096 / 5000)
