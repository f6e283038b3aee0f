"""The two sample portfolios, from purchases on real past trading days at the closing prices of those days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import groupby

import numpy as np

from server.sample.facts import STOCKS
from storage.records import Holding, Portfolio, TaxLot
from storage.tables import PriceTable

BENCHMARK_ID = "sample-sp500"
GROWTH_ID = "sample-growth"
DEFENSIVE_ID = "sample-defensive"

# Stated inputs: the top federal rates on ordinary income (37%) and long-term gains (20%), each with the 3.8% surtax.
SHORT_TERM_TAX_RATE = Decimal("0.408")
LONG_TERM_TAX_RATE = Decimal("0.238")

GROWTH_CASH = Decimal("48250.00")
DEFENSIVE_CASH = Decimal("12400.00")

# Shares bought, per day and stock, in the shares of the adjusted prices. The days span the calm of 2018, the low of
# March 2020, two highs of 2021 and the fall of 2022, so that on the last day of the prices there are lots with gains
# and with losses, held for longer and for less than a year, and one bought within the last thirty days.
GROWTH_PURCHASES: Mapping[date, Mapping[str, int]] = {
    date(2018, 3, 1): {
        "AAPL": 400, "AMD": 800, "GE": 300, "JNJ": 350, "JPM": 400, "KO": 600, "MSFT": 300, "PEP": 150, "PG": 200,
    },
    date(2020, 3, 23): {"AAPL": 700, "BAC": 1500, "CVX": 500, "HD": 250, "LLY": 250, "UNH": 180, "XOM": 900},
    date(2021, 6, 14): {"BBY": 400, "MRK": 400, "MSFT": 250, "PFE": 600, "RRC": 1200},
    date(2021, 11, 22): {"AAPL": 300, "AMD": 600, "BAC": 800, "HD": 60, "PFE": 300, "WMT": 200},
    date(2022, 3, 14): {"AAPL": 200, "AMD": 200, "JPM": 150, "LLY": 40, "PEP": 80, "PFE": 300, "PG": 100},
    date(2022, 9, 30): {"BBY": 200, "GE": 400, "JNJ": 100, "MSFT": 100, "RRC": 500, "UNH": 20, "WMT": 100},
    date(2022, 12, 12): {"MSFT": 50},
}  # fmt: skip
DEFENSIVE_PURCHASES: Mapping[date, Mapping[str, int]] = {
    date(2015, 6, 15): {"JNJ": 300, "KO": 500, "PEP": 200, "PG": 300},
    date(2020, 3, 23): {"LLY": 120, "MRK": 350, "UNH": 60, "WMT": 300},
    date(2022, 3, 14): {"JNJ": 80, "PG": 120, "WMT": 100},
    date(2022, 9, 30): {"KO": 300, "MRK": 150},
}


def sample_portfolios(prices: PriceTable) -> tuple[Portfolio, ...]:
    """Both portfolios, valued by nobody yet: cash, holdings and the lots they consist of."""
    return (
        _portfolio(GROWTH_ID, "Sample growth portfolio", GROWTH_CASH, _lots(GROWTH_PURCHASES, prices)),
        _portfolio(DEFENSIVE_ID, "Sample defensive portfolio", DEFENSIVE_CASH, _lots(DEFENSIVE_PURCHASES, prices)),
    )


def _portfolio(portfolio_id: str, name: str, cash: Decimal, lots: tuple[TaxLot, ...]) -> Portfolio:
    groups = groupby(lots, key=lambda lot: lot.instrument_id)
    return Portfolio(
        id=portfolio_id,
        name=name,
        cash=cash,
        benchmark_id=BENCHMARK_ID,
        short_term_tax_rate=SHORT_TERM_TAX_RATE,
        long_term_tax_rate=LONG_TERM_TAX_RATE,
        holdings=tuple(Holding(name, sum((lot.quantity for lot in group), Decimal(0))) for name, group in groups),
        lots=lots,
    )


def _lots(purchases: Mapping[date, Mapping[str, int]], prices: PriceTable) -> tuple[TaxLot, ...]:
    """One lot per purchase, by stock and then by day."""
    return tuple(
        TaxLot(
            id=f"{stock.id}-{day}",
            instrument_id=stock.id,
            quantity=Decimal(shares[stock.id]),
            acquired_on=day,
            cost_per_share=_close(prices, stock.id, day),
        )
        for stock in STOCKS
        for day, shares in sorted(purchases.items())
        if stock.id in shares
    )


def _close(prices: PriceTable, instrument_id: str, day: date) -> Decimal:
    row = int(np.searchsorted(prices.dates, np.datetime64(day)))
    assert prices.dates[row] == np.datetime64(day), f"{day} is no trading day of the sample"
    return Decimal(repr(float(prices.closes[row, prices.instrument_ids.index(instrument_id)])))
