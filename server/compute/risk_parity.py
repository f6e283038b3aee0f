"""Solves risk_parity requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from kernel.canonical import Mask
from kernel.methods.budgets import Budgets, asset_budgets, factor_budgets
from kernel.methods.risk_parity import RiskParity, risk_parity
from kernel.problem import Settings
from server.compute.bounds import weight_bounds
from server.compute.estimate import Estimate
from server.compute.inputs import Asset, Floats, MarketInputs
from server.compute.limits import exposures_of
from server.compute.measures import measure_of_instruments
from server.compute.problem import build_problem
from server.compute.solved import Solved
from server.method_specs import RiskBudgetingSpec
from server.specs import OptimizationSpec

_AT = "risk_budgeting"


@dataclass(frozen=True, slots=True)
class RiskParityEvidence:
    """How far the target meets its budgets.

    Attributes:
        names: (k,) of instruments or factors.
        budgets: (k,) fractions of the risk, adding up to 1.
        shares: (k,) of the target's risk.
        largest_error: Largest difference of a share and its budget, relative to the budget.
        distance: Of the target from the portfolio without limits; None where there is none such.
        distance_bound: No portfolio within the limits is nearer.
        unconstrained: Weights without limits; empty where there are none such.
    """

    names: tuple[str, ...]
    budgets: tuple[float, ...]
    shares: tuple[float, ...]
    largest_error: float
    attained: bool
    distance: float | None
    distance_bound: float | None
    unconstrained: Mapping[str, float]


def solve_risk_parity(inputs: MarketInputs, estimated: Estimate, spec: OptimizationSpec, settings: Settings) -> Solved:
    """The portfolio whose shares of the risk are the budgets, or nearest to them within the limits.

    Raises:
        ProblemError: A budget is too small beside the others, or the exposures do not tell factors apart.
    """
    asked = spec.method
    assert isinstance(asked, RiskBudgetingSpec)
    problem = build_problem(inputs, estimated, spec)
    posed = replace(problem, measure=measure_of_instruments(estimated, spec))
    cash = len(inputs.ids)
    parity = risk_parity(posed, _budgets(inputs, spec, asked), settings, risk_aversion=spec.risk_aversion, cash=cash)
    return Solved(problem, parity.solution, _evidence(inputs, parity))


def _budgets(inputs: MarketInputs, spec: OptimizationSpec, asked: RiskBudgetingSpec) -> Budgets:
    holdable = _holdable(inputs, spec, asked)
    if asked.factors:
        values = spec.constraints.exposures.values
        exposures = np.array([exposures_of(inputs, values[factor]) for factor in asked.factors])
        return factor_budgets(tuple(asked.factors), np.array(list(asked.factors.values())), exposures, holdable)
    short = np.array([*(name in asked.short for name in inputs.ids), False])
    field, shares = _shares(inputs, asked, holdable)
    return asset_budgets(inputs.names, shares, short=short, cash=len(inputs.ids), field=f"{_AT}.{field}")


def _shares(inputs: MarketInputs, asked: RiskBudgetingSpec, holdable: Mask) -> tuple[str, Floats]:
    """The field that speaks, and the share of every asset and of cash."""
    if asked.instruments:
        return "instrument_budgets", np.array([asked.instruments.get(name, 0.0) for name in inputs.names])
    if asked.sectors:
        return "sector_budgets", _divided(inputs, asked.sectors, lambda asset: asset.sector, holdable)
    if asked.asset_classes:
        return "asset_class_budgets", _divided(inputs, asked.asset_classes, lambda asset: asset.asset_class, holdable)
    return "instrument_budgets", holdable.astype(float)


def _divided(
    inputs: MarketInputs, budgets: Mapping[str, float], group_of: Callable[[Asset], str], holdable: Mask
) -> Floats:
    """Budgets of groups, divided equally among those of their assets that may be held."""
    groups = [group_of(asset) for asset in inputs.assets]
    held = [group for group, holds in zip(groups, holdable[:-1].tolist(), strict=True) if holds]
    parts = [
        budgets[group] / held.count(group) if holds else 0.0
        for group, holds in zip(groups, holdable[:-1].tolist(), strict=True)
    ]
    return np.array([*parts, 0.0])


def _holdable(inputs: MarketInputs, spec: OptimizationSpec, asked: RiskBudgetingSpec) -> Mask:
    """(n + 1,) the assets that their bounds let be held on the side that is asked for; cash is none of them."""
    bounds = weight_bounds(inputs, spec.constraints)
    long, short = bounds.upper > 0.0, bounds.lower < 0.0
    chosen = np.array([*(name in asked.short for name in inputs.ids), False])
    holdable = long | short if asked.factors else np.where(chosen, short, long)
    holdable[-1] = False
    return holdable


def _evidence(inputs: MarketInputs, parity: RiskParity) -> RiskParityEvidence | None:
    if parity.shares is None:
        return None
    free = {} if parity.unconstrained is None else dict(zip(inputs.names, parity.unconstrained.tolist(), strict=True))
    return RiskParityEvidence(
        names=parity.budgets.names,
        budgets=tuple(parity.budgets.b.tolist()),
        shares=tuple(parity.shares.tolist()),
        largest_error=parity.largest_error,
        attained=parity.attained,
        distance=parity.distance,
        distance_bound=parity.distance_bound,
        unconstrained={name: weight for name, weight in free.items() if weight != 0.0},
    )
