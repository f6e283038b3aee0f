"""What risk_budgeting asks of a universe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from kernel.methods.budgets import SMALLEST_SHARE
from server.checks.factors import exposures_field, unknown_factor
from server.checks.names import missing
from server.compute.inputs import Asset
from server.errors import Fault
from server.limit_specs import ConstraintSpec
from server.listing import listed
from server.method_specs import RiskBudgetingSpec
from server.specs import OptimizationSpec

_AT = "risk_budgeting"


def risk_budgeting_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Faults of a request that asks for it."""
    asked, limits = spec.method, spec.constraints
    if not isinstance(asked, RiskBudgetingSpec):
        return
    if asked.instruments:
        yield from _instrument_faults(assets, asked, limits)
    yield from _group_faults(assets, asked, limits)
    yield from _factor_faults(assets, asked.factors, spec)
    yield from _short_faults(assets, asked, limits)
    yield from _number_faults(assets, asked, limits)
    yield from _size_faults(assets, asked, limits)
    if spec.cost.commission > 0:
        reason = "cannot be combined with risk_parity: a charge per trade is not convex"
        yield Fault("preferences.commission_per_trade_amount", reason)
    if not any(_may_be_held(asset, asked, limits) and _budget(asset, asked) > 0.0 for asset in assets):
        yield Fault(_AT, "there is no instrument that may be held and has a budget above 0")


def _instrument_faults(assets: Sequence[Asset], asked: RiskBudgetingSpec, limits: ConstraintSpec) -> Iterator[Fault]:
    at, budgets, known = f"{_AT}.instrument_budgets", asked.instruments, {asset.id: asset for asset in assets}
    if strangers := sorted(set(budgets) - set(known)):
        yield Fault(at, f"names {listed(strangers)}, which the universe does not have")
    missing = [asset.id for asset in assets if _may_be_held(asset, asked, limits) and asset.id not in budgets]
    if missing:
        yield Fault(at, f"has no budget for {listed(missing)}; 0 says that an instrument is not held")
    for name, budget in budgets.items():
        obstacle = _obstacle(known[name], asked, limits) if name in known else ""
        if budget > 0.0 and obstacle:
            yield Fault(f"{at}[{name}]", f"is {budget:g}, but {obstacle}")


def _group_faults(assets: Sequence[Asset], asked: RiskBudgetingSpec, limits: ConstraintSpec) -> Iterator[Fault]:
    budgets = asked.sectors or asked.asset_classes
    if not budgets:
        return
    what = "sector" if asked.sectors else "asset class"
    at = f"{_AT}.{what.replace(' ', '_')}_budgets"
    group = {asset.id: asset.sector if asked.sectors else asset.asset_class for asset in assets}
    holdable = [asset.id for asset in assets if _may_be_held(asset, asked, limits)]
    if strangers := sorted(set(budgets) - set(group.values())):
        yield Fault(at, f"names {listed(strangers)}, which the universe does not have")
    if without := [name for name in holdable if not group[name]]:
        yield Fault(at, f"cannot be divided: no {what} is known of {listed(without)}")
    needed = {group[name] for name in holdable}
    if missing := sorted(needed - set(budgets) - {""}):
        yield Fault(at, f"has no budget for {listed(missing)}; 0 says that nothing of it is held")
    for name in sorted(set(budgets) & set(group.values()) - needed):
        if budgets[name] > 0.0:
            yield Fault(f"{at}[{name}]", f"is {budgets[name]:g}, but none of its instruments may be held")


def _factor_faults(assets: Sequence[Asset], budgets: Mapping[str, float], spec: OptimizationSpec) -> Iterator[Fault]:
    values, ids = spec.constraints.exposures.values, [asset.id for asset in assets]
    for factor in budgets:
        if factor not in values:
            yield unknown_factor(spec, f"{_AT}.factor_budgets[{factor}]")
        else:
            yield from missing(exposures_field(spec, factor), "exposure", ids, values[factor])


def _short_faults(assets: Sequence[Asset], asked: RiskBudgetingSpec, limits: ConstraintSpec) -> Iterator[Fault]:
    at, known = f"{_AT}.short_instrument_ids", {asset.id: asset for asset in assets}
    for name in asked.short:
        if name not in known:
            yield Fault(at, f"names {name}, which the universe does not have")
        elif _budget(known[name], asked) == 0.0:
            yield Fault(at, f"names {name}, whose budget is 0, so that it is not held")
        elif obstacle := _obstacle(known[name], asked, limits):
            yield Fault(at, f"names {name}, but {obstacle}")


def _number_faults(assets: Sequence[Asset], asked: RiskBudgetingSpec, limits: ConstraintSpec) -> Iterator[Fault]:
    if limits.max_positions is None or asked.factors:
        return
    held = sum(_budget(asset, asked) > 0.0 and _may_be_held(asset, asked, limits) for asset in assets)
    if held > limits.max_positions:
        reason = f"is {limits.max_positions}, but {held} instruments have a budget above 0 and so must be held"
        yield Fault("constraints.max_positions", reason)


def _size_faults(assets: Sequence[Asset], asked: RiskBudgetingSpec, limits: ConstraintSpec) -> Iterator[Fault]:
    """Shares above 0 that are lost in rounding beside the others."""
    shares, at = dict(asked.factors), f"{_AT}.factor_budgets"
    if not asked.factors:
        held = [asset for asset in assets if _may_be_held(asset, asked, limits)]
        members = Counter(_group(asset, asked) for asset in held)
        shares = {asset.id: _budget(asset, asked) / members[_group(asset, asked)] for asset in held}
        at = f"{_AT}.instrument_budgets" if asked.instruments else _AT
    total = sum(shares.values())
    small = [name for name, share in shares.items() if 0.0 < share < SMALLEST_SHARE * total]
    if small:
        yield Fault(at, f"leaves {listed(small)} less than {SMALLEST_SHARE:g} of the risk: must be 0 or more than that")


def _group(asset: Asset, asked: RiskBudgetingSpec) -> str:
    """What an instrument's budget is divided among."""
    if asked.sectors:
        return asset.sector
    return asset.asset_class if asked.asset_classes else asset.id


def _budget(asset: Asset, asked: RiskBudgetingSpec) -> float:
    """What is asked for an instrument by itself or through its group."""
    if asked.instruments:
        return asked.instruments.get(asset.id, 0.0)
    if asked.sectors:
        return asked.sectors.get(asset.sector, 0.0)
    return asked.asset_classes.get(asset.asset_class, 0.0) if asked.asset_classes else 1.0


def _may_be_held(asset: Asset, asked: RiskBudgetingSpec, limits: ConstraintSpec) -> bool:
    return not _obstacle(asset, asked, limits)


def _obstacle(asset: Asset, asked: RiskBudgetingSpec, limits: ConstraintSpec) -> str:
    """Why an instrument may not be held; empty where it may."""
    if not asset.candidate:
        return "instrument_ids leaves it out"
    if limits.min_quality_score is not None and (asset.quality_score or 0.0) < limits.min_quality_score:
        return f"its quality score is below min_quality_score {limits.min_quality_score:g}"
    if (asset.id in asked.short or asked.factors) and limits.allow_short:
        lowest = limits.min_weights.get(asset.id, -1.0)
        if lowest < 0.0 or asked.factors:
            return ""
        return f"it is to be short and constraints.min_weights[{asset.id}] is {lowest:g}"
    highest = limits.max_weights.get(asset.id, 1.0)
    return "" if highest > 0.0 else f"constraints.max_weights[{asset.id}] is {highest:g}"
