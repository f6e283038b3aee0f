"""Factor exposures as a picture: portfolio and benchmark, and the difference beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from portfolio_optimization.v1 import factors_pb2

from server.demo.ink import BLUE, GREY, INK, ORANGE, PALE, WIDTH_INCHES, Words, empty_figure, little_ink, save
from server.demo.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Exposures = Sequence[factors_pb2.FactorExposure]

# So many standard errors to either side hold the true exposure in 95 of 100 samples.
_ERRORS = 2.0
_ROW_INCHES, _ABOVE_INCHES, _BELOW_INCHES = 0.46, 1.35, 1.0
_LEAST_ROWS = 6
# Above the middle of a row for the portfolio, below it for the benchmark.
_APART = 0.15


def draw_exposures(answer: factors_pb2.FactorExposureResponse, path: Path) -> Path:
    """Draws the exposures to all factors with error bars of two standard errors.

    Args:
        answer: The analysis. Without a benchmark there is the portfolio alone; given exposures have no error bars.
        path: The picture to write, PNG; its folder is made where it is missing.

    Raises:
        DemoError: The drawing library is not installed, or the folder can't be written.
    """
    rows = max(len(answer.exposures), _LEAST_ROWS)
    height = _ABOVE_INCHES + _BELOW_INCHES + _ROW_INCHES * rows
    figure = empty_figure(_words(answer), height)
    bottom, tall = _BELOW_INCHES / height, _ROW_INCHES * rows / height
    left = 0.03 + 0.0088 * max(len(exposure.factor) for exposure in answer.exposures)
    wide = 0.97 - left
    if not answer.benchmark_basis:
        _levels(figure.add_axes((left, bottom, wide, tall)), answer)
        return save(figure, path)
    gap = 0.35 / WIDTH_INCHES
    _levels(figure.add_axes((left, bottom, 0.56 * wide - gap, tall)), answer)
    _differences(figure.add_axes((left + 0.56 * wide, bottom, 0.44 * wide, tall)), answer.exposures)
    return save(figure, path)


def _levels(axes: Axes, answer: factors_pb2.FactorExposureResponse) -> None:
    """The portfolio's exposures, and the benchmark's a little below."""
    _prepare(axes, answer.exposures, "Exposure: change of return per unit of the factor's return")
    axes.set_yticks(range(len(answer.exposures)), [exposure.factor for exposure in answer.exposures], fontsize=11)
    shift = _APART if answer.benchmark_basis else 0.0
    for row, exposure in enumerate(answer.exposures):
        _mark(axes, (exposure.exposure, row - shift), exposure.standard_error, BLUE, "o")
        if answer.benchmark_basis:
            _mark(axes, (exposure.benchmark_exposure, row + shift), exposure.benchmark_standard_error, GREY, "D")
    # Drawn off the axes: the legend shows marks without error bars.
    axes.plot([], [], "o", color=BLUE, markersize=8, label=answer.portfolio_id)
    if answer.benchmark_basis:
        axes.plot([], [], "D", color=GREY, markersize=6.5, label=f"Benchmark {answer.benchmark_id}")
    _legend(axes)


def _differences(axes: Axes, exposures: Exposures) -> None:
    """Active exposures as bars with their numbers; pale where they can't be told from zero."""
    _prepare(axes, exposures, "Active exposure")
    reach = max(abs(e.active_exposure) + _ERRORS * e.active_standard_error for e in exposures) or 1.0
    axes.set_xlim(-1.15 * reach, 1.65 * reach)
    for row, exposure in enumerate(exposures):
        value, error = exposure.active_exposure, _ERRORS * exposure.active_standard_error
        certain = abs(value) > error
        axes.barh(row, value, height=0.46, color=ORANGE, alpha=1.0 if certain else 0.4, linewidth=0)
        if error:
            axes.errorbar(value, row, xerr=error, color=INK, linewidth=1.1, capsize=2.5)
        axes.annotate(
            f"{value:+z.2f}",
            (1.62 * reach, row),
            ha="right",
            va="center",
            fontsize=10.5,
            color=INK,
            weight="bold" if error and certain else "normal",
        )
    axes.barh(-5, 0.0, color=ORANGE, label="Active (difference)")
    _legend(axes)


def _prepare(axes: Axes, exposures: Exposures, unit: str) -> None:
    """One row per factor, the first on top, with a line at zero."""
    little_ink(axes)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(exposures) - 0.4, -0.6)
    axes.set_yticks([])
    axes.hlines(
        [row + 0.5 for row in range(len(exposures) - 1)], 0, 1, transform=axes.get_yaxis_transform(), color=PALE, lw=0.8
    )
    axes.axvline(0.0, color=INK, linewidth=1.0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit, fontsize=9.5, color=INK)


def _mark(axes: Axes, place: tuple[float, float], standard_error: float, colour: str, shape: str) -> None:
    error = _ERRORS * standard_error or None
    size = 8.0 if shape == "o" else 6.5
    axes.errorbar(*place, xerr=error, fmt=shape, color=colour, markersize=size, elinewidth=1.5, capsize=3, zorder=4)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=2,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        handletextpad=0.5,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _words(answer: factors_pb2.FactorExposureResponse) -> Words:
    measured = any(exposure.standard_error for exposure in answer.exposures)
    bars = "; bars span two standard errors to either side; what is within them of zero is pale" if measured else ""
    return Words(
        f"Factor exposures of {answer.portfolio_id}",
        f"R-squared {percent(answer.r_squared, 1)}{bars}",
        f"Source: {answer.observations:,} daily returns, {answer.first_date} to {answer.last_date}; "
        f"{f'factor set {answer.factor_set_id}' if answer.factor_set_id else f'pricing pack {answer.pricing_pack_id}'}",
    )
