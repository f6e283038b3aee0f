"""The efficient frontier, readable: its points, and the portfolios beside it."""

from __future__ import annotations

from collections.abc import Mapping

from portfolio_optimization.v1 import frontier_pb2, frontier_point_pb2

from server.demo.text import percent, table

Point = frontier_point_pb2.FrontierPoint | frontier_point_pb2.PortfolioPoint

# A weight below a tenth of a basis point is no position.
_SMALLEST_WEIGHT = 1e-5
_CASH = "CASH"


def expected_return(point: Point) -> float:
    """The field `return`, whose name is a word of the language."""
    value: float = getattr(point, "return")
    return value


def frontier_lines(answer: frontier_pb2.EfficientFrontierResponse, target: Point) -> list[str]:
    """The points of a frontier by increasing risk, and the portfolios beside it.

    Args:
        answer: The frontier.
        target: The target of the optimization, to be compared.
    """
    columns = (">Point", ">Return", ">Volatility", ">Sharpe", ">Names", "<Largest position")
    rows = [(str(place), *_cells(point)) for place, point in enumerate(answer.efficient_frontier, start=1)]
    return [*table(columns, rows), "", *_portfolios(answer, target), "", f"How: {answer.outcome.message}"]


def _portfolios(answer: frontier_pb2.EfficientFrontierResponse, target: Point) -> list[str]:
    named: dict[str, Point] = {
        "current": answer.current_portfolio,
        "target of the optimization": target,
        "minimum risk": answer.min_risk_portfolio,
        "highest Sharpe ratio": answer.optimal_portfolio,
        "maximum return": answer.max_return_portfolio,
    }
    columns = ("<Portfolio", ">Return", ">Volatility", ">Sharpe", ">Names", "<Largest position")
    return table(columns, [(name, *_cells(point)) for name, point in named.items() if point.weights])


def _cells(point: Point) -> tuple[str, ...]:
    held = _held(point.weights)
    largest = min(held, key=lambda name: (-held[name], name), default="")
    return (
        percent(expected_return(point)),
        percent(point.risk),
        f"{point.sharpe:.3f}",
        str(len(held)),
        f"{largest} {percent(held[largest], 1)}" if largest else "none",
    )


def _held(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if name != _CASH and weight > _SMALLEST_WEIGHT}
