"""What an alert says to a person: what has happened, how large it is, and until when it wants an answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from email.message import EmailMessage
from email.policy import SMTP

from google.protobuf.timestamp_pb2 import Timestamp
from portfolio_optimization.v1 import events_pb2 as pb
from portfolio_optimization.v1 import plan_workflow_pb2 as plans

from kernel.rebalancing.money import to_cents
from server.convert.event_messages import write_event
from server.notifications.outcome import printable
from storage.deliveries import Claim

_LONGEST_NAME = 100
_LONGEST_COMMENT = 500
# Beyond this many names a list is no help to a reader.
_MOST_NAMES = 20


def compose(claim: Claim, sender: str) -> EmailMessage:
    """The alert as a mail in ASCII. Its Message-ID is that of the delivery, so mail programs know a repetition.

    Args:
        claim: Who is told what.
        sender: Address of the service.
    """
    event = write_event(claim.event)
    name = printable(claim.portfolio_name or claim.event.portfolio_id, _LONGEST_NAME)
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"] = sender
    message["To"] = claim.address
    message["Subject"] = f"{name}: {_headline(event)}"
    message["Date"] = claim.event.created_at
    message["Message-ID"] = f"<{claim.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join([*_lines(claim, event, name), ""]), cte="quoted-printable")
    return message


def _headline(event: pb.Event) -> str:
    match event.WhichOneof("payload"):
        case "rebalance_plan_proposed":
            return "a rebalance plan was made and needs an approval"
        case "rebalance_plan_status_changed":
            status = event.rebalance_plan_status_changed.transition.status
            if status == plans.REBALANCE_PLAN_STATUS_PENDING_APPROVAL:
                return "a rebalance plan waits for an approval"
            return "a rebalance plan is approved and will be executed"
        case "drift_detected":
            return "the weights have drifted from their target"
        case _:
            return "something has happened"


def _lines(claim: Claim, event: pb.Event, name: str) -> Iterator[str]:
    yield f"Portfolio: {name} ({claim.event.portfolio_id})"
    yield f"What: {_headline(event)}"
    yield f"When: {_moment(claim.event.created_at)}"
    match event.WhichOneof("payload"):
        case "rebalance_plan_proposed":
            proposed = event.rebalance_plan_proposed
            yield from _plan(claim, proposed, approval=True)
            yield f"Trades: {proposed.trade_count}"
        case "rebalance_plan_status_changed":
            changed = event.rebalance_plan_status_changed
            pending = changed.transition.status == plans.REBALANCE_PLAN_STATUS_PENDING_APPROVAL
            yield from _plan(claim, changed, approval=pending)
            yield from _said("By", changed.transition.actor)
            yield from _said("Comment", changed.transition.comment)
        case "drift_detected":
            yield from _drift(event.drift_detected)
        case _:
            yield f"Type: {claim.event.type}"
    yield ""
    yield f"Event {claim.event.id}, delivery {claim.id}. A mail with the same delivery is a repetition."


def _plan(
    claim: Claim, plan: pb.RebalancePlanProposed | pb.RebalancePlanStatusChanged, *, approval: bool
) -> Iterator[str]:
    yield f"Plan: {plan.rebalance_id}"
    if plan.gross_trade_amount:
        yield f"Gross value: {to_cents(Decimal(plan.gross_trade_amount))} {claim.currency}"
    if plan.HasField("expires_at"):
        word = "Approval needed until" if approval else "Approval lapses"
        yield f"{word}: {_moment(_datetime(plan.expires_at))}"


def _drift(drift: pb.DriftDetected) -> Iterator[str]:
    measures = drift.measures
    yield f"Prices: {printable(drift.pricing_pack_id)}"
    yield f"Largest difference of a weight: {measures.max_absolute:.2%}"
    yield f"Largest difference relative to its target: {measures.max_relative:.2%}"
    yield f"Half the sum of differences: {measures.half_l1:.2%}"
    if drift.settings.threshold:
        yield f"Threshold: {drift.settings.threshold:.2%}"
    if outside := list(measures.outside_band_5_25):
        more = f" and {len(outside) - _MOST_NAMES} more" if len(outside) > _MOST_NAMES else ""
        yield f"Outside the 5/25 band: {', '.join(map(printable, outside[:_MOST_NAMES]))}{more}"


def _said(word: str, text: str) -> Iterator[str]:
    if text:
        yield f"{word}: {printable(text, _LONGEST_COMMENT)}"


def _datetime(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
