"""Tables are read-only, in order, and identified by what they say, not by how it is written."""

import numpy as np
import pytest

from storage.tables import FactorTable, PriceTable

DATES = np.array(["2024-01-02", "2024-01-03", "2024-01-04"], dtype="M8[D]")
CLOSES = np.array([[1.0, 10.0], [np.nan, 11.0], [3.0, np.nan]])
TABLE = PriceTable(("A", "B"), DATES, CLOSES)


def test_the_id_is_that_of_the_content():
    assert TABLE.content_id == "pp-c83403ed3e75f3ea3934a0d84239c478"
    assert FactorTable(("A", "B"), DATES, CLOSES).content_id == "fs-c83403ed3e75f3ea3934a0d84239c478"


@pytest.mark.parametrize(
    "same",
    [
        PriceTable(("B", "A"), DATES, CLOSES[:, ::-1]),
        PriceTable(("A", "B", "C"), DATES, np.column_stack([CLOSES, np.full(3, np.nan)])),
        PriceTable(("A", "B"), np.append(DATES, DATES[-1] + 1), np.vstack([CLOSES, np.full((1, 2), np.nan)])),
        PriceTable(("A", "B"), DATES.astype("M8[s]"), CLOSES.astype(">f8")),
        PriceTable(("A", "B"), DATES, np.where(np.isnan(CLOSES), -np.float64("nan"), CLOSES)),
    ],
)
def test_the_same_prices_have_the_same_id(same: PriceTable):
    assert same.content_id == TABLE.content_id


@pytest.mark.parametrize(
    "other",
    [
        PriceTable(("A", "C"), DATES, CLOSES),
        PriceTable(("AB", ""), DATES, CLOSES),
        PriceTable(("A", "B"), DATES + 1, CLOSES),
        PriceTable(("A", "B"), DATES, CLOSES * (1 + 1e-15)),
        PriceTable(("A", "B"), DATES[:2], CLOSES[:2]),
    ],
)
def test_other_prices_have_another_id(other: PriceTable):
    assert other.content_id != TABLE.content_id


def test_the_order_of_factors_is_content():
    turned = FactorTable(("B", "A"), DATES, CLOSES[:, ::-1])
    assert turned.content_id != FactorTable(("A", "B"), DATES, CLOSES).content_id


def test_minus_zero_is_zero():
    zero, minus_zero = (FactorTable(("A",), DATES[:1], np.array([[value]])) for value in (0.0, -0.0))
    assert zero.content_id == minus_zero.content_id


def test_tables_are_private_and_read_only():
    closes = CLOSES.copy()
    table = PriceTable(("A", "B"), DATES, closes)
    closes[0, 0] = 99.0
    assert table.closes[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        table.closes[0, 0] = 2.0


def test_observations_are_counted():
    assert TABLE.observations == 4
    assert FactorTable(("A", "B"), DATES, CLOSES).observations == 4
    assert FactorTable(("A", "B"), DATES[1:2], CLOSES[1:2]).empty_factors == ("A",)


@pytest.mark.parametrize("kind", [PriceTable, FactorTable])
@pytest.mark.parametrize(
    ("names", "dates", "complaint"),
    [
        (("A", "A"), DATES, "not distinct"),
        (("A",), DATES, "shape"),
        (("A", "B"), DATES[::-1], "not strictly increasing"),
        (("A", "B"), DATES[[0, 0, 1]], "not strictly increasing"),
        (("A", "B"), np.array(["2024-01-02", "NaT", "2024-01-04"], "M8[D]"), "not strictly increasing"),
    ],
)
def test_what_is_not_a_table_is_refused(kind: type, names: tuple[str, ...], dates: np.ndarray, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        kind(names, dates, CLOSES)
