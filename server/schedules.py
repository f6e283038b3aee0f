"""When portfolios are due for a look: sessions of their exchange, counted from the moment of opening."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol, TypeAlias

from kernel.errors import ProblemError
from server.settings import Settings
from server.trading_days import TradingDays
from storage.database import Connection
from storage.looks import LookRepository

# More than a quarter: the newest session of every schedule lies within.
_LOOK_BACK = timedelta(days=100)
# Nobody asks for what was skipped before.
_LONGEST_STOP = timedelta(days=400)
_DAY = timedelta(days=1)


class Calendar(Protocol):
    """The sessions of one exchange."""

    def due(self, schedule: str, after: date, until: date) -> tuple[date, ...]:
        """The sessions of a schedule in (after, until]."""
        ...

    def opens_at(self, day: date) -> datetime:
        """The moment at which a session opens."""
        ...


Calendars: TypeAlias = Callable[[str], Awaitable[Calendar]]


@dataclass(frozen=True, slots=True)
class LookDates:
    """When the schedule looks at a portfolio next, and when it did last; None where it does not or did not.

    Attributes:
        last_note: What came of the last look; empty where there was none.
    """

    next_on: date | None
    last_on: date | None
    last_note: str = ""


class CalendarShelf:
    """Calendars by exchange, each made once and off the event loop: the first of a process takes its time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Calendar] = {}

    async def __call__(self, exchange: str) -> Calendar:
        """The calendar of an exchange.

        Raises:
            ProblemError: Nobody knows the exchange.
        """
        if exchange not in self._made:
            self._made[exchange] = await asyncio.to_thread(TradingDays, exchange, self._settings.extra_closures)
        return self._made[exchange]


def newest_session(calendar: Calendar, schedule: str, now: datetime) -> date | None:
    """The newest session of a schedule that has opened by now."""
    today = now.date()
    due = calendar.due(schedule, today - _LOOK_BACK, today + _DAY)
    return next((day for day in reversed(due) if calendar.opens_at(day) <= now), None)


def missed_sessions(
    calendar: Calendar, schedule: str, since: datetime, last: date | None, newest: date
) -> tuple[date, ...]:
    """The sessions before the newest that nobody has looked at, those of about a year.

    Args:
        calendar: Of the exchange.
        schedule: The schedule.
        since: Sessions that opened until then do not count.
        last: The newest session that is dealt with; None = none is.
        newest: The session that is looked at now.
    """
    first = max(since.date() - 2 * _DAY, newest - _LONGEST_STOP, last or date.min)
    due = calendar.due(schedule, first, newest - _DAY) if first < newest - _DAY else ()
    return tuple(day for day in due if calendar.opens_at(day) > since)


async def next_look(connection: Connection, portfolio_id: str, now: datetime, calendars: Calendars) -> LookDates:
    """When the schedule of a portfolio looks at it next: today's session too, while its look is not begun.

    Args:
        connection: Of a transaction.
        portfolio_id: The portfolio.
        now: The present moment.
        calendars: Calendars by exchange.
    """
    looks = LookRepository(connection)
    known, sessions = await looks.find_schedule(portfolio_id), await looks.sessions(portfolio_id)
    if known is None:
        return LookDates(None, sessions.looked_at, sessions.note)
    try:
        calendar = await calendars(known.exchange)
        due = calendar.due(known.schedule, now.date() - _LOOK_BACK, now.date() + _LOOK_BACK)
    except ProblemError:  # a calendar that nobody knows any more looks at nothing
        return LookDates(None, sessions.looked_at, sessions.note)
    opened = [day for day in due if calendar.opens_at(day) <= now]
    waits = opened and calendar.opens_at(opened[-1]) > known.since and opened[-1] > (sessions.begun or date.min)
    upcoming = opened[-1] if waits else next((day for day in due if day not in opened), None)
    return LookDates(upcoming, sessions.looked_at, sessions.note)
