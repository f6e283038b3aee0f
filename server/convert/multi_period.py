"""The wire form of multi_period: the periods that are asked for, and the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from portfolio_optimization.v1 import multi_period_pb2 as pb
from portfolio_optimization.v1.optimization_pb2 import CreateOptimizationRequest

from kernel.estimation.arrays import LARGEST_RETURN
from kernel.multi_period import SMALLEST_VALUE, PlannedPeriod
from server.compute.inputs import Floats
from server.compute.multi_period import PlanEvidence
from server.convert.faults import FRACTION, POSITIVE, Bounds, Faults
from server.convert.models import read_matrix
from server.method_specs import MOST_PERIODS, MultiPeriodSpec, PeriodSpec
from server.specs import CASH

_Optional = Literal["max_turnover", "max_volatility"]
_AT = "multi_period"
_GOALS = ("maximize_utility", "minimize_risk", "maximize_return")
_DEFAULT_DAYS = 21
_DAYS = Bounds(1, 25_200)
_RETURN = Bounds(-1.0, LARGEST_RETURN, open_low=True)
_SCALE = Bounds(0.0, 1e6, open_low=True)
_FLOW = Bounds(-1.0, 10.0, open_low=True)
_TURNOVER = Bounds(0.0, 2.0)
_WEIGHT = Bounds(-10.0, 10.0)
# How far weights of a caller may add up to something else than 1.
_ROUNDING = 1e-6
# Trades below it are rounding of the difference of two weights.
_NOTHING = 1e-12


def read_multi_period(message: CreateOptimizationRequest, faults: Faults) -> MultiPeriodSpec:
    """The periods, and what holding costs."""
    asked = message.multi_period
    if not message.HasField("multi_period"):
        faults.add(_AT, "is required for multi_period")
    if message.objective and message.objective not in _GOALS:
        faults.add("objective", f"must be {' or '.join(_GOALS)} for multi_period, not {message.objective!r}")
    if message.frontier_points:
        faults.add("frontier_points", "must be 0 for multi_period: a plan has no frontier")
    if message.HasField("multi_period") and not (asked.periods or asked.forecast_id):
        faults.add(f"{_AT}.periods", "must be at least one, or forecast_id must name a stored forecast")
    if asked.periods and asked.forecast_id:
        faults.add(f"{_AT}.forecast_id", "must be empty where periods are given")
    if len(asked.periods) > MOST_PERIODS:
        faults.add(f"{_AT}.periods", f"must be at most {MOST_PERIODS}, not {len(asked.periods)}")
        return MultiPeriodSpec()
    periods = tuple(_read_period(f"{_AT}.periods[{k}]", period, faults) for k, period in enumerate(asked.periods))
    _check_value(periods, faults)
    return MultiPeriodSpec(
        periods=periods,
        forecast_id=faults.identifier(f"{_AT}.forecast_id", asked.forecast_id, required=False),
        holding_cost=faults.number(f"{_AT}.holding_cost", asked.holding_cost, FRACTION),
        borrow_cost=faults.number(f"{_AT}.borrow_cost", asked.borrow_cost, FRACTION),
        terminal_weights=_read_terminal(asked, faults),
    )


def write_plan(evidence: PlanEvidence, names: Sequence[str]) -> pb.MultiPeriodResult:
    """The plan, period by period."""
    days = evidence.days
    planned = [_write_period(k, days[k], period, names) for k, period in enumerate(evidence.periods)]
    return pb.MultiPeriodResult(periods=planned, objective_value=evidence.objective_value)


def _read_period(at: str, message: pb.PlanPeriod, faults: Faults) -> PeriodSpec:
    matrix = message.covariance
    names, Sigma = tuple(matrix.instrument_ids), None
    if message.HasField("covariance"):
        Sigma = read_matrix(f"{at}.covariance", names, np.array(matrix.values), faults)
        if message.covariance_scale:
            faults.add(f"{at}.covariance_scale", "must be 0 beside a covariance: it multiplies that of the model")
    return PeriodSpec(
        days=int(faults.limit(f"{at}.days", message.days, _DAYS) or _DEFAULT_DAYS),
        expected_returns=_read_returns(f"{at}.expected_returns", message, faults),
        covariance_scale=faults.limit(f"{at}.covariance_scale", message.covariance_scale, _SCALE) or 1.0,
        names=names,
        Sigma=Sigma,
        cash_flow=faults.number(f"{at}.cash_flow", message.cash_flow, _FLOW),
        max_turnover=_read_optional(at, message, "max_turnover", _TURNOVER, faults),
        max_volatility=_read_optional(at, message, "max_volatility", POSITIVE, faults),
    )


def _read_returns(field: str, message: pb.PlanPeriod, faults: Faults) -> dict[str, float]:
    if CASH in message.expected_returns:
        faults.add(f"{field}[{CASH}]", "must be absent: cash earns the risk-free rate")
    return faults.numbers(field, message.expected_returns, _RETURN)


def _read_optional(at: str, message: pb.PlanPeriod, field: _Optional, bounds: Bounds, faults: Faults) -> float | None:
    return faults.number(f"{at}.{field}", getattr(message, field), bounds) if message.HasField(field) else None


def _check_value(periods: Sequence[PeriodSpec], faults: Faults) -> None:
    """Flows out must leave something to hold."""
    value = 1.0
    for k, period in enumerate(periods):
        value += period.cash_flow
        if value < SMALLEST_VALUE:
            reason = f"leaves {value:g} of the present value, which must stay at least {SMALLEST_VALUE:g}"
            faults.add(f"{_AT}.periods[{k}].cash_flow", reason)
            return


def _read_terminal(message: pb.MultiPeriod, faults: Faults) -> dict[str, float]:
    """Weights that add up to 1, exactly after rounding is taken off."""
    weights = faults.numbers(f"{_AT}.terminal_weights", message.terminal_weights, _WEIGHT)
    total = sum(weights.values())
    if weights and not abs(total - 1.0) <= _ROUNDING:
        faults.add(f"{_AT}.terminal_weights", f"must add up to 1, not {total:.10g}")
        return {}
    return {name: weight / total for name, weight in weights.items()}


def _write_period(k: int, days: int, period: PlannedPeriod, names: Sequence[str]) -> pb.PlannedPeriod:
    return pb.PlannedPeriod(
        period=k + 1,
        days=days,
        weights=_by_name(names, period.weights),
        trades=_by_name(names, period.trades),
        expected_return=period.expected_return,
        expected_volatility=period.volatility,
        turnover=period.turnover,
        trading_cost=period.trading_cost,
        holding_cost=period.holding_cost,
        value=period.value,
    )


def _by_name(names: Sequence[str], values: Floats) -> dict[str, float]:
    return {name: value for name, value in zip(names, values.tolist(), strict=True) if abs(value) > _NOTHING}
