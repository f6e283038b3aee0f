"""From a checked request and its market to the kernel's problem: which limits there are, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kernel.constraints import (
    Constraint,
    LinearLimit,
    RiskLimit,
    SmallestPosition,
    TurnoverLimit,
    WeightBounds,
    budget,
)
from kernel.costs import TradingCost
from kernel.measures import Volatility
from kernel.objectives import MaximizeRatio, MaximizeReturn, MaximizeUtility, MinimizeRisk, Objective
from kernel.problem import Moments, Problem
from server.compute.inputs import Asset, MarketInputs
from server.specs import ConstraintSpec, OptimizationSpec, Range


def build_problem(inputs: MarketInputs, moments: Moments, spec: OptimizationSpec) -> Problem:
    """The kernel's problem: weights of the universe and of cash, every limit under the caller's name."""
    measure = Volatility(moments)
    return Problem(
        moments=moments,
        objective=_objective(spec),
        measure=measure,
        constraints=tuple(_constraints(inputs, measure, spec.constraints)),
        cost=_cost(inputs, spec),
    )


def _objective(spec: OptimizationSpec) -> Objective:
    match spec.objective:
        case "maximize_sharpe":
            return MaximizeRatio(spec.model.risk_free_rate)
        case "maximize_return":
            return MaximizeReturn()
        case "maximize_utility":
            return MaximizeUtility(spec.risk_aversion)
        case _:
            return MinimizeRisk(spec.risk_aversion)


def _constraints(inputs: MarketInputs, measure: Volatility, spec: ConstraintSpec) -> Iterator[Constraint]:
    n = len(inputs.assets)
    yield _bounds(inputs, spec)
    yield budget(n + 1)
    yield from _groups(inputs, lambda a: a.sector, "sector", spec.max_sector_exposure, spec.sector_limits)
    yield from _groups(
        inputs, lambda a: a.asset_class, "asset_class", spec.max_asset_class_exposure, spec.asset_class_limits
    )
    if spec.max_turnover is not None:
        factor = 1.0 if spec.two_way_turnover else 0.5
        yield TurnoverLimit("max_turnover", spec.max_turnover, inputs.weights_with_cash, factor)
    if spec.target_volatility is not None:
        yield RiskLimit("target_volatility", measure, spec.target_volatility)
    if spec.min_position_size is not None:
        yield SmallestPosition("min_position_size", spec.min_position_size, tuple(range(n)))


def _bounds(inputs: MarketInputs, spec: ConstraintSpec) -> WeightBounds:
    lower = [_floor(asset, spec) for asset in inputs.assets] + [(spec.min_cash_weight, "min_cash_weight")]
    upper = [_ceiling(asset, spec) for asset in inputs.assets] + [(spec.max_cash_weight, "max_cash_weight")]
    return WeightBounds(
        lower=np.array([value for value, _ in lower]),
        upper=np.array([value for value, _ in upper]),
        lower_names=tuple(name for _, name in lower),
        upper_names=tuple(name for _, name in upper),
    )


def _floor(asset: Asset, spec: ConstraintSpec) -> tuple[float, str]:
    value = spec.min_weights.get(asset.id)
    return (0.0, "long_only") if value is None else (value, f"min_weights[{asset.id}]")


def _ceiling(asset: Asset, spec: ConstraintSpec) -> tuple[float, str]:
    if not asset.candidate:
        return 0.0, f"instrument_ids[{asset.id}]"
    value = spec.max_weights.get(asset.id)
    if value is not None:
        return value, f"max_weights[{asset.id}]"
    return (1.0, "no_leverage") if spec.max_position_size is None else (spec.max_position_size, "max_position_size")


def _groups(
    inputs: MarketInputs,
    group_of: Callable[[Asset], str],
    noun: str,
    common: float | None,
    limits: Mapping[str, Range],
) -> Iterator[LinearLimit]:
    """A limit for each group that has one of its own, and the common one for all others."""
    groups = [group_of(asset) for asset in inputs.assets]
    for group in sorted(set(groups)):
        own = limits.get(group)
        if own is None and common is None:
            continue
        members = np.array([*(float(g == group) for g in groups), 0.0])
        if own is None:
            name = f"max_{noun}_exposure[{group}]"
            yield LinearLimit(members, -np.inf, float(common or 0.0), name, name)
        elif own != Range():
            low = -np.inf if own.minimum is None else own.minimum
            high = np.inf if own.maximum is None else own.maximum
            at = f"{noun}_limits[{group}]"
            names = (at, at) if low == high else (f"{at}.minimum", f"{at}.maximum")
            yield LinearLimit(members, low, high, *names)


def _cost(inputs: MarketInputs, spec: OptimizationSpec) -> TradingCost | None:
    taxes = np.array([*(asset.sale_tax_rate for asset in inputs.assets), 0.0]) if spec.cost.include_tax else None
    if spec.cost.rate == 0.0 and (taxes is None or not taxes.any()):
        return None
    rates = np.append(np.full(len(inputs.assets), spec.cost.rate), 0.0)
    return TradingCost(rates, inputs.weights_with_cash, taxes)
