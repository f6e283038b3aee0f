"""From the limits of a request to the kernel's constraints, each under the caller's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernel.constraints import (
    Constraint,
    ExposureBudget,
    FactorPart,
    LinearLimit,
    NetReturnFloor,
    NumberOfPositions,
    RiskBudgets,
    RiskLimit,
    SmallestPosition,
    TradeLimits,
    TurnoverLimit,
    WeightBounds,
    WholeLots,
    budget,
)
from kernel.costs import TradingCost
from server.compute.bounds import reach, weight_bounds
from server.compute.estimate import Estimate
from server.compute.inputs import Asset, Floats, MarketInputs
from server.compute.measures import measure_of, tracking_error
from server.limit_specs import ConstraintSpec, Range, RiskBudgetSpec
from server.specs import ModelSpec

_COUNTED_FROM = 1e-4


@dataclass(frozen=True, slots=True)
class Ground:
    """What limits rest on: the data, the estimate, and the cost of trading."""

    inputs: MarketInputs
    estimated: Estimate
    model: ModelSpec
    cost: TradingCost | None


def constraints(ground: Ground, spec: ConstraintSpec) -> Iterator[Constraint]:
    """Every limit of the request; bounds first, since others ask whether weights may be negative."""
    inputs = ground.inputs
    bounds = weight_bounds(inputs, spec)
    yield bounds
    yield budget(len(inputs.names))
    yield from _groups(inputs, lambda a: a.sector, "sector", spec.max_sector_exposure, spec.sector_limits)
    yield from _groups(
        inputs, lambda a: a.asset_class, "asset_class", spec.max_asset_class_exposure, spec.asset_class_limits
    )
    yield from _trading(inputs, spec)
    yield from _leverage(inputs, spec)
    yield from _sums(inputs, spec)
    yield from _risks(ground, spec)
    yield from _positions(inputs, bounds, spec)


def exposures_of(inputs: MarketInputs, values: Mapping[str, float]) -> Floats:
    """(n + 1,) coefficients by name; names that are not given count nothing."""
    return np.array([values.get(name, 0.0) for name in inputs.names])


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
        else:
            yield from _within(f"{noun}_limits[{group}]", members, own)


def _within(at: str, coefficients: Floats, limits: Range, unit: str = "weight") -> Iterator[LinearLimit]:
    """The sum within a range; equal ends are one limit."""
    if limits == Range():
        return
    low = -np.inf if limits.minimum is None else limits.minimum
    high = np.inf if limits.maximum is None else limits.maximum
    names = (at, at) if low == high else (f"{at}.minimum", f"{at}.maximum")
    yield LinearLimit(coefficients, low, high, *names, unit)


def _trading(inputs: MarketInputs, spec: ConstraintSpec) -> Iterator[Constraint]:
    if spec.max_turnover is not None:
        factor = 1.0 if spec.two_way_turnover else 0.5
        yield TurnoverLimit("max_turnover", spec.max_turnover, inputs.weights_with_cash, factor)
    if spec.max_trade_size is None and not spec.max_trade_sizes:
        return
    common = np.inf if spec.max_trade_size is None else spec.max_trade_size
    limits = [spec.max_trade_sizes.get(name, common) for name in inputs.ids]
    own = [f"max_trade_sizes[{name}]" if name in spec.max_trade_sizes else "max_trade_size" for name in inputs.ids]
    yield TradeLimits((*own, "max_trade_size"), np.array([*limits, np.inf]), inputs.weights_with_cash)


def _leverage(inputs: MarketInputs, spec: ConstraintSpec) -> Iterator[Constraint]:
    members = np.array([*(True for _ in inputs.ids), False])
    leverage = spec.leverage
    if leverage.gross is not None:
        yield ExposureBudget("max_gross_leverage", "gross", leverage.gross, members)
    if leverage.long is not None:
        yield ExposureBudget("max_long_exposure", "long", leverage.long, members)
    if leverage.short is not None:
        yield ExposureBudget("max_short_exposure", "short", leverage.short, members)
    net = members.astype(float)
    if leverage.net.minimum is not None:
        yield LinearLimit(net, leverage.net.minimum, np.inf, "min_net_leverage", "min_net_leverage", "leverage")
    if leverage.net.maximum is not None:
        yield LinearLimit(net, -np.inf, leverage.net.maximum, "max_net_leverage", "max_net_leverage", "leverage")


def _sums(inputs: MarketInputs, spec: ConstraintSpec) -> Iterator[Constraint]:
    """Named sums, exposures to factors, stress scenarios and the average quality."""
    for limit in spec.linear_constraints:
        row = _row(inputs, limit.coefficients, relative=limit.relative)
        yield from _within(f"linear_constraints[{limit.name}]", row, limit.range, "exposure")
    for factor in spec.factor_limits:
        row = _row(inputs, spec.exposures.values[factor.factor], relative=factor.relative)
        yield from _within(f"factor_limits[{factor.factor}]", row, factor.range, "exposure")
    for scenario in spec.stress_scenarios:
        name = f"stress_scenarios[{scenario.name}].min_return"
        row = exposures_of(inputs, scenario.returns)
        yield LinearLimit(row, scenario.min_return, np.inf, name, name, "return")
    if spec.min_average_quality is not None:
        scores = [asset.quality_score or 0.0 for asset in inputs.assets]
        row, least = np.array([*scores, spec.min_average_quality]), spec.min_average_quality
        yield LinearLimit(row, least, np.inf, "min_average_quality", "min_average_quality", "score")


def _row(inputs: MarketInputs, values: Mapping[str, float], *, relative: bool) -> Floats:
    """Coefficients of a sum over weights, or over weights less the benchmark's.

    As weights add up to 1, the benchmark's own sum is taken off by lowering every coefficient by it.
    """
    row = exposures_of(inputs, values)
    if not relative:
        return row
    assert inputs.benchmark is not None
    return row - sum(weight * values.get(name, 0.0) for name, weight in (inputs.benchmark.weights or {}).items())


def _risks(ground: Ground, spec: ConstraintSpec) -> Iterator[Constraint]:
    if spec.target_volatility is not None:
        volatility = measure_of("volatility", ground.estimated, ground.model)
        yield RiskLimit("target_volatility", volatility, spec.target_volatility)
    for field, limit in spec.risk_limits.items():
        word = "max_drawdown" if field == "max_drawdown" else field.removeprefix("max_")
        yield RiskLimit(f"risk_limits.{field}", measure_of(word, ground.estimated, ground.model), limit)
    if spec.max_tracking_error is not None:
        error = tracking_error(ground.inputs, ground.estimated)
        yield RiskLimit("max_tracking_error", error, spec.max_tracking_error)
    if spec.risk_budgets:
        yield _budgets(ground, spec)
    if spec.target_return is not None:
        yield NetReturnFloor("target_return", ground.estimated.moments.mu, spec.target_return, ground.cost)


def _budgets(ground: Ground, spec: ConstraintSpec) -> RiskBudgets:
    asked = spec.risk_budgets
    return RiskBudgets(
        names=tuple(budget.name for budget in asked),
        parts=tuple(
            _factor_part(ground, budget.factor) if budget.factor else _members(ground.inputs.assets, budget)
            for budget in asked
        ),
        shares=np.array([budget.max_share for budget in asked]),
        moments=ground.estimated.moments,
    )


def _members(assets: Sequence[Asset], budget: RiskBudgetSpec) -> tuple[int, ...]:
    """The instrument, or those of the sector."""
    return tuple(k for k, a in enumerate(assets) if a.id == budget.instrument_id or a.sector == (budget.sector or None))


def _factor_part(ground: Ground, factor: str) -> FactorPart:
    """A factor of the risk model, to which cash has no exposure."""
    model = ground.estimated.factor_model
    assert model is not None
    k = model.factors.index(factor)
    return FactorPart(np.append(model.B[:, k], 0.0), np.append(model.B @ model.Phi[:, k], 0.0))


def _positions(inputs: MarketInputs, bounds: WeightBounds, spec: ConstraintSpec) -> Iterator[Constraint]:
    """Integer choices, over the instruments that can be held at all."""
    everything, largest = tuple(range(len(inputs.ids))), reach(bounds, spec)
    holdable = tuple(np.flatnonzero(largest[:-1] > 0.0).tolist())
    if spec.min_position_size is not None:
        yield SmallestPosition("min_position_size", spec.min_position_size, everything)
    if spec.max_positions is not None:
        yield NumberOfPositions("max_positions", spec.max_positions, holdable, largest)
    if spec.min_positions:
        least = _COUNTED_FROM if spec.min_position_size is None else spec.min_position_size
        yield NumberOfPositions("min_positions", len(holdable), holdable, largest, spec.min_positions, least)
    if spec.whole_lots:
        steps = [float(asset.lot_size * (asset.price or 0) / inputs.value) for asset in inputs.assets]
        yield WholeLots("whole_lots", np.array([*steps, 0.0]), everything)
