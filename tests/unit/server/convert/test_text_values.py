"""Text that means a number, a day or a code: what is taken, to the digit, and what is refused."""

from datetime import date
from decimal import Decimal

import pytest

from server.convert.faults import Faults
from server.convert.text_values import (
    MONEY,
    MONEY_ABOVE_ZERO,
    MONEY_NOT_NEGATIVE,
    SHARES,
    SHARES_ABOVE_ZERO,
    Exact,
    read_code,
    read_day,
    read_decimal,
    read_words,
    refuse_repeats,
    shortest_decimal,
    write_decimal,
)
from server.errors import InvalidRequest


def noted(faults: Faults) -> list[str]:
    """The descriptions noted so far."""
    try:
        faults.check()
    except InvalidRequest as error:
        return [fault.description for fault in error.faults]
    return []


@pytest.mark.parametrize("text", ["0", "-0.01", "1234.50", "999999999999999999.99999999999999999999", "0012"])
def test_a_number_is_taken_to_its_last_digit(text: str) -> None:
    faults = Faults()
    assert read_decimal("f", text, MONEY, faults) == Decimal(text)
    assert not noted(faults)


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "Infinity",
        "1e5",
        "1_000",
        "1,5",
        " 1",
        "1 ",
        ".5",
        "5.",
        "--1",
        "٣",
        "1" * 19,
        "0." + "1" * 21,
        "0x10",
        "½",
    ],
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    faults = Faults()
    assert read_decimal("f", text, MONEY, faults) is None
    assert len(noted(faults)) == 1


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("-0.01", MONEY_NOT_NEGATIVE),
        ("0", MONEY_ABOVE_ZERO),
        ("0.000", SHARES_ABOVE_ZERO),
        ("1" * 13, SHARES),
        ("0." + "1" * 13, SHARES),
    ],
)
def test_numbers_out_of_range_are_refused(text: str, exact: Exact) -> None:
    faults = Faults()
    assert read_decimal("f", text, exact, faults) is None
    assert len(noted(faults)) == 1


def test_no_text_is_no_number() -> None:
    faults = Faults()
    assert read_decimal("f", "", MONEY_ABOVE_ZERO, faults) is None
    assert read_day("f", "", faults) is None
    assert read_code("f", "", 3, faults) == ""
    assert read_words("f", "", faults) == ""
    assert not noted(faults)


def test_numbers_are_written_without_exponent() -> None:
    assert write_decimal(Decimal("1E+3")) == "1000"
    assert write_decimal(Decimal("1E-7")) == "0.0000001"
    assert write_decimal(None) == ""
    assert shortest_decimal(0.1) == Decimal("0.1")
    assert shortest_decimal(float("nan")) == 0


@pytest.mark.parametrize("text", ["20221228", "2022-W52-3", "2022-12-28T00:00", "2022-2-8", "2022-02-30", "today"])
def test_a_day_has_one_spelling(text: str) -> None:
    faults = Faults()
    assert read_day("f", "2022-12-28", faults) == date(2022, 12, 28)
    assert read_day("f", text, faults) is None
    assert len(noted(faults)) == 1


@pytest.mark.parametrize("text", ["usd", "US", "USDX", "US1", "ÜSD"])
def test_a_code_has_so_many_capital_letters(text: str) -> None:
    faults = Faults()
    assert read_code("f", "USD", 3, faults) == "USD"
    assert not noted(faults)
    read_code("f", text, 3, faults)
    assert len(noted(faults)) == 1


def test_missing_words_and_repeated_names_are_noted() -> None:
    faults = Faults()
    read_words("f", "", faults, required=True)
    refuse_repeats("f", ["b", "a", "b", "", ""], faults)
    assert noted(faults) == ["is required", "repeats b"]
