"""What can only be checked against the universe: names that a request uses and the universe does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from server.checks import method_faults
from server.checks.factors import Surroundings, factor_faults
from server.checks.names import missing, unknown
from server.compute.inputs import Asset, BenchmarkInputs
from server.compute.views import combination, market_caps
from server.errors import Fault, InvalidRequest
from server.limit_specs import ConstraintSpec
from server.listing import listed
from server.method_specs import MultiPeriodSpec
from server.specs import CASH, CostSpec, ModelSpec, OptimizationSpec, ViewsSpec
from server.vocabulary import DRAWDOWNS


def check_universe(known: Surroundings, spec: OptimizationSpec) -> None:
    """Check a request, its stored parts filled in, against its universe.

    Args:
        known: The universe, and what else the request names.
        spec: The request.

    Raises:
        InvalidRequest: With every fault.
    """
    assets, benchmark = known.assets, known.benchmark
    faults = [
        *_limit_faults(assets, spec.constraints),
        *_sum_faults(assets, spec.constraints, benchmark),
        *factor_faults(known, spec),
        *_benchmark_faults(known, spec),
        *_instrument_faults(assets, spec.constraints, spec.cost),
        *_reach_faults(assets, spec),
        *_budget_faults(spec),
        *_model_faults(assets, spec.model),
        *_scenario_faults(assets, spec),
        *method_faults(assets, spec),
    ]
    if faults:
        # A stored factor model that lacks an instrument lacks it for every factor that is used.
        raise InvalidRequest(dict.fromkeys(faults))


def _limit_faults(assets: Sequence[Asset], spec: ConstraintSpec) -> Iterator[Fault]:
    ids, sectors = {asset.id for asset in assets}, {asset.sector for asset in assets}
    yield from unknown("constraints.min_weights", spec.min_weights, ids)
    yield from unknown("constraints.max_weights", spec.max_weights, ids)
    yield from unknown("constraints.max_trade_sizes", spec.max_trade_sizes, ids)
    yield from unknown("constraints.sector_limits", spec.sector_limits, sectors)
    yield from unknown("constraints.asset_class_limits", spec.asset_class_limits, {a.asset_class for a in assets})
    for budget in spec.risk_budgets:
        if not budget.factor:
            at = f"constraints.risk_budgets[{budget.instrument_id or budget.sector}]"
            yield from unknown(at, [budget.instrument_id or budget.sector], ids if budget.instrument_id else sectors)
    for scenario in spec.stress_scenarios:
        yield from unknown(f"constraints.stress_scenarios[{scenario.name}].returns", scenario.returns, {*ids, CASH})
    excluded = {asset.id for asset in assets if not asset.candidate}
    for name in sorted(excluded & {name for name, floor in spec.min_weights.items() if floor > 0}):
        yield Fault(f"constraints.min_weights[{name}]", "asks to hold what instrument_ids leaves out")
    if spec.min_positions is not None and spec.min_positions > len(ids - excluded):
        reason = f"is {spec.min_positions}, but there are only {len(ids - excluded)} instruments to choose from"
        yield Fault("constraints.min_positions", reason)


def _sum_faults(assets: Sequence[Asset], spec: ConstraintSpec, benchmark: BenchmarkInputs | None) -> Iterator[Fault]:
    ids = {*(asset.id for asset in assets), CASH}
    members = set() if benchmark is None else set(benchmark.weights or {})
    for limit in spec.linear_constraints:
        known = ids | members if limit.relative else ids
        yield from unknown(f"constraints.linear_constraints[{limit.name}].coefficients", limit.coefficients, known)


def _benchmark_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Limits and objectives that need a benchmark, and what they need of it."""
    limits, benchmark = spec.constraints, known.benchmark
    errors = ["constraints.max_tracking_error"] if limits.max_tracking_error is not None else []
    ratios = ["objective"] if spec.objective == "maximize_information_ratio" else []
    errors += [f"terms[{term.name}]" for term in spec.terms if term.kind == "tracking_error"]
    sums = [limit for limit in limits.linear_constraints if limit.relative]
    relative = [f"constraints.linear_constraints[{limit.name}].relative_to_benchmark" for limit in sums]
    relative += [
        f"constraints.factor_limits[{f.factor}].relative_to_benchmark" for f in limits.factor_limits if f.relative
    ]
    if benchmark is None:
        for field in (*errors, *ratios, *relative):
            yield Fault(field, "needs a benchmark: the portfolio has none, and benchmark_id names none")
        return
    weights = benchmark.weights or {}
    outside = sorted(set(weights) - {*known.ids, CASH})
    historical = spec.model.scenarios is None and not spec.model.distribution_views
    if not (benchmark.has_series and historical) and (outside or not weights):
        lacks = f"weights in {listed(outside)} outside of the universe" if outside else "neither weights"
        series = "in the pricing pack" if historical else "that fits scenarios or entropy_pooling"
        for field in (*(() if weights and _known_to_model(known, spec, outside) else errors), *ratios):
            yield Fault(field, f"benchmark {benchmark.id} has {lacks} and no price series {series}")
    for field in relative if not weights else ():
        yield Fault(field, f"benchmark {benchmark.id} has no weights")


def _known_to_model(known: Surroundings, spec: OptimizationSpec, outside: Sequence[str]) -> bool:
    """Whether the stored model of the risk tells the deviation from what is not in the universe."""
    stored = spec.model.risk.factor_model_id
    if not stored or spec.model.views is not None or isinstance(spec.method, MultiPeriodSpec):
        return False
    return set(outside) <= set(known.factor_models[stored].model.names)


