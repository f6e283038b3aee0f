"""What factors ask of a universe: stored models that have all of it, and names that they know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from server.checks.names import missing
from server.compute.inputs import Asset, BenchmarkInputs, FactorModelInputs
from server.errors import Fault
from server.listing import listed
from server.method_specs import RobustSpec
from server.specs import OptimizationSpec
from server.vocabulary import FACTOR_TERMS

_LIMITS = "constraints"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a request is checked against.

    Attributes:
        assets: The universe.
        benchmark: That of the request or the portfolio.
        factor_models: The stored ones of risk and expected returns, by their ids.
        factor_sets: Names of the factors of the sets, by the id that a model names.
    """

    assets: Sequence[Asset]
    benchmark: BenchmarkInputs | None = None
    factor_models: Mapping[str, FactorModelInputs] = field(default_factory=dict)
    factor_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Of the universe."""
        return [asset.id for asset in self.assets]


def factor_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Every fault of a request that has to do with factors."""
    yield from _model_faults(known, spec)
    yield from _premia_faults(known, spec)
    yield from _exposure_faults(known, spec)
    yield from _budget_faults(known, spec)
    yield from _robust_faults(known, spec)


def exposures_field(spec: OptimizationSpec, factor: str) -> str:
    """Where a request has its exposures to a factor."""
    if spec.constraints.factor_model_id:
        return f"{_LIMITS}.factor_model_id"
    return f"{_LIMITS}.factor_exposures[{factor}]"


def unknown_factor(spec: OptimizationSpec, field: str) -> Fault:
    """The fault of a factor without exposures."""
    names, model_id = sorted(spec.constraints.exposures.values), spec.constraints.factor_model_id
    place = f"in factor model {model_id}" if model_id else f"in {_LIMITS}.factor_exposures"
    return Fault(field, f"has no exposures {place}{f'; there are {listed(names)}' if names else ''}")


def _model_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Stored models that do not have the whole universe."""
    model = spec.model
    for at, stored_id in (
        ("risk_model.factor_model_id", model.risk.factor_model_id),
        ("expected_returns.factor_model_id", model.returns.factor_model_id),
    ):
        if stored_id:
            yield from missing(at, "exposures", known.ids, known.factor_models[stored_id].model.names)


def _premia_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    returns = spec.model.returns
    if returns.method != "factor_model":
        return
    names = _factors_of(known, returns.factor_model_id, returns.factor_set_id)
    if strangers := sorted(set(returns.factor_premia) - set(names)):
        which = "model" if returns.factor_model_id else "set"
        reason = f"names {listed(strangers)}, which the factor {which} does not have; it has {listed(names)}"
        yield Fault("expected_returns.factor_premia", reason)


def _exposure_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Factors without exposures, and exposures that leave out an instrument."""
    limits = spec.constraints
    used = {limit.factor: f"{_LIMITS}.factor_limits[{limit.factor}]" for limit in limits.factor_limits}
    used |= {term.factor: f"terms[{term.name}].factor" for term in spec.terms if term.kind in FACTOR_TERMS}
    relative = {limit.factor for limit in limits.factor_limits if limit.relative}
    members = [] if known.benchmark is None else sorted(known.benchmark.weights or {})
    values = limits.exposures.values
    for factor, at in used.items():
        if factor not in values:
            yield unknown_factor(spec, at)
            continue
        needed = dict.fromkeys([*known.ids, *(members if factor in relative else [])])
        yield from missing(exposures_field(spec, factor), "exposure", needed, values[factor])


def _budget_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Shares of factors in the variance, which only a model of factors can tell."""
    model = spec.model
    for budget in spec.constraints.risk_budgets:
        at = f"{_LIMITS}.risk_budgets[{budget.factor}]"
        if not budget.factor:
            continue
        if model.risk.method != "factor_model" or model.scenarios is not None or model.distribution_views:
            yield Fault(at, "needs the risk_model FACTOR_MODEL, in whose variance the factor has a share")
        elif model.views is not None:
            yield Fault(at, "cannot be kept beside black_litterman, whose covariance is no longer that of the factors")
        elif budget.factor not in (names := _factors_of(known, model.risk.factor_model_id, model.risk.factor_set_id)):
            yield Fault(at, f"is no factor of the risk_model; it has {listed(names)}")


def _robust_faults(known: Surroundings, spec: OptimizationSpec) -> Iterator[Fault]:
    """Errors of exposures, which only regressions over time make."""
    stored_id, asked = spec.model.risk.factor_model_id, spec.method
    if not stored_id or not isinstance(asked, RobustSpec) or asked.covariance is None:
        return
    kind = known.factor_models[stored_id].kind
    if asked.covariance.shape == "factor" and kind != "time_series":
        reason = f"FACTOR needs exposures by regression over time; risk_model.factor_model_id is {kind}"
        yield Fault("robustness.covariance.shape", reason)


def _factors_of(known: Surroundings, model_id: str, set_id: str) -> tuple[str, ...]:
    return known.factor_models[model_id].model.factors if model_id else known.factor_sets[set_id]
