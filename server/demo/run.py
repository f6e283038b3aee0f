"""The demo from its first call to the pictures."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc
from portfolio_optimization.v1 import factors_pb2, frontier_pb2
from portfolio_optimization.v1 import portfolio_optimization_service_pb2_grpc as service

from server.demo.client import (
    LARGEST_POSITION,
    LARGEST_SECTOR,
    LARGEST_TURNOVER,
    PORTFOLIO_ID,
    Client,
    DemoError,
    limits,
)
from server.demo.exposure_picture import draw_exposures
from server.demo.factors import factor_lines
from server.demo.frontier import frontier_lines
from server.demo.frontier_picture import draw_frontiers
from server.demo.optimization import optimization_lines
from server.demo.rebalance import plan_lines
from server.demo.risk_picture import draw_risk
from server.demo.text import Terminal, short_percent

PICTURE_NAME, EXPOSURES_NAME, RISK_NAME = "efficient-frontier.png", "factor-exposures.png", "factor-risk.png"
_CONNECT_SECONDS = 5.0
_TABLE_POINTS = 20
_CURVE_POINTS = 100


async def run_demo(address: str, output: Path) -> int:
    """Shows an optimization, a frontier, a plan and a factor analysis of the sample portfolio, and draws pictures.

    Args:
        address: Address of a running service, host:port.
        output: Folder of the pictures; it is made where it is missing.

    Returns:
        0, or 1 when something could not be shown; standard error then has the reason in one line.
    """
    try:
        answers = await _show_answers(address, Terminal.on(sys.stdout))
        pictures = _draw(answers, output)
    except DemoError as error:
        return _refuse(str(error))
    except grpc.aio.AioRpcError as error:
        return _refuse(_reason(error, address))
    Terminal.on(sys.stdout).show(["", *(f"Picture of the {name}: {path}" for name, path in pictures.items())])
    return 0


@dataclass(frozen=True, slots=True)
class _Frontiers:
    """The frontier without further limits, and the one within those of the optimization; both with many points."""

    free: frontier_pb2.EfficientFrontierResponse
    limited: frontier_pb2.EfficientFrontierResponse


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is drawn."""

    frontiers: _Frontiers
    factors: factors_pb2.FactorExposureResponse


async def _show_answers(address: str, terminal: Terminal) -> _Answers:
    async with grpc.aio.insecure_channel(address) as channel:
        await _wait_until_ready(channel, address)
        client = Client(service.PortfolioOptimizationServiceStub(channel))
        optimization_id = await _show_optimization(client, terminal)
        frontiers = await _show_frontier(client, terminal)
        await _show_plan(client, terminal, optimization_id)
        return _Answers(frontiers, await _show_factors(client, terminal))


def _draw(answers: _Answers, output: Path) -> dict[str, Path]:
    """Writes the pictures; their places by what they show."""
    frontiers, factors = answers.frontiers, answers.factors
    return {
        "frontier": draw_frontiers(frontiers.free, frontiers.limited, output / PICTURE_NAME),
        "exposures": draw_exposures(factors, output / EXPOSURES_NAME),
        "risk": draw_risk(factors, output / RISK_NAME),
    }


async def _wait_until_ready(channel: grpc.aio.Channel, address: str) -> None:
    try:
        await asyncio.wait_for(channel.channel_ready(), _CONNECT_SECONDS)
    except TimeoutError:
        raise DemoError(
            f"no service answers at {address}; start one with `make run` or `portfolio-optimization serve`"
        ) from None


async def _show_optimization(client: Client, terminal: Terminal) -> str:
    terminal.heading(f"1  Optimization of {PORTFOLIO_ID}: the highest Sharpe ratio")
    terminal.show(
        [
            f"at most {short_percent(LARGEST_POSITION)} in a position, {short_percent(LARGEST_SECTOR)} in a sector, "
            f"{short_percent(LARGEST_TURNOVER)} turnover; long-only, fully invested"
        ]
    )
    answer = await client.optimize(lambda status: terminal.show([f"... {status}"]))
    terminal.show(["", *optimization_lines(answer)])
    return answer.optimization_id


async def _show_frontier(client: Client, terminal: Terminal) -> _Frontiers:
    terminal.heading(f"2  Efficient frontier of {PORTFOLIO_ID}: long-only, fully invested, no other limit")
    answer = await client.frontier(_TABLE_POINTS)
    frontiers = _Frontiers(await client.frontier(_CURVE_POINTS), await client.frontier(_CURVE_POINTS, limits()))
    terminal.show(frontier_lines(answer, frontiers.limited.optimal_portfolio))
    return frontiers


async def _show_plan(client: Client, terminal: Terminal, optimization_id: str) -> None:
    terminal.heading("3  Rebalance plan towards the optimization")
    plan, least_tax = await client.plan(optimization_id), await client.plan_of_least_tax(optimization_id)
    terminal.show(plan_lines(plan, least_tax))


async def _show_factors(client: Client, terminal: Terminal) -> factors_pb2.FactorExposureResponse:
    terminal.heading(f"4  Factor exposures, risk and return of {PORTFOLIO_ID}, at its current weights")
    answer = await client.factor_exposures()
    terminal.show(factor_lines(answer))
    return answer


def _reason(error: grpc.aio.AioRpcError, address: str) -> str:
    if error.code() is grpc.StatusCode.NOT_FOUND and PORTFOLIO_ID in (error.details() or ""):
        return (
            f"the service at {address} has no portfolio {PORTFOLIO_ID}: `serve` loads the sample data set into an "
            "empty database, with the extra `sample` installed and PORTFOLIO_LOAD_SAMPLE not turned off"
        )
    return f"the service at {address} refused a call: {error.code().name}: {error.details()}"


def _refuse(reason: str) -> int:
    sys.stderr.write(f"demo: {reason}\n")
    return 1
