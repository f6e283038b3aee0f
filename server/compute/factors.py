"""One factor analysis, from its inputs to exposures, risk and past returns taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kernel.estimation.data_checks import CheckSettings, Finding, check_prices
from kernel.factors.model import FactorModel
from kernel.factors.risk_attribution import RiskAttribution, attribute_risk
from server.compute.factor_inputs import FactorInputs, estimated, held_instruments, on_days_of_holdings
from server.compute.factor_measures import Measured, Series, measure
from server.compute.factor_models import BuiltModel
from server.compute.factor_periods import (
    Benchmark,
    Days,
    Remark,
    days_with_returns,
    prices_on,
    weighted_benchmark,
    within,
    without_returns,
)
from server.compute.factor_returns import Past, PastReturns, past_returns
from server.compute.holdings import Account, Prices
from server.compute.inputs import PERIODS_PER_YEAR, FactorModelInputs, Floats
from server.errors import Fault, InvalidRequest, NotReady
from server.factor_specs import FactorSpec, TimeSeriesSpec
from server.listing import listed

_NEEDED_PRICES = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FactorAnswer:
    """An analysis.

    Attributes:
        model: The model.
        built: Where it was estimated for this analysis alone.
        shown: Places of the factors to report; the others are summed.
        days: (T,) of the period.
        names: (n,) instruments with a weight today.
        held: The model of these alone.
        w: (n,) weights of today.
        benchmark: None without one that can be used.
        measured: Exposures.
        risk: Of `w`.
        active: Weights less the benchmark's, with their instruments and their risk; None without its weights.
        past: Returns taken apart.
    """

    model: FactorModelInputs
    built: BuiltModel | None
    shown: tuple[int, ...]
    days: Days
    names: tuple[str, ...]
    held: FactorModel
    w: Floats
    benchmark: Benchmark | None
    measured: Measured
    risk: RiskAttribution
    active: ActiveRisk | None
    past: PastReturns
    findings: tuple[Finding, ...]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ActiveRisk:
    """Weights less the benchmark's, and their tracking error taken apart.

    Attributes:
        names: (n,) instruments of either.
        w: (n,) differences.
    """

    names: tuple[str, ...]
    w: Floats
    risk: RiskAttribution


def run_factors(inputs: FactorInputs) -> FactorAnswer:
    """Analyse a portfolio by a factor model.

    Raises:
        InvalidRequest: The model lacks a factor or an instrument; they are named. Or the period is not the model's.
        NotReady: There are too few days, or prices are missing.
        ProblemError: A factor is constant or a combination of others.
    """
    inputs = replace(inputs, market=on_days_of_holdings(inputs.market))
    names = held_instruments(inputs)
    built = None if inputs.stored is not None else estimated(inputs, names)
    model = inputs.stored if built is None else built.inputs
    assert model is not None
    shown = _shown(inputs.spec, model, chosen=built is None or inputs.spec.model is not None)
    _check_instruments(inputs, model, names)
    days = np.intersect1d(days_with_returns(inputs.market, names), model.dates)
    period = _period(inputs, model, days)
    _check_gaps(inputs, names, model.dates, period)
    benchmark, remarks = _benchmark(inputs, model, days)
    if len(days) < len(model.dates):
        remarks = (*remarks, _fewer_days(days, model))
    if built is None:
        remarks = (*remarks, *_skipped_days(inputs, model, names, period))
    return _analysed(_Case(inputs, model, built, shown, names, days, period, benchmark, remarks))


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """An analysis whose days and instruments are known.

    Attributes:
        names: Held today, or during the period.
        days: Of the model, with returns of all of them.
        period: Those of the days whose returns are taken apart.
    """

    inputs: FactorInputs
    model: FactorModelInputs
    built: BuiltModel | None
    shown: tuple[int, ...]
    names: tuple[str, ...]
    days: Days
    period: Days
    benchmark: Benchmark | None
    remarks: tuple[Remark, ...]

    def weights(self, names: Sequence[str]) -> Floats:
        """Weights of today."""
        market = self.inputs.market
        place = {name: k for k, name in enumerate(market.ids)}
        return np.asarray(market.w0[[place[name] for name in names]])


def _analysed(case: _Case) -> FactorAnswer:
    inputs, model, benchmark = case.inputs, case.model, case.benchmark
    every = tuple(sorted({*case.names, *(() if benchmark is None else benchmark.names)}))
    measured = _measured(case, every)
    held = tuple(name for name, weight in zip(every, case.weights(every), strict=True) if weight)
    small, w = model.model.restricted(held), case.weights(held)
    active = None
    if benchmark is not None and benchmark.weights is not None:
        difference = case.weights(every) - benchmark.vector(every)
        active = ActiveRisk(every, difference, attribute_risk(model.model.restricted(every), difference))
    prices = prices_on(inputs.market, every, case.period)
    past = past_returns(_past(case, prices, measured), model, model.model.restricted(every).B)
    return FactorAnswer(
        model=model,
        built=case.built,
        shown=case.shown,
        days=case.period,
        names=held,
        held=small,
        w=w,
        benchmark=benchmark,
        measured=measured,
        risk=attribute_risk(small, w),
        active=active,
        past=past,
        findings=_findings(case, every),
        remarks=(*case.remarks, *past.remarks),
    )


def _measured(case: _Case, every: tuple[str, ...]) -> Measured:
    """Exposures B'w, also of the benchmark where it has weights, and their errors on the days of the model."""
    inputs, model, benchmark = case.inputs, case.model, case.benchmark
    R, B = prices_on(inputs.market, every, case.days).R, model.model.restricted(every).B
    w, rows = case.weights(every), np.searchsorted(model.dates, case.days)
    # Cash has no exposure: what it earns is no part of the return that factors explain.
    series = Series(rows, R @ w, float(w.sum()))
    exposures = None
    if benchmark is not None:
        v = benchmark.vector(every)
        weighted = benchmark.weights is not None
        returns = R @ v if weighted else benchmark.returns(inputs.market, case.days)
        series = replace(series, benchmark=returns, benchmark_invested=float(v.sum()) if weighted else 1.0)
        exposures = B.T @ v if weighted else None
    return measure(model, series, B.T @ w, exposures, _estimator(inputs, case.built))


