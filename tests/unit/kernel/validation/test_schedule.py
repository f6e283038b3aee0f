"""Windows of a validation: every judged day lies behind all that was seen, and none is judged twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import ProblemError
from kernel.validation.schedule import LEAST_JUDGED_DAYS, ScheduleSettings, Window, purged_windows

FIRST = np.datetime64("2020-01-01")


def days(count: int) -> np.ndarray:
    return FIRST + np.arange(count)


def test_rolling_windows() -> None:
    found = purged_windows(days(16), ScheduleSettings(train_days=5, rebalance_days=4))
    # Prices 0..15; five returns end at price 5; days 6..9 and 10..13 are judged, then the two that are left.
    assert found == (Window(0, 5, 5, 9), Window(4, 9, 9, 13), Window(8, 13, 13, 15))


def test_a_last_window_of_one_day_is_left_out() -> None:
    found = purged_windows(days(15), ScheduleSettings(train_days=5, rebalance_days=4))
    assert found == (Window(0, 5, 5, 9), Window(4, 9, 9, 13))


def test_expanding_windows_begin_at_the_first_day() -> None:
    found = purged_windows(days(14), ScheduleSettings(train_days=5, rebalance_days=4, expanding=True))
    assert found == (Window(0, 5, 5, 9), Window(0, 9, 9, 13))


def test_the_embargo_lies_between_what_is_seen_and_the_rebalance() -> None:
    found = purged_windows(days(18), ScheduleSettings(train_days=5, rebalance_days=4, embargo_days=3))
    assert found == (Window(0, 5, 8, 12), Window(4, 9, 12, 16))


def test_dates_bound_what_is_judged() -> None:
    settings = ScheduleSettings(5, 4, 1, first_date=FIRST + 10, last_date=FIRST + 15)
    assert purged_windows(days(30), settings) == (Window(3, 8, 9, 13), Window(7, 12, 13, 15))


def test_a_first_date_without_prices_is_the_next_day_that_has_some() -> None:
    dates = days(20)[::2]
    found = purged_windows(dates, ScheduleSettings(3, 3, first_date=FIRST + 9, last_date=FIRST + 17))
    assert found == (Window(1, 4, 4, 7),)
    assert dates[found[0].start + 1] == FIRST + 10


@given(
    count=st.integers(2, 300),
    train=st.integers(1, 60),
    rebalance=st.integers(2, 30),
    embargo=st.integers(0, 40),
    expanding=st.booleans(),
)
def test_nothing_judged_was_seen(count: int, train: int, rebalance: int, embargo: int, expanding: bool) -> None:
    settings = ScheduleSettings(train, rebalance, embargo, expanding)
    if count < train + embargo + LEAST_JUDGED_DAYS + 1:
        with pytest.raises(ProblemError, match="train_days"):
            purged_windows(days(count), settings)
        return
    found = purged_windows(days(count), settings)
    assert found[0].seen_until - found[0].seen_from == train
    assert all(window.seen_until + embargo == window.start for window in found)
    assert all(window.seen_until - window.seen_from >= train for window in found)
    assert all(earlier.stop == later.start for earlier, later in pairwise(found))
    assert all(window.days == rebalance for window in found[:-1])
    assert LEAST_JUDGED_DAYS <= found[-1].days <= rebalance
    assert count - 1 - found[-1].stop < LEAST_JUDGED_DAYS


REFUSED = {
    "too little history": (
        ScheduleSettings(100),
        "train_days",
        "of 100 with an embargo of 0 and 2 judged days needs 103 days of prices; there are 30 from 2020-01-01 to "
        "2020-01-30",
    ),
    "too early": (
        ScheduleSettings(10, embargo_days=2, first_date=FIRST + 5),
        "first_date",
        "is 2020-01-06, but with 10 returns and an embargo of 2 days before it the first day that can be judged is "
        "2020-01-14",
    ),
    "nothing left": (
        ScheduleSettings(10, first_date=FIRST + 29),
        "first_date",
        "is 2020-01-30, which leaves fewer than 2 days to judge until 2020-01-30",
    ),
    "after the end": (
        ScheduleSettings(10, first_date=FIRST + 99),
        "first_date",
        "is 2020-04-09, which leaves fewer than 2 days to judge until 2020-01-30",
    ),
    "beyond the prices": (
        ScheduleSettings(10, last_date=FIRST + 99),
        "last_date",
        "is 2020-04-09, after the last day of prices, 2020-01-30",
    ),
    "before the prices": (
        ScheduleSettings(10, last_date=FIRST - 5),
        "train_days",
        "of 10 with an embargo of 0 and 2 judged days needs 13 days of prices; there are 0 before 2019-12-27",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_history_has_no_room_for_is_refused_with_the_numbers(name: str) -> None:
    settings, field, reason = REFUSED[name]
    with pytest.raises(ProblemError) as caught:
        purged_windows(days(30), settings)
    assert (caught.value.field, caught.value.reason) == (field, reason)
