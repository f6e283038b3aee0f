"""Factor models: from an estimation to storage, and from storage to the wire."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from google.protobuf import json_format
from portfolio_optimization.v1 import factor_model_service_pb2 as service_pb
from portfolio_optimization.v1 import factor_models_pb2 as pb

from server.compute.factor_models import BuiltModel, ModelMarket
from server.compute.factor_portfolios import FoundPortfolios
from server.compute.inputs import PERIODS_PER_YEAR, Floats
from server.convert.answers import timestamp, to_json
from server.convert.estimation import write_findings
from server.convert.factor_models import write_specification
from server.factor_specs import CrossSectionalSpec, FactorModelSpec
from storage.factor_model_records import FactorModelHead, FactorModelNumbers, StoredFactorModel
from storage.records import utc_now

FACTOR_KINDS = {
    "given": pb.FACTOR_KIND_GIVEN,
    "market": pb.FACTOR_KIND_MARKET,
    "style": pb.FACTOR_KIND_STYLE,
    "industry": pb.FACTOR_KIND_INDUSTRY,
    "statistical": pb.FACTOR_KIND_STATISTICAL,
}
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a model an answer shows beyond its head."""

    instruments: bool = False
    factor_returns: bool = False


def new_model(name: str, market: ModelMarket, built: BuiltModel) -> StoredFactorModel:
    """A model to be stored; version and time are storage's."""
    specification = to_json(write_specification(built.spec))
    window, inputs, estimated = built.window, built.inputs, built.estimated
    model = estimated.model
    head = FactorModelHead(
        id=_identity(name, specification, _facts(market, built.spec)),
        name=name,
        version=0,
        created_at=utc_now(),
        kind=inputs.kind,
        pricing_pack_id=market.pricing_pack_id,
        specification=specification,
        first_date=date.fromisoformat(window.first_date),
        as_of=date.fromisoformat(window.as_of),
        observations=window.observations,
        factors=model.factors,
        factor_kinds=inputs.factor_kinds,
        definitions=inputs.definitions,
        instrument_ids=model.names,
        summary=to_json(_summary(built)),
    )
    numbers = FactorModelNumbers(
        B=model.B,
        Phi=model.Phi,
        specific=model.specific,
        unshrunk=estimated.unshrunk,
        alpha=estimated.alpha,
        r_squared=estimated.r_squared,
        standard_errors=estimated.standard_errors,
        dates=inputs.dates,
        F=inputs.F,
        risk_free=inputs.risk_free,
    )
    return StoredFactorModel(head, numbers)


