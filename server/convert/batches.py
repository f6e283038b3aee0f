"""Batches of rebalances, from the wire and to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from google.protobuf import json_format
from portfolio_optimization.v1 import rebalance_batches_pb2 as pb
from portfolio_optimization.v1 import rebalancing_pb2

from server.convert.answers import timestamp, to_json
from server.convert.faults import Faults
from server.convert.rebalance import read_rebalance
from server.rebalance_specs import RebalanceSpec
from server.settings import Settings
from server.vocabulary import Vocabulary
from storage.batches import BatchItem, RebalanceBatch
from storage.records import Json

MOST_PORTFOLIOS = 100_000
# Stands in for the portfolio while the template is checked: any id will do.
_ANY_PORTFOLIO = "-"
# What is found once for all portfolios, or for each from what it holds.
_TARGET_TYPES = Vocabulary(served=("custom", "benchmark", "equal_weight", "policy"))


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch, checked. `plan` is what the template means for any portfolio."""

    template: rebalancing_pb2.RebalancePlanRequest
    plan: RebalanceSpec
    portfolio_ids: tuple[str, ...]
    request_id: str
    summary_only: bool

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that was asked for, 64 hexadecimal digits."""
        content = [to_json(self.template), self.portfolio_ids, self.summary_only]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_batch(message: pb.CreateRebalanceBatchRequest, settings: Settings, faults: Faults) -> BatchSpec:
    """What a batch means; what is wrong with it is added to `faults`."""
    faults.identifier("request_id", message.request_id, required=False)
    _check_portfolios(message, faults)
    return BatchSpec(
        template=message.template,
        plan=_read_template(message.template, settings, faults),
        portfolio_ids=tuple(message.portfolio_ids),
        request_id=message.request_id,
        summary_only=message.summary_only,
    )


def _check_portfolios(message: pb.CreateRebalanceBatchRequest, faults: Faults) -> None:
    count = len(message.portfolio_ids)
    if not 1 <= count <= MOST_PORTFOLIOS:
        faults.add("portfolio_ids", f"must name at least 1 and at most {MOST_PORTFOLIOS} portfolios, not {count}")
        return
    for k, name in enumerate(message.portfolio_ids):
        faults.identifier(f"portfolio_ids[{k}]", name)
    faults.distinct("portfolio_ids", message.portfolio_ids)


def _read_template(template: rebalancing_pb2.RebalancePlanRequest, settings: Settings, faults: Faults) -> RebalanceSpec:
    for field in ("portfolio_id", "request_id"):
        if getattr(template, field):
            faults.add(f"template.{field}", "must be empty: the batch names the portfolios and its own request_id")
    if template.validate_only:
        faults.add("template.validate_only", "must not be set: summary_only proposes nothing")
    if template.target_type in ("optimal", "optimization"):
        faults.word("template.target_type", template.target_type, _TARGET_TYPES)
    filled = rebalancing_pb2.RebalancePlanRequest()
    filled.CopyFrom(template)
    filled.portfolio_id, filled.request_id = _ANY_PORTFOLIO, ""
    part = Faults()
    plan = read_rebalance(filled, settings, part)
    faults.include("template", part)
    return plan


def plan_request(template: Json, portfolio_id: str) -> rebalancing_pb2.RebalancePlanRequest:
    """The plan that a batch asks for one of its portfolios."""
    message = json_format.ParseDict(template, rebalancing_pb2.RebalancePlanRequest())
    message.portfolio_id = portfolio_id
    return message


def write_batch(batch: RebalanceBatch) -> pb.RebalanceBatch:
    """A batch with its progress."""
    message = pb.RebalanceBatch(
        batch_id=batch.id,
        status=batch.status,
        portfolio_count=batch.portfolio_count,
        done_count=batch.done_count,
        failed_count=batch.failed_count,
        created_at=timestamp(batch.created_at),
        pricing_pack_id=batch.pricing_pack_id,
        processor_seconds=batch.processor_seconds,
        chunk_count=batch.chunk_count,
        done_chunk_count=batch.done_chunk_count,
    )
    if batch.completed_at is not None:
        message.completed_at.CopyFrom(timestamp(batch.completed_at))
    return message


def item_content(plan: rebalancing_pb2.RebalancePlanResponse) -> Json:
    """What an item keeps of a plan."""
    signs = {"buy": "", "sell": "-"}
    item = pb.RebalanceBatchItem(
        trades={trade.instrument_id: signs[trade.action] + trade.exact_quantity for trade in plan.trades},
        gross_trade_amount=plan.metrics.gross_trade_amount,
        transaction_costs_amount=plan.metrics.transaction_costs_amount,
        tax_amount=plan.metrics.tax_amount,
        gap=plan.quality.gap,
    )
    return to_json(item)


def write_item(item: BatchItem) -> pb.RebalanceBatchItem:
    """One portfolio that is done."""
    message = json_format.ParseDict(item.content, pb.RebalanceBatchItem(), ignore_unknown_fields=True)
    message.portfolio_id, message.error = item.portfolio_id, item.error
    message.rebalance_id = item.rebalance_id or ""
    return message
