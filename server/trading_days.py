"""Trading days of an exchange: sessions, opening hours, due days of a schedule, and its settlement calendar."""

from __future__ import annotations

import re
import threading
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeGuard

from kernel.errors import ProblemError
from kernel.rebalancing.settlement import SettlementCalendar
from server.settlement_rules import settlement_rules

DEFAULT_EXCHANGE = "XNYS"
_EXAMPLES = ("XNYS", "XNAS", "XLON", "XTSE", "XETR", "XPAR", "XAMS", "XMIL")
# The oldest settlement cycle starts in 1986; nobody knows the holidays of the next century.
_FIRST_YEAR, _LAST_YEAR = 1986, 2100
_YEARS_AHEAD = 2
_CLOSURE = re.compile(r"(?:([A-Z0-9]{4}):)?(\d{4}-\d{2}-\d{2})")


class Schedule(StrEnum):
    """When a portfolio is looked at."""

    MANUAL = "manual"
    """Never by itself."""
    DAILY = "daily"
    """Every trading day."""
    WEEKLY = "weekly"
    """The first trading day of a week that starts on Monday."""
    MONTHLY = "monthly"
    """The first trading day of a month."""
    QUARTERLY = "quarterly"
    """The first trading day of a quarter."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A day on which trading is cancelled, e.g. a day of mourning that the library does not know yet.

    Attributes:
        day: The day.
        exchange: Canonical code of the exchange; empty = every exchange.
    """

    day: date
    exchange: str = ""


