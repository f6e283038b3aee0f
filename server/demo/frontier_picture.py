"""The frontier as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from portfolio_optimization.v1 import frontier_pb2

from server.demo.client import LARGEST_POSITION, LARGEST_SECTOR, LARGEST_TURNOVER
from server.demo.frontier import Point, expected_return
from server.demo.ink import BLUE, GREEN, INK, LEFT, ORANGE, RED, Words, empty_figure, little_ink, save
from server.demo.text import percent, short_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDER = 1.08


@dataclass(frozen=True, slots=True)
class _Mark:
    """A portfolio on the picture.

    Attributes:
        label: Its name.
        point: Where it is.
        shape: Marker of the drawing library.
        colour: Colour of marker and label.
        shift: From the point to the near end of its label, in dots of 1/72 inch.
    """

    label: str
    point: Point
    shape: str
    colour: str
    shift: tuple[float, float]


def draw_frontiers(
    free: frontier_pb2.EfficientFrontierResponse, limited: frontier_pb2.EfficientFrontierResponse, path: Path
) -> Path:
    """Draws the frontiers, the portfolios beside them and the capital market line.

    Between two turning points the frontier is smooth, so many points and all turning points give its true shape.

    Args:
        free: The exact frontier, long-only and fully invested, with its turning points.
        limited: The frontier within the limits of the optimization.
        path: The picture to write, PNG; its folder is made where it is missing.

    Raises:
        DemoError: The drawing library is not installed, or the folder can't be written.
    """
    words = Words(f"Efficient frontier of {free.portfolio_id}", _subtitle(free), _source(free))
    figure = empty_figure(words)
    _draw(figure.add_axes((LEFT, 0.12, 0.9, 0.755)), free, limited)
    return save(figure, path)


def _draw(
    axes: Axes, free: frontier_pb2.EfficientFrontierResponse, limited: frontier_pb2.EfficientFrontierResponse
) -> None:
    _prepare(axes, free)
    _market_line(axes, free)
    axes.plot(*_curve(free), color=BLUE, linewidth=2.6, label="Efficient frontier, long-only and fully invested")
    axes.plot(
        [point.risk for point in free.turning_points],
        [expected_return(point) for point in free.turning_points],
        linestyle="none",
        marker="o",
        markersize=4.5,
        markerfacecolor="white",
        markeredgecolor=BLUE,
        label=f"Its {len(free.turning_points)} turning points",
    )
    axes.plot(*_curve(limited), color=ORANGE, linewidth=2.0, label=f"Frontier within the limits: {_limits_in_words()}")
    for mark in _marks(free, limited):
        _place(axes, mark)
    axes.legend(loc="lower right", frameon=False, fontsize=9.5, labelcolor=INK)


def _prepare(axes: Axes, free: frontier_pb2.EfficientFrontierResponse) -> None:
    """Axes from zero, in percent, with little ink."""
    axes.set_xlim(0.0, _WIDER * free.max_return_portfolio.risk)
    axes.set_ylim(0.0, _WIDER * expected_return(free.max_return_portfolio))
    axes.set_xlabel("Volatility a year", fontsize=11, color=INK)
    axes.set_ylabel("Expected return a year", fontsize=11, color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    little_ink(axes)


def _market_line(axes: Axes, free: frontier_pb2.EfficientFrontierResponse) -> None:
    """From the risk-free rate through the portfolio of highest Sharpe ratio, where there is one."""
    rate, best = free.provenance.risk_free_rate, free.optimal_portfolio
    if not best.weights:
        return
    end = min(axes.get_xlim()[1], (axes.get_ylim()[1] - rate) / best.sharpe)
    label = f"Capital market line, Sharpe ratio {best.sharpe:.2f}"
    axes.plot(
        [0.0, end], [rate, rate + best.sharpe * end], color=GREEN, linewidth=1.4, linestyle=(0, (6, 3)), label=label
    )
    axes.annotate(
        f"risk-free {short_percent(rate)}", (0.0, rate), xytext=(10, -4), textcoords="offset points", color=GREEN
    )


def _curve(frontier: frontier_pb2.EfficientFrontierResponse) -> tuple[list[float], list[float]]:
    """Volatilities and returns along a frontier, through its turning points."""
    points = sorted([*frontier.efficient_frontier, *frontier.turning_points], key=expected_return)
    return [point.risk for point in points], [expected_return(point) for point in points]


def _marks(
    free: frontier_pb2.EfficientFrontierResponse, limited: frontier_pb2.EfficientFrontierResponse
) -> list[_Mark]:
    candidates = (
        _Mark("Current", free.current_portfolio, "o", INK, (40, -34)),
        _Mark("Minimum risk", free.min_risk_portfolio, "D", BLUE, (18, -52)),
        _Mark("Optimal", free.optimal_portfolio, "*", GREEN, (-60, 44)),
        _Mark("Target within the limits", limited.optimal_portfolio, "o", ORANGE, (70, -22)),
        _Mark("Maximum return", free.max_return_portfolio, "^", RED, (-14, -44)),
    )
    return [mark for mark in candidates if mark.point.weights]


def _place(axes: Axes, mark: _Mark) -> None:
    """A marker, and its label at the end of a thin line."""
    place = (mark.point.risk, expected_return(mark.point))
    size = 260 if mark.shape == "*" else 90
    axes.scatter(*place, s=size, marker=mark.shape, color=mark.colour, edgecolors="white", linewidths=1.2, zorder=5)
    numbers = f"return {percent(place[1], 1)}, volatility {percent(place[0], 1)}"
    axes.annotate(
        f"{mark.label}: Sharpe {mark.point.sharpe:.2f}\n{numbers}",
        place,
        xytext=mark.shift,
        textcoords="offset points",
        fontsize=9.5,
        color=mark.colour,
        ha="left" if mark.shift[0] > 0 else "right",
        va="center",
        arrowprops={"arrowstyle": "-", "color": mark.colour, "linewidth": 0.8, "shrinkB": 6},
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        zorder=4,
    )


def _limits_in_words() -> str:
    return (
        f"{short_percent(LARGEST_POSITION)} a position, {short_percent(LARGEST_SECTOR)} a sector, "
        f"{short_percent(LARGEST_TURNOVER)} turnover"
    )


def _subtitle(free: frontier_pb2.EfficientFrontierResponse) -> str:
    names = len(_names([*free.efficient_frontier, free.current_portfolio]))
    return f"{names} stocks; expected returns and risk estimated from history, which is no forecast"


def _names(portfolios: Iterable[Point]) -> set[str]:
    return {name for portfolio in portfolios for name in portfolio.weights} - {"CASH"}


def _source(free: frontier_pb2.EfficientFrontierResponse) -> str:
    origin = free.provenance
    return (
        f"Source: {origin.observations:,} daily returns, {origin.first_date} to {origin.as_of}; "
        f"pricing pack {origin.pricing_pack_id}"
    )
