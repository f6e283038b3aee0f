"""The sample data set: real daily prices of twenty US stocks, the S&P 500 index and five factor funds, 1990 to 2022.

The prices are adjusted for splits and dividends, so they are not what was paid on the day. Lots are stated in the same
adjusted shares and prices: gains include reinvested dividends. The prices end on 2022-12-28; their authors provide them
for tests and examples only, not as market data to rely on.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from server.imports.weights import normalized
from server.sample.facts import FACTS_SOURCE, INDEX_ID, STOCKS, index_instrument, stock_instruments
from server.sample.files import FACTORS_FILE, INDEX_FILE, STOCKS_FILE, read_levels
from server.sample.portfolios import BENCHMARK_ID, sample_portfolios
from storage.records import Benchmark, Instrument, Portfolio
from storage.tables import FactorTable, PriceTable

PRICES_SOURCE = "sample: skfolio data sets, closes adjusted for splits and dividends"
FACTORS_SOURCE = "sample-factors: skfolio data sets, daily returns of MTUM, QUAL, SIZE, USMV and VLUE"
FACTOR_NAMES = {
    "MTUM": "momentum",
    "QUAL": "quality",
    "SIZE": "size",
    "USMV": "minimum_volatility",
    "VLUE": "value",
}


@dataclass(frozen=True, slots=True)
class SampleData:
    """Everything of the sample.

    Attributes:
        instruments: The twenty stocks and the index.
        prices: Closes of the stocks and levels of the index.
        factors: Daily simple returns of the five factor funds, by the name of the factor.
        benchmark: The twenty stocks by market capitalisation of February 2018, with the index as its price series.
        portfolios: `sample-growth` and `sample-defensive`.
    """

    instruments: tuple[Instrument, ...]
    prices: PriceTable
    factors: FactorTable
    benchmark: Benchmark
    portfolios: tuple[Portfolio, ...]


def build_sample() -> SampleData:
    """Reads the files and builds the records; the same every time.

    Raises:
        SampleUnavailableError: The extra `sample` is not installed.
    """
    prices = _prices()
    return SampleData(
        instruments=(*stock_instruments(), index_instrument()),
        prices=prices,
        factors=_factors(),
        benchmark=_benchmark(),
        portfolios=sample_portfolios(prices),
    )


def _prices() -> PriceTable:
    stocks, index = read_levels(STOCKS_FILE), read_levels(INDEX_FILE)
    days, stock_rows, index_rows = np.intersect1d(stocks.dates, index.dates, return_indices=True)
    closes = np.column_stack((stocks.values[stock_rows], index.values[index_rows]))
    return PriceTable((*stocks.names, INDEX_ID), days, closes)


def _factors() -> FactorTable:
    levels = read_levels(FACTORS_FILE)
    names = tuple(FACTOR_NAMES[fund] for fund in levels.names)
    return FactorTable(names, levels.dates[1:], levels.values[1:] / levels.values[:-1] - 1)


def _benchmark() -> Benchmark:
    return Benchmark(
        id=BENCHMARK_ID,
        name="Twenty S&P 500 stocks by market capitalisation",
        weights=normalized({stock.id: Decimal(stock.market_cap) for stock in STOCKS}),
        index_instrument_id=INDEX_ID,
        source=f"market capitalisations: {FACTS_SOURCE}",
    )
