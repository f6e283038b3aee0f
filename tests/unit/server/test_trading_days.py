"""Calendars of several exchanges: schedules, closures of the operator, bounds and refusals."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from kernel.errors import ProblemError
from server.settings import Settings
from server.trading_days import Closure, Schedule, TradingDays, parse_closures


@pytest.fixture(scope="module")
def new_york():
    return TradingDays()


def test_names():
    assert TradingDays("XNAS").exchange == TradingDays("").exchange == TradingDays("NYSE").exchange == "XNYS"
    assert TradingDays("XLON").is_trading_day(date(2026, 11, 26))
    assert not TradingDays("XNYS").is_trading_day(date(2026, 11, 26))


@pytest.mark.parametrize("name", ["NOPE", "xnys", " XNYS", "XNYS\n", "A" * 500])
def test_unknown_exchange(name):
    with pytest.raises(ProblemError, match=r"has no calendar; examples .*XNYS") as refused:
        TradingDays(name)
    assert refused.value.field == "exchange"
    assert len(str(refused.value)) < 200


def test_rolling(new_york):
    thanksgiving = date(2026, 11, 26)
    assert new_york.first_on_or_after(thanksgiving) == new_york.first_after(thanksgiving) == date(2026, 11, 27)
    assert new_york.last_on_or_before(thanksgiving) == new_york.last_before(thanksgiving) == date(2026, 11, 25)
    assert new_york.first_on_or_after(date(2026, 11, 27)) == date(2026, 11, 27)
    assert new_york.first_after(date(2026, 11, 27)) == date(2026, 11, 30)
    assert new_york.last_on_or_before(date(2026, 11, 27)) == date(2026, 11, 27)


@pytest.mark.parametrize("schedule", [Schedule.DAILY, Schedule.WEEKLY, Schedule.MONTHLY, Schedule.QUARTERLY])
def test_due_is_the_first_session_of_every_period(new_york, schedule):
    """Recomputed by grouping all sessions of eight years by period."""
    first, last = date(2019, 12, 20), date(2027, 1, 10)
    period = {
        Schedule.DAILY: lambda day: day,
        Schedule.WEEKLY: lambda day: day - timedelta(days=day.weekday()),
        Schedule.MONTHLY: lambda day: (day.year, day.month),
        Schedule.QUARTERLY: lambda day: (day.year, (day.month + 2) // 3),
    }[schedule]
    earliest = {}
    for day in new_york.between(date(2019, 9, 1), last):
        earliest.setdefault(period(day), day)
    wanted = tuple(day for day in earliest.values() if first < day <= last)
    assert new_york.due(schedule, first, last) == wanted
    assert new_york.due(schedule.value, first, last) == wanted


def test_due_at_the_edges(new_york):
    assert new_york.due("quarterly", date(2026, 1, 2), date(2026, 4, 1)) == (date(2026, 4, 1),)
    assert new_york.due("daily", date(2026, 1, 2), date(2026, 1, 2)) == ()
    assert new_york.due("daily", date(2026, 1, 5), date(2026, 1, 2)) == ()
    assert new_york.due("manual", date(2026, 1, 2), date(2027, 1, 2)) == ()
    with pytest.raises(ValueError, match="yearly"):
        new_york.due("yearly", date(2026, 1, 2), date(2027, 1, 2))


def test_an_extra_closure_moves_everything():
    closed = TradingDays("XNYS", parse_closures("2026-06-01, 2026-06-02,XLON:2026-06-03"))
    assert not closed.is_trading_day(date(2026, 6, 1))
    assert not closed.is_open(datetime(2026, 6, 1, 15, tzinfo=UTC))
    assert closed.is_trading_day(date(2026, 6, 3))
    assert closed.first_after(date(2026, 5, 29)) == closed.first_on_or_after(date(2026, 6, 2)) == date(2026, 6, 3)
    assert closed.last_before(date(2026, 6, 3)) == closed.last_on_or_before(date(2026, 6, 2)) == date(2026, 5, 29)
    assert closed.due("monthly", date(2026, 5, 29), date(2026, 6, 30)) == (date(2026, 6, 3),)
    assert closed.due("weekly", date(2026, 5, 29), date(2026, 6, 7)) == (date(2026, 6, 3),)
    assert date(2026, 6, 1) not in closed.between(date(2026, 5, 1), date(2026, 7, 1))
    calendar = closed.settlement_calendar(date(2026, 5, 1), date(2026, 7, 1))
    assert calendar.settlement_date(date(2026, 5, 29)) == date(2026, 6, 3)
    with pytest.raises(ProblemError, match="XNYS does not trade on 2026-06-01"):
        closed.opens_at(date(2026, 6, 1))
    assert TradingDays("XNYS").is_trading_day(date(2026, 6, 1))
    assert not TradingDays("XLON", closed_in("XLON:2026-06-03")).is_trading_day(date(2026, 6, 3))


def closed_in(text):
    return parse_closures(text)


def test_closures_of_settings(monkeypatch):
    monkeypatch.setenv("PORTFOLIO_EXTRA_CLOSURES", "2025-01-10,XNAS:2026-09-18")
    assert Settings().extra_closures == (Closure(date(2025, 1, 10)), Closure(date(2026, 9, 18), "XNYS"))
    monkeypatch.setenv("PORTFOLIO_EXTRA_CLOSURES", "")
    assert Settings().extra_closures == ()


@pytest.mark.parametrize("text", ["2025-02-30", "tomorrow", "2025-1-2", "XNYS=2025-01-02", "NOPE:2025-01-02", "[]"])
def test_malformed_closures(monkeypatch, text):
    monkeypatch.setenv("PORTFOLIO_EXTRA_CLOSURES", text)
    with pytest.raises(ValueError, match="extra_closures"):
        Settings()


def test_early_close_and_hours(new_york):
    day_after_thanksgiving = date(2026, 11, 27)
    assert new_york.opens_at(day_after_thanksgiving) == datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
    assert new_york.closes_at(day_after_thanksgiving) == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
    assert new_york.early_closes(date(2026, 11, 1), date(2026, 11, 30)) == (day_after_thanksgiving,)


def test_breaks_are_closed():
    """Tokyo rests from 11:30 to 12:30 of its own time, nine hours ahead."""
    tokyo = TradingDays("XTKS")
    instants = [datetime(2026, 6, 1, hour, minute, tzinfo=UTC) for hour, minute in ((2, 29), (2, 30), (3, 29), (3, 30))]
    assert [tokyo.is_open(instant) for instant in instants] == [True, False, False, True]


def test_sessions_that_begin_on_the_evening_before():
    """Sydney opens at 10:00, which is 23:00 UTC of the day before in summer."""
    sydney = TradingDays("XASX")
    assert sydney.is_open(datetime(2026, 1, 12, 23, 30, tzinfo=UTC))
    assert not sydney.is_open(datetime(2026, 1, 10, 23, 30, tzinfo=UTC))
    assert sydney.local_date(datetime(2026, 1, 12, 23, 30, tzinfo=UTC)) == date(2026, 1, 13)


def test_local_date(new_york):
    assert new_york.local_date(datetime(2026, 1, 13, 4, 59, tzinfo=UTC)) == date(2026, 1, 12)
    assert new_york.local_date(datetime(2026, 1, 13, 5, 0, tzinfo=UTC)) == date(2026, 1, 13)
    for ask in (new_york.local_date, new_york.is_open):
        with pytest.raises(ProblemError, match="no time zone"):
            ask(datetime(2026, 1, 13, 5, 0))


def test_bounds(new_york):
    assert new_york.first_on_or_after(date(1986, 1, 1)) == date(1986, 1, 2)
    assert new_york.first_on_or_after(date(2060, 1, 1)) == date(2060, 1, 2)
    for day in (date(1985, 12, 31), date(2101, 1, 3), date.min, date.max):
        with pytest.raises(ProblemError, match=f"XNYS are not known as far as {day.isoformat()}"):
            new_york.first_on_or_after(day)
    with pytest.raises(ProblemError, match="not known"):
        new_york.first_after(date(2100, 12, 31))


def test_a_calendar_that_ends():
    """The library knows the holidays of Singapore for some years only; what is beyond is said, or left out."""
    singapore = TradingDays("XSES")
    with pytest.raises(ProblemError, match="XSES are not known as far as 2090-06-01"):
        singapore.between(date(2020, 1, 1), date(2090, 6, 1))
    due = singapore.due("daily", date(2024, 12, 31), date(2090, 6, 1))
    assert due[0] == date(2025, 1, 2)
    assert due == singapore.between(date(2025, 1, 1), due[-1])


def test_nothing_is_imported_before_it_is_needed():
    """A process that plans nothing does without the calendar library."""
    code = "import sys, server.trading_days, server.settings; print('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
