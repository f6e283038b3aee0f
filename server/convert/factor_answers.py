"""Factor analyses, to the wire."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from portfolio_optimization.v1 import estimation_pb2, factor_models_pb2
from portfolio_optimization.v1 import factor_attribution_pb2 as parts_pb
from portfolio_optimization.v1 import factors_pb2 as pb

from kernel.factors.brinson import SectorAttribution
from kernel.factors.return_attribution import OTHER_FACTORS, LinkedAttribution, LinkedParts, MeanAttribution
from server.compute.factor_inputs import FactorInputs
from server.compute.factor_periods import SERIES, WEIGHTS, Remark
from server.compute.factors import FactorAnswer
from server.compute.inputs import Floats
from server.convert.answers import timestamp
from server.convert.estimation import write_findings
from server.convert.factor_models import write_specification
from server.convert.factor_risk import write_factor_risk
from server.convert.factors import HOLDINGS_BASES, day_start, drop_instruments
from server.factor_specs import TimeSeriesSpec

_LINKING = "carino"
_BASES = {WEIGHTS: pb.BENCHMARK_BASIS_WEIGHTS, SERIES: pb.BENCHMARK_BASIS_SERIES}
_HOLDINGS = {word: number for number, word in HOLDINGS_BASES.items()}
_KINDS = {
    "given": factor_models_pb2.FACTOR_KIND_GIVEN,
    "market": factor_models_pb2.FACTOR_KIND_MARKET,
    "style": factor_models_pb2.FACTOR_KIND_STYLE,
    "industry": factor_models_pb2.FACTOR_KIND_INDUSTRY,
    "statistical": factor_models_pb2.FACTOR_KIND_STATISTICAL,
}
_ERRORS = {
    "": factor_models_pb2.STANDARD_ERROR_METHOD_UNSPECIFIED,
    "classical": factor_models_pb2.STANDARD_ERROR_METHOD_CLASSICAL,
    "newey_west": factor_models_pb2.STANDARD_ERROR_METHOD_NEWEY_WEST,
}


def write_factors(answer: FactorAnswer, inputs: FactorInputs) -> pb.FactorExposureResponse:
    """An analysis; its id and time are added later."""
    model, measured, mean = answer.model, answer.measured, answer.past.mean
    first, last = str(answer.days[0]), str(answer.days[-1])
    message = pb.FactorExposureResponse(
        portfolio_id=inputs.market.portfolio_id,
        as_of=timestamp(day_start(last)),
        exposures=[_write_exposure(k, answer) for k in answer.shown],
        attribution=_write_mean(mean, answer),
        r_squared=measured.r_squared,
        observations=len(answer.days),
        first_date=first,
        last_date=last,
        total_return=mean.total,
        condition_number=model.condition_number,
        factor_set_id=_factor_set(answer, inputs),
        pricing_pack_id=inputs.market.pricing_pack_id,
        specific_volatility=measured.specific_volatility,
        data_findings=[*write_findings(answer.findings), *map(_write_remark, answer.remarks)],
        factor_model_id=model.id,
        return_attribution=_write_linked(answer),
        holdings_basis=_HOLDINGS[inputs.spec.holdings_basis],
        standard_errors=_ERRORS[measured.method],
        lags=measured.lags,
    )
    message.residual = message.total_return - math.fsum(part.contribution for part in message.attribution)
    if answer.benchmark is not None:
        message.benchmark_id, message.benchmark_basis = answer.benchmark.id, _BASES[answer.benchmark.basis]
    if answer.built is not None:
        message.model.CopyFrom(write_specification(answer.built.spec))
    _write_risks(message, answer, instruments=inputs.spec.include_instruments)
    if answer.past.sectors is not None:
        message.sector_attribution.CopyFrom(_write_sectors(answer.past.sectors))
    if inputs.spec.include_instruments:
        message.instruments.extend(_write_instruments(answer))
    message.reconciliation = largest_difference(message, answer)
    return message


def _factor_set(answer: FactorAnswer, inputs: FactorInputs) -> str:
    kind = inputs.model.kind if answer.built is None else answer.built.spec.kind
    return kind.factor_set_id if isinstance(kind, TimeSeriesSpec) else ""


def _write_remark(remark: Remark) -> estimation_pb2.DataFinding:
    severity = estimation_pb2.DATA_FINDING_SEVERITY_WARNING
    return estimation_pb2.DataFinding(code=remark.code, message=remark.message, severity=severity)


def _write_exposure(k: int, answer: FactorAnswer) -> pb.FactorExposure:
    model, found = answer.model, answer.measured
    own = float(found.portfolio[k])
    message = pb.FactorExposure(
        factor=model.model.factors[k],
        exposure=own,
        active_exposure=own,
        kind=_KINDS[model.factor_kinds[k]],
        definition=model.definitions[k],
        variance_inflation=float(model.variance_inflation[k]),
    )
    if found.errors is not None:
        message.standard_error = float(found.errors[k])
        if message.standard_error > 0.0:
            message.t_statistic = own / message.standard_error
    if found.benchmark is not None:
        message.benchmark_exposure = float(found.benchmark[k])
        message.active_exposure = own - message.benchmark_exposure
    if found.benchmark_errors is not None and found.active_errors is not None:
        message.benchmark_standard_error = float(found.benchmark_errors[k])
        message.active_standard_error = float(found.active_errors[k])
    return message


def _write_risks(message: pb.FactorExposureResponse, answer: FactorAnswer, *, instruments: bool) -> None:
    factors, shown = answer.model.model.factors, answer.shown
    message.risk.CopyFrom(write_factor_risk(answer.risk, factors, answer.names, answer.w, shown))
    if answer.active is not None:
        active = answer.active
        message.active_risk.CopyFrom(write_factor_risk(active.risk, factors, active.names, active.w, shown))
    if not instruments:
        drop_instruments(message)


# --- returns


@dataclass(frozen=True, slots=True)
class _Sources:
    """Which sources are shown one by one, and the sum of the other factors.

    Attributes:
        names: (m,) of all sources, the factors first.
        k: Number of the factors.
        shown: Places of the factors to show.
    """

    names: tuple[str, ...]
    k: int
    shown: tuple[int, ...]

    @property
    def rest(self) -> list[int]:
        """Places of the factors that are summed."""
        return sorted(set(range(self.k)) - set(self.shown))

    def groups(self) -> Iterator[tuple[str, list[int]]]:
        """Names of the parts to show, with the places of what each consists of."""
        yield from ((self.names[k], [k]) for k in self.shown)
        if self.rest:
            yield OTHER_FACTORS, self.rest
        yield from ((name, [self.k + j]) for j, name in enumerate(self.names[self.k :]))


def _sources(names: tuple[str, ...], answer: FactorAnswer) -> _Sources:
    return _Sources(names, len(answer.model.model.factors), answer.shown)


def _write_mean(mean: MeanAttribution, answer: FactorAnswer) -> list[pb.FactorAttribution]:
    written = []
    for name, places in _sources(mean.sources, answer).groups():
        contribution = _sum(mean.parts, places)
        share = 100.0 * _sum(mean.fractions, places)
        written.append(pb.FactorAttribution(factor=name, contribution=contribution, percent_contribution=share))
    return written


def _write_linked(answer: FactorAnswer) -> parts_pb.ReturnAttribution:
    linked = answer.past.linked
    message = parts_pb.ReturnAttribution(
        first_date=str(answer.days[0]),
        last_date=str(answer.days[-1]),
        observations=len(answer.days),
        linking=_LINKING,
        portfolio_return=linked.portfolio.total,
        parts=[_write_part(name, places, linked) for name, places in _sources(linked.sources, answer).groups()],
    )
    if linked.benchmark is not None and linked.active is not None:
        message.benchmark_return = linked.benchmark.total
        message.active_return = message.portfolio_return - message.benchmark_return
    message.residual = max(abs(difference) for difference in _linked_differences(message))
    return message


def _write_part(name: str, places: Sequence[int], linked: LinkedAttribution) -> parts_pb.ReturnPart:
    message = parts_pb.ReturnPart(source=name, portfolio=_sum(linked.portfolio.parts, places))
    if name != OTHER_FACTORS:
        message.average_exposure = float(linked.average_exposures[places[0]])
    if linked.benchmark is not None and linked.active is not None:
        message.benchmark = _part(linked.benchmark, places)
        message.active = _part(linked.active, places)
    return message


def _part(linked: LinkedParts, places: Sequence[int]) -> float:
    return _sum(linked.parts, places)


def _write_sectors(found: SectorAttribution) -> parts_pb.SectorAttribution:
    effects = [
        parts_pb.SectorEffect(
            sector=row.sector,
            portfolio_weight=row.portfolio_weight,
            benchmark_weight=row.benchmark_weight,
            portfolio_return=row.portfolio_return,
            benchmark_return=row.benchmark_return,
            allocation=row.allocation,
            selection=row.selection,
            interaction=row.interaction,
        )
        for row in found.sectors
    ]
    return parts_pb.SectorAttribution(
        sectors=effects,
        allocation=found.allocation,
        selection=found.selection,
        interaction=found.interaction,
        active_return=found.active_return,
        residual=math.fsum([found.active_return, -found.allocation, -found.selection, -found.interaction]),
    )


# --- instruments


def _write_instruments(answer: FactorAnswer) -> list[pb.InstrumentExposures]:
    model, held, shown = answer.model, answer.held, list(answer.shown)
    place = {name: k for k, name in enumerate(model.model.names)}
    benchmark = None if answer.benchmark is None else answer.benchmark.weights
    written = []
    for i, name in enumerate(answer.names):
        errors = None if model.standard_errors is None else model.standard_errors[place[name], shown]
        message = pb.InstrumentExposures(
            instrument_id=name,
            weight=float(answer.w[i]),
            exposures=held.B[i, shown],
            standard_errors=() if errors is None else errors,
            r_squared=float(model.r_squared[place[name]]),
            specific_volatility=math.sqrt(float(held.specific[i])),
        )
        if benchmark is not None:
            message.benchmark_weight = benchmark.get(name, 0.0)
        written.append(message)
    return written


# --- reconciliation


def largest_difference(message: pb.FactorExposureResponse, answer: FactorAnswer) -> float:
    """The largest difference between a total of an answer and the sum of its parts, from the numbers as written.

    Parts by instrument count also where they are not asked for.
    """
    differences = [message.total_return - math.fsum(part.contribution for part in message.attribution)]
    differences += _linked_differences(message.return_attribution)
    differences += _risk_differences(message.risk)
    if message.HasField("active_risk"):
        differences += _risk_differences(message.active_risk)
        assert answer.active is not None
        differences.append(answer.active.risk.residual)
    differences.append(answer.risk.residual)
    if message.HasField("sector_attribution"):
        differences += _sector_differences(message)
    for row in message.exposures:
        differences.append(row.active_exposure - (row.exposure - row.benchmark_exposure))
    parts = answer.held.B * answer.w[:, None]
    sums = np.array([math.fsum(column) for column in parts.T.tolist()])
    # Exposures have the size of 1 / the factor's unit, and round by it.
    sizes = np.maximum(np.abs(parts).sum(axis=0), 1.0)
    differences += ((sums - answer.measured.portfolio) / sizes).tolist()
    return max(map(abs, differences))


def _linked_differences(message: parts_pb.ReturnAttribution) -> Iterator[float]:
    yield message.portfolio_return - math.fsum(part.portfolio for part in message.parts)
    if message.HasField("active_return"):
        yield message.benchmark_return - math.fsum(part.benchmark for part in message.parts)
        yield message.active_return - math.fsum(part.active for part in message.parts)


def _risk_differences(message: parts_pb.FactorRiskAttribution) -> Iterator[float]:
    yield math.fsum([message.volatility, -message.factor_contribution, -message.specific_contribution])
    yield message.factor_contribution - math.fsum(part.contribution for part in message.factors)
    if message.instruments:
        yield message.volatility - math.fsum(part.contribution for part in message.instruments)


def _sector_differences(message: pb.FactorExposureResponse) -> Iterator[float]:
    found = message.sector_attribution
    effects: dict[str, Callable[[parts_pb.SectorEffect], float]] = {
        "allocation": lambda row: row.allocation,
        "selection": lambda row: row.selection,
        "interaction": lambda row: row.interaction,
    }
    for name, effect in effects.items():
        yield getattr(found, name) - math.fsum(map(effect, found.sectors))
    yield math.fsum([found.active_return, -found.allocation, -found.selection, -found.interaction])
    yield found.active_return - message.return_attribution.active_return


def _sum(parts: Floats, places: Iterable[int]) -> float:
    return math.fsum(parts[k] for k in places)
