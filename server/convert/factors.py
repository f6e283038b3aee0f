"""Factor requests from the wire, analyses to the wire."""

from __future__ import annotations

from datetime import UTC, date, datetime

from portfolio_optimization.v1 import factors_pb2 as pb

from kernel.factors.attribution import Contribution
from server.compute.factors import FactorAnswer, FactorInputs
from server.convert.answers import timestamp
from server.convert.faults import Faults
from server.factor_specs import FactorSpec
from server.settings import Settings

SPECIFIC = "specific"


def read_factors(message: pb.FactorExposureRequest, _settings: Settings, faults: Faults) -> FactorSpec:
    """What a factor request means; what is wrong with it is added to `faults`."""
    names = tuple(message.factors)
    for k, name in enumerate(names):
        faults.name(f"factors[{k}]", name)
    faults.distinct("factors", names)
    if message.first_date and message.lookback_days:
        faults.add("lookback_days", "must be 0 when first_date is given")
    first = _read_date("first_date", message.first_date, faults)
    last = _read_date("last_date", message.last_date, faults)
    if first and last and first > last:
        faults.add("first_date", f"is {first}, after last_date {last}")
    return FactorSpec(
        portfolio_id=faults.identifier("portfolio_id", message.portfolio_id),
        factors=names,
        factor_set_id=faults.identifier("factor_set_id", message.factor_set_id, required=False),
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        first_date=first,
        last_date=last,
        lookback_days=message.lookback_days,
    )


def _read_date(field: str, text: str, faults: Faults) -> str:
    if text:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            faults.add(field, f"must be an ISO 8601 date such as 2022-12-28, not {text[:40]!r}")
    return ""


def write_factors(answer: FactorAnswer, inputs: FactorInputs, factor_set_id: str) -> pb.FactorExposureResponse:
    """An analysis; its id is added later."""
    attribution, benchmark = answer.attribution, inputs.market.benchmark
    last = date.fromisoformat(answer.last_date)
    return pb.FactorExposureResponse(
        portfolio_id=inputs.market.portfolio_id,
        as_of=timestamp(datetime.combine(last, datetime.min.time(), UTC)),
        exposures=[_write_exposure(k, answer) for k in range(len(answer.names))],
        attribution=[_write_part(part) for part in (*attribution.factors, attribution.specific)],
        r_squared=answer.portfolio.r_squared or 0.0,
        observations=answer.portfolio.observations,
        first_date=answer.first_date,
        last_date=answer.last_date,
        total_return=attribution.total,
        residual=attribution.residual,
        condition_number=answer.condition_number,
        factor_set_id=factor_set_id,
        pricing_pack_id=inputs.market.pricing_pack_id,
        benchmark_id=benchmark.id if benchmark is not None and answer.comparison is not None else "",
        specific_volatility=answer.portfolio.residual_volatility,
    )


def _write_exposure(k: int, answer: FactorAnswer) -> pb.FactorExposure:
    own, comparison = answer.portfolio.exposures[k], answer.comparison
    message = pb.FactorExposure(
        factor=answer.names[k],
        exposure=own.value,
        active_exposure=own.value,
        standard_error=own.standard_error,
        t_statistic=own.t_statistic,
    )
    if comparison is not None:
        other = comparison.benchmark.exposures[k]
        message.benchmark_exposure, message.benchmark_standard_error = other.value, other.standard_error
        message.active_exposure = float(comparison.active[k])
        message.active_standard_error = comparison.active_fit.exposures[k].standard_error
    return message


def _write_part(part: Contribution) -> pb.FactorAttribution:
    return pb.FactorAttribution(
        factor=part.factor or SPECIFIC,
        contribution=part.value,
        percent_contribution=100.0 * (part.fraction or 0.0),
    )
