"""Settlement dates on calendars made by hand."""

from datetime import date, timedelta

import pytest

from kernel.errors import ProblemError
from kernel.rebalancing.settlement import SettlementCalendar, SettlementCycle, good_faith_violation
from tests.unit.kernel.rebalancing.sequences import weekdays

MONDAY = date(2024, 5, 20)
DAYS = tuple(day for day in weekdays(MONDAY, 30) if day != date(2024, 5, 27))
CYCLES = (SettlementCycle(date(2017, 9, 5), 2), SettlementCycle(date(2024, 5, 28), 1))


def calendar(closed=(), days=DAYS, cycles=CYCLES):
    return SettlementCalendar(days, tuple(day for day in days if day not in closed), cycles)


def test_the_cycle_of_the_trade_date_holds():
    """Trades of the last day of the old cycle and the first of the new one settle together."""
    settled = {day: calendar().settlement_date(day) for day in DAYS[:8]}
    assert settled[date(2024, 5, 23)] == date(2024, 5, 28)
    assert settled[date(2024, 5, 24)] == date(2024, 5, 29)
    assert settled[date(2024, 5, 28)] == date(2024, 5, 29)
    assert settled[date(2024, 5, 29)] == date(2024, 5, 30)


@pytest.mark.parametrize("cycle", range(6))
def test_against_counting_day_by_day(cycle):
    closed = {date(2024, 6, 5), date(2024, 6, 6), date(2024, 6, 17)}
    for trade_date in DAYS[:20]:
        day, left = trade_date, cycle
        while left or day in closed or day not in DAYS:
            day += timedelta(days=1)
            left -= day in DAYS and day not in closed and left > 0
        assert calendar(closed).settlement_date(trade_date, cycle) == day


def test_settlement_days_between():
    found = calendar({date(2024, 5, 29)}).settlement_days_between(date(2024, 5, 24), date(2024, 5, 30))
    assert found == (date(2024, 5, 24), date(2024, 5, 28), date(2024, 5, 30))


def test_trading_days_from():
    assert calendar().trading_days_from(date(2024, 5, 25), 2) == (date(2024, 5, 28), date(2024, 5, 29))
    with pytest.raises(ProblemError, match=f"ends on {DAYS[-1].isoformat()}"):
        calendar().trading_days_from(DAYS[-1], 2)
    with pytest.raises(ProblemError, match="is empty"):
        calendar(days=()).trading_days_from(MONDAY, 1)


def test_refusals():
    with pytest.raises(ProblemError, match="2024-05-25 is no trading day"):
        calendar().settlement_date(date(2024, 5, 25))
    with pytest.raises(ProblemError, match="cycle of 2024-05-20 is not known"):
        calendar(cycles=CYCLES[1:]).settlement_date(MONDAY)
    with pytest.raises(ProblemError, match="settlement calendar ends"):
        calendar().settlement_date(DAYS[-1])
    with pytest.raises(ProblemError, match="ascending"):
        calendar(days=(DAYS[1], DAYS[0]))
    with pytest.raises(ProblemError, match="ascending"):
        calendar(cycles=CYCLES[::-1])
    with pytest.raises(ProblemError, match="no trading day"):
        SettlementCalendar(DAYS[1:], DAYS, CYCLES)
    with pytest.raises(ProblemError, match="cycles"):
        SettlementCycle(MONDAY, -1)


@pytest.mark.parametrize(("sold_on", "violation"), [(27, True), (28, True), (29, False), (30, False)])
def test_good_faith(sold_on, violation):
    """The money that paid settles on the 29th; from then on the shares may be sold."""
    assert good_faith_violation(date(2024, 5, 29), date(2024, 5, sold_on)) is violation
