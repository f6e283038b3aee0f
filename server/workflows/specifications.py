"""Specifications of optimizations as they are kept: filled, fixed to their data, compared with earlier ones."""

from __future__ import annotations

from google.protobuf import json_format
from portfolio_optimization.v1 import optimization_pb2 as pb

from server.loading import MarketLoader, Universe
from server.specs import OptimizationSpec
from storage.records import Json


async def with_preferences(loader: MarketLoader, message: pb.CreateOptimizationRequest) -> pb.CreateOptimizationRequest:
    """The request with the portfolio's stored preferences where it has none of its own.

    Raises:
        NotFound: The portfolio does not exist.
    """
    if message.HasField("preferences"):
        return message
    stored = (await loader.portfolio(message.portfolio_id)).preferences.get("optimization")
    if not stored:
        return message
    filled = pb.CreateOptimizationRequest()
    filled.CopyFrom(message)
    json_format.ParseDict(stored, filled.preferences, ignore_unknown_fields=True)
    return filled


def fixed_data(
    message: pb.CreateOptimizationRequest, spec: OptimizationSpec, universe: Universe
) -> pb.CreateOptimizationRequest:
    """The request with the data named that it is done on, so that working on it later changes nothing."""
    fixed = pb.CreateOptimizationRequest()
    fixed.CopyFrom(message)
    fixed.pricing_pack_id = universe.pack.id
    for model, part in ((fixed.expected_returns, spec.model.returns), (fixed.risk_model, spec.model.risk)):
        if part.method == "factor_model" and not part.factor_model_id:
            model.factor_set_id = universe.factor_sets[part.factor_set_id].id
    if not fixed.HasField("risk_free_rate"):
        fixed.risk_free_rate = spec.model.risk_free_rate
    return fixed


def content_of(specification: Json, message: pb.CreateOptimizationRequest) -> Json:
    """What makes requests the same: newer prices and factor returns alone make no difference.

    Compared as JSON values: -0 and 0 mean the same, and the database keeps no signed zero. Left out is what the service
    chose itself, because `message` does not name it.
    """
    content = {name: value for name, value in specification.items() if name != "pricing_pack_id"}
    for name in ("expected_returns", "risk_model"):
        if name in content and not getattr(message, name).factor_set_id:
            content[name] = {key: value for key, value in content[name].items() if key != "factor_set_id"}
    return content
