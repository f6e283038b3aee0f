"""Settlement dates of New York against the tables that the exchanges' regulator published."""

from datetime import date

import pytest

from kernel.errors import ProblemError
from server.settlement_rules import settlement_rules
from server.trading_days import TradingDays

# Year, month of the first trade date, then trade date -> settlement date as month-day or day.
TABLES = {
    "Veterans Day and Thanksgiving Day 1988, five days (NASD Notice to Members 88-82)": (1988, """
        11-03 11-10  11-04 11-14  11-07 11-15  11-08 11-16  11-09 11-17  11-10 11-18  11-11 11-18  11-14 11-21
        11-15 11-22  11-16 11-23  11-17 11-25  11-18 11-28  11-21 11-29  11-22 11-30  11-23 12-01  11-25 12-02"""),
    "Martin Luther King, Jr. Day 1989, when the exchanges traded (88-99)": (1989, """
        01-05 01-12  01-06 01-13  01-09 01-17  01-10 01-18  01-11 01-19  01-12 01-20  01-13 01-23  01-16 01-23
        01-17 01-24"""),
    "Veterans Day and Thanksgiving Day 1992 (92-54)": (1992, """
        11-02 11-09  11-03 11-10  11-04 11-12  11-05 11-13  11-06 11-16  11-09 11-17  11-10 11-18  11-11 11-18
        11-12 11-19  11-18 11-25  11-19 11-27  11-20 11-30  11-23 12-01  11-24 12-02  11-25 12-03  11-27 12-04"""),
    "Independence Day 1994 (94-49)": (1994, """
        06-24 07-01  06-27 07-05  06-28 07-06  06-29 07-07  06-30 07-08  07-01 07-11  07-05 07-12"""),
    "Columbus Day 1995, three days (95-77)": (1995, """
        10-02 10-05  10-03 10-06  10-04 10-10  10-05 10-11  10-06 10-12  10-09 10-12  10-10 10-13"""),
    "holidays of 1998 (97-93)": (1998, """
        01-12 01-15  01-13 01-16  01-14 01-20  01-15 01-21  01-16 01-22  01-20 01-23  02-10 02-13  02-11 02-17
        02-13 02-19  04-02 04-07  04-03 04-08  04-06 04-09  04-07 04-13  04-08 04-14  04-09 04-15  04-13 04-16
        05-18 05-21  05-20 05-26  05-22 05-28  05-26 05-29"""),
    "Columbus Day 1999 (99-83)": (1999, """
        10-05 10-08  10-06 10-12  10-07 10-13  10-08 10-14  10-11 10-14  10-12 10-15"""),
}  # fmt: skip


def calendar(year):
    return TradingDays("XNYS").settlement_calendar(date(year, 1, 1), date(year + 1, 3, 1))


@pytest.mark.parametrize("name", TABLES)
def test_published_table(name):
    year, text = TABLES[name]
    days = [date.fromisoformat(f"{year}-{day}") for day in text.split()]
    table = dict(zip(days[::2], days[1::2], strict=True))
    known = calendar(year)
    assert {traded: known.settlement_date(traded) for traded in table} == table


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        ("1995-06-02", "1995-06-09"),  # five days
        ("1995-06-05", "1995-06-09"),  # the conversion took two days on which two trade dates settled
        ("1995-06-06", "1995-06-12"),
        ("1995-06-07", "1995-06-12"),  # three
        ("2017-09-01", "2017-09-07"),
        ("2017-09-05", "2017-09-07"),  # two
        ("2024-05-24", "2024-05-29"),
        ("2024-05-28", "2024-05-29"),  # one
    ],
)
def test_changes_of_the_cycle(traded, settled):
    day = date.fromisoformat(traded)
    assert calendar(day.year).settlement_date(day) == date.fromisoformat(settled)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        ("2024-10-11", "2024-10-15"),  # Columbus Day, 14 October: open, no settlement
        ("2024-10-14", "2024-10-15"),
        ("2024-11-08", "2024-11-12"),  # Veterans Day, a Monday
        ("2024-11-11", "2024-11-12"),
        ("2023-11-09", "2023-11-13"),  # Veterans Day on a Saturday closes no bank on Friday; two days
        ("2023-11-10", "2023-11-14"),
        ("2018-11-09", "2018-11-14"),  # on a Sunday it is kept on Monday
        ("2018-11-12", "2018-11-14"),
        ("2025-12-24", "2025-12-26"),
        ("2026-07-02", "2026-07-06"),
    ],
)
def test_days_on_which_the_banks_are_closed(traded, settled):
    day = date.fromisoformat(traded)
    assert calendar(day.year).settlement_date(day) == date.fromisoformat(settled)


