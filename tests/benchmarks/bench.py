"""Our times beside the peers', from the returns table in memory to certified weights in memory.

Use:  python tests/benchmarks/bench.py [--assets 470] [--repeats 5] [--only key,...] [--no-peers] [--no-growth]

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
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.benchmarks.growth import curves, draw
from tests.benchmarks.markets import PRICES, SHARED, Market, sp500, synthetic
from tests.benchmarks.workloads import WORKLOADS, Workload

PEERS = SHARED / "bench" / "peers.py"
PEER_MODULES = ("pypfopt", "riskfolio", "skfolio")
PeerRow = dict[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Timing:
    """Best seconds of several runs, and the objective."""

    seconds: float
    objective: float


def measure(workload: Workload, market: Market, repeats: int) -> Timing:
    """The best of several runs, of which the first is not counted where there are more."""
    clock = time.process_time if workload.pieces > 1 else time.perf_counter
    runs = min(repeats + 1, workload.runs)
    best, objective = np.inf, np.nan
    for run in range(runs):
        start = clock()
        objective = workload.run(market)
        if run > 0 or runs == 1:
            best = min(best, (clock() - start) / workload.pieces)
    return Timing(best, objective)


def peers_interpreter() -> str | None:
    """The interpreter that has the peers, if any."""
    named = os.environ.get("PORTFOLIO_PEERS_PYTHON")
    if named:
        return named
    return sys.executable if all(find_spec(module) for module in PEER_MODULES) else None


def peer_rows(assets: int, workloads: tuple[Workload, ...]) -> list[PeerRow]:
    """The shared script's rows for our workloads; none without the script, its data or the peers."""
    interpreter = peers_interpreter()
    if interpreter is None or not PEERS.exists() or not PRICES.exists():
        return []
    keys = sorted({w.peer_key or w.key for w in workloads if not w.beside})
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "peers.json"
        command = [interpreter, str(PEERS), "--assets", str(assets), "--json", str(answer)]
        command += ["--workloads", ",".join(keys)]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0 or not answer.exists():
            print(f"the peers did not run: {ended.stderr.strip()[-300:]}\n")
            return []
        rows: list[PeerRow] = json.loads(answer.read_text())
        return rows


def best_peer(rows: list[PeerRow], key: str) -> tuple[str, float, float] | None:
    """Name, seconds and objective of the fastest peer that answered."""
    answered = [
        (float(row["seconds"]), str(row["peer"]), float(row["objective"] or np.nan))
        for row in rows
        if row["workload"] == key and row["seconds"] is not None
    ]
    return None if not answered else (min(answered)[1], min(answered)[0], min(answered)[2])


def row_of(workload: Workload, ours: Timing, other: tuple[str, float, float] | None) -> str:
    """One line of the table."""
    line = f"{workload.title:<34}{ours.seconds * 1e3:>10.1f} ms"
    if other is None:
        return line + f"{'-':>30}{'-':>9}{workload.aim:>9}   objective {ours.objective:.9g}"
    name, seconds, objective = other
    line += f"{f'{name} {seconds * 1e3:.1f} ms':>30}{seconds / ours.seconds:>9.1f}{workload.aim:>9}"
    if workload.error:
        return line + f"   largest error {workload.error} {ours.objective:.1e}, beside {objective:.1e}"
    if not workload.compared:
        return line
    return line + f"   objective {ours.objective:.9g}, relative difference {abs(objective / ours.objective - 1):.1e}"


def print_table(workloads: tuple[Workload, ...], timings: dict[str, Timing], rows: list[PeerRow]) -> None:
    """Ours, and the best peer's or our own other row beside it."""
    print(f"{'workload':<34}{'ours':>13}{'beside':>30}{'ratio':>9}{'aim':>9}")
    for workload in workloads:
        other = best_peer(rows, workload.peer_key or workload.key)
        if workload.beside in timings:
            held = timings[workload.beside]
            other = (workload.beside, held.seconds, held.objective)
        print(row_of(workload, timings[workload.key], other))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=470)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="keys of workloads; empty = all")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-growth", action="store_true")
    args = parser.parse_args()
    market = sp500(args.assets) if PRICES.exists() else synthetic(args.assets)
    wanted = set(filter(None, args.only.split(",")))
    workloads = tuple(w for w in WORKLOADS if not wanted or w.key in wanted)
    print(f"{market.source}: {len(market.names)} assets, {len(market.R)} returns; best of {args.repeats} runs\n")
    timings = {workload.key: measure(workload, market, args.repeats) for workload in workloads}
    rows = [] if args.no_peers else peer_rows(args.assets, workloads)
    if not rows:
        print("without peers: set PORTFOLIO_PEERS_PYTHON to an interpreter that has them\n")
    print_table(workloads, timings, rows)
    if args.no_growth:
        return
    found = curves(min(args.repeats, 2))
    print()
    for shown in [curve for one in found for curve in (one, one.beside) if curve is not None]:
        times = ", ".join(f"{n:,}: {s * 1e3:.0f} ms" for n, s in zip(shown.sizes, shown.seconds, strict=True))
        print(f"{shown.title}: power {shown.exponent:.2f} ({times})")
    picture = draw(found)
    print("no picture: matplotlib is not installed" if picture is None else f"picture: {picture}")


if __name__ == "__main__":
    main()