def _estimator(inputs: FactorInputs, built: BuiltModel | None) -> TimeSeriesSpec | None:
    """How the model was estimated; a drift that it chose as the likeliest is that of the series as well."""
    kind = inputs.model.kind if built is None else built.spec.kind
    if not isinstance(kind, TimeSeriesSpec):
        return None
    return kind if built is None else replace(kind, drift=built.estimated.diagnostics.get("drift", kind.drift))


def _past(case: _Case, prices: Prices, measured: Measured) -> Past:
    inputs, benchmark = case.inputs, case.benchmark
    weighted = benchmark is not None and benchmark.weights is not None
    sectors = {asset.id: asset.sector for asset in inputs.market.assets}
    return Past(
        prices=prices,
        sectors=tuple(sectors[name] for name in prices.ids),
        rows=np.searchsorted(case.model.dates, case.period),
        w=case.weights(prices.ids),
        account=_account(inputs, prices.ids),
        basis=inputs.spec.holdings_basis,
        v=benchmark.vector(prices.ids) if benchmark is not None and weighted else None,
        benchmark=benchmark.returns(inputs.market, case.period) if benchmark is not None and not weighted else None,
        benchmark_exposures=measured.benchmark,
        cash_rate=inputs.risk_free_rate / PERIODS_PER_YEAR,
    )


def _account(inputs: FactorInputs, names: tuple[str, ...]) -> Account:
    """The account on some instruments; trades of others were before the period."""
    ids, account = inputs.market.ids, inputs.account
    place = {name: k for k, name in enumerate(names)}
    quantities = dict(zip(ids, account.quantities, strict=True))
    trades = (replace(t, column=place[ids[t.column]]) for t in account.trades if ids[t.column] in place)
    return replace(account, quantities=tuple(quantities[name] for name in names), trades=tuple(trades))


def _shown(spec: FactorSpec, model: FactorModelInputs, *, chosen: bool) -> tuple[int, ...]:
    """Places of the factors asked for, in the order of the model; all of it where it has none but these."""
    names = model.model.factors
    if not chosen or not spec.factors:
        return tuple(range(len(names)))
    whose = model.id or "the model"
    faults = [
        Fault(f"factors[{k}]", f"{name} is no factor of {whose}, which has {listed(names)}")
        for k, name in enumerate(spec.factors)
        if name not in names
    ]
    if faults:
        raise InvalidRequest(faults)
    return tuple(sorted(names.index(name) for name in spec.factors))


