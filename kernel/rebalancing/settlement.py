"""Settlement: the day on which shares and money of a trade change hands, on a calendar given as data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from kernel.errors import ProblemError


@dataclass(frozen=True, slots=True)
class SettlementCycle:
    """A rule with the day from which it holds.

    Attributes:
        since: First trade date of the rule.
        days: Settlement days from the trade date to settlement, >= 0.
    """

    since: date
    days: int

    def __post_init__(self) -> None:
        if self.days < 0:
            raise ProblemError("cycles", f"must have zero or more days, got {self.days}")


@dataclass(frozen=True, slots=True)
class SettlementCalendar:
    """Two calendars and the cycles between them.

    A day on which the exchange trades while the banks are closed is a trading day and no settlement day: its trades
    settle together with those of the trading day before.

    Attributes:
        trading_days: Ascending.
        settlement_days: Ascending; a part of the trading days.
        cycles: By ascending `since`; the last one that has begun on the trade date holds.
    """

    trading_days: tuple[date, ...]
    settlement_days: tuple[date, ...]
    cycles: tuple[SettlementCycle, ...]

    def __post_init__(self) -> None:
        for name in ("trading_days", "settlement_days"):
            days = getattr(self, name)
            if any(later <= earlier for earlier, later in pairwise(days)):
                raise ProblemError(f"calendar.{name}", "must be ascending, each day once")
        if foreign := set(self.settlement_days) - set(self.trading_days):
            raise ProblemError("calendar.settlement_days", f"has {min(foreign).isoformat()}, which is no trading day")
        beginnings = [cycle.since for cycle in self.cycles]
        if beginnings != sorted(set(beginnings)):
            raise ProblemError("calendar.cycles", "must be ascending, each beginning once")

    def trading_days_from(self, first: date, count: int) -> tuple[date, ...]:
        """The first trading days on or after a day.

        Args:
            first: Any day.
            count: How many, >= 1.

        Returns:
            As many trading days.

        Raises:
            ProblemError: The calendar ends before them.
        """
        place = bisect_left(self.trading_days, first)
        _at(self.trading_days, place + count - 1, "trading")
        return self.trading_days[place : place + count]

    def settlement_date(self, trade_date: date, days: int | None = None) -> date:
        """The n-th settlement day after the trade date.

        Args:
            trade_date: A trading day.
            days: n; None for the cycle of the trade date.

        Returns:
            The settlement day; for n = 0 the first one on or after the trade date.

        Raises:
            ProblemError: The day is no trading day, is older than the first cycle, or the calendar ends before
                settlement.

        References:
            17 CFR 240.15c6-1(a); NASD Notices to Members 88-82, 92-54, 95-77 and 99-83.
        """
        at = bisect_left(self.trading_days, trade_date)
        if at == len(self.trading_days) or self.trading_days[at] != trade_date:
            raise ProblemError("trade_date", f"{trade_date.isoformat()} is no trading day of the calendar")
        count = self.cycle_days(trade_date) if days is None else days
        if not count:
            return _at(self.settlement_days, bisect_left(self.settlement_days, trade_date), "settlement")
        return _at(self.settlement_days, bisect_right(self.settlement_days, trade_date) + count - 1, "settlement")

    def cycle_days(self, trade_date: date) -> int:
        """Settlement days between trade and settlement, by the cycle of the trade date.

        Raises:
            ProblemError: The trade date is before the first cycle.
        """
        begun = [cycle for cycle in self.cycles if cycle.since <= trade_date]
        if not begun:
            raise ProblemError("trade_date", f"the settlement cycle of {trade_date.isoformat()} is not known")
        return begun[-1].days

    def settlement_days_between(self, first: date, last: date) -> tuple[date, ...]:
        """Settlement days from one day to another, both ends in."""
        return self.settlement_days[bisect_left(self.settlement_days, first) : bisect_right(self.settlement_days, last)]


def good_faith_violation(funds_settle_on: date, sold_on: date) -> bool:
    """Whether a sale in a cash account comes before the money that paid for the shares has settled.

    Args:
        funds_settle_on: Settlement day of the proceeds that paid for the purchase.
        sold_on: Trade date of the sale of the shares so bought.

    Returns:
        True for a good-faith violation.

    References:
        Regulation T, 12 CFR 220.8(a).
    """
    return sold_on < funds_settle_on


def _at(days: tuple[date, ...], place: int, kind: str) -> date:
    if place >= len(days):
        end = f"ends on {days[-1].isoformat()}" if days else "is empty"
        raise ProblemError("calendar", f"the {kind} calendar {end}, before the trades are done")
    return days[place]
