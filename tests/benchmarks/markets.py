"""The returns that the benchmark is run on: the S&P 500 names of the shared data folder, or seeded ones of any size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pyarrow import csv, parquet

from kernel.canonical import Matrix

SHARED = Path(__file__).resolve().parents[3] / "shared"
PRICES = SHARED / "data" / "sp500_5yr"


@dataclass(frozen=True, slots=True)
class Market:
    """Simple daily returns (T, n), names, a sector per name, and where they come from."""

    R: Matrix
    names: tuple[str, ...]
    sectors: tuple[str, ...]
    source: str


def sp500(assets: int) -> Market:
    """Names with a full history (one with a wrong split left out), in the order of the file."""
    close = parquet.read_table(PRICES / "close.parquet")
    universe = csv.read_csv(PRICES / "universe.csv").to_pydict()
    sector = dict(zip(universe["ticker"], universe["gics_sector"], strict=True))
    skipped = {"LNT", "date", "Date", "__index_level_0__"}
    full = [n for n in close.column_names if n not in skipped and close[n].null_count == 0][:assets]
    prices = np.column_stack([close[name].to_numpy() for name in full]).astype(float)
    usable = [i for i in range(len(full)) if np.isfinite(prices[:, i]).all()]
    names = tuple(full[i] for i in usable)
    R = prices[1:, usable] / prices[:-1, usable] - 1.0
    return Market(np.ascontiguousarray(R), names, tuple(sector[n] for n in names), "S&P 500, 2013-2018")


@cache
def synthetic(assets: int, days: int = 1258) -> Market:
    """A seeded market of four factors and fat-tailed specific returns."""
    rng = np.random.default_rng(20180207)
    B = np.column_stack([rng.normal(1.0, 0.3, assets), rng.normal(0.0, 0.4, (assets, 3))])
    factors = rng.normal(0.0004, [0.009, 0.004, 0.004, 0.003], (days, 4))
    R = factors @ B.T + rng.standard_t(5, (days, assets)) * rng.uniform(0.006, 0.016, assets)
    names = tuple(f"A{i:04d}" for i in range(assets))
    return Market(R, names, tuple(f"sector {i % 11}" for i in range(assets)), "synthetic (no shared data found)")
