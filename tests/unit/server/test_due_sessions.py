"""Which session is due, and which were missed, on exchanges anywhere on the globe."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from server.schedules import missed_sessions, newest_session

DAY = timedelta(days=1)


class Weekdays:
    """An exchange that trades from Monday to Friday and opens at an hour of the day, UTC; negative = the day before."""

    def __init__(self, hour: int) -> None:
        self._hour = hour

    def due(self, schedule: str, after: date, until: date) -> tuple[date, ...]:
        assert after <= until
        days = (after + k * DAY for k in range(1, (until - after).days + 1))
        first = {"daily": range(5), "weekly": range(1)}[schedule]
        return tuple(day for day in days if day.weekday() in first)

    def opens_at(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=self._hour)


@pytest.mark.parametrize("hour", [-2, 0, 9, 14, 23])
def test_the_newest_session_is_the_last_that_has_opened(hour: int) -> None:
    calendar, start = Weekdays(hour), datetime(2026, 3, 2, tzinfo=UTC)
    for minutes in range(0, 14 * 24 * 60, 47):
        now = start + timedelta(minutes=minutes)
        opened = [day for k in range(-5, 16) if calendar.opens_at(day := start.date() + k * DAY) <= now]
        expected = max(day for day in opened if day.weekday() < 5)
        assert newest_session(calendar, "daily", now) == expected


def test_the_moment_of_opening_counts() -> None:
    calendar, opening = Weekdays(14), datetime(2026, 3, 2, 14, tzinfo=UTC)
    assert newest_session(calendar, "weekly", opening) == date(2026, 3, 2)
    assert newest_session(calendar, "weekly", opening - timedelta(microseconds=1)) == date(2026, 2, 23)


@pytest.mark.parametrize("hour", [-2, 0, 9, 14, 23])
def test_missed_is_what_opened_after_the_schedule_was_set_and_was_not_dealt_with(hour: int) -> None:
    calendar, newest = Weekdays(hour), date(2026, 3, 13)
    every = [date(2026, 3, 1) + k * DAY for k in range(12) if (date(2026, 3, 1) + k * DAY).weekday() < 5]
    for hours in range(0, 11 * 24, 5):
        since = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hours)
        for last in (None, date(2026, 3, 4), date(2026, 3, 6), date(2026, 3, 12)):
            missed = missed_sessions(calendar, "daily", since, last, newest)
            wanted = [day for day in every if calendar.opens_at(day) > since and (last is None or day > last)]
            assert list(missed) == wanted


def test_nothing_is_missed_before_the_first_session_or_between_neighbours() -> None:
    calendar = Weekdays(14)
    since = datetime(2026, 3, 12, 15, tzinfo=UTC)
    assert missed_sessions(calendar, "daily", since, None, date(2026, 3, 13)) == ()
    assert missed_sessions(calendar, "daily", since - 30 * DAY, date(2026, 3, 12), date(2026, 3, 13)) == ()


def test_a_stop_of_years_is_missed_for_about_one() -> None:
    missed = missed_sessions(Weekdays(14), "weekly", datetime(2001, 1, 1, tzinfo=UTC), None, date(2026, 3, 9))
    assert len(missed) == 57
    assert missed[-1] == date(2026, 3, 2)