def _instrument_faults(assets: Sequence[Asset], limits: ConstraintSpec, cost: CostSpec) -> Iterator[Fault]:
    """Facts about instruments that a limit or a cost needs and nobody has stated."""
    scored = [asset.id for asset in assets if asset.quality_score is not None]
    candidates = [asset.id for asset in assets if asset.candidate]
    for field in ("min_quality_score", "min_average_quality"):
        if getattr(limits, field) is not None:
            yield from missing(f"constraints.{field}", "quality score", candidates, scored)
    if cost.impact is not None:
        traded = [asset.id for asset in assets if asset.daily_volume]
        field = "preferences.market_impact"
        yield from missing(field, "average daily volume above 0", [asset.id for asset in assets], traded)


def _reach_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Integer choices need to know how large a weight can become."""
    limits = spec.constraints
    leveraged = limits.allow_short or limits.min_cash_weight < 0.0
    needed = {
        "constraints.max_positions": limits.max_positions is not None,
        "constraints.min_positions": limits.min_positions is not None,
        "constraints.min_position_size": limits.min_position_size is not None,
        "constraints.whole_lots": limits.whole_lots,
        "preferences.commission_per_trade_amount": spec.cost.commission > 0,
        "risk_measure": spec.risk_measure == "var",
        "constraints.risk_limits.max_var": "max_var" in limits.risk_limits,
    }
    if not leveraged or limits.max_position_size is not None or limits.leverage.gross is not None:
        return
    low = {asset.id for asset in assets} - set(limits.min_weights) if limits.allow_short else set()
    unbounded = sorted(low | ({asset.id for asset in assets} - set(limits.max_weights)))
    for field, asked in needed.items():
        if asked and unbounded:
            reason = "needs max_position_size, max_gross_leverage, or both weights' limits of"
            yield Fault(field, f"with leverage {reason} {listed(unbounded)}")


def _budget_faults(spec: OptimizationSpec) -> Iterator[Fault]:
    """Risk budgets are searched for by convex programs, one after the other."""
    limits = spec.constraints
    others = {
        "max_positions": limits.max_positions is not None,
        "min_positions": limits.min_positions is not None,
        "min_position_size": limits.min_position_size is not None,
        "whole_lots": limits.whole_lots,
        "commission_per_trade_amount": spec.cost.commission > 0,
        "risk_measure var": spec.risk_measure == "var" or "max_var" in limits.risk_limits,
        "frontier_points": spec.frontier_points > 0,
        "pareto_points": spec.pareto_points > 0,
    }
    if limits.risk_budgets and any(others.values()):
        beside = ", ".join(name for name, present in others.items() if present)
        yield Fault("constraints.risk_budgets", f"cannot be combined with {beside}")


def _model_faults(assets: Sequence[Asset], model: ModelSpec) -> Iterator[Fault]:
    ids = [asset.id for asset in assets]
    capitalised = {asset.id for asset in assets if asset.market_cap is not None}
    returns = model.returns
    if returns.method == "provided":
        yield from missing("expected_returns.values", "value", ids, returns.values)
    if model.risk.method == "provided":
        yield from missing("risk_model.covariance.instrument_ids", "row", ids, model.risk.names)
    if model.views is not None:
        yield from _view_faults(assets, model.views)
    elif returns.method == "equilibrium" or (returns.method == "capm" and not returns.market_benchmark_id):
        given = capitalised | set(returns.market_caps)
        yield from missing("expected_returns.market_caps", "value", ids, given)


def _view_faults(assets: Sequence[Asset], views: ViewsSpec) -> Iterator[Fault]:
    ids, caps = [asset.id for asset in assets], market_caps(assets, views)
    yield from missing("black_litterman.market_caps", "value", ids, [name for name, cap in caps.items() if cap > 0])
    known = {
        "weights": set(ids),
        "sectors": {asset.sector for asset in assets},
        "asset_classes": {asset.asset_class for asset in assets},
    }
    for view in views.views:
        at, faults = f"black_litterman.views[{view.name}]", list[Fault]()
        for part, names in known.items():
            faults += unknown(f"{at}.{part}", getattr(view, part), names)
        yield from faults
        market = np.array([caps[name] for name in ids])
        if not faults and market.all() and not combination(assets, market, view).any():
            yield Fault(at, "its weights cancel each other, so that it says nothing")


def _scenario_faults(assets: Sequence[Asset], spec: OptimizationSpec) -> Iterator[Fault]:
    """Scenarios that leave out an instrument, and drawdowns where scenarios have no order."""
    scenarios = spec.model.scenarios
    if scenarios is None:
        return
    yield from missing("scenarios.instrument_ids", "return", [asset.id for asset in assets], scenarios.names)
    if scenarios.ordered:
        return
    fields = ["risk_measure"] if spec.risk_measure in DRAWDOWNS else []
    limits = (f"max_{word.removeprefix('max_')}" for word in DRAWDOWNS)
    fields += [f"constraints.risk_limits.{name}" for name in limits if name in spec.constraints.risk_limits]
    fields += [f"terms[{term.name}].kind" for term in spec.terms if term.kind in DRAWDOWNS]
    for field in fields:
        yield Fault(field, "needs scenarios that follow each other in time: a drawdown has no meaning without order")
