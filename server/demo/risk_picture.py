"""The decomposition of risk as a picture: parts that add up to the volatility and to the tracking error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from portfolio_optimization.v1 import factor_attribution_pb2, factors_pb2

from server.demo.ink import BLUE, GREEN, GREY, INK, ORANGE, PALE, WIDTH_INCHES, Words, empty_figure, little_ink, save
from server.demo.text import percent, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More factors would be small print; the smallest are summed.
_MOST_FACTORS = 12
_REST = "all other factors"
_ROW_INCHES, _ABOVE_INCHES, _BELOW_INCHES = 0.46, 1.35, 0.85
_LEAST_ROWS = 6


@dataclass(frozen=True, slots=True)
class _Steps:
    """A decomposition as the rows of a picture.

    Attributes:
        title: What is taken apart.
        values: Parts per year, fractions, in the order of the rows; the last is what is specific.
        whole: Their sum.
        colour: Of the sum.
    """

    title: str
    values: tuple[float, ...]
    whole: float
    colour: str


def draw_risk(answer: factors_pb2.FactorExposureResponse, path: Path) -> Path:
    """Draws where the volatility comes from, and the tracking error beside it where there is a benchmark.

    Args:
        answer: The analysis.
        path: The picture to write, PNG; its folder is made where it is missing.

    Raises:
        DemoError: The drawing library is not installed, or the folder can't be written.
    """
    labels, panels = _panels(answer)
    rows = max(len(labels), _LEAST_ROWS)
    height = _ABOVE_INCHES + _BELOW_INCHES + _ROW_INCHES * rows
    figure = empty_figure(_words(answer), height)
    left = 0.03 + 0.0088 * max(map(len, labels))
    gap = 0.35 / WIDTH_INCHES if len(panels) > 1 else 0.0
    wide = (0.97 - left) / len(panels)
    for place, steps in enumerate(panels):
        box = (
            left + place * wide + place * gap / 2,
            _BELOW_INCHES / height,
            wide - gap / 2,
            _ROW_INCHES * rows / height,
        )
        axes = figure.add_axes(box)
        _waterfall(axes, steps)
        if place == 0:
            axes.set_yticks(range(len(labels)), labels, fontsize=11)
            axes.get_yticklabels()[-1].set_fontweight("bold")
    return save(figure, path)


def _panels(answer: factors_pb2.FactorExposureResponse) -> tuple[list[str], list[_Steps]]:
    """Labels of the rows, largest part of the volatility first, and one decomposition per panel."""
    parts = sorted(answer.risk.factors, key=lambda part: -abs(part.contribution))
    shown = sorted(parts[:_MOST_FACTORS], key=lambda part: -part.contribution)
    names = [part.factor for part in shown]
    more = len(parts) > len(shown)
    labels = [*names, *([_REST] if more else []), "specific", "sum"]
    panels = [_steps("Volatility", answer.risk, names, BLUE)]
    if answer.HasField("active_risk"):
        panels.append(_steps("Tracking error", answer.active_risk, names, ORANGE))
    return labels, panels


def _steps(title: str, risk: factor_attribution_pb2.FactorRiskAttribution, names: Sequence[str], colour: str) -> _Steps:
    by_name = {part.factor: part.contribution for part in risk.factors}
    rest = [value for name, value in by_name.items() if name not in names]
    values = (*(by_name[name] for name in names), *([sum(rest)] if rest else []), risk.specific_contribution)
    return _Steps(title, values, risk.volatility, colour)


def _waterfall(axes: Axes, steps: _Steps) -> None:
    """Each part starts where the one above it ends; the last row is the sum."""
    little_ink(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    ends = list(accumulate(steps.values))
    starts = [0.0, *ends[:-1]]
    low, high = min([0.0, *ends]), max([0.0, steps.whole, *ends]) or 1.0
    axes.set_xlim(low - 0.02 * (high - low), high + 0.4 * (high - low))
    axes.set_ylim(len(ends) + 0.6, -0.6)
    for row, (start, value) in enumerate(zip(starts, steps.values, strict=True)):
        specific = row == len(ends) - 1
        colour = GREY if specific else steps.colour if value >= 0.0 else GREEN
        axes.barh(row, value, left=start, height=0.56, color=colour, linewidth=0)
        axes.vlines(ends[row], row - 0.28, row + 1.28, color=GREY, linewidth=0.7)
        _label(axes, row, max(start, start + value), value, steps.whole)
    axes.barh(len(ends), steps.whole, height=0.56, color=INK, linewidth=0)
    _label(axes, len(ends), steps.whole, steps.whole, 0.0)
    axes.axvline(0.0, color=INK, linewidth=1.0)
    axes.axhline(len(ends) - 0.5, color=PALE, linewidth=1.2)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.set_title(f"{steps.title} {percent(steps.whole)} a year", loc="left", fontsize=12, weight="bold", color=INK)


def _label(axes: Axes, row: int, end: float, value: float, whole: float) -> None:
    """Points a year, and their share of the sum."""
    share = f"  ({value / whole:z.0%})" if whole else ""
    number = points(value) if whole else percent(value)
    axes.annotate(
        f"{number}{share}",
        (end, row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=10,
        color=INK,
        weight="normal" if whole else "bold",
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )


def _words(answer: factors_pb2.FactorExposureResponse) -> Words:
    return Words(
        f"Where the risk of {answer.portfolio_id} comes from",
        "Contributions in points a year and in percent of the sum, by the factor model; what hedges is green",
        f"Source: {answer.observations:,} daily returns, {answer.first_date} to {answer.last_date}; "
        f"pricing pack {answer.pricing_pack_id}{f'; benchmark {answer.benchmark_id}' if answer.benchmark_id else ''}",
    )
