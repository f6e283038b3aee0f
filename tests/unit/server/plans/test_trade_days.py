"""The day of a trade is that on the clocks of the exchange."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from server.plans.trade_days import trade_day
from storage.records import Portfolio

EVENING = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("preferences", "day"),
    [
        ({}, date(2026, 11, 19)),
        ({"rebalancing": {}}, date(2026, 11, 19)),
        ({"rebalancing": {"exchange": "XLON"}}, date(2026, 11, 20)),
        ({"rebalancing": {"exchange": "XTKS"}}, date(2026, 11, 20)),
        ({"rebalancing": {"exchange": "NOWHERE"}}, date(2026, 11, 20)),
    ],
)
async def test_the_exchange_of_the_portfolio_says_which_day_it_is(preferences: dict[str, Any], day: date) -> None:
    assert await trade_day(Portfolio(id="one", name="", preferences=preferences), EVENING) == day
