"""Factor requests from the wire, and stored analyses to storage and back."""

from __future__ import annotations

from datetime import UTC, date, datetime

from google.protobuf import json_format
from portfolio_optimization.v1 import factors_pb2 as pb

from server.convert.answers import timestamp, to_json
from server.convert.factor_models import read_specification
from server.convert.faults import Faults
from server.convert.text_values import read_day
from server.factor_specs import FactorModelSpec, FactorSpec
from server.settings import Settings
from storage.records import FactorAnalysisRequest, FactorAnalysisResult, Stored

HOLDINGS_BASES = {
    pb.HOLDINGS_BASIS_UNSPECIFIED: "current_weights",
    pb.HOLDINGS_BASIS_CURRENT_WEIGHTS: "current_weights",
    pb.HOLDINGS_BASIS_CURRENT_SHARES: "current_shares",
    pb.HOLDINGS_BASIS_RECORDED_TRANSACTIONS: "recorded_transactions",
}
# Of a model estimated for one analysis these are the request's own.
_OF_THE_REQUEST = ("pricing_pack_id", "first_date", "last_date", "lookback_days")
_COLUMNS = ("exposures", "attribution")


def read_factors(message: pb.FactorExposureRequest, _settings: Settings, faults: Faults) -> FactorSpec:
    """What a factor request means; what is wrong with it is added to `faults`."""
    names = tuple(message.factors)
    for k, name in enumerate(names):
        faults.name(f"factors[{k}]", name)
    faults.distinct("factors", names)
    first, last = _read_window(message, faults)
    return FactorSpec(
        portfolio_id=faults.identifier("portfolio_id", message.portfolio_id),
        factors=names,
        factor_set_id=faults.identifier("factor_set_id", message.factor_set_id, required=False),
        pricing_pack_id=faults.identifier("pricing_pack_id", message.pricing_pack_id, required=False),
        benchmark_id=faults.identifier("benchmark_id", message.benchmark_id, required=False),
        first_date=first,
        last_date=last,
        lookback_days=message.lookback_days,
        factor_model_id=faults.identifier("factor_model_id", message.factor_model_id, required=False),
        model=_read_model(message, faults),
        holdings_basis=_read_basis(message, faults),
        include_instruments=message.include_instruments,
    )


def _read_window(message: pb.FactorExposureRequest, faults: Faults) -> tuple[str, str]:
    if message.first_date and message.lookback_days:
        faults.add("lookback_days", "must be 0 when first_date is given")
    first = read_day("first_date", message.first_date, faults)
    last = read_day("last_date", message.last_date, faults)
    if first and last and first > last:
        faults.add("first_date", f"is {first}, after last_date {last}")
    return str(first or ""), str(last or "")


def _read_model(message: pb.FactorExposureRequest, faults: Faults) -> FactorModelSpec | None:
    """The model to estimate; faults where the request names more than one model."""
    given = message.HasField("model")
    if message.factor_model_id and given:
        faults.add("model", "must be absent when factor_model_id is given")
    if message.factor_set_id and message.factor_model_id:
        faults.add("factor_set_id", "must be empty when factor_model_id is given")
    if message.factor_set_id and given:
        faults.add("factor_set_id", "must be empty when model is given; model.time_series has its own")
    if not given:
        return None
    for field in _OF_THE_REQUEST:
        if getattr(message.model, field):
            faults.add(f"model.{field}", f"must be empty: {field} of the request counts")
    return read_specification(message.model, faults, "model")


def _read_basis(message: pb.FactorExposureRequest, faults: Faults) -> str:
    if message.holdings_basis not in HOLDINGS_BASES:
        faults.add("holdings_basis", f"has no value {message.holdings_basis}")
    return HOLDINGS_BASES.get(message.holdings_basis, "current_weights")


def to_request(message: pb.FactorExposureRequest, response: pb.FactorExposureResponse) -> FactorAnalysisRequest:
    """What is kept of a request; the answer was made at the same moment."""
    return FactorAnalysisRequest(
        id=response.analysis_id,
        portfolio_id=message.portfolio_id,
        specification=to_json(message),
        pricing_pack_id=response.pricing_pack_id,
        factors=list(message.factors),
        created_at=response.created_at.ToDatetime(UTC),
    )


def to_result(response: pb.FactorExposureResponse) -> FactorAnalysisResult:
    """What is kept of an answer: the columns of the baseline, and everything else in `details`."""
    content = to_json(response)
    return FactorAnalysisResult(
        analysis_id=response.analysis_id,
        as_of=day_start(response.last_date),
        exposures=content.pop("exposures", []),
        attribution=content.pop("attribution", []),
        details=content,
    )


def read_stored(
    stored: Stored[FactorAnalysisRequest, FactorAnalysisResult], *, instruments: bool = True
) -> pb.FactorExposureResponse:
    """The answer that was stored.

    Args:
        stored: Request and result.
        instruments: Whether to give what it says of single instruments.
    """
    request, result = stored.request, stored.result
    content = {} if result is None else {**result.details, **{name: getattr(result, name) for name in _COLUMNS}}
    message = json_format.ParseDict(content, pb.FactorExposureResponse(), ignore_unknown_fields=True)
    message.analysis_id, message.portfolio_id = request.id, request.portfolio_id
    message.created_at.CopyFrom(timestamp(request.created_at))
    if not instruments:
        drop_instruments(message)
    return message


def drop_instruments(message: pb.FactorExposureResponse) -> None:
    """Leave out what an answer says of single instruments."""
    message.ClearField("instruments")
    # A risk that is absent stays so only if it is not touched.
    if message.HasField("risk"):
        message.risk.ClearField("instruments")
    if message.HasField("active_risk"):
        message.active_risk.ClearField("instruments")


def day_start(day: str) -> datetime:
    """Midnight UTC of an ISO day."""
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