def _identity(name: str, specification: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """``fm-`` and 32 hex digits of the SHA-256 of all that the model was estimated from."""
    content = json.dumps([name, specification, facts], sort_keys=True, separators=(",", ":"))
    return f"fm-{hashlib.sha256(content.encode()).hexdigest()[:_ID_DIGITS]}"


def _facts(market: ModelMarket, spec: FactorModelSpec) -> Mapping[str, Any]:
    """What the estimation used of its instruments that may change: prices and loaded numbers are named by content."""
    kind = spec.kind
    if not isinstance(kind, CrossSectionalSpec):
        return {}
    place = {name: k for k, name in enumerate(market.ids)}
    rows = [place[name] for name in spec.instrument_ids]
    facts: dict[str, Any] = {}
    if kind.styles or kind.industries or kind.weighting == "square_root_market_cap":
        facts["market_caps"] = _known(market.market_caps[rows])
    if kind.industries:
        facts["sectors"] = [market.sectors[row] for row in rows]
    if kind.styles and "quality" in kind.styles:
        facts["quality_scores"] = _known(market.quality_scores[rows])
    return facts


def _known(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _summary(built: BuiltModel) -> pb.FactorModel:
    """What storage keeps as JSON: all of the answer that has no column of its own."""
    estimated = built.estimated
    return pb.FactorModel(
        factors=_factors(built),
        factor_covariance=estimated.model.Phi.ravel(),
        instrument_count=len(estimated.model.names),
        mean_r_squared=float(estimated.r_squared.mean()),
        condition_number=estimated.condition_number,
        specific_shrinkage=estimated.shrinkage,
        diagnostics=estimated.diagnostics,
        data_findings=write_findings(built.window.findings),
    )


def _factors(built: BuiltModel) -> list[pb.Factor]:
    estimated, inputs = built.estimated, built.inputs
    F, model = estimated.F, estimated.model
    means, volatilities = F.mean(axis=0), np.sqrt(np.maximum(np.diag(model.Phi), 0.0))
    errors = F.std(axis=0, ddof=1) / math.sqrt(len(F))
    return [
        pb.Factor(
            name=name,
            kind=FACTOR_KINDS[inputs.factor_kinds[k]],
            definition=inputs.definitions[k],
            mean_return=PERIODS_PER_YEAR * means[k],
            volatility=volatilities[k],
            t_statistic=means[k] / errors[k] if errors[k] > 0.0 else None,
            variance_inflation=estimated.variance_inflation[k],
        )
        for k, name in enumerate(model.factors)
    ]


# --- to the wire


def write_model(
    head: FactorModelHead, numbers: FactorModelNumbers | None = None, shown: Shown | None = None
) -> pb.FactorModel:
    """A model as an answer; `numbers` are needed for what is `shown` beyond the head."""
    message = json_format.ParseDict(dict(head.summary), pb.FactorModel(), ignore_unknown_fields=True)
    message.factor_model_id, message.name, message.version = head.id, head.name, head.version
    message.created_at.CopyFrom(timestamp(head.created_at))
    json_format.ParseDict(dict(head.specification), message.specification, ignore_unknown_fields=True)
    message.first_date, message.as_of = head.first_date.isoformat(), head.as_of.isoformat()
    message.observations = head.observations
    if numbers is not None and shown is not None:
        if shown.instruments:
            message.instruments.extend(_write_instruments(head, numbers))
        if shown.factor_returns:
            message.dates.extend(np.datetime_as_string(numbers.dates).tolist())
            message.factor_returns.extend(numbers.F.ravel())
    return message


def _write_instruments(head: FactorModelHead, numbers: FactorModelNumbers) -> list[pb.FactorModelInstrument]:
    errors = numbers.standard_errors
    return [
        pb.FactorModelInstrument(
            instrument_id=name,
            exposures=numbers.B[k],
            standard_errors=() if errors is None else errors[k],
            alpha=numbers.alpha[k],
            r_squared=numbers.r_squared[k],
            specific_volatility=math.sqrt(numbers.specific[k]),
            unshrunk_specific_volatility=math.sqrt(numbers.unshrunk[k]),
        )
        for k, name in enumerate(head.instrument_ids)
    ]


def write_unstored(model: StoredFactorModel) -> pb.FactorModel:
    """The model that would be stored: without id, version and time."""
    message = write_model(model.head)
    for field in ("factor_model_id", "created_at"):
        message.ClearField(field)
    return message


def write_portfolios(factors: Sequence[str], found: FoundPortfolios) -> service_pb.GetFactorPortfoliosResponse:
    """Factor portfolios of a model with these factors."""
    portfolios = found.portfolios
    return service_pb.GetFactorPortfoliosResponse(
        portfolios=[
            service_pb.FactorPortfolio(
                factor=name,
                weights=dict(zip(found.instrument_ids, portfolios.W[:, m].tolist(), strict=True)),
                exposures=dict(zip(factors, portfolios.exposures[:, m].tolist(), strict=True)),
                volatility=portfolios.volatilities[m],
                specific_volatility=portfolios.specific_volatilities[m],
                gross_leverage=portfolios.gross[m],
                net_leverage=portfolios.net[m],
            )
            for m, name in enumerate(portfolios.factors)
        ]
    )
