"""From a checked request to everything its computation needs: stored parts filled in, names checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.checks.factors import Surroundings
from server.compute.inputs import Floats, MarketInputs
from server.limit_specs import ConstraintSpec, ExposureSpec
from server.loading import Holdings, MarketLoader, Universe
from server.loading_models import ModelLoader
from server.method_specs import MethodSpec, MultiPeriodSpec, PeriodSpec
from server.specs import ModelSpec, OptimizationSpec, ScenarioSpec
from server.universe import check_universe


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be computed, with its data."""

    spec: OptimizationSpec
    inputs: MarketInputs
    holdings: Holdings


async def accept(loader: MarketLoader, spec: OptimizationSpec) -> Universe:
    """Check a request against its universe without reading prices.

    Raises:
        NotFound: Something named does not exist.
        NotReady: There is nothing to choose from, or the pack lacks some of it.
        InvalidRequest: With every fault.
    """
    filled = await with_stored(loader.models, spec)
    universe = await loader.universe(filled.portfolio_id, filled.model, filled.instrument_ids)
    sets = {named: found.factors for named, found in universe.factor_sets.items()}
    check_universe(Surroundings(universe.assets, universe.benchmark, universe.factor_models, sets), filled)
    return universe


async def prepare(loader: MarketLoader, spec: OptimizationSpec) -> Prepared:
    """Load what a request needs, and check it.

    Raises:
        NotFound: Something named does not exist.
        NotReady: There is nothing to choose from, or prices are missing; the instruments are named.
        InvalidRequest: With every fault.
    """
    filled = await with_stored(loader.models, spec)
    inputs, holdings = await loader.market(filled.portfolio_id, filled.model, filled.instrument_ids)
    check_universe(surroundings(inputs), filled)
    return Prepared(filled, inputs, holdings)


def surroundings(inputs: MarketInputs) -> Surroundings:
    """What a request is checked against once everything is loaded."""
    sets = {named: found.names for named, found in inputs.factor_sets.items()}
    return Surroundings(inputs.assets, inputs.benchmark, inputs.factor_models, sets)


async def with_stored(models: ModelLoader, spec: OptimizationSpec) -> OptimizationSpec:
    """The request with the scenarios, forecast, covariance and exposures that it names by their ids.

    Factor models of risk and expected returns come with the market.

    Raises:
        NotFound: There is none of an id.
    """
    model = await _with_scenarios(models, spec.model)
    if model.returns.forecast_id:
        forecast = await models.forecast(model.returns.forecast_id)
        values = forecast.periods[0].expected_returns
        model = replace(model, returns=replace(model.returns, values=values))
    if model.risk.covariance_id:
        stored = await models.covariance(model.risk.covariance_id)
        model = replace(model, risk=replace(model.risk, names=stored.instrument_ids, Sigma=stored.Sigma))
    exposures = await _with_exposures(models, spec.constraints)
    method = await _with_periods(models, spec.method)
    return replace(spec, model=model, constraints=replace(spec.constraints, exposures=exposures), method=method)


async def _with_periods(models: ModelLoader, asked: MethodSpec | None) -> MethodSpec | None:
    """A plan's periods, from the forecast that it names."""
    if not isinstance(asked, MultiPeriodSpec) or not asked.forecast_id:
        return asked
    forecast = await models.forecast(asked.forecast_id)
    return replace(asked, periods=tuple(PeriodSpec(p.days, p.expected_returns) for p in forecast.periods))


async def _with_scenarios(models: ModelLoader, model: ModelSpec) -> ModelSpec:
    asked = model.scenarios
    if asked is None or not asked.id:
        return model
    stored = await models.scenarios(asked.id)
    scenarios = ScenarioSpec(asked.id, stored.instrument_ids, stored.returns, stored.probabilities, stored.days)
    return replace(model, scenarios=scenarios)


async def _with_exposures(models: ModelLoader, limits: ConstraintSpec) -> ExposureSpec:
    asked = limits.exposures
    if limits.factor_model_id:
        model = await models.factor_model(limits.factor_model_id)
        return ExposureSpec("", _columns(model.head.factors, model.head.instrument_ids, model.numbers.B))
    if not asked.id:
        return asked
    stored = await models.exposures(asked.id)
    return ExposureSpec(asked.id, _columns(stored.factors, stored.instrument_ids, stored.B))


def _columns(factors: Sequence[str], names: Sequence[str], B: Floats) -> dict[str, dict[str, float]]:
    """Exposures by factor and instrument."""
    return {factor: dict(zip(names, column, strict=True)) for factor, column in zip(factors, B.T.tolist(), strict=True)}
