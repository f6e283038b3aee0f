"""Walk-forward validations: requests from the wire, reports and stored validations to it."""

from __future__ import annotations

import math

import numpy as np
from google.protobuf import json_format
from portfolio_optimization.v1 import common_pb2
from portfolio_optimization.v1 import validation_pb2 as pb

from kernel.validation.report import Band, Judged, Report
from kernel.validation.schedule import ScheduleSettings
from server.compute.inputs import PERIODS_PER_YEAR
from server.compute.validation import ValidationAnswer, WindowAnswer
from server.convert.answers import timestamp
from server.convert.faults import FRACTION, Bounds, Faults
from server.convert.look_ahead import look_ahead_faults
from server.convert.optimization import read_optimization
from server.convert.solution import allocation
from server.convert.text_values import read_day
from server.settings import Settings
from server.validation_specs import ValidationSpec
from storage.records import OPEN_STATUSES, Stored, ValidationRequest, ValidationResult

_LONGEST = 100_000
_TRAIN = Bounds(60, _LONGEST)
_REBALANCE = Bounds(2, _LONGEST)
_EMBARGO = Bounds(0, 252)
_RATIO = Bounds(0.0, 1e6, open_low=True)
_DEFAULT_TRAIN, _DEFAULT_REBALANCE = 504, 21

StoredValidation = Stored[ValidationRequest, ValidationResult]


def read_validation(message: pb.CreateValidationRequest, settings: Settings, faults: Faults) -> ValidationSpec:
    """What a validation request means; what is wrong with it is added to `faults`."""
    faults.identifier("request_id", message.request_id, required=False)
    asked = Faults()
    optimization = read_optimization(message.optimization, settings, asked)
    for fault in look_ahead_faults(message.optimization):
        asked.add(fault.field, fault.description)
    faults.include("optimization", asked)
    rate = message.cost_rate if message.HasField("cost_rate") else float(settings.market_impact_bps) * 1e-4
    return ValidationSpec(
        optimization=optimization,
        schedule=_read_schedule(message, faults),
        cost_rate=faults.number("cost_rate", rate, FRACTION),
        band=_read_band(message.band, faults),
    )


def _read_schedule(message: pb.CreateValidationRequest, faults: Faults) -> ScheduleSettings:
    if message.window not in pb.WindowKind.values():
        faults.add("window", f"must be ROLLING or EXPANDING, not {message.window}")
    first = read_day("first_date", message.first_date, faults)
    last = read_day("last_date", message.last_date, faults)
    if first and last and first > last:
        faults.add("first_date", f"is {first}, after last_date {last}")
    return ScheduleSettings(
        train_days=int(faults.limit("train_days", message.train_days, _TRAIN) or _DEFAULT_TRAIN),
        rebalance_days=int(faults.limit("rebalance_days", message.rebalance_days, _REBALANCE) or _DEFAULT_REBALANCE),
        embargo_days=int(faults.number("embargo_days", message.embargo_days, _EMBARGO)),
        expanding=message.window == pb.WINDOW_KIND_EXPANDING,
        first_date=None if first is None else np.datetime64(first),
        last_date=None if last is None else np.datetime64(last),
    )


def _read_band(message: pb.ValidationBand, faults: Faults) -> Band:
    low = faults.limit("band.minimum", message.minimum, _RATIO) or Band().minimum
    high = faults.limit("band.maximum", message.maximum, _RATIO) or Band().maximum
    if low > high:
        faults.add("band.maximum", f"is {high:g}, below the minimum of {low:g}")
    return Band(low, high) if 0.0 < low <= high < math.inf else Band()


def write_report(answer: ValidationAnswer) -> pb.ValidationReport:
    """What came of a validation."""
    report, dates = answer.report, answer.dates
    message = pb.ValidationReport(
        windows=[_write_window(window, answer) for window in answer.windows],
        band=pb.ValidationBand(minimum=answer.settings.band.minimum, maximum=answer.settings.band.maximum),
        first_date=str(dates[answer.windows[0].place.start + 1]),
        last_date=str(dates[answer.windows[-1].place.stop]),
        days=len(report.wealth),
        windows_without_answer=sum(window.judged.prediction is None for window in answer.windows),
        wealth=report.wealth.tolist(),
        periods_per_year=PERIODS_PER_YEAR,
        turnover_definition=common_pb2.TURNOVER_DEFINITION_ONE_WAY,
    )
    for window in answer.windows:
        message.outcomes[window.outcome] += 1
    _write_rates(message, report)
    return message


def _write_rates(message: pb.ValidationReport, report: Report) -> None:
    rates = {
        "share_inside_band": report.share_inside,
        "expected_share_inside_band": report.expected_share_inside,
        "predicted_volatility": report.predicted_volatility,
        "predicted_return": report.predicted_return,
        "realised_volatility": report.realised_volatility,
        "realised_return": report.realised_return,
        "realised_sharpe": report.realised_sharpe,
        "turnover_per_year": report.turnover_per_year,
        "cost_per_year": report.cost_per_year,
        "max_drawdown": report.max_drawdown,
    }
    for field, value in rates.items():
        if value is not None:
            setattr(message, field, value)


def _write_window(window: WindowAnswer, answer: ValidationAnswer) -> pb.ValidationWindow:
    place, judged, dates = window.place, window.judged, answer.dates
    return pb.ValidationWindow(
        seen_until=str(dates[place.seen_until]),
        seen_from=str(dates[place.seen_from]),
        first_date=str(dates[place.start + 1]),
        last_date=str(dates[place.stop]),
        outcome=window.outcome,
        predicted_volatility=_predicted(judged),
        realised_volatility=judged.realised.volatility(PERIODS_PER_YEAR),
        realised_return=judged.realised.total,
        turnover=judged.trade.turnover,
        cost=judged.trade.cost,
        max_drawdown=judged.realised.maximum_drawdown,
        inside_band=answer.settings.inside(judged),
        weights=allocation(answer.names, window.weights),
    )


def _predicted(judged: Judged) -> float | None:
    return None if judged.prediction is None else judged.prediction.volatility


def write_validation(stored: StoredValidation) -> pb.GetValidationResponse:
    """A validation as it is now."""
    request, result = stored.request, stored.result
    message = pb.GetValidationResponse(
        validation_id=request.id,
        portfolio_id=request.portfolio_id,
        status=request.status,
        created_at=timestamp(request.created_at),
        windows_done=request.windows_done,
        windows=request.windows,
        pricing_pack_id=request.pricing_pack_id or "",
    )
    if result is not None:
        message.message = result.details.get("message", "")
        if result.report:
            json_format.ParseDict(result.report, message.report, ignore_unknown_fields=True)
    if request.status not in OPEN_STATUSES:
        ended = request.updated_at if result is None else result.completed_at
        message.completed_at.CopyFrom(timestamp(ended))
    json_format.ParseDict(request.specification, message.request, ignore_unknown_fields=True)
    return message
