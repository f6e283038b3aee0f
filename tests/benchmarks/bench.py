"""Our times beside the peers', from the returns table in memory to certified weights in memory.

Use:  python tests/benchmarks/bench.py [--assets 470] [--repeats 5] [--no-peers]

Prices are the S&P 500 names of the shared data folder where that is beside the project, else synthetic. The peers are
timed by the shared script with the interpreter that PORTFOLIO_PEERS_PYTHON names, or with this one when it has them;
without them our own column is printed alone. Times are never asserted: what counts is the ratio within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from pyarrow import csv

from kernel.canonical import Matrix
from kernel.constraints import Constraint, LinearLimit, WeightBounds, budget
from kernel.estimation.covariance import ledoit_wolf, sample
from kernel.estimation.expected_returns import historical_mean
from kernel.frontier import EfficientFrontier, FrontierRequest, efficient_frontier
from kernel.measures import Volatility
from kernel.methods.mean_risk import optimize
from kernel.objectives import MaximizeRatio, MinimizeRisk, Objective
from kernel.problem import Moments, Problem, Settings
from kernel.status import Status

SHARED = Path(__file__).resolve().parents[3] / "shared"
PRICES = SHARED / "data" / "sp500_5yr"
PEERS = SHARED / "bench" / "peers.py"
CAP, SECTOR_CAP, RISK_FREE, FRONTIER_POINTS = 0.05, 0.30, 0.02, 20
PEER_MODULES = ("pypfopt", "riskfolio", "skfolio")


@dataclass(frozen=True, slots=True)
class Market:
    """Simple daily returns (T, n), names, a sector per name, and where they come from."""

    R: Matrix
    names: tuple[str, ...]
    sectors: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table; `aim` is how many times faster than the best peer we want to be."""

    key: str
    title: str
    aim: str
    run: Callable[[Market], float]
    compared: bool = False  # whether the peers' objective means the same as ours
    peer_key: str = ""  # the peers' workload beside ours; empty = the same


@dataclass(frozen=True, slots=True)
class Timing:
    """Best seconds of several runs, and the objective."""

    seconds: float
    objective: float


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


def synthetic(assets: int) -> Market:
    """A seeded four-factor market of 1,258 days."""
    rng = np.random.default_rng(20180207)
    B = np.column_stack([rng.normal(1.0, 0.3, assets), rng.normal(0.0, 0.4, (assets, 3))])
    factors = rng.normal(0.0004, [0.009, 0.004, 0.004, 0.003], (1258, 4))
    R = factors @ B.T + rng.normal(0.0, 1.0, (1258, assets)) * rng.uniform(0.008, 0.02, assets)
    names = tuple(f"A{i:03d}" for i in range(assets))
    return Market(R, names, tuple(f"sector {i % 11}" for i in range(assets)), "synthetic (no shared data found)")


def pose(market: Market, objective: Objective, *more: Constraint) -> Problem:
    """Moments from the returns, weights within the cap, fully invested."""
    n = len(market.names)
    moments = Moments(market.names, historical_mean(market.R), sample(market.R).Sigma)
    bounds = WeightBounds(np.zeros(n), np.full(n, CAP), ("min_position_size",) * n, ("max_position_size",) * n)
    return Problem(moments, objective, Volatility(moments), (budget(n), bounds, *more))


def certified(problem: Problem) -> float:
    """The objective of an answer that is certified optimal."""
    solution = optimize(problem, Settings())
    if solution.status is not Status.OPTIMAL or solution.certificate is None:
        raise RuntimeError(solution.message)
    return solution.certificate.objective


def minimum_variance(market: Market) -> float:
    return certified(pose(market, MinimizeRisk()))


def maximum_sharpe(market: Market) -> float:
    labels = np.array(market.sectors)
    caps = [
        LinearLimit((labels == s).astype(float), -np.inf, SECTOR_CAP, f"{s} minimum", f"{s} maximum")
        for s in sorted(set(market.sectors))
    ]
    return certified(pose(market, MaximizeRatio(RISK_FREE), *caps))


def frontier(market: Market) -> EfficientFrontier:
    found = efficient_frontier(pose(market, MinimizeRisk()), FrontierRequest(FRONTIER_POINTS, RISK_FREE), Settings())
    if found.status is not Status.OPTIMAL:
        raise RuntimeError(found.message)
    return found


