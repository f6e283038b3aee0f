"""Prices of the S&P 500 names and the Fama-French factors, where the shared data folder is beside the project."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pyarrow import csv, parquet

from server.imports.prices import PriceOptions

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDER, FACTORS_FILE = DATA / "sp500_5yr", DATA / "fama_french" / "ff5_daily.csv.gz"
FIVE_FACTORS = ("Mkt-RF", "SMB", "HML", "RMW", "CMA")
RISK_FREE = "RF"
WRONG_SPLIT = "LNT"
WITH_HOLES = {"DHR", "O", "ES", "ICE", "BMY", "ORCL"}
OPTIONS = PriceOptions(
    columns={"id": "ticker", "sector": "gics_sector", "market_cap": "market_cap_usd"},
    source="S&P 500, five years of closes",
    create_instruments=FOLDER / "universe.csv",
    defaults={"country": "US"},
)

needs_prices = pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of S&P 500 prices is not beside the project")
needs_factors = pytest.mark.skipif(
    not FACTORS_FILE.is_file(), reason="the Fama-French factors are not beside the project"
)

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class CompleteNames:
    """The names with a close on every day: (T,) days, (T, n) closes, (n,) facts."""

    names: tuple[str, ...]
    dates: Days
    closes: Floats
    sectors: tuple[str, ...]
    caps: Floats

    @property
    def returns(self) -> Floats:
        """(T - 1, n) simple returns."""
        returns: Floats = self.closes[1:] / self.closes[:-1] - 1.0
        return returns


@cache
def complete_names(*without: str) -> CompleteNames:
    table = parquet.read_table(FOLDER / "close.parquet")
    facts = csv.read_csv(FOLDER / "universe.csv").to_pydict()
    place = {ticker: i for i, ticker in enumerate(facts["ticker"])}
    wanted = [name for name in table.column_names if name in place and name not in without]
    closes = {name: table[name].to_numpy().astype(float) for name in wanted}
    names = tuple(name for name, prices in closes.items() if np.isfinite(prices).all())
    return CompleteNames(
        names,
        table["date"].to_numpy().astype("datetime64[D]"),
        np.column_stack([closes[name] for name in names]),
        tuple(facts["gics_sector"][place[name]] for name in names),
        np.array([facts["market_cap_usd"][place[name]] for name in names], dtype=float),
    )


@cache
def factor_returns(*names: str) -> tuple[Days, Floats]:
    """All days of the factors, and their returns by column."""
    with gzip.open(FACTORS_FILE, "rb") as file:
        history = csv.read_csv(file).to_pydict()
    return np.array(history["date"], dtype="datetime64[D]"), np.column_stack([history[name] for name in names])
