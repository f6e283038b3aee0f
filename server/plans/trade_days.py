"""The day that counts for holding periods: that of the trade, on the clocks of the portfolio's exchange."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from kernel.errors import ProblemError
from server.trading_days import DEFAULT_EXCHANGE, TradingDays
from storage.records import Portfolio


def exchange_of(portfolio: Portfolio) -> str:
    """The exchange whose trading days a portfolio follows; New York unless its preferences name another."""
    return str((portfolio.preferences.get("rebalancing") or {}).get("exchange") or DEFAULT_EXCHANGE)


async def trade_day(portfolio: Portfolio, moment: datetime) -> date:
    """The trade date of an execution.

    Args:
        portfolio: Whose exchange it is.
        moment: When it was executed.
    """
    try:
        # The first calendar of a process takes its time, in which others go on.
        return await asyncio.to_thread(_local_date, exchange_of(portfolio), moment)
    except ProblemError:
        # An exchange that nobody knows, brought in by a file, must keep no execution from being recorded.
        return moment.astimezone(UTC).date()


def _local_date(exchange: str, moment: datetime) -> date:
    return TradingDays(exchange).local_date(moment)
