"""Trading days of New York against the shared known answers."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from server.trading_days import TradingDays
from tests.unit.kernel.rebalancing.golden_cases import load_cases

CASES = load_cases("market_calendar")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def days():
    return TradingDays("XNYS")


def dates(texts):
    return [date.fromisoformat(text) for text in texts]


@pytest.mark.parametrize("name", ["cal-2025", "cal-2026", "cal-2027"])
def test_year(days, name):
    year, expected = CASES[name]["inputs"]["year"], CASES[name]["expected"]
    first, last = date(year, 1, 1), date(year, 12, 31)
    sessions = days.between(first, last)
    assert len(sessions) == expected["sessions"]
    ordinals = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    closed = [day for day in ordinals if day.weekday() < 5 and day not in sessions]
    assert closed == sorted(dates(expected["scheduled_holidays"] + expected["adhoc_closures"]))
    early = days.early_closes(first, last)
    assert list(early) == dates(expected["early_closes_13_00"])
    assert {days.closes_at(day).astimezone(NEW_YORK).hour for day in early} == {13}


@pytest.mark.parametrize("name", sorted(name for name in CASES if name.startswith("cal-day-")))
def test_day(days, name):
    day, expected = date.fromisoformat(CASES[name]["inputs"]["date"]), CASES[name]["expected"]
    assert days.is_trading_day(day) is expected["open"]
    if expected["open"]:
        assert f"{days.closes_at(day).astimezone(NEW_YORK):%H:%M}" == expected["close_et"]


def test_instants(days):
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in CASES["cal-min"]["inputs"]["utc"]]
    assert [days.is_open(instant) for instant in instants] == CASES["cal-min"]["expected"]["open"]


def test_due_sessions(days):
    inputs, expected = CASES["cal-sched"]["inputs"], CASES["cal-sched"]["expected"]
    rolls = {"next": days.first_on_or_after, "previous": days.last_on_or_before}
    asked = zip(inputs["rules"], inputs["roll"], strict=True)
    assert [rolls[roll](date.fromisoformat(day)) for (_, day), roll in asked] == dates(expected["session"])


def test_the_schedule_words_give_the_same_sessions(days):
    """Monthly on the 1st and weekly on Monday, rolled forward, are the first sessions of the month and the week."""
    assert days.due("monthly", date(2025, 12, 31), date(2026, 1, 31)) == (date(2026, 1, 2),)
    assert days.due("weekly", date(2026, 1, 18), date(2026, 1, 25)) == (date(2026, 1, 20),)
    assert days.due("daily", date(2025, 11, 26), date(2025, 11, 28)) == (date(2025, 11, 28),)


def test_last_session_of_each_quarter(days):
    last = [(int(quarter[:4]), 3 * int(quarter[5])) for quarter in CASES["cal-qend"]["inputs"]["quarters"]]
    following = [date(year + month // 12, month % 12 + 1, 1) for year, month in last]
    assert [days.last_before(day) for day in following] == dates(CASES["cal-qend"]["expected"]["last_session"])
