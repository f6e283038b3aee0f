"""Plans of several portfolios in one process: each as it would be alone.

The estimate of a market is remembered by its content, so portfolios that share one have it made once.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernel.errors import ProblemError
from server.compute.inputs import MarketInputs
from server.compute.rebalance import RebalanceAnswer, RebalanceInputs, run_rebalance
from server.errors import CallError


@dataclass(frozen=True, slots=True)
class PlanFailure:
    """Why a portfolio has no plan. `trace` is of an error of our own, whose inner text is not for the caller."""

    reason: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class PlansAnswer:
    """Answers in the order of the portfolios, and the processor time that they took."""

    answers: tuple[RebalanceAnswer | PlanFailure, ...]
    processor_seconds: float


def with_shared_prices(batch: Sequence[RebalanceInputs]) -> tuple[RebalanceInputs, ...]:
    """The same inputs, with the same arrays where prices are the same: they cross to the process once.

    Prices are the same on the same pack for the same assets and days, as packs never change.
    """
    seen: dict[tuple[object, ...], MarketInputs] = {}
    shared = []
    for inputs in batch:
        market = inputs.market
        first = seen.setdefault((market.pricing_pack_id, market.ids, len(market.dates)), market)
        shared.append(replace(inputs, market=replace(market, dates=first.dates, closes=first.closes)))
    return tuple(shared)


def run_plans(batch: Sequence[RebalanceInputs]) -> PlansAnswer:
    """The plan of each portfolio. One that fails does not keep the others from theirs."""
    started = time.process_time()
    answers = tuple(map(_run, batch))
    return PlansAnswer(answers, time.process_time() - started)


def _run(inputs: RebalanceInputs) -> RebalanceAnswer | PlanFailure:
    try:
        return run_rebalance(inputs)
    except (CallError, ProblemError) as error:
        return PlanFailure(str(error))
    except Exception:
        return PlanFailure("", traceback.format_exc())
