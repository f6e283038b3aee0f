"""Factor models, from a request and the data it names to the estimated model; all in a solver process."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.errors import ProblemError
from kernel.estimation.data_checks import Code, Finding
from kernel.factors.cross_sectional_model import CrossSectionSettings, cross_sectional_model
from kernel.factors.model import EstimatedModel, RiskSettings
from kernel.factors.panel import LoadedExposures, Panel
from kernel.factors.regression import TimeSeriesSettings
from kernel.factors.return_attribution import CASH, OTHER_FACTORS, RISK_FREE, SPECIFIC
from kernel.factors.statistical import StatisticalSettings, statistical_model
from kernel.factors.time_series import time_series_model
from kernel.factors.window import FactorHistory
from server.compute.inputs import PERIODS_PER_YEAR, FactorModelInputs, FactorReturns, Floats, Window
from server.compute.model_market import GivenExposures, ModelMarket, ModelWindow, model_window
from server.errors import NotReady
from server.factor_specs import CrossSectionalSpec, FactorModelSpec, KindSpec, StatisticalSpec, TimeSeriesSpec
from server.listing import listed

# What parts of returns and risk are called that are not factors'.
_TAKEN = (RISK_FREE, CASH, SPECIFIC, OTHER_FACTORS)
_NAMES = {TimeSeriesSpec: "time_series", CrossSectionalSpec: "cross_sectional", StatisticalSpec: "statistical"}
# Names of the kernel that the contract has otherwise, or not in the message of the kind.
_OF_ALL_KINDS = {"instruments": "instrument_ids", "specific_shrinkage": "specific_shrinkage"}
_IN_CONTRACT = {"half_life": "half_life_days"}

__all__ = ["BuiltModel", "GivenExposures", "ModelMarket", "estimate_model", "time_series_settings"]


@dataclass(frozen=True, slots=True, eq=False)
class BuiltModel:
    """A factor model just estimated.

    Attributes:
        inputs: What analysis and optimization need of it; without id.
        estimated: The model with the evidence of its estimation.
        window: Days of the first and last return, number of the factors' returns, and findings.
        spec: The specification with everything filled in that was left to the service; estimating it gives the same
            model.
    """

    inputs: FactorModelInputs
    estimated: EstimatedModel
    window: Window
    spec: FactorModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """What one kind of model makes of a window.

    Attributes:
        name: ``time_series``, ``cross_sectional`` or ``statistical``.
        factor_kinds, definitions: (k,).
        spec: Filled in.
        risk_free: (T',) taken from the returns of the instruments; None = nothing was.
    """

    name: str
    estimated: EstimatedModel
    factor_kinds: tuple[str, ...]
    definitions: tuple[str, ...]
    spec: KindSpec
    risk_free: Floats | None = None
    findings: tuple[Finding, ...] = ()


def estimate_model(market: ModelMarket, spec: FactorModelSpec) -> BuiltModel:
    """Estimate the model of a checked request.

    Raises:
        NotReady: The history is too short, or instruments have no complete one in the window; they are named.
        ProblemError: A factor or style is unknown, constant, a combination of others or cannot be computed; it is
            named by its path in the specification. Or a number of statistical factors is asked for that the returns do
            not have.
    """
    try:
        return _estimated(market, spec)
    except ProblemError as error:
        raise ProblemError(_path(spec.kind, error.field), error.reason) from error


def _path(kind: KindSpec, field: str) -> str:
    """Where a specification says what the kernel refuses."""
    name = _NAMES[type(kind)]
    own = field.removeprefix(f"{name}.")
    if own in _OF_ALL_KINDS:
        return _OF_ALL_KINDS[own]
    return name if own == name else f"{name}.{_IN_CONTRACT.get(own, own)}"


def _estimated(market: ModelMarket, spec: FactorModelSpec) -> BuiltModel:
    risk = RiskSettings(
        factor_half_life=spec.factor_half_life,
        specific_half_life=spec.specific_half_life,
        specific_shrinkage=spec.specific_shrinkage,
        periods_per_year=PERIODS_PER_YEAR,
    )
    if isinstance(spec.kind, TimeSeriesSpec):
        factors = _factors(market, spec.kind)
        window = model_window(market, spec, factors, len(_explaining(factors, spec.kind)) + 2)
        kind = _time_series(window, factors, spec.kind, risk)
    elif isinstance(spec.kind, CrossSectionalSpec):
        _check_given(market.exposures, spec.kind)
        window = model_window(market, spec, None, 2)
        kind = _cross_sectional(market, window, spec.kind, risk)
    else:
        fixed = spec.kind.count_rule == "fixed"
        window = model_window(market, spec, None, spec.kind.factor_count + 2 if fixed else 3)
        kind = _statistical(window, spec.kind, risk)
    if taken := [name for name in kind.estimated.model.factors if name in _TAKEN]:
        reason = "is what a part of every return is called that is no factor's; give the factor another name"
        raise ProblemError(f"{kind.name}.factors[{taken[0]}]", reason)
    return _built(market, spec, window, kind)


def _built(market: ModelMarket, spec: FactorModelSpec, window: ModelWindow, kind: _Kind) -> BuiltModel:
    estimated, first, last = kind.estimated, str(window.days[0]), str(window.days[-1])
    inputs = FactorModelInputs(
        id="",
        kind=kind.name,
        model=estimated.model,
        factor_kinds=kind.factor_kinds,
        definitions=kind.definitions,
        dates=window.days[len(window.days) - len(estimated.F) :],
        F=estimated.F,
        risk_free=kind.risk_free,
        standard_errors=estimated.standard_errors,
        r_squared=estimated.r_squared,
        condition_number=estimated.condition_number,
        variance_inflation=estimated.variance_inflation,
    )
    resolved = replace(
        spec,
        kind=kind.spec,
        instrument_ids=window.ids,
        pricing_pack_id=market.pricing_pack_id,
        first_date=first,
        last_date=last,
        lookback_days=0,
    )
    findings = (*window.findings, *kind.findings)
    return BuiltModel(inputs, estimated, Window(first, last, len(estimated.F), findings), resolved)


def time_series_settings(spec: TimeSeriesSpec) -> TimeSeriesSettings:
    """The settings of the regressions, in the kernel's words."""
    return TimeSeriesSettings(
        estimator=spec.estimator,
        half_life=spec.half_life,
        ridge_penalty=spec.ridge_penalty,
        huber_threshold=spec.huber_threshold,
        drift=spec.drift,
        standard_errors=spec.standard_errors,
        lags=spec.lags,
    )


def _factors(market: ModelMarket, spec: TimeSeriesSpec) -> FactorReturns:
    """The factors that explain and the risk-free return, out of the set.

    Raises:
        NotReady: There is no set.
        ProblemError: The set lacks something that is named.
    """
    given = market.factors
    if given is None:
        raise NotReady("there is no factor set to estimate a time-series model from")
    if unknown := [name for name in spec.factors if name not in given.names]:
        reason = f"factor set {given.id} has no {listed(unknown)}; it has {listed(given.names)}"
        raise ProblemError("time_series.factors", reason)
    free = spec.risk_free_factor
    if free and free not in given.names:
        reason = f"factor set {given.id} has no {free}; it has {listed(given.names)}"
        raise ProblemError("time_series.risk_free_factor", reason)
    if free and free in spec.factors:
        raise ProblemError("time_series.risk_free_factor", f"{free} is among the factors, too")
    chosen = spec.factors or tuple(name for name in given.names if name != free)
    if not chosen:
        raise ProblemError("time_series.factors", f"factor set {given.id} has nothing but {free}")
    names = (*chosen, free) if free else chosen
    return FactorReturns(given.id, names, given.dates, given.F[:, [given.names.index(name) for name in names]])


def _explaining(factors: FactorReturns, spec: TimeSeriesSpec) -> tuple[str, ...]:
    """The factors without the risk-free return, which comes last."""
    return factors.names[:-1] if spec.risk_free_factor else factors.names


def _time_series(window: ModelWindow, factors: FactorReturns, spec: TimeSeriesSpec, risk: RiskSettings) -> _Kind:
    names, settings = _explaining(factors, spec), time_series_settings(spec)
    risk_free = window.F[:, -1] if spec.risk_free_factor else None
    R = window.R if risk_free is None else window.R - risk_free[:, None]
    history = FactorHistory(names, window.F[:, : len(names)], int(risk.periods_per_year))
    estimated = time_series_model(window.ids, R, history, settings, risk)
    return _Kind(
        name="time_series",
        estimated=estimated,
        factor_kinds=("given",) * len(names),
        definitions=tuple(f"Returns of {name} as given in factor set {factors.id}." for name in names),
        spec=_as_used(replace(spec, factor_set_id=factors.id, factors=names), estimated),
        risk_free=risk_free,
    )


def _as_used(spec: TimeSeriesSpec, estimated: EstimatedModel) -> TimeSeriesSpec:
    """With the drift and the lags that the data have chosen."""
    if spec.estimator == "kalman":
        return replace(spec, drift=estimated.diagnostics["drift"])
    if spec.standard_errors == "newey_west":
        return replace(spec, lags=int(estimated.diagnostics["lags"]))
    return spec


def _check_given(exposures: GivenExposures | None, spec: CrossSectionalSpec) -> None:
    if exposures is None:
        if spec.factors:
            raise ProblemError("cross_sectional.factors", "name factors of stored exposures, but none are given")
    elif unknown := [name for name in spec.factors if name not in exposures.factors]:
        reason = f"factor exposures {exposures.id} have no {listed(unknown)}; they have {listed(exposures.factors)}"
        raise ProblemError("cross_sectional.factors", reason)


def _cross_sectional(market: ModelMarket, window: ModelWindow, spec: CrossSectionalSpec, risk: RiskSettings) -> _Kind:
    given = None if market.exposures is None else _loaded(market.exposures, window.ids, spec.factors)
    panel = Panel(
        names=window.ids,
        closes=window.closes,
        # Known today; at the end of a window in the past it was as much smaller as the price was.
        caps=market.market_caps[window.columns] * window.growth,
        sectors=tuple(market.sectors[i] for i in window.columns),
        quality=market.quality_scores[window.columns],
        given=given,
    )
    settings = CrossSectionSettings(spec.styles, spec.industries, spec.weighting, spec.winsorization)
    try:
        found = cross_sectional_model(panel, settings, risk)
    except ProblemError as error:
        if error.field == "window":
            raise NotReady(error.reason) from error
        raise
    return _Kind(
        name="cross_sectional",
        estimated=found.estimated,
        factor_kinds=found.kinds,
        definitions=found.definitions,
        spec=replace(
            spec,
            factor_exposures_id="" if market.exposures is None else market.exposures.id,
            factors=() if given is None else given.factors,
            # With the market alone, all that the data allow is nothing more.
            styles=None if found.kinds == ("market",) else found.styles,
            industries=found.industries,
            weighting=found.weighting,
        ),
        findings=tuple(
            Finding(Code.LEFT_OUT, None, None, f"{what} is left out: {reason}") for what, reason in found.left_out
        ),
    )


def _loaded(exposures: GivenExposures, ids: tuple[str, ...], factors: tuple[str, ...]) -> LoadedExposures:
    place = {name: i for i, name in enumerate(exposures.instrument_ids)}
    chosen = factors or exposures.factors
    columns = [exposures.factors.index(name) for name in chosen]
    return LoadedExposures(chosen, exposures.B[np.ix_([place[name] for name in ids], columns)])


def _statistical(window: ModelWindow, spec: StatisticalSpec, risk: RiskSettings) -> _Kind:
    settings = StatisticalSettings(spec.count_rule, spec.factor_count, spec.explained_share, spec.standardize)
    estimated = statistical_model(window.ids, window.R, settings, risk)
    k = len(estimated.model.factors)
    return _Kind(
        name="statistical",
        estimated=estimated,
        factor_kinds=("statistical",) * k,
        definitions=tuple(_component(i + 1) for i in range(k)),
        spec=spec,
    )


def _component(number: int) -> str:
    """The definition of a principal component."""
    if number == 1:
        return "Principal component 1: the mix of the instruments that explains most of the variance of their returns."
    return f"Principal component {number}: the mix of the instruments that explains most of what those before it leave."
