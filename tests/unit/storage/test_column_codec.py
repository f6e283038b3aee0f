"""The binary formats of PostgreSQL, against bytes spelled out by hand."""

import struct

import numpy as np

from storage.column_codec import Column, decode_columns, encode_rows

EPOCH = np.datetime64("2000-01-01", "D")


def row(set_number: int, column: int, day: int, value: float) -> bytes:
    """The manual's layout: the number of fields, then each field behind its length."""
    return struct.pack(">hiiiiiiid", 4, 4, set_number, 4, column, 4, day, 8, value)


def test_values_become_rows_and_gaps_become_none():
    values = np.array([[1.5, np.nan], [np.nan, -2.0]])
    data = b"".join(encode_rows(7, [3, 1 << 30], EPOCH + np.array([-1, 9000]), values))
    assert data == b"PGCOPY\n\xff\r\n\0" + bytes(8) + row(7, 3, -1, 1.5) + row(7, 1 << 30, 9000, -2.0) + b"\xff\xff"


def test_large_tables_come_in_chunks():
    values = np.ones((1000, 200))
    chunks = list(encode_rows(1, range(200), EPOCH + np.arange(1000), values))
    assert len(chunks) == 2 + 4
    assert sum(map(len, chunks)) == 19 + 38 * 200_000 + 2


def test_columns_become_a_table_on_the_days_of_any():
    columns = {
        "a": Column("a", struct.pack(">2i", 1, 3), struct.pack(">2d", 1.0, 3.0)),
        "b": Column("b", struct.pack(">2i", 2, 3), struct.pack(">2d", 20.0, 30.0)),
    }
    dates, values = decode_columns(columns, ["b", "a"])
    np.testing.assert_array_equal(dates, EPOCH + np.array([1, 2, 3]))
    np.testing.assert_array_equal(values, [[np.nan, 1.0], [20.0, np.nan], [30.0, 3.0]])


def test_no_columns_are_an_empty_table():
    dates, values = decode_columns({}, [])
    assert (dates.shape, values.shape) == ((0,), (0, 0))
