"""The states of a rebalance plan and what leads from one to another: the only place that knows.

proposed ──submit──> pending_approval ──approve──> approved ──record──> executed
    │                      └──reject──> rejected       └──record──> cancelled, when no order was filled
    └──submit──> approved, when the value needs no approval

Whatever is proposed, pending or approved can be cancelled, and lapses by itself: lapse ──> expired.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from storage.errors import Conflict


class PlanStatus(StrEnum):
    """Where a plan is."""

    PROPOSED = "proposed"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


class PlanAction(StrEnum):
    """What is done to a plan."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    RECORD = "record"
    LAPSE = "lapse"


# Who lets plans lapse; no caller can take this name.
SERVICE = "service"

_S, _A = PlanStatus, PlanAction
_LEAVING = {_A.CANCEL: (_S.CANCELLED,), _A.LAPSE: (_S.EXPIRED,)}

# What each action can lead to. RECORD also leaves a plan where it is while orders are open.
TRANSITIONS: Mapping[PlanStatus, Mapping[PlanAction, tuple[PlanStatus, ...]]] = MappingProxyType(
    {
        _S.PROPOSED: {_A.SUBMIT: (_S.PENDING_APPROVAL, _S.APPROVED), **_LEAVING},
        _S.PENDING_APPROVAL: {_A.APPROVE: (_S.APPROVED,), _A.REJECT: (_S.REJECTED,), **_LEAVING},
        _S.APPROVED: {_A.RECORD: (_S.EXECUTED, _S.CANCELLED), **_LEAVING},
        _S.REJECTED: {},
        _S.EXPIRED: {},
        _S.EXECUTED: {},
        _S.CANCELLED: {},
    }
)
# The action was done before, by whomever: asked for again it changes nothing.
REPEATED: frozenset[tuple[PlanStatus, PlanAction]] = frozenset(
    {
        (_S.PENDING_APPROVAL, _A.SUBMIT),
        (_S.APPROVED, _A.SUBMIT),
        (_S.APPROVED, _A.APPROVE),
        (_S.REJECTED, _A.REJECT),
        (_S.CANCELLED, _A.CANCEL),
        (_S.EXPIRED, _A.LAPSE),
    }
)
OPEN = frozenset(status for status, actions in TRANSITIONS.items() if actions)
_WORDS = {_A.RECORD: "record executions"}


def possible_statuses(status: PlanStatus, *, executing: bool) -> tuple[PlanStatus, ...]:
    """The statuses that can follow, in the order of the contract.

    Args:
        status: Where the plan is.
        executing: Whether an execution is recorded: its orders are at the market, so it does not lapse.
    """
    actions = TRANSITIONS[status]
    found = {
        target for action, targets in actions.items() for target in targets if not (executing and action is _A.LAPSE)
    }
    return tuple(target for target in PlanStatus if target in found)


def is_repeated(status: PlanStatus, action: PlanAction) -> bool:
    """Whether the plan is where the action leads to already."""
    return (status, action) in REPEATED


def require_possible(rebalance_id: str, status: PlanStatus, action: PlanAction) -> None:
    """Refuse what cannot be done.

    Args:
        rebalance_id: The plan, for the refusal.
        status: Where it is.
        action: What is asked for.

    Raises:
        Conflict: Names the status and what is possible.
    """
    if action in TRANSITIONS[status]:
        return
    accepted = [_WORDS.get(other, str(other)) for other in TRANSITIONS[status] if other is not _A.LAPSE]
    rest = f"possible: {', '.join(accepted)}" if accepted else "it is at the end of its way"
    raise Conflict(
        f"rebalance plan {rebalance_id} is {status}: {_WORDS.get(action, str(action))} is not possible; {rest}"
    )


def require_target(status: PlanStatus, action: PlanAction, target: PlanStatus) -> None:
    """Refuse a change that is in no table.

    Raises:
        ValueError: The action does not lead from one status to the other.
    """
    if target not in TRANSITIONS[status].get(action, ()):
        raise ValueError(f"{action} does not lead from {status} to {target}")
