"""The checks on five years of the 505 names of the S&P 500."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from kernel.estimation.covariance import ledoit_wolf, oas, sample
from kernel.estimation.data_checks import CheckSettings, Code, check_prices, usable
from kernel.estimation.denoising import denoised
from kernel.estimation.gerber import gerber
from kernel.estimation.psd import repair

CLOSES = Path(__file__).resolve().parents[5] / "shared" / "data" / "sp500_5yr" / "close.parquet"

pytestmark = pytest.mark.skipif(not CLOSES.exists(), reason="the shared S&P 500 prices are not beside the project")


@pytest.fixture(scope="module")
def prices():
    table = parquet.read_table(CLOSES)
    names = tuple(name for name in table.column_names if name != "date")
    closes = np.column_stack([table[name].to_numpy() for name in names])
    return names, table["date"].to_numpy().astype("datetime64[D]"), closes


@pytest.fixture(scope="module")
def findings(prices):
    return check_prices(*prices, CheckSettings())


def of(findings, code):
    return {f.instrument_id: f for f in findings if f.code is code}


def test_names_with_a_full_history(prices, findings):
    names = usable(prices[0], findings)
    assert len(prices[0]) == 505
    assert len(names) == 470
    assert "LNT" in names


def test_names_with_holes(findings):
    missing = of(findings, Code.MISSING)
    assert set(missing) == {"DHR", "O", "ES", "ICE", "BMY", "ORCL"}
    assert missing["DHR"].message.startswith("DHR lacks 16 prices inside its history: 2013-04-26, ")
    assert missing["ORCL"].message == "ORCL lacks 2 prices inside its history: 2013-07-15, 2013-07-16"


def test_late_listings(findings):
    late = of(findings, Code.LATE_START)
    assert len(late) == 29
    assert late["PYPL"].date == dt.date(2015, 7, 6)


def test_wrong_splits(findings):
    splits = of(findings, Code.WRONG_SPLIT)
    assert splits["LNT"].date == dt.date(2016, 5, 19)
    assert splits["LNT"].message == (
        "LNT seems to have a wrong split: -49.4% on 2016-05-19 is undone by +101.0% on 2016-05-20; the limit is 40%"
    )
    assert set(splits) == {"LNT", "NWL"}


def test_jumps(findings):
    assert set(of(findings, Code.JUMP)) == {"AMD", "BAX", "DISCA", "DISCK", "EBAY", "NI", "VRTX"}


@pytest.mark.parametrize("estimator", [sample, ledoit_wolf, oas, denoised, gerber])
def test_covariance_of_all_full_histories_needs_no_repair(prices, findings, estimator):
    names, _, closes = prices
    kept = set(usable(names, findings))
    P = closes[:, [i for i, name in enumerate(names) if name in kept]]
    assert repair(estimator(P[1:] / P[:-1] - 1).Sigma).distance == 0.0