def parse_closures(text: str) -> tuple[Closure, ...]:
    """Reads ``2025-01-09,XLON:2026-09-19``: days, with the code of an exchange where they concern one only.

    Raises:
        ValueError: An entry is not of this form, not a day, or of an exchange without a calendar.
    """
    return tuple(_parse_closure(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse_closure(entry: str) -> Closure:
    found = _CLOSURE.fullmatch(entry)
    if found is None:
        raise ValueError(f"expected YYYY-MM-DD or CODE:YYYY-MM-DD, got {entry!r}")
    return Closure(date.fromisoformat(found[2]), _canonical(found[1]) if found[1] else "")


@dataclass(frozen=True)
class _Sessions:
    """The sessions of an exchange, ascending.

    Attributes:
        days: The trading days.
        hours: Of each, openings and closings between breaks, UTC.
        early: Trading days that end before the usual hour.
        span: First and last day of what is known here.
        is_all: Whether nobody knows more.
        zone: Time zone of the exchange.
    """

    days: tuple[date, ...]
    hours: tuple[tuple[tuple[datetime, datetime], ...], ...]
    early: frozenset[date]
    span: tuple[date, date]
    is_all: bool
    zone: tzinfo

    @cached_property
    def places(self) -> dict[date, int]:
        """Place of each session."""
        return {day: place for place, day in enumerate(self.days)}


# By code; replaced by a longer one when a later day is asked for.
_known: dict[str, _Sessions] = {}
# One thread at a time builds: warnings are left out for the whole process meanwhile.
_building = threading.Lock()


class TradingDays:
    """The trading days of one exchange.

    Attributes:
        exchange: Canonical code.
    """

    def __init__(self, exchange: str = DEFAULT_EXCHANGE, closures: Iterable[Closure] = ()) -> None:
        """The calendar of an exchange; the first one of a process takes about a second.

        Args:
            exchange: Market identifier code; empty = XNYS.
            closures: Days on which trading is cancelled.

        Raises:
            ProblemError: The exchange has no calendar.
        """
        self.exchange = _canonical(exchange or DEFAULT_EXCHANGE)
        self._closed = frozenset(closure.day for closure in closures if closure.exchange in ("", self.exchange))

    def is_trading_day(self, day: date) -> bool:
        """Whether the exchange opens on a day."""
        return day in self._sessions(day).places and day not in self._closed

    def is_open(self, instant: datetime) -> bool:
        """Whether trading goes on at an instant: the opening minute is in, the closing minute and breaks are out.

        Raises:
            ProblemError: The instant has no time zone.
        """
        day = _utc(instant).date()
        sessions = self._sessions(day)
        # A session may begin on the evening before its date, and end on the day after.
        place = bisect_left(sessions.days, day)
        nearby = range(max(place - 1, 0), min(place + 2, len(sessions.days)))
        return any(
            opens <= instant < closes
            for near in nearby
            if sessions.days[near] not in self._closed
            for opens, closes in sessions.hours[near]
        )

    def local_date(self, instant: datetime) -> date:
        """The date on the exchange's clocks.

        Raises:
            ProblemError: The instant has no time zone.
        """
        day = _utc(instant).date()
        return instant.astimezone(self._sessions(day).zone).date()

    def opens_at(self, day: date) -> datetime:
        """First instant of a trading day, UTC."""
        return self._hours(day)[0][0]

    def closes_at(self, day: date) -> datetime:
        """First instant after a trading day, UTC."""
        return self._hours(day)[-1][1]

    def early_closes(self, first: date, last: date) -> tuple[date, ...]:
        """Trading days that end before the usual hour, both ends in."""
        early = self._sessions(last).early
        return tuple(day for day in self.between(first, last) if day in early)

    def between(self, first: date, last: date) -> tuple[date, ...]:
        """Trading days from one day to another, both ends in."""
        self._sessions(first)
        days = self._sessions(last).days
        return tuple(
            day for day in days[bisect_left(days, first) : bisect_right(days, last)] if day not in self._closed
        )

    def first_on_or_after(self, day: date) -> date:
        """The day itself if it is a trading day, else the next one."""
        days = self._sessions(day).days
        return self._open_among(days[bisect_left(days, day) :], day)

    def first_after(self, day: date) -> date:
        """The next trading day."""
        days = self._sessions(day).days
        return self._open_among(days[bisect_right(days, day) :], day)

    def last_on_or_before(self, day: date) -> date:
        """The day itself if it is a trading day, else the one before."""
        days = self._sessions(day).days
        return self._open_among(reversed(days[: bisect_right(days, day)]), day)

    def last_before(self, day: date) -> date:
        """The trading day before."""
        days = self._sessions(day).days
        return self._open_among(reversed(days[: bisect_left(days, day)]), day)

    def due(self, schedule: Schedule | str, after: date, until: date) -> tuple[date, ...]:
        """Days on which a schedule looks, later than one day and not later than another.

        Args:
            schedule: A word of `Schedule`.
            after: Excluded.
            until: Included.

        Returns:
            Trading days, ascending, as far as they are known; none for MANUAL.
        """
        rule, until = Schedule(schedule), self._known_until(until)
        if rule is Schedule.MANUAL or until <= after:
            return ()
        return tuple(day for day in self.between(after, until) if day > after and self._begins_period(rule, day))

    def settlement_calendar(self, first: date, last: date) -> SettlementCalendar:
        """Trading and settlement days, both ends in and as far as they are known, with the cycles of the exchange.

        Money moves on trading days on which the banks are open.

        Raises:
            ProblemError: The settlement cycle of the exchange is not known.
        """
        rules, last = settlement_rules(self.exchange), self._known_until(last)
        days = self.between(first, last)
        holidays = rules.bank_holidays(first.year, last.year)
        return SettlementCalendar(days, tuple(day for day in days if day not in holidays), rules.cycles)

    def _begins_period(self, rule: Schedule, day: date) -> bool:
        return rule is Schedule.DAILY or _period(rule, self.last_before(day)) != _period(rule, day)

    def _hours(self, day: date) -> tuple[tuple[datetime, datetime], ...]:
        if not self.is_trading_day(day):
            raise ProblemError("date", f"{self.exchange} does not trade on {day.isoformat()}")
        sessions = self._sessions(day)
        return sessions.hours[sessions.places[day]]

    def _open_among(self, days: Iterable[date], asked: date) -> date:
        for day in days:
            if day not in self._closed:
                return day
        raise _unknown(self.exchange, asked)

    def _known_until(self, day: date) -> date:
        return min(day, self._grown(day).span[1])

    def _grown(self, day: date) -> _Sessions:
        """The sessions up to a day at least, if the library knows them so far."""
        sessions = _known.get(self.exchange)
        if _reaches(sessions, day):
            return sessions
        with _building:
            sessions = _known.get(self.exchange)
            if not _reaches(sessions, day):
                sessions = _known[self.exchange] = _build(self.exchange, day.year)
        return sessions

    def _sessions(self, day: date) -> _Sessions:
        """The sessions, of which the day is within what is known.

        Raises:
            ProblemError: It is not.
        """
        sessions = self._grown(day)
        if not sessions.span[0] <= day <= sessions.span[1]:
            raise _unknown(self.exchange, day)
        return sessions


def _reaches(sessions: _Sessions | None, day: date) -> TypeGuard[_Sessions]:
    return sessions is not None and (day.year < sessions.span[1].year or sessions.is_all)


def _period(rule: Schedule, day: date) -> tuple[int, int]:
    if rule is Schedule.WEEKLY:
        return day.isocalendar()[:2]
    return day.year, (day.month - 1) // 3 if rule is Schedule.QUARTERLY else day.month


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ProblemError("instant", f"{instant.isoformat()} has no time zone")
    return instant.astimezone(UTC)


def _unknown(exchange: str, day: date) -> ProblemError:
    return ProblemError("date", f"the trading days of {exchange} are not known as far as {day.isoformat()}")


def _library() -> Any:  # noqa: ANN401 - untyped
    """Imported on first use: it takes half a second, and a process that plans nothing does without."""
    import exchange_calendars  # noqa: PLC0415

    return exchange_calendars


def _canonical(exchange: str) -> str:
    library = _library()
    aliases = library.get_calendar_names(include_aliases=True)
    if exchange not in aliases:
        examples = ", ".join(_EXAMPLES)
        raise ProblemError("exchange", f"{exchange[:40]!r} has no calendar; examples of those that have: {examples}")
    return str(library.resolve_alias(exchange))


def _build(exchange: str, year: int) -> _Sessions:
    """The sessions up to some years after one, or as far as the library knows them."""
    library = _library()
    with warnings.catch_warnings():
        # The library's own use of pandas, which nobody here can change.
        warnings.simplefilter("ignore")
        bounds = library.get_calendar(exchange)
        first, wanted = date(_FIRST_YEAR, 1, 1), date(min(max(year, _FIRST_YEAR) + _YEARS_AHEAD, _LAST_YEAR), 12, 31)
        first = max(first, _day(bounds.bound_min(), first))
        last = min(wanted, _day(bounds.bound_max(), wanted))
        calendar = library.get_calendar(exchange, start=first.isoformat(), end=last.isoformat())
        early = frozenset(calendar.early_closes.date)
        hours = tuple(map(_open_hours, calendar.opens, calendar.break_starts, calendar.break_ends, calendar.closes))
    is_all = last < wanted or wanted.year == _LAST_YEAR
    return _Sessions(tuple(calendar.sessions.date), hours, early, (first, last), is_all, calendar.tz)


def _day(bound: Any, otherwise: date) -> date:  # noqa: ANN401 - untyped
    return otherwise if bound is None else bound.date()


def _open_hours(opens: Any, pause: Any, resume: Any, closes: Any) -> tuple[tuple[datetime, datetime], ...]:  # noqa: ANN401
    """Hours of one session, from timestamps of pandas; without a break these are no time, which is unlike itself."""
    if pause == pause:  # noqa: PLR0124
        return (opens.to_pydatetime(), pause.to_pydatetime()), (resume.to_pydatetime(), closes.to_pydatetime())
    return ((opens.to_pydatetime(), closes.to_pydatetime()),)
