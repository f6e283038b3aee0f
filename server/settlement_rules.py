"""Settlement cycles and bank holidays, as dated data with their sources: `settlement_rules.json`."""

from __future__ import annotations

import json
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from kernel.errors import ProblemError
from kernel.rebalancing.settlement import SettlementCycle

_SATURDAY, _SUNDAY = 5, 6


@dataclass(frozen=True, slots=True)
class BankHoliday:
    """A rule for one day of the year: a date, or the n-th weekday of a month.

    Attributes:
        month: 1 to 12.
        day: Of the month; None where a weekday is counted.
        weekday: 0 is Monday.
        nth: From 1, or -1 for the last.
        since: First day on which the rule holds; None = always.
        moves_from_saturday: Whether a holiday on a Saturday is kept on Monday; otherwise it closes no other day.
    """

    month: int
    day: int | None
    weekday: int
    nth: int
    since: date | None
    moves_from_saturday: bool = False

    def of_year(self, year: int) -> date | None:
        """The day on which the banks are closed, None where the rule does not hold yet.

        What falls on a Sunday is kept on Monday.
        """
        day = self._weekday(year) if self.day is None else date(year, self.month, self.day)
        if self.since is not None and day < self.since:
            return None
        if day.weekday() == _SATURDAY and self.moves_from_saturday:
            return day + timedelta(days=2)
        return day + timedelta(days=1) if day.weekday() == _SUNDAY else day

    def _weekday(self, year: int) -> date:
        if self.nth < 0:
            last = date(year, self.month, monthrange(year, self.month)[1])
            return last - timedelta(days=(last.weekday() - self.weekday) % 7)
        first = date(year, self.month, 1)
        return first + timedelta(days=(self.weekday - first.weekday()) % 7 + 7 * (self.nth - 1))


@dataclass(frozen=True, slots=True)
class SettlementRules:
    """How trades of an exchange settle.

    Attributes:
        cycles: By ascending day of beginning.
        holidays: Of the banks; empty where they are closed on no day on which the exchange trades.
    """

    cycles: tuple[SettlementCycle, ...]
    holidays: tuple[BankHoliday, ...]

    def bank_holidays(self, first_year: int, last_year: int) -> frozenset[date]:
        """Days on which the banks are closed, of whole years, both ends in."""
        days = (rule.of_year(year) for year in range(first_year, last_year + 1) for rule in self.holidays)
        return frozenset(day for day in days if day is not None)


def settlement_rules(exchange: str) -> SettlementRules:
    """The rules of an exchange.

    Args:
        exchange: Canonical code of a calendar.

    Raises:
        ProblemError: They are not known.
    """
    known = _rules()
    if exchange not in known:
        raise ProblemError("exchange", f"the settlement cycle of {exchange} is not known; known: {', '.join(known)}")
    return known[exchange]


@cache
def _rules() -> dict[str, SettlementRules]:
    content = json.loads(files("server").joinpath("settlement_rules.json").read_text(encoding="utf-8"))
    return dict(_of_countries(content))


def _of_countries(content: dict[str, Any]) -> Iterator[tuple[str, SettlementRules]]:
    for country in content.values():
        cycles = tuple(SettlementCycle(date.fromisoformat(rule["since"]), rule["days"]) for rule in country["cycles"])
        holidays = tuple(map(_holiday, country.get("bank_holidays", {}).get("days", ())))
        for exchange in country["exchanges"]:
            yield exchange, SettlementRules(cycles, holidays)


def _holiday(rule: dict[str, Any]) -> BankHoliday:
    since = rule.get("since")
    return BankHoliday(
        month=rule["month"],
        day=rule.get("day"),
        weekday=rule.get("weekday", 0),
        nth=rule.get("nth", 1),
        since=None if since is None else date.fromisoformat(since),
        moves_from_saturday=rule.get("saturday") == "monday",
    )
