"""Cost against the number of assets and of scenarios: the growth exponents, and a picture of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.benchmarks.factor_models import FACTORS, least_tracking_error
from tests.benchmarks.markets import synthetic
from tests.benchmarks.workloads import certified, factors_of, minimum_variance_of, pose_over

PICTURE = Path("demo-output") / "bench-growth.png"
ASSETS = (50, 100, 250, 500, 1_000, 2_000)
FACTOR_ASSETS = (250, 500, 1_000, 2_000, 4_000, 8_000)
DENSE_ASSETS = (250, 500, 1_000, 2_000)
SCENARIOS = (250, 1_000, 4_000, 16_000, 100_000)
SCENARIO_ASSETS = 50
CAP = 0.2


@dataclass(frozen=True, slots=True)
class Curve:
    """Best seconds at each size, and the power of the size by which they grow; another way to the same beside it."""

    title: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    beside: Curve | None = None

    @property
    def exponent(self) -> float:
        """Slope of the least-squares line through the logarithms."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])


def curve(title: str, sizes: tuple[int, ...], run: Callable[[int], float], repeats: int) -> Curve:
    """Timed; the markets are made beforehand."""
    seconds = []
    for size in sizes:
        run(size)
        best = np.inf
        for _ in range(repeats):
            start = time.perf_counter()
            run(size)
            best = min(best, time.perf_counter() - start)
        seconds.append(best)
    return Curve(title, sizes, tuple(seconds))


def curves(repeats: int) -> tuple[Curve, ...]:
    """Minimum variance by assets, minimum CVaR by assets and by scenarios, tracking error on factors by assets."""

    def dense(n: int) -> float:
        return certified(least_tracking_error(n, dense=True))

    def cvar_of_scenarios(T: int) -> float:
        return certified(pose_over(synthetic(SCENARIO_ASSETS, T), "cvar", CAP))

    return (
        curve("minimum variance, by assets (1,258 days)", ASSETS, minimum_variance_of, repeats),
        curve(
            "minimum CVaR, by assets (1,258 days)",
            ASSETS,
            lambda n: certified(pose_over(synthetic(n), "cvar")),
            repeats,
        ),
        curve("minimum CVaR, by scenarios (50 assets)", SCENARIOS, cvar_of_scenarios, repeats),
        replace(
            curve(f"tracking error on {FACTORS} factors, by assets", FACTOR_ASSETS, factors_of, repeats),
            beside=curve("with the dense covariance", DENSE_ASSETS, dense, repeats),
        ),
    )


def draw(found: tuple[Curve, ...]) -> Path | None:
    """The picture's path; None where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    figure = import_module("matplotlib.figure").Figure(figsize=(5 * len(found), 4), layout="constrained")
    for axis, shown in zip(figure.subplots(1, len(found)), found, strict=True):
        axis.loglog(shown.sizes, shown.seconds, "o-")
        below = f"size (time grows as its power {shown.exponent:.2f})"
        if shown.beside is not None:
            axis.loglog(shown.beside.sizes, shown.beside.seconds, "s--")
            below += f"\ndashed: {shown.beside.title} (power {shown.beside.exponent:.2f})"
        axis.set(title=shown.title, xlabel=below, ylabel="seconds")
        axis.set_xticks([], minor=True)
        axis.set_xticks(shown.sizes, [f"{n:,}" for n in shown.sizes], fontsize=7)
        axis.grid(visible=True, which="both", alpha=0.3)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=120)
    return PICTURE