def _check_instruments(inputs: FactorInputs, model: FactorModelInputs, names: tuple[str, ...]) -> None:
    missing = sorted(set(names) - set(model.model.names))
    if not missing:
        return
    held = f"portfolio {inputs.market.portfolio_id} holds, or held in the period"
    if not model.id and inputs.spec.model is None:
        raise NotReady(
            f"prices in {inputs.market.pricing_pack_id} are not complete for {listed(missing)}, which {held}"
        )
    field = "factor_model_id" if model.id else "model.instrument_ids"
    whose = model.id or "the model"
    raise InvalidRequest([Fault(field, f"{whose} has no exposures of {listed(missing)}, which {held}")])


def _period(inputs: FactorInputs, model: FactorModelInputs, days: Days) -> Days:
    """The days whose returns are taken apart; of a stored model within its window."""
    spec, first, last = inputs.spec, model.dates[0], model.dates[-1]
    if inputs.stored is not None:
        window = f"outside of the window of {model.id}, {first} to {last}"
        faults = [
            Fault(field, f"{day} is {window}")
            for field, day in (("first_date", spec.first_date), ("last_date", spec.last_date))
            if day and not first <= np.datetime64(day) <= last
        ]
        if faults:
            raise InvalidRequest(faults)
        if spec.lookback_days > len(days):
            found = f"portfolio and model have {len(days)} days in common"
            raise InvalidRequest([Fault("lookback_days", f"is {spec.lookback_days}; {found}")])
        days = within(days, spec)
    if not len(days):
        raise NotReady(
            f"pricing pack {inputs.market.pricing_pack_id} has no day in the period with returns of all that the "
            f"portfolio holds and of the factors, whose returns are of {first} to {last}"
        )
    return days


def _benchmark(
    inputs: FactorInputs, model: FactorModelInputs, days: Days
) -> tuple[Benchmark | None, tuple[Remark, ...]]:
    """The benchmark by its weights, else by its price series, which has exposures to given factors only."""
    given = inputs.market.benchmark
    if given is None:
        return None, ()
    known = set(model.model.names) & set(inputs.market.ids)
    found, reason = weighted_benchmark(given, inputs.market, known, days)
    if found is not None:
        return found, ()
    if given.closes is None:
        use = "it has no price series either, so that it is left out"
    elif model.kind != "time_series":
        use = "its price series has no exposures to the factors of such a model, so that it is left out"
    else:
        use = "its price series is used"
        found = Benchmark(given.id, closes=given.closes)
    remarks = () if found is not None and not given.weights else (Remark("benchmark", f"{given.id} {reason}; {use}"),)
    return found, remarks


def _check_gaps(inputs: FactorInputs, names: tuple[str, ...], model_days: Days, period: Days) -> None:
    """A day of the model inside the period without prices would be missing from the compounded return."""
    inside = model_days[(model_days >= period[0]) & (model_days <= period[-1])]
    missing = np.setdiff1d(inside, period)
    if len(missing):
        market = inputs.market
        priced = missing[np.isin(missing, market.dates[1:])]
        lacking = without_returns(market, names, priced) if len(priced) else names
        raise NotReady(
            f"pricing pack {market.pricing_pack_id} has no return on {len(missing)} days between {period[0]} and "
            f"{period[-1]}, first {missing[0]}, of {listed(lacking)}"
        )


def _fewer_days(days: Days, model: FactorModelInputs) -> Remark:
    return Remark(
        "window",
        f"on {len(days)} of the {len(model.dates)} days of the model there are returns of all that is held; standard "
        "errors and r_squared rest on these alone",
    )


def _skipped_days(
    inputs: FactorInputs, model: FactorModelInputs, names: tuple[str, ...], period: Days
) -> Iterator[Remark]:
    """Days inside the period that a stored model does not have; one that is estimated finds them by itself."""
    days = days_with_returns(inputs.market, names)
    inside = days[(days > period[0]) & (days < period[-1])]
    if len(skipped := np.setdiff1d(inside, model.dates)):
        yield Remark(
            "window",
            f"{model.id} lacks {len(skipped)} days of the period, whose returns are not counted: "
            f"{listed(map(str, skipped))}",
        )


def _findings(case: _Case, every: tuple[str, ...]) -> tuple[Finding, ...]:
    """What the checks of prices noticed; of a stored model, about the holdings on its days."""
    if case.built is not None:
        return case.built.window.findings
    prices = prices_on(case.inputs.market, every, case.days)
    days = np.append(prices.before[:1], prices.days)
    closes = np.vstack([prices.opening[:1], prices.closing])
    return check_prices(prices.ids, days, closes, CheckSettings(min_observations=_NEEDED_PRICES))
