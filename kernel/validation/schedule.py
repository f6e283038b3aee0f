"""When a walk-forward validation decides, what it sees then, and which days it is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernel.errors import ProblemError

Dates = npt.NDArray[np.datetime64]

# One return has no volatility.
LEAST_JUDGED_DAYS = 2


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """The rhythm of a validation.

    Attributes:
        train_days: Returns that the first optimization sees, and all others too unless `expanding`; >= 1.
        rebalance_days: Days from one rebalance to the next, >= 2.
        embargo_days: Days from the last one seen to the rebalance, >= 0.
        expanding: Whether every optimization sees all days from the first.
        first_date: Judged returns are of this day or later; None = as early as the window allows.
        last_date: Judged returns are of this day or earlier; None = the last day.
    """

    train_days: int = 504
    rebalance_days: int = 21
    embargo_days: int = 0
    expanding: bool = False
    first_date: np.datetime64 | None = None
    last_date: np.datetime64 | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """One rebalance, as places among the days of prices: seen_from < seen_until <= start < stop.

    Attributes:
        seen_from: First price seen.
        seen_until: Last price seen.
        start: The rebalance is at the close of this day.
        stop: Last day judged; the first is the one after `start`.
    """

    seen_from: int
    seen_until: int
    start: int
    stop: int

    @property
    def days(self) -> int:
        """Days judged."""
        return self.stop - self.start


def purged_windows(dates: Dates, settings: ScheduleSettings) -> tuple[Window, ...]:
    """The windows of a validation: each is judged by days behind all that its optimization sees.

        seen_until + embargo = start,   judged (start, stop],   stop = min(start + rebalance, last)

    Args:
        dates: (T + 1,) days of prices in ascending order, ``datetime64[D]``.
        settings: The rhythm.

    Returns:
        At least one window, in order of time; what is judged follows without holes. A last window of a single day is
        left out.

    Raises:
        ProblemError: The history is too short for what is asked; the numbers are named.

    References:
        Lopez de Prado (2018), sections 7.4 and 11.5: purging and embargo.
    """
    last = _last_place(dates, settings)
    start = _first_start(dates, settings, last)
    if last - start < LEAST_JUDGED_DAYS:
        raise ProblemError(*_too_short(dates, settings, last, start))
    windows = []
    while last - start >= LEAST_JUDGED_DAYS:
        seen_until = start - settings.embargo_days
        seen_from = 0 if settings.expanding else seen_until - settings.train_days
        stop = min(start + settings.rebalance_days, last)
        windows.append(Window(seen_from, seen_until, start, stop))
        start = stop
    return tuple(windows)


def _last_place(dates: Dates, settings: ScheduleSettings) -> int:
    asked = settings.last_date
    if asked is None:
        return len(dates) - 1
    if asked > dates[-1]:
        raise ProblemError("last_date", f"is {asked}, after the last day of prices, {dates[-1]}")
    return int(np.searchsorted(dates, asked, side="right")) - 1


def _first_start(dates: Dates, settings: ScheduleSettings, last: int) -> int:
    """The day before the first one judged."""
    earliest = settings.train_days + settings.embargo_days
    asked = settings.first_date
    if asked is None or earliest + LEAST_JUDGED_DAYS > last:
        return earliest
    start = int(np.searchsorted(dates, asked)) - 1
    if start < earliest:
        needed = f"{settings.train_days} returns and an embargo of {settings.embargo_days} days before it"
        reason = f"is {asked}, but with {needed} the first day that can be judged is {dates[earliest + 1]}"
        raise ProblemError("first_date", reason)
    return start


def _too_short(dates: Dates, settings: ScheduleSettings, last: int, start: int) -> tuple[str, str]:
    """The field at fault and why nothing can be judged."""
    if settings.first_date is not None and start > settings.train_days + settings.embargo_days:
        until = dates[last]
        return "first_date", f"is {settings.first_date}, which leaves fewer than 2 days to judge until {until}"
    needed = settings.train_days + settings.embargo_days + LEAST_JUDGED_DAYS + 1
    period = f"from {dates[0]} to {dates[last]}" if last >= 0 else f"before {settings.last_date}"
    rest = f"an embargo of {settings.embargo_days} and 2 judged days"
    reason = f"of {settings.train_days} with {rest} needs {needed} days of prices; there are {last + 1} {period}"
    return "train_days", reason