def corners(market: Market) -> float:
    return float(len(frontier(market).turning_points))


def shrinkage(market: Market) -> float:
    return ledoit_wolf(market.R).shrinkage or 0.0


WORKLOADS = (
    Workload("min_variance", "minimum variance, cap 5%", ">= 8", minimum_variance, compared=True),
    Workload("max_sharpe_sectors", "maximum Sharpe, sector caps 30%", ">= 6", maximum_sharpe, compared=True),
    Workload("frontier_20", "frontier, 20 points", ">= 100", lambda m: float(len(frontier(m).points))),
    # Beside the peers' 20 points: their own exact frontier takes minutes at this size.
    Workload("frontier_exact", "exact frontier, all corners", ">= 100", corners, peer_key="frontier_20"),
    Workload("ledoit_wolf", "Ledoit-Wolf", "-", shrinkage),
)


def measure(workload: Workload, market: Market, repeats: int) -> Timing:
    """The best of several runs."""
    best, objective = np.inf, np.nan
    for _ in range(repeats):
        start = time.perf_counter()
        objective = workload.run(market)
        best = min(best, time.perf_counter() - start)
    return Timing(best, objective)


def peers_interpreter() -> str | None:
    """The interpreter that has the peers, if any."""
    named = os.environ.get("PORTFOLIO_PEERS_PYTHON")
    if named:
        return named
    return sys.executable if all(find_spec(module) for module in PEER_MODULES) else None


def peer_rows(assets: int) -> list[dict[str, str | float | None]]:
    """The shared script's rows for our workloads; none without the script, its data or the peers."""
    interpreter = peers_interpreter()
    if interpreter is None or not PEERS.exists() or not PRICES.exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "peers.json"
        command = [interpreter, str(PEERS), "--assets", str(assets), "--json", str(answer)]
        command += ["--workloads", ",".join(sorted({w.peer_key or w.key for w in WORKLOADS}))]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0 or not answer.exists():
            print(f"the peers did not run: {ended.stderr.strip()[-300:]}\n")
            return []
        rows: list[dict[str, str | float | None]] = json.loads(answer.read_text())
        return rows


def best_peer(rows: list[dict[str, str | float | None]], key: str) -> tuple[str, float, float] | None:
    """Name, seconds and objective of the fastest peer that answered."""
    answered = [
        (float(row["seconds"]), str(row["peer"]), float(row["objective"] or np.nan))
        for row in rows
        if row["workload"] == key and row["seconds"] is not None
    ]
    return None if not answered else (min(answered)[1], min(answered)[0], min(answered)[2])


def row_of(workload: Workload, ours: Timing, peer: tuple[str, float, float] | None) -> str:
    """One line of the table."""
    line = f"{workload.title:<34}{ours.seconds * 1e3:>10.1f} ms"
    if peer is None:
        return line + f"{'-':>24}{'-':>9}{workload.aim:>9}   objective {ours.objective:.9g}"
    name, seconds, objective = peer
    line += f"{f'{name} {seconds * 1e3:.1f} ms':>24}{seconds / ours.seconds:>9.1f}{workload.aim:>9}"
    if not workload.compared:
        return line
    return line + f"   objective {ours.objective:.9g}, relative difference {abs(objective / ours.objective - 1):.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=470)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()
    market = sp500(args.assets) if PRICES.exists() else synthetic(args.assets)
    print(f"{market.source}: {len(market.names)} assets, {len(market.R)} returns; best of {args.repeats} runs\n")
    timings = [measure(workload, market, args.repeats) for workload in WORKLOADS]
    rows = [] if args.no_peers else peer_rows(args.assets)
    if not rows:
        print("without peers: set PORTFOLIO_PEERS_PYTHON to an interpreter that has them\n")
    print(f"{'workload':<34}{'ours':>13}{'best peer':>24}{'ratio':>9}{'aim':>9}")
    for workload, ours in zip(WORKLOADS, timings, strict=True):
        print(row_of(workload, ours, best_peer(rows, workload.peer_key or workload.key)))


if __name__ == "__main__":
    main()