def test_bank_holidays_of_a_year():
    """The Federal Reserve's list for 2027: Juneteenth on a Saturday and Christmas Day on another are not kept."""
    closed = settlement_rules("XNYS").bank_holidays(2027, 2027)
    weekdays = sorted(day for day in closed if day.weekday() < 5)
    assert [f"{day:%m-%d}" for day in weekdays] == [
        *("01-01", "01-18", "02-15", "05-31", "07-05", "09-06", "10-11", "11-11", "11-25"),
    ]
    assert date(2020, 6, 19) not in settlement_rules("XNYS").bank_holidays(2020, 2020)
    assert date(2023, 6, 19) in settlement_rules("XNYS").bank_holidays(2023, 2023)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        ("2022-09-28", "2022-10-03"),  # TMX Ops Notice 2022-021: 30 September is a holiday of the banks only
        ("2022-09-29", "2022-10-04"),
        ("2022-09-30", "2022-10-04"),
        ("2023-08-31", "2023-09-05"),  # TMX Ops Notice 2023-025: Labour Day, on which the exchange is closed, too
        ("2023-09-01", "2023-09-06"),
        ("2021-03-31", "2021-04-05"),  # TMX Ops Notice 2021-017: Good Friday
        ("2021-04-01", "2021-04-06"),
        ("2023-09-28", "2023-10-03"),  # 30 September 2023 is a Saturday: kept on Monday
        ("2020-09-29", "2020-10-01"),  # before it was a holiday
        ("2024-11-08", "2024-11-12"),  # Remembrance Day on a Monday, one day
        ("2017-11-09", "2017-11-14"),  # on a Saturday: the Bank of Canada kept 13 November 2017
    ],
)
def test_days_on_which_the_banks_of_canada_are_closed(traded, settled):
    day = date.fromisoformat(traded)
    toronto = TradingDays("XTSE").settlement_calendar(date(day.year, 1, 1), date(day.year + 1, 3, 1))
    assert toronto.settlement_date(day) == date.fromisoformat(settled)


@pytest.mark.parametrize("exchange", ["XLON", "XETR", "XPAR"])
def test_one_day_in_europe_from_11_october_2027(exchange):
    known = TradingDays(exchange).settlement_calendar(date(2027, 9, 1), date(2027, 11, 30))
    # Two trade dates settle on one day.
    assert known.settlement_date(date(2027, 10, 7)) == date(2027, 10, 11)
    assert known.settlement_date(date(2027, 10, 8)) == date(2027, 10, 12)
    assert known.settlement_date(date(2027, 10, 11)) == date(2027, 10, 12)
    assert known.settlement_date(date(2027, 10, 12)) == date(2027, 10, 13)


def test_exchanges_that_a_refusal_recommends_have_a_settlement_cycle():
    with pytest.raises(ProblemError, match="examples of those that have: ") as refused:
        TradingDays("NOWHERE")
    examples = refused.value.reason.rpartition(": ")[2].split(", ")
    assert "XNYS" in examples
    for code in examples:
        assert settlement_rules(TradingDays(code).exchange).cycles


def test_other_exchanges():
    london = TradingDays("XLON").settlement_calendar(date(2026, 5, 1), date(2026, 6, 30))
    assert london.settlement_date(date(2026, 5, 22)) == date(2026, 5, 27)
    with pytest.raises(ProblemError, match=r"settlement cycle of XTKS is not known; known: XNYS, XTSE"):
        TradingDays("XTKS").settlement_calendar(date(2026, 5, 1), date(2026, 6, 30))
    with pytest.raises(ProblemError, match="settlement cycle of 2014-06-02 is not known"):
        TradingDays("XLON").settlement_calendar(date(2014, 5, 1), date(2014, 7, 1)).settlement_date(date(2014, 6, 2))
