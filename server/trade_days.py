"""The day that counts for holding periods: that of the trade, on the clocks of the portfolio's exchange."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from kernel.errors import ProblemError
from server.trading_days import DEFAULT_EXCHANGE, TradingDays
from storage.records import Portfolio


async def trade_day(portfolio: Portfolio, moment: datetime) -> date:
    """The trade date of an execution.

    Args:
        portfolio: Whose preferences name the exchange; without one it is New York.
        moment: When it was executed.
    """
    preferences = portfolio.preferences.get("rebalancing") or {}
    exchange = str(preferences.get("exchange") or DEFAULT_EXCHANGE)
    try:
        # The first calendar of a process takes its time, in which others go on.
        return await asyncio.to_thread(_local_date, exchange, moment)
    except ProblemError:
        # An exchange that nobody knows, brought in by a file, must keep no execution from being recorded.
        return moment.astimezone(UTC).date()


def _local_date(exchange: str, moment: datetime) -> date:
    return TradingDays(exchange).local_date(moment)
