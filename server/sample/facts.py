"""Facts about the twenty stocks of the sample: name, GICS sector and market capitalisation of February 2018."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from storage.records import Instrument

FACTS_SOURCE = "datasets/s-and-p-500-companies-financials, 8 Feb 2018, PDDL"
INDEX_ID = "SP500"
INDEX_SOURCE = "S&P 500 price index, levels without dividends"


@dataclass(frozen=True, slots=True)
class StockFacts:
    """What is known of a stock: GICS sector (classification of 2018) and market capitalisation in US dollars."""

    id: str
    name: str
    sector: str
    market_cap: int


STOCKS = (
    StockFacts("AAPL", "Apple Inc.", "Information Technology", 809_508_034_020),
    StockFacts("AMD", "Advanced Micro Devices Inc.", "Information Technology", 11_191_663_795),
    StockFacts("BAC", "Bank of America Corp.", "Financials", 321_478_200_969),
    StockFacts("BBY", "Best Buy Co. Inc.", "Consumer Discretionary", 20_831_186_176),
    StockFacts("CVX", "Chevron Corp.", "Energy", 218_978_820_159),
    StockFacts("GE", "General Electric", "Industrials", 132_249_296_250),
    StockFacts("HD", "Home Depot", "Consumer Discretionary", 223_378_633_329),
    StockFacts("JNJ", "Johnson & Johnson", "Health Care", 353_062_464_971),
    StockFacts("JPM", "JPMorgan Chase & Co.", "Financials", 386_613_611_000),
    StockFacts("KO", "Coca-Cola Company", "Consumer Staples", 189_855_335_601),
    StockFacts("LLY", "Eli Lilly & Co.", "Health Care", 84_475_986_228),
    StockFacts("MRK", "Merck & Co.", "Health Care", 152_241_530_340),
    StockFacts("MSFT", "Microsoft Corp.", "Information Technology", 689_978_437_468),
    StockFacts("PEP", "PepsiCo Inc.", "Consumer Staples", 161_413_271_020),
    StockFacts("PFE", "Pfizer Inc.", "Health Care", 208_505_541_949),
    StockFacts("PG", "Procter & Gamble", "Consumer Staples", 206_318_943_299),
    StockFacts("RRC", "Range Resources Corp.", "Energy", 3_255_587_970),
    StockFacts("UNH", "UnitedHealth Group Inc.", "Health Care", 218_834_811_333),
    StockFacts("WMT", "Walmart", "Consumer Staples", 304_680_931_618),
    StockFacts("XOM", "Exxon Mobil Corp.", "Energy", 326_148_660_000),
)


def stock_instruments() -> tuple[Instrument, ...]:
    """The twenty stocks, traded in whole shares. Quality score and volume stay unknown: nobody has stated them."""
    return tuple(
        Instrument(
            id=stock.id,
            name=stock.name,
            asset_class="equity",
            sector=stock.sector,
            country="US",
            market_cap=Decimal(stock.market_cap),
            source=FACTS_SOURCE,
        )
        for stock in STOCKS
    )


def index_instrument() -> Instrument:
    """The S&P 500 index: a price series to compare with, not something to trade."""
    return Instrument(
        id=INDEX_ID, name="S&P 500 index", asset_class="index", sector="", country="US", source=INDEX_SOURCE
    )
